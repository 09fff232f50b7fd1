"""Optimizers and schedules: LAMB against the original's numbers, the sorting of parameters, states, rates."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from litebert.errors import ConfigError
from litebert.model.config import preset
from litebert.model.heads import build_model
from litebert.train import optimizers
from litebert.train.optimizers import Combined, Lamb, Muon, OptimizerSettings, build_optimizer, split_parameters
from litebert.train.schedules import ScheduleSettings, rate_factor


def test_lamb_gives_the_values_of_the_original(golden: Path) -> None:
    numbers = np.load(golden / "lamb.npz")
    names = [key.removeprefix("init/") for key in numbers.files if key.startswith("init/")]
    values = {name: nn.Parameter(torch.from_numpy(numbers[f"init/{name}"])) for name in names}
    plain = [name for name in names if "LayerNorm" in name or "bias" in name]
    groups = [
        {"params": [values[name] for name in names if name not in plain]},
        {"params": [values[name] for name in plain], "weight_decay": 0.0, "trust": False},
    ]
    assert len(plain) == 2
    optimizer = Lamb(groups, lr=0.01, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01)
    for step in range(6):
        for name in names:
            values[name].grad = torch.from_numpy(numbers[f"grad{step}/{name}"])
        optimizer.step()
        for name in names:
            np.testing.assert_allclose(values[name].detach(), numbers[f"value{step}/{name}"], rtol=1e-5, atol=1e-6)


def test_every_parameter_is_trained_once_and_only_matrices_decay() -> None:
    model = build_model(preset("tiny"))
    for name in ("adamw", "lamb", "muon"):
        optimizer = build_optimizer(model, OptimizerSettings(name=name, weight_decay=0.1))  # type: ignore[arg-type]
        grouped = [p for group in optimizer.param_groups for p in group["params"]]
        assert sorted(map(id, grouped)) == sorted(id(p) for p in model.parameters())
        for group in optimizer.param_groups:
            assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])


def test_muon_trains_the_matrices_of_the_blocks_only() -> None:
    model = build_model(preset("tiny"))
    muon, adamw = build_optimizer(model, OptimizerSettings(name="muon")).optimizers
    names = {id(p): name for name, p in model.named_parameters()}
    by_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    by_adamw = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert any("attention" in name for name in by_muon)
    assert all("embedding." not in name and "bias" not in name for name in by_muon)
    assert any(name.startswith("embedding") or ".embedding." in name for name in by_adamw)
    assert any("sentence_order" in name for name in by_adamw), "an output layer of two rows is no matrix for Muon"


@pytest.mark.parametrize("half", [True, False])
def test_muon_computes_what_torch_computes_as_the_processor_can(monkeypatch: pytest.MonkeyPatch, half: bool) -> None:
    monkeypatch.setattr(optimizers, "multiplies_bf16", lambda device: half)
    generator = torch.Generator().manual_seed(3)
    shapes = [(48, 16), (16, 48), (24, 24)]
    first = [torch.randn(shape, generator=generator) for shape in shapes]
    ours, theirs = ([nn.Parameter(value.clone()) for value in first] for _ in range(2))
    mine = Muon(ours, 0.02, 0.1, 0.9)
    torchs = torch.optim.Muon(theirs, 0.02, 0.1, 0.9, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=generator)
            other.grad = one.grad.clone()
        mine.step()
        torchs.step()
    for one, other, value in zip(ours, theirs, first, strict=True):
        apart = float(((one - other).norm() / (other - value).norm()).detach())
        assert apart == 0 if half else 0 < apart < 0.02
        assert torch.equal(mine.state[one]["momentum_buffer"], torchs.state[other]["momentum_buffer"])


def test_tables_matrices_and_vectors() -> None:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 16), nn.Linear(16, 2), nn.LayerNorm(2))
    matrices, tables, vectors = split_parameters(model)
    assert [tuple(p.shape) for p in matrices] == [(16, 4)]
    assert [tuple(p.shape) for p in tables] == [(7, 4), (2, 16)]
    assert [tuple(p.shape) for p in vectors] == [(16,), (2,), (2,), (2,)]


@pytest.mark.parametrize("name", ["adamw", "lamb", "muon"])
def test_a_state_goes_through_a_file_format_bit_by_bit(name: str) -> None:
    def steps(model: nn.Module, optimizer: Combined, first: int, count: int) -> None:
        for step in range(first, first + count):
            generator = torch.Generator().manual_seed(step)
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.set_factor(1 / (step + 1))
            optimizer.step()

    def make() -> tuple[nn.Module, Combined]:
        model = build_model(preset("tiny"), generator=torch.Generator().manual_seed(1))
        return model, build_optimizer(model, OptimizerSettings(name=name))  # type: ignore[arg-type]

    whole, optimizer = make()
    steps(whole, optimizer, 0, 5)
    begun, optimizer = make()
    steps(begun, optimizer, 0, 3)
    state = {key: value.clone() for key, value in optimizer.state().items()}
    resumed, optimizer = make()
    resumed.load_state_dict(begun.state_dict())
    optimizer.load_state(state)
    steps(resumed, optimizer, 3, 2)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_linear_rises_and_falls_to_zero() -> None:
    settings = ScheduleSettings(name="linear", warmup=0.1)
    factors = [rate_factor(settings, step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == pytest.approx(1.0)
    assert factors[54] == pytest.approx(0.5)
    assert factors[99] == pytest.approx(0.0)
    assert all(abs(a - b) <= 0.1 + 1e-9 for a, b in pairwise(factors))


def test_warmup_stable_decay_is_stable_until_its_decay() -> None:
    settings = ScheduleSettings(name="warmup_stable_decay", warmup=0.1, decay=0.2)
    factors = [rate_factor(settings, step, 100) for step in range(100)]
    assert factors[10:80] == [1.0] * 70
    assert factors[80] < 1
    assert factors == sorted(factors[:10]) + factors[10:80] + sorted(factors[80:], reverse=True)
    assert factors[99] == pytest.approx(0.0)


def test_final_factor_and_constant() -> None:
    assert rate_factor(ScheduleSettings(name="cosine", final=0.1), 999, 1000) == pytest.approx(0.1)
    assert rate_factor(ScheduleSettings(name="constant", warmup=0), 999, 1000) == 1.0


def test_settings_that_cannot_work_are_refused() -> None:
    for wrong in (
        lambda: OptimizerSettings(learning_rate=0.0),
        lambda: OptimizerSettings(clip=-1.0),
        lambda: ScheduleSettings(warmup=1.5),
        lambda: ScheduleSettings(name="warmup_stable_decay", warmup=0.6, decay=0.6),
    ):
        with pytest.raises(ConfigError):
            wrong()
