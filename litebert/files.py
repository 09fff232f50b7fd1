"""Writing so that a kill, a power cut or a full disk leaves either the old state or the new one."""

import ctypes
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from litebert.errors import OutputError

_UNFINISHED = re.compile(r"^\.(.+)\.[0-9]+\.partial$")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into one clear line."""
    shown = _shown(path)
    try:
        yield
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise OutputError(f"{shown} cannot be written: {error.strerror}; raise the limit (ulimit -f)") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise full_disk(path) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise OutputError(f"{shown}: no permission to write here; choose another folder") from error
        if _concerns(error, path):
            raise OutputError(f"{shown} cannot be written ({error.strerror}); choose another place") from error
        raise
    except Exception as error:
        # safetensors writes by itself, and raises an error of its own kind.
        if os.strerror(errno.ENOSPC) in str(error):
            raise full_disk(path) from error
        raise


def full_disk(path: Path) -> OutputError:
    """What to say where there is no room for a file."""
    return OutputError(
        f"{_shown(path)}: the disk is full; free some space and give the same command again, a run that has begun with "
        "--resume"
    )


def _shown(path: Path) -> Path:
    """A path as the user knows it, not with the name of what it is written to first."""
    return Path(*(_UNFINISHED.sub(r"\1", part) for part in path.parts))


def _concerns(error: OSError, path: Path) -> bool:
    """Whether an error is about a path that is to be written, something beside it, or a folder above it."""
    if not isinstance(error.filename, str | Path):
        return False
    about = Path(error.filename)
    return about in path.parents or about.parent == path.parent


@contextmanager
def new_folder(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Give a temporary folder that takes the name `path`, with all it holds, once the block has ended well.

    After an error nothing is left behind. replace: whether a folder may stand at `path`, which is replaced; without it
    `path` is kept from other processes meanwhile, and OutputError raised where it holds something or one has it.
    """
    with nullcontext(True) if replace else held(path) as ours:
        if not ours:
            raise in_use(path)
        if not replace:
            require_empty(path)
        with _replacing(path) as temporary:
            yield temporary


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    path = path.resolve() if path.is_symlink() else path  # the folder that it stands for is written, not the link
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    before = path.with_name(f".{path.name}.{os.getpid()}.before")
    missing = _missing(path.parent)
    with disk_errors(path):
        if path.is_file():
            raise OutputError(f"{path} is a file, and a folder is to be written; choose another name")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            yield temporary
            for file in sorted(temporary.rglob("*")):
                if file.is_file():
                    _sync(file)
            _sync(temporary)
            if not path.exists() or not _exchanged(temporary, path):
                _put(temporary, path, before)
            _sync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(before, ignore_errors=True)
            _remove_empty(missing)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange the names of two files or folders at once, where the system can."""
    exchange, here = 2, -100  # RENAME_EXCHANGE, AT_FDCWD
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):
        return False
    return int(rename(here, os.fsencode(one.absolute()), here, os.fsencode(other.absolute()), exchange)) == 0


def _put(temporary: Path, path: Path, before: Path) -> None:
    """Give a folder its name in two steps, what had it before being gone for a moment."""
    if path.exists():
        path.rename(before)
    try:
        temporary.rename(path)
    except OSError:
        if before.exists():
            before.rename(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all; its folder is made where there is none."""
    path = path.resolve() if path.is_symlink() else path
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    missing = _missing(path.parent)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8")
            _sync(temporary)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            _remove_empty(missing)
            raise


LOCK, _ATTEMPTS = ".lock", 100


@contextmanager
def held(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Keep other processes from a folder while the block lasts; gives False where one of them has it.

    A file in it says so, LOCK, which the operating system lets go of however a process ends, and which counts as
    nothing for `require_empty`. The folder is made where there is none, with those above it, and removed if nothing
    else has come into it. wait: until it is free. Raises OutputError for a place that cannot be a folder.
    """
    _require_folder(folder)
    file, missing = folder / LOCK, _missing(folder)
    lock = FileLock(file, blocking=wait)
    with disk_errors(folder):
        for attempt in range(_ATTEMPTS):
            # Another process that is done removes its lock, and the folder if it is empty: maybe just now.
            try:
                folder.mkdir(parents=True, exist_ok=True)
                lock.acquire()
            except FileNotFoundError:
                continue
            except Timeout:
                if attempt == 0:
                    continue
            break
    if not lock.is_locked and not folder.is_dir():
        raise OutputError(f"{folder} cannot be made; choose another place")
    if wait and not lock.is_locked:
        raise in_use(folder)
    try:
        yield lock.is_locked
    finally:
        if lock.is_locked:
            with suppress(OSError):  # some systems do not remove what is open
                file.unlink()
            lock.release()
            _remove_empty(missing)


def _missing(folder: Path) -> list[Path]:
    """The folder and those above it, as far as they are not there, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # it holds something, or is gone
            folder.rmdir()


def in_use(folder: Path) -> OutputError:
    """Say that another process has a folder."""
    return OutputError(f"{folder} is being written by another process; wait for its end, or choose another folder")


def require_empty(path: Path, way_out: str = "choose another folder or remove this one") -> None:
    """Refuse an output folder that holds something already, or that cannot be."""
    _require_folder(path)
    if path.is_dir() and any(file.name != LOCK for file in path.iterdir()):
        raise OutputError(f"{path} is not empty; {way_out}")


def _require_folder(path: Path) -> None:
    """Refuse what cannot be a folder."""
    above = next((parent for parent in (path, *path.parents) if parent.exists()), None)
    if above is not None and not above.is_dir():
        what = path if above == path else f"{path}: {above}"
        raise OutputError(f"{what} is a file, no folder; choose another place")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
