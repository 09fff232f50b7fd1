"""Metrics of a task as a flat `dict[str, float]`, the primary one named; numbers by scikit-learn.

Dimensions: R rows, C classes.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Metrics = dict[str, float]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def classification_metrics(gold: Ints, logits: Floats) -> Metrics:
    """Compare answers with the right labels: gold (R,) class indices, logits (R, C).

    Those of `label_metrics`, and loss, the mean negative log-likelihood in nats.
    """
    metrics = label_metrics(gold, logits.argmax(1), logits.shape[1])
    return metrics | {"loss": negative_log_likelihood(gold, logits)}


def label_metrics(gold: Ints, predicted: Ints, classes: int) -> Metrics:
    """Compare labels with the right ones, both (R,) class indices.

    accuracy; precision and f1 as means over the classes that occur on either side (`macro_`), recall over those that
    rows have (balanced accuracy); with two classes those of the second one; Matthews' correlation (0 where one side is
    constant); `predicted_labels`, the number of different answers: 1 is a model that has collapsed.
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    every = sorted(set(gold.tolist()) | set(predicted.tolist()))
    macro = precision_recall_fscore_support(gold, predicted, labels=every, average="macro", zero_division=0.0)
    there = sorted(set(gold.tolist()))
    recall = precision_recall_fscore_support(gold, predicted, labels=there, average="macro", zero_division=0.0)
    metrics = {
        "accuracy": float(accuracy_score(gold, predicted)),
        "macro_precision": float(macro[0]),
        "macro_recall": float(recall[1]),
        "macro_f1": float(macro[2]),
        "matthews": _matthews(gold, predicted),
        "predicted_labels": float(len(set(predicted.tolist()))),
    }
    if classes == 2:
        second = precision_recall_fscore_support(gold, predicted, labels=[1], average="macro", zero_division=0.0)
        metrics |= {"precision": float(second[0]), "recall": float(second[1]), "f1": float(second[2])}
    return metrics


def _matthews(gold: Ints, predicted: Ints) -> float:
    """Matthews' correlation of any number of classes (Gorodkin 2004), from their counts alone.

    scikit-learn's goes over a dense table of all pairs of classes.
    """
    rows, size = len(gold), int(max(gold.max(), predicted.max())) + 1
    wanted, given = (np.bincount(side, minlength=size).astype(np.float64) for side in (gold, predicted))
    together = float((gold == predicted).sum()) * rows - wanted @ given
    spread = (rows**2 - given @ given) * (rows**2 - wanted @ wanted)
    return float(together / math.sqrt(spread)) if spread else 0.0


def multilabel_metrics(gold: Bools, predicted: Bools) -> Metrics:
    """Compare sets of labels, gold and predicted (R, C) booleans.

    `micro_` and `macro_` precision, recall and f1 (over all decisions; as a mean over the labels, a share of
    nothing being 0), `samples_f1` (mean over the rows; 1 where both sets are empty), `exact` (the share of rows
    whose set is right), `predicted_sets`, the number of different answers.
    """
    # By hand: of a single label scikit-learn would make a binary decision and average over yes and no.
    right, given, wanted = (gold & predicted).sum(0), predicted.sum(0), gold.sum(0)  # (C,) each
    metrics: Metrics = {}
    for average, counts in (
        ("micro", [one.sum(keepdims=True) for one in (right, given, wanted)]),
        ("macro", [right, given, wanted]),
    ):
        shares = zip(("precision", "recall", "f1"), _shares(*counts), strict=True)
        metrics |= {f"{average}_{name}": float(share.mean()) if len(share) else 0.0 for name, share in shares}
    both, either = (gold & predicted).sum(1), gold.sum(1) + predicted.sum(1)
    metrics["samples_f1"] = float(np.where(either > 0, 2 * both / np.maximum(either, 1), 1.0).mean())
    metrics["exact"] = float((gold == predicted).all(1).mean())
    metrics["predicted_sets"] = float(len({row.tobytes() for row in predicted}))
    return metrics


def _shares(right: Ints, given: Ints, wanted: Ints) -> tuple[Doubles, Doubles, Doubles]:
    """Precision, recall and F1 from counts; a share of nothing is 0."""
    parts = ((right, given), (right, wanted), (2 * right, given + wanted))
    precision, recall, f1 = (np.where(whole > 0, part / np.maximum(whole, 1), 0.0) for part, whole in parts)
    return precision, recall, f1


def correlations(gold: Doubles, predicted: Doubles) -> Metrics:
    """`pearson` and `spearman` of two rows of numbers (R,); 0 where one side is constant but for the rounding of single
    precision, for which they have no value."""
    from scipy.stats import pearsonr, spearmanr

    if len(gold) < 2 or _constant(gold) or _constant(predicted):
        return {"pearson": 0.0, "spearman": 0.0}
    return {"pearson": float(pearsonr(gold, predicted)[0]), "spearman": float(spearmanr(gold, predicted)[0])}


def _constant(values: Doubles) -> bool:
    return bool(np.ptp(values) <= 4 * np.finfo(np.float32).eps * np.abs(values).max())


def regression_metrics(gold: Doubles, predicted: Doubles) -> Metrics:
    """Compare numbers with the right ones, both (R,).

    `pearson` and `spearman` correlation and `pearson_spearman`, their mean, which is GLUE's score of STS-B; all 0
    where one side is constant, for which they have no value. Mean squared and absolute error, `r2`, and `spread`:
    the deviation of the answers as a share of that of the truth, 0 for a model that has collapsed.
    """
    from sklearn.metrics import mean_absolute_error, mean_squared_error

    both = correlations(gold, predicted)
    mse, deviation = float(mean_squared_error(gold, predicted)), float(np.std(gold))
    return both | {
        "pearson_spearman": (both["pearson"] + both["spearman"]) / 2,
        "mse": mse,
        "mae": float(mean_absolute_error(gold, predicted)),
        "r2": 1 - mse / deviation**2 if deviation else 0.0,
        "spread": float(np.std(predicted)) / deviation if deviation else 0.0,
    }


def negative_log_likelihood(gold: Ints, logits: Floats) -> float:
    """Mean over rows of -log p(gold), in nats."""
    return -float(log_softmax(logits)[np.arange(len(gold)), gold].mean())


def log_softmax(logits: Floats | Doubles) -> Doubles:
    """Log-probabilities (..., C) of logits (..., C), in double precision; there is at least one class."""
    wide = logits.astype(np.float64)
    wide -= wide.max(-1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(-1, keepdims=True))  # type: ignore[no-any-return]


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
