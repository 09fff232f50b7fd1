"""The loop over labelled sequences: every row once an epoch, a function of the seed, however a step is divided."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from litebert.data.examples import SequenceBatch, encode_rows, single_items
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.interop.huggingface import load_model
from litebert.model.heads import AlbertWithHeads
from litebert.model.outputs import to_packed
from litebert.text.tokenizer import load_tokenizer
from litebert.train.fit import (
    PATIENCE,
    Evaluation,
    Fit,
    Loss,
    Steps,
    ended,
    epoch_order,
    step_indices,
    subset,
    take_step,
)
from litebert.train.job import FinetuneSettings, default_rate, plan_steps
from litebert.train.optimizers import OptimizerSettings, build_optimizer
from tests.labelled import ROWS, small_model


def test_every_epoch_is_a_new_order_of_all_rows() -> None:
    steps = list(step_indices(10, 4, seed=3, total=7))
    assert [len(index) for index in steps] == [4, 4, 2, 4, 4, 2, 4]
    first, second = np.concatenate(steps[:3]), np.concatenate(steps[3:6])
    assert sorted(first) == sorted(second) == list(range(10))
    assert first.tolist() != second.tolist()
    assert first.tolist() == epoch_order(10, 3, 0).tolist()
    assert epoch_order(10, 3, 0).tolist() != epoch_order(10, 4, 0).tolist()


def test_a_subset_is_a_function_of_the_seed() -> None:
    chosen = subset(1000, 50, 1)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == 50
    assert chosen.tolist() == subset(1000, 50, 1).tolist() != subset(1000, 50, 2).tolist()
    assert len(subset(10, None, 1)) == len(subset(10, 20, 1)) == 10
    drawn = np.bincount(np.concatenate([subset(20, 5, seed) for seed in range(2000)]), minlength=20)
    assert abs(drawn / 2000 - 0.25).max() < 0.05, "every row has the same chance"


@pytest.mark.parametrize("of_an_item", [1, 4])
def test_how_a_step_is_divided_changes_nothing(of_an_item: int, prepared: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    folder = small_model(tmp_path / "model", tokenizer, ("classify",), classifier_dropout_prob=0.0)
    examples = encode_rows(tokenizer, [row["text"] for row in ROWS], None, 64)
    gold = torch.tensor([row["label"] == "good" for row in ROWS]).long()

    def outputs(model: AlbertWithHeads, batch: SequenceBatch) -> Tensor:
        largest.append(len(batch.input_ids))
        return model.logits("classify", to_packed(batch, torch.device("cpu")))

    def loss(logits: Tensor, batch: SequenceBatch) -> Tensor:
        losses = F.cross_entropy(logits, gold[batch.sequences], reduction="none")
        return losses.view(-1, of_an_item).logsumexp(1)  # which no part of an item tells by itself

    results, largest = [], [0]
    first = np.arange(0, len(ROWS), of_an_item)
    items = replace(single_items(examples), groups=np.stack((first, first + of_an_item), 1))
    items = replace(items, weights=np.ones(len(first)), rows=examples.rows[::of_an_item])
    for max_tokens in (30, 10_000):
        model = load_model(folder)
        optimizer = build_optimizer(model, OptimizerSettings(learning_rate=1e-3, epsilon=1e-3))
        largest.clear()
        value = take_step(model, optimizer, items, np.arange(len(items)), Loss(outputs, loss), max_tokens, 1.0)
        assert max(largest) <= max(max_tokens, int(examples.lengths.max()))
        results.append((value, dict(model.named_parameters())))
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-6)
    for name, parameter in results[0][1].items():
        torch.testing.assert_close(parameter, results[1][1][name], atol=2e-6, rtol=0)


def test_the_best_state_is_kept_ties_by_loss() -> None:
    model = torch.nn.Linear(1, 1)
    result = Fit(rate=1.0, primary_metric="accuracy")
    for step, (accuracy, dev_loss) in enumerate([(0.5, 1.0), (0.7, 0.9), (0.7, 0.8), (0.7, 0.85), (0.6, 0.1)]):
        torch.nn.init.constant_(model.weight, step)
        result.add(Evaluation(step, step, 0.0, {"accuracy": accuracy, "loss": dev_loss}), model)
    assert result.best is not None
    assert result.best.step == 2
    assert float(result.state["weight"]) == 2
    result.add(Evaluation(5, 5, 0.0, {"accuracy": 1.0, "loss": float("nan")}), model)
    assert result.best.step == 2


@pytest.mark.parametrize(
    ("rows", "settings", "expected"),
    [
        (67349, FinetuneSettings(), Steps(3 * 2105, 2105, 2105)),
        (500, FinetuneSettings(), Steps(19 * 16, 16, 30)),
        (32, FinetuneSettings(), Steps(20, 1, 2)),
        (320, FinetuneSettings(epochs=2.5), Steps(25, 10, 10)),
        (320, FinetuneSettings(epochs=1, evaluate_every=0.5), Steps(10, 10, 5)),
    ],
)
def test_steps(rows: int, settings: FinetuneSettings, expected: Steps) -> None:
    assert plan_steps(rows, settings) == expected


def test_rates_fall_with_the_width() -> None:
    rates = [default_rate(width) for width in (128, 256, 384, 768, 1024, 2048, 4096)]
    assert rates == sorted(rates, reverse=True)
    assert default_rate(768) == 2e-5


def looks(*values: tuple[float, float]) -> Fit:
    """A fit whose looks at the dev set had these accuracies, at these training losses."""
    result = Fit(rate=1.0, primary_metric="accuracy", collapsed=collapsed)
    for step, (accuracy, loss) in enumerate(values, 1):
        metrics = {"accuracy": accuracy, "loss": 1 - accuracy, "predicted_labels": 1.0 + (accuracy != 0.5)}
        result.add(Evaluation(step, step, loss, metrics), torch.nn.Linear(1, 1))
    return result


def collapsed(metrics: dict[str, float]) -> bool:
    return metrics["predicted_labels"] == 1


RISING = [(0.6, 0.9), (0.7, 0.8), (0.8, 0.7)]


@pytest.mark.parametrize(
    ("values", "done", "patience", "stopped", "problem"),
    [
        (RISING, 3, 2, "", ""),
        ([*RISING, (0.8, 0.6)], 4, 2, "", ""),
        ([*RISING, (0.7, 0.6), (0.7, 0.5)], 5, 2, "no better result in 2 looks at the dev set, until epoch 5", ""),
        ([*RISING, (0.7, 0.6), (0.7, 0.5)], 5, 0, "", ""),
        ([*RISING, (0.7, 0.6), (0.7, 0.5)], 10, 2, "", ""),  # the last step: it did not end early
        ([(0.5, 0.7)] * 4, 10, 0, "", "the same answer for every dev row until step 10"),
        ([(0.52, 0.7), *[(0.5, 0.6)] * 2], 10, 0, "", "the same answer for every dev row until step 10"),
        ([(0.5, 0.7), (0.5, 0.6), (0.52, 0.5)], 10, 0, "", ""),  # it came late
        ([(0.5, 0.7)] * 4, 4, 3, "", "the same answer for every dev row until step 4"),
        ([(0.5, 0.7)] * 4, 4, 0, "", ""),  # it may still come
        ([(0.5, 0.7), (0.55, 0.699), (0.52, 0.699)], 10, 0, "", "the training loss stays at 0.7 until step 10"),
        ([(0.5, 0.7), (0.55, 0.699)], 10, 0, "", ""),  # two looks say little
        ([(0.6, 0.7), (0.6, 0.65), (0.6, 0.72)], 10, 0, "", "the loss on the dev rows stays at 0.4 until step 10"),
        ([(0.5, 0.7), (0.55, 0.699), (0.52, 0.6)], 10, 0, "", ""),
    ],
)
def test_when_a_fit_ends(
    values: list[tuple[float, float]], done: int, patience: int, stopped: str, problem: str
) -> None:
    result = looks(*values)
    assert ended(result, done, Steps(10, 1, 1), patience) == bool(stopped or problem)
    assert (result.stopped, result.problem) == (stopped, problem)


def test_a_state_of_one_answer_is_known_however_it_scores() -> None:
    result = looks((0.5, 0.7), (0.4, 0.6))
    assert not ended(result, 2, Steps(10, 1, 1), 0)
    assert result.constant
    assert looks((0.5, 0.7)).constant, "however the fit ends, at a loss that is no number for instance"
    other = looks((0.4, 0.7), (0.3, 0.6))
    assert not other.constant
    assert other.quality > result.quality
    assert other.score < result.score


def test_a_collapse_that_lasts_is_ended_in_the_middle() -> None:
    result = looks(*[(0.5, 0.7)] * 3)
    assert not ended(result, PATIENCE - 1, Steps(2 * PATIENCE, 1, 1), 0)
    assert ended(result, PATIENCE, Steps(2 * PATIENCE, 1, 1), 0)
    result.collapsed = lambda _: False
    result.problem = ""
    assert not ended(result, PATIENCE, Steps(2 * PATIENCE, 1, 1), 0)


def test_a_good_start_does_not_end_a_fit_that_gets_better() -> None:
    done = Fit(rate=1e-3, primary_metric="accuracy")
    model, steps = torch.nn.Linear(1, 1), Steps(total=100, per_epoch=10, evaluate_every=10)
    for step, accuracy in enumerate([0.9, 0.5, 0.6, 0.7, 0.7]):
        done.add(Evaluation(10 * step, step, 1 - 0.1 * step, {"accuracy": accuracy, "loss": 1 - accuracy}), model)
    assert done.best is not None
    assert done.best.step == 0
    assert done.looks_since_best == 1
    assert not ended(done, 40, steps, patience=2)
    done.add(Evaluation(50, 5, 0.5, {"accuracy": 0.6, "loss": 0.4}), model)
    assert ended(done, 50, steps, patience=2)
    assert "no better result in 2 looks" in done.stopped
