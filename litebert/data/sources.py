"""Files of text to documents: .txt, .jsonl and .parquet, plain or packed as .gz, .xz or .zst.

    paths -> find_files -> read_chunks (raw pieces that end between documents) -> parse_chunk -> documents

Reading and parsing are apart so that one process can read and unpack while others parse. Where chunks begin
and end depends on the content of the file alone.

Text is decoded as UTF-8. Every byte that is not UTF-8 becomes one U+FFFD and is counted, and so is every
half of a surrogate pair that a JSON escape left alone; a byte order mark at the start is dropped; "\\r\\n"
and "\\r" become "\\n"; white space at both ends goes. A .txt file of which more than a tenth is NUL or
undecodable is no text.

A line break ends a paragraph, but for .txt whose lines were broken to fit a page: there the lines of a
paragraph are joined again. Such text has its blank lines between paragraphs, so that unless told otherwise a
file of it is one document; in any other .txt a blank line ends a document.
"""

import itertools
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple, cast

from litebert.data.packing import PACKINGS, error_text, reading, split_name, unpacked
from litebert.errors import ConfigError, InputError

KINDS = (".txt", ".jsonl", ".parquet")

CHUNK_BYTES = 1 << 20
"""A chunk is closed at the first document end after this many bytes."""

DOCUMENT_BYTES = 64 << 20
"""The longest document: one has to fit into memory several times over."""

JUNK_SHARE = 0.1

DOCUMENT_RULES = ("auto", "file", "blank-lines")

WRAPPED_SHARE = 0.4
"""Lines of a page begin in lower case after a line without a mark this often; in English, usually 0.8."""

_ESCAPED = re.compile("[\udc80-\udcff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+|\Z")
_LINE_BREAK = re.compile(r"(\S)[^\S\n]*\n[^\S\n]*(?=(\S))")
_ENDS_LINE = frozenset(".!?:;…\"'”’)")


class SourceFile(NamedTuple):
    """One input file: `name` is its path below the folder that was given, `source` what it counts under."""

    path: Path
    name: str
    source: str
    kind: str
    packing: str


class ReadOptions(NamedTuple):
    """How documents lie in files."""

    text_field: str = "text"
    """The field of .jsonl, the column of .parquet."""
    documents: str = "auto"
    """In .txt: "file" makes one document of each file; "blank-lines" ends a document at every blank line and
    leaves lines as they are; "auto" is the former for text broken to fit a page, else the latter."""

    def check(self) -> None:
        """Raise ConfigError for an unknown rule."""
        if self.documents not in DOCUMENT_RULES:
            raise ConfigError(f"documents {self.documents!r}: choose {' or '.join(DOCUMENT_RULES)}")


DEFAULT_OPTIONS = ReadOptions()


class Document(NamedTuple):
    """`id` is the given one, else `file:line` (.parquet: row) from 1; for one document a file, the file."""

    id: str
    source: str
    text: str


class Chunk(NamedTuple):
    """A piece of a file that ends between two documents.

    `first` is the number of lines (.parquet: rows) before it; `payload` is raw text, or rows of (id, text);
    `position` says how far into the file, in bytes on disk, reading has come; `whole`: it is one document.
    """

    first: int
    payload: bytes | list[tuple[str | None, bytes | None]]
    position: int
    whole: bool = False

    @property
    def size(self) -> int:
        """Bytes of raw text."""
        if isinstance(self.payload, bytes):
            return len(self.payload)
        return sum(len(text or b"") for _, text in self.payload)


class Parsed(NamedTuple):
    """Documents of one chunk, `replaced` bytes that were not UTF-8, and how many documents were `empty`."""

    documents: list[Document]
    replaced: int
    empty: int


def find_files(
    paths: Iterable[str | Path], *, exclude: Sequence[Path] = (), others: list[str] | None = None
) -> list[SourceFile]:
    """The files to read, in the order given, each folder's files (at any depth) sorted by path.

    Hidden files, and what lies in the folders `exclude`, are passed over; so are files of other kinds inside
    folders, whose names are added to `others`. A file that is reached twice counts once. Raises InputError
    where a path does not exist, is of no known kind, or gives no file. Where names repeat, the folder's stands before
    them.
    """
    found: dict[Path, SourceFile] = {}
    owners: dict[Path, Path] = {}
    kinds = f"{', '.join(KINDS)}, also with {', '.join(PACKINGS)}"
    others = [] if others is None else others
    barred = tuple(path.resolve() for path in exclude)
    for path in map(Path, paths):
        if path.is_dir():
            files = list(_below(path, barred, others))
            if not files:
                raise InputError(f"{path}: no file to read in this folder (known are {kinds})")
        elif not path.exists():
            raise InputError(f"{path}: no such file or folder")
        elif split_name(path.name)[1] not in KINDS:
            raise InputError(f"{path}: unknown kind of file (known are {kinds})")
        else:
            files = [_named(path, path.name)]
        whole = path.resolve()
        for file in files:
            found.setdefault(file.path.resolve(), file)
            owners.setdefault(file.path.resolve(), whole if path.is_dir() else whole.parent)
    if not found:
        raise InputError("no input: name at least one file or folder of text")
    counts = Counter(file.name for file in found.values())
    names = _told_apart(owners.values())
    return [
        file if counts[file.name] == 1 else _below_a_name(file, names[owners[whole]]) for whole, file in found.items()
    ]


