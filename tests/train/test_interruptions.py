"""What happens to a run: kills, signals, damaged weights. It ends as if nothing had happened, or says what did."""

import importlib.machinery
import importlib.util
import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed

from litebert.data.batches import BatchStream, PretrainBatch, SpecialIds, StreamState, WindowSource
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.errors import CheckpointError, OutputError, TrainingError
from litebert.files import LOCK
from litebert.text.tokenizer import load_tokenizer
from litebert.train import checkpoints, guard
from litebert.train import pretrain as pretraining
from litebert.train.guard import FEWEST, SPIKES, Guard
from litebert.train.hooks import read_metrics
from litebert.train.loop import Metrics
from litebert.train.objective import PretrainObjective
from litebert.train.optimizers import OptimizerSettings
from litebert.train.pretrain import PretrainSettings, pretrain
from tests.runs import LOOP, kill, lines, same, settings, start, weights, write_recipe


def incidents(run: Path) -> list[str]:
    return [line["what"] for line in read_metrics(run) if line["kind"] == "incident"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_killed_run_ends_with_the_same_bits(prepared: Path, tmp_path: Path, precision: str) -> None:
    """Real kills, one of them while a checkpoint is being written; `make soak` does thirty of them."""
    wanted = settings(prepared, loop=replace(LOOP, steps=60, checkpoint_every=3, precision=precision))
    pretrain(wanted, tmp_path / "whole")
    recipe, run, chance = write_recipe(wanted, tmp_path), tmp_path / "run", random.Random(7)
    for while_writing in (False, True):
        assert kill(start(recipe, run), run, chance, while_writing=while_writing)
    last = start(recipe, run)
    message = last.communicate()[1]
    assert last.returncode == 0, message
    assert same(weights(tmp_path / "whole"), weights(run))
    steps = [line["step"] for line in read_metrics(run) if line["kind"] == "train"]
    assert steps == list(range(1, 61))
    assert incidents(run) == ["resumed", "resumed"]
    assert not [path for path in (run / "checkpoints").iterdir() if path.name.startswith(".")]


def test_a_run_has_one_process(prepared: Path, tmp_path: Path) -> None:
    wanted = settings(prepared, loop=replace(LOOP, steps=60, checkpoint_every=1000))
    recipe, run = write_recipe(wanted, tmp_path), tmp_path / "run"
    process = start(recipe, run)
    while lines(run) < 1 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(OutputError, match="is being written by another process; wait for its end"):
            pretrain(wanted, run, resume=True)
    finally:
        process.kill()
        process.communicate()
    assert (run / LOCK).exists(), "what a kill leaves does no harm"
    pretrain(wanted, run, resume=True)
    assert not list(run.glob(".*"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / LOCK).write_text("")
    pretrain(replace(wanted, loop=replace(LOOP, steps=1)), tmp_path / "empty", resume=True)


def test_sigterm_saves_and_exits(prepared: Path, tmp_path: Path) -> None:
    wanted = settings(prepared, loop=replace(LOOP, steps=60, checkpoint_every=1000))
    pretrain(wanted, tmp_path / "whole")
    recipe, run = write_recipe(wanted, tmp_path), tmp_path / "run"
    process = start(recipe, run)
    while lines(run) < 2 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    message = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM
    (step,) = (checkpoints.step_of(p) for p in checkpoints.saved(run / "checkpoints") if p.name != "step-0")
    assert 2 <= step < 60
    assert f"stopped after step {step}, which is saved; --resume goes on" in message
    assert "Traceback" not in message
    pretrain(wanted, run, resume=True)
    assert same(weights(tmp_path / "whole"), weights(run))
    assert incidents(run) == ["stopped", "resumed"]


def test_resuming_under_other_conditions_says_so(prepared: Path, tmp_path: Path) -> None:
    wanted = settings(prepared)
    pretrain(replace(wanted, loop=replace(LOOP, steps=12)), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-12")
    other = replace(wanted, data=replace(wanted.data, micro_batches=2))
    pretrain(other, tmp_path / "run", resume=True)
    (line,) = [line for line in read_metrics(tmp_path / "run") if line.get("what") == "not_bit_exact"]
    assert "micro_batches was 1, is 2" in line["detail"]


def test_data_that_changed_are_refused(prepared: Path, tmp_path: Path) -> None:
    wanted = settings(prepared)
    pretrain(wanted, tmp_path / "run")
    moved = tmp_path / "moved"
    shutil.copytree(prepared, moved)
    pretrain(replace(wanted, folders={str(moved): 1.0}), tmp_path / "run", resume=True)
    index = json.loads((moved / "index.json").read_text())
    shard = moved / f"{index['splits']['train']['shards'][0]['name']}.tokens"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    from litebert.errors import DataFolderError

    with pytest.raises(DataFolderError, match=shard.name):
        pretrain(replace(wanted, folders={str(moved): 1.0}), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    for path in checkpoints.saved(tmp_path / "run" / "checkpoints"):
        manifest = json.loads((path / "manifest.json").read_text())
        (path / "manifest.json").write_text(json.dumps(manifest | {"data": ["another"]}))
    with pytest.raises(CheckpointError, match="begun on other data"):
        pretrain(wanted, tmp_path / "run", resume=True)


class Poison:
    """Makes an objective go wrong on the steps that `where` chooses, as broken data or hardware would."""

    def __init__(self, where: Callable[[PretrainBatch], bool], how: float) -> None:
        self.where, self.how, self.times = where, how, 0

    def __call__(self, patch: pytest.MonkeyPatch) -> None:
        poison = self

        class Poisoned(PretrainObjective):
            def backward(self, batch: PretrainBatch) -> Callable[[], Metrics]:
                read = super().backward(batch)
                if not poison.where(batch):
                    return read
                poison.times += 1
                for parameter in self.model.parameters():
                    if parameter.grad is not None:
                        parameter.grad *= poison.how
                return lambda: read() | {"loss": read()["loss"] * poison.how}

        patch.setattr(pretraining, "PretrainObjective", Poisoned)


def batches_of(wanted: PretrainSettings) -> BatchStream:
    """What a run reads."""
    folders = {Path(folder): weight for folder, weight in wanted.folders.items()}
    tokenizer = load_tokenizer(next(iter(folders)) / TOKENIZER_FOLDER)
    return BatchStream(WindowSource(folders, SpecialIds.of(tokenizer), wanted.data, wanted.seed))


def window_of(wanted: PretrainSettings, number: int) -> set[tuple[int, ...]]:
    """The sequences of a window, as the model reads them."""
    folders = {Path(folder): weight for folder, weight in wanted.folders.items()}
    tokenizer = load_tokenizer(next(iter(folders)) / TOKENIZER_FOLDER)
    samples, masked = WindowSource(folders, SpecialIds.of(tokenizer), wanted.data, wanted.seed).window(number)
    return {tuple(ids.tolist()) for ids in np.split(masked.input_ids, samples.cu_seqlens[1:-1])}


def holds(batch: PretrainBatch, sequences: set[tuple[int, ...]]) -> bool:
    return any(tuple(ids.tolist()) in sequences for ids in np.split(batch.input_ids, batch.cu_seqlens[1:-1]))


def test_a_run_goes_back_over_a_divergence_and_leaves_out_its_data(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = settings(prepared)
    wanted = replace(base, data=replace(base.data, batch_size=256), loop=replace(LOOP, steps=12, checkpoint_every=2))
    bad = window_of(wanted, 1)
    poison = Poison(lambda batch: holds(batch, bad), float("nan"))
    poison(monkeypatch)
    report = pretrain(wanted, tmp_path / "run")
    assert poison.times == 1
    assert incidents(tmp_path / "run") == ["rolled_back"]
    lines = [line for line in read_metrics(tmp_path / "run") if line["kind"] == "train"]
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert report.steps == 12
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path / "run").values())
    manifest = checkpoints.verify(tmp_path / "run" / "checkpoints" / "step-12")
    assert 1 in manifest.progress.skipped
    assert manifest.progress.rollbacks == 1
    # A run that is resumed later remembers what is left out.
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-12")
    before = weights(tmp_path / "run")
    pretrain(wanted, tmp_path / "run", resume=True)
    assert poison.times == 1
    assert same(before, weights(tmp_path / "run"))


@pytest.mark.parametrize("keep", [1, 2])
def test_a_kill_within_a_spike_changes_nothing(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    """The checkpoint that is written between two losses that look like a divergence is not what it goes back to."""
    monkeypatch.setattr(guard, "FEWEST", 5)
    wanted = settings(prepared, loop=replace(LOOP, steps=14, checkpoint_every=2, keep=keep))
    stream = iter(batches_of(wanted))
    bad = [tuple(next(stream).input_ids.tolist()) for _ in range(11)][8:]
    Poison(lambda batch: tuple(batch.input_ids.tolist()) in bad, 4.0)(monkeypatch)
    pretrain(wanted, tmp_path / "whole")
    assert incidents(tmp_path / "whole") == ["rolled_back"]
    (line,) = [line for line in read_metrics(tmp_path / "whole") if line.get("what") == "rolled_back"]
    assert "from step 8 on without the data of windows 0 to 0" in line["detail"]
    killed = []

    def kills(batch: PretrainBatch) -> bool:
        here = tuple(batch.input_ids.tolist())
        if here == bad[-1] and not killed:
            killed.append(here)
            raise KeyboardInterrupt
        return here in bad

    Poison(kills, 4.0)(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        pretrain(wanted, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "step-10").is_dir()
    assert (tmp_path / "run" / "checkpoints" / "step-8").is_dir()
    pretrain(wanted, tmp_path / "run", resume=True)
    assert incidents(tmp_path / "run") == ["resumed", "rolled_back"]
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "run"))


def test_a_run_that_diverges_again_and_again_is_given_up(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Poison(lambda _: True, float("inf"))(monkeypatch)
    with pytest.raises(TrainingError, match="although it went back 2 times before; lower --learning-rate"):
        pretrain(settings(prepared, loop=replace(LOOP, rollbacks=2)), tmp_path / "run")
    assert incidents(tmp_path / "run") == ["rolled_back", "rolled_back"]


def test_a_rate_that_is_far_too_high_ends_in_one_line(prepared: Path, tmp_path: Path) -> None:
    wild = OptimizerSettings(name="adamw", learning_rate=1e30, clip=0)
    with pytest.raises(TrainingError, match="lower --learning-rate"):
        pretrain(settings(prepared, optimizer=wild), tmp_path / "run")


def failing(times: int, error: Callable[[], Exception]) -> Callable[..., Callable[[], Metrics]]:
    """A step that fails after its gradients are there, as a first compilation of the backward pass may."""
    backward, left = PretrainObjective.backward, iter(range(times))

    def fails(self: PretrainObjective, batch: PretrainBatch) -> Callable[[], Metrics]:
        read = backward(self, batch)
        if next(left, None) is not None:
            raise error()
        return read

    return fails


@pytest.mark.parametrize("wrapped", [False, True], ids=["in its cache of graphs", "while it compiles"])
def test_a_half_written_library_of_the_compiler_is_removed(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], wrapped: bool
) -> None:
    """As a kill leaves it: the message of Python is that of a real file of no bytes."""
    wanted = settings(prepared, loop=replace(LOOP, steps=2))
    pretrain(wanted, tmp_path / "whole")
    library = tmp_path / "cache" / "ab" / "kernel.main.so"
    library.parent.mkdir(parents=True)
    library.touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))

    def error() -> Exception:
        loader = importlib.machinery.ExtensionFileLoader("kernel", str(library))
        try:
            importlib.util.module_from_spec(importlib.util.spec_from_loader("kernel", loader))  # type: ignore[arg-type]
        except ImportError as error:
            return BackendCompilerFailed(object, error, None) if wrapped else error
        raise AssertionError

    monkeypatch.setattr(PretrainObjective, "backward", failing(1, error))
    pretrain(wanted, tmp_path / "run")
    assert not library.exists()
    assert f"{library} is half written" in capfd.readouterr().err
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "run"))
    library.touch()
    monkeypatch.setattr(PretrainObjective, "backward", failing(3, error))
    with pytest.raises(BackendCompilerFailed if wrapped else ImportError):  # no end of trials
        pretrain(wanted, tmp_path / "again")


