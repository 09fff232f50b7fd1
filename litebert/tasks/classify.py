"""classify: one label for each text or pair of texts."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from litebert.console import log
from litebert.data.examples import Ints, SequenceBatch, single_items
from litebert.data.labelled import Columns, Labelled, label_ids, label_name, label_set, sorted_labels, value_of
from litebert.evaluate.calibration import Decisions
from litebert.evaluate.metrics import Floats, Metrics, classification_metrics, confusion, label_metrics
from litebert.model.outputs import window_means
from litebert.tasks.imitation import Opinion, divergence, row_table
from litebert.tasks.task import DIGITS, Encoded, ItemLoss, Lesson, Weighting, label_weights, shares, skewed
from litebert.tasks.texts import TextInput, TextTask, probabilities


class Classification(NamedTuple):
    """The label of a text."""

    label: str
    score: float
    """Probability of the label."""
    scores: dict[str, float]
    """Probability of every label, in the model's order."""

    def to_dict(self) -> dict[str, Any]:
        """`label`, `score`, `scores`."""
        scores = {label: round(score, DIGITS) for label, score in self.scores.items()}
        return {"label": self.label, "score": round(self.score, DIGITS), "scores": scores}


class Classify(TextTask[str, Ints]):
    """Labels by cross-entropy; gold (R,) class indices."""

    name = "classify"
    weighs_labels = True
    problem_type = "single_label_classification"
    metrics = ("accuracy", "macro_f1", "f1", "matthews")
    shown = ("accuracy", "macro_f1")
    decides = True
    answer_field = "label"

    def target(self, fields: Mapping[str, Any], columns: Columns, where: str) -> str:
        """The label as it is written."""
        assert columns.label is not None
        return label_name(value_of(fields, columns.label, where), columns.label, where)

    def labels(self, rows: Labelled[TextInput, str]) -> tuple[str, ...]:
        """Those that occur, sorted."""
        return label_set(rows.targets, rows.source, rows.columns.label)

    def gold(self, rows: Labelled[TextInput, str], encoded: Encoded, labels: Sequence[str]) -> Ints:
        """Class indices."""
        return np.array(label_ids(rows, labels), dtype=np.int64)

    def describe(self, gold: Ints, labels: Sequence[str]) -> str:
        """The labels and their shares."""
        return f"{len(labels)} labels: {shares(labels, np.bincount(gold, minlength=len(labels)).tolist())}"

    def judging_notes(self, gold: Ints, labels: Sequence[str]) -> list[str]:
        """Labels that do not occur."""
        return self.not_judged(labels, np.bincount(gold, minlength=len(labels)).tolist())

    def lesson(self, encoded: Encoded, gold: Ints, labels: Sequence[str], weighting: Weighting) -> Lesson:
        """Each window is trained with the row's label."""
        counts = np.bincount(gold, minlength=len(labels)).tolist()
        per_label = np.array(label_weights(counts, weighting))
        target = torch.from_numpy(gold[encoded.examples.rows])  # (n,)

        def loss(logits: Tensor, batch: SequenceBatch) -> Tensor:
            right = target[batch.sequences].to(logits.device)  # (S,)
            return F.cross_entropy(logits, right, reduction="none")

        items = single_items(encoded.examples, per_label[gold[encoded.examples.rows]])
        return Lesson(items=items, loss=loss, notes=tuple(self._skew(labels, counts, per_label.tolist())))

    def imitation(self, encoded: Encoded, opinions: Sequence[Opinion], lesson: Lesson, temperature: float) -> ItemLoss:
        """The divergence of the softened distributions; each window learns what the teacher says of its row."""
        table = torch.from_numpy(row_table(opinions)[encoded.examples.rows])  # (n, C)
        return lambda logits, batch: divergence(logits, table[batch.sequences].to(logits.device), temperature)

    def _skew(self, labels: Sequence[str], counts: list[int], weights: list[float]) -> list[str]:
        if not skewed(counts):
            return []
        most, least = max(range(len(labels)), key=counts.__getitem__), min(range(len(labels)), key=counts.__getitem__)
        how = "all rows count the same (class_weights)"
        if weights[most] != weights[least]:
            how = (
                f"a row of {labels[least]!r} counts {weights[least] / weights[most]:.1f} times one of {labels[most]!r} "
                "(--set class_weights=none: the same)"
            )
        return [
            f"the labels are imbalanced ({labels[most]!r} {counts[most]:,} rows, {labels[least]!r} {counts[least]:,}): "
            f"accuracy says little, {counts[most] / sum(counts):.0%} is had by always answering {labels[most]!r}; {how}"
        ]

    def possible_metrics(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Without `f1`, that of the second of two labels, where there are more."""
        return self.metrics if len(labels) == 2 else tuple(name for name in self.metrics if name != "f1")

    def primary(self, gold: Ints, labels: Sequence[str]) -> str:
        """Accuracy; where the labels are skewed, macro F1."""
        return "macro_f1" if skewed(np.bincount(gold, minlength=len(labels)).tolist()) else "accuracy"

    def answers(
        self, encoded: Encoded, outputs: Floats, labels: Sequence[str], decision: Mapping[str, Any]
    ) -> list[Classification]:
        """The likeliest label; the logits of windows are averaged."""
        result = []
        for row in probabilities(window_means(encoded.examples, outputs)).tolist():
            best = int(np.argmax(row))
            result.append(Classification(labels[best], row[best], dict(zip(labels, row, strict=True))))
        return result

    def judge(
        self, encoded: Encoded, gold: Ints, outputs: Floats, labels: Sequence[str], decision: Mapping[str, Any]
    ) -> Metrics:
        """See `classification_metrics`."""
        return classification_metrics(gold, window_means(encoded.examples, outputs))

    def confusion(self, gold: Ints, outputs: Floats, encoded: Encoded, labels: Sequence[str]) -> dict[str, Any]:
        """`confusion` {right: {answer: rows}}."""
        return {"confusion": confusion(gold, window_means(encoded.examples, outputs).argmax(1), labels)}

    def decisions(self, encoded: Encoded, gold: Ints, outputs: Floats) -> Decisions:
        """The label of every row."""
        return Decisions(window_means(encoded.examples, outputs).astype(np.float64), gold, np.arange(len(gold)))

    def collapsed(self, metrics: Metrics) -> bool:
        """One label for all rows."""
        return metrics["predicted_labels"] == 1

    def varied(self, gold: Ints) -> bool:
        """Whether there are several labels."""
        return len(set(gold.tolist())) > 1

    def majority(self, train: Ints, dev: Ints) -> float:
        """Dev accuracy of the label that is most frequent in training."""
        return float((dev == np.bincount(train).argmax()).mean())

    def answer_of(self, fields: Mapping[str, Any], where: str) -> str:
        """`label`, or `prediction` as in GLUE's files."""
        column = "prediction" if "label" not in fields and "prediction" in fields else "label"
        return label_name(value_of(fields, column, where), column, where)

    def labels_of(self, rows: Labelled[TextInput, str], answers: Sequence[str]) -> tuple[str, ...]:
        """Those of the rows; where that is one, the other one of two is known from the answers alone."""
        labels = sorted_labels(rows.targets)
        return labels if len(labels) > 1 else sorted_labels([*rows.targets, *answers])

    def score(self, rows: Labelled[TextInput, str], answers: Sequence[str]) -> Metrics:
        """See `label_metrics`; answers that are no label of the rows are wrong ones, and counted."""
        labels = rows.labels or self.labels_of(rows, answers)
        index = {label: i for i, label in enumerate(labels)}
        strange = [answer for answer in answers if answer not in index]
        if strange and not rows.labels:
            known = ", ".join(map(repr, labels[:5])) + (", …" if len(labels) > 5 else "")
            log(
                f"note: {len(strange):,} of {len(answers):,} answers are no labels of the rows (the first: "
                f"{strange[0]!r}; labels are {known}) and count as wrong"
            )
        index |= {label: i for i, label in enumerate(sorted(set(strange)), len(labels))}
        gold, given = (np.array([index[label] for label in side]) for side in (rows.targets, answers))
        return label_metrics(gold, given, len(labels))
