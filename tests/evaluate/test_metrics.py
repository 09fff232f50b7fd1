"""Metrics against their definitions, written out by hand."""

import math

import numpy as np
import pytest

from litebert.evaluate.metrics import (
    classification_metrics,
    confusion,
    mean_and_interval,
    negative_log_likelihood,
)


def logits_for(predicted: list[int], classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[predicted] * 3


def test_two_classes_by_hand() -> None:
    gold = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    predicted = [1, 1, 0, 1, 0, 0, 0, 0]
    tp, fn, fp, tn = 2, 1, 1, 4
    metrics = classification_metrics(gold, logits_for(predicted, 2))
    assert metrics["accuracy"] == 6 / 8
    assert metrics["precision"] == pytest.approx(tp / (tp + fp))
    assert metrics["recall"] == pytest.approx(tp / (tp + fn))
    assert metrics["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    other = 2 * tn / (2 * tn + fp + fn)
    assert metrics["macro_f1"] == pytest.approx((metrics["f1"] + other) / 2)
    root = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert metrics["matthews"] == pytest.approx((tp * tn - fp * fn) / root)
    assert metrics["predicted_labels"] == 2


def test_more_classes_have_no_single_precision() -> None:
    metrics = classification_metrics(np.array([0, 1, 2, 2]), logits_for([0, 1, 2, 1], 4))
    assert metrics["accuracy"] == 0.75
    assert "precision" not in metrics
    assert metrics["macro_f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3), "the class that never occurs does not count"


def test_one_answer_for_all_is_told() -> None:
    metrics = classification_metrics(np.array([0, 1, 1]), logits_for([1, 1, 1], 2))
    assert metrics["predicted_labels"] == 1
    assert metrics["matthews"] == 0


def test_loss_is_the_mean_negative_log_likelihood() -> None:
    logits = np.array([[0.0, math.log(3)], [1000.0, 0.0]], dtype=np.float32)
    assert negative_log_likelihood(np.array([0, 0]), logits) == pytest.approx(math.log(4) / 2)


def test_confusion_counts() -> None:
    counts = confusion(np.array([0, 0, 2]), np.array([0, 2, 2]), ("a", "b", "c"))
    assert counts == {"a": {"a": 1, "c": 1}, "c": {"c": 1}}


def test_interval_by_student() -> None:
    mean, std, (low, high) = mean_and_interval([0.8, 0.82, 0.84])
    assert mean == pytest.approx(0.82)
    assert std == pytest.approx(0.02)
    assert high - mean == pytest.approx(4.302653 * 0.02 / math.sqrt(3), rel=1e-6)
    assert low == pytest.approx(2 * mean - high)
    assert mean_and_interval([0.5])[0] == 0.5
    assert math.isnan(mean_and_interval([0.5])[1])
