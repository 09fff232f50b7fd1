"""Choices: every way to write them, a softmax over the windows of all choices of a row, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from litebert.data.labelled import Columns
from litebert.data.rows import write_rows
from litebert.errors import InputError
from litebert.tasks.choice import Choice
from litebert.tasks.task import Windowing
from litebert.text.tokenizer import Tokenizer
from tests.labelled import write_jsonl
from tests.tasks.rows import choice_rows

TASK = Choice()

ONE = {"context": "It rained.", "question": "What then?"}
CHOICES = ["It was wet.", "It was dry.", "Nobody knows."]


@pytest.mark.parametrize(
    "row",
    [
        {**ONE, "choices": CHOICES, "label": 1},
        {**ONE, "choices": CHOICES, "label": "1"},
        {**ONE, "options": CHOICES, "answer": "B"},
        {**ONE, "endings": CHOICES, "label": "It was dry."},
        {"sent1": "It rained.", "sent2": "What then?", **{f"ending{i}": t for i, t in enumerate(CHOICES)}, "label": 1},
        {"article": "It rained.", "question": "What then?", "options": CHOICES, "answer": "b"},
        {**ONE, **{f"choice{i}": text for i, text in enumerate(CHOICES, 1)}, "label": 1},
        {**ONE, **{f"ending{i}": text for i, text in enumerate(CHOICES)}, "label": 1.0},
        {**ONE, **{f"option_{letter}": text for letter, text in zip("ABC", CHOICES, strict=True)}, "correct": "B"},
    ],
)
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_every_way_to_write_choices(tmp_path: Path, row: dict[str, Any], name: str) -> None:
    write_rows([row], tmp_path / name)
    read = TASK.read(tmp_path / name, Columns())
    assert read.inputs == [("It rained.", "What then?", tuple(CHOICES))]
    assert read.targets == [1]


def test_numbers_come_before_words_and_words_before_letters(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"context": "c", "choices": ["2", "1", "0"], "label": 2},
        {"context": "c", "choices": ["2", "1", "0"], "label": "1"},
        {"context": "c", "choices": ["b", "a"], "label": "b"},
        {"context": "c", "choices": ["20", "10"], "label": "10"},
    ]
    assert TASK.read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns()).targets == [2, 1, 0, 1]
    rows[0]["label"] = "2"
    with pytest.raises(InputError, match="line 1: '2' in 'label' is one choice's words and another one's number"):
        TASK.read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns())


@pytest.mark.parametrize("label", ["ß", "ŉ", "ǰ", "İ", "é", "["])
def test_letters_are_those_from_a_to_z(tmp_path: Path, label: str) -> None:
    row: dict[str, object] = {"context": "c", "choices": ["sand", "rain"], "label": label}
    with pytest.raises(InputError, match="is none of the 2 choices"):
        TASK.read(write_jsonl(tmp_path / "rows.jsonl", [row]), Columns())


def test_a_question_alone_is_the_context(tmp_path: Path) -> None:
    row: dict[str, object] = {"question": "What is wet?", "choices": ["sand", "rain"], "answer": "rain"}
    read = TASK.read(write_jsonl(tmp_path / "rows.jsonl", [row]), Columns())
    assert read.inputs == [("What is wet?", "", ("sand", "rain"))]


@pytest.mark.parametrize("length", [16, 64])
def test_loss_and_answers_are_a_softmax_over_means_of_windows(
    tokenizer: Tokenizer, tmp_path: Path, length: int
) -> None:
    rows = choice_rows()
    rows[3]["context"] = " ".join(str(row["context"]) for row in rows)
    read = TASK.read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns())
    assert read.notes == ("rows differ in their number of choices (2 choices: 5, 3 choices: 5, 4 choices: 10)",)
    encoded = TASK.encode(read.inputs, tokenizer, Windowing(length))
    gold = TASK.gold(read, encoded, ("score",))
    assert encoded.long_rows >= 1
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(len(encoded.examples), 1)).astype(np.float32)
    logs = []
    for row in range(len(rows)):
        choices = range(encoded.bounds[row], encoded.bounds[row + 1])
        assert len(choices) == len(rows[row]["choices"])
        means = [outputs[encoded.examples.rows == choice].mean() for choice in choices]
        logs.append(torch.tensor(means).log_softmax(0))
    answers = TASK.answers(encoded, outputs, ("score",), {})
    for answer, expected in zip(answers, logs, strict=True):
        assert answer.choice == int(expected.argmax())
        assert answer.scores == pytest.approx(expected.exp().tolist(), abs=1e-6)
    lesson = TASK.lesson(encoded, gold, ("score",), "auto")
    assert len(lesson.items) == len(rows)
    order = np.array([7, 3, 0, 12])
    losses: list[float] = []
    for batch in lesson.items.batches(order, 100):
        losses += lesson.loss(torch.from_numpy(outputs[batch.sequences]), batch).tolist()
    assert losses == pytest.approx([-float(logs[row][gold[row]]) for row in order], rel=1e-5), "in the order drawn"
    metrics = TASK.judge(encoded, gold, outputs, ("score",), {})
    assert metrics["loss"] == pytest.approx(-np.mean([float(logs[r][gold[r]]) for r in range(len(rows))]), rel=1e-5)
    right = [answer.choice == label for answer, label in zip(answers, gold, strict=True)]
    assert metrics["accuracy"] == np.mean(right)


def test_sequences_are_context_then_question_and_choice(tokenizer: Tokenizer, tmp_path: Path) -> None:
    row: dict[str, object] = {**ONE, "choices": CHOICES, "label": 0}
    read = TASK.read(write_jsonl(tmp_path / "rows.jsonl", [row]), Columns())
    encoded = TASK.encode(read.inputs, tokenizer, Windowing(64))
    for i, choice in enumerate(CHOICES):
        batch = encoded.examples.batch(np.array([i]))
        expected = tokenizer.encode("It rained.", f"What then? {choice}")
        assert batch.input_ids.tolist() == expected.ids
        assert batch.token_type_ids.tolist() == expected.segment_ids


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"choices": ["a"], "label": 0}, r"line 2: 1 choices; a row needs two or more"),
        ({"choices": "a or b", "label": 0}, r"line 2: 'choices' is a text, no list of choices"),
        ({"choices": ["a", "b"], "label": 2}, "line 2: 2 in 'label' is none of the 2 choices"),
        ({"choices": ["a", "b"], "label": "c"}, "line 2: 'c' in 'label' is none of the 2 choices"),
        ({"choices": ["a", "b"], "label": None}, "line 2: None in 'label'"),
        ({"choices": ["a", "b"], "label": True}, "line 2: True in 'label'"),
        ({"choices": ["a", "b"]}, "line 2: no field 'label'"),
        ({"label": 0}, "line 2: 0 choices"),
    ],
)
def test_rows_that_are_refused(tmp_path: Path, row: dict[str, object], message: str) -> None:
    rows = [{"context": "c", "choices": ["a", "b"], "label": 0}, {"context": "c", **row}]
    with pytest.raises(InputError, match=message):
        TASK.read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"words": "c", "choices": ["a", "b"], "label": 0}, "no column 'context'; its columns are"),
        ({"context": "c", "label": 0}, "no column 'choices'; its columns are"),
        ({"context": "c", "choices": ["a", "b"]}, "no column 'label'; its columns are"),
    ],
)
def test_columns_that_are_missing(tmp_path: Path, row: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TASK.read(write_jsonl(tmp_path / "rows.jsonl", [row]), Columns())
