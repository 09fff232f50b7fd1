"""What is asked of a model beside its metrics: abstention, rows of no label, labels of other names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litebert.cli import main
from litebert.data.questions import Given
from litebert.data.rows import read_rows
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.evaluate.entities import Chunk
from litebert.infer.judging import Questions, judge_model, named_labels, table
from litebert.infer.predictor import load
from litebert.tasks.choice import Choices
from litebert.tasks.ner import Ner
from litebert.tasks.qa import Question, QuestionAnswering, Target
from litebert.tasks.texts import TextInput
from litebert.text.perturb import PERTURBATIONS, perturb, perturb_all
from litebert.text.tokenizer import load_tokenizer
from tests.labelled import ROWS, small_model, write_csv, write_jsonl
from tests.tasks.rows import choice_rows, ner_rows, squad, write_json

Run = Callable[..., tuple[int, str, str]]

LABELS = ("bad", "good", "so-so")


@pytest.fixture
def litebert(capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code, stdout, and the last line of stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, (captured.err.strip().splitlines() or [""])[-1]

    return run


@pytest.fixture(scope="module")
def models(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Heads of random weights, one of them without a task."""
    tokenizer, folder = load_tokenizer(prepared / TOKENIZER_FOLDER), tmp_path_factory.mktemp("models")
    tags = ("O", "B-person", "I-person", "B-place", "I-place")
    made = {
        "classify": (("classify",), {"labels": LABELS, "problem_type": "single_label_classification"}),
        "multilabel": (("classify",), {"labels": LABELS, "problem_type": "multi_label_classification"}),
        "choice": (("choice",), {"labels": ("score",)}),
        "regress": (("classify",), {"labels": ("value",), "problem_type": "regression"}),
        "ner": (("ner",), {"labels": tags}),
        "qa": (("qa",), {"labels": ("start", "end")}),
        "fill-mask": (("masked_lm",), {}),
    }
    return {name: small_model(folder / name, tokenizer, heads, **more) for name, (heads, more) in made.items()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "rows.csv", ROWS)


# --- abstention ---


