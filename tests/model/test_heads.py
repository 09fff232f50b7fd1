"""Heads: what they read, what they share, and the one table they stand in."""

import pytest
import torch
from torch.testing import assert_close

from litebert.errors import ConfigError
from litebert.model.heads import TASKS, AlbertWithHeads, build_model
from tests.models import config_of, packed_batch, random_model


def test_the_decoder_is_the_embedding_stored_once() -> None:
    model = build_model(config_of())
    names = [name for name, parameter in model.named_parameters() if parameter.shape == (100, 12)]
    assert names == ["albert.embedding.word.weight"]
    assert [name for name in model.state_dict() if "word" in name] == names
    head = model.heads["masked_lm"]
    head(torch.randn(3, 32)).sum().backward()
    assert model.albert.embedding.word.weight.grad is not None, "the decoder teaches the embedding"


def test_masked_language_model_is_the_formula() -> None:
    model = random_model(config_of())
    head, hidden = model.heads["masked_lm"], torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    inner = torch.nn.functional.gelu(head.dense(hidden), approximate="tanh")
    expected = head.norm(inner) @ model.albert.embedding.word.weight.T + head.bias
    assert_close(head(hidden), expected)


def test_pooler_and_classifiers_read_the_first_token() -> None:
    model = random_model(config_of(labels=("a", "b", "c")), ("sentence_order", "classify"))
    batch = packed_batch()
    hidden = model.encode(batch)
    first = hidden[[0, 9, 11, 15]]
    pooled = torch.tanh(first @ model.albert.pooler.weight.T + model.albert.pooler.bias)
    assert_close(model.pooled(hidden, batch), pooled)
    assert model.heads["sentence_order"](pooled).shape == (4, 2)
    classify = model.heads["classify"]
    assert_close(classify(pooled), pooled @ classify.classifier.weight.T + classify.classifier.bias)
    assert classify(pooled).shape == (4, 3)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_of_the_table_builds_its_head(name: str) -> None:
    model = build_model(config_of(), (name,))
    assert list(model.heads) == [name]
    assert TASKS[name].reads in ("tokens", "pooled", "sequences")
    assert TASKS[name].hugging_face.startswith("Albert")


def test_an_unknown_head() -> None:
    with pytest.raises(ConfigError, match="masked_lm"):
        AlbertWithHeads(config_of(), ("guess",))
