"""A made-up folder of public data sets."""

from pathlib import Path

import pytest

from tests.exam.public import write_public


@pytest.fixture(scope="session")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every set, in the layout of LITEBERT_DATA."""
    return write_public(tmp_path_factory.mktemp("public"))
