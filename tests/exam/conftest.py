"""A made-up folder of public data sets, and a model to be examined."""

from pathlib import Path

import pytest

from litebert.data.shards import TOKENIZER_FOLDER
from litebert.text.tokenizer import load_tokenizer
from tests.exam.public import write_public
from tests.labelled import small_model


@pytest.fixture(scope="session")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every set, in the layout of LITEBERT_DATA."""
    return write_public(tmp_path_factory.mktemp("public"))


@pytest.fixture(scope="session")
def model(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small encoder of random weights."""
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    return small_model(tmp_path_factory.mktemp("exam") / "pretrained", tokenizer)
