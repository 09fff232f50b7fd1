"""Texts that must stay out of a corpus: the files of evaluation sets, whatever their form, as a set of n-grams.

    paths -> find_excluded -> texts_of (every field of every row is a text) -> gather: the set (ngrams.py)

Nothing is asked of rows but that they can be read: no header, no columns of certain names, no number of fields. Cells
of .csv and .tsv, strings at any depth of .json, .jsonl and .parquet, sentences of CoNLL columns; of any other file that
is text cells where lines have tabs, else lines, else, where these look broken to fit a page, what stands between blank
lines: so all n-grams of its texts are there, and where the look deceives also some that go from one to the next. A
list of single words is one text.
"""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from litebert.console import progress
from litebert.data.ngrams import NGRAM_WORDS, NgramHasher, normal, write_ngrams
from litebert.data.packing import error_text, reading, split_name, unpacked
from litebert.data.rows import csv_problem
from litebert.data.sources import SourceFile, is_parquet_text, is_wrapped, names_below
from litebert.errors import InputError

BATCH_CHARACTERS = 1 << 20

PHRASE_WORDS = 4
"""Fields of fewer words are labels, names and numbers."""

HEAD_BYTES = 1 << 20
"""So much of a file is looked at to see what it is."""

_CONLL_LINE = re.compile(r"\S+([ \t]+\S+)*[ \t]+(O|[BIESLUM]-\S+)\s*")


def find_excluded(paths: Sequence[str | Path], barred: Sequence[Path]) -> list[SourceFile]:
    """The files to keep out, in the order given, each folder's files (at any depth) sorted by path.

    Hidden files and the folders `barred` are passed over. Raises InputError where a path does not exist.
    """
    found: dict[Path, SourceFile] = {}
    closed = tuple(path.resolve() for path in barred)
    for path in map(Path, paths):
        if path.is_dir():
            within = f"{path.resolve().name}/"
            pairs = [(path / name, within + name) for name in names_below(path, closed)]
        elif path.exists():
            pairs = [(path, path.name)]
        else:
            raise InputError(f"--exclude {path}: no such file or folder")
        for file, name in pairs:
            _, kind, packing = split_name(file.name)
            found.setdefault(file.resolve(), SourceFile(file, name, name, kind, packing))
    if paths and not found:
        raise InputError(f"--exclude {paths[0]}: no file in this folder")
    return list(found.values())


def gather(files: Sequence[SourceFile], folder: Path) -> dict[str, Any]:
    """Write the n-grams of all texts of the files into the new folder, and return what is to be said of them.

    Raises InputError where a file is damaged, or none holds a text that is long enough; OSError.
    """
    folder.mkdir()
    spool = folder / "spool"
    hasher = NgramHasher()
    counts, passed_over = [], []
    texts = short = 0
    with progress("excluded texts", len(files), "files") as advance, spool.open("wb") as out:
        for file in files:
            counts.append(0)
            found = 0
            for batch in _batches(texts_of(file)):
                ngrams = hasher.ngrams(normal(batch))
                numbers = np.unique(ngrams.numbers)
                numbers.astype("<u8").tofile(out)
                counts[-1] += len(numbers)
                found += int((ngrams.line_words > 0).sum())
                texts += int((ngrams.line_words >= NGRAM_WORDS).sum())
                short += int(((ngrams.line_words >= PHRASE_WORDS) & (ngrams.line_words < NGRAM_WORDS)).sum())
            if not found:
                passed_over.append(file.name)
            advance()
    if not any(counts):
        raise InputError(
            f"--exclude: no text of {NGRAM_WORDS} words in {files[0].name} (of {len(files)} files), and shorter ones"
            " cannot be told from chance: name files with longer texts, or leave it out"
        )
    names = [file.name for file in files]
    facts = {"files": len(files), "texts": texts, "short_texts": short, "passed_over": passed_over, "names": names}
    facts = write_ngrams(folder, spool, counts, facts)
    spool.unlink()
    return facts


def texts_of(file: SourceFile) -> Iterator[str]:
    """All texts of a file; none where it is no text at all. Raises InputError naming file and line."""
    what = (file.packing or file.kind).removeprefix(".") or "readable"
    with reading(file.path, what):
        with file.path.open("rb") as raw, unpacked(raw, file.packing) as stream:
            head = stream.read(HEAD_BYTES)
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputError(f"{file.path} is UTF-16 text: convert it to UTF-8")
        with file.path.open("rb") as raw, unpacked(raw, file.packing) as stream:
            if file.kind in (".parquet", ".pq"):
                yield from _parquet(stream, file.packing)
            elif b"\0" not in head:
                yield from _FORMS.get(file.kind, _plain)(stream, file.path, head)


