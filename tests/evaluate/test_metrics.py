"""Metrics against their definitions, written out by hand."""

import math

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from litebert.evaluate.metrics import (
    classification_metrics,
    confusion,
    label_metrics,
    mean_and_interval,
    multilabel_metrics,
    negative_log_likelihood,
    regression_metrics,
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


def test_recall_is_of_labels_that_rows_have() -> None:
    """As balanced accuracy: a model of three labels may be judged by rows of two."""
    metrics = label_metrics(np.array([0] * 50 + [2] * 50), np.array([1] + [0] * 49 + [2] * 50), 3)
    assert metrics["macro_recall"] == pytest.approx(0.99)
    assert metrics["macro_precision"] == pytest.approx(2 / 3)


def test_answers_that_differ_by_rounding_alone_are_constant() -> None:
    gold, step = np.arange(6.0), np.spacing(np.float32(0.7))
    predicted = 0.7 + step * np.array([0, 1, 0, 1, 1, 0])
    assert regression_metrics(gold, predicted.astype(np.float64))["pearson_spearman"] == 0
    assert regression_metrics(gold, 0.7 + 100 * step * gold)["pearson_spearman"] == pytest.approx(1)


@pytest.mark.parametrize("classes", [2, 3, 12])
def test_matthews_of_any_number_of_classes_is_scikit_learns(classes: int) -> None:
    generator = np.random.default_rng(classes)
    for size in (5, 50):
        gold, predicted = generator.integers(classes, size=(2, size))
        predicted = np.where(generator.random(size) < 0.5, gold, predicted)
        assert label_metrics(gold, predicted, classes)["matthews"] == pytest.approx(matthews_corrcoef(gold, predicted))


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


GLUE_CASES = [
    ([0, 1, 1, 0, 1], [0, 1, 0, 0, 1]),
    ([0, 1, 1, 0, 1], [1, 1, 1, 1, 1]),  # constant answers
    ([0, 1, 1, 0, 1], [0, 0, 0, 0, 0]),
    ([1, 1, 1], [1, 1, 1]),
    ([0, 0, 0], [1, 1, 1]),
    ([1], [0]),
]


@pytest.mark.parametrize(("gold", "predicted"), GLUE_CASES)
def test_glues_classification_scores_are_sklearns(gold: list[int], predicted: list[int]) -> None:
    """CoLA: Matthews; MRPC and QQP: accuracy and F1; SST-2, MNLI, QNLI, RTE, WNLI: accuracy."""
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    metrics = label_metrics(np.array(gold), np.array(predicted), 2)
    assert metrics["accuracy"] == accuracy_score(gold, predicted)
    assert metrics["f1"] == f1_score(gold, predicted, zero_division=0.0)
    if len({*gold, *predicted}) > 1:  # of a single class sklearn gives 0 and a warning
        assert metrics["matthews"] == pytest.approx(matthews_corrcoef(gold, predicted))
    assert metrics["macro_f1"] == pytest.approx(f1_score(gold, predicted, average="macro", zero_division=0.0))


@pytest.mark.parametrize(
    ("gold", "predicted"),
    [
        ([0.0, 1.5, 3.0, 5.0], [0.2, 1.0, 3.5, 4.0]),
        ([0.0, 1.5, 3.0, 5.0], [4.0, 3.0, 2.0, 1.0]),
        ([1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 1.0, 2.0]),  # ties
        ([1.0, 2.0], [1e9, -1e9]),
        ([0.0, 1e-9, 5.0], [0.0, 1e9, 1.0]),
    ],
)
def test_stsb_scores_are_scipys(gold: list[float], predicted: list[float]) -> None:
    from scipy.stats import pearsonr, spearmanr

    metrics = regression_metrics(np.array(gold), np.array(predicted))
    assert metrics["pearson"] == pytest.approx(pearsonr(gold, predicted)[0])
    assert metrics["spearman"] == pytest.approx(spearmanr(gold, predicted)[0])
    assert metrics["pearson_spearman"] == pytest.approx((metrics["pearson"] + metrics["spearman"]) / 2)
    assert metrics["mse"] == pytest.approx(np.mean((np.array(gold) - predicted) ** 2))


@pytest.mark.parametrize(("gold", "predicted"), [([1, 2, 3], [2, 2, 2]), ([2, 2], [1, 3]), ([1], [1])])
def test_no_correlation_with_what_is_constant(gold: list[float], predicted: list[float]) -> None:
    metrics = regression_metrics(np.array(gold, dtype=float), np.array(predicted, dtype=float))
    assert metrics["pearson"] == metrics["spearman"] == 0
    assert all(math.isfinite(value) for value in metrics.values())


def test_a_single_label_is_a_set_too_and_so_is_none() -> None:
    """Of one label, scikit-learn would average over yes and no."""
    gold, predicted = (np.array([[value] for value in row], dtype=bool) for row in ((1, 0, 0, 0), (0, 0, 0, 1)))
    metrics = multilabel_metrics(gold, predicted)
    assert (metrics["micro_f1"], metrics["macro_f1"], metrics["exact"]) == (0, 0, 0.5)
    none = multilabel_metrics(np.zeros((3, 0), dtype=bool), np.zeros((3, 0), dtype=bool))
    assert (none["micro_f1"], none["macro_f1"], none["samples_f1"], none["exact"]) == (0, 0, 1, 1)


def test_sets_of_labels_are_scored_as_sklearn_does() -> None:
    from sklearn.metrics import f1_score

    generator = np.random.default_rng(0)
    gold, predicted = generator.random((2, 40, 5)) < 0.3
    gold[:, 4] = predicted[:, 3] = False
    gold[0] = predicted[0] = False
    metrics = multilabel_metrics(gold, predicted)
    for average in ("micro", "macro"):
        expected = f1_score(gold, predicted, average=average, zero_division=0.0)
        assert metrics[f"{average}_f1"] == pytest.approx(expected)
    expected = f1_score(gold, predicted, average="samples", zero_division=1.0)
    assert metrics["samples_f1"] == pytest.approx(expected), "two empty sets are the same"
    assert metrics["exact"] == (gold == predicted).all(1).mean()
    assert metrics["predicted_sets"] == len({tuple(row) for row in predicted.tolist()})
