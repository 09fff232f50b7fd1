"""What is found by name: the catalogue of public models, and the folders in which they are kept."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from litebert.config import build, read_toml
from litebert.errors import InputError, ModelFolderError

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
    ModelFolderError for a name of the catalogue that has not been brought yet.
    """
    path, name = Path(model), str(model)
    if path.exists():
        return path
    if name in shipped():
        return MODELS / name
    if name not in (catalog := read_catalog()):
        return path
    for place in places():
        if all((place / name / file).is_file() for file in catalog[name].sha256):
            return place / name
    raise ModelFolderError(f"{name} is not on this machine; bring it with: litebert data get {name}")
