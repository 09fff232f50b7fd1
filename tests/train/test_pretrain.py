"""Pre-training: it learns, it is reproducible, and it goes on from its checkpoints bit by bit."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from litebert import config
from litebert.data.batches import DataSettings
from litebert.data.pairs import PairSettings
from litebert.errors import CheckpointError, ConfigError, DataFolderError, OutputError
from litebert.interop.huggingface import load_model
from litebert.train import checkpoints
from litebert.train.corpora import _warn_of_short_documents, count_pieces, entropy
from litebert.train.hooks import read_metrics
from litebert.train.optimizers import OptimizerSettings
from litebert.train.pretrain import PretrainSettings, pretrain
from tests.runs import LOOP, same, settings, weights


@pytest.fixture(scope="module")
def finished(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    pretrain(settings(prepared), out)
    return out


def test_a_run_folder_holds_all_of_it(finished: Path, prepared: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names == {"config.toml", "metrics.jsonl", "checkpoints", "model", "tensorboard"}
    read = config.build(PretrainSettings, config.read_toml(finished / "config.toml"))
    assert read == settings(prepared)
    lines = read_metrics(finished)
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 13))
    held_out = [line for line in lines if line["kind"] == "held_out"]
    assert [line["step"] for line in held_out] == [6, 12]
    assert {"mlm_loss", "mlm_accuracy", "order_loss", "order_accuracy"} <= held_out[0].keys()
    assert [path.name for path in checkpoints.saved(finished / "checkpoints")] == ["step-8", "step-12"]
    assert list((finished / "tensorboard").iterdir())


def test_it_starts_at_the_unigram_entropy_and_learns(prepared: Path, tmp_path: Path) -> None:
    from litebert.data.shards import open_corpus

    longer = settings(prepared, loop=replace(LOOP, steps=120, evaluate_every=120), model={})
    longer = replace(longer, data=replace(longer.data, batch_size=32))
    report = pretrain(longer, tmp_path / "run")
    lines = [line for line in read_metrics(tmp_path / "run") if line["kind"] == "train"]
    counts = count_pieces([open_corpus(prepared).split("train")], 2000)
    assert report.unigram_entropy == pytest.approx(entropy(counts))
    assert lines[0]["mlm_loss"] == pytest.approx(report.unigram_entropy, abs=0.35)
    assert sum(line["mlm_loss"] for line in lines[-20:]) / 20 < report.unigram_entropy - 0.08


def test_the_same_seed_gives_the_same_bits_and_another_one_others(
    prepared: Path, finished: Path, tmp_path: Path
) -> None:
    pretrain(settings(prepared), tmp_path / "again")
    assert same(weights(finished), weights(tmp_path / "again"))
    pretrain(settings(prepared, seed=2), tmp_path / "other")
    assert not same(weights(finished), weights(tmp_path / "other"))


def test_a_run_goes_on_from_its_checkpoint_bit_by_bit(prepared: Path, finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    shutil.rmtree(run / "model")
    shutil.rmtree(run / "checkpoints" / "step-12")
    report = pretrain(settings(prepared), run, resume=True)
    assert same(weights(finished), weights(run))
    steps = [line["step"] for line in read_metrics(run) if line["kind"] == "train"]
    assert steps == list(range(1, 13))
    assert report.steps == 12


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    prepared: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    file = run / "checkpoints" / "step-12" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    pretrain(settings(prepared), run, resume=True)
    assert "step-12 is damaged (weights.safetensors)" in capsys.readouterr().err
    assert same(weights(finished), weights(run))


def test_no_whole_checkpoint_is_an_error(prepared: Path, finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    for path in checkpoints.saved(run / "checkpoints"):
        (path / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError, match="no checkpoint is whole"):
        pretrain(settings(prepared), run, resume=True)


def test_a_finished_run_may_be_resumed(prepared: Path, finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    assert pretrain(settings(prepared), run, resume=True).steps == 12
    assert same(weights(finished), weights(run))


def test_another_folder_with_something_in_it_is_refused(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "thing").write_text("mine")
    for resume in (False, True):
        with pytest.raises(OutputError, match="not empty"):
            pretrain(settings(prepared), tmp_path, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]


def test_other_settings_are_refused_on_resume_but_harmless_ones(prepared: Path, finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    with pytest.raises(CheckpointError, match=r"optimizer.learning_rate = 0.002, now it is 0.5"):
        pretrain(settings(prepared, optimizer=OptimizerSettings(name="muon", learning_rate=0.5)), run, resume=True)
    pretrain(settings(prepared, loop=replace(LOOP, log_every=3)), run, resume=True)


def test_micro_batches_change_nothing_but_rounding(prepared: Path, tmp_path: Path) -> None:
    base = settings(prepared, model={}, loop=replace(LOOP, steps=3))
    pretrain(base, tmp_path / "one")
    parts = replace(base.data, micro_batches=3)
    pretrain(replace(base, data=parts), tmp_path / "three")
    one, three = read_metrics(tmp_path / "one"), read_metrics(tmp_path / "three")
    for a, b in zip(one, three, strict=True):
        assert a["mlm_loss"] == pytest.approx(b["mlm_loss"], abs=2e-4)
        assert a["tokens"] == b["tokens"]


def test_going_on_from_a_model_keeps_its_weights_and_shape(prepared: Path, finished: Path, tmp_path: Path) -> None:
    further = settings(prepared, init=str(finished / "model"), model={}, loop=replace(LOOP, steps=1))
    further = replace(further, optimizer=OptimizerSettings(name="adamw", learning_rate=1e-9))
    pretrain(further, tmp_path / "run")
    before, after = load_model(finished / "model"), load_model(tmp_path / "run" / "model")
    assert before.config == after.config
    for one, other in zip(before.parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_a_domain_is_mixed_with_general_text_and_both_are_held_out(
    prepared: Path, finished: Path, tmp_path: Path
) -> None:
    domain = tmp_path / "domain"
    shutil.copytree(prepared, domain)
    folders = {str(domain): 3.0, str(prepared): 1.0}
    mixed = settings(prepared, init=str(finished / "model"), model={}, folders=folders, loop=replace(LOOP, steps=2))
    held_out = pretrain(mixed, tmp_path / "run").held_out
    each = [held_out[f"mlm_loss/{name}"] for name in ("domain", prepared.name)]
    assert each[0] == each[1]  # the same text
    assert held_out["mlm_loss"] == pytest.approx(each[0])


def test_without_sentence_objective_there_is_no_such_head(prepared: Path, tmp_path: Path) -> None:
    base = settings(prepared, loop=replace(LOOP, steps=2))
    data = replace(base.data, pairs=PairSettings(length=32, objective="none"))
    report = pretrain(replace(base, data=data), tmp_path / "run")
    assert "order_accuracy" not in report.held_out
    assert list(load_model(tmp_path / "run" / "model").heads) == ["masked_lm"]


def test_data_that_do_not_fit_are_refused(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no data"):
        pretrain(settings(prepared, folders={}), tmp_path / "a")
    with pytest.raises(DataFolderError):
        pretrain(settings(prepared, folders={str(tmp_path / "absent"): 1.0}), tmp_path / "b")
    wide = DataSettings(batch_size=8, pairs=PairSettings(length=1024))
    with pytest.raises(ConfigError, match="positions for 512"):
        pretrain(settings(prepared, data=wide), tmp_path / "c")
    with pytest.raises(ConfigError, match="weights above 0"):
        pretrain(settings(prepared, folders={str(prepared): 0.0}), tmp_path / "d")
    assert not list(tmp_path.iterdir())


def test_the_manifest_says_what_the_bits_depend_on(finished: Path) -> None:
    manifest = json.loads((finished / "checkpoints" / "step-12" / "manifest.json").read_text())
    assert manifest["progress"]["step"] == 12
    names = {"torch", "threads", "cpu", "device", "processes", "micro_batches", "precision", "compiled", "attention"}
    assert manifest["environment"].keys() == names
    assert manifest["sha256"].keys() == {"weights.safetensors", "optimizer.safetensors"}


@pytest.mark.parametrize(("tokens", "warned"), [(21, True), (200, False)])
def test_short_documents_in_long_sequences_are_told(
    tokens: int, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = [SimpleNamespace(num_tokens=10 * tokens, num_documents=10)]
    data = DataSettings(batch_size=64, pairs=PairSettings(length=128))
    _warn_of_short_documents(SimpleNamespace(settings=data, splits=splits, shares=np.ones(1)))  # type: ignore[arg-type]
    said = capsys.readouterr().err
    line = "warning: a step is filled to 23% at most, as documents have some 21 tokens; take a --length of about 24\n"
    assert said == (line if warned else "")
