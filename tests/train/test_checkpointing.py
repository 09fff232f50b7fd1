"""Activation checkpointing in the objective of pre-training: less is kept, no gradient changes."""

import numpy as np
import pytest
import torch

from litebert.data.batches import DataSettings, PretrainBatch
from litebert.data.pairs import PairSettings
from litebert.model.config import preset
from litebert.model.device import autocast
from litebert.model.heads import build_model
from litebert.train.corpora import MAY_CHANGE
from litebert.train.loop import seed_everything
from litebert.train.objective import PretrainObjective


def gradients(
    *, checkpointing: bool, compiled: bool, precision: str = "fp32", dropout: float = 0.0, **fields: str
) -> dict[str, torch.Tensor]:
    """Of two steps, through three layers."""
    dropped = {f"{part}_dropout_prob": dropout for part in ("hidden", "attention_probs", "embedding")}
    config = preset(
        "base", vocab_size=300, hidden_size=64, num_attention_heads=4, intermediate_size=128, num_hidden_layers=3,
        **dropped, **fields,
    )  # fmt: skip
    rng, tokens = np.random.default_rng(1), 8 * 32
    batch = PretrainBatch(
        input_ids=rng.integers(5, 300, tokens),
        position_ids=np.tile(np.arange(32), 8),
        token_type_ids=np.zeros(tokens, np.int64),
        cu_seqlens=(np.arange(9) * 32).astype(np.int32),
        masked_positions=np.sort(rng.choice(tokens, 38, replace=False)),
        masked_labels=rng.integers(5, 300, 38),
        order_labels=rng.integers(0, 2, 8),
    )
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model = build_model(config, generator=torch.Generator().manual_seed(1)).train()
    model.albert.encoder.activation_checkpointing = checkpointing
    settings = DataSettings(batch_size=8, pairs=PairSettings(length=32))
    cpu = torch.device("cpu")
    objective = PretrainObjective(model, settings, lambda: autocast(precision, cpu), compiled=compiled)  # type: ignore[arg-type]
    for step in range(2):
        seed_everything(1, step)
        objective.backward(batch)
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("block", "precision"), [("post_norm", "fp32"), ("pre_norm", "bf16")])
def test_gradients_are_the_same_bits_with_and_without(block: str, precision: str) -> None:
    kept, again = (
        gradients(block=block, checkpointing=on, compiled=False, precision=precision, dropout=0.1)
        for on in (False, True)
    )
    assert kept.keys() == again.keys()
    for name, gradient in kept.items():
        assert torch.equal(gradient, again[name]), name
    assert all(gradient.abs().max() > 0 for gradient in kept.values())


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's compiler uses what torch deprecates
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # and asks for what torch warns of; it hides that
@pytest.mark.parametrize("sharing", ["all", "none"])
def test_layers_are_compiled_once_and_give_the_same_gradients(sharing: str) -> None:
    kept = gradients(sharing=sharing, checkpointing=False, compiled=False)
    compiled = gradients(sharing=sharing, checkpointing=True, compiled=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert kept.keys() == compiled.keys()
    for name, gradient in kept.items():
        torch.testing.assert_close(compiled[name], gradient, rtol=1e-4, atol=1e-5)


def test_it_may_change_when_a_run_goes_on() -> None:
    assert "loop.activation_checkpointing" in MAY_CHANGE
