"""How far probabilities can be believed: reliability, calibration error, and the temperature that mends it.

A decision is a choice among classes: the label of a text, the tag of a word, yes or no to one label of many, one of
several choices, one of the best spans of a context. Dimensions: D decisions, C classes (logits of minus infinity: a row
has fewer), R rows.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from litebert.evaluate.metrics import Bools, Doubles, Ints, log_softmax

BINS = 15
"""Guo et al. 2017."""

FOLDS = 5
FEWEST_ROWS = 100
MOST_DECISIONS = 500_000
FEWEST_OF_A_KIND = 10
"""Right decisions, and wrong ones, that a temperature needs at least: from no errors the best one would be 0."""
COLDEST, HOTTEST = 0.05, 20.0
RAREST = 1e-12
"""No probability is taken to be less."""


class Bin(NamedTuple):
    """Decisions of nearly the same confidence: a bar of a reliability diagram."""

    low: float
    high: float
    """Confidences in (low, high]."""
    rows: int
    confidence: float
    """Their mean."""
    accuracy: float
    """Share that is right."""


def reliability_bins(confidences: Doubles, correct: Bools, bins: int = BINS) -> list[Bin]:
    """Divide decisions (D,) into bins of equal width over confidence, from 0 to 1; empty ones are left out.

    confidences: probabilities of what was answered. correct: whether it was right. DeGroot and Fienberg 1983.
    """
    where = np.clip(np.ceil(np.asarray(confidences, dtype=np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    rows = np.bincount(where, minlength=bins)
    sure, right = (np.bincount(where, weights=values, minlength=bins) for values in (confidences, correct))
    return [
        Bin(i / bins, (i + 1) / bins, int(rows[i]), float(sure[i] / rows[i]), float(right[i] / rows[i]))
        for i in np.flatnonzero(rows).tolist()
    ]


def expected_calibration_error(confidences: Doubles, correct: Bools, bins: int = BINS) -> float:
    """Mean distance between confidence and accuracy over bins of equal width, weighted by their decisions: from 0 (can
    be believed) to 1.

    Of the answer alone (top label), not of all classes. Naeini et al. 2015, Guo et al. 2017.
    """
    return error_of_bins(reliability_bins(confidences, correct, bins))


def error_of_bins(bins: Sequence[Bin]) -> float:
    """The expected calibration error of decisions that lie in bins already; 0 where there are none."""
    return sum(one.rows * abs(one.accuracy - one.confidence) for one in bins) / max(sum(one.rows for one in bins), 1)


def pooled_bins(parts: Sequence[Sequence[Bin]]) -> list[Bin]:
    """Put the bins of several evaluations together, which are divided alike."""
    result = []
    places = {round(one.low, 6): one for part in parts for one in part}  # files have them rounded
    for place, (low, high, *_) in sorted(places.items()):
        same = [one for part in parts for one in part if round(one.low, 6) == place]
        rows = sum(one.rows for one in same)
        sure, right = (
            sum(one.rows * value for one, value in zip(same, values, strict=True)) / rows
            for values in ([one.confidence for one in same], [one.accuracy for one in same])
        )
        result.append(Bin(low, high, rows, sure, right))
    return result


class Decisions(NamedTuple):
    """What a model says of things of which the truth is known."""

    logits: Doubles
    """(D, C)"""
    gold: Ints
    """(D,); -1: none of the classes is right."""
    rows: Ints
    """(D,): the row that each decision belongs to."""

    @property
    def confidences(self) -> Doubles:
        """(D,): probability of the likeliest class."""
        return np.exp(log_softmax(self.logits).max(1))  # type: ignore[no-any-return]

    @property
    def correct(self) -> Bools:
        """(D,): whether the likeliest class is the right one."""
        return self.logits.argmax(1) == self.gold if len(self.gold) else np.zeros(0, dtype=np.bool_)

    @property
    def losses(self) -> Doubles:
        """(D,): negative log-likelihood in nats, of the likeliest class being wrong where none is right."""
        logs = log_softmax(self.logits)
        wrong = np.log(np.maximum(-np.expm1(logs.max(1)), RAREST))
        return -np.where(self.gold < 0, wrong, logs[np.arange(len(self.gold)), self.gold])

    @property
    def calibration_error(self) -> float:
        """See `expected_calibration_error`."""
        return expected_calibration_error(self.confidences, self.correct)

    def where(self, chosen: Bools) -> "Decisions":
        """Those of chosen (D,)."""
        return Decisions(self.logits[chosen], self.gold[chosen], self.rows[chosen])

    def scaled(self, temperatures: float | Doubles) -> "Decisions":
        """The same at a temperature, or each at its own (D,): the answers stay, their probabilities change."""
        each = np.broadcast_to(np.asarray(temperatures, dtype=np.float64), self.gold.shape)
        return self._replace(logits=self.logits / each[:, None])


def fit_temperature(decisions: Decisions) -> float:
    """The temperature by which logits must be divided for the greatest likelihood (Guo et al. 2017).

    The loss is convex in its inverse, so that the root of the derivative is the one minimum: found by Brent's method,
    between 0.05 and 20. (Where none of the classes is right, what is likely is that the likeliest is wrong; such
    decisions are not convex, and the root is a minimum that is perhaps not the only one.)
    """
    from scipy.optimize import brentq

    wide = np.where(np.isfinite(decisions.logits), decisions.logits, 0.0)  # classes that are not there weigh nothing
    right = wide[np.arange(len(wide)), decisions.gold]
    none = decisions.gold < 0
    likeliest = np.arange(wide.shape[1]) == decisions.logits.argmax(1)[:, None]

    def slope(inverse: float) -> float:
        weights = np.exp(log_softmax(decisions.logits * inverse))
        others = np.where(likeliest, 0.0, weights)
        instead = (others * wide).sum(1) / np.maximum(others.sum(1), RAREST)
        return float(((weights * wide).sum(1) - np.where(none, instead, right)).mean())

    low, high = 1 / HOTTEST, 1 / COLDEST
    if slope(low) >= 0:
        return HOTTEST
    if slope(high) <= 0:
        return COLDEST
    return 1 / float(brentq(slope, low, high, xtol=1e-9))


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What came of fitting a temperature on dev rows.

    The figures after it are cross-fitted: every fifth of the rows is judged at the temperature of the other four.
    """

    temperature: float
    """1 where nothing was changed."""
    rows: int
    """Dev rows that are no training rows: those that it was fitted on."""
    ece_before: float
    ece_after: float
    """Expected calibration error of the answers, 15 bins of equal width."""
    loss_before: float
    loss_after: float
    """Nats."""
    unchanged: str = ""
    """Why nothing was changed; empty where something was."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def summary(self) -> str:
        """One line for the user."""
        if self.unchanged:
            return f"probabilities are left as they are: {self.unchanged}"
        return (
            f"temperature {self.temperature:.4g}, fitted on {self.rows:,} dev rows and put into the classifier's "
            f"weights: expected calibration error {self.ece_before:.4f} -> {self.ece_after:.4f}, "
            f"loss {self.loss_before:.4f} -> {self.loss_after:.4f} (cross-fitted)"
        )


def calibrate(decisions: Decisions) -> Calibration:
    """Fit a temperature, unless the rows are too few for one, or it does no good on rows that it was not fitted on.

    The greatest likelihood does not always make the answers' own probabilities the best: among many labels it is the
    unlikely ones that a temperature is spent on. It is taken where both become better. Of more than MOST_DECISIONS
    every so many rows are enough.
    """
    _, place = np.unique(decisions.rows, return_inverse=True)
    every = -(-len(place) // MOST_DECISIONS)
    if every > 1:
        decisions = decisions.where(place % every == 0)
    rows = len(np.unique(decisions.rows))
    loss = float(decisions.losses.mean()) if rows else 0.0
    error = decisions.calibration_error

    def left(why: str) -> Calibration:
        values = {"ece_before": error, "ece_after": error, "loss_before": loss, "loss_after": loss}
        return Calibration(temperature=1.0, rows=rows, unchanged=why, **values)

    if rows < FEWEST_ROWS:
        return left(f"a temperature needs {FEWEST_ROWS} dev rows that are no training rows, here are {rows}")
    right = int(decisions.correct.sum())
    wrong = len(decisions.gold) - right
    if min(right, wrong) < FEWEST_OF_A_KIND:
        kind = f"{wrong} of the answers to {rows:,} dev rows are wrong" if wrong < right else f"{right} are right"
        return left(f"only {kind}; a temperature needs {FEWEST_OF_A_KIND}")
    crossed = decisions.scaled(_cross_fitted(decisions))
    after, error_after = float(crossed.losses.mean()), crossed.calibration_error
    for name, now, then in (("a loss", loss, after), ("an expected calibration error", error, error_after)):
        if not then < now:
            return left(f"a temperature gives {name} of {then:.4f} on dev rows it is not fitted on, not {now:.4f}")
    return Calibration(
        temperature=fit_temperature(decisions),
        rows=rows,
        ece_before=error,
        ece_after=error_after,
        loss_before=loss,
        loss_after=after,
    )


def _cross_fitted(decisions: Decisions) -> Doubles:
    """(D,): for every decision the temperature that the other folds give."""
    _, place = np.unique(decisions.rows, return_inverse=True)
    fold = place % FOLDS
    each = np.array([fit_temperature(decisions.where(fold != one)) for one in range(FOLDS)])
    return each[fold]
