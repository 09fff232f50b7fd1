"""Several fine-tunings and their second attempts, by fits that come to what they are told."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from litebert.errors import ConfigError
from litebert.train.fit import Evaluation, Fit, Steps, Watch, ended
from litebert.train.results import SeedResult
from litebert.train.seeds import run_seeds

RATE = 3e-4
COLLAPSE, DIVERGENCE = "the same answer for every dev row until step 9", "the loss is nan at step 9"

Outcome = tuple[float | None, str]
"""Score, None where there was no look at the dev set; and what went wrong."""


def fit_of(outcome: Outcome, rate: float, watch: Watch) -> Fit:
    score, problem = outcome
    result = Fit(rate=rate, primary_metric="accuracy", problem=problem, collapsed=lambda _: problem == COLLAPSE)
    if score is not None:
        model = torch.nn.Linear(1, 1)
        torch.nn.init.constant_(model.weight, score)
        evaluation = Evaluation(9, 1.0, 0.5, {"accuracy": score, "loss": 0.5})
        result.add(evaluation, model)
        watch.evaluation(evaluation)
    return result


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[list[SeedResult], int, float, list[tuple[int, float]]]]:
    def call(*outcomes: Outcome, seeds: int = 1) -> tuple[list[SeedResult], int, float, list[tuple[int, float]]]:
        """Fit after fit as told; returns results, the place of the best, its weight, and the attempts."""
        attempts, left = [], list(outcomes)

        def once(seed: int, rate: float, watch: Watch) -> Fit:
            attempts.append((seed, rate))
            return fit_of(left.pop(0), rate, watch)

        came = run_seeds(once, range(1, 1 + seeds), RATE, ["accuracy"], tmp_path / "metrics.jsonl")
        assert not left
        assert sorted([result.seed for result in came.results] + came.diverged) == [*range(1, 1 + seeds)]
        return came.results, came.best, float(came.state["weight"]), attempts

    return call


def test_a_fit_that_goes_well_is_not_done_again(run: Callable[..., object]) -> None:
    results, best, weight, attempts = run((0.8, ""))  # type: ignore[misc]
    assert (results[0].problem, best, weight, attempts) == ("", 0, pytest.approx(0.8), [(1, RATE)])


@pytest.mark.parametrize(
    ("first", "second", "kept", "problem"),
    [
        ((0.5, COLLAPSE), (0.8, ""), 0.8, f"restarted: {COLLAPSE}"),
        ((0.9, COLLAPSE), (0.7, ""), 0.7, f"restarted: {COLLAPSE}"),  # the commonest answer scores well
        ((None, DIVERGENCE), (0.7, ""), 0.7, f"restarted: {DIVERGENCE}"),
        ((0.6, DIVERGENCE), (0.7, ""), 0.7, f"restarted: {DIVERGENCE}"),
        ((0.9, DIVERGENCE), (0.7, ""), 0.9, DIVERGENCE),  # the state before it is as good as it scores
        ((0.5, COLLAPSE), (0.4, "stuck"), 0.4, "stuck"),
        ((0.4, COLLAPSE), (0.5, "stuck"), 0.5, "stuck"),
        ((None, DIVERGENCE), (0.5, COLLAPSE), 0.5, COLLAPSE),
        ((0.5, COLLAPSE), (None, DIVERGENCE), 0.5, COLLAPSE),
    ],
)
def test_what_is_kept_of_two_attempts(
    first: Outcome,
    second: Outcome,
    kept: float,
    problem: str,
    run: Callable[..., object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    results, _, weight, attempts = run(first, second)  # type: ignore[misc]
    assert weight == pytest.approx(kept)
    assert results[0].metrics["accuracy"] == kept
    assert results[0].problem == problem
    assert attempts == [(1, RATE), (1, pytest.approx(RATE / 3))]
    assert results[0].learning_rate == pytest.approx(RATE if kept == first[0] else RATE / 3)
    said = capsys.readouterr().err
    assert f"collapse with seed 1 at learning rate 0.0003: {first[1]}. Starting again at 0.0001." in said
    assert ("warning: the second attempt went wrong too" in said) == bool(second[1])


def test_two_divergences_are_the_users_to_mend(run: Callable[..., object]) -> None:
    with pytest.raises(
        ConfigError, match=r"learning_rate = 0\.0003: training diverged, and at 0\.0001 again"
    ) as caught:
        run((None, DIVERGENCE), (None, DIVERGENCE))
    assert "\n" not in str(caught.value)


def test_a_seed_that_diverges_takes_nothing_from_the_others(
    run: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    results, best, weight, _ = run(  # type: ignore[misc]
        (0.7, ""), (None, DIVERGENCE), (None, DIVERGENCE), (0.8, ""), seeds=3
    )
    assert [result.seed for result in results] == [1, 3]
    assert (best, weight) == (1, pytest.approx(0.8))
    assert "warning: nothing came of seed 2: learning_rate = 0.0003: training diverged" in capsys.readouterr().err


def test_a_collapsed_seed_is_not_the_best_of_several(run: Callable[..., object], tmp_path: Path) -> None:
    results, best, weight, attempts = run(  # type: ignore[misc]
        (0.9, COLLAPSE), (0.9, COLLAPSE), (0.7, ""), (0.8, ""), seeds=3
    )
    assert (best, weight) == (2, pytest.approx(0.8))
    assert [result.problem for result in results] == [COLLAPSE, "", ""]
    assert [seed for seed, _ in attempts] == [1, 1, 2, 3]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["seed"] for line in lines] == [1, 1, 2, 3], "every attempt's looks are written down"


def test_of_collapsed_seeds_the_better_one_is_kept(run: Callable[..., object]) -> None:
    bad = [(0.5, COLLAPSE), (0.5, COLLAPSE), (0.6, COLLAPSE), (0.6, COLLAPSE)]
    _, best, weight, _ = run(*bad, seeds=2)  # type: ignore[misc]
    assert (best, weight) == (1, pytest.approx(0.6))


@pytest.mark.parametrize("name", ["loss", "accuracy"])
def test_a_model_that_only_gives_nan_is_no_model(name: str) -> None:
    """The last step may be the one that breaks it: training's own loss was finite all the time."""
    result, model = Fit(rate=RATE, primary_metric="accuracy"), torch.nn.Linear(1, 1)
    metrics = {"accuracy": 0.5, "loss": 1.0, name: float("nan")}
    result.add(Evaluation(10, 1.0, 0.7, metrics), model)
    assert (result.best, result.state) == (None, {})
    assert ended(result, 10, Steps(10, 10, 10), 5)
    assert result.problem.startswith("the loss on the dev rows is")
