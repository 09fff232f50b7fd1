"""Runs in legs: bounded in minutes, prolonged, and cut by a branch of their own steps and schedule."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from litebert.errors import CheckpointError, ConfigError, OutputError
from litebert.train import guard
from litebert.train.hooks import read_metrics
from litebert.train.loop import LoopSettings
from litebert.train.pretrain import PretrainSettings, pretrain
from litebert.train.record import read_run
from litebert.train.schedules import ScheduleSettings, rate_factor
from tests.runs import LOOP, same, settings, weights

TRUNK = ScheduleSettings(name="constant", warmup=2)
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def trunk(prepared: Path, steps: int, **changes: object) -> PretrainSettings:
    loop = replace(LOOP, steps=steps, checkpoint_every=3)
    return settings(prepared, schedule=TRUNK, loop=loop, model=NO_DROPOUT, **changes)


def test_legs_of_some_minutes_end_like_one_run(prepared: Path, tmp_path: Path) -> None:
    wanted = settings(prepared, loop=replace(LOOP, steps=4))
    pretrain(wanted, tmp_path / "whole")
    short = replace(wanted, loop=replace(wanted.loop, minutes=1e-6))
    report = pretrain(short, tmp_path / "legs")
    assert report.steps == 1
    assert report.held_out["mlm_loss"] > 0
    assert (tmp_path / "legs" / "model" / "model.safetensors").is_file()
    for _ in range(3):
        pretrain(short, tmp_path / "legs", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "legs"))
    ended = [line for line in read_metrics(tmp_path / "legs") if line.get("what") == "leg_ended"]
    assert [line["step"] for line in ended] == [1, 2, 3]


def test_a_run_at_a_constant_rate_is_prolonged_bit_by_bit(prepared: Path, tmp_path: Path) -> None:
    pretrain(trunk(prepared, 5), tmp_path / "whole")
    pretrain(trunk(prepared, 3), tmp_path / "legs")
    pretrain(trunk(prepared, 5), tmp_path / "legs", resume=True)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "legs"))


def test_other_schedules_keep_their_number_of_steps(prepared: Path, tmp_path: Path) -> None:
    pretrain(settings(prepared, loop=replace(LOOP, steps=2)), tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"loop\.steps = 2, now it is 3"):
        pretrain(settings(prepared, loop=replace(LOOP, steps=3)), tmp_path / "run", resume=True)


def test_a_branch_goes_on_where_its_run_is(prepared: Path, tmp_path: Path) -> None:
    """At the same rate it takes the steps that its run would take: weights, moments and data are the run's."""
    pretrain(trunk(prepared, 3), tmp_path / "trunk")
    same_rate = replace(TRUNK, warmup=0.0)
    branch = replace(trunk(prepared, 2), branch=str(tmp_path / "trunk"), schedule=same_rate)
    pretrain(branch, tmp_path / "branch")
    pretrain(trunk(prepared, 5), tmp_path / "trunk", resume=True)
    assert same(weights(tmp_path / "branch"), weights(tmp_path / "trunk"))
    first, second = (
        json.loads((tmp_path / run / "model" / "litebert.json").read_text())["extra"] for run in ("branch", "trunk")
    )
    assert first == second, "what the trunk had read until then counts as well"
    assert first["trained_steps"] == 5


def test_what_the_first_model_was_trained_on_counts_in_a_branch(prepared: Path, tmp_path: Path) -> None:
    first = pretrain(trunk(prepared, 2), tmp_path / "first")
    later = replace(trunk(prepared, 3), init=str(first.model), model={})
    second = pretrain(later, tmp_path / "trunk")
    branch = replace(later, branch=str(tmp_path / "trunk"), init=None, model=NO_DROPOUT)
    third = pretrain(branch, tmp_path / "branch")
    extra = json.loads((third.model / "litebert.json").read_text())["extra"]
    assert extra["trained_steps"] == 2 + 3 + 3
    assert extra["trained_tokens"] == first.tokens + second.tokens + third.tokens


