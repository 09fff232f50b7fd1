"""What watches a run: metrics on disk, TensorBoard, progress for the eye, evaluation and checkpoints.

A hook is called after every step with the run and the step's metrics.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from litebert.console import Advance, log
from litebert.files import disk_errors, write_text
from litebert.train.checkpoints import Progress
from litebert.train.loop import Metrics, Run

CLOCK = frozenset({"seconds", "data_seconds", "tokens_per_second", "learning_rate", "gradient_norm"})
"""Metrics of a step that are not of what it learns."""

PLATEAU_NATS = 0.1
"""A loss less than this under the unigram entropy has learnt nothing from context."""


class MetricsLog:
    """Appends a line to `metrics.jsonl` and the same numbers to TensorBoard every `every` steps.

    A run that goes on from a checkpoint forgets what it wrote after it, incidents apart.
    """

    def __init__(self, folder: Path, every: int, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path, self.every = folder / "metrics.jsonl", every
        lines = read_metrics(folder) if self.path.exists() else []
        # What made the run go back after this step will happen again, and be noted again.
        self._rewrite([line for line in lines if line["step"] < start or (line["step"] == start and not _again(line))])
        with disk_errors(folder):
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)

    def __call__(self, run: Run, metrics: Metrics) -> None:
        """Write the metrics of a step, if it is one of those."""
        if run.progress.step == 1 or run.progress.step % self.every == 0:
            self.write(run.progress, "train", metrics)

    def write(self, progress: Progress, kind: str, metrics: Metrics) -> None:
        """Write one line of numbers; `kind` is train or held_out."""
        self._append(progress, {"kind": kind} | {name: round(value, 6) for name, value in metrics.items()})
        for name, value in metrics.items():
            self.board.add_scalar(f"{kind}/{name}", value, progress.step)

    def incident(self, progress: Progress, what: str, detail: str) -> None:
        """Write down, and say, that something out of the ordinary happened."""
        log(f"step {progress.step:,}: {what.replace('_', ' ')}: {detail}")
        self._append(progress, {"kind": "incident", "what": what, "detail": detail})

    def go_back(self, step: int) -> None:
        """Forget what was written after `step`, incidents apart."""
        lines = read_metrics(self.path.parent)
        self._rewrite([line for line in lines if line["step"] <= step or line["kind"] == "incident"])

    def close(self) -> None:
        """Write what TensorBoard still holds."""
        self.board.close()

    def _append(self, progress: Progress, values: dict[str, Any]) -> None:
        line = {"step": progress.step, "tokens": progress.tokens, "time": round(progress.seconds, 3)}
        with disk_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | values) + "\n")

    def _rewrite(self, lines: list[dict[str, Any]]) -> None:
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))


def _again(line: dict[str, Any]) -> bool:
    return line.get("what") == "rolled_back"


class Checkpointer:
    """Writes a checkpoint every `every` steps and at the end."""

    def __init__(self, save: Callable[[], object], every: int, steps: int) -> None:
        self.save, self.every, self.steps = save, every, steps

    def __call__(self, run: Run, metrics: Metrics) -> None:
        """Write a checkpoint, if its step has come."""
        if run.progress.step % self.every == 0 or run.progress.step == self.steps:
            self.save()


class Evaluator:
    """Evaluates every `every` steps and at the end, and says the result."""

    def __init__(self, evaluate: Callable[[], Metrics], every: int, steps: int, metrics_log: MetricsLog) -> None:
        self.evaluate, self.every, self.steps, self.metrics_log = evaluate, every, steps, metrics_log

    def __call__(self, run: Run, metrics: Metrics) -> None:
        """Evaluate, if its step has come."""
        if run.progress.step % self.every == 0 or run.progress.step == self.steps:
            result = self.evaluate()
            self.metrics_log.write(run.progress, "held_out", result)
            log(f"step {run.progress.step:,} held-out: {describe(result)}")


class PlateauWatch:
    """Says so when the model still knows no more than how frequent each piece is, a fifth of the run being over.

    All masked language models pause there before they learn from context; those that are set up badly stay.
    """

    def __init__(self, entropy: float, steps: int, metrics_log: MetricsLog) -> None:
        self.entropy, self.steps, self.metrics_log = entropy, steps, metrics_log

    def __call__(self, run: Run, metrics: Metrics) -> None:
        """Look at what is written of the last twentieth of the run once a fifth of it is over, and at its end."""
        step, span = run.progress.step, max(20, self.steps // 20)
        if step < 100 or step not in (max(100, self.steps // 5), self.steps):
            return
        lines = read_metrics(self.metrics_log.path.parent)
        recent = [line["mlm_loss"] for line in lines if line["kind"] == "train" and line["step"] > step - span]
        losses = recent or [metrics["mlm_loss"]]
        mean = sum(losses) / len(losses)
        if mean > self.entropy - PLATEAU_NATS:
            self.metrics_log.incident(
                run.progress,
                "plateau",
                f"masked-token loss {mean:.2f}, and {self.entropy:.2f} needs no context at all. Usual causes: a "
                "learning rate too high or too low, too few steps, batches too large for their number, a post-norm "
                "stack too deep for its warmup",
            )


class ProgressBar:
    """Shows losses, speed and the time that is left."""

    def __init__(self, advance: Advance, steps: int, every: int) -> None:
        self.advance, self.steps, self.every = advance, steps, every
        self.note, self.since = "", (time.monotonic(), 0, 0)

    def __call__(self, run: Run, metrics: Metrics) -> None:
        """Move the bar by one step; the numbers beside it change every few steps."""
        progress = run.progress
        if progress.step % self.every == 0 or not self.note:
            now, (then, step, tokens) = time.monotonic(), self.since
            if step:
                speed = (progress.tokens - tokens) / (now - then)
                left = (self.steps - progress.step) * (now - then) / (progress.step - step)
                clock = f", {speed:,.0f} tokens/s, {left / 60:.0f} min left"
            else:
                clock = ""
            self.since = (now, progress.step, progress.tokens)
            self.note = f"step {progress.step:,}/{self.steps:,}: {describe(metrics)}{clock}"
        self.advance(1, self.note)


def describe(metrics: Metrics) -> str:
    """Return losses and accuracies in a few words."""
    if "mlm_loss" not in metrics:
        whole = {name: value for name, value in metrics.items() if "/" not in name and name not in CLOCK}
        return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in whole.items())
    words = [f"masked-token loss {metrics['mlm_loss']:.3f}, accuracy {metrics['mlm_accuracy']:.1%}"]
    if "order_accuracy" in metrics:
        words.append(f"sentence order {metrics['order_accuracy']:.1%}")
    folders = [f"{key.partition('/')[2]} {value:.3f}" for key, value in metrics.items() if key.startswith("mlm_loss/")]
    return ", ".join(words) + (f" (loss in {', '.join(folders)})" if folders else "")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's `metrics.jsonl`; damaged ones are left out, as one that a kill cut off."""
    lines: list[dict[str, Any]] = []
    for text in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines
