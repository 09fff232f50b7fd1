"""Several processes: the losses of one, the same order of data, and a run that outlives its workers."""

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from litebert.train.hooks import read_metrics
from litebert.train.optimizers import OptimizerSettings
from litebert.train.pretrain import PretrainSettings, pretrain
from tests.runs import LOOP, launcher, lines, same, settings, start, weights, write_recipe


def exact(prepared: Path, **changes: object) -> PretrainSettings:
    """Without dropout, whose chance each process draws for itself, nor Muon, which computes in bfloat16."""
    return settings(prepared, model={}, optimizer=OptimizerSettings(name="lamb", learning_rate=5e-3), **changes)


def finish(process: subprocess.Popen[str]) -> str:
    message = process.communicate(timeout=120)[1]
    assert process.returncode == 0, message
    return message


def test_two_processes_give_the_losses_of_one(prepared: Path, tmp_path: Path) -> None:
    wanted = exact(prepared, loop=replace(LOOP, steps=20, evaluate_every=20))
    pretrain(wanted, tmp_path / "one")
    message = finish(start(write_recipe(wanted, tmp_path), tmp_path / "two", launcher=launcher()))
    assert message.count("held-out:") == 1  # one process speaks for both
    one, two = read_metrics(tmp_path / "one"), read_metrics(tmp_path / "two")
    assert len(one) == 21
    for a, b in zip(one, two, strict=True):
        assert a["tokens"] == b["tokens"]
        for name in ("mlm_loss", "order_loss"):
            assert a[name] == pytest.approx(b[name], abs=1e-5)


def test_activations_that_are_computed_again_change_no_bit(prepared: Path, tmp_path: Path) -> None:
    """With dropout, which each process draws once more in its backward pass, through shared layers."""
    found = []
    for name, again in (("kept", False), ("again", True)):
        wanted = settings(prepared, loop=replace(LOOP, steps=4, checkpoint_every=4, activation_checkpointing=again))
        (tmp_path / name).mkdir()
        finish(start(write_recipe(wanted, tmp_path / name), tmp_path / name / "run", launcher=launcher()))
        found.append(weights(tmp_path / name / "run"))
    assert same(*found)


def test_a_killed_worker_restarts_the_run(prepared: Path, tmp_path: Path) -> None:
    wanted = settings(prepared, loop=replace(LOOP, steps=60, checkpoint_every=5))
    recipe = write_recipe(wanted, tmp_path)
    finish(start(recipe, tmp_path / "whole", launcher=launcher()))
    run = tmp_path / "run"
    process = start(recipe, run, launcher=launcher(restarts=1))
    while lines(run) < 8 and process.poll() is None:
        time.sleep(0.005)
    os.kill(workers(process.pid)[-1], signal.SIGKILL)
    finish(process)
    assert same(weights(tmp_path / "whole"), weights(run))
    assert [line["what"] for line in read_metrics(run) if line["kind"] == "incident"] == ["resumed"]


def workers(launcher_pid: int) -> list[int]:
    children = Path(f"/proc/{launcher_pid}/task/{launcher_pid}/children").read_text().split()
    return sorted(map(int, children))


def test_resuming_with_another_number_of_processes_goes_on_in_the_data(prepared: Path, tmp_path: Path) -> None:
    wanted = exact(prepared, loop=replace(LOOP, steps=20, evaluate_every=20, checkpoint_every=10))
    recipe, run = write_recipe(wanted, tmp_path), tmp_path / "run"
    pretrain(wanted, tmp_path / "one")
    process = start(recipe, run, launcher=launcher())
    while lines(run) < 5 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    report = pretrain(wanted, run, resume=True)
    train = [[line for line in read_metrics(folder) if line["kind"] == "train"] for folder in (tmp_path / "one", run)]
    assert report.steps == 20
    for a, b in zip(*train, strict=True):
        assert a["tokens"] == b["tokens"]
        assert a["mlm_loss"] == pytest.approx(b["mlm_loss"], abs=1e-4)
    (line,) = [line for line in read_metrics(run) if line.get("what") == "not_bit_exact"]
    assert "processes was 2, is 1" in line["detail"]


def test_a_folder_that_cannot_be_written_is_refused(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    process = start(write_recipe(settings(prepared), tmp_path), tmp_path / "file", launcher=launcher())
    message = process.communicate(timeout=120)[1]
    assert process.returncode != 0
    assert "litebert: " in message
    assert "is a file, no folder; choose another place" in message
    assert "Connection" not in message  # of the other processes, which are not left waiting
    assert (tmp_path / "file").read_text() == "mine"


def test_a_batch_that_cannot_be_divided_is_refused(prepared: Path, tmp_path: Path) -> None:
    base = settings(prepared)
    wanted = replace(base, data=replace(base.data, batch_size=7))
    process = start(write_recipe(wanted, tmp_path), tmp_path / "run", launcher=launcher())
    message = process.communicate(timeout=120)[1]
    assert process.returncode != 0
    assert "litebert: batch_size = 7 cannot be divided among 2 processes; give a multiple of 2" in message
    assert not (tmp_path / "run").exists()