def test_a_branch_that_does_not_fit_is_refused(prepared: Path, tmp_path: Path) -> None:
    pretrain(trunk(prepared, 1), tmp_path / "trunk")
    with pytest.raises(CheckpointError, match="is no run with a checkpoint"):
        pretrain(trunk(prepared, 1, branch=str(tmp_path / "nothing")), tmp_path / "a")
    begun = trunk(prepared, 1, branch=str(tmp_path / "trunk"))
    shorter = replace(begun.data, pairs=replace(begun.data.pairs, length=16))
    adamw = replace(begun.optimizer, name="adamw")
    for other, said in (
        (replace(begun, seed=2), "seed = 1, this run 2"),
        (replace(begun, data=shorter), r"data\.pairs\.length = 32, this run 16"),
        (replace(begun, optimizer=adamw), r"optimizer\.name = 'muon', this run 'adamw'"),
        (replace(begun, folders={str(prepared): 2.0}), r"weights = \[1\.0\], this run \[2\.0\]"),
    ):
        with pytest.raises(CheckpointError, match=said):
            pretrain(other, tmp_path / "b")
        assert not (tmp_path / "b" / "config.toml").exists()
    wide = replace(trunk(prepared, 1, branch=str(tmp_path / "trunk")), model={"intermediate_size": 96})
    with pytest.raises(CheckpointError, match="another shape"):
        pretrain(wide, tmp_path / "c")


def test_a_branch_may_weigh_its_losses_otherwise(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What losses the run had says nothing of the branch's: they are no divergence."""
    monkeypatch.setattr(guard, "FEWEST", 4)
    pretrain(trunk(prepared, 6, order_weight=0.1), tmp_path / "trunk")
    heavier = trunk(prepared, 6, branch=str(tmp_path / "trunk"), order_weight=5.0)
    assert pretrain(heavier, tmp_path / "branch").steps == 6
    assert not [line for line in read_metrics(tmp_path / "branch") if line.get("what") == "rolled_back"]


def test_a_leg_that_ended_is_no_finished_run(prepared: Path, tmp_path: Path) -> None:
    short = replace(trunk(prepared, 3), loop=replace(LOOP, steps=3, minutes=1e-6, evaluate_every=1))
    pretrain(short, tmp_path / "run")
    assert not read_run(tmp_path / "run").finished
    assert [line["step"] for line in read_metrics(tmp_path / "run") if line["kind"] == "held_out"] == [1]
    for _ in range(2):
        pretrain(short, tmp_path / "run", resume=True)
    assert read_run(tmp_path / "run").finished


def test_a_place_for_the_model_that_is_taken_is_told_before_the_training(prepared: Path, tmp_path: Path) -> None:
    pretrain(trunk(prepared, 2), tmp_path / "run")
    (tmp_path / "run" / "model" / "NOTES.md").touch()
    with pytest.raises(OutputError, match="which is no part of a model: move it away"):
        pretrain(trunk(prepared, 3), tmp_path / "run", resume=True)
    assert len([line for line in read_metrics(tmp_path / "run") if line["kind"] == "train"]) == 2


def test_a_warmup_of_too_many_steps_ends_in_the_decay() -> None:
    late = ScheduleSettings(name="warmup_stable_decay", warmup=900, decay=0.2)
    rates = [rate_factor(late, step, 1000) for step in range(1000)]
    assert max(abs(one - other) for one, other in pairwise(rates)) < 0.05
    assert rates[-1] == 0


def test_warmup_may_be_a_number_of_steps() -> None:
    assert [rate_factor(TRUNK, step, total) for total in (5, 500) for step in range(3)] == [0.5, 1.0, 1.0] * 2
    for wrong in (-0.1, 1.5):
        with pytest.raises(ConfigError, match="number of steps"):
            ScheduleSettings(warmup=wrong)
    with pytest.raises(ConfigError, match="minutes"):
        LoopSettings(minutes=0)
