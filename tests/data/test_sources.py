"""Files to documents: every kind and packing, every rule about bytes, lines and documents, every bad file."""

import gzip
import json
import lzma
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from litebert.data import sources
from litebert.data.sources import ReadOptions, find_files, read_chunks, read_documents
from litebert.errors import ConfigError, InputError

PACKINGS = ("", ".gz", ".xz", ".zst")


def pack(path: Path, content: bytes) -> Path:
    """Write `content`, packed as the name says."""
    if path.suffix == ".gz":
        content = gzip.compress(content)
    elif path.suffix == ".xz":
        content = lzma.compress(content)
    elif path.suffix == ".zst":
        content = pyarrow.compress(content, "zstd", asbytes=True)
    path.write_bytes(content)
    return path


def table(rows: dict[str, Any]) -> bytes:
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table(rows), sink)
    return sink.getvalue().to_pybytes()


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def read(path: Path, **options: str) -> list[tuple[str, str, str]]:
    return [tuple(d) for file in find_files([path]) for d in read_documents(file, ReadOptions(**options))]


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_kind_in_every_packing(tmp_path: Path, packing: str) -> None:
    text = pack(tmp_path / f"a.txt{packing}", b"One. Two.\n\nThree.")
    assert read(text) == [(f"{text.name}:1", "a", "One. Two."), (f"{text.name}:3", "a", "Three.")]
    rows = pack(tmp_path / f"b.jsonl{packing}", lines({"text": "x", "id": 7}, {"text": "y"}))
    assert read(rows) == [("7", "b", "x"), (f"{rows.name}:2", "b", "y")]
    columns = pack(tmp_path / f"c.parquet{packing}", table({"text": ["x", "y"], "id": ["i", None]}))
    assert read(columns) == [("i", "c", "x"), (f"{columns.name}:2", "c", "y")]


def test_folders_are_read_sorted_at_any_depth_and_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    for name in ("z.txt", "b/a.txt", "b/c/d.jsonl", "B.TXT", ".hidden.txt", "notes.md"):
        (tmp_path / name).write_text('{"text": "x"}')
    others: list[str] = []
    files = find_files([tmp_path / "z.txt", tmp_path], others=others)
    assert [file.name for file in files] == ["z.txt", "B.TXT", "b/a.txt", "b/c/d.jsonl"]
    assert [file.source for file in files] == ["z", tmp_path.name, "b", "b/c/d"]
    assert others == ["notes.md"]
    left = find_files([tmp_path], exclude=[tmp_path / "b"])
    assert [file.name for file in left] == ["B.TXT", "z.txt"]


def test_paths_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.pdf").touch()
    for path, why in (("none.txt", "no such"), ("empty", "no file to read"), ("x.pdf", "unknown kind")):
        with pytest.raises(InputError, match=f"{path}.*{why}"):
            find_files([tmp_path / path])
    with pytest.raises(InputError, match="at least one"):
        find_files([])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.touch(mode=0)
    with pytest.raises(InputError, match="cannot be read"):
        read(file)


def test_an_error_while_reading_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    file.write_text("x")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"a\.txt: cannot be read \(Permission denied\)"):
        read(file)


def test_bytes_that_are_not_utf8_are_replaced_and_counted(tmp_path: Path) -> None:
    good = "plain text, " * 20
    (tmp_path / "a.txt").write_bytes(good.encode() + b"caf\xe9 \xed\xa0\x80")
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "' + good.encode() + b'\xff \\ud83d"}\n')
    (tmp_path / "c.parquet").write_bytes(table({"text": [good.encode() + b"\xff"]}))
    replaced: Counter[str] = Counter()
    texts = [d.text for file in find_files([tmp_path]) for d in read_documents(file, replaced=replaced)]
    assert texts == [good + "caf\ufffd \ufffd\ufffd\ufffd", good + "\ufffd \ufffd", good + "\ufffd"]
    assert replaced == {"a.txt": 4, "b.jsonl": 2, "c.parquet": 1}


@given(st.binary())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_become_text_that_can_be_encoded(raw: bytes) -> None:
    text, replaced = sources._decode(raw)
    text.encode()
    assert replaced == (text.count("\ufffd") - raw.count("\ufffd".encode()))
    if not replaced:
        assert text.encode() == raw


def test_byte_order_marks_and_windows_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfOne.\r\nTwo.\r\n\r\nThree.\rFour.\r\n")
    assert [text for _, _, text in read(tmp_path / "a.txt")] == ["One.\nTwo.", "Three.\nFour."]
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "x\\r\\ny"}\r\n\r\n')
    assert read(tmp_path / "b.jsonl") == [("b.jsonl:1", "b", "x\ny")]
    (tmp_path / "c.txt").write_text("Windows calls this Unicode.", encoding="utf-16")
    with pytest.raises(InputError, match="UTF-16"):
        read(tmp_path / "c.txt")