def test_rows_without_an_answer(litebert: Run, models: dict[str, Path], data: Path, tmp_path: Path) -> None:
    scores = [answer.score for answer in load(models["classify"]).predict([row["text"] for row in ROWS])]  # type: ignore[attr-defined]
    threshold = float(np.median(scores)) + 1e-4
    out = tmp_path / "answers.jsonl"
    code, _, last = litebert("predict", data, "--model", models["classify"], "--abstain-below", threshold, "--out", out)
    assert code == 0
    records = [row.fields for row in read_rows(out)]
    assert len(records) == len(ROWS), "no row is dropped"
    for record, score in zip(records, scores, strict=True):
        assert record["abstained"] is (score < threshold)
        assert record["score"] == max(record["scores"].values()) == pytest.approx(score, abs=1e-6)
        assert record["label"] == (
            None if record["abstained"] else max(record["scores"], key=record["scores"].__getitem__)
        )
    abstained = sum(record["abstained"] for record in records)
    assert 0 < abstained < len(ROWS)
    assert last.startswith(f"note: {abstained} of 32 rows are left without an answer")
    code, _, last = litebert("evaluate", "--predictions", out, "--gold", data)
    assert (code, "abstained, so there is no answer to score" in last) == (2, True)
    # evaluate says the same of the same rows.
    code, stdout, _ = litebert("evaluate", "--model", models["classify"], "--data", data, "--abstain-below", threshold)
    assert code == 0
    metrics = json.loads(stdout.splitlines()[-1])
    assert metrics["abstained"] == abstained
    assert metrics["coverage"] == pytest.approx(1 - abstained / 32)
    answered = [record for record in records if not record["abstained"]]
    right = np.mean([record["label"] == record["input_label"] for record in answered])
    assert metrics["selective_accuracy"] == pytest.approx(right)
    assert metrics["aurc_best"] <= metrics["aurc"] <= 1
    assert metrics["accuracy"] == judge_model(models["classify"], data)["accuracy"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_say_it_too(litebert: Run, models: dict[str, Path], tmp_path: Path, kind: str) -> None:
    rows = write_jsonl(tmp_path / "choices.jsonl", choice_rows())
    out = tmp_path / f"answers.{kind}"
    assert litebert("predict", rows, "--model", models["choice"], "--abstain-below", 0.5, "--out", out)[0] == 0
    records = [row.fields for row in read_rows(out)]
    abstained = [str(record["abstained"]).lower() == "true" for record in records]
    assert 0 < sum(abstained) < len(records)
    assert [record["choice"] in (None, "") for record in records] == abstained
    code, stdout, _ = litebert("evaluate", "--model", models["choice"], "--data", rows, "--abstain-below", 0.5)
    assert code == 0
    assert json.loads(stdout.splitlines()[-1])["abstained"] == sum(abstained)


def test_questions_are_left_without_an_answer(litebert: Run, models: dict[str, Path], tmp_path: Path) -> None:
    rows, out = write_json(tmp_path / "questions.json", squad()), tmp_path / "answers.jsonl"
    assert litebert("predict", rows, "--model", models["qa"], "--out", out)[0] == 0
    whole = [row.fields for row in read_rows(out)]
    threshold = float(np.median([row["score"] for row in whole])) + 1e-6
    assert litebert("predict", rows, "--model", models["qa"], "--abstain-below", threshold, "--out", out)[0] == 0
    records = [row.fields for row in read_rows(out)]
    assert [record["abstained"] for record in records] == [row["score"] < threshold for row in whole]
    assert 0 < sum(record["abstained"] for record in records) < len(records)
    for record, row in zip(records, whole, strict=True):
        for name in ("answer", "start", "end"):
            assert record[name] == (None if record["abstained"] else row[name])
    code, stdout, _ = litebert("evaluate", "--model", models["qa"], "--data", rows, "--abstain-below", threshold)
    assert code == 0
    metrics = json.loads(stdout.splitlines()[-1])
    assert metrics["abstained"] == sum(record["abstained"] for record in records)
    assert metrics["coverage"] == pytest.approx(1 - metrics["abstained"] / len(records))


def test_without_the_option_nothing_is_added(litebert: Run, models: dict[str, Path], data: Path) -> None:
    _, stdout, _ = litebert("predict", data, "--model", models["classify"])
    assert "abstained" not in json.loads(stdout.splitlines()[0])
    _, stdout, _ = litebert("evaluate", "--model", models["classify"], "--data", data)
    metrics = json.loads(stdout.splitlines()[-1])
    assert 0 <= metrics["ece"] <= 1
    assert not {"coverage", "aurc", "out_of_scope", "perturbed"} & set(metrics)


@pytest.mark.parametrize("value", ["0", "1", "-0.5", "1.5", "nan"])
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_no_probability(
    litebert: Run, models: dict[str, Path], data: Path, tmp_path: Path, command: str, value: str
) -> None:
    rows = [data, "--out", tmp_path / "out.csv"] if command == "predict" else ["--data", data]
    code, _, last = litebert(command, *rows, "--model", models["classify"], f"--abstain-below={value}")
    assert code == 2
    assert last.startswith("litebert: --abstain-below")
    assert "between 0 and 1" in last
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("task", ["multilabel", "ner", "fill-mask"])
def test_tasks_that_cannot_abstain(
    litebert: Run, models: dict[str, Path], data: Path, tmp_path: Path, task: str
) -> None:
    out = tmp_path / "out.jsonl"
    code, _, last = litebert("predict", data, "--model", models[task], "--abstain-below", 0.5, "--out", out)
    assert code == 2
    assert f"{task} does not give one answer of several with a probability, classify, qa, choice do" in last
    assert not out.exists()
    if task == "ner":
        rows = write_jsonl(tmp_path / "ner.jsonl", ner_rows())
        code, _, last = litebert("evaluate", "--model", models[task], "--data", rows, "--abstain-below", 0.5)
        assert (code, "ner does not" in last) == (2, True)


# --- rows that have no label ---


def test_rows_of_no_label(litebert: Run, models: dict[str, Path], data: Path, tmp_path: Path) -> None:
    outside = write_jsonl(tmp_path / "outside.jsonl", [{"text": f"{i} apples", "label": "none"} for i in range(9)])
    dev = write_csv(tmp_path / "dev.csv", ROWS[:20])
    ask = ["evaluate", "--model", models["classify"], "--data", data, "--out-of-scope", outside]
    code, stdout, _ = litebert(*ask)
    assert code == 0
    found = json.loads(stdout.splitlines()[-1])["out_of_scope"]
    assert found["rows"] == 9
    assert set(found["energy"]) == {"auroc", "aupr_known", "aupr_unknown", "fpr_at_95_tpr"}
    # The area by its definition, from the answers themselves.
    known, unknown = (
        [answer.score for answer in load(models["classify"]).predict(texts)]  # type: ignore[attr-defined]
        for texts in ([row["text"] for row in ROWS], [f"{i} apples" for i in range(9)])
    )
    pairs = [(one > other) + 0.5 * (one == other) for one in known for other in unknown]
    assert found["max_probability"]["auroc"] == pytest.approx(np.mean(pairs), abs=1e-6)
    code, stdout, _ = litebert(*ask, "--dev", dev, "--dev-out-of-scope", outside)
    assert code == 0
    with_threshold = json.loads(stdout.splitlines()[-1])["out_of_scope"]
    for measure in ("max_probability", "energy"):
        for name in ("recall", "precision", "known_accuracy", "balanced_accuracy"):
            assert 0 <= with_threshold[measure][name] <= 1
        assert with_threshold[measure]["auroc"] == found[measure]["auroc"]
    few = write_csv(tmp_path / "few.csv", [{"text": "11 apples", "label": ROWS[0]["label"]}] * 9)
    _, stdout, _ = litebert(*ask, "--dev", few, "--dev-out-of-scope", outside)
    other = json.loads(stdout.splitlines()[-1])["out_of_scope"]["max_probability"]["threshold"]
    threshold = with_threshold["max_probability"]["threshold"]
    assert other != threshold, "it is chosen on the dev rows"
    assert with_threshold["max_probability"]["recall"] == pytest.approx(np.mean(np.array(unknown) < threshold))


def test_clinc150(litebert: Run, litebert_data: Path, prepared: Path, tmp_path: Path) -> None:
    """Ten intents taught in seconds; questions of no intent are told from them better than by chance."""
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    start = small_model(tmp_path / "start", tokenizer)
    intents = sorted(set((litebert_data / "clinc150" / "train" / "label").read_text(encoding="utf-8").split()))[:10]
    files = {}
    for name in ("train", "valid", "test", "oos/valid", "oos/test"):
        folder = litebert_data / "clinc150" / name
        texts, labels = ((folder / side).read_text(encoding="utf-8").splitlines() for side in ("seq.in", "label"))
        rows: list[dict[str, object]] = [
            {"text": text, "label": label}
            for text, label in zip(texts, labels, strict=True)
            if label in intents or "oos" in name
        ]
        files[name] = write_jsonl(tmp_path / f"{name.replace('/', '-')}.jsonl", rows)
    taught = tmp_path / "intents"
    more = ["--epochs", 3, "--length", 32, "--learning-rate", 4e-3, "--set", "precision=fp32"]
    files_of = ["--train", files["train"], "--dev", files["valid"]]
    assert litebert("finetune", "classify", "--model", start, *files_of, "--out", taught, *more)[0] == 0
    asked = ["--out-of-scope", files["oos/test"], "--dev", files["valid"], "--dev-out-of-scope", files["oos/valid"]]
    code, stdout, _ = litebert("evaluate", "--model", taught, "--data", files["test"], *asked)
    assert code == 0
    metrics = json.loads(stdout.splitlines()[-1])
    assert metrics["accuracy"] > 0.7
    found = metrics["out_of_scope"]
    assert found["rows"] == 1000
    for measure in ("max_probability", "energy"):
        assert found[measure]["auroc"] > 0.7
        assert found[measure]["recall"] > 0.5


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--dev", "rows.csv"], "--dev and --dev-out-of-scope go together"),
        (["--dev", "rows.csv", "--dev-out-of-scope", "rows.csv"], "give that too"),
        (["--out-of-scope", "absent.csv"], "absent.csv"),
        (["--out-of-scope", "header.csv"], "header.csv has no rows"),
        (["--out-of-scope", "other.csv"], "other.csv has no column 'text'"),
    ],
)
def test_what_is_missing(
    litebert: Run, models: dict[str, Path], data: Path, more: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    Path("header.csv").write_text("text,label\n")
    Path("other.csv").write_text("words,label\nfine,good\n")
    code, _, last = litebert("evaluate", "--model", models["classify"], "--data", data, *more)
    assert code == 2
    assert words in last


def test_only_labels_can_be_out_of_scope(litebert: Run, models: dict[str, Path], tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "choices.jsonl", choice_rows())
    for option, value in (("--out-of-scope", rows), ("--labels", "1=2")):
        code, _, last = litebert("evaluate", "--model", models["choice"], "--data", rows, option, value)
        assert code == 2
        assert f"{option} is for models that give one label (classify), not for choice" in last


# --- labels of other names ---


def test_another_domain_with_other_names(litebert: Run, models: dict[str, Path], data: Path, tmp_path: Path) -> None:
    here = judge_model(models["classify"], data)
    names = {"good": "1", "bad": "0"}
    rows: list[dict[str, Any]] = [{"text": row["text"], "label": names[row["label"]]} for row in ROWS]
    there = write_jsonl(tmp_path / "there.jsonl", [*rows, {"text": "It is a chair.", "label": "2"}])
    ask = ["evaluate", "--model", models["classify"], "--data", there]
    code, _, last = litebert(*ask)
    assert code == 2
    assert "there.jsonl, line 1: the label '1' is not one the model was trained on ('bad', 'good', 'so-so')" in last
    assert "--labels '0=LABEL,1=LABEL,2=LABEL' ('0=' leaves its rows out)" in last
    code, _, last = litebert(*ask, "--labels", "0=bad,1=good")
    assert (code, "line 33: the label '2'" in last) == (2, True)
    code, stdout, last = litebert(*ask, "--labels", "0=bad, 1=good,2=")
    assert code == 0
    assert last == f"note: 1 of 33 rows of {there} are left out (--labels)"
    assert json.loads(stdout.splitlines()[-1]) == here
    code, stdout, _ = litebert(*ask, "--labels", "0=bad,1=good,2=so-so")
    assert (code, json.loads(stdout.splitlines()[-1])["rows"]) == (0, 33)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ("good=great", "the model has no label 'great'; it has 'bad', 'good', 'so-so'"),
        ("good", "expected NAME=LABEL"),
        ("=good", "expected NAME=LABEL"),
        ("bad=good,", "expected NAME=LABEL"),
        ("good=bad,good=good", "'good' is to be 'bad' and 'good'"),
        ("good=,bad=", "leaves out every row"),
    ],
)
def test_names_that_make_no_sense(litebert: Run, models: dict[str, Path], data: Path, labels: str, words: str) -> None:
    code, _, last = litebert("evaluate", "--model", models["classify"], "--data", data, "--labels", labels)
    assert code == 2
    assert words in last


