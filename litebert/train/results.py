"""What a fine-tuning came to: a result a seed, the report, and the lines that the user sees meanwhile."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from litebert.console import Advance, log
from litebert.data.labelled import Columns
from litebert.evaluate.calibration import Calibration
from litebert.evaluate.metrics import Metrics, mean_and_interval
from litebert.train.fit import Evaluation, Watch


@dataclass(frozen=True, kw_only=True)
class SeedResult:
    """One fine-tuning."""

    seed: int
    learning_rate: float
    epoch: float
    """Where the best checkpoint was."""
    metrics: Metrics
    """Of the best checkpoint on the dev set."""
    seconds: float
    stopped: str = ""
    """Why the fit ended before its last step; empty where it did not."""
    problem: str = ""
    """What is wrong with the model, restarts included; empty where all is well."""


@dataclass(frozen=True, kw_only=True)
class FinetuneReport:
    """What fine-tuning came to."""

    task: str
    model: Path
    labels: tuple[str, ...]
    columns: Columns
    train_rows: int
    dev_rows: int
    primary_metric: str
    majority: float | None
    """Dev accuracy of always giving the answer that is most frequent in training; None where a task has none."""
    teacher: Metrics | None
    """The teacher's metrics on the dev rows; None where there is none."""
    results: tuple[SeedResult, ...]
    best: int
    """Place of the kept model in `results`. It was chosen on the dev set: the mean is the honest figure."""
    diverged: tuple[int, ...] = ()
    """Seeds of which nothing came, at no rate that was tried."""
    calibration: Calibration | None = None
    """Of the probabilities of the kept model; None for tasks without. Its metrics are those after it."""

    @property
    def scores(self) -> list[float]:
        """The primary metric of each seed."""
        return [result.metrics[self.primary_metric] for result in self.results]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; mean, standard deviation and 95 % interval of the primary metric among
        them."""
        mean, std, interval = mean_and_interval(self.scores)
        values = asdict(self) | {"model": str(self.model), "columns": self.columns._asdict()}
        return plain(values | {"mean": mean, "std": std, "interval": interval})  # type: ignore[no-any-return]


class Reporter(Watch):
    """Shows progress, says each look at the dev set and writes it down."""

    def __init__(self, seed: int, rate: float, shown: Sequence[str], file: IO[str], advance: Advance) -> None:
        self.seed, self.rate, self.shown, self.file, self.advance = seed, rate, shown, file, advance

    def step(self, done: int, total: int, loss: float) -> None:
        """Move the bar."""
        self.advance(1, f"seed {self.seed}, step {done:,}/{total:,}, loss {loss:.3f}")

    def evaluation(self, evaluation: Evaluation) -> None:
        """Say and write the metrics."""
        metrics = evaluation.metrics
        names = dict.fromkeys((*self.shown, "loss"))
        shown = ", ".join(f"{name} {metrics[name]:.4f}" for name in names if name in metrics)
        learnt = f"training loss {evaluation.loss:.4f}" if evaluation.step else "before training"
        log(f"seed {self.seed}, epoch {evaluation.epoch:.3g}: {learnt}; dev {shown}")
        line = {"seed": self.seed, "learning_rate": self.rate} | evaluation._asdict()
        print(json.dumps(plain(line)), file=self.file, flush=True)


def say_result(report: FinetuneReport, opens_elsewhere: bool) -> None:
    """Say what came out, beside what is had by always giving one label."""
    best = report.results[report.best]
    name = report.primary_metric
    beside = "" if report.majority is None else f" (always the most frequent answer: accuracy {report.majority:.4f})"
    log(f"best on the dev set: {name} {best.metrics[name]:.4f}{beside}")
    if best.epoch == 0:
        log("note: nothing that was learnt is better on the dev rows; the model is what it was")
    if len(report.results) > 1:
        mean, std, (low, high) = mean_and_interval(report.scores)
        log(
            f"{len(report.results)} seeds: {name} {mean:.4f} ± {std:.4f} (standard deviation), 95 % "
            "interval of the mean "
            f"{low:.4f} to {high:.4f}; seed {best.seed} is kept, chosen on the dev set"
        )
    if not opens_elsewhere:
        log("note: transformers cannot open this model, its shape is litebert's own")
    log(f"model: {report.model}")


def plain(value: Any) -> Any:
    """Make nested records plain values for JSON: floats with six significant digits, NaN as None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
