"""The fast path of answering (sorted, packed, windows averaged) against one sequence at a time."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from litebert.data.examples import encode_rows
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.errors import ModelFolderError, TokenizerError
from litebert.evaluate.evaluate import ClassifyEvaluator, classify_logits, model_tokenizer
from litebert.interop.huggingface import load_model
from litebert.model.packed import pack_lists
from litebert.text.tokenizer import Tokenizer, load_tokenizer
from tests.labelled import ROWS, small_model


@pytest.fixture(scope="module")
def tokenizer(prepared: Path) -> Tokenizer:
    return load_tokenizer(prepared / TOKENIZER_FOLDER)


@pytest.fixture(scope="module")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("models") / "classifier", tokenizer, ("classify",))


@pytest.mark.parametrize("max_tokens", [1, 100, 4096])
def test_logits_do_not_depend_on_the_batch(folder: Path, tokenizer: Tokenizer, max_tokens: int) -> None:
    model = load_model(folder).eval()
    texts = [row["text"] for row in ROWS]
    texts[3] = " ".join(texts)  # several windows
    texts[4] = ""
    pairs = [*texts[7:], *[None] * 7]
    examples = encode_rows(tokenizer, texts, pairs, 48)
    fast = classify_logits(model, examples, max_tokens=max_tokens)
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


def test_the_evaluator_gives_its_primary_metric(folder: Path, tokenizer: Tokenizer) -> None:
    texts, gold = [row["text"] for row in ROWS], np.array([row["label"] == "good" for row in ROWS], dtype=np.int64)
    evaluator = ClassifyEvaluator(examples=encode_rows(tokenizer, texts, None, 64), gold=gold)
    metrics = evaluator(load_model(folder))
    assert 0 <= metrics[evaluator.primary_metric] <= 1


def test_the_tokenizer_must_be_there_and_be_the_models(folder: Path, prepared: Path, tmp_path: Path) -> None:
    import shutil

    assert model_tokenizer(folder).fingerprint == load_tokenizer(prepared / TOKENIZER_FOLDER).fingerprint
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "spiece.model").unlink()
    with pytest.raises(ModelFolderError, match="without a tokenizer"):
        model_tokenizer(bare)
    other = shutil.copytree(folder, tmp_path / "other")
    settings = json.loads((other / "tokenizer_config.json").read_text())
    settings["do_lower_case"] = not settings["do_lower_case"]
    (other / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(TokenizerError, match="not the one the model was saved with"):
        model_tokenizer(other)
