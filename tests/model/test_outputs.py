"""The fast path of answering (sorted, packed, windows averaged) against one sequence at a time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from litebert.data.examples import encode_rows
from litebert.interop.huggingface import load_model
from litebert.model.outputs import bands_of, head_outputs, window_means
from litebert.model.packed import pack_lists
from litebert.text.tokenizer import Tokenizer
from tests.labelled import ROWS, small_model


@pytest.fixture(scope="module")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("models") / "classifier", tokenizer, ("classify",))


@given(st.lists(st.integers(1, 70), min_size=1, max_size=60), st.booleans())
def test_every_sequence_fits_into_its_band(sizes: list[int], sort: bool) -> None:
    lengths = np.array(sorted(sizes, reverse=True) if sort else sizes)
    bands = bands_of(lengths, 72)
    assert sum(count for count, _ in bands) == len(lengths)
    assert (lengths <= np.repeat([limit for _, limit in bands], [count for count, _ in bands])).all()


def test_falling_lengths_save_places() -> None:
    lengths = np.array([60, 30, 28, 20, *[9] * 28])
    assert bands_of(lengths, 64) == ((8, 64), (24, 16))
    assert bands_of(lengths[::-1], 64) == ((32, 64),)


@pytest.mark.parametrize("max_tokens", [1, 100, 4096])
def test_logits_do_not_depend_on_the_batch(folder: Path, tokenizer: Tokenizer, max_tokens: int) -> None:
    model = load_model(folder).eval()
    texts = [row["text"] for row in ROWS]
    texts[3] = " ".join(texts)  # several windows
    texts[4] = ""
    pairs = [*texts[7:], *[None] * 7]
    examples = encode_rows(tokenizer, texts, pairs, 48)
    fast = window_means(examples, head_outputs(model, "classify", examples, max_tokens=max_tokens))
    slow = np.zeros_like(fast)
    with torch.no_grad():
        for row in range(len(texts)):
            windows = []
            for i in np.flatnonzero(examples.rows == row):
                batch = examples.batch(np.array([i]))
                packed = pack_lists([batch.input_ids.tolist()], [batch.token_type_ids.tolist()])
                windows.append(model.heads["classify"](model.pooled(model.encode(packed), packed))[0])
            slow[row] = torch.stack(windows).mean(0).numpy()
    np.testing.assert_allclose(fast, slow, atol=2e-6)
    assert np.ptp(slow[:, 0]) > 0.01, "a model that says the same of everything would prove nothing"


@pytest.mark.parametrize("max_tokens", [1, 100, 4096])
def test_tokens_find_their_places(tokenizer: Tokenizer, tmp_path: Path, max_tokens: int) -> None:
    model = load_model(small_model(tmp_path / "tagger", tokenizer, ("ner",), labels=("O", "B-X", "I-X"))).eval()
    examples = encode_rows(tokenizer, [" ".join(row["text"] for row in ROWS[:4]), "", ROWS[5]["text"]], None, 24)
    fast = head_outputs(model, "ner", examples, max_tokens=max_tokens)
    assert fast.shape == (len(examples.tokens), 3)
    with torch.no_grad():
        for i in range(len(examples)):
            batch = examples.batch(np.array([i]))
            slow = model.logits("ner", pack_lists([batch.input_ids.tolist()]))
            np.testing.assert_allclose(fast[examples.starts[i] : examples.starts[i + 1]], slow.numpy(), atol=2e-6)
