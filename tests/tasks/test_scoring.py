"""Scoring the predictions of any system: rows found by id or order, what is missing said, the official keys."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litebert.cli import main
from litebert.data.labelled import Columns
from litebert.errors import ConfigError, InputError
from litebert.tasks.scoring import FIELDS, WRITTEN, score_files
from tests.evaluate.test_squad import questions, recorded
from tests.labelled import write_jsonl
from tests.tasks.rows import choice_rows, conll, ner_rows, squad, write_json

GOLD: list[dict[str, Any]] = [
    {"id": i, "text": "t", "label": label, "language": language}
    for i, (label, language) in enumerate([("a", "en"), ("b", "en"), ("a", "de"), ("b", "de"), ("b", "de")])
]


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "gold.jsonl", GOLD)


def answers(path: Path, labels: str, **changes: Any) -> Path:
    return write_jsonl(path, [{"id": i, "label": label} | changes for i, label in enumerate(labels)])


def test_by_id_in_any_order_and_by_order_without(gold: Path, tmp_path: Path) -> None:
    rows = [{"id": i, "label": label} for i, label in enumerate("abbbb")]
    shuffled = write_jsonl(tmp_path / "a.jsonl", rows[::-1])
    plain = write_jsonl(tmp_path / "b.jsonl", [{"label": row["label"]} for row in rows])
    glue = tmp_path / "c.tsv"
    glue.write_text("index\tprediction\n" + "".join(f"{i}\t{row['label']}\n" for i, row in enumerate(rows)))
    results = [score_files(path, gold) for path in (shuffled, plain, glue)]
    assert results[0] == results[1] == results[2]
    assert results[0]["accuracy"] == 0.8
    assert results[0]["rows"] == 5


def test_an_id_that_is_missing_is_told_and_never_guessed(
    gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": i, "label": label} for i, label in enumerate("ababb")][::-1]
    partly = write_jsonl(tmp_path / "partly.jsonl", [rows[0], rows[1] | {"id": None}, *rows[2:]])
    with pytest.raises(InputError, match=r"partly.jsonl, line 2: no `id`, though others have one"):
        score_files(partly, gold)
    without = write_jsonl(tmp_path / "gold.without.jsonl", [{**GOLD[0], "id": None}, *GOLD[1:]])
    score_files(answers(tmp_path / "a.jsonl", "ababb"), without)
    said = capsys.readouterr().err
    assert "1 of 5 rows have no `id`" in said
    assert "belong together by their order" in said


def test_scores_of_parts(gold: Path, tmp_path: Path) -> None:
    """XNLI by language, RACE by level and MNLI by matched or not are accuracies of parts."""
    result = score_files(answers(tmp_path / "a.jsonl", "abbbb"), gold, by="language")
    assert result["accuracy"] == 0.8
    assert {name: part["accuracy"] for name, part in result["by_language"].items()} == {"en": 1.0, "de": 2 / 3}
    assert [part["rows"] for part in result["by_language"].values()] == [2, 3]
    with pytest.raises(InputError, match=r"no column 'level' \(--by\); its columns are 'id', 'text'"):
        score_files(answers(tmp_path / "a.jsonl", "abbbb"), gold, by="level")


def test_a_label_that_is_none_of_the_rows_is_wrong_and_said(
    gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """F1 of the second of two labels stays what it is, as the official scripts have it."""
    found = score_files(answers(tmp_path / "a.jsonl", "zzbbb"), gold)
    assert found["accuracy"] == 0.4
    assert found["f1"] == pytest.approx(2 * (2 / 3) * (2 / 3) / (2 / 3 + 2 / 3))
    assert "2 of 5 answers are no labels of the rows (the first: 'z'; labels are 'a', 'b')" in capsys.readouterr().err


def test_numbers(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": i, "text": "t", "score": i * i} for i in range(5)]
    gold = write_jsonl(tmp_path / "gold.jsonl", rows)
    path = write_jsonl(tmp_path / "a.jsonl", [{"id": i, "value": float(i)} for i in range(5)])
    result = score_files(path, gold)
    assert result["spearman"] == pytest.approx(1)
    assert result["pearson"] == pytest.approx(np.corrcoef(np.arange(5), np.arange(5) ** 2)[0, 1])
    glue = tmp_path / "b.tsv"
    glue.write_text("index\tprediction\n" + "".join(f"{i}\t{i}.0\n" for i in range(5)))
    assert score_files(glue, gold, task="regress") == result


def test_rows_of_glues_files_go_by_their_index(tmp_path: Path) -> None:
    given = tmp_path / "given.tsv"
    given.write_text("index\tprediction\n1\ty\n0\tx\n")
    for name, gold in (
        ("by index", "index\ttext\tlabel\n0\ta\tx\n1\tb\ty\n"),
        ("by place", "text\tlabel\na\tx\nb\ty\n"),
    ):
        (tmp_path / "gold.tsv").write_text(gold)
        assert score_files(given, tmp_path / "gold.tsv")["accuracy"] == 1, name


def test_fields_of_the_rows_are_not_taken_for_answers(tmp_path: Path) -> None:
    """What `predict` writes holds the row that was read, the right answer with it."""
    row = {"context": "c", "question": "q", "choices": ["sand", "rain"], "answer": "rain"}
    gold = write_jsonl(tmp_path / "gold.jsonl", [row])
    wrong = write_jsonl(tmp_path / "a.jsonl", [row | {"choice": 0, "scores": [0.9, 0.1]}])
    assert score_files(wrong, gold) == {"accuracy": 0.0, "predicted_choices": 1.0, "rows": 1}
    rows = [{"text": "t", "answer": label, "value": i} for i, label in enumerate("yn")]
    gold = write_jsonl(tmp_path / "gold.jsonl", rows)
    made = [{"label": label, "score": 1.0, "scores": {label: 1.0}} for label in "ny"]
    wrong = write_jsonl(tmp_path / "a.jsonl", [row | answer for row, answer in zip(rows, made, strict=True)])
    assert score_files(wrong, gold, columns=Columns(label="answer"))["accuracy"] == 0
    numbers = write_jsonl(tmp_path / "a.jsonl", [{"text": "t", "label": i, "value": i} for i in range(5)])
    gold = write_jsonl(tmp_path / "gold.jsonl", [{"text": "t", "label": i} for i in range(5)])
    assert score_files(numbers, gold)["spearman"] == pytest.approx(1)
    pairs = [{"text": "a", "text_pair": "b", "label": i, "score": i, "similarity": i / 5} for i in range(5)]
    found = score_files(write_jsonl(tmp_path / "a.jsonl", pairs), write_jsonl(tmp_path / "pairs.jsonl", pairs))
    assert found["spearman"] == pytest.approx(1)
    spans = [{"id": "1", "text": "Ann ran", "label": "news", "entities": [{"start": 0, "end": 3, "label": "PER"}]}]
    entities = write_jsonl(tmp_path / "spans.jsonl", spans)
    assert score_files(entities, entities)["f1"] == 1
    assert WRITTEN.keys() == set(FIELDS.values())
    unclear = write_jsonl(tmp_path / "a.jsonl", [{"answer": "yes", "label": "yes"}] * 5)
    with pytest.raises(InputError, match=r"answers to several tasks: 'label' \(classify\), 'answer' \(qa\); name it"):
        score_files(unclear, gold)


def test_predictions_of_numbers_in_the_form_of_the_server(tmp_path: Path) -> None:
    pairs: list[dict[str, object]] = [{"text": "a", "text_pair": "b", "label": i + 0.5} for i in range(5)]
    gold = write_jsonl(tmp_path / "gold.jsonl", pairs)
    given = tmp_path / "STS-B.tsv"
    given.write_text("index\tprediction\n" + "".join(f"{i}\t{i / 2}\n" for i in range(5)))
    assert score_files(given, gold)["pearson"] == pytest.approx(1)
    given.write_text("index\tprediction\n" + "".join(f"{i}\t{i + 0.5}\n" for i in range(5)))
    assert "accuracy" not in score_files(given, gold)


def test_questions_whose_ids_repeat_are_all_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"id": "the same", "question": "q", "context": "In Rome.", "answers": ["Rome"]}
    gold = write_jsonl(tmp_path / "gold.jsonl", [row] * 4)
    given = write_jsonl(tmp_path / "a.jsonl", [{"answer": "Rome"}, *[{"answer": "nonsense"}] * 3])
    found = score_files(given, gold)
    assert (found["exact"], found["total"]) == (25, 4)
    shares = write_json(tmp_path / "shares.json", {"the same": 0.5})
    with pytest.raises(InputError, match="has rows without an `id` of their own"):
        score_files(given, gold, no_answer=shares)


def test_parts_are_scored_by_the_labels_of_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels, given = ["yes", "no", "perhaps", "yes"], ["yes", "perhaps", "perhaps", "no"]
    rows = [{"text": "t", "label": label, "part": "ab"[i // 2]} for i, label in enumerate(labels)]
    gold = write_jsonl(tmp_path / "gold.jsonl", rows)
    found = score_files(write_jsonl(tmp_path / "a.jsonl", [{"label": label} for label in given]), gold, by="part")
    assert [part["accuracy"] for part in found["by_part"].values()] == [0.5, 0.5]
    assert "f1" not in found["by_part"]["a"], "there are three labels"
    assert "no labels of the rows" not in capsys.readouterr().err
    sets: list[dict[str, Any]] = [{"text": "t", "labels": ["x"], "part": "a"}, {"text": "t", "labels": [], "part": "b"}]
    gold = write_jsonl(tmp_path / "gold.jsonl", sets)
    found = score_files(write_jsonl(tmp_path / "a.jsonl", [{"labels": ["x"]}, {"labels": []}]), gold, by="part")
    assert [part["exact"] for part in found["by_part"].values()] == [1, 1]
    nothing = write_jsonl(tmp_path / "gold.jsonl", [{"text": "t", "labels": []}] * 2)
    assert score_files(write_jsonl(tmp_path / "a.jsonl", [{"labels": []}] * 2), nothing)["exact"] == 1


def test_packed_predictions(tmp_path: Path) -> None:
    gold = write_json(tmp_path / "qa.json", squad())
    keys = [qa["id"] for a in squad()["data"] for p in a["paragraphs"] for qa in p["qas"]]
    with gzip.open(tmp_path / "p.json.gz", "wt") as file:
        json.dump(dict.fromkeys(keys, ""), file)
    assert score_files(tmp_path / "p.json.gz", gold)["exact"] == pytest.approx(100 / 3)


def test_similarities(tmp_path: Path) -> None:
    gold = write_jsonl(tmp_path / "gold.jsonl", [{"text": "a", "text_pair": "b", "score": i * i} for i in range(5)])
    path = write_jsonl(tmp_path / "a.jsonl", [{"similarity": i / 5} for i in range(5)])
    assert score_files(path, gold)["spearman"] == pytest.approx(1)
    path = write_jsonl(tmp_path / "a.jsonl", [{"embedding": [0.0, 1.0]}] * 5)
    with pytest.raises(InputError, match="no `similarity` of the two texts; vectors are not scored"):
        score_files(path, gold, task="embed")


def test_parts_of_answers_have_the_best_threshold_too(tmp_path: Path) -> None:
    rows = [{"id": f"q{i}", "question": "q", "context": "In Rome.", "answers": ["Rome"][i % 2 :]} for i in range(4)]
    gold = write_jsonl(tmp_path / "gold.jsonl", [row | {"part": "ab"[i // 2]} for i, row in enumerate(rows)])
    given = write_json(tmp_path / "given.json", {str(row["id"]): "Rome" for row in rows})
    shares = write_json(tmp_path / "shares.json", {str(row["id"]): 0.9 * (i % 2) for i, row in enumerate(rows)})
    found = score_files(given, gold, no_answer=shares, by="part")
    assert found["best_f1"] == found["by_part"]["a"]["best_f1"] == 100


def test_entities_of_columns_and_of_records(tmp_path: Path) -> None:
    rows = [row for row in ner_rows() if row["text"].endswith("cat")]
    gold = tmp_path / "gold.conll"
    gold.write_text(conll(rows))
    given = tmp_path / "given.conll"
    given.write_text(conll(rows).replace("B-person", "O", 1))
    records = write_jsonl(tmp_path / "given.jsonl", [{**rows[0], "entities": []}, *rows[1:]])
    results = [score_files(path, gold) for path in (given, records)]
    assert results[0] == results[1]
    assert results[0]["recall"] == results[0]["person_recall"] == 0.75
    assert results[0]["precision"] == 1


def test_choices_by_number_letter_and_words(tmp_path: Path) -> None:
    rows = choice_rows()
    gold = write_jsonl(tmp_path / "gold.jsonl", rows)
    for given in (
        [{"choice": row["label"]} for row in rows],
        [{"choice": "ABCD"[row["label"]]} for row in rows],
        [{"choice": row["choices"][row["label"]]} for row in rows],
    ):
        assert score_files(write_jsonl(tmp_path / "a.jsonl", given), gold)["accuracy"] == 1
    given = [{"choice": 9} for _ in rows]
    with pytest.raises(InputError, match=r"a\.jsonl, line 1: 9 in 'choice' is none of the 2 choices"):
        score_files(write_jsonl(tmp_path / "a.jsonl", given), gold)


def test_sets_of_labels(tmp_path: Path) -> None:
    gold = write_jsonl(tmp_path / "gold.jsonl", [{"text": "t", "labels": ["a", "b"]}, {"text": "u", "labels": []}])
    path = write_jsonl(tmp_path / "a.jsonl", [{"labels": ["a"]}, {"labels": []}])
    assert score_files(path, gold)["micro_f1"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("version", "name"), [("v1", "dev-v1.1.json"), ("v2", "cs224n-dev-v2.0.json")], ids=["1.1", "2.0"]
)
def test_the_command_prints_what_the_official_script_prints(
    version: str, name: str, litebert_data: Path, golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = litebert_data / "squad" / name
    numbers = np.load(golden / "squad.npz")
    rows = list(questions(gold))
    given = {
        key: recorded(*code, right, context)
        for (key, right, context), code in zip(rows, numbers[version].tolist(), strict=True)
    }
    arguments = ["--predictions", str(write_json(tmp_path / "p.json", given)), "--gold", str(gold)]
    if version == "v2":
        shares = (numbers["v2_no_answer"] / 10000).tolist()
        path = write_json(tmp_path / "na.json", dict(zip(given, shares, strict=True)))
        arguments += ["--no-answer-probabilities", str(path)]
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *arguments, "--json"])
    assert stop.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    expected = json.loads((golden / "squad.json").read_text())[version]
    assert list(printed) == list(expected)
    assert printed == pytest.approx(expected, rel=1e-12)


def refused(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *map(str, arguments)])
    assert stop.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_missing_predictions(gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = answers(tmp_path / "a.jsonl", "abb")
    said = refused(["--predictions", path, "--gold", gold], capsys)
    assert "a.jsonl lacks predictions for 2 of 5 rows (the first: id '3'" in said
    assert "gold.jsonl, line 4)" in said
    path = write_jsonl(tmp_path / "b.jsonl", [{"label": "a"}] * 3)
    assert "b.jsonl has 3 predictions" in refused(["--predictions", path, "--gold", gold], capsys)
    path = write_json(tmp_path / "p.json", {"a0": "Rome"})
    data = write_json(tmp_path / "qa.json", squad())
    assert "lacks predictions for 11 of 12 rows (the first: id 'b0'" in refused(
        ["--predictions", path, "--gold", data], capsys
    )


def test_no_answer_at_all_lacks_them(tmp_path: Path) -> None:
    gold = write_jsonl(
        tmp_path / "gold.jsonl", [{"id": "a", "question": "q", "context": "In Rome.", "answers": ["Rome"]}]
    )
    with pytest.raises(InputError, match="lacks predictions for 1 of 1 rows"):
        score_files(write_json(tmp_path / "p.json", {}), gold)


@pytest.mark.parametrize("wrong", [None, 7, ["Rome"]])
def test_an_answer_that_is_no_text_is_named(tmp_path: Path, wrong: object) -> None:
    row = {"question": "q", "context": "In Rome.", "answers": ["Rome"]}
    gold = write_jsonl(tmp_path / "gold.jsonl", [row | {"id": key} for key in "ab"])
    (tmp_path / "p.json").write_text(json.dumps({"a": "Rome", "b": wrong}))
    with pytest.raises(InputError, match=r"for the id 'b' is no answer; write a text, \"\" for none"):
        score_files(tmp_path / "p.json", gold)


def test_probabilities_need_ids(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "gold.jsonl", [{"question": "q", "context": "c d", "answers": ["d"]}])
    given = write_jsonl(tmp_path / "given.jsonl", [{"answer": "d"}])
    path = write_json(tmp_path / "p.json", {"0": 0.5})
    with pytest.raises(InputError, match=r"has rows without an `id` of their own, which .* goes by"):
        score_files(given, data, no_answer=path)


def test_entities_of_another_text_are_refused(tmp_path: Path) -> None:
    entity = {"start": 0, "end": 4, "label": "PER"}
    data = write_jsonl(tmp_path / "gold.jsonl", [{"text": "Anna left.", "entities": [entity]}])
    given = write_jsonl(tmp_path / "given.jsonl", [{"text": "Ana left.", "entities": [entity]}])
    with pytest.raises(InputError, match=r"the text 'Ana left.' is not that of .* 'Anna left.'"):
        score_files(given, data)


def test_entities_beyond_the_text_are_refused(tmp_path: Path) -> None:
    entity = {"start": 0, "end": 4, "label": "PER"}
    data = write_jsonl(tmp_path / "gold.jsonl", [{"text": "Anna", "entities": [entity]}])
    given = write_jsonl(tmp_path / "given.jsonl", [{"entities": [entity | {"end": 99}]}])
    with pytest.raises(InputError, match=r"given\.jsonl, line 1: the span 0-99 .* not in the text of 4 characters"):
        score_files(given, data)


def test_numbers_that_overflow_are_refused(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "gold.jsonl", [{"text": "a", "value": 1.0}, {"text": "b", "value": 2.0}])
    given = write_jsonl(tmp_path / "given.jsonl", [{"value": 1e300}, {"value": 2.0}])
    with pytest.raises(InputError, match=r"given\.jsonl, line 1: 1e\+300 in 'value' is too large"):
        score_files(given, data)


def test_answers_in_the_cells_of_a_table(tmp_path: Path) -> None:
    data = tmp_path / "gold.tsv"
    cells = [json.dumps([{"text": "Rome", "answer_start": 3}]), json.dumps({"text": ["Rome"], "answer_start": [3]})]
    data.write_text("question\tcontext\tanswers\n" + "".join(f"q\tIn Rome.\t{cell}\n" for cell in cells))
    given = write_jsonl(tmp_path / "given.jsonl", [{"answer": "Rome"}] * 2)
    assert score_files(given, data)["exact"] == 100
    bad = write_jsonl(
        tmp_path / "bad.jsonl",
        [{"question": "q", "context": "In Rome.", "answers": {"text": ["Rome", "In"], "answer_start": [3]}}],
    )
    with pytest.raises(InputError, match=r"line 1: 'answers' has 2 texts and 1 places"):
        score_files(write_jsonl(tmp_path / "one.jsonl", [{"answer": "Rome"}]), bad)


def test_probabilities_that_are_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_json(tmp_path / "qa.json", squad())
    keys = [qa["id"] for a in squad()["data"] for p in a["paragraphs"] for qa in p["qas"]]
    given = write_json(tmp_path / "p.json", dict.fromkeys(keys, ""))
    for value in ({"a0": 0.5}, dict.fromkeys(keys, "0.5"), dict.fromkeys(keys, 10**400)):
        path = write_json(tmp_path / "na.json", value)
        said = refused(["--predictions", given, "--gold", data, "--no-answer-probabilities", path], capsys)
        assert "na.json: " in said
        assert "give every question a probability" in said
    path = write_json(tmp_path / "na.json", [0.5])
    said = refused(["--predictions", given, "--gold", data, "--no-answer-probabilities", path], capsys)
    assert "no JSON object of probabilities" in said


def test_doubled_ids(gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = answers(tmp_path / "a.jsonl", "abbbb", id=3)
    assert "a.jsonl, line 2: the id '3' is that of" in refused(["--predictions", path, "--gold", gold], capsys)
    (tmp_path / "p.json").write_text('{"a0": "x", "a0": "y"}')
    data = write_json(tmp_path / "qa.json", squad())
    said = refused(["--predictions", tmp_path / "p.json", "--gold", data], capsys)
    assert "p.json: the id 'a0' is there twice" in said
    doubled = squad()
    doubled["data"][0]["paragraphs"][0]["qas"][0]["id"] = "b0"
    keys = [qa["id"] for a in doubled["data"] for p in a["paragraphs"] for qa in p["qas"]]
    given = write_json(tmp_path / "q.json", dict.fromkeys(keys, ""))
    said = refused(["--predictions", given, "--gold", write_json(tmp_path / "twice.json", doubled)], capsys)
    assert "question 2 (b0): the id 'b0' is that of" in said
    twice = write_jsonl(tmp_path / "twice.jsonl", [GOLD[0], GOLD[0]])
    path = answers(tmp_path / "b.jsonl", "ab")
    said = refused(["--predictions", path, "--gold", twice], capsys)
    assert "twice.jsonl, line 2: the id '0' is that of" in said


def test_more_predictions_than_rows_are_counted(gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score_files(answers(tmp_path / "a.jsonl", "abbbbab"), gold)["rows"] == 5
    assert "has 2 predictions for rows that are not in" in capsys.readouterr().err


Arguments = Callable[[Path, Path], list[object]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (lambda p, g: ["--predictions", p], "--predictions FILE and --gold FILE"),
        (lambda p, g: ["--gold", g], "--predictions FILE and --gold FILE"),
        (lambda p, g: [], "--model DIR and --data FILE"),
        (lambda p, g: ["--predictions", p, "--gold", g, "--model", p], "either"),
        (lambda p, g: ["--predictions", p, "--gold", g, "--device", "cpu"], "predictions are judged as they are"),
        (lambda p, g: ["--predictions", p, "--gold", g, "--perturb"], "predictions are judged as they are"),
        (lambda p, g: ["--model", p, "--data", g, "--by", "x"], "--by goes with --predictions"),
        (lambda p, g: ["--model", p, "--data", g, "--seed", "2"], "--seed is that of --perturb"),
        (lambda p, g: ["--predictions", p, "--gold", g, "--task", "guess"], "task 'guess' is unknown"),
        (lambda p, g: ["--predictions", p, "--gold", g, "--no-answer-probabilities", p], "is for answers to questions"),
        (lambda p, g: ["--predictions", p.with_name("gone.jsonl"), "--gold", g], "gone.jsonl"),
        (lambda p, g: ["--predictions", g.with_name("odd.jsonl"), "--gold", g], "has no column with answers"),
        (lambda p, g: ["--predictions", p, "--gold", g, "--task", "ner"], "is no list of spans"),
    ],
)
def test_arguments_that_are_refused(
    gold: Path, tmp_path: Path, arguments: Arguments, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = answers(tmp_path / "a.jsonl", "abbbb")
    write_jsonl(tmp_path / "odd.jsonl", [{"id": 1, "guess": "a"}])
    assert words in refused(arguments(path, gold), capsys)


def test_another_task_than_the_file_holds(tmp_path: Path) -> None:
    path = write_json(tmp_path / "p.json", {"a0": "Rome"})
    with pytest.raises(ConfigError, match=r"--task classify: .* holds answers to questions"):
        score_files(path, write_json(tmp_path / "qa.json", squad()), task="classify")
