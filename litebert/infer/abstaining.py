"""Rows that are rather left without an answer: those whose likeliest answer is not likely enough."""

from collections.abc import Mapping
from typing import Any

from litebert.data.rows import Row
from litebert.errors import ConfigError
from litebert.tasks.table import TASKS, AnyTask


def answer_field(task: AnyTask | None, threshold: float) -> str:
    """The field that an abstention leaves empty; raises ConfigError for a threshold, or a task, that makes no sense."""
    if not 0 < threshold < 1:
        raise ConfigError(f"--abstain-below {threshold:g}: expected a probability between 0 and 1, such as 0.8")
    if task is None or task.answer_field is None:
        fitting = ", ".join(name for name, one in TASKS.items() if one.answer_field is not None)
        raise ConfigError(
            f"--abstain-below: {task.name if task else 'fill-mask'} does not give one answer of several with a "
            f"probability, {fitting} do; leave the option out"
        )
    return task.answer_field


def withheld(record: Mapping[str, Any], field: str, threshold: float) -> Row:
    """A record with `abstained`; where it is true the answer is None, and its probabilities remain."""
    abstained = sureness(record) < threshold
    empty = {name: None for name in (field, "start", "end") if name in record}
    return dict(record) | (empty if abstained else {}) | {"abstained": abstained}


def sureness(record: Mapping[str, Any]) -> float:
    """The probability of an answer, as it is written."""
    scores = record["scores"] if "scores" in record else [record["score"]]
    return float(max(scores.values() if isinstance(scores, Mapping) else scores))
