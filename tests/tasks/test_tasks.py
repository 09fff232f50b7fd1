"""Every task from rows to answers: it learns by heart, the saved model is the one that was measured, and transformers
computes the same logits from its folder."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import litebert
from litebert.cli import main
from litebert.data.labelled import Columns
from litebert.data.rows import read_rows
from litebert.errors import ConfigError
from litebert.infer.judging import judge_model
from litebert.infer.predictor import load, predict_file
from litebert.interop.huggingface import read_config, read_own
from litebert.tasks.table import TASKS, task_named, task_of
from litebert.text.tokenizer import Tokenizer
from tests.labelled import ROWS, write_jsonl
from tests.tasks.conftest import Tune
from tests.tasks.rows import choice_rows, multilabel_rows, ner_rows, regress_rows, squad, write_json

CASES: dict[str, tuple[str, float, dict[str, Any]]] = {
    "classify": ("accuracy", 0.9, {}),
    "multilabel": ("micro_f1", 0.8, {"epochs": 25.0}),
    "regress": ("pearson_spearman", 0.8, {"epochs": 25.0}),
    "ner": ("f1", 0.8, {"epochs": 25.0, "batch_size": 4}),
    "qa": ("best_f1", 80, {"epochs": 50.0, "batch_size": 4}),
    "choice": ("accuracy", 0.8, {"epochs": 40.0, "batch_size": 4}),
}
"""Of each task: its primary metric here, what is to be reached, and how."""

THEIRS = {
    "classify": "AlbertForSequenceClassification",
    "multilabel": "AlbertForSequenceClassification",
    "regress": "AlbertForSequenceClassification",
    "ner": "AlbertForTokenClassification",
    "qa": "AlbertForQuestionAnswering",
    "choice": "AlbertForMultipleChoice",
}


def write_rows_of(task: str, folder: Path) -> Path:
    if task == "qa":
        return write_json(folder / "qa.json", squad())
    rows: dict[str, list[Any]] = {
        "classify": ROWS,
        "multilabel": multilabel_rows(),
        "regress": regress_rows(),
        "ner": ner_rows(),
        "choice": choice_rows(),
    }
    return write_jsonl(folder / f"{task}.jsonl", rows[task])


@pytest.fixture(scope="module", params=CASES)
def tuned(
    request: pytest.FixtureRequest, tune: Tune, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Path]:
    """Name of the task, its rows, its model."""
    task: str = request.param
    folder = tmp_path_factory.mktemp(task)
    data = write_rows_of(task, folder)
    metric, enough, settings = CASES[task]
    report = tune(task, data, folder / "model", **settings)
    assert report.primary_metric == metric
    assert report.results[0].metrics[metric] >= enough, report.results[0]
    return task, data, folder / "model"


def test_a_task_from_rows_to_scores(tuned: tuple[str, Path, Path], tmp_path: Path) -> None:
    task, data, folder = tuned
    extra = read_own(folder)["extra"]
    assert extra["task"] == task
    measured = judge_model(folder, data)
    for name, value in extra["dev"].items():
        if task != "qa":  # there the threshold is found on the dev set, and then kept to
            assert measured[name] == pytest.approx(value, abs=1e-4, rel=1e-4), name
    primary = CASES[task][0]
    assert measured["f1" if task == "qa" else primary] == pytest.approx(extra["dev"][primary], abs=1e-4)
    count = predict_file(folder, data, tmp_path / "answers.jsonl")
    records = [row.fields for row in read_rows(tmp_path / "answers.jsonl")]
    assert count == len(records) == (12 if task == "qa" else measured["rows"])
    # What was written scores the same as what was measured.
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--predictions", str(tmp_path / "answers.jsonl"), "--gold", str(data)])
    assert stop.value.code == 0


def test_predictions_score_as_the_model_does(
    tuned: tuple[str, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, data, folder = tuned
    predict_file(folder, data, tmp_path / "answers.jsonl")
    with pytest.raises(SystemExit):
        main(["evaluate", "--predictions", str(tmp_path / "answers.jsonl"), "--gold", str(data)])
    scored = json.loads(capsys.readouterr().out.splitlines()[-1])
    measured = judge_model(folder, data)
    assert len(scored) > 1
    for name in scored:
        assert scored[name] == pytest.approx(measured[name], abs=1e-4, rel=1e-4), name


def test_python_gives_typed_answers(tuned: tuple[str, Path, Path], tmp_path: Path) -> None:
    task, data, folder = tuned
    predictor = litebert.load(folder)
    assert predictor.task == task
    rows = [fields for _, fields in TASKS[task].rows(data)]
    answers = predictor.predict(rows)
    predict_file(folder, data, tmp_path / "answers.jsonl")
    for row, answer, record in zip(rows, answers, read_rows(tmp_path / "answers.jsonl"), strict=True):
        assert all(record.fields[name] == value for name, value in json.loads(json.dumps(answer.to_dict())).items())
        alone = predictor.predict(row)[0]
        assert alone.to_dict().keys() == answer.to_dict().keys()
    assert predictor.predict([]) == []


def test_transformers_computes_the_same_logits(tuned: tuple[str, Path, Path], tokenizer: Tokenizer) -> None:
    transformers = pytest.importorskip("transformers")
    task, data, folder = tuned
    model, report = getattr(transformers, THEIRS[task]).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["mismatched_keys"]
    config = read_config(folder)
    assert model.config.architectures == [THEIRS[task]]
    assert model.config.problem_type == config.problem_type == TASKS[task].problem_type
    predictor = load(folder)
    rows = [fields for _, fields in TASKS[task].rows(data)][:3]
    encoded = predictor.encode([predictor.job.plain_input(row, "row", None) for row in rows])  # type: ignore[union-attr]
    outputs = predictor.outputs(encoded)
    for i in range(len(encoded.examples)):
        batch = encoded.examples.batch(np.array([i]))
        given = {
            "input_ids": torch.from_numpy(batch.input_ids)[None],
            "token_type_ids": torch.from_numpy(batch.token_type_ids)[None],
        }
        if task == "choice":
            given = {name: value[None] for name, value in given.items()}
        with torch.no_grad():
            theirs = model.eval()(**given)
        expected = torch.stack((theirs.start_logits, theirs.end_logits), -1) if task == "qa" else theirs.logits
        tokens = slice(encoded.examples.starts[i], encoded.examples.starts[i + 1])
        ours = outputs[tokens] if task in ("ner", "qa") else outputs[i]
        rough = 1e-2 if task == "regress" else 1e-4  # numbers about a thousand
        np.testing.assert_allclose(ours, expected[0].numpy().reshape(ours.shape), atol=rough)


def test_a_folder_of_transformers_answers(tuned: tuple[str, Path, Path], tmp_path: Path) -> None:
    """Saved by their class, with the tokenizer's files beside it: the same answers, and it can be learnt from."""
    transformers = pytest.importorskip("transformers")
    task, data, folder = tuned
    getattr(transformers, THEIRS[task]).from_pretrained(folder).save_pretrained(tmp_path / "theirs")
    for name in ("spiece.model", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path / "theirs" / name)
    theirs, ours = load(tmp_path / "theirs"), load(folder)
    assert theirs.task == task
    assert theirs.labels == ours.labels
    rows = [fields for _, fields in TASKS[task].rows(data)]
    inputs = [TASKS[task].plain_input(row, "row", None) for row in rows]
    np.testing.assert_allclose(theirs.outputs(theirs.encode(inputs)), ours.outputs(ours.encode(inputs)), rtol=1e-5)


