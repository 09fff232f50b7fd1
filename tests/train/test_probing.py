"""A head that learns alone finds what scikit-learn finds, whatever the task, and touches nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from litebert.data.examples import Items, SequenceBatch, encode_rows, single_items
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.interop.huggingface import load_model
from litebert.model.heads import TASKS, AlbertWithHeads
from litebert.model.outputs import head_outputs, to_packed
from litebert.text.tokenizer import load_tokenizer
from litebert.train import probing
from litebert.train.probing import STRENGTH, linear_head, probe
from tests.labelled import small_model

CPU = torch.device("cpu")
SEEN = 200


@pytest.fixture
def items(prepared: Path, prose: list[str]) -> Items:
    """The first lines of documents, some counting more than others."""
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    texts = [document[:80] for document in prose[:SEEN]]
    examples = encode_rows(tokenizer, texts, None, 32)
    return single_items(examples, np.linspace(0.5, 1.5, len(examples)))


def model_of(prepared: Path, folder: Path, labels: int) -> AlbertWithHeads:
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    names = [f"label {number}" for number in range(labels)]
    return load_model(small_model(folder / "model", tokenizer, ("classify",), labels=names))


def outputs(model: AlbertWithHeads, batch: SequenceBatch) -> Tensor:
    return model.logits("classify", to_packed(batch, CPU))


def vectors_of(model: AlbertWithHeads, items: Items) -> np.ndarray:
    """What the head reads, moved and scaled as it is for the probe."""
    with torch.no_grad():
        batch = items.examples.batch(np.arange(len(items)))
        vectors = model.albert.encode_pooled(to_packed(batch, CPU)).numpy().astype(np.float64)
    vectors -= vectors.mean(0)
    return vectors / np.sqrt(np.square(vectors).sum(1).mean())


@pytest.mark.parametrize("max_tokens", [100, 100_000])
def test_labels_are_learnt_as_by_logistic_regression(
    prepared: Path, items: Items, tmp_path: Path, max_tokens: int
) -> None:
    model = model_of(prepared, tmp_path, 3)
    gold = torch.from_numpy(items.examples.lengths % 3)
    before = {name: p.clone() for name, p in model.named_parameters() if not name.startswith("heads.")}
    head = linear_head(model.heads["classify"])
    assert head is not None

    def loss(logits: Tensor, batch: SequenceBatch) -> Tensor:
        return F.cross_entropy(logits, gold[batch.sequences], reduction="none")

    vectors = vectors_of(model.eval(), items)
    probe(model, head, items, outputs, loss, max_tokens=max_tokens, seed=1)
    # The weights' sum is the number of items, so that mean loss + |W|^2 / 2 C G is what scikit-learn minimizes.
    expected = LogisticRegression(C=3 * STRENGTH, tol=1e-8, max_iter=1000).fit(vectors, gold.numpy(), items.weights)
    found = head_outputs(model, "classify", items.examples)
    np.testing.assert_allclose(
        F.log_softmax(torch.from_numpy(found), -1).numpy(), expected.predict_log_proba(vectors), atol=2e-3
    )
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters() if name in before)


def test_numbers_are_learnt_as_by_ridge_regression(prepared: Path, items: Items, tmp_path: Path) -> None:
    model = model_of(prepared, tmp_path, 1)
    values = torch.from_numpy((items.examples.lengths - 16) / 8).float()
    head = linear_head(model.heads["classify"])
    assert head is not None

    def loss(said: Tensor, batch: SequenceBatch) -> Tensor:
        return (said[:, 0] - values[batch.sequences]).square()

    vectors = vectors_of(model.eval(), items)
    probe(model, head, items, outputs, loss, max_tokens=500, seed=1)
    expected = Ridge(alpha=0.5 / STRENGTH).fit(vectors, values.numpy(), items.weights)  # sum of squares + |W|^2 / 2 C
    found = head_outputs(model, "classify", items.examples)[:, 0]
    np.testing.assert_allclose(found, expected.predict(vectors), atol=2e-3)


def test_of_many_items_some_are_drawn_by_the_seed(
    prepared: Path, items: Items, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "ITEMS", 10)
    monkeypatch.setattr(probing, "ENOUGH_VECTORS", 15)
    read: list[np.ndarray] = []

    def loss(logits: Tensor, batch: SequenceBatch) -> Tensor:
        read.append(batch.sequences)
        return logits.square().sum(1)

    model = model_of(prepared, tmp_path, 2)
    head = linear_head(model.heads["classify"])
    assert head is not None
    drawn = []
    for seed in (1, 1, 2):
        read.clear()
        probe(model, head, items, outputs, loss, max_tokens=100, seed=seed)
        drawn.append(set(np.concatenate(read).tolist()))
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 20  # a draw is read to its end, whose shortest items come last


def test_which_heads_are_linear(prepared: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    model = load_model(small_model(tmp_path / "model", tokenizer, tuple(TASKS)))
    linear = {name for name, head in model.heads.items() if linear_head(head) is not None}
    assert linear == set(TASKS) - {"masked_lm", "embed"}