def _told_apart(folders: Iterable[Path]) -> dict[Path, str]:
    """A name for each folder: its own, with a number behind it where one before has it."""
    names: dict[Path, str] = {}
    for folder in dict.fromkeys(folders):
        tries = itertools.chain([folder.name], (f"{folder.name}-{number}" for number in itertools.count(2)))
        names[folder] = next(name for name in tries if name not in names.values())
    return names


def _below_a_name(file: SourceFile, folder: str) -> SourceFile:
    """A file whose name others have, too, with that of the folder in which it was found before it."""
    return file._replace(name=f"{folder}/{file.name}", source=f"{folder}/{file.source}")


def names_below(folder: Path, barred: Sequence[Path]) -> list[str]:
    """The files at any depth below a folder, sorted, but for hidden ones and those in the folders `barred`.

    Folders behind links are read too, each once. `barred` are resolved paths. Raises InputError.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from None

    names, seen = [], {*barred, folder.resolve()}
    for parent, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        here = Path(parent)
        found = {name: (here / name).resolve() for name in sorted(folders) if name[0] != "."}
        folders[:] = [name for name, place in found.items() if place not in seen]
        seen.update(found.values())
        names += [(here / file).relative_to(folder).as_posix() for file in files if file[0] != "."]
    return sorted(names)


def _below(folder: Path, barred: tuple[Path, ...], others: list[str]) -> Iterator[SourceFile]:
    for name in names_below(folder, barred):
        if split_name(name)[1] in KINDS:
            yield _named(folder / name, name, folder)
        else:
            others.append(name)


def _named(path: Path, name: str, folder: Path | None = None) -> SourceFile:
    """The .txt files of a folder count together under their folder, all other files by themselves."""
    name = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # it is written into files
    stem, kind, packing = split_name(Path(name).name)
    parent = Path(name).parent
    source = (parent / stem).as_posix()
    if kind == ".txt" and folder is not None:
        source = (parent if parent.parts else Path(folder.resolve().name)).as_posix()
    return SourceFile(path, name, source, kind, packing)


def read_documents(
    file: SourceFile, options: ReadOptions = DEFAULT_OPTIONS, *, replaced: Counter[str] | None = None
) -> Iterator[Document]:
    """All documents of a file that are not empty, in order.

    `replaced[file.name]` counts the bytes that were not UTF-8. Raises InputError naming file and line: not
    readable, not of its kind, no such field.
    """
    for chunk in read_chunks(file, options):
        parsed = parse_chunk(file, chunk, options)
        if replaced is not None and parsed.replaced:
            replaced[file.name] += parsed.replaced
        yield from parsed.documents


def read_chunks(file: SourceFile, options: ReadOptions = DEFAULT_OPTIONS) -> Iterator[Chunk]:
    """Read a file piece by piece, holding one piece at a time. Raises InputError."""
    options.check()
    what = (file.packing or file.kind).removeprefix(".")
    with reading(file.path, what), file.path.open("rb") as raw:
        if not raw.read(1):
            yield Chunk(0, [(None, None)], 0)  # counts as one empty document
            return
        raw.seek(0)
        whole = file.kind == ".txt" and _is_one_document(file, options.documents)
        with unpacked(raw, file.packing) as stream:
            if whole:
                content = _without_mark(file, stream.read(DOCUMENT_BYTES + 1))
                _limit(file, len(content))
                yield Chunk(0, content, raw.tell(), whole=True)
            elif file.kind == ".parquet":
                yield from _parquet_chunks(file, stream, options.text_field)
            else:
                yield from _line_chunks(file, raw, stream, options)


def _is_one_document(file: SourceFile, rule: str) -> bool:
    if rule != "auto":
        return rule == "file"
    with file.path.open("rb") as raw, unpacked(raw, file.packing) as stream:
        return is_wrapped(_unix_lines(_decode(stream.read(CHUNK_BYTES))[0]))


def _without_mark(file: SourceFile, start: bytes) -> bytes:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{file.path} is UTF-16 text: convert it to UTF-8")
    return start.removeprefix(b"\xef\xbb\xbf")


def _limit(file: SourceFile, size: int, by_blank_lines: bool = False) -> None:
    if size <= DOCUMENT_BYTES:
        return
    way_out = "cut it up, or give it as .jsonl with a document a line"
    if file.kind == ".txt" and not by_blank_lines:
        way_out = f"if blank lines stand between its documents, say --documents blank-lines; else {way_out}"
    raise InputError(f"{file.path} holds a document of more than {DOCUMENT_BYTES >> 20} MiB: {way_out}")


def _line_chunks(file: SourceFile, raw: BinaryIO, stream: IO[bytes], options: ReadOptions) -> Iterator[Chunk]:
    """Chunks that end at a line end (.jsonl), or at a blank line (.txt)."""
    by_line = file.kind == ".jsonl"
    lines: list[bytes] = []
    first = size = document = 0
    while line := stream.readline(DOCUMENT_BYTES + 1):
        if not first and not lines:
            line = _without_mark(file, line)
        lines.append(line)
        size += len(line)
        ends = by_line or line.isspace()
        document = len(line) if ends else document + len(line)
        _limit(file, document, by_blank_lines=options.documents == "blank-lines")
        if ends:
            document = 0
            if size >= CHUNK_BYTES:
                yield Chunk(first, b"".join(lines), raw.tell())
                first, lines, size = first + len(lines), [], 0
    if lines:
        yield Chunk(first, b"".join(lines), raw.tell())


def _parquet_chunks(file: SourceFile, stream: IO[bytes], field: str) -> Iterator[Chunk]:
    import pyarrow.parquet

    with tempfile.TemporaryFile() as whole:
        if file.packing:  # a table of contents stands at the end
            shutil.copyfileobj(stream, whole)
            stream = cast(IO[bytes], whole)
        table = pyarrow.parquet.ParquetFile(stream)
        names = table.schema_arrow.names
        if field not in names:
            there = ", ".join(names)
            raise InputError(f"{file.path}: no column {field!r} among {there}: name one with --text-field")
        bytes_per_row = file.path.stat().st_size / max(1, table.metadata.num_rows)
        rows: list[tuple[str | None, bytes | None]] = []
        first = size = 0
        for batch in table.iter_batches(batch_size=64, columns=[field, *({"id"} & {*names} - {field})]):
            for row in zip(_ids(batch, field), _texts(file, batch, field), strict=True):
                rows.append(row)
                size += len(row[1] or b"")
                _limit(file, len(row[1] or b""))
                if size >= CHUNK_BYTES:
                    yield Chunk(first, rows, int((first + len(rows)) * bytes_per_row))
                    first, rows, size = first + len(rows), [], 0
        if rows:
            yield Chunk(first, rows, int((first + len(rows)) * bytes_per_row))


def _ids(batch: Any, field: str) -> list[str | None]:
    if field == "id" or "id" not in batch.schema.names:
        return [None] * len(batch)
    import pyarrow
    from pyarrow import types

    column = batch.column("id")
    if types.is_temporal(column.type):  # of which Python's own hold no nanoseconds
        column = column.cast(pyarrow.string())
    if types.is_string(column.type) or types.is_large_string(column.type):
        column = column.cast(pyarrow.large_binary())
    values = column.to_pylist()
    texts = (i.decode("utf-8", "replace") if isinstance(i, bytes) else i for i in values)
    return [None if i is None else str(i) for i in texts]


def _texts(file: SourceFile, batch: Any, field: str) -> list[bytes | None]:
    """Raw bytes, not strings: whoever wrote the file may have put in what is not UTF-8."""
    import pyarrow
    from pyarrow import types

    column = batch.column(field)
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if is_parquet_text(column.type):
        column = column.cast(pyarrow.large_binary())
    elif not types.is_null(column.type):
        raise InputError(f"{file.path}: column {field!r} holds {column.type}, not text; name another with --text-field")
    return cast(list[bytes | None], column.to_pylist())


def is_parquet_text(kind: Any) -> bool:
    """Whether values of a type of pyarrow's are text, or bytes that may be."""
    from pyarrow import types

    strings = (types.is_string, types.is_large_string, types.is_string_view)
    return any(of(kind) for of in (*strings, types.is_binary, types.is_large_binary, types.is_binary_view))


