"""Scores of answers against the official script's: its own numbers on real files, and its rules by hand."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litebert.evaluate.squad import exact_match, normalize_answer, squad_metrics, token_f1


def questions(path: Path) -> Iterator[tuple[str, list[str], str]]:
    """Id, right answers and context of each question of a SQuAD file."""
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                yield qa["id"], [answer["text"] for answer in qa["answers"]], paragraph["context"]


def recorded(kind: int, a: int, b: int, c: int, d: int, answers: list[str], context: str) -> str:
    """A prediction that the official script scored, from the numbers by which it is recorded.

    0: none; 1: answer number a; 2: the same in capitals between "an" and "?"; 3: characters [a, b) of the context;
    4: these, "-" and [c, d); 5: answer a from character b on, "-" and [c, d). White space of 3 to 5 is single spaces.
    """
    context = " ".join(context.split())
    return (
        lambda: "",
        lambda: answers[a],
        lambda: f"an {answers[a].title()} ?",
        lambda: context[a:b],
        lambda: f"{context[a:b]}-{context[c:d]}",
        lambda: f"{' '.join(answers[a].split())[b:]}-{context[c:d]}",
    )[kind]()


@pytest.mark.parametrize(
    ("version", "name"), [("v1", "dev-v1.1.json"), ("v2", "cs224n-dev-v2.0.json")], ids=["1.1", "2.0"]
)
def test_equal_to_the_official_script_on_its_own_files(
    version: str, name: str, litebert_data: Path, golden: Path
) -> None:
    expected: dict[str, Any] = json.loads((golden / "squad.json").read_text())[version]
    numbers = np.load(golden / "squad.npz")
    gold, predicted = {}, {}
    rows = questions(litebert_data / "squad" / name)
    for (key, answers, context), code in zip(rows, numbers[version].tolist(), strict=True):
        gold[key], predicted[key] = answers, recorded(*code, answers, context)
    no_answer = None
    if version == "v2":
        no_answer = dict(zip(gold, (numbers["v2_no_answer"] / 10000).tolist(), strict=True))
    measured = squad_metrics(gold, predicted, no_answer)
    assert list(measured) == list(expected), "the same keys in the same order"
    assert measured == pytest.approx(expected, rel=1e-12)
    assert (measured["exact"], measured["total"]) == (expected["exact"], expected["total"])


@pytest.mark.parametrize(
    ("gold", "given", "exact", "f1"),
    [
        ("the cat", "A cat!", 1, 1),
        ("The Cat", "cats", 0, 0),
        ("a an the", "", 1, 1),  # nothing is left of either
        ("a an the", "...", 1, 1),
        ("...", "word", 0, 0),
        ("U.S.", "us", 1, 1),
        ("don't", "dont", 1, 1),
        ("red  green\tblue", "blue green", 0, 0.8),
        ("anthem", "them", 0, 0),  # articles are whole words
        ("one one two", "one two two", 0, 2 / 3),  # bags, not sets
        ("in 1066", "1066", 0, 2 / 3),
        ("naïve", "naive", 0, 0),
        ("“quoted”", "quoted", 0, 0),  # only the punctuation of ASCII is dropped
        ("北京", "北京", 1, 1),
        ("x-y", "xy", 1, 1),
        ("word", "word word", 0, 2 / 3),
    ],
)
def test_odd_answers(gold: str, given: str, exact: float, f1: float) -> None:
    assert exact_match(gold, given) == exact
    assert token_f1(gold, given) == pytest.approx(f1)
    assert token_f1(given, gold) == pytest.approx(f1)


def test_what_normalizing_leaves() -> None:
    assert normalize_answer(" The  quick, Brown fox -- an\u00a0A the. ") == "quick brown fox"


def test_a_question_without_answers_wants_none_and_one_of_empty_text_counts_as_answerable() -> None:
    metrics = squad_metrics({"a": [], "b": ["x"], "c": [""]}, {"a": "", "b": "", "c": ""})
    assert metrics["exact"] == pytest.approx(200 / 3)
    assert (metrics["NoAns_total"], metrics["HasAns_total"], metrics["HasAns_exact"]) == (1, 2, 50)


def test_the_best_of_several_answers_counts() -> None:
    metrics = squad_metrics({"q": ["red cat", "blue cat", "the"]}, {"q": "a blue dog"})
    assert metrics["exact"] == 0
    assert metrics["f1"] == pytest.approx(50)


def test_odds_above_one_withdraw_an_answer_as_the_official_threshold_does() -> None:
    """BERT's null_odds.json holds differences of logits; the best thresholds are those of the answers as given."""
    gold, given = {"a": ["x"], "b": [], "c": ["y"]}, {"a": "x", "b": "no", "c": "y"}
    metrics = squad_metrics(gold, given, {"a": -3.0, "b": 5.0, "c": 1.5})
    assert (metrics["exact"], metrics["HasAns_exact"], metrics["NoAns_exact"]) == (pytest.approx(200 / 3), 50, 100)
    assert (metrics["best_exact"], metrics["best_exact_thresh"]) == (100, 1.5)
    assert squad_metrics(gold, given, {"a": 0.1, "b": 1.0, "c": 0.2})["NoAns_exact"] == 0


def test_of_thresholds_that_are_as_good_the_least_is_the_best() -> None:
    """As in the official script, which takes a new one only where it is better."""
    gold: dict[str, list[str]] = {"a": [], "b": ["right"], "c": []}
    metrics = squad_metrics(gold, dict.fromkeys("abc", "right"), {"a": 0.6, "b": 0.2, "c": 0.6})
    assert (metrics["best_exact"], metrics["best_exact_thresh"]) == (100, 0.2)
    metrics = squad_metrics({"a": [], "b": ["right"]}, {"a": "x", "b": "right"}, {"a": 0.1, "b": 0.3})
    assert (metrics["best_exact"], metrics["best_exact_thresh"]) == (50, 0)


def test_thresholds_by_brute_force() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        count = int(generator.integers(1, 12))
        gold = {str(i): ["right"] if generator.random() < 0.6 else [] for i in range(count)}
        predicted = {key: str(generator.choice(["right", "wrong", ""])) for key in gold}
        # Different probabilities: at ties the official script depends on the order of the file.
        no_answer = dict(zip(gold, generator.permutation(count) / count, strict=True))
        metrics = squad_metrics(gold, predicted, no_answer)

        def score(threshold: float, gold=gold, predicted=predicted, no_answer=no_answer) -> float:  # type: ignore[no-untyped-def]
            kept = {key: predicted[key] if no_answer[key] <= threshold else "" for key in gold}
            return 100 * sum(exact_match((gold[key] or [""])[0], kept[key]) for key in gold) / len(gold)

        best = max(score(threshold) for threshold in (-1.0, *no_answer.values()))
        assert metrics["best_exact"] == pytest.approx(best)
        if metrics["best_exact_thresh"] > 0:
            assert score(metrics["best_exact_thresh"]) == pytest.approx(best)