PAGE = """It was a long and very tiring
walk, but nobody complained. We saw a well-
known bridge, and Mr.
Hale stopped there.

After that we came to
a small town and slept."""


def test_documents_in_plain_text(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("\n\nTitle\nA line. Another.\n \n\t\nSecond document.\n\n\n")
    apart = [("a.txt:3", "a", "Title\nA line. Another."), ("a.txt:7", "a", "Second document.")]
    assert read(file) == read(file, documents="blank-lines") == apart
    whole = "Title\nA line. Another.\n \n\t\nSecond document."
    assert read(file, documents="file") == [("a.txt", "a", whole)]
    with pytest.raises(ConfigError, match="auto or file or blank-lines"):
        read(file, documents="line")


def test_text_broken_to_fit_a_page_is_joined_and_one_document(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(PAGE)
    joined = PAGE.replace("well-\n", "well-").replace("\n\n", "|").replace("\n", " ").replace("|", "\n\n")
    assert read(file) == read(file, documents="file") == [("a.txt", "a", joined)]
    assert len(read(file, documents="blank-lines")) == 2
    assert "tiring\nwalk" in read(file, documents="blank-lines")[0][2]


def test_lower_case_text_with_a_sentence_a_line_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one sentence .\nanother sentence .\nand one more .\n\na second document .\n")
    assert [text for _, _, text in read(file)] == [
        "one sentence .\nanother sentence .\nand one more .",
        "a second document .",
    ]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet"])
def test_chunks_hide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    texts = [f"Document {i}.\nIt says {'no ' * (i % 7)}more." for i in range(200)]
    file = tmp_path / name
    if name == "a.txt":
        file.write_text("\n\n".join(texts))
    elif name == "a.jsonl":
        file.write_bytes(lines(*({"text": text} for text in texts)))
    else:
        file.write_bytes(table({"text": texts}))
    whole = read(file)
    assert [text for _, _, text in whole] == texts
    monkeypatch.setattr(sources, "CHUNK_BYTES", 100)
    assert len(list(read_chunks(find_files([file])[0]))) > 50
    assert read(file) == whole


def test_a_line_of_ten_megabytes_is_one_document(tmp_path: Path) -> None:
    text = "All work and no play. " * 460_000
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "b.jsonl").write_bytes(lines({"text": text}))
    assert [len(t) for _, _, t in read(tmp_path)] == [len(text) - 1] * 2


def test_a_document_too_long_for_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "DOCUMENT_BYTES", 1000)
    text = "word " * 300
    (tmp_path / "a.txt").write_text(text)
    (tmp_path / "b.jsonl").write_bytes(lines({"text": text}))
    (tmp_path / "c.parquet").write_bytes(table({"text": [text]}))
    (tmp_path / "d.txt").write_text((text[:900] + "\n\n") * 5)
    for name, way_out in (
        ("a.txt", "--documents blank-lines"),
        ("b.jsonl", "cut it up"),
        ("c.parquet", "cut it up"),
    ):
        with pytest.raises(InputError, match=way_out):
            read(tmp_path / name)
    with pytest.raises(InputError, match="--documents blank-lines"):
        read(tmp_path / "a.txt", documents="file")
    assert len(read(tmp_path / "d.txt")) == 5


BAD_ROWS = {
    b'{"body": "x"}\n': r"line 1: no field 'text' among body",
    b'{"text": "x"}\n{"text": "y"\n': "line 2: no JSON",
    b'{"text": 5}\n': "line 1: 'text' is a int, not text",
    b'["text"]\n': "line 1: a JSON list",
    b"[" * 100_000: "line 1: no JSON",
    b'{"text": ' + b"9" * 5000 + b"}": "line 1: no JSON",
    bytes(range(256)): "line 1: no JSON",
}


