"""Known and unknown rows: definitions by hand, and thresholds against trying all of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litebert.evaluate.unknowns import at_threshold, best_threshold, known_scores, separation

SCORES = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12)


def test_scores() -> None:
    logits = np.array([[0.0, math.log(3)], [1000.0, 1000.0]])
    scores = known_scores(logits)
    np.testing.assert_allclose(scores["max_probability"], [0.75, 0.5])
    np.testing.assert_allclose(scores["energy"], [math.log(4), 1000 + math.log(2)])
    # Adding to all logits of a row says nothing to a softmax, but to the energy.
    np.testing.assert_allclose(known_scores(logits + 5)["max_probability"], scores["max_probability"])
    np.testing.assert_allclose(known_scores(logits + 5)["energy"], scores["energy"] + 5)


def test_separation_by_hand() -> None:
    known, unknown = np.array([0.9, 0.8, 0.4]), np.array([0.7, 0.3])
    metrics = separation(known, unknown)
    assert metrics["auroc"] == pytest.approx(5 / 6), "of six pairs one stands the wrong way round"
    assert metrics["aupr_known"] == pytest.approx((1 + 1 + 3 / 4) / 3)
    assert metrics["aupr_unknown"] == pytest.approx((1 + 2 / 3) / 2)
    assert metrics["fpr_at_95_tpr"] == 0.5, "all three known ones are needed for 95 %: 0.7 passes"
    twenty = separation(np.arange(20.0), np.array([0.5, 1.0, 2.0]))
    assert twenty["fpr_at_95_tpr"] == pytest.approx(2 / 3), "nineteen of twenty pass at 1"
    assert separation(known, known)["auroc"] == 0.5


@given(SCORES, SCORES, st.integers(0, 2**12 - 1))
def test_no_threshold_is_better_than_the_best(known: list[float], unknown: list[float], bits: int) -> None:
    k, u = np.array(known), np.array(unknown)
    correct = np.array([bool(bits >> i & 1) for i in range(len(known))])
    found = at_threshold(k, correct, u, best_threshold(k, correct, u))["balanced_accuracy"]
    for threshold in np.arange(-0.5, 7.0, 0.5):
        assert at_threshold(k, correct, u, threshold)["balanced_accuracy"] <= found + 1e-12


@given(SCORES, SCORES, st.integers(2, 5))
def test_the_threshold_does_not_hang_on_how_many_there_are(
    known: list[float], unknown: list[float], times: int
) -> None:
    k, u, correct = np.array(known), np.array(unknown), np.ones(len(known), dtype=bool)
    once = at_threshold(k, correct, u, best_threshold(k, correct, u))["balanced_accuracy"]
    more = best_threshold(np.tile(k, times), np.tile(correct, times), u)
    assert at_threshold(k, correct, u, more)["balanced_accuracy"] == pytest.approx(once)


def test_at_a_threshold() -> None:
    known, correct, unknown = np.array([0.9, 0.8, 0.4]), np.array([True, False, True]), np.array([0.7, 0.3])
    assert at_threshold(known, correct, unknown, 0.5) == {
        "threshold": 0.5,
        "recall": 0.5,
        "precision": 0.5,
        "known_accuracy": pytest.approx(1 / 3),
        "balanced_accuracy": pytest.approx(5 / 12),
    }
    assert at_threshold(known, correct, unknown, 0.0)["precision"] == 0
