"""regress: a number for each text or pair of texts."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from litebert.data.examples import SequenceBatch, single_items
from litebert.data.labelled import Columns, Labelled, number_of, value_of
from litebert.errors import InputError
from litebert.evaluate.metrics import Doubles, Floats, Metrics, regression_metrics
from litebert.model.outputs import window_means
from litebert.tasks.imitation import Opinion, row_table
from litebert.tasks.task import Encoded, ItemLoss, Lesson, Weighting
from litebert.tasks.texts import TextInput, TextTask

NUMBER_NAMES = ("label", "value", "score", "target", "similarity", "rating")

SPREAD = 0.01
"""Answers whose deviation is less than this share of the truth's are one answer."""


FARTHEST = 1e5
"""Deviations that the mean may be away from 0: the answers are in single precision, which has seven digits."""


class Value(NamedTuple):
    """The number of a text."""

    value: float

    def to_dict(self) -> dict[str, Any]:
        """`value`."""
        return {"value": float(f"{self.value:.7g}")}  # as many digits as fp32 has, in whatever unit


class Regress(TextTask[float, Doubles]):
    """Numbers by the mean squared error; gold (R,).

    The head learns them with mean 0 and deviation 1, whatever their unit; the saved head gives them as they were.
    """

    name = "regress"
    problem_type = "regression"
    named_outputs = False
    metrics = ("pearson_spearman", "pearson", "spearman", "r2")
    shown = ("pearson", "spearman", "mse")
    label_names = NUMBER_NAMES

    def target(self, fields: Mapping[str, Any], columns: Columns, where: str) -> float:
        """A finite number."""
        assert columns.label is not None
        return number_of(value_of(fields, columns.label, where), columns.label, where)

    def labels(self, rows: Labelled[TextInput, float]) -> tuple[str, ...]:
        """One output."""
        if len(set(rows.targets)) == 1:
            raise InputError(
                f"{rows.source}: every number in {rows.columns.label!r} is {rows.targets[0]:g}; "
                "regress needs different ones"
            )
        mean, deviation = float(np.mean(rows.targets)), float(np.std(rows.targets))
        if abs(mean) > FARTHEST * deviation:
            raise InputError(
                f"{rows.source}: the numbers in {rows.columns.label!r} lie around {mean:.6g} and differ by "
                f"{deviation:.3g}, which single precision cannot tell apart; subtract {mean:.0f} from all of them"
            )
        return ("value",)

    def gold(self, rows: Labelled[TextInput, float], encoded: Encoded, labels: Sequence[str]) -> Doubles:
        """The numbers."""
        return np.array(rows.targets, dtype=np.float64)

    def describe(self, gold: Doubles, labels: Sequence[str]) -> str:
        """Their range."""
        return f"numbers from {gold.min():g} to {gold.max():g}, mean {gold.mean():.4g}, deviation {gold.std():.4g}"

    def judging_notes(self, gold: Doubles, labels: Sequence[str]) -> list[str]:
        """All numbers the same."""
        return (
            ["all numbers are the same: correlations with them are 0, whatever was learnt"] if np.ptp(gold) == 0 else []
        )

    def lesson(self, encoded: Encoded, gold: Doubles, labels: Sequence[str], weighting: Weighting) -> Lesson:
        """Each window is trained with the row's number."""
        shift, scale = float(gold.mean()), float(gold.std()) or 1.0
        target = torch.from_numpy((gold[encoded.examples.rows] - shift) / scale).float()  # (n,)

        def loss(logits: Tensor, batch: SequenceBatch) -> Tensor:
            return (logits[:, 0] - target[batch.sequences].to(logits.device)).square()

        return Lesson(items=single_items(encoded.examples), loss=loss, shift=shift, scale=scale)

    def imitation(self, encoded: Encoded, opinions: Sequence[Opinion], lesson: Lesson, temperature: float) -> ItemLoss:
        """The squared distance to the teacher's number, in the deviations that the head in training counts by."""
        table = (row_table(opinions)[encoded.examples.rows, 0] - lesson.shift) / lesson.scale
        numbers = torch.from_numpy(table).float()  # (n,)
        return lambda logits, batch: (logits[:, 0] - numbers[batch.sequences].to(logits.device)).square()

    def answers(
        self, encoded: Encoded, outputs: Floats, labels: Sequence[str], decision: Mapping[str, Any]
    ) -> list[Value]:
        """The number; those of windows are averaged."""
        return [Value(value) for value in window_means(encoded.examples, outputs)[:, 0].tolist()]

    def judge(
        self, encoded: Encoded, gold: Doubles, outputs: Floats, labels: Sequence[str], decision: Mapping[str, Any]
    ) -> Metrics:
        """See `regression_metrics`; the loss is the mean squared error."""
        metrics = regression_metrics(gold, window_means(encoded.examples, outputs)[:, 0].astype(np.float64))
        return metrics | {"loss": metrics["mse"]}

    def collapsed(self, metrics: Metrics) -> bool:
        """Nearly the same number for all rows."""
        return metrics["spread"] < SPREAD

    def varied(self, gold: Doubles) -> bool:
        """Whether the numbers differ."""
        return bool(np.ptp(gold) > 0)

    def answer_of(self, fields: Mapping[str, Any], where: str) -> float:
        """`value`, or `prediction` as in GLUE's files."""
        column = "prediction" if "value" not in fields and "prediction" in fields else "value"
        return number_of(value_of(fields, column, where), column, where)

    def score(self, rows: Labelled[TextInput, float], answers: Sequence[float]) -> Metrics:
        """See `regression_metrics`."""
        return regression_metrics(np.array(rows.targets), np.array(answers))
