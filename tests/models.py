"""Small models whose every number matters: random weights, biases that are not zero, norms that are not one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from litebert.model.config import AlbertConfig
from litebert.model.heads import AlbertWithHeads, build_model
from litebert.model.packed import Packed, pack_lists

SHAPE: dict[str, Any] = {
    "vocab_size": 100,
    "embedding_size": 12,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "classifier_dropout_prob": 0.0,
}
OWN_BLOCK = {"block": "pre_norm", "position": "rotary"}
SEQUENCES = [[2, 11, 12, 13, 14, 3, 15, 16, 3], [2, 3], [2, 21, 22, 3], [2, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 3]]
"""Ids of four sequences of different lengths."""


def config_of(**fields: Any) -> AlbertConfig:
    return AlbertConfig.from_dict(SHAPE | fields)


def random_model(
    config: AlbertConfig, heads: Sequence[str] = ("masked_lm", "sentence_order"), seed: int = 0
) -> AlbertWithHeads:
    """A model in eval mode; every parameter is drawn, so that none can be forgotten unseen."""
    model = build_model(config, heads)
    draw_all(model, seed)
    return model.eval()


def draw_all(model: nn.Module, seed: int) -> None:
    """Draw every parameter anew: norms around 1, all others around 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * noise if "norm.weight" in name.lower() else 0.2 * noise)


def segments_of(ids: Sequence[int]) -> list[int]:
    """0 up to the first separator, 1 after it."""
    first = list(ids).index(3) if 3 in ids else len(ids)
    return [int(place > first) for place in range(len(ids))]


def packed_batch(sequences: Sequence[Sequence[int]] = SEQUENCES) -> Packed:
    return pack_lists(sequences, [segments_of(ids) for ids in sequences])


def with_unused_slots(packed: Packed, tokens: int, sequences: int, max_length: int) -> Packed:
    """The same batch with constant shapes: unused slots of arbitrary ids at the end, empty sequences."""

    def fill(values: Tensor, size: int, value: int) -> Tensor:
        return torch.cat((values, values.new_full((size - len(values),), value)))

    return Packed(
        input_ids=fill(packed.input_ids, tokens, 99),
        position_ids=fill(packed.position_ids, tokens, 7),
        token_type_ids=fill(packed.token_type_ids, tokens, 1),
        cu_seqlens=fill(packed.cu_seqlens, sequences + 1, int(packed.cu_seqlens[-1])),
        max_length=max_length,
    )
