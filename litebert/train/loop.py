"""The training loop: one function. What it learns from is an objective; what watches it is a hook."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import nn

from litebert.data.batches import BatchStream, PretrainBatch
from litebert.errors import ConfigError
from litebert.train.checkpoints import Progress
from litebert.train.optimizers import Combined
from litebert.train.schedules import ScheduleSettings, rate_factor

Metrics = dict[str, float]

Precision = Literal["auto", "bf16", "fp32"]


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long a run is, and how it is computed and watched."""

    steps: int = 1000
    """Steps of the whole run."""
    precision: Precision = "auto"
    """`bf16`: matrix products in bfloat16, weights in fp32. `auto`: bf16 where the processor multiplies it fast."""
    compile: bool = True
    """Compile the model (torch.compile) before step 1."""
    activation_checkpointing: bool = False
    """Compute each layer's activations again in the backward pass instead of keeping them: a third more arithmetic,
    memory that hardly grows with the number of layers."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: the GPU where there is one."""
    checkpoint_every: int = 500
    """Steps between checkpoints; one more is written at the end."""
    keep: int = 2
    """Newest checkpoints that are kept."""
    evaluate_every: int = 500
    """Steps between evaluations on held-out text; one more at the end."""
    held_out_tokens: int = 100_000
    """Held-out tokens an evaluation reads."""
    log_every: int = 10
    """Steps between lines of metrics."""

    def __post_init__(self) -> None:
        for name in ("steps", "checkpoint_every", "keep", "evaluate_every", "held_out_tokens", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}: expected 1 or more")


class Objective(Protocol):
    """What a run minimizes."""

    def backward(self, batch: PretrainBatch) -> Callable[[], Metrics]:
        """Add the gradients of a step; the metrics are read later, as reading waits for the device."""


@dataclass(kw_only=True)
class Run:
    """The state of a run; a checkpoint holds all of it."""

    model: nn.Module
    optimizer: Combined
    stream: BatchStream
    progress: Progress
    seed: int


class Hook(Protocol):
    """Called after every step; `metrics` waits for the device, so hooks call it only when they need it."""

    def __call__(self, run: Run, metrics: Callable[[], Metrics]) -> None: ...  # noqa: D102


def train(
    run: Run,
    objective: Objective,
    schedule: ScheduleSettings,
    *,
    steps: int,
    clip: float,
    hooks: Sequence[Hook],
) -> None:
    """Take steps until `steps` are done. All chance in step n is drawn from (seed, n), however it was reached."""
    run.model.train()
    batches = iter(run.stream)
    while run.progress.step < steps:
        start = time.perf_counter()
        batch = next(batches)
        waited = time.perf_counter() - start
        seed_everything(run.seed, run.progress.step)
        factor = rate_factor(schedule, run.progress.step, steps)
        run.optimizer.set_factor(factor)
        read = objective.backward(batch)
        limit = clip or float("inf")
        norm = nn.utils.clip_grad_norm_(run.model.parameters(), limit)
        run.optimizer.step()
        run.optimizer.zero_grad()
        before = run.progress
        seconds = time.perf_counter() - start
        run.progress = Progress(
            step=before.step + 1,
            tokens=before.tokens + batch.num_tokens,
            seconds=before.seconds + seconds,
            data=run.stream.state,
        )
        clock = {"seconds": seconds, "data_seconds": waited, "tokens_per_second": batch.num_tokens / seconds}

        def metrics(
            read: Callable[[], Metrics] = read,
            norm: torch.Tensor = norm,
            rate: float = factor * run.optimizer.param_groups[0]["peak_lr"],
            clock: Metrics = clock,
        ) -> Metrics:
            return read() | {"gradient_norm": float(norm), "learning_rate": rate} | clock

        for hook in hooks:
            hook(run, metrics)


def seed_everything(seed: int, step: int) -> None:
    """Seed torch's generators, which dropout draws from, as a function of the seed and the step."""
    state = np.random.SeedSequence([seed, 2, step]).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0] >> np.uint64(1)))


def choose_device(name: str) -> torch.device:
    """Return the device of that name; `auto` is the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device = {name!r}: no such kind of device; use cpu, cuda or auto") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device = {name!r}: this machine has no GPU that torch can use; use cpu")
    return device


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which a model computes at that precision."""
    bf16 = precision == "bf16" or (precision == "auto" and multiplies_bf16(device))
    return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()


def multiplies_bf16(device: torch.device) -> bool:
    """Tell whether the device has instructions for products of bfloat16 matrices."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
