"""The public encoders themselves, where they have been brought: `litebert data get NAME`."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.testing import assert_close

from litebert.data.catalog import find_model
from litebert.errors import ModelFolderError
from litebert.interop.huggingface import load_model
from litebert.interop.padded import AlbertModel
from tests.prose import standard_library

transformers = pytest.importorskip("transformers", reason="the peers extra is not installed")

NAMES = pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "all-mpnet-base-v2"])


@pytest.fixture
def folder(name: str) -> Path:
    try:
        return find_model(name)
    except ModelFolderError as error:
        pytest.skip(f"{error}: this test reads a public model")


def mean(hidden: Tensor, mask: Tensor) -> Tensor:
    return normalize((hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


@NAMES
def test_real_sentences_have_the_vectors_of_transformers(name: str, folder: Path) -> None:
    texts = [line.strip() for text in standard_library() for line in text.splitlines() if 20 < len(line) < 400][:20]
    assert len(texts) == 20
    batch = dict(transformers.AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt"))
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    ours, mask = AlbertModel.wrap(load_model(folder).eval()), batch["attention_mask"]
    with torch.no_grad():
        expected, found = theirs(**batch), ours(**batch)
    real = mask.bool()
    assert_close(found.last_hidden_state[real], expected.last_hidden_state[real], atol=1e-5, rtol=0)
    assert_close(found.pooler_output, expected.pooler_output, atol=1e-5, rtol=0)
    vectors = mean(found.last_hidden_state, mask), mean(expected.last_hidden_state, mask)
    assert_close(*vectors, atol=1e-6, rtol=0)
