"""Tables are read as they stand, written as they were read, and refused with file and line."""

import errno
import io
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from litebert.data import rows as rows_module
from litebert.data.rows import NumberedRow, file_format, place, read_rows, require_writable, write_rows
from litebert.errors import InputError, OutputError

ROWS = [
    {"text": "plain", "n": "1"},
    {"text": 'quote " comma, tab and\nline end', "n": "2"},
    {"text": "", "n": ""},
    {"text": "汉字 é 🙂 \u2028 \x85", "n": "4"},
]
FLAT = [{**row, "text": row["text"].replace("\n", " ")} for row in ROWS]


def fields(source: Path | str) -> list[dict[str, object]]:
    return [row.fields for row in read_rows(source)]


@pytest.mark.parametrize("packing", ["", ".gz", ".xz", ".zst"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_what_was_written_is_read(tmp_path: Path, suffix: str, packing: str) -> None:
    path = tmp_path / f"a.b{suffix}{packing}"
    rows = FLAT if suffix == ".tsv" else ROWS
    assert write_rows(iter(rows), path) == 4
    assert fields(path) == rows
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    before = path.read_bytes()
    write_rows(iter(rows), path)
    assert path.read_bytes() == before, "equal records are equal bytes"


def test_numbers_are_those_of_lines_and_of_parquet_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,n\n"one\nand a half",1\n\ntwo,2\n', encoding="utf-8")
    assert list(read_rows(path)) == [
        NumberedRow(2, {"text": "one\nand a half", "n": "1"}),
        NumberedRow(5, {"text": "two", "n": "2"}),
    ]
    table = tmp_path / "a.parquet"
    write_rows([{"text": str(i)} for i in range(3000)], table)
    assert [row.number for row in read_rows(table)] == list(range(1, 3001))
    assert place(path, 4) == f"{path}, line 4"
    assert place(table, 4) == f"{table}, row 4"
    assert place("-", 4) == "standard input, line 4"


def test_line_ends_of_all_kinds_inside_of_csv(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": text, "n": "1"} for text in ("a\rb", "\r", "a\r\nb", "a\nb", "a")]
    write_rows(iter(rows), tmp_path / "a.csv")
    assert fields(tmp_path / "a.csv") == rows
    assert csv.read_csv(tmp_path / "a.csv", parse_options=csv.ParseOptions(newlines_in_values=True)).num_rows == 5


def test_empty_lines_before_a_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\r\n\r\ntext,n\r\na,1\r\n")
    assert list(read_rows(tmp_path / "a.csv")) == [NumberedRow(4, {"text": "a", "n": "1"})]


def test_quotes_mean_nothing_in_tsv(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes('\ufefftext\tlabel\r\nit \'s " charming \t1\r\n"unclosed\t0\r\n\r\n'.encode())
    assert fields(path) == [{"text": "it 's \" charming ", "label": "1"}, {"text": '"unclosed', "label": "0"}]


def test_json_lines_may_be_objects_or_texts_and_ragged(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "n": [1]}\n\n"b"\n', encoding="utf-8")
    assert list(read_rows(path)) == [
        NumberedRow(1, {"text": "a", "n": [1]}),
        NumberedRow(3, {"text": "b"}),
    ]


def test_each_line_of_txt_is_a_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text('one\n\ntwo, or "three"\n', encoding="utf-8")
    assert [row["text"] for row in fields(path)] == ["one", "", 'two, or "three"']


def test_standard_input_holds_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b'{"text": "a"}\n{"text": 1')))
    rows = read_rows("-")
    assert next(rows).fields == {"text": "a"}
    with pytest.raises(InputError, match="standard input, line 2: not JSON"):
        next(rows)


def test_a_line_of_ten_megabytes(tmp_path: Path) -> None:
    text = "word " * 2_000_000
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": text}) + "\n", encoding="utf-8")
    assert fields(path) == [{"text": text}]
    table = tmp_path / "a.csv"
    table.write_text(f"text,n\n{text},1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.csv, line 2: a field longer than .* JSON lines"):
        fields(table)


BROKEN = {
    "few.csv": (b"text,label\na,1\nb\n", "line 3: 1 fields, but the header names 2"),
    "many.tsv": (b"text\tlabel\na\t1\tx\n", "line 2: 3 fields, but the header names 2"),
    "twice.csv": (b"text,text\na,1\n", "'text' more than once"),
    "doubled.jsonl": (b'{"text": "a", "text": "b"}\n', "line 1: 'text' stands there more than once"),
    "unclosed.csv": (b'text,n\n"a,1\nb,2\n', "line 2: not valid CSV"),
    "empty.csv": (b"", "is empty"),
    "empty.jsonl": (b"", "is empty"),
    "broken.jsonl": (b'{"text": "a"}\n{"text": \n', "line 2: not JSON"),
    "list.jsonl": (b"[1]\n", "line 1: a list, not an object"),
    "latin.csv": (b"text,n\na,1\ncaf\xe9,2\n", "line 3: byte 0xe9"),
    "utf16.csv": ("text,n\na,1\n".encode("utf-16"), "is UTF-16"),
    "junk.csv": (bytes(range(128, 256)) * 10, "is not UTF-8"),
    "junk.parquet": (b"PAR1junk", "damaged or no parquet file"),
    "junk.jsonl.gz": (b"junk", "damaged or no gz file"),
    "junk.csv.xz": (b"junk", "damaged or no xz file"),
    "junk.csv.zst": (b"junk", "damaged or no zst file"),
    "half.jsonl": (b'{"te\\ud800xt": "a"}\n', "line 1: a field's name holds half a character"),
    "null.jsonl": (b"null\n", "line 1: the value null, not an object"),
    "a.docx": (b"junk", "ends in none of"),
    "noname": (b"junk", "ends in none of"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path, name: str) -> None:
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        fields(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("packing", [".gz", ".xz", ".zst"])
def test_a_packed_file_that_was_cut_off(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"a.csv{packing}"
    write_rows(({"text": os.urandom(20).hex()} for _ in range(5000)), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="damaged"):
        fields(path)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        fields(tmp_path / "a.csv")
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        fields(tmp_path / "b.csv")


def test_json_is_valid_whatever_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    nested = [{"x": float("inf")}, (0.5, float("nan"))]
    write_rows([{"a": float("nan"), "b": "\ud800", "c": "é", "d": nested}], path)
    raw = path.read_bytes()
    expected = {"a": None, "b": "\ud800", "c": "é", "d": [{"x": None}, [0.5, None]]}
    assert json.loads(raw, parse_constant=pytest.fail) == expected


def test_nested_values_are_json_in_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_rows([{"scores": {"a": 0.5}, "ok": True, "none": None}], path)
    assert path.read_text() == 'scores,ok,none\n"{""a"": 0.5}",true,\n'


def test_columns_that_begin_with_missing_values(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = [{"a": None, "b": i} for i in range(1500)] + [{"a": "x", "b": 0.5, "c": 1}]
    write_rows(rows, path)
    assert fields(path)[-1] == {"a": "x", "b": 0.5, "c": 1}


REFUSED = {
    "a.tsv": ([{"text": "fine"}, {"text": "a\tb"}], "record 2 holds a tab"),
    "a.csv": ([{"text": "fine"}, {"text": "b", "more": 1}], "record 2 has the field 'more'"),
    "a.parquet": ([{"a": 1}, {"a": "x"}], "several types"),
    "nothing.parquet": ([{"a": {}}], "Parquet cannot hold a value"),
    "large.parquet": ([{"a": 10**30}], "Parquet cannot hold a value"),
    "half.parquet": ([{"a": "go\ud800od"}], "Parquet cannot hold a value"),
    "a.txt": ([{"text": "fine"}], "cannot be written as .txt"),
    "a.docx": ([{"text": "fine"}], "ends in none of"),
}


def test_parquet_of_many_rows_is_written_group_by_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields that come late, values that are missing at first, whole numbers that become fractions."""
    monkeypatch.setattr(rows_module, "_PARQUET_GROUP", 4)
    rows: list[dict[str, Any]] = [{"n": i, "late": None, "share": 1} for i in range(6)]
    rows += [{"n": 6, "late": "here", "share": 0.5, "new": [1, 2]}, {"n": 7, "late": None, "share": 2, "new": []}]
    rows += [{"n": 8, "late": "again", "share": 1}]
    assert write_rows(rows, tmp_path / "a.parquet") == 9
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert file.metadata.num_row_groups == 3
    table = file.read().to_pydict()
    assert table["n"] == list(range(9))
    assert table["late"] == [None] * 6 + ["here", None, "again"]
    assert table["share"] == [1.0] * 6 + [0.5, 2.0, 1.0]
    assert table["new"] == [None] * 6 + [[1, 2], [], None]
    assert write_rows([], tmp_path / "none.parquet") == 0


def test_columns_of_parquet_that_python_cannot_say(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    fine = pa.table({"time": pa.array([1], pa.timestamp("ns"))})
    for table, message in ((twice, "'text' more than once"), (fine, "rows from 1: .* write these values as texts")):
        pq.write_table(table, tmp_path / "a.parquet")
        with pytest.raises(InputError, match=message):
            fields(tmp_path / "a.parquet")


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, name: str) -> None:
    rows, message = REFUSED[name]
    with pytest.raises(OutputError, match=message):
        write_rows(rows, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_told_before_there_is_work(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(OutputError, match="is a folder; give the name of a file"):
        require_writable([], tmp_path / "folder.jsonl")
    for name, rows in (("new.csv", [{"a": 1}, {"b": 2}]), ("new.parquet", [{"a": 1}, {"a": "x"}])):
        with pytest.raises(OutputError, match=r"write \.jsonl"):
            require_writable(rows, tmp_path / name)
        require_writable(rows[:1], tmp_path / name)
    require_writable([{"a": 1}, {"b": 2}], tmp_path / "new.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.jsonl"]


def test_a_link_stands_for_its_file(tmp_path: Path) -> None:
    (tmp_path / "link.jsonl").symlink_to("real.jsonl")
    write_rows([{"a": 1}], tmp_path / "link.jsonl")
    assert (tmp_path / "link.jsonl").is_symlink()
    assert (tmp_path / "real.jsonl").read_text() == '{"a": 1}\n'


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.jsonl").write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        write_rows(ROWS, tmp_path / "a.jsonl")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.jsonl", "old")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_standard_output_on_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=full))
        with pytest.raises(OutputError, match="standard output: the disk is full"):
            write_rows(ROWS, None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.CSV", (".csv", "")), ("a.x.ndjson.GZ", (".jsonl", ".gz")), ("a.pq", (".parquet", ""))],
)
def test_formats_by_name(name: str, expected: tuple[str, str]) -> None:
    assert file_format(name) == expected