def test_names_are_read() -> None:
    assert named_labels("a=b, c = d,e=") == {"a": "b", "c": "d", "e": ""}
    assert named_labels("a=b=c") == {"a": "b=c"}


def test_predictions_of_others_are_not_asked(litebert: Run, data: Path) -> None:
    code, _, last = litebert("evaluate", "--predictions", data, "--gold", data, "--abstain-below", "0.5")
    assert (code, "needs --model and --data" in last) == (2, True)


# --- the same rows, written otherwise ---


def test_perturbed_beside_clean(litebert: Run, models: dict[str, Path], data: Path) -> None:
    ask = ["evaluate", "--model", models["classify"], "--data", data, "--perturb"]
    code, stdout, _ = litebert(*ask)
    assert code == 0
    head, *_, last = stdout.splitlines()
    assert head.split() == ["clean", *PERTURBATIONS]
    metrics = json.loads(last)
    assert {name: value for name, value in metrics.items() if name != "perturbed"} == judge_model(
        models["classify"], data
    )
    found = metrics["perturbed"]
    assert list(found) == list(PERTURBATIONS)
    # As if the rows had been written so.
    rows = [row | {"text": perturb("typos", row["text"], 1, i, 0)} for i, row in enumerate(ROWS)]
    alone = judge_model(models["classify"], write_csv(data.with_name("typos.csv"), rows))
    assert found["typos"]["changed"] == np.mean([a["text"] != b["text"] for a, b in zip(rows, ROWS, strict=True)])
    assert 0 < found["typos"]["changed"] < 1
    assert found["typos"]["loss"] == pytest.approx(alone["loss"], abs=1e-6)
    assert found["typos"]["loss"] != metrics["loss"]
    assert found["lower"]["accuracy"] == metrics["accuracy"], "the tokenizer reads small letters"
    assert found["british"]["changed"] == found["british"]["flipped"] == 0
    answers, others = ([answer.label for answer in load(models["classify"]).predict(part)] for part in (ROWS, rows))
    assert found["typos"]["flipped"] == np.mean([a != b for a, b in zip(answers, others, strict=True)])
    assert litebert(*ask)[1] == stdout
    assert litebert(*ask, "--seed", 2)[1] != stdout


