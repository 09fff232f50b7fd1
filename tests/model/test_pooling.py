"""What stands for a whole sequence: the vector of its first token, or the mean of all."""

import pytest
import torch

from litebert.errors import ConfigError
from litebert.interop.configs import expressible
from litebert.model.config import preset
from litebert.model.heads import build_model
from litebert.model.packed import pack
from litebert.model.pooling import pool


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_the_pooler_reads_what_the_config_says_and_no_padding(pooling: str) -> None:
    model = build_model(preset("tiny", pooling=pooling), generator=torch.Generator().manual_seed(1))
    torch.nn.init.normal_(model.albert.pooler.bias)
    ids = torch.randint(5, 4000, (3, 9), generator=torch.Generator().manual_seed(2))
    mask = torch.arange(9) < torch.tensor([[9], [4], [1]])
    packed, _ = pack(ids, mask)
    hidden = model.encode(packed)
    starts, ends = packed.cu_seqlens[:-1].tolist(), packed.cu_seqlens[1:].tolist()
    for row, (start, end) in enumerate(zip(starts, ends, strict=True)):
        gathered = hidden[start] if pooling == "first" else hidden[start:end].mean(0)
        expected = torch.tanh(model.albert.pooler(gathered))
        torch.testing.assert_close(model.pooled(hidden, packed)[row], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shape", [{}, {"block": "post_norm", "position": "absolute", "sharing": "none"}])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_last_layer_computes_what_is_read_alone_and_nothing_changes(
    shape: dict[str, str], checkpointing: bool
) -> None:
    """Vectors of some tokens, doubled ones among them, and all gradients, beside those of all tokens."""
    model = build_model(preset("tiny", **shape), generator=torch.Generator().manual_seed(1))
    model.albert.encoder.activation_checkpointing = checkpointing
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.1)
    ids = torch.randint(5, 4000, (3, 9), generator=torch.Generator().manual_seed(2))
    packed, _ = pack(ids, torch.arange(9) < torch.tensor([[9], [4], [1]]))
    only = torch.tensor([3, 0, 13, 9, 3])
    weights = torch.randn(5, model.config.hidden_size, generator=torch.Generator().manual_seed(3))

    def gradients(vectors: torch.Tensor) -> dict[str, torch.Tensor]:
        model.zero_grad()
        (vectors * weights).sum().backward()  # type: ignore[no-untyped-call]
        return {name: p.grad.clone() for name, p in model.albert.encoder.named_parameters() if p.grad is not None}

    some, every = model.encode(packed, only=only), model.encode(packed)[only]
    torch.testing.assert_close(some, every, atol=1e-6, rtol=1e-5)
    found, expected = gradients(some), gradients(every)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_the_pooler_alone_is_the_pooler(pooling: str) -> None:
    model = build_model(preset("tiny", pooling=pooling), generator=torch.Generator().manual_seed(1))
    ids = torch.randint(5, 4000, (3, 9), generator=torch.Generator().manual_seed(2))
    packed, _ = pack(ids, torch.arange(9) < torch.tensor([[9], [4], [1]]))
    packed = packed._replace(cu_seqlens=torch.cat((packed.cu_seqlens, packed.cu_seqlens[-1:])))  # an empty sequence
    expected = model.pooled(model.encode(packed), packed)
    torch.testing.assert_close(model.albert.encode_pooled(packed)[:3], expected[:3], atol=1e-6, rtol=1e-5)


def test_only_the_first_token_is_what_transformers_knows() -> None:
    assert expressible(preset("base"))
    assert not expressible(preset("base", pooling="mean"))
    with pytest.raises(ConfigError, match="pooling"):
        preset("base", pooling="max")


@pytest.mark.parametrize("how", ["first", "mean"])
def test_an_empty_sequence_has_no_vector(how: str) -> None:
    hidden = torch.randn(4, 3)
    mask = torch.tensor([[1, 1], [0, 0], [1, 1]])
    packed, _ = pack(torch.ones(3, 2, dtype=torch.int64), mask)
    vectors = pool(hidden, packed, how)
    assert vectors[1].tolist() == [0, 0, 0]
    assert vectors[2].abs().sum() > 0
