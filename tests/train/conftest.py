"""What tests of training share."""

from pathlib import Path

import pytest

from litebert.text.tokenizer import Tokenizer
from tests.labelled import small_model


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small encoder of litebert's own shape."""
    return small_model(tmp_path_factory.mktemp("models") / "pretrained", tokenizer)
