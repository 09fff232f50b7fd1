"""Metrics of a task as a flat `dict[str, float]`, the primary one named; numbers by scikit-learn.

Dimensions: R rows, C classes.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Metrics = dict[str, float]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

ClassifyMetric = Literal["accuracy", "macro_f1", "f1", "matthews"]
"""Metrics of `classify` that can choose the best checkpoint; `f1` is that of the second of two labels."""


def classification_metrics(gold: Ints, logits: Floats) -> Metrics:
    """Compare answers with the right labels: gold (R,) class indices, logits (R, C).

    accuracy; precision, recall and f1 as means over the classes that occur (`macro_`), and with two classes
    those of the second one; Matthews' correlation (0 where one side is constant); loss, the mean negative
    log-likelihood in nats; `predicted_labels`, the number of different answers: 1 is a model that has
    collapsed.
    """
    from sklearn.metrics import accuracy_score, matthews_corrcoef, precision_recall_fscore_support

    classes = logits.shape[1]
    predicted = logits.argmax(1)
    every = sorted(set(gold.tolist()) | set(predicted.tolist()))
    macro = precision_recall_fscore_support(gold, predicted, labels=every, average="macro", zero_division=0.0)
    metrics = {
        "accuracy": float(accuracy_score(gold, predicted)),
        "macro_precision": float(macro[0]),
        "macro_recall": float(macro[1]),
        "macro_f1": float(macro[2]),
        "matthews": float(matthews_corrcoef(gold, predicted)),
        "loss": negative_log_likelihood(gold, logits),
        "predicted_labels": float(len(set(predicted.tolist()))),
    }
    if classes == 2:
        second = precision_recall_fscore_support(gold, predicted, labels=[1], average="macro", zero_division=0.0)
        metrics |= {"precision": float(second[0]), "recall": float(second[1]), "f1": float(second[2])}
    return metrics


def negative_log_likelihood(gold: Ints, logits: Floats) -> float:
    """Mean over rows of -log p(gold), in nats."""
    wide = logits.astype(np.float64)
    top = wide.max(1, keepdims=True)
    log_sum = np.log(np.exp(wide - top).sum(1)) + top[:, 0]
    return float((log_sum - wide[np.arange(len(gold)), gold]).mean())


def confusion(gold: Ints, predicted: Ints, labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Count rows by right label, then by answer; combinations that do not occur are left out."""
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(gold, predicted, labels=np.arange(len(labels)))
    return {
        labels[i]: {labels[j]: int(row[j]) for j in np.flatnonzero(row).tolist()}
        for i, row in enumerate(counts)
        if row.any()
    }


def mean_and_interval(values: Sequence[float]) -> tuple[float, float, tuple[float, float]]:
    """Mean, sample standard deviation, and the 95 % interval of the mean by Student's t; one value has no
    spread (NaN)."""
    from scipy.stats import t

    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan"), (float("nan"), float("nan"))
    std = float(np.std(values, ddof=1))
    half = float(t.ppf(0.975, len(values) - 1)) * std / len(values) ** 0.5
    return mean, std, (mean - half, mean + half)
