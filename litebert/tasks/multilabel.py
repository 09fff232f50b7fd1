"""multilabel: any number of labels, none too, for each text."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from litebert.data.examples import SequenceBatch, single_items
from litebert.data.labelled import Columns, Labelled, label_name, sorted_labels, unknown_label, value_of
from litebert.errors import InputError
from litebert.evaluate.calibration import Decisions
from litebert.evaluate.metrics import Bools, Floats, Metrics, multilabel_metrics
from litebert.model.outputs import window_means
from litebert.tasks.imitation import Opinion, row_table
from litebert.tasks.task import DIGITS, IMBALANCE, Encoded, ItemLoss, Lesson, Weighting, shares
from litebert.tasks.texts import TextInput, TextTask

Labels = tuple[str, ...]

THRESHOLD = 0.5
"""A label is given where its probability is at least this."""
MOST_WEIGHT = 10.0
"""The rows with a rare label count at most this many times those without."""


class LabelSet(NamedTuple):
    """The labels of a text."""

    labels: Labels
    """In the model's order."""
    scores: dict[str, float]
    """Probability of every label; they do not exclude each other."""

    def to_dict(self) -> dict[str, Any]:
        """`labels`, `scores`."""
        scores = {label: round(score, DIGITS) for label, score in self.scores.items()}
        return {"labels": list(self.labels), "scores": scores}


