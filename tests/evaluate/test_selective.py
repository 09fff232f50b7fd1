"""Risk and coverage by hand, and properties that hold for any answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litebert.evaluate.selective import risk_coverage, selective_metrics

ANSWERS = st.lists(st.tuples(st.sampled_from([0.3, 0.5, 0.5001, 0.9, 1.0]), st.booleans()), min_size=1)


def test_by_hand() -> None:
    confidences, correct = np.array([0.6, 0.9, 0.8, 0.7]), np.array([True, True, False, True])
    curve = [0, 1 / 2, 1 / 3, 1 / 4]
    np.testing.assert_allclose(risk_coverage(confidences, correct), curve)
    metrics = selective_metrics(confidences, correct, 0.7)
    assert (metrics["abstained"], metrics["coverage"]) == (1, 0.75)
    assert metrics["selective_accuracy"] == pytest.approx(2 / 3)
    assert metrics["aurc"] == pytest.approx(np.mean(curve))
    assert metrics["aurc_best"] == pytest.approx(1 / 4 / 4), "three right ones first, then the wrong one"


def test_nothing_is_answered() -> None:
    metrics = selective_metrics(np.array([0.5]), np.array([True]), 0.9)
    assert (metrics["abstained"], metrics["coverage"], metrics["selective_accuracy"]) == (1, 0, None)
    assert selective_metrics(np.zeros(0), np.zeros(0, dtype=bool), 0.9)["coverage"] == 0


@given(ANSWERS, st.randoms())
def test_the_order_of_rows_does_not_matter(answers: list[tuple[float, bool]], random: object) -> None:
    shuffled = list(answers)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = (
        selective_metrics(np.array([p for p, _ in rows]), np.array([c for _, c in rows]), 0.5)
        for rows in (answers, shuffled)
    )
    assert one == pytest.approx(other)
    assert one["aurc_best"] <= one["aurc"] + 1e-12


@given(ANSWERS)
def test_the_curve_ends_at_the_error_of_all(answers: list[tuple[float, bool]]) -> None:
    confidences, correct = np.array([p for p, _ in answers]), np.array([c for _, c in answers])
    curve = risk_coverage(confidences, correct)
    assert len(curve) == len(answers)
    assert curve[-1] == pytest.approx(1 - correct.mean())
    assert ((curve >= 0) & (curve <= 1)).all()