def test_a_library_of_others_is_not_touched(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "elsewhere.so"
    library.touch()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    error = ImportError("file too short", path=str(library))
    monkeypatch.setattr(PretrainObjective, "backward", failing(1, lambda: error))
    with pytest.raises(ImportError, match="file too short"):
        pretrain(settings(prepared), tmp_path / "run")
    assert library.exists()


def test_the_guard_tells_a_divergence_from_a_hard_batch() -> None:
    chance = np.random.default_rng(1)
    watch = Guard()
    for loss in 5 + 0.1 * chance.standard_normal(FEWEST + 30):
        assert not watch.problem(float(loss), 1.0)
    assert not watch.problem(7.0, 1.0)  # one hard batch
    assert not watch.problem(5.0, 1.0)
    problems = [watch.problem(7.0, 1.0) for _ in range(SPIKES)]
    assert problems[:-1] == [""] * (SPIKES - 1)
    assert problems[-1].startswith("loss 7.000 where ")
    assert watch.problem(float("nan"), 1.0)
    assert watch.problem(5.0, float("inf"))


def test_losses_that_fall_and_vary_are_no_divergence() -> None:
    chance = np.random.default_rng(2)
    watch = Guard()
    for step in range(5000):
        loss = 3 + 4 * np.exp(-step / 500) + 0.2 * chance.standard_normal()
        assert not watch.problem(float(loss), 1.0)


def test_a_checkpoint_remembers_what_the_guard_knows(prepared: Path, tmp_path: Path) -> None:
    pretrain(settings(prepared), tmp_path / "run")
    saved = checkpoints.verify(tmp_path / "run" / "checkpoints" / "step-12").progress
    assert list(saved.losses) == Guard(saved.losses).losses
    assert len(saved.losses) == 12
    assert saved.data != StreamState()


def test_a_model_that_learns_nothing_is_named(prepared: Path, tmp_path: Path) -> None:
    lame = OptimizerSettings(name="adamw", learning_rate=1e-9)
    pretrain(settings(prepared, optimizer=lame, loop=replace(LOOP, steps=110, evaluate_every=200)), tmp_path / "run")
    assert incidents(tmp_path / "run") == ["plateau", "plateau"]
    # A run that goes on shortly before it looks has the losses of before.
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-110")
    pretrain(
        settings(prepared, optimizer=lame, loop=replace(LOOP, steps=110, evaluate_every=200)),
        tmp_path / "run",
        resume=True,
    )
    assert incidents(tmp_path / "run") == ["plateau", "resumed", "plateau"]