def test_pairs_and_choices_on_all_sides(models: dict[str, Path], tmp_path: Path) -> None:
    given = Choices("I'm here", "", ("I'm there", "nowhere"))
    assert perturb_all("paraphrase", given, 1) == Choices("I am here", "", ("I am there", "nowhere"))
    assert perturb_all("british", TextInput("Center", "Color"), 1) == TextInput("Centre", "Colour")
    assert perturb_all("british", TextInput("Center", None), 1) == TextInput("Centre", None)
    assert perturb_all("british", 3, 1) == 3
    rows = write_jsonl(tmp_path / "choices.jsonl", choice_rows())
    metrics = judge_model(models["choice"], rows, questions=Questions(perturb=True))
    assert metrics["perturbed"]["upper"]["changed"] == 1
    assert "accuracy" in metrics["perturbed"]["upper"]


@pytest.mark.parametrize("task", ["multilabel", "regress"])
def test_sets_and_numbers(models: dict[str, Path], tmp_path: Path, task: str) -> None:
    rows = [{"text": row["text"], "labels": [row["label"]], "value": i} for i, row in enumerate(ROWS)]
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    found = judge_model(models[task], data, questions=Questions(perturb=True))["perturbed"]
    assert {"micro_f1" if task == "multilabel" else "pearson"} <= set(found["typos"])


