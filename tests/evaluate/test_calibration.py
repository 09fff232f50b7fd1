"""Calibration against its definitions: bins by hand, a temperature that is known, and what is left alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litebert.evaluate import calibration
from litebert.evaluate.calibration import (
    Bin,
    Decisions,
    calibrate,
    error_of_bins,
    expected_calibration_error,
    fit_temperature,
    pooled_bins,
    reliability_bins,
)

ANSWERS = st.lists(st.tuples(st.floats(0, 1), st.booleans()))


def drawn(rows: int, classes: int, temperature: float, seed: int = 0) -> Decisions:
    """Truths drawn from a softmax; the logits that are shown are those of it times `temperature`."""
    random = np.random.default_rng(seed)
    logits = random.normal(0.0, 2.0, (rows, classes))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    gold = (p.cumsum(1) < random.random((rows, 1))).sum(1).clip(0, classes - 1)
    return Decisions(logits * temperature, gold, np.arange(rows))


def test_bins_by_hand() -> None:
    confidences = np.array([0.1, 0.2, 0.25, 0.5, 0.51, 1.0])
    correct = np.array([False, True, False, True, True, False])
    bins = reliability_bins(confidences, correct, bins=4)
    assert [(one.low, one.high, one.rows) for one in bins] == [
        (0, 0.25, 3),
        (0.25, 0.5, 1),
        (0.5, 0.75, 1),
        (0.75, 1, 1),
    ]
    assert [one.accuracy for one in bins] == [pytest.approx(1 / 3), 1, 1, 0]
    assert bins[0].confidence == pytest.approx(0.55 / 3)
    expected = (3 * abs(1 / 3 - 0.55 / 3) + 0.5 + 0.49 + 1) / 6
    assert expected_calibration_error(confidences, correct, bins=4) == pytest.approx(expected)


@given(ANSWERS, st.integers(0, 40))
def test_bins_of_parts_are_those_of_the_whole(rows: list[tuple[float, bool]], cut: int) -> None:
    def bins(some: list[tuple[float, bool]]) -> list[Bin]:
        return reliability_bins(
            np.array([sure for sure, _ in some]), np.array([right for _, right in some], dtype=bool)
        )

    whole, together = bins(rows), pooled_bins([bins(rows[:cut]), bins(rows[cut:])])
    assert [one[:3] for one in together] == [one[:3] for one in whole]
    assert error_of_bins(together) == pytest.approx(error_of_bins(whole), abs=1e-9)


def test_empty_bins_are_left_out_and_borders_have_a_place() -> None:
    assert [one.rows for one in reliability_bins(np.array([0.0, 1.0]), np.array([True, True]))] == [1, 1]
    assert reliability_bins(np.zeros(0), np.zeros(0, dtype=bool)) == []
    assert expected_calibration_error(np.zeros(0), np.zeros(0, dtype=bool)) == 0


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), st.integers(1, 30))
def test_bins_hold_every_row_once(rows: list[tuple[float, bool]], count: int) -> None:
    confidences, correct = np.array([p for p, _ in rows]), np.array([right for _, right in rows])
    bins = reliability_bins(confidences, correct, count)
    assert sum(one.rows for one in bins) == len(rows)
    assert sum(one.rows * one.accuracy for one in bins) == pytest.approx(correct.sum())
    assert all(one.low - 1e-9 <= one.confidence <= one.high + 1e-9 for one in bins)
    assert 0 <= expected_calibration_error(confidences, correct, count) <= 1


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found(temperature: float) -> None:
    decisions = drawn(20_000, 4, temperature)
    found = fit_temperature(decisions)
    assert found == pytest.approx(temperature, rel=0.03)
    assert found == fit_temperature(decisions), "nothing is drawn"
    best = decisions.scaled(found).losses.mean()
    for other in (0.98, 1.02):
        assert best < decisions.scaled(found * other).losses.mean()


def test_decisions_of_which_no_class_is_right() -> None:
    """A fifth of the rows is in no class: wrong, as likely as the likeliest class is wrong."""
    decisions = drawn(5000, 4, 2.0)
    nowhere = decisions._replace(gold=np.where(np.arange(5000) % 5 == 0, -1, decisions.gold))
    assert not nowhere.correct[::5].any()
    np.testing.assert_allclose(nowhere.losses[::5], -np.log(1 - decisions.confidences[::5]))
    np.testing.assert_array_equal(nowhere.losses[1::5], decisions.losses[1::5])
    found = fit_temperature(nowhere)
    assert found > fit_temperature(decisions)
    best = nowhere.scaled(found).losses.mean()
    for other in (0.98, 1.02):
        assert best < nowhere.scaled(found * other).losses.mean()
    sure = Decisions(np.array([[0.0, -np.inf]]), np.array([-1]), np.array([0]))
    assert np.isfinite(sure.losses).all()


def test_a_temperature_changes_no_answer_and_mends_the_error() -> None:
    decisions = drawn(2000, 3, 3.0)
    found = calibrate(decisions)
    after = decisions.scaled(found.temperature)
    assert (after.correct == decisions.correct).all()
    assert found.temperature > 2
    assert found.ece_before == decisions.calibration_error > 0.1
    assert found.ece_after < 0.04
    assert found.loss_after < found.loss_before == decisions.losses.mean()
    assert after.losses.mean() <= found.loss_after, "what was fitted on is judged no worse than what was not"
    assert "temperature" in found.summary()


def test_rows_with_fewer_classes() -> None:
    """Choices of two and of four: what is not there weighs nothing."""
    few, many = drawn(3000, 2, 2.0), drawn(3000, 4, 2.0, seed=1)
    padded = np.full((3000, 4), -np.inf)
    padded[:, :2] = few.logits
    both = Decisions(np.concatenate((padded, many.logits)), np.concatenate((few.gold, many.gold)), np.arange(6000))
    assert fit_temperature(both) == pytest.approx(2.0, rel=0.1)
    assert np.isfinite(both.losses).all()
    np.testing.assert_allclose(both.confidences[:3000], few.confidences)


def test_where_nothing_is_changed() -> None:
    few = calibrate(drawn(99, 3, 3.0))
    assert (few.temperature, few.rows) == (1.0, 99)
    assert "100 dev rows" in few.unchanged
    assert few.ece_before == few.ece_after
    every = drawn(500, 3, 3.0)
    known = calibrate(every._replace(gold=every.logits.argmax(1)))
    assert known.temperature == 1.0
    assert "only 0 of the answers to 500 dev rows are wrong" in known.unchanged
    fine = calibrate(drawn(100, 2, 1.0, seed=2))
    assert fine.temperature == 1.0
    assert "a loss of" in fine.unchanged
    assert calibrate(Decisions(np.zeros((0, 3)), np.zeros(0, dtype=int), np.zeros(0, dtype=int))).rows == 0


def test_a_likelihood_at_the_cost_of_the_answers_is_not_taken() -> None:
    """Half of the rows are unsure with reason, the others much too sure of the one class that they rule out."""
    random = np.random.default_rng(4)
    sure = random.random((4000, 1)) < 0.5
    top = np.where(sure, 0.75, 0.55)
    logits = np.log(np.concatenate((top, (1 - top) * 0.9999, (1 - top) * 0.0001), 1))
    gold = np.where(random.random(4000) < top[:, 0], 0, np.where(random.random(4000) < 0.9, 1, 2))
    decisions = Decisions(logits, gold, np.arange(4000))
    assert fit_temperature(decisions) > 1.2
    found = calibrate(decisions)
    assert found.temperature == 1
    assert "a temperature gives an expected calibration error of" in found.unchanged


def test_decisions_of_one_row_stay_in_one_fold() -> None:
    """Words of one text are alike: ten rows a hundred times over are ten rows, not a thousand."""
    decisions = drawn(1000, 3, 3.0)._replace(rows=np.repeat(np.arange(10), 100))
    assert "here are 10" in calibrate(decisions).unchanged


def test_bounds() -> None:
    decisions = drawn(300, 2, 1.0)
    right, wrong = decisions.logits.argmax(1), decisions.logits.argmin(1)
    assert fit_temperature(decisions._replace(gold=right)) == 0.05
    assert fit_temperature(decisions._replace(gold=wrong)) == 20


def test_every_so_many_of_very_many_rows_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    decisions = drawn(3000, 2, 2.5)
    decisions = decisions._replace(rows=np.repeat(np.arange(1000), 3))
    monkeypatch.setattr(calibration, "MOST_DECISIONS", 1000)
    found = calibrate(decisions)
    assert found.rows == 334
    monkeypatch.undo()
    assert found == calibrate(decisions.where(decisions.rows % 3 == 0))
    assert calibrate(decisions).rows == 1000
