"""Whether probabilities mean what they say: answers by their confidence, and how often they are right."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BINS = 10


class Bin(NamedTuple):
    """The answers of a tenth of the scale."""

    tenth: int
    """From 0 to 9."""
    rows: int
    confidence: float
    """Mean probability that they were given with."""
    accuracy: float
    """Share of them that is right."""


def reliability(confidence: Sequence[float], right: Sequence[bool]) -> list[Bin]:
    """Sort answers into tenths of the scale of confidence, [0, 0.1) to [0.9, 1]; empty ones are left out.

    The diagram of DeGroot and Fienberg 1983, with the bins of Guo et al. 2017.
    """
    sure = np.asarray(confidence, dtype=np.float64)
    correct = np.asarray(right, dtype=np.float64)
    tenth = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    return [
        Bin(i, int(inside.sum()), float(sure[inside].mean()), float(correct[inside].mean()))
        for i, inside in enumerate(tenth == i for i in range(BINS))
        if inside.any()
    ]


def pooled(parts: Sequence[Sequence[Bin]]) -> list[Bin]:
    """Put the bins of several evaluations together."""
    result = []
    for tenth in range(BINS):
        same = [one for part in parts for one in part if one.tenth == tenth]
        if rows := sum(one.rows for one in same):
            confidence = sum(one.rows * one.confidence for one in same) / rows
            result.append(Bin(tenth, rows, confidence, sum(one.rows * one.accuracy for one in same) / rows))
    return result


def calibration_error(bins: Sequence[Bin]) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy over all answers (Guo et al. 2017)."""
    total = sum(one.rows for one in bins)
    return sum(one.rows * abs(one.confidence - one.accuracy) for one in bins) / max(total, 1)