def test_one_answer_for_everything_is_a_collapse(tuned: tuple[str, Path, Path]) -> None:
    name, data, folder = tuned
    predictor, task = load(folder), TASKS[name]
    rows = task.read(data, Columns())
    encoded = predictor.encode(rows.inputs)
    gold = task.gold(rows, encoded, predictor.labels)
    assert task.varied(gold)
    outputs = predictor.outputs(encoded)
    assert not task.collapsed(task.judge(encoded, gold, outputs, predictor.labels, predictor.decision))
    nothing = np.zeros_like(outputs)
    if name == "ner":
        nothing[:, 0] = 1  # O everywhere
    if name == "qa":
        nothing[encoded.examples.starts[:-1]] = 9  # no answer anywhere
    for decision in (predictor.decision, {}):  # nothing is decided while training goes on
        assert task.collapsed(task.judge(encoded, gold, nothing, predictor.labels, decision))


def test_windows_are_those_of_the_training(tune: Tune, tmp_path: Path) -> None:
    tune("qa", write_rows_of("qa", tmp_path), tmp_path / "out", epochs=1.0, length=32, stride=10)
    assert load(tmp_path / "out").windowing == (32, 10)
    with pytest.raises(ConfigError, match="stride = 0: expected 1 token or more"):
        tune("qa", tmp_path / "qa.json", tmp_path / "other", stride=0)


def test_a_folder_tells_its_task_without_our_record(tuned: tuple[str, Path, Path]) -> None:
    task, _, folder = tuned
    found = task_of(load(folder).model, {})
    assert found is TASKS[task]


def test_what_tasks_say_of_their_answers() -> None:
    """What can be calibrated, left unanswered, and read in other words."""
    assert {name for name, task in TASKS.items() if task.decides} == {"classify", "multilabel", "ner", "choice", "qa"}
    answers = {name: task.answer_field for name, task in TASKS.items() if task.answer_field}
    assert answers == {"classify": "label", "choice": "choice", "qa": "answer"}
    assert {name for name, task in TASKS.items() if task.places} == {"ner", "qa"}


def test_the_table_is_the_list_of_tasks() -> None:
    assert list(TASKS) == [*CASES, "embed"]  # which has no answers to score, and a file of tests of its own
    for name, task in TASKS.items():
        assert task.name == name
        assert task_named(name) is task
    with pytest.raises(ConfigError, match="task 'translate' is unknown; use one of classify, multilabel, regress, ner"):
        task_named("translate")


@pytest.mark.parametrize("task", ["ner", "qa", "choice"])
def test_equal_seeds_are_equal_bytes(task: str, tune: Tune, tmp_path: Path) -> None:
    data = write_rows_of(task, tmp_path)
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        tune(task, data, tmp_path / name, seed=seed, epochs=1.0, length=24, max_tokens=100)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_fewer_rows_of_choices_are_whole_rows(tune: Tune, tmp_path: Path) -> None:
    report = tune("choice", write_rows_of("choice", tmp_path), tmp_path / "out", train_rows=7, epochs=1.0)
    assert report.train_rows == 7
    lines = (tmp_path / "out" / "training" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 1, "seven rows, however many choices, are one step of eight"


def test_ids_that_repeat_are_counted_in_every_task(tmp_path: Path) -> None:
    rows = [{"id": key, "text": "fine", "label": "yes"} for key in ("a", "b", "a", "a")]
    (note,) = TASKS["classify"].read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns()).notes
    assert note.startswith("2 ids are those of rows before them: ")
    assert "line 3, 'a'" in note
