"""The search for settings: reproducible, resumable after a kill, bound to its task, model and data."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from litebert import config
from litebert.cli import main
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.errors import ConfigError, OutputError
from litebert.files import held
from litebert.text.tokenizer import load_tokenizer
from litebert.train import search as module
from litebert.train.fit import Evaluation
from litebert.train.job import FinetuneSettings, Job, read_job
from litebert.train.search import BATCH_FACTORS, FIRST, LOOKS, SearchReport, Trial, search
from tests.labelled import ROWS, small_model, write_csv

BASE = FinetuneSettings(epochs=6.0, batch_size=8, learning_rate=4e-3, precision="fp32")


@pytest.fixture(scope="module", autouse=True)
def _optuna() -> None:
    pytest.importorskip("optuna", reason="the tune extra is not installed")


@pytest.fixture(scope="module")
def model(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    return small_model(tmp_path_factory.mktemp("models") / "pretrained", tokenizer)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("data") / "opinions.csv", ROWS)


def run(model: Path, data: Path, out: Path, trials: int, settings: FinetuneSettings = BASE) -> SearchReport:
    return search("classify", model=model, train=data, dev=data, out=out, trials=trials, settings=settings)


@pytest.fixture(scope="module")
def searched(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[SearchReport, Path]:
    out = tmp_path_factory.mktemp("search") / "out"
    return run(model, data, out, FIRST + 1), out


def job_of(model: Path, data: Path, settings: FinetuneSettings = BASE) -> Job:
    return read_job("classify", model=model, train=data, dev=data, columns=None, settings=settings)


def test_what_is_tried_and_what_is_kept(searched: tuple[SearchReport, Path], model: Path, data: Path) -> None:
    report, out = searched
    assert sorted(path.name for path in out.parent.iterdir()) == ["out", "out.tune"]
    assert [trial.number for trial in report.trials] == list(range(FIRST + 1))
    given = {"learning_rate": 4e-3, "epochs": 6.0, "batch_size": 8, "warmup": 0.1, "weight_decay": 0.01}
    assert report.trials[0].settings == given, "the settings as they are come first"
    for name in given:
        assert len({trial.settings[name] for trial in report.trials}) > 1, name
    for trial in report.trials:
        assert 1e-3 <= trial.settings["learning_rate"] <= 16e-3
        assert 3 <= trial.settings["epochs"] <= 12
        assert trial.settings["batch_size"] in (4, 8, 16)
        assert 0 <= trial.settings["warmup"] <= 0.2
        assert 0 <= trial.settings["weight_decay"] <= 0.1
    best = max(trial.score for trial in report.trials if trial.score is not None)
    assert report.trials[report.winner].score == best
    assert report.finetuned.results[0].metrics["accuracy"] == best, "the winner was trained once more"
    told = json.loads(json.dumps(report.to_dict()))
    assert told["model"] == str(out)
    assert len(told["search"]["trials"]) == FIRST + 1
    lines = (out.parent / "out.tune" / "trials.jsonl").read_text().splitlines()
    assert [json.loads(line)["score"] for line in lines] == [trial.score for trial in report.trials]


def test_the_recipe_trains_the_winner_again(
    searched: tuple[SearchReport, Path], model: Path, data: Path, tmp_path: Path
) -> None:
    report, out = searched
    assert report.recipe == out.parent / "out.tune" / "recipe.toml"
    settings = config.build(FinetuneSettings, config.read_toml(report.recipe))
    assert settings.learning_rate == report.trials[report.winner].settings["learning_rate"]
    files = ["--train", data, "--dev", data, "--out", tmp_path / "again", "--config", report.recipe]
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in ("finetune", "classify", "--model", model, *files)])
    assert not stop.value.code
    again, first = ((folder / "model.safetensors").read_bytes() for folder in (tmp_path / "again", out))
    assert again == first


def test_a_search_that_was_interrupted_ends_as_if_nothing_had_happened(
    searched: tuple[SearchReport, Path], model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, out = searched
    fit, fits = Job.fit, []

    def interrupted(self: Job, *arguments: Any) -> Any:
        fits.append(self.settings.learning_rate)
        if len(fits) == FIRST + 1:  # the last trial
            raise KeyboardInterrupt
        return fit(self, *arguments)

    monkeypatch.setattr(Job, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(model, data, tmp_path / "out", FIRST + 1)
    assert [path.name for path in tmp_path.iterdir()] == ["out.tune"]
    again = run(model, data, tmp_path / "out", FIRST + 1)
    assert again.trials == report.trials
    assert len(fits) == FIRST + 1 + 2, "one trial, and the winner; nothing that was finished is done again"
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    for name in ("trials.jsonl", "recipe.toml", "search.toml"):
        assert (tmp_path / "out.tune" / name).read_bytes() == (out.parent / "out.tune" / name).read_bytes()


def test_a_search_that_was_killed_goes_on(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = module._try
    command = ["finetune", "classify", "--model", model, "--train", data, "--dev", data, "--out", tmp_path / "out"]
    command += ["--epochs", "6", "--batch-size", "8", "--learning-rate", "0.004", "--precision", "fp32", "--tune", "2"]
    trials = tmp_path / "out.tune" / "trials.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "litebert", *map(str, command)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while process.poll() is None and not trials.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    kept = trials.read_text().splitlines()
    assert kept
    assert not (tmp_path / "out").exists()
    tried: list[int] = []
    monkeypatch.setattr(module, "_try", lambda job, finished: tried.append(len(finished)) or attempt(job, finished))
    report = run(model, data, tmp_path / "out", 2)
    assert tried == list(range(len(kept), 2)), "none that was finished is tried again"
    assert trials.read_text().splitlines()[: len(kept)] == kept
    assert len(report.trials) == 2
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_a_search_has_one_process(model: Path, data: Path, tmp_path: Path) -> None:
    with (
        held(tmp_path / "out.tune"),
        pytest.raises(OutputError, match=r"out\.tune is being written by another process"),
    ):
        run(model, data, tmp_path / "out", 1)
    assert not list(tmp_path.iterdir())


def test_more_trials_go_on_after_the_finished_ones(
    searched: tuple[SearchReport, Path], model: Path, data: Path, tmp_path: Path
) -> None:
    report, out = searched
    shutil.copytree(out.parent / "out.tune", tmp_path / "out.tune")
    more = run(model, data, tmp_path / "out", FIRST + 2)
    assert more.trials[:-1] == report.trials


def test_another_search_in_the_same_place(
    searched: tuple[SearchReport, Path], model: Path, data: Path, tmp_path: Path
) -> None:
    _, out = searched
    place = shutil.copytree(out.parent / "out.tune", tmp_path / "out.tune")
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    fewer = write_csv(tmp_path / "fewer.csv", ROWS[:-2])
    other = small_model(tmp_path / "other", load_tokenizer(model), hidden_size=16)
    for words, given in (
        ("a search of another train: give another --out, or remove that folder", {"train": fewer}),
        ("a search of another dev", {"dev": fewer}),
        ("a search of another model", {"model": other}),
        ("a search with settings.epochs = 6.0", {"settings": replace(BASE, epochs=3.0)}),
        ("a search with settings.seed = 1", {"settings": replace(BASE, seed=2)}),
    ):
        what: dict[str, Any] = {"model": model, "train": data, "dev": data, "settings": BASE} | given
        with pytest.raises(OutputError, match=words) as caught:
            search("classify", out=tmp_path / "out", trials=9, **what)
        assert "\n" not in str(caught.value)
    rows = [{"text": row["text"], "label": row["label"], "labels": row["label"]} for row in ROWS]
    several = write_csv(tmp_path / "rows.csv", rows)
    with pytest.raises(OutputError, match=r"another (task|columns\.label)"):
        search("multilabel", model=model, train=several, dev=several, out=tmp_path / "out", trials=9, settings=BASE)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine.tune").mkdir()
    (tmp_path / "mine.tune" / "letters.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        run(model, data, tmp_path / "mine", 1)


def a_trial(number: int, score: float | None, looks: list[tuple[int, float]], loss: float = 0.5) -> Trial:
    settings = {"learning_rate": 4e-3, "epochs": 6.0, "batch_size": 8, "warmup": 0.1, "weight_decay": 0.01}
    return Trial(
        number=number, settings=settings, looks=looks, score=score, loss=loss, note="" if score else "ended early"
    )


def test_a_trial_that_falls_behind_the_median_is_ended(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fits of five looks that score what they are told."""
    job, said = job_of(model, data), [0.5] * LOOKS

    def fit(self: Job, seed: int, rate: float, watch: Any) -> Any:
        from litebert.train.fit import Fit

        result = Fit(rate=rate, primary_metric="accuracy")
        for look, value in enumerate(said, 1):
            watch.step(look * 10, 10 * LOOKS, 0.1)
            evaluation = Evaluation(look * 10, look, 0.1, {"accuracy": value, "loss": 1.0})
            result.evaluations.append(evaluation)
            if result.best is None or value > result.best.metrics["accuracy"]:
                result.best = evaluation
            watch.evaluation(evaluation)
        return result

    monkeypatch.setattr(Job, "fit", fit)
    good = [(look, 0.8) for look in range(1, LOOKS + 1)]
    few, enough = ([a_trial(i, 0.8, good) for i in range(count)] for count in (FIRST - 1, FIRST))
    assert module._try(job, few).score == 0.5, "too few to compare with"
    ended = module._try(job, enough)
    assert (ended.score, ended.note) == (None, f"ended early at 2 of {LOOKS} looks at the dev set")
    assert ended.looks == [(1, 0.5), (2, 0.5)]
    said[1] = 0.81
    assert module._try(job, enough).score == 0.81
    said[:] = [math.nan] * LOOKS
    assert module._try(job, enough).looks == []