def reading_warnings(others: Sequence[str], replaced: Mapping[str, int]) -> Iterator[str]:
    """What of the input was not read as it stands: files of other kinds, and bytes by the name of their file."""
    if replaced:
        worst = max(replaced, key=replaced.__getitem__)
        yield (
            f"{sum(replaced.values()):,} bytes in {len(replaced)} files were not UTF-8 and became U+FFFD,"
            f" {replaced[worst]:,} of them in {worst}"
        )
    if others:
        yield f"{len(others)} files of other kinds were passed over: {few(others)}"


def few(names: Sequence[str]) -> str:
    """The first of some names."""
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


def parse_chunk(file: SourceFile, chunk: Chunk, options: ReadOptions) -> Parsed:
    """The documents of one chunk. Raises InputError naming file and line."""
    if isinstance(chunk.payload, list):
        return _parse_rows(file, chunk.first, chunk.payload)
    if file.kind == ".jsonl":
        return _parse_json(file, chunk.first, chunk.payload, options.text_field)
    text, replaced = _decode(chunk.payload)
    junk = replaced + chunk.payload.count(0)
    if junk > JUNK_SHARE * len(chunk.payload):
        share = f"{100 * junk / len(chunk.payload):.0f} %"
        raise InputError(f"{file.path} is no UTF-8 text ({share} of it is no text): convert or remove it")
    text = _unix_lines(text)
    if chunk.whole:
        text = (_unwrap(text) if is_wrapped(text) else text).strip()
        documents = [Document(file.name, file.source, text)] if text else []
    else:
        documents = list(_split_documents(file, chunk.first, text))
    nothing = not documents and not chunk.first
    return Parsed(documents, replaced, int(nothing))


