"""A run on disk from its start, or resumption, to its end: its folder, what interrupts it, what it goes back to.

A run folder holds `config.toml` (resolved, written before step 1), `metrics.jsonl`, `tensorboard/` and
`checkpoints/step-N/`. What a run learns is not known here: pre-training and distillation share all of this.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any, NoReturn

import torch
from torch._dynamo.exc import BackendCompilerFailed
from torch._inductor.exc import CppCompileError
from torch._inductor.runtime.cache_dir_utils import cache_dir

from litebert import config
from litebert.console import log, progress
from litebert.data.batches import BatchStream
from litebert.errors import CheckpointError, Stopped, TrainingError
from litebert.files import write_text
from litebert.model.device import uses_bf16
from litebert.train import checkpoints
from litebert.train.hooks import Checkpointer, Evaluator, MetricsLog, ProgressBar, describe
from litebert.train.loop import Diverged, Hook, LoopSettings, Metrics, Objective, Run, train
from litebert.train.schedules import ScheduleSettings

COMPILER_CACHE = "TORCHINDUCTOR_CACHE_DIR"
"""Environment variable that names the folder in which torch keeps compiled code."""


@dataclass(kw_only=True)
class Session:
    """A run, and what it needs to be gone on with."""

    out: Path
    run: Run
    objective: Objective
    loop: LoopSettings
    schedule: ScheduleSettings
    clip: float
    config: dict[str, Any]
    """All settings, for `config.toml`."""
    data: list[str]
    """Hashes of what the run reads: a checkpoint is bound to them."""
    environment: checkpoints.Environment
    """What the bits of this kind of run depend on, besides what those of every run do."""
    evaluate: Callable[[], Metrics] | None
    """Measures on held-out data, where there are any."""
    branch: Path | None = None
    """Folder of the run whose newest checkpoint a new one begins with."""
    hooks: Callable[[MetricsLog], Sequence[Hook]] = lambda _: ()
    """More hooks, for the process that writes."""
    incidents: list[tuple[str, str]] = field(default_factory=list)
    """What happened before there was a log to write it into."""
    metrics: Metrics = field(default_factory=dict)
    """Of the last evaluation."""
    judged: int = -1
    """The step that it was made at."""
    mended: set[Path] = field(default_factory=set)
    """Files of the compiler that were removed."""
    begun: float = field(default_factory=time.monotonic)

    def go(self, received: Callable[[], int], known: bool) -> Metrics:
        """Run to the end, back over divergences; returns the last held-out metrics.

        Args:
            received: the number of the signal that asks for an end, 0 for none.
            known: the folder is that of this run.

        Raises CheckpointError, TrainingError if the run diverges again and again, and Stopped.
        """
        run = self.run
        run.world.wait()  # until all processes have seen that the folder may be written
        if known and checkpoints.saved(self.folder):
            self._resume()
        elif self.branch is not None:
            self._branch_off(self.branch)
        if not run.world.is_first:
            self._run(received, None)
            return {}
        checkpoints.discard(self.folder, run.progress.step)
        write_text(self.out / "config.toml", config.dump(self.config))
        if not checkpoints.saved(self.folder):
            self.save()  # what a first divergence goes back to
        parameters = sum(p.numel() for p in run.model.parameters())
        log(f"{parameters:,} parameters, steps {run.progress.step:,} to {self.loop.steps:,}")
        metrics_log = MetricsLog(self.out, self.loop.log_every, run.progress.step)
        try:
            for what, detail in self.incidents:
                metrics_log.incident(run.progress, what, detail)
            self._run(received, metrics_log)
        finally:
            metrics_log.close()
        if self.evaluate is not None and not self.metrics:  # the run was finished before
            log(f"step {run.progress.step:,} held-out: {describe(self._evaluate())}")
        return self.metrics

    @property
    def folder(self) -> Path:
        """Of the checkpoints."""
        return self.out / "checkpoints"

    def save(self) -> None:
        """Write a checkpoint."""
        checkpoints.save(
            self.folder,
            self.run.model,
            self.run.optimizer,
            self.run.progress,
            keep=self.loop.keep,
            environment=self._environment(),
            data=self.data,
        )

    def _run(self, received: Callable[[], int], metrics_log: MetricsLog | None) -> None:
        while self.run.progress.step < self.loop.steps:
            try:
                self._train(received, metrics_log)
            except Diverged as divergence:
                self._roll_back(divergence, metrics_log)
                continue
            except (BackendCompilerFailed, CppCompileError, ImportError) as error:
                self._compile_anew(error)
                continue
            if self.run.progress.step < self.loop.steps:
                if self.loop.minutes is None or self.run.world.any(received() != 0):
                    self._stop(received() or SIGTERM, metrics_log)
                self._end_leg(metrics_log)
                return

    def _train(self, received: Callable[[], int], metrics_log: MetricsLog | None) -> None:
        """Take steps until the last one, a divergence or a signal."""
        loop = self.loop
        with progress("training", loop.steps, "steps") as advance:
            advance(self.run.progress.step)
            hooks: list[Hook] = []
            if metrics_log is not None:
                hooks += [metrics_log, ProgressBar(advance, loop.steps, loop.log_every), *self.hooks(metrics_log)]
                if self.evaluate is not None:
                    hooks.append(Evaluator(self._evaluate, loop.evaluate_every, loop.steps, metrics_log))
                hooks.append(Checkpointer(self.save, loop.checkpoint_every, loop.steps))
            train(
                self.run,
                self.objective,
                self.schedule,
                steps=loop.steps,
                clip=self.clip,
                hooks=hooks,
                stop=lambda: received() != 0 or self._late(),
            )

    def _late(self) -> bool:
        """Whether the leg's minutes are over."""
        return self.loop.minutes is not None and time.monotonic() - self.begun > 60 * self.loop.minutes

    def _end_leg(self, metrics_log: MetricsLog | None) -> None:
        """Leave the run as one that may go on."""
        if metrics_log is None:
            return
        step = self.run.progress.step
        self._save_once()
        if self.evaluate is not None and self.judged != step:
            metrics_log.write(self.run.progress, "held_out", self._evaluate())
            log(f"step {step:,} held-out: {describe(self.metrics)}")
        detail = f"{self.loop.minutes:g} minutes are over after step {step:,} of {self.loop.steps:,}; --resume goes on"
        metrics_log.incident(self.run.progress, "leg_ended", detail)

    def _branch_off(self, branch: Path) -> None:
        """Take over another run's weights, optimizer and place in the data."""
        if not checkpoints.saved(branch / "checkpoints"):
            raise CheckpointError(f"{branch} is no run with a checkpoint to branch off from; name the folder of one")
        self._require_the_same(branch)
        manifest = checkpoints.restore(
            branch / "checkpoints",
            self.run.model,
            self.run.optimizer,
            note=lambda what, detail: self.incidents.append((what, detail)),
        )
        if manifest.data != self.data:
            raise CheckpointError(
                f"{branch} reads other data, or has another teacher; a branch goes on in the data of its run: give the "
                "same folders"
            )
        reached = manifest.progress
        begin = checkpoints.Progress(
            data=reached.data,
            skipped=reached.skipped,  # and no losses: with other weights of them they do not compare
            earlier_steps=reached.earlier_steps + reached.step,
            earlier_tokens=reached.earlier_tokens + reached.tokens,
        )
        self._continue(begin)
        self.incidents.append(("branched", f"begins with step {reached.step:,} of {branch}"))

    def _require_the_same(self, branch: Path) -> None:
        """Refuse a branch that would not go on where its run is: in other text, or with another optimizer's state."""
        theirs, ours = _kept_by_branches(config.read_toml(branch / "config.toml")), _kept_by_branches(self.config)
        for name in sorted(theirs.keys() | ours.keys()):
            if theirs.get(name) != ours.get(name):
                raise CheckpointError(
                    f"{branch} has {name} = {theirs.get(name)!r}, this run {ours.get(name)!r}; a branch goes on in the "
                    "text of its run, with its optimizer: give the same, or begin with its model "
                    f"(--model {branch}/model)"
                )

    def _resume(self) -> None:
        run = self.run
        manifest = checkpoints.restore(
            self.folder, run.model, run.optimizer, note=lambda what, detail: self.incidents.append((what, detail))
        )
        if manifest.data != self.data:
            raise CheckpointError(
                f"{self.out} was begun on other data than its folders hold now, or with another teacher; give those it "
                "was begun with, or start another run"
            )
        self._continue(manifest.progress)
        self.incidents.append(("resumed", f"goes on from step {run.progress.step:,}"))
        then, now = manifest.environment, self._environment()
        changed = [f"{key} was {then.get(key)}, is {now[key]}" for key in now if now[key] != then.get(key)]
        if changed:
            self.incidents.append(("not_bit_exact", f"not the bits of a run without a stop: {'; '.join(changed)}"))

    def _roll_back(self, divergence: Diverged, metrics_log: MetricsLog | None) -> None:
        """Go back to the last checkpoint before a divergence, and leave out the data in which it happened."""
        run, rollbacks = self.run, self.run.progress.rollbacks + 1
        if rollbacks > self.loop.rollbacks:
            raise TrainingError(
                f"diverged after step {divergence.step:,} ({divergence}) although it went back {rollbacks - 1} times "
                "before; lower --learning-rate, or allow more with --set loop.rollbacks"
            )
        skipped = tuple(sorted({*run.progress.skipped, *divergence.windows}))
        manifest = checkpoints.restore(
            self.folder, run.model, run.optimizer, last=divergence.step, note=lambda _, detail: log(detail)
        )
        self._continue(replace(manifest.progress, rollbacks=rollbacks, skipped=skipped, far=0))
        run.world.wait()  # until all processes have read it
        if metrics_log is not None:
            checkpoints.discard(self.folder, run.progress.step)
            metrics_log.go_back(run.progress.step)
            windows = f"{divergence.windows[0]} to {divergence.windows[-1]}"
            detail = (
                f"{divergence} after step {divergence.step:,}; from step {run.progress.step:,} on without the data of "
                f"windows {windows}"
            )
            metrics_log.incident(run.progress, "rolled_back", detail)

    def _compile_anew(self, error: Exception) -> None:
        """Compile without a damaged file, else in an empty folder; raises `error` if that has been tried.

        A process that is killed while it compiles may leave half a file in the usual folder, on which all fail then.
        """
        damaged = _damaged_library(error)
        if damaged is not None and damaged not in self.mended:
            log(f"{damaged} is half written, perhaps by a process that was killed; it is removed and compiled again")
            damaged.unlink(missing_ok=True)
            self.mended.add(damaged)
        elif isinstance(error, ImportError) or os.environ.get(COMPILER_CACHE, "").startswith(str(self.out.absolute())):
            raise error
        else:
            log("compiling failed, perhaps on files that a killed process has left; once more, in a new folder")
            os.environ[COMPILER_CACHE] = str(self.out.absolute() / "compiled")
        torch.compiler.reset()
        self.run.optimizer.zero_grad()
        self._continue(self.run.progress)

    def _continue(self, reached: checkpoints.Progress) -> None:
        self.run.progress = reached
        self.run.stream = BatchStream(self.run.stream.source, reached.data, frozenset(reached.skipped))

    def _stop(self, number: int, metrics_log: MetricsLog | None) -> NoReturn:
        step = self.run.progress.step
        if metrics_log is not None:
            self._save_once()
            metrics_log.incident(self.run.progress, "stopped", f"by {Signals(number).name}")
        raise Stopped(f"stopped after step {step:,}, which is saved; --resume goes on", number)

    def _save_once(self) -> None:
        if self.run.progress.step not in map(checkpoints.step_of, checkpoints.saved(self.folder)):
            self.save()

    def _evaluate(self) -> Metrics:
        assert self.evaluate is not None
        self.judged = self.run.progress.step
        self.metrics = self.evaluate()
        return self.metrics

    def _environment(self) -> checkpoints.Environment:
        world = self.run.world
        here: checkpoints.Environment = {
            "device": world.device.type,
            "processes": world.size,
            "precision": "bf16" if uses_bf16(self.loop.precision, world.device) else "fp32",
            "compiled": "layer" if self.loop.compile and self.loop.activation_checkpointing else self.loop.compile,
        }
        return checkpoints.environment() | here | self.environment


def _kept_by_branches(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What says which text is at a place in the data, and whose state the optimizer's is."""
    flat = config.flatten({name: value for name, value in settings.items() if name != "folders"})
    kept = {name: value for name, value in flat.items() if name.startswith("data.pairs.")}
    names = ("seed", "optimizer.name")
    return kept | {name: flat.get(name) for name in names} | {"the folders' weights": [*settings["folders"].values()]}


def _damaged_library(error: Exception) -> Path | None:
    """The compiled file that could not be loaded, where that is what went wrong."""
    cause = error.inner_exception if isinstance(error, BackendCompilerFailed) else error
    if not isinstance(cause, ImportError) or cause.path is None:
        return None
    library = Path(cause.path)
    return library if library.is_relative_to(cache_dir()) else None
