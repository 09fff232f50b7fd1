"""The config refuses what cannot be a model, in one line, and reads back what it wrote."""

from typing import Any

import pytest

from litebert.errors import ConfigError
from litebert.model.config import PRESETS, AlbertConfig, preset
from tests.models import OWN_BLOCK, config_of

PAPER = {  # Lan et al. 2020, table 1: hidden, layers, heads
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
    "xlarge": (2048, 24, 32),
    "xxlarge": (4096, 12, 64),
}


@pytest.mark.parametrize("name", PAPER)
def test_presets_have_the_papers_shapes(name: str) -> None:
    config = preset(name)
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == PAPER[name]
    assert (config.vocab_size, config.embedding_size, config.max_position_embeddings) == (30000, 128, 512)
    assert config.intermediate_size == 4 * config.hidden_size
    assert (config.sharing, config.block, config.position, config.hidden_act) == (
        "all", "post_norm", "absolute", "gelu_new",
    )  # fmt: skip
    assert config.layer_norm_eps == 1e-12
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == config.embedding_dropout_prob == 0.0


def test_small_is_the_shape_that_ships() -> None:
    config = preset("small")
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (384, 6, 12)
    assert (config.intermediate_size, config.embedding_size) == (1536, 128)


@pytest.mark.parametrize("name", PRESETS)
def test_what_was_written_reads_back(name: str) -> None:
    config = preset(name, labels=("no", "yes", "perhaps"), problem_type="single_label_classification")
    values = config.to_dict()
    assert AlbertConfig.from_dict(values) == config
    assert None not in values.values()


def test_groups_have_two_spellings_and_one_meaning() -> None:
    assert config_of(num_hidden_groups=2) == config_of(sharing="groups=2")
    assert config_of(num_hidden_groups=1) == config_of(sharing="all")
    assert preset("base", num_hidden_groups=3).num_hidden_groups == 3
    assert config_of(sharing="none").num_hidden_groups == 4
    assert config_of(sharing="attention").num_hidden_groups is None
    with pytest.raises(ConfigError, match="contradicts"):
        config_of(num_hidden_groups=2, sharing="cycle=2")
    with pytest.raises(ConfigError, match="contradicts"):
        config_of(num_hidden_groups=2, sharing="all")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"hidden_size": 30}, "num_attention_heads"),
        ({"hidden_size": 0}, "hidden_size"),
        ({"num_hidden_layers": 2.0}, "num_hidden_layers"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"vocab_size": True}, "vocab_size"),
        ({"sharing": "groups=3"}, "divide 4 layers"),
        ({"num_hidden_groups": 3}, "divide 4 layers"),
        ({"sharing": "cycle=5"}, "cycle=5"),
        ({"sharing": "deltas"}, "deltas"),
        ({"sharing": "groups=-1"}, "groups=-1"),
        ({"sharing": "all=2"}, "all=2"),
        ({"sharing": 3}, "sharing plan"),
        ({"hidden_act": "geglu"}, "gelu_new"),
        ({"block": "sandwich"}, "pre_norm"),
        ({"position": "alibi"}, "rotary"),
        ({"position": "rotary", "hidden_size": 36, "num_attention_heads": 4}, "even"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob"),
        ({"attention_probs_dropout_prob": -0.1}, "attention_probs_dropout_prob"),
        ({"classifier_dropout_prob": "none"}, "classifier_dropout_prob"),
        ({"embedding_dropout_prob": float("nan")}, "embedding_dropout_prob"),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps"),
        ({"initializer_range": float("inf")}, "initializer_range"),
        ({"pad_token_id": 100}, "pad_token_id"),
        ({"labels": ()}, "labels"),
        ({"labels": ("a", "b", "a")}, "'a' names two classes"),
        ({"problem_type": "guess"}, "regression"),
        ({"hiden_size": 32}, "hiden_size"),
    ],
)
def test_what_cannot_be_a_model(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word) as error:
        config_of(**fields)
    assert "\n" not in str(error.value)


def test_an_unknown_preset() -> None:
    with pytest.raises(ConfigError, match="xxlarge"):
        preset("huge")


def test_the_two_blocks_and_positions_combine() -> None:
    for block in ("post_norm", "pre_norm"):
        for position in ("absolute", "rotary"):
            assert config_of(block=block, position=position).num_hidden_groups == 1
    assert config_of(**OWN_BLOCK).head_size == 8
