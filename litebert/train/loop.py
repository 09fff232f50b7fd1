"""The training loop: one function. What it learns from is an objective; what watches it is a hook."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import nn

from litebert.data.batches import BatchStream, PretrainBatch
from litebert.errors import ConfigError
from litebert.model.device import Precision
from litebert.train.checkpoints import Progress
from litebert.train.guard import Guard
from litebert.train.optimizers import Combined
from litebert.train.parallel import World
from litebert.train.schedules import ScheduleSettings, rate_factor

Metrics = dict[str, float]

MOST_SEEDS = 10**18
"""Seeds are below this, so that those derived from them still fit into 64 bits."""


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long a run is, and how it is computed and watched."""

    steps: int = 1000
    """Steps of the whole run."""
    minutes: float | None = None
    """Where to stop for now: a leg of so many minutes ends with a checkpoint and a model, and `--resume` goes on."""
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
    rollbacks: int = 3
    """How often a run that diverges goes back to its last good checkpoint and leaves out the data in which it happened,
    before it is given up."""

    def __post_init__(self) -> None:
        for name in ("steps", "checkpoint_every", "keep", "evaluate_every", "held_out_tokens", "log_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)}: expected 1 or more")
        if self.minutes is not None and self.minutes <= 0:
            raise ConfigError(f"minutes = {self.minutes:g}: expected more than 0")
        if self.rollbacks < 0:
            raise ConfigError(f"rollbacks = {self.rollbacks}: expected 0 or more")


class Objective(Protocol):
    """What a run minimizes."""

    def backward(self, batch: PretrainBatch) -> Callable[[], Metrics]:
        """Add the gradients of a step; the metrics are read later, as reading waits for the device.

        Among them is `loss`, what is minimized.
        """


@dataclass(kw_only=True)
class Run:
    """The state of a run; a checkpoint holds all of it."""

    model: nn.Module
    optimizer: Combined
    stream: BatchStream
    progress: Progress
    seed: int
    world: World = field(default_factory=World)


class Hook(Protocol):
    """Called after every step with the run and the step's metrics."""

    def __call__(self, run: Run, metrics: Metrics) -> None: ...  # noqa: D102


class Diverged(Exception):
    """A step went wrong; its weights are not to be used."""

    def __init__(self, step: int, windows: range, problem: str) -> None:
        super().__init__(problem)
        self.step = step
        """The last one before it went wrong."""
        self.windows = windows
        """Of the data, those read since then."""


def train(
    run: Run,
    objective: Objective,
    schedule: ScheduleSettings,
    *,
    steps: int,
    clip: float,
    hooks: Sequence[Hook],
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Take steps until `steps` are done, or `stop` says so in any process.

    All chance in step n is drawn from (seed, n), however it was reached. Raises Diverged.
    """
    if run.progress.step >= steps:
        return
    run.model.train()
    guard = Guard(run.progress.losses, run.progress.far)
    if not guard.far:
        run.progress = _calm(run.progress)
    batches = iter(run.stream)
    upcoming, wait = _timed(batches)
    while run.progress.step < steps:
        start = time.perf_counter()
        batch, waited, place, before = upcoming, wait, run.stream.state, run.progress
        seed_everything(run.seed, before.step, run.world.rank)
        factor = rate_factor(schedule, before.step, steps)
        run.optimizer.set_factor(factor)
        read = objective.backward(batch)
        gradient_norm = nn.utils.clip_grad_norm_(run.model.parameters(), clip or float("inf"))
        run.optimizer.step()
        run.optimizer.zero_grad()
        if before.step + 1 < steps:
            upcoming, wait = _timed(batches)  # while the device is at work
        metrics = read() | {"gradient_norm": float(gradient_norm)}  # waits for the device
        problem = guard.problem(metrics["loss"], metrics["gradient_norm"])
        if problem:
            raise Diverged(before.calm_step, range(before.calm_window, place.window + 1), problem)
        seconds = time.perf_counter() - start
        run.progress = replace(
            before,
            step=before.step + 1,
            tokens=before.tokens + batch.num_tokens,
            seconds=before.seconds + seconds,
            data=place,
            losses=tuple(guard.losses),
            far=guard.far,
        )
        if not guard.far:
            run.progress = _calm(run.progress)
        metrics |= {
            "learning_rate": factor * run.optimizer.param_groups[0]["peak_lr"],
            "seconds": seconds,
            "data_seconds": waited,
            "tokens_per_second": batch.num_tokens / seconds,
        }
        for hook in hooks:
            hook(run, metrics)
        if run.world.any(stop()):
            return


def _calm(progress: Progress) -> Progress:
    """The same, with nothing that looks like a divergence: here a run goes back to if the next steps do."""
    return replace(progress, calm_step=progress.step, calm_window=progress.data.window)


def _timed(batches: Iterator[PretrainBatch]) -> tuple[PretrainBatch, float]:
    """Return the next batch and the seconds spent on getting it."""
    start = time.perf_counter()
    return next(batches), time.perf_counter() - start


@contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """Take SIGTERM and Ctrl-C for a wish to stop after the step; gives the number of the signal that came, 0 if none.

    A second Ctrl-C ends the program at once. Outside of the main thread signals are left alone.
    """
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: received[-1] if received else 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def seed_everything(seed: int, step: int, rank: int = 0) -> None:
    """Seed torch's generators, which dropout draws from, as a function of the seed, the step and the process."""
    state = np.random.SeedSequence([seed, 2, step, rank] if rank else [seed, 2, step]).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0] >> np.uint64(1)))


def check_seed(seed: int) -> None:
    """Raise ConfigError for what is no seed."""
    if not 0 <= seed < MOST_SEEDS:
        raise ConfigError(f"seed = {seed}: expected a whole number from 0, below {MOST_SEEDS:.0e}")
