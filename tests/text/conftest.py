"""Tokenizers for tests: a small one trained here, and the original's where it is at hand."""

from pathlib import Path

import pytest

from litebert.text.tokenizer import Tokenizer, load_tokenizer
from litebert.text.training import train_tokenizer
from tests.prose import standard_library

ACCENTED = "Ein Café in Zürich – naïve Façade, 5 £ oder 6 € für 1,000 Gäste (2019, 2,5 %)."


@pytest.fixture(scope="session")
def prose() -> list[str]:
    """Some hundred paragraphs of real English, and a few with accents and numbers."""
    paragraphs = [part for document in standard_library(400_000) for part in document.split("\n\n")]
    return [*paragraphs, *(f"{ACCENTED} {number},{number},000, {number}," for number in range(100))]


@pytest.fixture(scope="session")
def small_folder(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved tokenizer of 1,500 pieces, trained on `prose`."""
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(prose, folder, vocab_size=1500)
    return folder


@pytest.fixture(scope="session")
def small(small_folder: Path) -> Tokenizer:
    return load_tokenizer(small_folder)


@pytest.fixture(scope="session")
def original(litebert_data: Path) -> Tokenizer:
    """The vocabulary of the original's English models."""
    return load_tokenizer(litebert_data / "vocab" / "30k-clean.model")


@pytest.fixture(params=["small", "original"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """First the small one, then the original's where it is at hand."""
    chosen: Tokenizer = request.getfixturevalue(request.param)
    return chosen
