"""Predicted memory: against what autograd and optimizers really hold, and which batches are refused.

Whole processes are measured by benchmarks/memory.py.
"""

import re
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from litebert.cli import main
from litebert.data.batches import DataSettings, PretrainBatch, micro_batches
from litebert.data.pairs import PairSettings
from litebert.errors import ConfigError
from litebert.model import memory
from litebert.model.config import PRESETS, AlbertConfig, preset
from litebert.model.heads import AlbertWithHeads, build_model
from litebert.model.memory import BatchShape, available_memory, require_memory, training_memory
from litebert.model.packed import pack
from litebert.train import pretrain
from litebert.train.optimizers import OptimizerSettings, build_optimizer
from litebert.train.parallel import World
from litebert.train.pretrain import PretrainSettings

SMALL = AlbertConfig(
    vocab_size=500, embedding_size=32, hidden_size=64, num_hidden_layers=6, num_attention_heads=4,
    intermediate_size=256, max_position_embeddings=64,
)  # fmt: skip
CPU = torch.device("cpu")


def on_meta(config: AlbertConfig) -> AlbertWithHeads:
    with torch.device("meta"):
        return AlbertWithHeads(config, ("masked_lm", "sentence_order"))


def with_layers(config: AlbertConfig, layers: int) -> AlbertConfig:
    return AlbertConfig.from_dict(config.to_dict() | {"num_hidden_layers": layers})


def kept_bytes(config: AlbertConfig, rows: int, length: int, *, half: bool, checkpointing: bool) -> int:
    """Bytes that autograd keeps from a forward pass with the masked-LM loss, parameters left out."""
    model = build_model(config).train()
    model.albert.encoder.activation_checkpointing = checkpointing
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage  # holding it keeps its address from being used again
        return tensor

    packed, _ = pack(torch.ones(rows, length, dtype=torch.int64))
    masked = torch.arange(round(0.15 * rows * length))
    precision = torch.autocast("cpu", torch.bfloat16) if half else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), precision:
        logits = model.heads["masked_lm"](model.encode(packed, attention="padded")[masked])
        F.cross_entropy(logits.float(), torch.zeros_like(masked))
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("block", ["post_norm", "pre_norm"])
@pytest.mark.parametrize(("length", "rows"), [(16, 16), (64, 4)])
def test_a_layer_keeps_what_autograd_keeps(block: str, half: bool, length: int, rows: int) -> None:
    config = AlbertConfig.from_dict(SMALL.to_dict() | {"block": block})
    shape = BatchShape(rows * length, rows, length, 30, 1)  # here without room for short sequences

    def both(layers: int) -> tuple[int, int]:
        config_of_layers = with_layers(config, layers)
        how = {"precision": "bf16" if half else "fp32", "compiled": False}
        planned = training_memory(on_meta(config_of_layers), shape, **how)  # type: ignore[arg-type]
        return planned.activations, kept_bytes(config_of_layers, rows, length, half=half, checkpointing=False)

    (planned, kept), (planned_more, kept_more) = both(4), both(8)
    assert planned_more - planned == pytest.approx(kept_more - kept, rel=0.08)


def test_checkpointing_keeps_the_inputs_of_the_layers_alone() -> None:
    kept = [kept_bytes(with_layers(SMALL, n), 4, 64, half=False, checkpointing=True) for n in (2, 6)]
    shape = BatchShape.of(64, 4)
    planned = [
        training_memory(on_meta(with_layers(SMALL, n)), shape, precision="fp32", activation_checkpointing=True)
        for n in (2, 6)
    ]
    assert planned[1].activations - planned[0].activations == kept[1] - kept[0] == 4 * 4 * 64 * 64 * 4
    plain = training_memory(on_meta(SMALL), shape, precision="fp32")
    assert planned[1].activations < plain.activations / 2


@pytest.mark.parametrize("name", ["adamw", "lamb", "muon"])
def test_moments_are_what_the_optimizer_keeps(name: str) -> None:
    model = build_model(SMALL)
    optimizer = build_optimizer(model, OptimizerSettings(name=name))  # type: ignore[arg-type]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.set_factor(1.0)
    optimizer.step()
    state = sum(tensor.numel() * 4 for tensor in optimizer.state().values() if tensor.numel() > 1)
    assert training_memory(on_meta(SMALL), BatchShape.of(64, 4), optimizer=name).optimizer == state


@pytest.mark.parametrize(("rows", "parts"), [(16, 1), (8, 3), (5, 5)])
def test_shapes_are_those_of_the_input_pipeline(rows: int, parts: int) -> None:
    settings = DataSettings(batch_size=rows, micro_batches=parts, pairs=PairSettings(length=32))
    tokens = rows * 32
    zeros = np.zeros(tokens, np.int64)
    ends = (np.arange(rows + 1) * 32).astype(np.int32)
    batch = PretrainBatch(zeros, zeros, zeros, ends, np.arange(9), np.arange(9), np.zeros(rows, np.int64))
    padded = micro_batches(batch, settings, 0, parts)[0]
    shape = BatchShape.of(32, rows, parts, settings.masking.share)
    assert shape.tokens == len(padded.input_ids)
    assert shape.sequences == len(padded.cu_seqlens) - 1
    assert shape.masked == len(padded.masked_positions)