@pytest.mark.parametrize(("content", "why"), BAD_ROWS.items(), ids=[why[:30] for why in BAD_ROWS.values()])
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    with pytest.raises(InputError, match=f"rows.jsonl {why}") as error:
        read(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet"])
@pytest.mark.parametrize("packing", PACKINGS[1:])
def test_a_damaged_or_cut_file_is_named(tmp_path: Path, name: str, packing: str) -> None:
    content = {
        "a.txt": b"Some text here. ",
        "a.jsonl": lines({"text": "x"}),
        "a.parquet": table({"text": ["x"]}),
    }
    file = pack(tmp_path / (name + packing), content[name] * 50)
    whole = file.read_bytes()
    for broken in (whole[:-5], b"\x80\x81" + whole, b"no such packing"):
        file.write_bytes(broken)
        with pytest.raises(InputError, match=rf"{file.name} is damaged or no {packing[1:]} file") as error:
            read(file)
        assert "\n" not in str(error.value)


def test_a_table_without_the_column_or_with_numbers_or_none_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(table({"body": ["x"], "text": [1]}))
    with pytest.raises(InputError, match=r"'text' holds int64, not text"):
        read(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"no column 'content' among body, text"):
        read(tmp_path / "a.parquet", text_field="content")
    assert read(tmp_path / "a.parquet", text_field="body") == [("a.parquet:1", "a", "x")]
    (tmp_path / "b.parquet").write_bytes(b"junk")
    with pytest.raises(InputError, match="damaged or no parquet file"):
        read(tmp_path / "b.parquet")


@pytest.mark.parametrize("content", [bytes(range(256)) * 100, b"\0" * 5000, b"PK\3\4" + os.urandom(5000)])
def test_binary_junk_is_no_text(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.txt is no UTF-8 text"):
        read(tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.parquet", "a.txt.gz", "a.jsonl.xz"])
def test_an_empty_file_holds_no_document(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert read(tmp_path / name) == []


def test_columns_of_other_text_types(tmp_path: Path) -> None:
    plain = pyarrow.array(["x", None, "y"])
    for kind in (
        pyarrow.large_string(),
        pyarrow.binary(),
        pyarrow.string_view(),
        pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
    ):
        (tmp_path / "a.parquet").write_bytes(table({"text": plain.cast(kind)}))
        assert [text for _, _, text in read(tmp_path / "a.parquet")] == ["x", "y"]


def test_folders_behind_links_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "x.txt").write_text("One.")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "y.txt").write_text("Two.")
    (tmp_path / "b" / "link").symlink_to(tmp_path / "big")
    (tmp_path / "b" / "round").symlink_to(tmp_path / "b")
    assert [file.name for file in find_files([tmp_path / "b"])] == ["link/x.txt", "y.txt"]


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    with open(path, "wb") as file:  # noqa: PTH123  bytes are no path
        file.write(b"One.")
    (found,) = find_files([tmp_path])
    assert (found.name, os.fsencode(found.path)) == ("caf\ufffd.txt", path)
    assert [text for *_, text in read_documents(found, ReadOptions())] == ["One."]


def test_ids_of_any_type(tmp_path: Path) -> None:
    times = pyarrow.array([1, None], pyarrow.timestamp("ns"))
    damaged = pyarrow.array([b"\xff", b"b"]).view(pyarrow.string())
    for ids, expected in ((times, ["1970-01-01 00:00:00.000000001", "a.parquet:2"]), (damaged, ["\ufffd", "b"])):
        (tmp_path / "a.parquet").write_bytes(table({"text": ["x", "y"], "id": ids}))
        assert [one for one, *_ in read(tmp_path / "a.parquet")] == expected


def test_a_way_out_that_was_taken_is_not_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "DOCUMENT_BYTES", 20)
    (tmp_path / "a.txt").write_text("One sentence a line.\n" * 3)
    with pytest.raises(InputError, match="more than 0 MiB: cut it up") as error:
        read(tmp_path / "a.txt", documents="blank-lines")
    assert "say --documents" not in str(error.value)
    with pytest.raises(InputError, match="say --documents blank-lines"):
        read(tmp_path / "a.txt", documents="file")


def test_names_that_repeat_have_their_folder_before_them(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "part.jsonl").write_bytes(lines({"text": folder}))
    (tmp_path / "x" / "own.txt").write_text("One.")
    found = find_files([tmp_path / "x", tmp_path / "y" / "part.jsonl"])
    assert [file.name for file in found] == ["own.txt", "x/part.jsonl", "y/part.jsonl"]
    assert [file.source for file in found] == ["x", "x/part", "y/part"]
    ids = [one for file in found for one, *_ in read_documents(file, ReadOptions())]
    assert ids == ["own.txt:1", "x/part.jsonl:1", "y/part.jsonl:1"]
    (tmp_path / "z" / "x").mkdir(parents=True)
    (tmp_path / "z" / "x" / "part.jsonl").write_bytes(lines({"text": "z"}))
    found = find_files([tmp_path / "x", tmp_path / "z" / "x"])
    assert [file.name for file in found] == ["own.txt", "x/part.jsonl", "x-2/part.jsonl"]
    assert [file.source for file in found] == ["x", "x/part", "x-2/part"]
