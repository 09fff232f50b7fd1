"""Fine-tuning: it learns, it is reproducible, its folder is whole or not there, and bad input gets one clear line."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from litebert import config
from litebert.data.labelled import Columns
from litebert.errors import ConfigError, InputError, ModelFolderError, OutputError, UserError
from litebert.infer.judging import judge_model
from litebert.infer.predictor import load
from litebert.interop.huggingface import read_config
from litebert.text.tokenizer import Tokenizer
from litebert.train.finetune import finetune
from litebert.train.job import FinetuneSettings
from litebert.train.results import FinetuneReport
from tests.labelled import ROWS, small_model, write_csv, write_jsonl

FAST = {"epochs": 20.0, "batch_size": 8, "learning_rate": 4e-3, "precision": "fp32"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("data") / "opinions.csv", ROWS)


def tune(model: Path, data: Path, out: Path, dev: Path | None = None, **changes: object) -> FinetuneReport:
    settings = FinetuneSettings(**FAST | changes)
    return finetune("classify", model=model, train=data, dev=dev or data, out=out, settings=settings)


@pytest.fixture(scope="module")
def tuned(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "opinions"
    report = tune(model, data, out)
    assert report.results[0].metrics["accuracy"] > 0.9, "32 rows can be learnt by heart"
    assert report.majority == 0.5
    return out


def test_the_folder_is_a_model_with_its_record(tuned: Path, model: Path) -> None:
    assert sorted(p.name for p in tuned.parent.iterdir()) == [tuned.name]
    names = {path.name for path in tuned.iterdir()}
    assert {"config.json", "model.safetensors", "litebert.json", "spiece.model", "training"} <= names
    assert {path.name for path in (tuned / "training").iterdir()} == {"config.toml", "metrics.jsonl", "report.json"}
    shape = read_config(tuned)
    assert shape.labels == ("bad", "good")
    assert shape.problem_type == "single_label_classification"
    resolved = config.read_toml(tuned / "training" / "config.toml")
    assert resolved["learning_rate"] == 4e-3
    assert resolved["length"] == 64
    assert resolved["columns"] == {"text": "text", "label": "label"}
    lines = [json.loads(line) for line in (tuned / "training" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 20 * 4
    assert (lines[0]["step"], lines[0]["loss"]) == (0, None), "the head has been probed"
    assert lines[-1]["loss"] < lines[1]["loss"]
    best = max(line["metrics"]["accuracy"] for line in lines)
    report = json.loads((tuned / "training" / "report.json").read_text())
    assert report["mean"] == best
    assert report["results"][0]["metrics"]["accuracy"] == best


def test_the_kept_model_is_the_one_that_was_measured(tuned: Path, data: Path) -> None:
    report = json.loads((tuned / "training" / "report.json").read_text())
    measured = judge_model(tuned, data)
    for name, value in report["results"][0]["metrics"].items():
        assert measured[name] == pytest.approx(value, abs=1e-6)
    answers = load(tuned).predict([row["text"] for row in ROWS])
    right = sum(answer.to_dict()["label"] == row["label"] for answer, row in zip(answers, ROWS, strict=True))
    assert right / len(ROWS) == pytest.approx(measured["accuracy"])


def test_equal_seeds_are_equal_bytes(model: Path, data: Path, tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        tune(model, data, tmp_path / name, seed=seed, epochs=2.0)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c
    assert torch.equal(state, torch.random.get_rng_state()), "nobody else's chance is touched"


def test_seeds_give_mean_and_interval_and_the_best_is_kept(model: Path, data: Path, tmp_path: Path) -> None:
    report = tune(model, data, tmp_path / "out", seeds=3, epochs=4.0)
    scores = report.scores
    assert [result.seed for result in report.results] == [1, 2, 3]
    assert scores[report.best] == max(scores)
    values = report.to_dict()
    assert values["mean"] == pytest.approx(sum(scores) / 3, abs=1e-6)
    assert values["interval"][0] <= values["mean"] <= values["interval"][1]
    assert judge_model(tmp_path / "out", data)["accuracy"] == pytest.approx(max(scores))


def test_the_random_twin_has_the_shape_and_none_of_the_weights(model: Path, data: Path, tmp_path: Path) -> None:
    tune(model, data, tmp_path / "twin", from_scratch=True, epochs=0.01, learning_rate=1e-9)
    tune(model, data, tmp_path / "tuned", epochs=0.01, learning_rate=1e-9)
    start, twin, tuned = (load_file(p / "model.safetensors") for p in (model, tmp_path / "twin", tmp_path / "tuned"))
    name = "albert.encoder.projection.weight"
    torch.testing.assert_close(tuned[name], start[name], atol=1e-6, rtol=0)
    assert twin[name].shape == start[name].shape
    assert not torch.allclose(twin[name], start[name], atol=1e-2)


def test_dropout_is_the_models_unless_it_is_given(tokenizer: Tokenizer, data: Path, tmp_path: Path) -> None:
    wet = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob", "embedding_dropout_prob"), 0.1)
    model, weights = small_model(tmp_path / "wet", tokenizer, **wet), []
    for dropout in (None, 0.1, 0.0):
        tune(model, data, tmp_path / f"{dropout}", dropout=dropout, epochs=4.0, probe=False)
        weights.append((tmp_path / f"{dropout}" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_fewer_rows(model: Path, data: Path, tmp_path: Path) -> None:
    report = tune(model, data, tmp_path / "out", train_rows=16, epochs=1.0)
    assert (report.train_rows, report.dev_rows) == (16, 32)


def test_pairs_many_classes_and_windows(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [
        {"first": row["text"] * (1 + 5 * (i == 0)), "second": row["text"][:20], "kind": i % 3, "other": i}
        for i, row in enumerate(ROWS)
    ]
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    columns = Columns("first", "second", "kind")
    settings = FinetuneSettings(epochs=1, batch_size=8)
    report = finetune(
        "classify", model=model, train=data, dev=data, out=tmp_path / "out", columns=columns, settings=settings
    )
    assert report.labels == ("0", "1", "2")
    assert report.columns == columns
    said = capsys.readouterr().err
    assert "note: training: 1 rows are longer than 64 tokens; each of their windows counts the same" in said
    assert "32 of 32 dev rows are training rows too" in said
    assert judge_model(tmp_path / "out", data)["rows"] == 32, "the columns are remembered"


def test_a_post_norm_model_opens_in_transformers(tokenizer: Tokenizer, data: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    start = small_model(tmp_path / "start", tokenizer, block="post_norm", position="absolute", pooling="first")
    tune(start, data, tmp_path / "out", epochs=2.0)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert theirs.config.id2label == {0: "bad", 1: "good"}
    text = ROWS[0]["text"]
    encoding = tokenizer.encode(text)
    with torch.no_grad():
        logits = theirs(input_ids=torch.tensor([encoding.ids])).logits
    scores = load(tmp_path / "out").predict(text)[0].to_dict()["scores"]
    assert logits.softmax(-1)[0].tolist() == pytest.approx(list(scores.values()), abs=1e-5)


def test_a_diverging_run_is_restarted_at_a_lower_rate(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=r"learning_rate = 1e\+30: training diverged, and at 3\.33e\+29 again"):
        tune(model, data, tmp_path / "out", learning_rate=1e30)
    assert "Starting again at 3.33e+29" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_collapsed_model_is_said_aloud_and_restarted(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A rate so low that nothing moves: the answer stays the one of the first step.
    rows = write_csv(tmp_path / "same.csv", [{"text": "a", "label": row["label"]} for row in ROWS])
    report = tune(model, rows, tmp_path / "out", learning_rate=1e-9, epochs=2.0)
    said = capsys.readouterr().err
    assert "collapse with seed 1 at learning rate 1e-09: the same answer for every dev row" in said
    assert "warning: the second attempt went wrong too" in said
    assert report.results[0].problem.startswith("the same answer for every dev row")
    assert "0.5" in said


def test_a_fit_that_gets_no_better_is_ended_early(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Dev labels that contradict what is learnt: the first looks are the best ones.
    other = {"good": "bad", "bad": "good"}
    dev = write_csv(tmp_path / "dev.csv", [row | {"label": other[row["label"]]} for row in ROWS])
    settings = {"dev": dev, "evaluate_every": 2.0, "learning_rate": 1e-3}
    report = tune(model, data, tmp_path / "out", patience=3, **settings)
    lines = (tmp_path / "out" / "training" / "metrics.jsonl").read_text().splitlines()
    assert report.results[0].stopped.startswith("no better result in 3 looks")
    assert len(lines) == 1 + 4, "the first look after training has begun, and three that are no better"
    assert report.results[0].epoch <= 2
    assert "ended early, the best state is kept (--set patience=0: go on)" in capsys.readouterr().err
    tune(model, data, tmp_path / "on", patience=0, **settings)
    assert len((tmp_path / "on" / "training" / "metrics.jsonl").read_text().splitlines()) == 11


def test_the_metric_must_be_one_of_the_task(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metric = 'pearson': classify with 2 label\(s\) has accuracy, macro_f1, f1"):
        tune(model, data, tmp_path / "out", metric="pearson")
    tune(model, data, tmp_path / "out", metric="matthews", epochs=1.0)
    assert json.loads((tmp_path / "out" / "training" / "report.json").read_text())["primary_metric"] == "matthews"


def test_imbalance_is_noted(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = write_csv(tmp_path / "rows.csv", [row for i, row in enumerate(ROWS) if row["label"] == "bad" or i < 4])
    tune(model, rows, tmp_path / "out", epochs=1.0)
    said = capsys.readouterr().err
    assert "the labels are imbalanced ('bad' 16 rows, 'good' 2): accuracy says little" in said
    assert "a row of 'good' counts 2.8 times one of 'bad' (--set class_weights=none: the same)" in said
    assert "the best checkpoint by macro_f1" in said
    tune(model, rows, tmp_path / "plain", epochs=1.0, class_weights="none", metric="accuracy")
    said = capsys.readouterr().err
    assert "all rows count the same" in said
    assert "the best checkpoint by accuracy" in said


def test_only_labels_of_texts_are_weighed(model: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"text": "a", "value": 1.0}, {"text": "b", "value": 2.0}])
    with pytest.raises(ConfigError, match=r"class_weights = 'inverse': .* not in regress; leave it out"):
        finetune(
            "regress",
            model=model,
            train=path,
            dev=path,
            out=tmp_path / "out",
            settings=FinetuneSettings(class_weights="inverse"),
        )


def test_a_folder_that_holds_something_is_left_alone(model: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        tune(model, data, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_full_disk_leaves_nothing(model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"full|No space left"):
        tune(model, data, tmp_path / "out", epochs=1.0)
    assert not list(tmp_path.iterdir())


def test_bad_rows_and_models_leave_nothing(model: Path, data: Path, tmp_path: Path) -> None:
    unseen = write_csv(tmp_path / "unseen.csv", [*ROWS, {"text": "x", "label": "so-so"}])
    alone = write_csv(tmp_path / "alone.csv", [row for row in ROWS if row["label"] == "bad"])
    broken = shutil.copytree(model, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    bare = shutil.copytree(model, tmp_path / "bare")
    for file in ("spiece.model", "tokenizer.json"):
        (bare / file).unlink()
    (tmp_path / "nothing").mkdir()
    before = sorted(p.name for p in tmp_path.iterdir())

    def refuses(kind: type[UserError], message: str, *, start: Path = model, **files: Path) -> None:
        given = {"train": data, "dev": data} | files
        with pytest.raises(kind, match=message) as caught:
            finetune("classify", model=start, out=tmp_path / "out", settings=FinetuneSettings(**FAST), **given)
        assert "\n" not in str(caught.value)
        assert sorted(p.name for p in tmp_path.iterdir()) == before

    refuses(InputError, r"unseen\.csv, line 34: the label 'so-so'", dev=unseen)
    refuses(InputError, "every label in 'label' is 'bad'", train=alone)
    refuses(InputError, "No such file", train=tmp_path / "gone.csv")
    refuses(ModelFolderError, "damaged or cut short", start=broken)
    refuses(ModelFolderError, "without a tokenizer", start=bare)
    refuses(ModelFolderError, "holds no model", start=tmp_path / "nothing")
    refuses(ModelFolderError, "is no folder", start=data)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size = 0: expected 1 or more"),
        ({"epochs": 0.0}, "epochs = 0: expected a number above 0"),
        ({"learning_rate": -1.0}, "learning_rate = -1"),
        ({"length": 3}, "length = 3: expected 8"),
        ({"seed": -1}, "seed = -1"),
        ({"warmup": 2.0}, "warmup = 2: expected a share"),
        ({"warmup": 1.0}, "warmup = 1: expected a share from 0 to below 1"),
        ({"clip": -1.0}, "clip = -1"),
    ],
)
def test_settings_are_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FinetuneSettings(**settings)


def test_a_length_that_the_model_cannot_read(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reads at most 64 tokens"):
        tune(model, data, tmp_path / "out", length=65)


def test_some_rows_of_sst2(model: Path, litebert_data: Path, tmp_path: Path) -> None:
    """Real GLUE files as they are: a header, no quoting, labels of digits."""
    folder = litebert_data / "glue" / "SST-2"
    settings = FinetuneSettings(train_rows=200, epochs=2, learning_rate=1e-3)
    report = finetune(
        "classify",
        model=model,
        train=folder / "test_labelled.tsv",
        dev=folder / "dev.tsv",
        out=tmp_path / "out",
        settings=settings,
    )
    assert (report.train_rows, report.dev_rows) == (200, 872)
    assert report.columns == ("sentence", None, "label")
    assert report.labels == ("0", "1")
