"""Telling texts that have one of the labels from those that have none (out of scope), by how sure a model is.

Dimensions: K known rows, U unknown ones, R rows, C classes.
"""

from typing import Any

import numpy as np

from litebert.evaluate.calibration import Decisions
from litebert.evaluate.metrics import Bools, Doubles, Metrics

KNOWN_KEPT = 0.95
"""The rate of true positives at which that of false ones is given."""


def told_apart(known: Decisions, unknown: Doubles, dev: tuple[Decisions, Doubles] | None = None) -> dict[str, Any]:
    """How well a model tells rows of its labels from others, by every measure of `known_scores`.

    unknown: (U, C), its logits for rows of no label. dev: the same two of other rows, to choose thresholds by. Returns
    {`rows`: U, measure: metrics of `separation`, with `dev` those of `at_threshold` too}.
    """
    result: dict[str, Any] = {"rows": len(unknown)}
    inside, outside = known_scores(known.logits), known_scores(unknown)
    for measure in inside:
        result[measure] = dict(separation(inside[measure], outside[measure]))
        if dev is not None:
            chosen = known_scores(dev[0].logits)[measure], dev[0].correct, known_scores(dev[1])[measure]
            threshold = best_threshold(*chosen)
            result[measure] |= at_threshold(inside[measure], known.correct, outside[measure], threshold)
    return result


def known_scores(logits: Doubles) -> dict[str, Doubles]:
    """How known every row (R, C) looks, by two measures of which more is more known: (R,) each.

    `max_probability`: of the likeliest label (Hendrycks and Gimpel 2017). `energy`: the logarithm of the sum of the
    exponents of the logits, the negative energy of Liu et al. 2020 at temperature 1, unbounded.
    """
    top = logits.max(1)
    energy = np.log(np.exp(logits - top[:, None]).sum(1)) + top
    return {"max_probability": np.exp(top - energy), "energy": energy}


def separation(known: Doubles, unknown: Doubles) -> Metrics:
    """How well scores tell known rows (K,) from unknown ones (U,).

    `auroc`: the chance that a known row has the greater score. `aupr_known`, `aupr_unknown`: average precision of
    finding one or the other, which depends on how many there are of each. `fpr_at_95_tpr`: the share of unknown rows
    that pass where 95 % of the known ones do.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    scores = np.concatenate((known, unknown))
    truth = np.arange(len(scores)) < len(known)
    kept = np.sort(known)[len(known) - int(np.ceil(KNOWN_KEPT * len(known)))]
    return {
        "auroc": float(roc_auc_score(truth, scores)),
        "aupr_known": float(average_precision_score(truth, scores)),
        "aupr_unknown": float(average_precision_score(~truth, -scores)),
        "fpr_at_95_tpr": float((unknown >= kept).mean()),
    }


def best_threshold(known: Doubles, correct: Bools, unknown: Doubles) -> float:
    """The score below which rows are best taken for unknown: so that the greatest shares of both kinds come out right.

    known (K,), correct (K,): whether the label is right where the row passes; unknown (U,). What is greatest is
    `balanced_accuracy`, so that it does not matter how many rows of each kind there are. (Larson et al. 2019 take the
    accuracy over all rows, which on CLINC150's 3,000 and 100 dev rows leaves the unknown ones nearly no say.) Of equal
    ones the lowest threshold.
    """
    scores = np.concatenate((known, unknown))
    gain = np.concatenate((-correct.astype(np.float64) / len(known), np.ones(len(unknown)) / len(unknown)))
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    below = np.concatenate(([0.0], gain[order].cumsum()))  # what is won when the first k rows are turned away
    possible = np.concatenate(([True], ordered[1:] > ordered[:-1], [True]))  # equal scores go the same way
    turned = int(np.where(possible, below, -np.inf).argmax())
    return float(np.append(ordered, np.nextafter(ordered[-1], np.inf))[turned])


def at_threshold(known: Doubles, correct: Bools, unknown: Doubles, threshold: float) -> Metrics:
    """What comes of taking rows with scores below the threshold for unknown.

    `recall`: the share of unknown rows that are found; `precision`: of those taken for unknown, the share that is;
    `known_accuracy`: the share of known rows that pass and have the right label; `balanced_accuracy`: the
    mean of the last and of recall.
    """
    passed, found = known >= threshold, unknown < threshold
    turned = int(found.sum()) + int((~passed).sum())
    recall, right = float(found.mean()), float((passed & correct).mean())
    return {
        "threshold": threshold,
        "recall": recall,
        "precision": float(found.sum() / turned) if turned else 0.0,
        "known_accuracy": right,
        "balanced_accuracy": (right + recall) / 2,
    }
