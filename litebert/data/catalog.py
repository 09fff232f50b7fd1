"""What is found by name: the catalogue of public models, and the folders in which they are kept."""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from litebert.config import build, read_toml
from litebert.errors import InputError, ModelFolderError
from litebert.files import sha256

VARIABLE = "LITEBERT_DATA"
"""Environment variable that names the folder of public data and models."""


MODELS = Path(__file__).resolve().parent.parent / "models"
"""The models that come with litebert."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One name of the catalogue; see catalog.toml."""

    about: str
    licence: str
    hub: str
    packages: tuple[str, ...]
    inside: str
    sha256: dict[str, str]


def read_catalog(path: Path | None = None) -> dict[str, Entry]:
    """Return all entries by name, of litebert's own catalogue unless another file is named."""
    tables = read_toml(path or Path(__file__).with_name("catalog.toml"))
    return {name: build(Entry, table, f"{name}.") for name, table in tables.items()}


def entry_of(name: str, catalog: Mapping[str, Entry] | None = None) -> Entry:
    """Return the entry of a name; InputError where there is none."""
    catalog = catalog or read_catalog()
    if name not in catalog:
        raise InputError(f"{name!r} is not in the catalogue; known: {', '.join(catalog)}")
    return catalog[name]


def places() -> list[Path]:
    """The folders that are looked through, the one that is written to first: $LITEBERT_DATA, then the user's cache.

    The cache is `litebert` in $XDG_CACHE_HOME or ~/.cache (XDG Base Directory Specification).
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    own = (Path(cache) if cache else Path.home() / ".cache") / "litebert"
    return [Path(os.environ[VARIABLE]), own] if os.environ.get(VARIABLE) else [own]


def shipped() -> list[str]:
    """Names of the models that come with litebert."""
    return sorted(path.parent.name for path in MODELS.glob("*/config.json"))


def find_model(model: str | Path) -> Path:
    """Return the folder of a model that is named by its folder, or by its name: one that comes with litebert, or one
    of the catalogue.

    A folder that exists comes first; what is none of these is returned as it is, for its reader to refuse. Raises
    ModelFolderError for a name of the catalogue that has not been brought yet, or whose files are others than it pins.
    """
    path, name = Path(model), str(model)
    if path.exists():
        return path
    if name in shipped():
        return MODELS / name
    if name not in (catalog := read_catalog()):
        return path
    damaged = ""
    for place in places():
        if (place / name).is_dir():
            if not (wrong := difference(place / name, catalog[name])):
                return place / name
            said = f"{place / name} is not what the catalogue names so ({wrong})"
            damaged = damaged or f"{said}; bring it again with: litebert data get {name}"
    if damaged:
        raise ModelFolderError(damaged)
    raise ModelFolderError(f"{name} is not on this machine; bring it with: litebert data get {name}")


def difference(folder: Path, entry: Entry) -> str:
    """What of a folder is not as the catalogue has it; empty where all is."""
    for file, digest in entry.sha256.items():
        path = folder / file
        if not path.is_file():
            return f"{file} is missing"
        known = path.stat()
        found = _sha256(path, known.st_size, known.st_mtime_ns)
        if found != digest:
            return f"{file} has SHA-256 {found[:12]}..., not {digest[:12]}... as in the catalogue"
    return ""


@functools.cache
def _sha256(path: Path, size: int, modified: int) -> str:
    """Once for each state of a file."""
    return sha256(path)