class Multilabel(TextTask[Labels, Bools]):
    """Each label by binary cross-entropy; gold (R, C)."""

    name = "multilabel"
    weighs_labels = True
    problem_type = "multi_label_classification"
    metrics = ("micro_f1", "macro_f1", "samples_f1", "exact")
    shown = ("micro_f1", "macro_f1", "exact")
    decides = True
    label_names = ("labels", "label", "classes", "categories", "tags")

    def target(self, fields: Mapping[str, Any], columns: Columns, where: str) -> Labels:
        """A list of labels, or a text of them with commas between; none is a set too."""
        assert columns.label is not None
        return _names(value_of(fields, columns.label, where), columns.label, where)

    def labels(self, rows: Labelled[TextInput, Labels]) -> Labels:
        """Those that occur, sorted."""
        names = sorted_labels(label for labels in rows.targets for label in labels)
        if not names:
            raise InputError(f"{rows.source}: no row has a label in {rows.columns.label!r}; there is nothing to learn")
        return names

    def gold(self, rows: Labelled[TextInput, Labels], encoded: Encoded, labels: Sequence[str]) -> Bools:
        """Which row has which label."""
        index = {label: i for i, label in enumerate(labels)}
        result = np.zeros((len(rows), len(labels)), dtype=np.bool_)
        for row, names in enumerate(rows.targets):
            for name in names:
                if name not in index:
                    raise unknown_label(name, rows.places[row], labels)
                result[row, index[name]] = True
        return result

    def describe(self, gold: Bools, labels: Sequence[str]) -> str:
        """The labels and the shares of rows that have them."""
        return (
            f"{len(labels)} labels, {gold.sum(1).mean():.2g} a row: {shares(labels, gold.sum(0).tolist(), len(gold))}"
        )

    def judging_notes(self, gold: Bools, labels: Sequence[str]) -> list[str]:
        """Labels that do not occur."""
        return self.not_judged(labels, gold.sum(0).tolist())

    def lesson(self, encoded: Encoded, gold: Bools, labels: Sequence[str], weighting: Weighting) -> Lesson:
        """Each window is trained with the row's labels; rows that have a rare label count more for it."""
        target = torch.from_numpy(gold[encoded.examples.rows]).float()  # (n, C)
        with_label = np.maximum(gold.sum(0), 1)
        ratio = np.maximum((len(gold) - with_label) / with_label, 1.0)  # (C,)
        power = {"none": 0.0, "sqrt": 0.5, "inverse": 1.0, "auto": 0.5}[weighting]
        if weighting == "auto":
            ratio = np.where(ratio >= IMBALANCE, ratio, 1.0)
        weight = torch.from_numpy(np.minimum(ratio**power, MOST_WEIGHT)).float()

        def loss(logits: Tensor, batch: SequenceBatch) -> Tensor:
            right = target[batch.sequences].to(logits.device)  # (S, C)
            each = F.binary_cross_entropy_with_logits(
                logits, right, pos_weight=weight.to(logits.device), reduction="none"
            )
            return each.mean(1)

        rare = int((weight > 1).sum())
        notes = (
            f"{rare} of {len(labels)} labels are rare: rows that have one count up to {float(weight.max()):.1f} times "
            "for it (--set class_weights=none: the same)",
        )
        return Lesson(items=single_items(encoded.examples), loss=loss, notes=notes if rare else ())

    def imitation(self, encoded: Encoded, opinions: Sequence[Opinion], lesson: Lesson, temperature: float) -> ItemLoss:
        """Binary cross-entropy with the teacher's probabilities at a temperature, times its square, less what it is at
        best: 0 where they agree."""
        table = torch.from_numpy(row_table(opinions)[encoded.examples.rows])  # (n, C)
        crossed = partial(F.binary_cross_entropy_with_logits, reduction="none")

        def distance(logits: Tensor, batch: SequenceBatch) -> Tensor:
            mine, theirs = logits / temperature, table[batch.sequences].to(logits.device) / temperature  # (S, C)
            shares = theirs.sigmoid()
            return (crossed(mine, shares) - crossed(theirs, shares)).mean(1) * temperature**2

        return distance

    def answers(
        self, encoded: Encoded, outputs: Floats, labels: Sequence[str], decision: Mapping[str, Any]
    ) -> list[LabelSet]:
        """Every label that is at least as likely as not; the logits of windows are averaged."""
        result = []
        for row in _sigmoid(window_means(encoded.examples, outputs)).tolist():
            chosen = tuple(label for label, p in zip(labels, row, strict=True) if p >= THRESHOLD)
            result.append(LabelSet(chosen, dict(zip(labels, row, strict=True))))
        return result

    def judge(
        self, encoded: Encoded, gold: Bools, outputs: Floats, labels: Sequence[str], decision: Mapping[str, Any]
    ) -> Metrics:
        """See `multilabel_metrics`; loss is the mean binary cross-entropy in nats."""
        logits = window_means(encoded.examples, outputs).astype(np.float64)
        loss = np.logaddexp(0.0, np.where(gold, -logits, logits)).mean()
        return multilabel_metrics(gold, _sigmoid(logits) >= THRESHOLD) | {"loss": float(loss)}

    def decisions(self, encoded: Encoded, gold: Bools, outputs: Floats) -> Decisions:
        """No (0) or yes (1) to every label of every row."""
        logits = window_means(encoded.examples, outputs).astype(np.float64).reshape(-1)
        rows = np.repeat(np.arange(len(gold)), gold.shape[1])
        return Decisions(np.stack((np.zeros_like(logits), logits), 1), gold.reshape(-1).astype(np.int64), rows)

    def collapsed(self, metrics: Metrics) -> bool:
        """One set for all rows."""
        return metrics["predicted_sets"] == 1

    def varied(self, gold: Bools) -> bool:
        """Whether there are several sets."""
        return len(np.unique(gold, axis=0)) > 1

    def answer_of(self, fields: Mapping[str, Any], where: str) -> Labels:
        """`labels`."""
        return _names(value_of(fields, "labels", where), "labels", where)

    def labels_of(self, rows: Labelled[TextInput, Labels], answers: Sequence[Labels]) -> tuple[str, ...]:
        """Those of either side."""
        return sorted_labels(label for side in (rows.targets, answers) for labels in side for label in labels)

    def score(self, rows: Labelled[TextInput, Labels], answers: Sequence[Labels]) -> Metrics:
        """See `multilabel_metrics`, over all labels of either side."""
        known = rows.labels or self.labels_of(rows, answers)
        gold, given = (
            np.array([[label in named for label in known] for named in side], np.bool_).reshape(len(side), len(known))
            for side in (rows.targets, answers)
        )
        return multilabel_metrics(gold, given)


def _names(value: object, column: str, where: str) -> Labels:
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            raise InputError(f'{where}: {column!r} is no list of labels; write ["a", "b"], or a, b') from None
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if value is None:
        raise InputError(
            f"{where}: {column!r} is null; write [] where none of the labels is right, or leave the row out"
        )
    if not isinstance(value, list | tuple):
        value = [value]
    return tuple(dict.fromkeys(label_name(one, column, where) for one in value))


def _sigmoid(logits: Any) -> Any:
    return np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))
