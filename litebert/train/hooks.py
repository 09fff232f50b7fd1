"""What watches a run: metrics on disk, TensorBoard, progress for the eye, evaluation and checkpoints.

A hook is called after every step with the run and a function that reads the step's metrics.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from litebert.console import Advance, log
from litebert.files import disk_errors, write_text
from litebert.train.checkpoints import save
from litebert.train.loop import Metrics, Run


class MetricsLog:
    """Appends a line to `metrics.jsonl` and the same numbers to TensorBoard every `every` steps.

    What an interrupted run wrote after the checkpoint from which it goes on is removed first.
    """

    def __init__(self, folder: Path, every: int, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path, self.every = folder / "metrics.jsonl", every
        lines = read_metrics(folder) if self.path.exists() else []
        kept = [json.dumps(line) + "\n" for line in lines if line["step"] <= start]
        write_text(self.path, "".join(kept))
        with disk_errors(folder):
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)

    def __call__(self, run: Run, metrics: Callable[[], Metrics]) -> None:
        """Write the metrics of a step, if it is one of those."""
        if run.progress.step == 1 or run.progress.step % self.every == 0:
            self.write(run, "train", metrics())

    def write(self, run: Run, kind: str, metrics: Metrics) -> None:
        """Write one line; `kind` is train or held_out."""
        progress = run.progress
        line = {"step": progress.step, "tokens": progress.tokens, "time": round(progress.seconds, 3), "kind": kind}
        with disk_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line | {name: round(value, 6) for name, value in metrics.items()}) + "\n")
        for name, value in metrics.items():
            self.board.add_scalar(f"{kind}/{name}", value, progress.step)

    def close(self) -> None:
        """Write what TensorBoard still holds."""
        self.board.close()


class Checkpointer:
    """Writes a checkpoint every `every` steps and at the end."""

    def __init__(self, folder: Path, every: int, keep: int, steps: int) -> None:
        self.folder, self.every, self.keep, self.steps = folder, every, keep, steps

    def __call__(self, run: Run, metrics: Callable[[], Metrics]) -> None:
        """Write a checkpoint, if its step has come."""
        if run.progress.step % self.every == 0 or run.progress.step == self.steps:
            save(self.folder, run.model, run.optimizer, run.progress, self.keep)


class Evaluator:
    """Evaluates every `every` steps and at the end, and says the result."""

    def __init__(self, evaluate: Callable[[], Metrics], every: int, steps: int, metrics_log: MetricsLog) -> None:
        self.evaluate, self.every, self.steps, self.metrics_log = evaluate, every, steps, metrics_log

    def __call__(self, run: Run, metrics: Callable[[], Metrics]) -> None:
        """Evaluate, if its step has come."""
        if run.progress.step % self.every == 0 or run.progress.step == self.steps:
            result = self.evaluate()
            self.metrics_log.write(run, "held_out", result)
            log(f"step {run.progress.step:,} held-out: {describe(result)}")


class ProgressBar:
    """Shows losses, speed and the time that is left."""

    def __init__(self, advance: Advance, steps: int, every: int) -> None:
        self.advance, self.steps, self.every = advance, steps, every
        self.note, self.since = "", (time.monotonic(), 0, 0)

    def __call__(self, run: Run, metrics: Callable[[], Metrics]) -> None:
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
            self.note = f"step {progress.step:,}/{self.steps:,}: {describe(metrics())}{clock}"
        self.advance(1, self.note)


def describe(metrics: Metrics) -> str:
    """Return losses and accuracies in a few words."""
    words = [f"masked-token loss {metrics['mlm_loss']:.3f}, accuracy {metrics['mlm_accuracy']:.1%}"]
    if "order_accuracy" in metrics:
        words.append(f"sentence order {metrics['order_accuracy']:.1%}")
    return ", ".join(words)


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Return the lines of a run's `metrics.jsonl`; a line cut off by a kill is left out."""
    lines: list[dict[str, float]] = []
    for text in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
