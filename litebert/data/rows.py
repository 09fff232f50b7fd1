"""Tables in and records out: CSV, TSV, JSON lines and Parquet, plain or packed, one row at a time, in order.

    file or stdin -> bytes, unpacked -> lines of UTF-8 -> rows with their numbers
    rows -> a temporary file beside the output -> renamed when it is whole

CSV follows RFC 4180 (quoted fields may hold commas, quotes and line ends). In TSV nothing is special but the
tab, as in GLUE's files. Both begin with a header. JSON lines hold one object a line, or a text alone. In .txt
each line is a text.
"""

import contextlib
import csv
import gzip
import io
import itertools
import json
import lzma
import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

from litebert.data.packing import PACKINGS, opened, split_name
from litebert.errors import InputError, OutputError
from litebert.files import disk_errors

Row = dict[str, Any]

STDIN = "-"
"""The name of standard input, which holds JSON lines."""

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet", ".txt")
_ALIASES = {".ndjson": ".jsonl", ".json": ".jsonl", ".tab": ".tsv", ".pq": ".parquet"}
_PARQUET_ROWS, _PARQUET_GROUP = 1024, 1 << 14
"""Rows of a Parquet file that are read, and written, at once."""


class NumberedRow(NamedTuple):
    """A row and where it stands."""

    number: int
    """Line of the file where the row begins, from 1; for Parquet the row, from 1."""
    fields: Row


def place(source: str | Path, number: int) -> str:
    """Name a row for the user: `reviews.csv, line 17`."""
    if str(source) == STDIN:
        return f"standard input, line {number}"
    return f"{source}, {'row' if file_format(source)[0] == '.parquet' else 'line'} {number}"


def file_format(path: str | Path) -> tuple[str, str]:
    """Format and packing by a file's name, (".csv", ".gz"); raises InputError for an unknown format."""
    _, suffix, packing = split_name(Path(path).name)
    suffix = _ALIASES.get(suffix, suffix)
    if suffix not in FORMATS:
        if Path(path).is_dir():
            raise InputError(f"{path} is a folder; name one file with rows ({', '.join(FORMATS)})")
        raise InputError(
            f"{path}: the name tells the kind of table, and ends in none of {', '.join(FORMATS)} (perhaps "
            "with "
            f"{', '.join(PACKINGS)} after it); rename the file"
        )
    return suffix, packing


def read_rows(source: str | Path) -> Iterator[NumberedRow]:
    """Yield the rows of a file, or of standard input ("-", JSON lines), one after the other.

    Raises InputError, naming file and line, where the file is missing, of no known kind, damaged or not
    UTF-8, and where a row has too many or too few fields, or a line is no JSON object.
    """
    if str(source) == STDIN:
        yield from _json_rows(sys.stdin.buffer, "standard input")
        return
    path = Path(source)
    suffix, packing = file_format(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name one file with rows ({', '.join(FORMATS)})")
    formats: dict[str, Callable[[IO[bytes], str], Iterator[NumberedRow]]] = {
        ".csv": _csv_rows,
        ".tsv": _tsv_rows,
        ".jsonl": _json_rows,
        ".parquet": _parquet_rows,
        ".txt": _text_rows,
    }
    with opened(path) as file:
        # Parquet begins at its end, and what is packed cannot be sought in cheaply.
        stream = io.BytesIO(file.read()) if packing and suffix == ".parquet" else file
        yield from formats[suffix](stream, str(path))


def text_lines(file: IO[bytes], name: str) -> Iterator[tuple[int, str]]:
    r"""Decode line by line; only \n ends a line, and a byte order mark at the start is dropped."""
    number = 0
    for number, raw in enumerate(file, 1):
        if number == 1 and raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise InputError(f"{name} is UTF-16, and litebert reads UTF-8; save it as UTF-8")
        try:
            yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{name}, line {number}: byte 0x{raw[error.start]:02x} at {error.start} of the line is not "
                "UTF-8; save the file as UTF-8"
            ) from None
    if number == 0:
        raise InputError(f"{name} is empty; give a file with rows")


def _header(fields: list[str], name: str) -> list[str]:
    header = [field.strip() for field in fields]
    twice = sorted({field for field in header if header.count(field) > 1})
    if twice:
        raise InputError(
            f"{name}, line 1: the header names {twice[0]!r} more than once; give every column a name of its "
            "own (is the first line a header at all?)"
        )
    return header


def _fields(header: list[str], record: list[str], name: str, number: int) -> Row:
    if len(record) != len(header):
        raise InputError(
            f"{name}, line {number}: {len(record)} fields, but the header names {len(header)} "
            f"({', '.join(header)}); correct that line"
        )
    return dict(zip(header, record, strict=True))


