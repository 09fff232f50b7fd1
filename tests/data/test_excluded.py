"""Texts of evaluation files in all their forms, and the n-grams that are made of them."""

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet, table

from litebert.data.excluded import find_excluded, gather, texts_of
from litebert.errors import InputError

LONG = "the quick brown fox jumps over the lazy dog and runs away, far away"


def texts(path: Path) -> list[str]:
    return [text for file in find_excluded([path], ()) for text in texts_of(file)]


FORMS: dict[str, tuple[bytes, list[str]]] = {
    "a.txt": (b"One text\nAnother\tsecond cell\r\n\nLast", ["One text", "Another", "second cell", "", "Last"]),
    "b.tsv": (b"sentence\tlabel\nit's \"so\t1\nragged\n", ["sentence", "label", "it's \"so", "1", "ragged"]),
    "c.csv": (b'\xef\xbb\xbfq,"two, with\nline end",1\n', ["q", "two, with\nline end", "1"]),
    "d.jsonl": (b'{"a": "x y", "n": 1, "o": {"b": ["p q", null]}}\n\n"alone"\n', ["x y", "p q", "alone"]),
    "e.json": (b'{"text": "a line each"}\n{"text": "as JSON lines"}\n', ["a line each", "as JSON lines"]),
    "f.json": (
        json.dumps({"data": [{"paragraphs": [{"context": "C c", "qas": [{"question": "Q q", "id": "1"}]}]}]}).encode(),
        ["C c", "Q q", "1"],
    ),
    "g.json": (b'[\n {"tokens": ["EU", "rejects"], "choices": ["one of", "two"]}\n]', ["EU rejects", "one of", "two"]),
    "h.conll": (b"EU\tB-ORG\nrejects\tO\n\nPeter NNP B-PER\nBlackburn NNP I-PER\n", ["EU rejects", "Peter Blackburn"]),
    "rows": (b"ham\tit is\nspam\twin now\n", ["ham", "it is", "spam", "win now"]),
    "seq.in": (b"Who are you\nNo ending", ["Who are you", "No ending"]),
    "wrapped": (
        b"here lines were broken to fit a\npage as in old\ncollections of\ntexts\n\nsecond one\n",
        ["here lines were broken to fit a page as in old collections of texts", "second one"],
    ),
    "latin.txt": (b"caf\xe9 au lait", ["caf\ufffd au lait"]),
    "empty.txt": (b"", []),
    "picture.png": (b"\x89PNG\r\n\x1a\n\0\0", []),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("packing", ["", ".gz", ".xz"])
def test_every_string_of_a_file_is_a_text(tmp_path: Path, name: str, packing: str) -> None:
    content, expected = FORMS[name]
    pack: dict[str, Any] = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
    (tmp_path / (name + packing)).write_bytes(pack[packing](content))
    assert texts(tmp_path) == expected


def test_parquet(tmp_path: Path) -> None:
    rows = {"premise": ["a b", None], "choices": [["c d", "e f"], []], "label": [0, 1]}
    parquet.write_table(table(rows), tmp_path / "a.parquet")
    (tmp_path / "b.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    assert texts(tmp_path) == ["a b", "c d", "e f"] * 2


def test_parquet_with_texts_of_every_type(tmp_path: Path) -> None:
    """All that `prepare` reads as text, and more."""
    kinds = ("string", "large_string", "binary", "large_binary", "string_view", "binary_view")
    plain = pyarrow.array(["a b"])
    parquet.write_table(table({kind: plain.cast(getattr(pyarrow, kind)()) for kind in kinds}), tmp_path / "a.parquet")
    assert texts(tmp_path) == ["a b"] * 6


def test_parquet_with_what_python_cannot_hold(tmp_path: Path) -> None:
    columns = {
        "when": pyarrow.array([1, 2], pyarrow.timestamp("ns")),
        "review": pyarrow.array([b"a \xff", b"b"]).view(pyarrow.string()),
        "more": pyarrow.array([{"title": "c", "at": 1}, None]),
    }
    parquet.write_table(table(columns), tmp_path / "a.parquet")
    assert sorted(texts(tmp_path)) == ["a \ufffd", "b", "c"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "line 2: no JSON"),
        ("a.json", b"{'data': []}", "a.json: no JSON"),
        ("a.txt.gz", b"x", "damaged"),
        ("a.parquet", b"x", "damaged"),
        ("a.txt", "text".encode("utf-16"), "UTF-16"),
        ("a.csv", b'"' + b"x" * 200_000 + b'"', "line 1: a field longer than"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=why) as error:
        texts(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_files_are_named_by_their_folder_and_found_once(tmp_path: Path) -> None:
    for name in ("rte/dev.tsv", "rte/deep/x.txt", "rte/.hidden", "wnli/dev.tsv", "out/a.txt", "alone.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(LONG)
    paths = [tmp_path / "rte", tmp_path / "wnli", tmp_path / "rte" / "dev.tsv", tmp_path / "alone.csv"]
    names = [file.name for file in find_excluded(paths, ())]
    assert names == ["rte/deep/x.txt", "rte/dev.tsv", "wnli/dev.tsv", "alone.csv"]
    names = [file.name for file in find_excluded([tmp_path], [tmp_path / "out"])]
    assert "out/a.txt" not in {name.partition("/")[2] for name in names}
    assert len(names) == 4
    with pytest.raises(InputError, match="no such file"):
        find_excluded([tmp_path / "none"], ())
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputError, match="no file in this folder"):
        find_excluded([tmp_path / "bare"], ())


def test_what_is_said_of_the_set(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(f"label\ttext\n1\t{LONG}\n0\tonly a few words here\n")
    (tmp_path / "b.txt").write_text(LONG + " and then further\n")
    (tmp_path / "c.bin").write_bytes(b"\0")
    facts = gather(find_excluded([tmp_path], ()), tmp_path / "set")
    folder = tmp_path.name
    assert facts.pop("names") == [f"{folder}/{name}" for name in ("a.tsv", "b.txt", "c.bin")]
    assert len(facts.pop("sha256")) == 64
    expected = {"files": 3, "texts": 2, "short_texts": 1, "passed_over": [f"{folder}/c.bin"], "ngrams": 3 + 3}
    assert facts == expected
    (tmp_path / "b.txt").write_text("too short a text")
    with pytest.raises(InputError, match=r"no text of 12 words in b\.txt"):
        gather(find_excluded([tmp_path / "b.txt"], ()), tmp_path / "none")