def _lines(stream: IO[bytes]) -> Iterator[str]:
    for number, line in enumerate(stream):
        yield line.decode("utf-8-sig" if not number else "utf-8", "replace").rstrip("\r\n")


def _csv(stream: IO[bytes], path: Path, _: bytes) -> Iterator[str]:
    reader = csv.reader(line + "\n" for line in _lines(stream))
    try:
        for record in reader:
            yield from record
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {csv_problem(error)}") from None


def _json_lines(stream: IO[bytes], path: Path, _: bytes) -> Iterator[str]:
    for number, line in enumerate(_lines(stream), 1):
        if line and not line.isspace():
            yield from _strings(_value(line, f"{path}, line {number}"))


def _json(stream: IO[bytes], path: Path, head: bytes) -> Iterator[str]:
    """One value, or one a line."""
    first, _, second = head.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    if first.rstrip().endswith(b"}") and second.lstrip().startswith(b"{"):
        yield from _json_lines(stream, path, head)
    elif content := stream.read().decode("utf-8-sig", "replace").strip():
        yield from _strings(_value(content, str(path)))


def _value(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: no JSON ({error_text(error)}); correct it, or exclude it as .txt") from None


def _parquet(stream: IO[bytes], packing: str) -> Iterator[str]:
    import io

    import pyarrow.parquet

    table = pyarrow.parquet.ParquetFile(io.BytesIO(stream.read()) if packing else stream)
    textual = [field.name for field in table.schema_arrow if _may_hold_text(field.type)]
    for batch in table.iter_batches(batch_size=1024, columns=textual):
        columns = []
        for column in batch.columns:
            if is_parquet_text(column.type):
                texts = column.cast(pyarrow.large_binary()).to_pylist()
                columns.append([text and text.decode("utf-8", "replace") for text in texts])
            else:
                columns.append(column.to_pylist())
        for row in zip(*columns, strict=True):
            for value in row:
                yield from _strings(value)


def _may_hold_text(kind: Any) -> bool:
    """Whether a type of Parquet's is a text, or has one somewhere in it."""
    from pyarrow import types

    if types.is_nested(kind):
        return any(_may_hold_text(kind.field(i).type) for i in range(kind.num_fields))
    if types.is_dictionary(kind):
        return _may_hold_text(kind.value_type)
    return is_parquet_text(kind)


def _plain(stream: IO[bytes], _: Path, head: bytes) -> Iterator[str]:
    start = head.decode("utf-8", "replace").replace("\r\n", "\n")
    if _is_conll(start):
        yield from _in_paragraphs(line.replace("\t", " ").partition(" ")[0] for line in _lines(stream))
    elif is_wrapped(start) and start.count("\t") < start.count("\n"):
        yield from _in_paragraphs(_lines(stream))
    else:
        yield from _cells(stream)


def _cells(stream: IO[bytes], *_: Any) -> Iterator[str]:
    for line in _lines(stream):
        yield from line.split("\t")


def _is_conll(start: str) -> bool:
    lines = [line for line in start.split("\n")[:-1] if line.strip() and not line.startswith("-DOCSTART-")]
    return bool(lines) and all(map(_CONLL_LINE.fullmatch, lines))


def _in_paragraphs(lines: Iterator[str]) -> Iterator[str]:
    """What stands between blank lines, as one text."""
    paragraph: list[str] = []
    for line in lines:
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            yield " ".join(paragraph)
            paragraph = []
    yield " ".join(paragraph)


_FORMS = {".csv": _csv, ".tsv": _cells, ".tab": _cells, ".json": _json, ".jsonl": _json_lines, ".ndjson": _json_lines}


def _strings(value: Any) -> Iterator[str]:
    """All strings at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list | tuple):
        if value and all(isinstance(one, str) and len(one.split()) < 2 for one in value):
            yield " ".join(value)
        else:
            for one in value:
                yield from _strings(one)


def _batches(texts: Iterator[str]) -> Iterator[str]:
    """Many texts as lines of one."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(" ".join(text.split("\n")))
        size += len(text)
        if size >= BATCH_CHARACTERS:
            yield "\n".join(batch)
            batch, size = [], 0
    if batch:
        yield "\n".join(batch)