def _csv_rows(file: IO[bytes], name: str) -> Iterator[NumberedRow]:
    reader = csv.reader((line for _, line in text_lines(file, name)), strict=True)
    header: list[str] | None = None
    while True:
        number = reader.line_num + 1
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{name}, line {number}: {csv_problem(error)}") from None
        if record is None:
            return
        if header is None:
            header = _header(record, name) if record else None
        elif record:  # an empty line is no row
            yield NumberedRow(number, _fields(header, record, name, number))


def csv_problem(error: csv.Error) -> str:
    """What is wrong with a CSV file, and what to do."""
    if "field limit" in str(error):
        # The limit is the csv module's, for the whole process; raising it is not ours to do.
        return (
            f"a field longer than {csv.field_size_limit():,} characters; close its quotes, or give texts of "
            "that length as JSON lines"
        )
    return f'not valid CSV ({error}); quote fields as in "a ""word"", b", or use .tsv, where quotes mean nothing'


def _tsv_rows(file: IO[bytes], name: str) -> Iterator[NumberedRow]:
    header: list[str] | None = None
    for number, line in text_lines(file, name):
        record = line.rstrip("\r\n").split("\t")
        if header is None:
            header = _header(record, name)
        elif record != [""] or len(header) == 1:
            yield NumberedRow(number, _fields(header, record, name, number))


def _json_rows(file: IO[bytes], name: str) -> Iterator[NumberedRow]:
    for number, line in text_lines(file, name):
        if not line.strip():
            continue
        try:
            value = json.loads(line, object_pairs_hook=without_doubles)
        except DoubledError as error:
            raise InputError(f"{name}, line {number}: {error} stands there more than once; leave one of them") from None
        except (ValueError, RecursionError) as error:
            problem = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise InputError(
                f'{name}, line {number}: not JSON ({problem}); give one object a line, as in {{"text": "It works."}}'
            ) from None
        if isinstance(value, str):
            value = {"text": value}
        if isinstance(value, dict) and "\\ud" in line and not all(map(is_whole, value)):
            raise InputError(f"{name}, line {number}: a field's name holds half a character (a lone surrogate)")
        if not isinstance(value, dict):
            raise InputError(
                f"{name}, line {number}: {_json_kind(value)}, not an object; give one object a line, as in "
                '{"text": "It works."}'
            )
        yield NumberedRow(number, value)


def is_whole(text: str) -> bool:
    """Whether a text can be written: JSON may name halves of characters, lone surrogates, by their numbers."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _json_kind(value: object) -> str:
    return "a list" if isinstance(value, list) else f"the value {json.dumps(value)}"


class DoubledError(ValueError):
    """A JSON object that has a key twice; says which."""


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An `object_pairs_hook` that raises DoubledError instead of keeping the last of several values."""
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise DoubledError(repr(next(key for key, count in counts.items() if count > 1)))
    return result


def _text_rows(file: IO[bytes], name: str) -> Iterator[NumberedRow]:
    for number, line in text_lines(file, name):
        yield NumberedRow(number, {"text": line.rstrip("\r\n")})


def _parquet_rows(file: IO[bytes], name: str) -> Iterator[NumberedRow]:
    import pyarrow.parquet as pq

    table, number = pq.ParquetFile(file), 0
    _header(table.schema_arrow.names, name)
    for batch in table.iter_batches(batch_size=_PARQUET_ROWS):
        try:
            rows = batch.to_pylist()
        except ValueError as error:  # times of fractions of a microsecond, which Python's cannot say
            raise InputError(f"{name}, rows from {number + 1}: {error}; write these values as texts") from None
        for fields in rows:
            number += 1
            yield NumberedRow(number, fields)
    if number == 0:
        raise InputError(f"{name} has no rows; give a file with rows")


