"""Writing a folder so that it is there whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from litebert.errors import OutputError


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """Give a temporary folder to write into; on leaving it becomes `folder`, on an error it vanishes.

    Everything is on the disk before the name is. A folder that exists keeps its other files; those of the same
    name are replaced one by one. Raises OutputError where the place cannot be written or is full.
    """
    target = Path(folder)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        yield temporary
        _publish(temporary, target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({error.strerror or error}): choose another place") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, target: Path) -> None:
    for path in temporary.iterdir():
        _sync(path)
    _sync(temporary)
    if target.is_dir() and any(target.iterdir()):
        for path in sorted(temporary.iterdir()):
            path.replace(target / path.name)
        _sync(target)
    else:
        temporary.chmod(0o755)  # mkdtemp's folder is for its owner alone
        temporary.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
