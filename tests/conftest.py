"""What every test shares: two workers on two cores, no network, and the public data sets where they are."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from litebert.text.tokenizer import Tokenizer

# Before torch loads: test processes share the cores, and threads would fight over them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

settings.register_profile("house", deadline=None, derandomize=True)  # the same examples on every machine
settings.load_profile("house")


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of numbers that other people's code computed."""
    return Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def litebert_data() -> Path:
    """The folder of public data sets, named by LITEBERT_DATA; the test is skipped where there is none."""
    folder = os.environ.get("LITEBERT_DATA")
    if not folder:
        pytest.skip("LITEBERT_DATA is not set: this test reads a public data set")
    return Path(folder)


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Refuse every connection that would leave this machine."""
    connect = socket.socket.connect
    here = ("127.0.0.1", "::1", "localhost")

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in here:
            raise AssertionError(f"a test reached for the network: {address}")
        connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded)
    yield
    patch.undo()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `gpu` where there is no such device."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@pytest.fixture(scope="session")
def prose() -> list[str]:
    """Real text that any machine has: the documentation strings of Python's standard library, one a module."""
    from tests.prose import standard_library

    return standard_library()


@pytest.fixture(scope="session")
def prepared(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder made of that text, with a tokenizer of 2,000 pieces."""
    from litebert.data.prepare import prepare
    from litebert.text.training import train_tokenizer

    folder = tmp_path_factory.mktemp("prepared")
    text = folder / "library.jsonl"
    text.write_text("".join(json.dumps({"text": document}) + "\n" for document in prose), encoding="utf-8")
    train_tokenizer(prose, folder / "tokenizer", vocab_size=2000)
    prepare([text], folder / "tokenizer", folder / "data", held_out=0.1, processes=1)
    return folder / "data"


@pytest.fixture(scope="session")
def tokenizer(prepared: Path) -> "Tokenizer":
    """That of the data folder."""
    from litebert.text.tokenizer import load_tokenizer

    return load_tokenizer(prepared / "tokenizer")
