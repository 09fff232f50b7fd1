"""Bins of confidence: against plain arithmetic, and put together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litebert.evaluate.reliability import Bin, calibration_error, pooled, reliability

ANSWERS = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50)


def test_bins_by_hand() -> None:
    bins = reliability([0.05, 0.55, 0.58, 1.0], [False, True, False, True])
    assert bins == [Bin(0, 1, 0.05, 0.0), Bin(5, 2, pytest.approx(0.565), 0.5), Bin(9, 1, 1.0, 1.0)]
    assert calibration_error(bins) == pytest.approx((0.05 + 2 * 0.065) / 4)
    assert calibration_error([]) == 0


@given(ANSWERS, ANSWERS)
def test_parts_make_the_whole(one: list[tuple[float, bool]], other: list[tuple[float, bool]]) -> None:
    whole = reliability([c for c, _ in one + other], [r for _, r in one + other])
    parts = [reliability([c for c, _ in part], [r for _, r in part]) for part in (one, other)]
    together = pooled(parts)
    assert [b[:2] for b in together] == [b[:2] for b in whole]
    for a, b in zip(together, whole, strict=True):
        assert a.confidence == pytest.approx(b.confidence)
        assert a.accuracy == pytest.approx(b.accuracy)
    assert 0 <= calibration_error(whole) <= 1