def test_a_trial_that_goes_wrong_does_not_win(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none of 1 trials came to a good end \(the last one: the .*give another"):
        run(model, data, tmp_path / "out", 1, replace(BASE, learning_rate=1e30))
    assert not (tmp_path / "out").exists()
    trials = [a_trial(0, None, []), a_trial(1, 0.7, []), a_trial(2, 0.7, []), a_trial(3, 0.6, [])]
    assert module._best(trials).number == 1
    assert module._best([*trials, a_trial(4, 0.7, [], loss=0.4), a_trial(5, 0.7, [], loss=0.45)]).number == 4
    assert module._best([a_trial(0, -0.2, []), a_trial(1, -0.1, []), a_trial(2, None, [])]).number == 1


def test_it_learns_from_what_was_tried(model: Path, data: Path) -> None:
    """Where high rates score better, later proposals are higher than the first ones."""
    job = job_of(model, data)
    trials: list[Trial] = []
    for number in range(40):
        settings = module._given(job) if not trials else module._propose(job, trials)[1]
        score = math.log(settings["learning_rate"])
        trials.append(Trial(number=number, settings=settings, looks=[], score=score, loss=0.5))
    rates = [trial.settings["learning_rate"] for trial in trials]
    assert sum(rates[-10:]) / 10 > 1.5 * sum(rates[1:FIRST]) / (FIRST - 1)
    assert max(rates) <= 16e-3
    sizes = {trial.settings["batch_size"] for trial in trials}
    assert 1 < len(sizes & {round(8 * factor) for factor in BATCH_FACTORS}) == len(sizes)


def test_given_values_outside_of_the_usual_ones(model: Path, data: Path) -> None:
    job = job_of(model, data, replace(BASE, warmup=0.5, weight_decay=0.3, batch_size=1, evaluate_every=1.0))
    trial = Trial(number=0, settings=module._given(job), looks=[], score=0.5, loss=0.5)
    proposed = module._propose(job, [trial])[1]
    assert proposed["warmup"] <= 0.5
    assert proposed["batch_size"] in (1, 2)
    assert module._with(job, proposed).evaluate_every == 1.0
