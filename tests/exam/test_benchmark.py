"""From a benchmark's name to its table: what is sat, what is kept, what is refused, and what the table says."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from litebert import config
from litebert.cli import main
from litebert.errors import ConfigError, InputError, OutputError
from litebert.evaluate.calibration import Calibration, Decisions
from litebert.exam import baseline as baseline_module
from litebert.exam import benchmark as benchmark_module
from litebert.exam import page as page_module
from litebert.exam import sitting as sitting_module
from litebert.exam import table as table_module
from litebert.exam.benchmark import benchmark, sittings
from litebert.exam.sets import ALL, SETS, sets_of
from litebert.exam.settings import BenchmarkSettings
from litebert.exam.sitting import Sitting, uncalibrated
from litebert.exam.table import Table, mark, published
from litebert.files import held
from litebert.infer.judging import Questions, judge_model
from litebert.tasks.texts import TextInput
from litebert.train.finetune import FinetuneSettings, finetune
from tests.train.test_report import Page

FAST: dict[str, Any] = {"epochs": 2.0, "batch_size": 8, "learning_rate": 4e-3, "precision": "fp32"}
RECIPES = Path(__file__).parents[2] / "recipes"


def settings(*only: str, **changes: Any) -> BenchmarkSettings:
    return BenchmarkSettings(**{"seeds": 1, "only": only, "finetune": FAST} | changes)


def results(out: Path) -> dict[str, dict[str, Any]]:
    """The results by set and file, without what they took."""
    found = {}
    for file in sorted((out / "results").glob("*/*.json")):
        value = json.loads(file.read_text())
        assert value.pop("seconds") >= 0
        found[f"{file.parent.name}/{file.stem}"] = value
    return found


@pytest.fixture(scope="module")
def everything(public: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Table:
    """All sets of the made-up folder, once."""
    out = tmp_path_factory.mktemp("everything") / "out"
    sets = {"sst2": {"train_rows": 20, "test_rows": 30}}
    wanted = settings(twin=("sst2", "stsb"), sets=sets)
    table = benchmark(ALL, model=model, out=out, data=public, settings=wanted)
    assert len(table.lines[0].results["model"]) == 1
    again = replace(wanted, seeds=2, only=("sst2", "xnli"))  # a second seed is put beside the first
    return benchmark(ALL, model=model, out=out, data=public, settings=again)


def test_every_set_is_sat(everything: Table) -> None:
    lines = {line.one.name: line for line in everything.lines}
    assert set(lines) == set(SETS) - {"qnli", "mnli", "qqp", "squad2"}
    for name, line in lines.items():
        systems = {"model", SETS[name].baseline} - {"none"} | ({"twin"} if name in ("sst2", "stsb") else set())
        assert set(line.results) == systems
        assert [result["seed"] for result in line.results["model"]] == ([1, 2] if name in ("sst2", "xnli") else [1])
        for system in systems:
            for metric in SETS[name].metrics:
                assert all(-100 <= score <= 100 for score in line.scores(system, metric))
        assert line.results["model"][0]["curve"][-1]["step"] > 0
    assert lines["sst2"].material.rows == {"train": 20, "dev": 32, "test": 30}
    assert lines["xnli"].others().keys() == {"de", "zh"}
    assert lines["sst2"].others().keys() == {"IMDB", "TweetEval sentiment"}
    assert [name for name, line in lines.items() if line.unknown()] == ["clinc150", "clinc150-10"]
    assert not (everything.out / "work").exists()


def test_marks_are_those_of_finetune_and_evaluate(everything: Table, model: Path, tmp_path: Path) -> None:
    for name in ("sst2", "tydiqa", "wnut17"):
        line = next(line for line in everything.lines if line.one.name == name)
        metric = line.one.select or line.one.metrics[0]
        files = {part: line.material.file(part) for part in ("train", "dev", "test")}
        wanted = FinetuneSettings(**FAST, seed=1, metric=metric)
        finetune(
            line.one.task, model=model, train=files["train"], dev=files["dev"], out=tmp_path / name, settings=wanted
        )
        metrics = judge_model(tmp_path / name, files["test"])
        for key in line.one.metrics:
            assert line.results["model"][0]["metrics"][key] == pytest.approx(metrics[key], abs=1e-6)
        if name == "sst2":
            first = line.results["model"][0]
            assert first["confusion"] == metrics["confusion"]
            assert sum(rows for _, _, rows, _, _ in first["reliability"]) == metrics["rows"] == 30
            right = sum(rows * accuracy for _, _, rows, _, accuracy in first["reliability"])
            assert right / 30 == pytest.approx(metrics["accuracy"], abs=1e-5)
            assert sum(rows for row in line.confusion().values() for rows in row.values()) == 60


def test_texts_of_no_label_are_judged_as_evaluate_does(everything: Table, model: Path, tmp_path: Path) -> None:
    line = next(line for line in everything.lines if line.one.name == "clinc150")
    files = {part: line.material.file(part) for part in ("train", "dev")}
    wanted = FinetuneSettings(**FAST, seed=1, metric="accuracy")
    finetune("classify", model=model, out=tmp_path / "out", settings=wanted, **files)
    unknown = {part: line.material.file(f"unknown-{part}") for part in ("dev", "test")}
    questions = Questions(out_of_scope=unknown["test"], dev=files["dev"], dev_out_of_scope=unknown["dev"])
    found = judge_model(tmp_path / "out", line.material.file("test"), questions=questions)["out_of_scope"]
    for measure, values in line.unknown().items():
        assert values == pytest.approx(found[measure], abs=1e-4)


def test_baselines(everything: Table) -> None:
    lines = {line.one.name: line for line in everything.lines}
    assert lines["sst2"].scores("tfidf", "accuracy")[0] > 60, "most of its test rows are training rows"
    assert lines["sst2"].scores("majority", "accuracy") == []
    assert lines["rte"].scores("majority", "accuracy") == [50.0]
    assert lines["dream"].scores("majority", "accuracy") == [100.0]
    assert -100 < lines["stsb"].scores("tfidf", "pearson")[0] < 100
    assert lines["squad1"].baseline is None


def test_files_for_the_server(everything: Table, public: Path) -> None:
    folder = everything.out / "server" / "seed-1"
    assert sorted(file.name for file in folder.iterdir()) == [
        "CoLA.tsv",
        "MRPC.tsv",
        "RTE.tsv",
        "SST-2.tsv",
        "STS-B.tsv",
        "WNLI.tsv",
    ]
    for name, answers in {"CoLA": "01", "SST-2": "01", "WNLI": "01", "RTE": ("entailment", "not_entailment")}.items():
        rows = [line.split("\t") for line in (folder / f"{name}.tsv").read_text().splitlines()]
        assert rows[0] == ["index", "prediction"]
        assert [row[0] for row in rows[1:]] == [str(i) for i in range(6)]
        assert {row[1] for row in rows[1:]} <= set(answers)
    sameness = (folder / "MRPC.tsv").read_text().splitlines()[1:]
    test = everything.lines[[line.one.name for line in everything.lines].index("mrpc")].material.file("test")
    assert [line.split("\t")[0] for line in sameness] == [str(i) for i in range(len(test.read_text().splitlines()))]
    assert {line.split("\t")[1] for line in sameness} <= set("01")
    values = [float(line.split("\t")[1]) for line in (folder / "STS-B.tsv").read_text().splitlines()[1:]]
    assert all(0 <= value <= 5 for value in values)
    assert everything.server_notes()[0] == (
        "server/seed-1: CoLA, MRPC, RTE, SST-2, STS-B, WNLI; the server also wants QNLI, MNLI-m, MNLI-mm, AX, QQP"
    )


def test_the_table_in_all_its_forms(everything: Table) -> None:
    out = everything.out
    text = (out / "results.md").read_text(encoding="utf-8")
    sst2 = next(line for line in everything.lines if line.one.name == "sst2")
    assert f"| SST-2 | accuracy | {mark(sst2.scores('model', 'accuracy'))} |" in text
    assert "| 20 of 32 | 32 | 30 of 32 | 2 |" in text
    assert "| ALBERT base v2 | 12M | 92.9 |" in text
    assert "QNLI is left out: there is no glue/QNLI/train.tsv." in text
    assert "GLUE's dev is part of their train" in text
    assert "no context on both sides" in text
    values = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert values["sets"]["sst2"]["systems"]["model"]["accuracy"]["scores"] == pytest.approx(
        sst2.scores("model", "accuracy"), abs=1e-4
    )
    assert values["published"]["DistilBERT"]["cola"] == [51.3]
    assert values["lacks"].keys() == {"qnli", "mnli", "qqp", "squad2"}
    html = (out / "results.html").read_text(encoding="utf-8")
    page = Page(html)
    assert [link for link in page.links if not link.startswith("#")] == []
    assert not re.search(r"@import|url\(|fetch\(|XMLHttp|import\(", html)
    assert set(re.findall(r"https?://[^\"' )]+", html)) <= {"http://www.w3.org/2000/svg"}
    for words in ("Beside published", "calibration error", "Answers for each right label", "Further tests", "Rules"):
        assert words in page.text
    assert "## CLINC150: texts of none of its labels" in text
    assert "Texts of none of the labels" in page.text
    assert len(page.charts) > 2 * len(everything.lines)
    assert {chart["along"] for chart in page.charts} == {"step", "confidence"}


def test_a_page_escapes_what_it_shows(everything: Table, tmp_path: Path) -> None:
    from litebert.exam.page import render

    about = everything.about | {"model": "/models/<script>alert(1)</script>"}
    assert "<script>alert" not in render(replace(everything, about=about))


def test_a_table_on_a_terminal(everything: Table, capsys: pytest.CaptureFixture[str]) -> None:
    everything.show()
    shown = capsys.readouterr().out
    for words in ("SST-2", "Matthews", "results.html", "pretrained"):
        assert words in shown


def test_the_order_of_sittings() -> None:
    sets = [*sets_of("squad"), *sets_of("glue")[:1]]
    order = [str(one) for one in sittings(sets, BenchmarkSettings(seeds=2, twin=("sst2",)))]
    assert order[0] == "SST-2, TF-IDF"
    assert order[1:5] == [f"{one.title}, model, seed 1" for one in sets]
    seeds = [int(text.rpartition(" ")[2]) for text in order[1:]]
    assert seeds == sorted(seeds)
    assert order.count("SST-2, twin, seed 1") == 1
    assert not [text for text in order if "twin, seed 2" in text]


def test_marks_as_people_read_them() -> None:
    assert mark([50.0]) == "50.0"
    assert mark([50.0, 52.0]) == "51.0 ± 1.4"
    assert {name for other in published() for name in other.marks} <= SETS.keys()
    assert all(len(marks) <= len(SETS[name].metrics) for other in published() for name, marks in other.marks.items())


# --- going on -----------------------------------------------------------------------------------------------------


def command(model: Path, public: Path, out: Path, *more: str) -> list[str]:
    fast = [f"--set=finetune.{name}={json.dumps(value)}" for name, value in FAST.items()]
    return [
        "benchmark",
        "ner",
        "--model",
        str(model),
        "--data",
        str(public),
        "--out",
        str(out),
        "--seeds",
        "3",
        *fast,
        *more,
    ]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-m", "litebert", *arguments]
    return subprocess.Popen(program, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not there() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_run_goes_on(number: signal.Signals, public: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = out / "results" / "wnut17" / "model-1.json"
    process = start(command(model, public, out))
    wait_for(lambda: first.exists() and any((out / "work").glob("*/*/task/.model.*.partial/training/*")), process)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number), said
    if number == signal.SIGTERM:
        assert "the same command goes on from there" in said
        assert not (out / "work").exists()
    kept = first.stat().st_mtime_ns
    assert len(results(out)) < 3, "it was stopped before its end"
    wanted = settings("wnut17", seeds=3)
    benchmark("ner", model=model, out=out, data=public, settings=wanted)
    assert first.stat().st_mtime_ns == kept
    benchmark("ner", model=model, out=tmp_path / "whole", data=public, settings=wanted)
    assert results(out) == results(tmp_path / "whole")
    assert len(results(out)) == 3
    assert not list(out.rglob("*.partial"))


def test_two_processes_make_one_table(public: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    processes = [start(command(model, public, out)) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    sat = [[line for line in text.splitlines() if "/3] " in line] for text in said]
    assert sorted(line for lines in sat for line in lines) == [
        f"[{seed}/3] WNUT17, model, seed {seed}" for seed in (1, 2, 3)
    ]
    benchmark("ner", model=model, out=tmp_path / "whole", data=public, settings=settings("wnut17", seeds=3))
    assert results(out) == results(tmp_path / "whole")
    assert json.loads((out / "results.json").read_text())["sets"]["wnut17"]["systems"]["model"]["seeds"] == [1, 2, 3]
    assert not (out / "work").exists()
    assert not list(tmp_path.rglob(".lock"))


def test_what_another_process_is_at_is_left_to_it(
    public: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, wanted = tmp_path / "out", settings("wnut17", seeds=3)
    benchmark("ner", model=model, out=out, data=public, settings=settings("wnut17", baseline=True))
    with held(out / "work" / "wnut17" / "model-2") as ours:
        assert ours
        benchmark("ner", model=model, out=out, data=public, settings=wanted)
        assert sorted(results(out)) == ["wnut17/model-1", "wnut17/model-3"]
    assert "another process is at 1 more: WNUT17, model, seed 2" in capsys.readouterr().err
    benchmark("ner", model=model, out=out, data=public, settings=wanted)
    assert len(results(out)) == 3


def test_a_setting_that_cannot_be_does_not_lock_the_folder(public: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    wrong = settings("wnut17", finetune={**FAST, "metric": "zz"})
    with pytest.raises(ConfigError, match="metric = 'zz'"):
        benchmark("ner", model=model, out=out, data=public, settings=wrong)
    benchmark("ner", model=model, out=out, data=public, settings=settings("wnut17"))
    with pytest.raises(OutputError, match=r"wnut17 is there for results with metric = f1, and it is to be zz now"):
        benchmark("ner", model=model, out=out, data=public, settings=wrong)


def test_rows_that_are_nothing_for_their_task_do_not_end_the_benchmark(
    public: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sit = benchmark_module.sit

    def sitting(one: Sitting, *arguments: Any) -> dict[str, Any]:
        if one.seed == 1:
            raise InputError("rows.jsonl: all labels are different")
        return sit(one, *arguments)

    monkeypatch.setattr(benchmark_module, "sit", sitting)
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"1 of 2 sittings came to nothing, the first: WNUT17, model, seed 1 \(rows"):
        benchmark("ner", model=model, out=out, data=public, settings=settings("wnut17", seeds=2))
    assert list(results(out)) == ["wnut17/model-2"]
    assert "warning: WNUT17, model, seed 1: rows.jsonl: all labels are different" in capsys.readouterr().err
    assert not (out / "work").exists()


def test_what_a_kill_left_behind_locks_nothing(public: Path, model: Path, tmp_path: Path) -> None:
    """Nor does another set, whose name begins alike."""
    out, other = tmp_path / "out", settings("wnut17", finetune={**FAST, "epochs": 1.0})
    benchmark("ner", model=model, out=out, data=public, settings=settings("wnut17"))
    shutil.rmtree(out / "results")
    (out / "work" / "wnut17" / "model-2" / "task").mkdir(parents=True)
    with held(out / "work" / "wnut17-10" / "model-1"):
        benchmark("ner", model=model, out=out, data=public, settings=other)
    assert results(out)["wnut17/model-1"]["epoch"] <= 1
    with held(out / "work" / "wnut17" / "model-2"):
        shutil.rmtree(out / "results")
        with pytest.raises(OutputError, match=r"epochs = 1\.0, and it is to be 2\.0 now"):
            benchmark("ner", model=model, out=out, data=public, settings=settings("wnut17"))


def test_a_result_is_not_put_beside_rows_of_another_recipe(
    public: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, sit = tmp_path / "out", benchmark_module.sit
    other = settings("wnut17", finetune={**FAST, "epochs": 1.0})

    def meanwhile(*arguments: Any) -> dict[str, Any]:
        monkeypatch.setattr(benchmark_module, "sit", sit)
        monkeypatch.setattr(benchmark_module, "_in_progress", lambda work: False)  # it came a moment too late
        benchmark("ner", model=model, out=out, data=public, settings=other)
        return sit(*arguments)

    monkeypatch.setattr(benchmark_module, "sit", meanwhile)
    with pytest.raises(OutputError, match=r"epochs = 1\.0, and it is to be 2\.0 now"):
        benchmark("ner", model=model, out=out, data=public, settings=replace(settings("wnut17"), seed=2))
    assert list(results(out)) == ["wnut17/model-1"]


def test_what_was_said_before_the_temperature() -> None:
    logits = np.array([[2.0, -1.0], [0.5, 1.5]])
    decisions = Decisions(logits / 1.7, np.array([0, 0]), np.arange(2))
    found = Calibration(temperature=1.7, rows=200, ece_before=0.1, ece_after=0.0, loss_before=1.0, loss_after=0.9)
    assert uncalibrated(decisions, found).logits == pytest.approx(logits)
    assert uncalibrated(decisions, found).confidences.mean() > decisions.confidences.mean()
    assert uncalibrated(decisions, None) is decisions


def test_a_damaged_result_is_made_again(
    public: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark("ner", model=model, out=tmp_path / "out", data=public, settings=settings())
    before = results(tmp_path / "out")
    file = tmp_path / "out" / "results" / "wnut17" / "model-1.json"
    file.write_text(file.read_text()[:100])
    capsys.readouterr()
    benchmark("ner", model=model, out=tmp_path / "out", data=public, settings=settings())
    assert "model-1.json is damaged" in capsys.readouterr().err
    assert results(tmp_path / "out") == before


# --- what is refused ----------------------------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str], *words: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert stop.value.code == 2, said
    assert said.startswith("litebert: ")
    for word in words:
        assert word in said


def test_an_unknown_benchmark(public: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--twin"]):
        arguments = ["benchmark", "superglue", *command(model, public, tmp_path / "out")[2:], *more]
        known = "glue, similarity, squad, xnli, choice, ner, sentiment, intent"
        refused(capsys, arguments, f"'superglue' is unknown; use one of {known}")
    assert not list(tmp_path.iterdir())


def test_a_folder_without_any_set(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    refused(
        capsys, command(model, tmp_path / "data", tmp_path / "out"), "has none of the sets of ner (wnut17)", "--data"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_damaged_file_leaves_nothing(
    public: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(public / "arc", tmp_path / "data" / "arc")
    shutil.copytree(public / "copa", tmp_path / "data" / "copa")
    (tmp_path / "data" / "arc" / "arc_easy_train.csv").write_bytes(b"\xff\xfe\x00")
    arguments = ["benchmark", "choice", *command(model, tmp_path / "data", tmp_path / "out")[2:]]
    refused(capsys, arguments, "arc_easy_train.csv, line 1: not UTF-8")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_folder_of_another_model_or_recipe(
    public: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    benchmark("ner", model=model, out=out, data=public, settings=settings(finetune=FAST | {"epochs": 1.0}))
    before = results(out)
    refused(capsys, command(model, public, out), "wnut17 is there for results with epochs = 1.0", "2.0 now")
    refused(capsys, command(model, public, out, "--set=sets.wnut17.train_rows=5"), "wnut17 is there for results with")
    other = tmp_path / "other"
    shutil.copytree(model, other)
    (other / "litebert.json").write_text(json.dumps(json.loads((other / "litebert.json").read_text()) | {"task": "x"}))
    refused(capsys, command(other, public, out), "holds the benchmark of another model")
    assert results(out) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thing").write_text("precious")
    refused(capsys, command(model, public, tmp_path / "mine"), "is not empty")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text('preset = "tiny"')
    refused(capsys, command(model, public, tmp_path / "run"), "is no folder of a benchmark")
    refused(capsys, command(tmp_path / "mine", public, tmp_path / "new"), "mine")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("seeds=0", "seeds = 0: expected 1 or more"),
        ("only=[\"sst3\"]", "only: there is no set 'sst3'"),
        ("sets.wnut17.epoch=3", "unknown setting 'sets.wnut17.epoch'; did you mean sets.wnut17.epochs?"),
        ("sets.wnut17.train_rows=0", "sets.wnut17.train_rows = 0: expected a number of rows"),
        ("sets.wnut17.seeds=3", "seeds is the benchmark's own to give on WNUT17"),
        ("sets.wnut17=3", "sets.wnut17 = 3: expected a table"),
        ("finetune.batch_size=0", "batch_size = 0: expected 1 or more"),
        ("finetune.epochz=3", "unknown setting 'finetune.epochz'; did you mean finetune.epochs?"),
        ("finetune.dev_rows=0", "finetune.dev_rows = 0: expected a number of rows"),
        ("only=[\"sst2\"]", "`only` chooses no set of ner"),
    ],
)  # fmt: skip
def test_recipes_that_cannot_be(
    setting: str, words: str, public: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, command(model, public, tmp_path / "out", f"--set={setting}"), words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["benchmark.toml", "results.toml", "card.toml", "paper.toml", "peers.toml", "scratch/card.toml"]
)
def test_the_shipped_recipes(name: str) -> None:
    recipe = config.build(BenchmarkSettings, config.read_toml(RECIPES / name))
    for one in SETS.values():
        assert recipe.plan(one).finetune.seeds == 1
    assert recipe.seeds == (3 if name in ("results.toml", "card.toml", "scratch/card.toml") else 5)
    assert not set(recipe.only) - set(SETS)
    if name == "paper.toml":  # its table's dropout of the encoder; CoLA to RACE
        hot = {one for one in recipe.sets if recipe.plan(SETS[one]).finetune.dropout == 0.1}
        assert hot == {"qqp", "rte", "wnli", "race"}
        assert recipe.plan(SETS["sst2"]).finetune.dropout == 0
        assert len(recipe.sets) == 12
    if name == "results.toml":
        assert len(recipe.twin) == 6
        assert set(recipe.only) == set(SETS) - {"qnli", "mnli", "qqp", "squad2", "race"}


def test_a_set_that_is_no_benchmark_of_ours() -> None:
    with pytest.raises(ConfigError, match="twin: there is no set 'x'"):
        BenchmarkSettings(twin=("x",))


def test_real_rows(litebert_data: Path, model: Path, tmp_path: Path) -> None:
    caps = {"train_rows": 40, "dev_rows": 20, "test_rows": 20}
    wanted = settings("sst2", "copa", sets={"sst2": caps, "copa": caps})
    table = benchmark(ALL, model=model, out=tmp_path / "out", data=litebert_data, settings=wanted)
    assert [line.one.name for line in table.lines] == ["sst2", "copa"]
    assert all(line.material.rows == {"train": 40, "dev": 20, "test": 20} for line in table.lines)


# -- what is chosen on which rows ----------------------------------------------------------------------------------


def test_a_baseline_is_chosen_on_the_dev_rows() -> None:
    texts = ["a fine film", "a dull film", "fine", "dull"]
    inputs, targets = [TextInput(text) for text in texts], ["1", "0", "1", "0"]
    rows: Any = {part: SimpleNamespace(inputs=inputs, targets=targets) for part in ("train", "dev", "test")}
    judged = []

    def score(of: object, answers: list[str]) -> dict[str, float]:
        judged.append(of)
        return {"accuracy": 1.0}

    assert baseline_module._logistic(SETS["sst2"], SimpleNamespace(score=score), rows) == targets  # type: ignore[arg-type]
    assert judged
    assert all(one is rows["dev"] for one in judged)


def test_thresholds_for_texts_of_no_label_are_chosen_on_the_dev_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    material = SimpleNamespace(unknown=("dev", "test"), file=str)
    monkeypatch.setattr(sitting_module, "_judged", lambda predictor, file: SimpleNamespace(decisions=f"known {file}"))
    monkeypatch.setattr(sitting_module, "logits_of", lambda predictor, task, file, columns: file)
    monkeypatch.setattr(sitting_module, "told_apart", lambda *asked: asked)
    found = SimpleNamespace(decisions="known test")
    asked = sitting_module._unknown(SimpleNamespace(job="task"), found, material)  # type: ignore[arg-type]
    assert asked == ("known test", "unknown-test", ("known dev", "unknown-dev"))


def test_bars_in_names_are_no_borders_of_columns() -> None:
    head, _, row = table_module._markdown(["set", "a|b"], [["SST-2", "90.0"]]).splitlines()
    assert (head, row) == ("| set | a\\|b |", "| SST-2 | 90.0 |")


def test_a_row_of_the_page_is_a_right_label() -> None:
    line = SimpleNamespace(confusion=lambda: {"good": {"good": 1, "bad": 3}, "bad": {"bad": 2}})
    page = page_module._confusion(line)  # type: ignore[arg-type]
    good = page[page.index("<tr><th>good</th>") :].partition("</tr>")[0]
    assert [cell.partition("<")[0] for cell in good.split(">") if "%" in cell] == ["25.0 %", "75.0 %"]