def is_wrapped(text: str) -> bool:
    """Tell whether line breaks, blank lines apart, stand where a page was full, not where a paragraph ended."""
    breaks = _LINE_BREAK.findall(text)
    inside = sum(after.islower() and before not in _ENDS_LINE for before, after in breaks)
    return bool(inside > WRAPPED_SHARE * len(breaks))


def _unwrap(text: str) -> str:
    return _LINE_BREAK.sub(lambda match: match[1] if match[1] == "-" else match[1] + " ", text)


def _split_documents(file: SourceFile, first: int, text: str) -> Iterator[Document]:
    begin, line = 0, first + 1
    for blank in _BLANK_LINES.finditer(text):
        part = text[begin : blank.start()]
        if content := part.strip():
            skipped = part[: len(part) - len(part.lstrip())].count("\n")
            yield Document(f"{file.name}:{line + skipped}", file.source, content)
        line += text.count("\n", begin, blank.end())
        begin = blank.end()


def _parse_rows(file: SourceFile, first: int, rows: list[tuple[str | None, bytes | None]]) -> Parsed:
    documents, total = [], 0
    for row, (given, raw) in enumerate(rows, first + 1):
        text, replaced = _decode(raw or b"")
        text = _unix_lines(text).strip()
        total += replaced
        if text:
            documents.append(Document(given or f"{file.name}:{row}", file.source, text))
    return Parsed(documents, total, len(rows) - len(documents))


def _parse_json(file: SourceFile, first: int, payload: bytes, field: str) -> Parsed:
    content, replaced = _decode(payload)
    documents, empty = [], 0
    for number, line in enumerate(content.split("\n"), first + 1):
        if not line or line.isspace():
            continue
        row = _json_object(file, number, line, field)
        text, given = row[field], row.get("id")
        if text is not None and not isinstance(text, str):
            raise InputError(f"{file.path} line {number}: {field!r} is a {type(text).__name__}, not text")
        text = _unix_lines(text or "").strip()
        if not text.isascii():
            text, alone = _SURROGATE.subn("\ufffd", text)
            replaced += alone
        if text:
            name = f"{file.name}:{number}" if given in (None, "") else _SURROGATE.sub("\ufffd", str(given))
            documents.append(Document(name, file.source, text))
        else:
            empty += 1
    return Parsed(documents, replaced, empty)


def _json_object(file: SourceFile, number: int, line: str, field: str) -> dict[str, Any]:
    where = f"{file.path} line {number}"
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: no JSON ({error_text(error)}); correct or remove the line") from None
    if not isinstance(row, dict):
        raise InputError(f"{where}: a JSON {type(row).__name__}, not an object with a field {field!r}")
    if field not in row:
        there = ", ".join(row) or "none"
        raise InputError(f"{where}: no field {field!r} among {there}: name one with --text-field")
    return row


def _decode(raw: bytes) -> tuple[str, int]:
    """Decode UTF-8, one U+FFFD for each byte that is none, and how many there were."""
    try:
        return raw.decode(), 0
    except UnicodeDecodeError:
        return _ESCAPED.subn("\ufffd", raw.decode(errors="surrogateescape"))


def _unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
