"""Fine-tuning with a teacher: its answers are learnt, by the names of the labels, with any tokenizer."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from litebert import config
from litebert.cli import main
from litebert.data.labelled import Columns
from litebert.errors import ConfigError, InputError, ModelFolderError
from litebert.infer.judging import judge_model
from litebert.infer.predictor import load
from litebert.interop.huggingface import load_model, save_model
from litebert.tasks.table import TASKS
from litebert.tasks.task import Windowing
from litebert.tasks.texts import TextInput
from litebert.text.tokenizer import Tokenizer, load_tokenizer
from litebert.train.finetune import finetune
from litebert.train.job import FinetuneSettings, prepare_job
from litebert.train.results import FinetuneReport
from litebert.train.teacher import Teacher
from tests.interop.test_family import make
from tests.labelled import ROWS, small_model, write_csv
from tests.tasks.test_tasks import CASES, write_rows_of
from tests.tokenizers import write_tokenizer

FAST: dict[str, Any] = {"epochs": 20.0, "batch_size": 8, "learning_rate": 4e-3, "precision": "fp32"}


def tune(task: str, model: Path, data: Path, out: Path, dev: Path | None = None, **changes: Any) -> FinetuneReport:
    settings = FinetuneSettings(**FAST | {k: str(v) if isinstance(v, Path) else v for k, v in changes.items()})
    return finetune(task, model=model, train=data, dev=dev or data, out=out, settings=settings)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("data") / "opinions.csv", ROWS)


@pytest.fixture(scope="module")
def teacher(data: Path, prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT that transformers made, with pieces of its own, fine-tuned by litebert on the right labels."""
    transformers = pytest.importorskip("transformers", reason="the peers extra is not installed")
    folder = tmp_path_factory.mktemp("teacher")
    write_tokenizer("wordpiece", [*prose[:20], *(row["text"] for row in ROWS)], folder / "bert", pieces=900)
    pieces = load_tokenizer(folder / "bert").vocab_size
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        bert = transformers.BertModel(
            transformers.BertConfig(vocab_size=pieces, max_position_embeddings=40, initializer_range=0.2, **shape)
        )
    bert.save_pretrained(folder / "bert")
    report = tune("classify", folder / "bert", data, folder / "teacher", epochs=40.0)  # whatever the pieces came to
    assert report.results[0].metrics["accuracy"] == 1.0
    return folder / "teacher"


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The opinions, with a label that says nothing; the first one of each of them stands for both."""
    rows = [row | {"label": "good" if i % 4 < 2 else "bad"} for i, row in enumerate(ROWS)]
    return write_csv(tmp_path_factory.mktemp("wrong") / "wrong.csv", rows)


def test_a_teachers_answers_are_learnt_against_the_labels(
    model: Path, teacher: Path, data: Path, wrong: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tune("classify", model, wrong, tmp_path / "alone", dev=data)
    assert alone.results[0].metrics["accuracy"] < 0.8
    assert alone.teacher is None
    report = tune("classify", model, wrong, tmp_path / "taught", dev=data, teacher=teacher, teacher_weight=1.0)
    assert report.results[0].metrics["accuracy"] > 0.9
    assert report.teacher is not None
    measured = judge_model(teacher, data)
    assert report.teacher == pytest.approx({name: measured[name] for name in report.teacher})
    assert report.to_dict()["teacher"]["accuracy"] == 1.0
    assert "the teacher on the dev rows: accuracy 1.0000" in capsys.readouterr().err
    resolved = config.read_toml(tmp_path / "taught" / "training" / "config.toml")
    assert (resolved["teacher"], resolved["teacher_weight"], resolved["temperature"]) == (str(teacher), 1.0, 2.0)


def test_equal_seeds_are_equal_bytes_and_no_weight_is_no_teacher(
    model: Path, teacher: Path, data: Path, tmp_path: Path
) -> None:
    runs = {"a": {"teacher": teacher}, "b": {"teacher": teacher}, "c": {"teacher": teacher, "teacher_weight": 0.0}}
    for name, changes in (runs | {"d": {}}).items():
        tune("classify", model, data, tmp_path / name, epochs=2.0, **changes)
    a, b, c, d = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abcd")
    assert a == b != c
    assert c == d


def test_labels_are_matched_by_name(model: Path, teacher: Path, data: Path, wrong: Path, tmp_path: Path) -> None:
    """The same teacher with its outputs the other way round, and named so, teaches the same."""
    turned = load_model(teacher)
    classifier = turned.heads["classify"].classifier
    with torch.no_grad():
        for parameter in (classifier.weight, classifier.bias):
            parameter.copy_(parameter.flip(0))
    turned.config = type(turned.config).from_dict(turned.config.to_dict() | {"labels": ["good", "bad"]})
    save_model(turned, tmp_path / "turned", load_tokenizer(teacher))
    tune("classify", model, wrong, tmp_path / "one", dev=data, teacher=teacher, epochs=2.0)
    tune("classify", model, wrong, tmp_path / "other", dev=data, teacher=tmp_path / "turned", epochs=2.0)
    one, other = (load(tmp_path / name).predict(ROWS[0]["text"])[0].to_dict() for name in ("one", "other"))
    assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)


def test_only_the_rows_that_are_trained_on_are_asked(
    model: Path, teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from litebert.train import teacher as module

    asked = []
    answer = module.Teacher._answer
    monkeypatch.setattr(
        module.Teacher, "_answer", lambda self, inputs: asked.append(len(inputs)) or answer(self, inputs)
    )
    tune("classify", model, data, tmp_path / "out", teacher=teacher, train_rows=5, seeds=2, epochs=1.0)
    assert len(asked) == 2, "the training rows and the dev rows, once each, however many seeds"
    assert 5 < asked[0] <= 10
    assert asked[1] == len(ROWS)


def test_rows_without_labels_are_labelled_by_the_teacher(
    model: Path, teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = write_csv(tmp_path / "few.csv", ROWS[:4])
    rest = write_csv(tmp_path / "rest.csv", [{"text": row["text"]} for row in ROWS[4:]])
    alone = tune("classify", model, few, tmp_path / "alone", dev=data, epochs=60.0)
    assert alone.results[0].metrics["accuracy"] < 0.9
    report = tune("classify", model, few, tmp_path / "out", dev=data, teacher=teacher, unlabelled=rest)
    assert report.train_rows == len(ROWS)
    assert report.results[0].metrics["accuracy"] > 0.9
    assert f"28 of the rows are those of {rest}, labelled by the teacher" in capsys.readouterr().err
    resolved = config.read_toml(tmp_path / "out" / "training" / "config.toml")
    assert resolved["unlabelled"] == str(rest)


def test_rows_without_labels_that_cannot_be_used(model: Path, teacher: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unlabelled rows need somebody to label them: give --teacher DIR"):
        FinetuneSettings(unlabelled=str(data))
    with pytest.raises(ConfigError, match="train_rows and unlabelled contradict each other"):
        FinetuneSettings(unlabelled=str(data), teacher=str(teacher), train_rows=5)
    given, out = {"teacher": teacher}, tmp_path / "out"
    refused(InputError, "No such file", "classify", model, data, out, unlabelled=tmp_path / "gone.csv", **given)
    other = write_csv(tmp_path / "other.csv", [{"body": "words"}])
    refused(InputError, "has no column 'text'", "classify", model, data, out, unlabelled=other, **given)
    (tmp_path / "none.csv").write_text("text\n")
    refused(InputError, "has no rows", "classify", model, data, out, unlabelled=tmp_path / "none.csv", **given)


@pytest.mark.parametrize("task", [name for name in CASES if name != "classify"])
def test_every_task_has_a_teacher(task: str, model: Path, tmp_path: Path) -> None:
    data = write_rows_of(task, tmp_path)
    tune(task, model, data, tmp_path / "teacher", epochs=10.0)
    alone = {"teacher": tmp_path / "teacher", "teacher_weight": 1.0, "epochs": 10.0, "probe": False}
    report = tune(task, model, data, tmp_path / "out", **alone)
    # Its answers are rows to learn from, too: as right as it is.
    known = TASKS[task]
    rows = known.read(data, Columns())
    settings = FinetuneSettings(teacher=str(tmp_path / "teacher"), unlabelled=str(data))
    job = prepare_job(known, model=model, train=rows, dev=rows, settings=settings)
    assert len(job.train.rows) == 2 * len(rows)
    assert job.train.rows.targets[: len(rows)] == rows.targets
    answers = load(tmp_path / "teacher").predict([fields for _, fields in known.rows(data)])
    assert job.train.rows.targets[len(rows) :] == [known.target_of(answer) for answer in answers]
    assert len(job.lesson.items) >= 2 * len(rows)
    measured = judge_model(tmp_path / "teacher", data)
    if task != "qa":  # whose threshold is decided later
        assert report.teacher is not None
        assert report.teacher["loss"] == pytest.approx(measured["loss"], rel=1e-4)
    # Who learns from the teacher alone comes near to its answers: the lesson's loss falls to a fraction.
    lines = [json.loads(line) for line in (tmp_path / "out" / "training" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]


def refused(kind: type[Exception], words: str, *arguments: Any, **changes: Any) -> None:
    with pytest.raises(kind, match=words) as caught:
        tune(*arguments, **changes)
    assert "\n" not in str(caught.value)
    assert not arguments[3].exists()


def test_teachers_that_cannot_teach(model: Path, teacher: Path, data: Path, tmp_path: Path) -> None:
    out, others = tmp_path / "out", write_csv(tmp_path / "others.csv", [r | {"label": r["label"] + "!"} for r in ROWS])
    refused(ConfigError, "knows the labels 'bad', 'good', the rows have 'bad!', 'good!': give", "classify", model,
            others, out, teacher=teacher)  # fmt: skip
    refused(ModelFolderError, "has no head of any task, and it is to teach classify|is a model for", "classify", model,
            data, out, teacher=model)  # fmt: skip
    refused(ModelFolderError, "is a model for classify, and it is to teach regress: fine-tune it first", "regress",
            model, write_rows_of("regress", tmp_path), out, teacher=teacher)  # fmt: skip
    refused(ModelFolderError, "is no folder", "classify", model, data, out, teacher=tmp_path / "nowhere")
    tune("qa", model, questions := write_rows_of("qa", tmp_path), tmp_path / "long", epochs=0.1)
    bert = Path(str(teacher)).parent / "bert"
    tune("qa", bert, questions, tmp_path / "pieces", epochs=0.1)
    refused(ConfigError, "has another tokenizer than the model", "qa", model, questions, out,
            teacher=tmp_path / "pieces")  # fmt: skip


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra", "roberta", "mpnet"])
def test_a_folder_of_transformers_teaches_by_its_own_logits(
    kind: str, model: Path, tokenizer: Tokenizer, data: Path, teacher: Path, tmp_path: Path
) -> None:
    """Nothing of ours is in the folder; what is compared are their logits, by the names in their config."""
    names = {"id2label": {0: "good", 1: "bad"}, "label2id": {"good": 0, "bad": 1}, "num_labels": 2}
    bert = Path(str(teacher)).parent / "bert"
    theirs_tokenizer = load_tokenizer(bert)
    fields = {"vocab_size": theirs_tokenizer.vocab_size, "max_position_embeddings": 66, "pad_token_id": 1}
    theirs = make(kind, "ForSequenceClassification", tmp_path / kind, **names, **fields)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(bert / name, tmp_path / kind)
    given = Teacher(
        tmp_path / kind, TASKS["classify"], ("bad", "good"), torch.device("cpu"), student=tokenizer,
        windowing=Windowing(64),
    )  # fmt: skip
    inputs = [TextInput(row["text"]) for row in ROWS[:6]]
    opinions = given.opinions(inputs, np.array([0, 2, 5]))
    assert [said is None for said in opinions] == [False, True, False, True, True, False]
    for row in (0, 2, 5):
        ids = theirs_tokenizer.encode(ROWS[row]["text"]).ids
        with torch.no_grad():
            expected = theirs(input_ids=torch.tensor([ids])).logits[0].flip(0)
        np.testing.assert_allclose(opinions[row], expected.numpy(), atol=1e-4)


def test_a_teacher_for_questions_reads_the_students_windows(model: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    short = small_model(tmp_path / "short", tokenizer, max_position_embeddings=40, position="absolute")
    questions = write_rows_of("qa", tmp_path)
    tune("qa", short, questions, tmp_path / "teacher", epochs=0.1)
    refused(ConfigError, "reads at most 40 tokens, the model 64: give --length 40", "qa", model, questions,
            tmp_path / "out", teacher=tmp_path / "teacher")  # fmt: skip
    tune("qa", model, questions, tmp_path / "out", teacher=tmp_path / "teacher", length=40, epochs=0.1)


def test_a_classifier_of_unknown_kind_may_teach(model: Path, teacher: Path, data: Path, tmp_path: Path) -> None:
    """transformers' folders often do not say what kind of target they are for; labels are compared all the same."""
    bare = load_model(teacher)
    bare.config = type(bare.config).from_dict(bare.config.to_dict() | {"problem_type": None})
    save_model(bare, tmp_path / "bare", load_tokenizer(teacher))
    task = TASKS["multilabel"]
    rows = task.read(data, Columns())
    settings = FinetuneSettings(teacher=str(tmp_path / "bare"))
    job = prepare_job(task, model=model, train=rows, dev=rows, settings=settings)
    assert job.teacher is not None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher_weight": 1.5}, r"teacher_weight = 1\.5: expected a share between 0 and 1"),
        ({"temperature": 0.0}, "temperature = 0: expected a number above 0"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FinetuneSettings(**settings)


def test_the_command(
    model: Path, teacher: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["finetune", "classify", "--model", model, "--train", data, "--dev", data, "--epochs", "1", "--json"]
    for given, code in ((teacher, 0), (tmp_path / "nowhere", 2)):
        with pytest.raises(SystemExit) as stop:
            main([*map(str, common), "--out", str(tmp_path / f"out{code}"), "--teacher", str(given)])
        assert (stop.value.code or 0) == code
        captured = capsys.readouterr()
        if code:
            assert captured.err.strip().splitlines()[-1].startswith("litebert: ")
            assert not (tmp_path / "out2").exists()
        else:
            assert json.loads(captured.out)["teacher"]["accuracy"] == 1.0