def write_rows(rows: Iterable[Mapping[str, Any]], out: str | Path | None) -> int:
    """Write records to a file, by the ending of its name, or as JSON lines to standard output (None).

    Returns their number. A file appears only when it is whole; one of that name is replaced. In CSV and TSV
    nested values are JSON. Raises OutputError where the place cannot be written, or the kind of file cannot
    hold a value.
    """
    if out is None:
        with disk_errors(Path("standard output")):
            count = _write_json(rows, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return count
    out = Path(out)
    write, compression = _writer(out)
    with _whole_file(out, compression) as file:
        return write(rows, file)


def require_writable(rows: Iterable[Mapping[str, Any]], out: str | Path) -> None:
    """Refuse, before there is any work, a place that `write_rows` could not write to, and fields of rows that a file
    of its kind cannot hold. Raises what `write_rows` raises."""
    out = Path(out)
    write, _ = _writer(out)
    if out.is_dir():
        raise OutputError(f"{out} is a folder; give the name of a file")
    if write is not _write_json:
        with Path(os.devnull).open("wb") as nowhere:
            write(rows, nowhere)


Writer = Callable[[Iterable[Mapping[str, Any]], IO[bytes]], int]


def _writer(out: Path) -> tuple[Writer, str]:
    """How records are written to a file of that name, and how it is packed."""
    try:
        suffix, compression = file_format(out)
    except InputError as error:
        raise OutputError(str(error)) from None
    writers: dict[str, Writer] = {
        ".jsonl": _write_json,
        ".csv": _write_csv,
        ".tsv": _write_tsv,
        ".parquet": _write_parquet,
    }
    if suffix not in writers:
        raise OutputError(f"{out}: records cannot be written as {suffix}; use one of {', '.join(writers)}")
    return writers[suffix], compression


@contextlib.contextmanager
def _whole_file(path: Path, compression: str) -> Iterator[IO[bytes]]:
    path = path.resolve() if path.is_symlink() else path  # the file that it stands for is written, not the link
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as plain:
                with _compressed(plain, compression) as file:
                    yield file
                plain.flush()
                os.fsync(plain.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _compressed(plain: IO[bytes], compression: str) -> contextlib.AbstractContextManager[Any]:
    if compression == ".gz":
        # No name and no time inside: equal records are equal bytes.
        return gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=0)
    if compression == ".xz":
        return lzma.open(plain, "wb")
    if compression == ".zst":
        import zstandard

        writer: contextlib.AbstractContextManager[IO[bytes]] = zstandard.ZstdCompressor().stream_writer(
            plain, closefd=False
        )
        return writer
    return contextlib.nullcontext(plain)


def json_line(record: Mapping[str, Any]) -> bytes:
    """Write one record as a line of valid JSON in UTF-8; NaN becomes null, dates become texts."""
    values = _finite(record)
    try:
        return json.dumps(values, ensure_ascii=False, default=str).encode() + b"\n"
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say only by its number
        return json.dumps(values, default=str).encode() + b"\n"


def _finite(value: object) -> object:
    """The same value with None for the numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_json(rows: Iterable[Mapping[str, Any]], file: IO[bytes]) -> int:
    count = 0
    for count, record in enumerate(rows, 1):  # noqa: B007
        file.write(json_line(record))
    return count


def _write_csv(rows: Iterable[Mapping[str, Any]], file: IO[bytes]) -> int:
    text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    quoting = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    count = 0
    for count, record in enumerate(_cells(rows), 1):  # noqa: B007
        # The library sees that a cell must be quoted where it holds \n, but not where it holds \r.
        (quoting if any("\r" in cell for cell in record) else writer).writerow(record)
    text.detach()
    return max(count - 1, 0)


def _write_tsv(rows: Iterable[Mapping[str, Any]], file: IO[bytes]) -> int:
    count = 0
    for count, record in enumerate(_cells(rows), 1):
        for cell in record:
            if "\t" in cell or "\n" in cell or "\r" in cell:
                raise OutputError(
                    f"record {count - 1} holds a tab or a line end ({cell[:40]!r}), which TSV cannot say; "
                    "write .csv or .jsonl"
                )
        file.write("\t".join(record).encode("utf-8", "replace") + b"\n")
    return max(count - 1, 0)


def _cells(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Yield the header, taken from the first record, and then every record as texts."""
    header: list[str] = []
    for number, record in enumerate(rows, 1):
        if not header:
            header = list(record)
            yield header
        if record.keys() - set(header):
            new = sorted(record.keys() - set(header))[0]
            raise OutputError(
                f"record {number} has the field {new!r}, which the first has not, so it has no column; write .jsonl"
            )
        yield [_cell(record.get(key)) for key in header]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list | tuple | bool):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _write_parquet(rows: Iterable[Mapping[str, Any]], file: IO[bytes]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas: list[Any] = []
    count, remaining = 0, iter(rows)
    try:
        # Types are known only at the end, as a column may begin with missing values: until then rows lie on the disk.
        with tempfile.TemporaryFile() as spool:
            while (chunk := [dict(record) for record in itertools.islice(remaining, _PARQUET_GROUP)]) or not schemas:
                table = _table(chunk)
                schemas.append(table.schema)
                count += len(chunk)
                with pa.ipc.new_stream(spool, table.schema) as stream:
                    stream.write_table(table)
            schema = pa.unify_schemas(schemas, promote_options="permissive")
            spool.seek(0)
            with pq.ParquetWriter(file, schema) as writer:
                for _ in schemas:
                    table = pa.ipc.open_stream(spool).read_all()
                    writer.write_table(pa.concat_tables([schema.empty_table(), table], promote_options="permissive"))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        problem = str(error).splitlines()[0]
        raise OutputError(f"a column holds values of several types ({problem}), so not Parquet; write .jsonl") from None
    except (pa.ArrowException, OverflowError, UnicodeError) as error:
        raise OutputError(f"Parquet cannot hold a value ({str(error).splitlines()[0]}); write .jsonl") from None
    return count


def _table(chunk: list[Row]) -> Any:
    import pyarrow as pa

    names = list(dict.fromkeys(name for record in chunk for name in record))
    return pa.table({name: [record.get(name) for record in chunk] for name in names})
