"""What stands for a whole sequence: the vector of its first token, or the mean of all."""

import pytest
import torch

from litebert.errors import ConfigError
from litebert.interop.configs import expressible
from litebert.model.config import preset
from litebert.model.heads import build_model
from litebert.model.packed import pack


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


def test_only_the_first_token_is_what_transformers_knows() -> None:
    assert expressible(preset("base"))
    assert not expressible(preset("base", pooling="mean"))
    with pytest.raises(ConfigError, match="pooling"):
        preset("base", pooling="max")
