"""Fine-tuned models whose dev rows contradict them: they become less sure, everywhere in the same way."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from litebert.data.rows import read_rows
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.infer.judging import judge_model
from litebert.infer.predictor import load, predict_file
from litebert.interop.huggingface import read_own
from litebert.text.tokenizer import load_tokenizer
from litebert.train.finetune import FinetuneSettings, finetune
from litebert.train.results import FinetuneReport
from tests.labelled import ROWS, small_model, write_jsonl
from tests.tasks.rows import choice_rows, multilabel_rows, ner_rows

Learn = Callable[..., FinetuneReport]

EPOCHS = {"classify": 12.0, "multilabel": 45.0, "ner": 15.0, "choice": 20.0}


def contradicted(task: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows to learn by heart, and 120 others, every third of which says that this was wrong."""
    if task == "classify":
        train: list[dict[str, Any]] = [dict(row) for row in ROWS]
        wrong = [row | {"label": {"good": "bad", "bad": "good"}[row["label"]]} for row in train]
    elif task == "multilabel":
        train = multilabel_rows()
        wrong = [row | {"labels": ["glad" if "cross" in row["labels"] else "cross"]} for row in train]
    elif task == "ner":
        train = ner_rows()
        other = {"person": "place", "place": "person"}
        wrong = [row | {"entities": [s | {"label": other[s["label"]]} for s in row["entities"]]} for row in train]
    else:
        train = choice_rows()
        wrong = [row | {"label": (row["label"] + 1) % len(row["choices"])} for row in train]
    field = "context" if task == "choice" else "text"
    sides = (train, wrong)
    dev = [sides[i % 3 == 0][i % len(train)] for i in range(120)]
    return train, [row | {field: f"{row[field]} {i}"} for i, row in enumerate(dev)]


@pytest.fixture(scope="module")
def learn(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Learn:
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    start = tmp_path_factory.mktemp("start") / "model"
    small_model(start, tokenizer, block="post_norm", position="absolute", pooling="first")

    def run(task: str, out: Path, dev_rows: int = 120) -> FinetuneReport:
        train, dev = contradicted(task)
        # One look at the dev rows, at the end: there is no better state to choose.
        settings = FinetuneSettings(
            epochs=EPOCHS[task], evaluate_every=99, batch_size=8, learning_rate=4e-3, precision="fp32"
        )
        return finetune(
            task,
            model=start,
            train=write_jsonl(out.with_suffix(".train.jsonl"), train),
            dev=write_jsonl(out.with_suffix(".dev.jsonl"), dev[:dev_rows]),
            out=out,
            settings=settings,
        )

    return run


@pytest.fixture(scope="module")
def classifier(learn: Learn, tmp_path_factory: pytest.TempPathFactory) -> FinetuneReport:
    return learn("classify", tmp_path_factory.mktemp("classify") / "out")


@pytest.mark.parametrize("task", EPOCHS)
def test_a_model_that_is_too_sure_becomes_less_so(
    learn: Learn, classifier: FinetuneReport, task: str, tmp_path: Path
) -> None:
    report = classifier if task == "classify" else learn(task, tmp_path / "out")
    folder = report.model
    found = report.calibration
    assert found is not None
    assert not found.unchanged, found
    assert found.rows == 120
    assert found.temperature > 1.2
    assert found.ece_after < found.ece_before
    assert found.loss_after < found.loss_before
    written = json.loads((folder / "training" / "report.json").read_text())["calibration"]
    assert written == read_own(folder)["extra"]["calibration"]
    assert written["temperature"] == float(f"{found.temperature:.6g}")
    # The model in the folder is the one whose metrics are told.
    measured = judge_model(folder, folder.with_suffix(".dev.jsonl"))
    for name, value in report.results[0].metrics.items():
        assert measured[name] == pytest.approx(value, abs=1e-5), name
    lines = (folder / "training" / "metrics.jsonl").read_text().splitlines()
    before = json.loads(lines[-1])["metrics"]  # at temperature 1
    assert measured["loss"] < before["loss"]
    assert measured[report.primary_metric] == pytest.approx(before[report.primary_metric], abs=1e-6)
    # Fitted on all rows, the error is near the one that was promised.
    assert measured["ece"] == pytest.approx(found.ece_after, abs=0.05)


def test_what_is_written_is_calibrated_and_transformers_agrees(classifier: FinetuneReport, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = classifier.model
    predictor = load(folder)
    texts = [row["text"] for row in ROWS[:4]]
    encoded = predictor.encode([predictor.job.plain_input(text, "row", None) for text in texts])  # type: ignore[union-attr]
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    predict_file(folder, folder.with_suffix(".dev.jsonl"), tmp_path / "answers.jsonl")
    written = [row.fields for row in read_rows(tmp_path / "answers.jsonl")]
    right = np.mean([row["label"] == row["input_label"] for row in written])
    assert np.mean([row["score"] for row in written]) == pytest.approx(right, abs=0.05), "sure as often as right"
    for i, answer in enumerate(predictor.predict(texts)):
        batch = encoded.examples.batch(np.array([i]))
        with torch.no_grad():
            logits = theirs(
                input_ids=torch.from_numpy(batch.input_ids)[None],
                token_type_ids=torch.from_numpy(batch.token_type_ids)[None],
            ).logits
        expected = torch.softmax(logits, -1)[0].tolist()
        assert list(answer.scores.values()) == pytest.approx(expected, abs=1e-5)  # type: ignore[attr-defined]


def test_few_dev_rows_change_nothing(
    learn: Learn, classifier: FinetuneReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many, few = classifier, learn("classify", tmp_path / "few", dev_rows=60)
    assert few.calibration is not None
    assert few.calibration.temperature == 1
    assert "probabilities are left as they are: a temperature needs 100 dev rows" in capsys.readouterr().err
    # The head's weights are those of the other model times its temperature.
    ours, theirs = (load_file(report.model / "model.safetensors") for report in (few, many))
    assert many.calibration is not None
    same = [name for name in ours if torch.equal(ours[name], theirs[name])]
    changed = set(ours) - set(same)
    assert changed == {"classifier.weight", "classifier.bias"}
    for name in changed:
        torch.testing.assert_close(theirs[name] * many.calibration.temperature, ours[name])


def test_rows_of_the_training_do_not_count(classifier: FinetuneReport, tmp_path: Path) -> None:
    """Of them a model is as sure as it can be, which says nothing of other rows."""
    train = [{"text": f"{row['text']} {i}", "label": row["label"]} for i in range(4) for row in ROWS]
    data = write_jsonl(tmp_path / "rows.jsonl", train)
    settings = FinetuneSettings(epochs=0.1, precision="fp32")
    report = finetune("classify", model=classifier.model, train=data, dev=data, out=tmp_path / "out", settings=settings)
    assert report.calibration is not None
    assert report.calibration.rows == 0
    assert report.calibration.unchanged


def test_numbers_have_no_temperature(classifier: FinetuneReport, tmp_path: Path) -> None:
    rows = [{"text": row["text"], "value": float(i)} for i, row in enumerate(ROWS)]
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    settings = FinetuneSettings(epochs=0.5, precision="fp32")
    report = finetune("regress", model=classifier.model, train=data, dev=data, out=tmp_path / "out", settings=settings)
    assert report.calibration is None
    assert "calibration" not in read_own(tmp_path / "out")["extra"]
