"""Answering only where one is sure enough: coverage, the accuracy of what is answered, and the risk at every coverage.

Dimensions: R rows.
"""

from typing import Any

import numpy as np

from litebert.evaluate.metrics import Bools, Doubles


def risk_coverage(confidences: Doubles, correct: Bools) -> Doubles:
    """The risk (share of wrong answers) among the k rows of the greatest confidence, for k from 1 to R: (R,).

    El-Yaniv and Wiener 2010. Rows of equal confidence stand in no order: each counts as their mean.
    """
    groups, group = np.unique(-np.asarray(confidences, dtype=np.float64), return_inverse=True)  # the surest first
    sizes = np.bincount(group, minlength=len(groups))
    wrong = np.bincount(group, weights=~np.asarray(correct), minlength=len(groups))
    shares = np.repeat(wrong / np.maximum(sizes, 1), sizes)  # (R,)
    return shares.cumsum() / np.arange(1, len(shares) + 1)


def selective_metrics(confidences: Doubles, correct: Bools, threshold: float) -> dict[str, Any]:
    """What comes of leaving rows without an answer whose confidence is below the threshold.

    `abstained` (rows), `coverage` (share of rows that are answered), `selective_accuracy` (of these; None where there
    are none), and `aurc`, the area under the curve of risk over coverage, whatever the threshold: the mean of
    `risk_coverage` (Geifman et al. 2019). `aurc_best` is that of the same answers, had the right ones been the surest.
    """
    answered = np.asarray(confidences) >= threshold
    return {
        "abstained": int((~answered).sum()),
        "coverage": float(answered.mean()) if len(answered) else 0.0,
        "selective_accuracy": float(correct[answered].mean()) if answered.any() else None,
        "aurc": _area(confidences, correct),
        "aurc_best": _area(np.asarray(correct, dtype=np.float64), correct),
    }


def _area(confidences: Doubles, correct: Bools) -> float:
    return float(risk_coverage(confidences, correct).mean()) if len(confidences) else 0.0