def test_memory_adds_up_and_grows_with_everything() -> None:
    def total(name: str = "base", length: int = 128, rows: int = 16, parts: int = 1, **how: Any) -> int:
        return training_memory(on_meta(preset(name)), BatchShape.of(length, rows, parts), **how).total

    planned = training_memory(on_meta(preset("base")), BatchShape.of(128, 16))
    parts = (planned.weights, planned.optimizer, planned.gradients, planned.copies, planned.activations)
    assert planned.total == sum(parts) + planned.allocator + planned.process
    sizes = [total(name) for name in PRESETS]
    assert sizes == sorted(sizes)
    assert total() < total(rows=32) < total(rows=32, length=256)
    assert total(rows=64, parts=8) < total(rows=64)
    assert total(precision="fp32") > total()
    assert total("xlarge", activation_checkpointing=True, compiled=False) < total("xlarge", compiled=False) / 2
    eager: dict[str, Any] = {"precision": "fp32", "compiled": False}
    small = training_memory(on_meta(preset("base")), BatchShape.of(8, 1), optimizer="lamb", **eager)
    assert small.moment == "optimizer"
    fused = training_memory(on_meta(preset("base")), BatchShape.of(8, 1), optimizer="adamw", **eager)
    assert fused.total < small.total, "AdamW makes no copies"


def limits(monkeypatch: pytest.MonkeyPatch, gib: float) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda device: int(gib * 2**30))


def test_what_fits_is_not_refused_and_what_cannot_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = on_meta(preset("base"))
    need = training_memory(model, BatchShape.of(128, 16)).total / 2**30
    limits(monkeypatch, need * 0.9)  # the prediction may be off by a tenth
    require_memory(model, CPU, length=128, batch_size=16)
    limits(monkeypatch, need * 0.8)
    with pytest.raises(ConfigError, match="batch_size=16 of length 128 with micro_batches=1 needs about"):
        require_memory(model, CPU, length=128, batch_size=16)


def test_the_ways_out_fit_and_are_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    model, limit = on_meta(preset("base")), 2 * 2**30
    limits(monkeypatch, 2)
    with pytest.raises(ConfigError) as refused:
        require_memory(model, CPU, length=128, batch_size=256)
    found = re.search(r"data.micro_batches=(\d+) or more, or batch_size=(\d+) or less$", str(refused.value))
    assert found, refused.value
    parts, rows = int(found[1]), int(found[2])

    def fits(rows: int, parts: int) -> bool:
        return training_memory(model, BatchShape.of(128, rows, parts)).total <= limit

    assert fits(256, parts)
    assert not fits(256, parts - 1)
    assert fits(rows, 1)
    assert not fits(rows + 1, 1)
    require_memory(model, CPU, length=128, batch_size=256, micro_batches=parts)
    require_memory(model, CPU, length=128, batch_size=rows)


def test_where_no_batch_fits_other_ways_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    limits(monkeypatch, 16)
    with pytest.raises(ConfigError, match=r"loop.activation_checkpointing=true$"):
        require_memory(on_meta(preset("xxlarge")), CPU, length=512, batch_size=8, precision="fp32", compiled=False)
    limits(monkeypatch, 0.1)
    with pytest.raises(ConfigError, match="take a smaller model"):
        require_memory(on_meta(preset("tiny")), CPU, length=64, batch_size=2)


def test_processes_share_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = on_meta(preset("base"))
    limits(monkeypatch, 2)
    require_memory(model, CPU, length=128, batch_size=16)
    with pytest.raises(ConfigError):
        require_memory(model, CPU, length=128, batch_size=64, processes=4)


def test_a_run_of_several_processes_asks_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    model = on_meta(preset("base"))
    settings = PretrainSettings(data=DataSettings(batch_size=256, pairs=PairSettings(length=128)))
    limits(monkeypatch, 6)
    with pytest.raises(ConfigError, match="micro_batches=1 needs about"):
        pretrain._require_memory(settings, model, World(size=4))


def test_this_machine_has_memory() -> None:
    assert 2**28 < available_memory(CPU) < 2**50


def test_pretrain_refuses_before_anything_is_written(
    prepared: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["pretrain", "--data", prepared, "--preset", "tiny", "--out", tmp_path / "run"]
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in (*command, "--batch-size", 50_000_000, "--length", 128)])
    lines = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2
    assert re.search(r"batch_size=50000000 .* needs about [\d.]+ GiB, .* data.micro_batches=\d+ or more", lines[-1])
    assert not list(tmp_path.iterdir())