def test_entities_move_with_the_text(models: dict[str, Path], tmp_path: Path) -> None:
    text, spans = "The color of Center City, in Ohio", (Chunk(13, 24, "place"), Chunk(29, 33, "place"))
    made, moved = Ner().perturbed("british", text, spans, 1, 0)
    assert made == "The colour of Centre City, in Ohio"
    assert [made[span.start : span.end] for span in moved] == ["Centre City", "Ohio"]
    assert Ner().perturbed("british", text, (), 1, 0) == (made, ())
    rows = write_jsonl(tmp_path / "ner.jsonl", ner_rows())
    metrics = judge_model(models["ner"], rows, questions=Questions(perturb=True))
    assert list(metrics["perturbed"]) == list(PERTURBATIONS)
    assert metrics["perturbed"]["upper"]["changed"] == 1
    assert metrics["perturbed"]["upper"]["f1"] == metrics["f1"], "the tokenizer reads small letters"
    assert "flipped" not in metrics["perturbed"]["upper"]
    # As if the rows had been written so.
    written = []
    for i, row in enumerate(ner_rows()):
        spans = tuple(Chunk(*span.values()) for span in row["entities"])
        text, spans = Ner().perturbed("typos", row["text"], spans, 1, i)
        written.append({"text": text, "entities": [span._asdict() for span in spans]})
    assert written != ner_rows()
    alone = judge_model(models["ner"], write_jsonl(tmp_path / "typos.jsonl", written))
    assert metrics["perturbed"]["typos"]["loss"] == pytest.approx(alone["loss"], abs=1e-6)


def test_kinds_that_are_neither_there_nor_given_have_no_mark() -> None:
    columns = {"typos": {"changed": 1.0, "f1": 0.25, "b_f1": 0.0}, "upper": {"changed": 1.0, "f1": 0.5}}
    lines = [line.split() for line in table({"f1": 0.5, "a_f1": 1.0, "perturbed": columns}).splitlines()]
    assert lines[0] == ["clean", "typos", "upper"]
    assert lines[1] == ["changed", "0.0000", "1.0000", "1.0000"]
    assert lines[2:] == [["f1", "0.5000", "0.2500", "0.5000"], ["b_f1", "0.0000", "0.0000"]]


def test_answers_move_with_the_context(models: dict[str, Path], tmp_path: Path) -> None:
    context = "I'm in the center. I'm there, in the theater center."
    answers = (Given("center", 11), Given("I'm there", 0), Given("elsewhere", 3), Given("", -1), Given("theater", 37))
    given, target = QuestionAnswering().perturbed("british", Question("What color?", context), Target(answers), 1, 0)
    assert given == Question("What colour?", "I'm in the centre. I'm there, in the theatre centre.")
    assert target.answers[2:4] == answers[2:4]
    assert [answer.text for answer in target.answers] == ["centre", "I'm there", "elsewhere", "", "theatre"]
    for answer in (*target.answers[:2], target.answers[-1]):
        assert given.context[answer.start :].startswith(answer.text)
    rows = write_json(tmp_path / "qa.json", squad())
    metrics = judge_model(models["qa"], rows, questions=Questions(perturb=True))
    assert metrics["perturbed"]["upper"]["f1"] == metrics["f1"], "the tokenizer reads small letters"
    assert metrics["perturbed"]["typos"]["changed"] > 0


def test_seed_of_perturbations(litebert: Run, models: dict[str, Path], data: Path) -> None:
    code, _, last = litebert("evaluate", "--model", models["classify"], "--data", data, "--perturb", "--seed=-1")
    assert (code, "--seed -1: expected 0 or more" in last) == (2, True)
