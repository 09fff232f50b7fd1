"""Files that may be packed: .gz, .xz, .zst after the name, unpacked while they are read."""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from litebert.errors import InputError, UnreadableError

PACKINGS = (".gz", ".xz", ".zst")

BUFFER_BYTES = 1 << 20


def split_name(name: str) -> tuple[str, str, str]:
    """Stem, kind and packing: `novels.jsonl.xz` -> (`novels`, `.jsonl`, `.xz`); what is absent is empty."""
    packing = next((p for p in PACKINGS if name.lower().endswith(p)), "")
    plain = name[: len(name) - len(packing)]
    stem, dot, kind = plain.rpartition(".")
    return (stem, dot + kind.lower(), packing) if dot else (plain, "", packing)


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn all that unpacking and the operating system may say into an InputError of one line.

    `what` is the kind of file that was expected, as in "no gz file".
    """
    import pyarrow

    try:
        yield
    except (EOFError, lzma.LZMAError, zlib.error, pyarrow.ArrowException) as error:
        raise _damaged(path, what, error) from None
    except OSError as error:
        if error.errno is None:  # so say gzip and pyarrow that the content is wrong
            raise _damaged(path, what, error) from None
        raise UnreadableError(f"{path}: cannot be read ({error.strerror})") from None


@contextmanager
def unpacked(raw: BinaryIO, packing: str) -> Iterator[IO[bytes]]:
    """The unpacked content of an open file. Cut-off and damaged files raise errors that `reading` knows."""
    if packing == ".gz":
        with gzip.open(raw) as stream:
            yield io.BufferedReader(cast(io.RawIOBase, stream), BUFFER_BYTES)
    elif packing == ".xz":
        with lzma.open(raw) as stream:
            yield io.BufferedReader(cast(io.RawIOBase, stream), BUFFER_BYTES)
    elif packing == ".zst":
        import pyarrow  # the reader of `zstandard` takes a cut-off file for a short one

        with pyarrow.CompressedInputStream(raw, "zstd") as stream:
            yield io.BufferedReader(stream, BUFFER_BYTES)
    else:
        yield raw


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The unpacked content of a file, by its name; raises InputError where it cannot be read."""
    _, kind, packing = split_name(path.name)
    with reading(path, (packing or kind)[1:]), path.open("rb") as raw, unpacked(raw, packing) as file:
        yield file


def error_text(error: BaseException) -> str:
    """What an exception says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _damaged(path: Path, what: str, error: BaseException) -> InputError:
    return InputError(f"{path} is damaged or no {what} file ({error_text(error)}): replace or remove it")
