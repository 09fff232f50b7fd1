"""Exact match and F1 of answers as the official script of SQuAD 2.0 computes them, its names of scores included.

It scores files of version 1.1 as well: there every question has an answer. Rajpurkar et al. 2018, evaluate-v2.0.py.
"""

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

Gold = Mapping[str, Sequence[str]]
"""The right answers of each question, by its id; none: it cannot be answered."""

OFFICIAL_THRESHOLD = 1.0
"""No probability is above it; log-odds, which BERT's scripts write, may be."""

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lower case, without punctuation, English articles and superfluous white space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(gold: str, predicted: str) -> float:
    """1 where both are the same once normalized, else 0."""
    return float(normalize_answer(gold) == normalize_answer(predicted))


def token_f1(gold: str, predicted: str) -> float:
    """F1 of the two bags of words; where one of them is empty, 1 if both are."""
    right, given = normalize_answer(gold).split(), normalize_answer(predicted).split()
    if not right or not given:
        return float(right == given)
    same = sum((Counter(right) & Counter(given)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(given), same / len(right)
    return 2 * precision * recall / (precision + recall)


def right_answers(answers: Sequence[str]) -> list[str]:
    """What an answer is compared with: the right ones that hold a word, "" where there is none, as the official
    script has it."""
    return [answer for answer in answers if normalize_answer(answer)] or [""]


def squad_metrics(
    gold: Gold, predicted: Mapping[str, str], no_answer: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Score answers ("" for none) against the right ones; every question of `gold` must have one.

    no_answer: how likely it is that a question has none, as a probability or any other number; with it the best
    thresholds are found, on these very questions, and for `exact`, `f1` and their parts answers above 1.0 are
    withdrawn, as the official script does. Returns its keys: `exact` and `f1` in percent, `total`, the same as
    `HasAns_` and `NoAns_` where there are such questions, and `best_exact`, `best_exact_thresh`, `best_f1`,
    `best_f1_thresh`.
    """
    exact, f1 = {}, {}
    for key, answers in gold.items():
        right = right_answers(answers)
        exact[key] = max(exact_match(answer, predicted[key]) for answer in right)
        f1[key] = max(token_f1(answer, predicted[key]) for answer in right)
    withdrawn = {key for key, value in (no_answer or {}).items() if value > OFFICIAL_THRESHOLD}
    kept_exact, kept_f1 = (
        {key: float(not gold[key]) if key in withdrawn else score for key, score in scores.items()}
        for scores in (exact, f1)
    )
    metrics = _means(kept_exact, kept_f1, gold)
    parts = {"HasAns": [key for key in gold if gold[key]], "NoAns": [key for key in gold if not gold[key]]}
    for name, keys in parts.items():
        if keys:
            metrics |= {f"{name}_{key}": value for key, value in _means(kept_exact, kept_f1, keys).items()}
    if no_answer is not None:
        for name, scores in (("exact", exact), ("f1", f1)):
            best, threshold = best_threshold(gold, predicted, scores, no_answer)
            metrics |= {f"best_{name}": best, f"best_{name}_thresh": threshold}
    return metrics


def _means(exact: Mapping[str, float], f1: Mapping[str, float], keys: Iterable[str]) -> dict[str, float]:
    keys = list(keys)
    total = max(len(keys), 1)
    return {
        "exact": 100.0 * sum(exact[key] for key in keys) / total,
        "f1": 100.0 * sum(f1[key] for key in keys) / total,
        "total": len(keys),
    }


def best_threshold(
    gold: Gold, predicted: Mapping[str, str], scores: Mapping[str, float], no_answer: Mapping[str, float]
) -> tuple[float, float]:
    """The best mean score (percent) had by withdrawing answers above a probability of none, and that probability.

    Questions of equal probability are let in one by one, in the order of `no_answer`, as in the official script.
    """
    score = best = float(sum(not gold[key] for key in gold))
    threshold = 0.0
    for key in sorted((key for key in no_answer if key in scores), key=lambda key: no_answer[key]):
        score += scores[key] if gold[key] else -float(bool(predicted[key]))
        if score > best:
            best, threshold = score, no_answer[key]
    return 100.0 * best / max(len(scores), 1), threshold
