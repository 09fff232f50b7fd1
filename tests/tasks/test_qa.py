"""Answers: exact parts of the context, found through windows; no answer, thresholds, the loss, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import litebert
from litebert.data.labelled import Columns
from litebert.data.questions import Given, place_of
from litebert.errors import InputError
from litebert.evaluate.calibration import Decisions, expected_calibration_error
from litebert.evaluate.squad import exact_match
from litebert.tasks.qa import BEST, QaEncoded, QaGold, Question, QuestionAnswer, QuestionAnswering, Span
from litebert.tasks.task import Windowing
from litebert.text.tokenizer import Tokenizer, load_tokenizer
from tests.labelled import small_model, write_jsonl
from tests.tasks.rows import squad, write_json

TASK = QuestionAnswering()
LABELS = ("start", "end")


def learn(tokenizer: Tokenizer, path: Path, windowing: Windowing) -> tuple[Any, QaEncoded, QaGold]:
    read = TASK.read(path, Columns())
    encoded = TASK.encode(read.inputs, tokenizer, windowing)
    return read, encoded, TASK.gold(read, encoded, LABELS)


def perfect(encoded: QaEncoded, gold: QaGold) -> np.ndarray:
    """Outputs that are sure of the answer where it stands whole in a window, and of [CLS] elsewhere."""
    examples = encoded.examples
    outputs = np.zeros((len(examples.tokens), 2), dtype=np.float32)
    for sequence in range(len(examples)):
        start, second = examples.starts[sequence], examples.second[sequence]
        first, last = gold.pieces[examples.rows[sequence]] - examples.windows[sequence, 1]
        if first >= 0 and last < examples.lengths[sequence] - second - 1:
            outputs[start + second + first, 0] = outputs[start + second + last, 1] = 9
        else:
            outputs[start] = 9
    return outputs


@pytest.mark.parametrize("windowing", [Windowing(24), Windowing(24, stride=4), Windowing(512)])
def test_answers_come_back_through_windows(tokenizer: Tokenizer, tmp_path: Path, windowing: Windowing) -> None:
    path = write_json(tmp_path / "qa.json", squad())
    read, encoded, gold = learn(tokenizer, path, windowing)
    assert (gold.unusable, gold.moved) == (0, [])
    answers = TASK.answers(encoded, perfect(encoded, gold), LABELS, {"no_answer_threshold": 0.5})
    for target, given_, answer in zip(read.targets, read.inputs, answers, strict=True):
        if target.answers:
            right = target.answers[0]
            assert (answer.answer, answer.start) == (right.text, right.start)
            assert given_.context[answer.start : answer.end] == answer.answer
            assert answer.score > 0.9 > 0.1 > answer.no_answer_score
        else:
            assert (answer.answer, answer.start, answer.end) == ("", None, None)
            assert answer.no_answer_score == answer.score > 0.9
        assert len(answer.alternatives) <= 4
        total = sum(span.score for span in answer.alternatives) + answer.no_answer_score
        assert total <= 1 + 1e-9
    metrics = TASK.judge(encoded, gold, perfect(encoded, gold), LABELS, {})
    assert metrics["best_f1"] == metrics["best_exact"] == 100
    assert metrics["loss"] < 0.05
    assert (encoded.long_rows > 0) == (windowing.length == 24)


def test_one_answer_is_always_given_where_all_questions_have_one(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = write_json(tmp_path / "qa.json", squad(unanswerable=False))
    _, encoded, gold = learn(tokenizer, path, Windowing(64))
    assert TASK.primary(gold, LABELS) == "f1"
    decision = TASK.decide(gold, {})
    outputs = np.zeros((len(encoded.examples.tokens), 2), dtype=np.float32)
    outputs[encoded.examples.starts[:-1]] = 50  # sure that there is none
    assert all(answer.answer for answer in TASK.answers(encoded, outputs, LABELS, decision))
    assert not any(answer.answer for answer in TASK.answers(encoded, outputs, LABELS, {"no_answer_threshold": 0.9}))


def test_the_threshold_is_that_of_the_dev_set(tokenizer: Tokenizer, tmp_path: Path) -> None:
    _, encoded, gold = learn(tokenizer, write_json(tmp_path / "qa.json", squad()), Windowing(64))
    rng = np.random.default_rng(5)
    outputs = perfect(encoded, gold) + rng.normal(scale=4, size=(len(encoded.examples.tokens), 2)).astype(np.float32)
    metrics = TASK.judge(encoded, gold, outputs, LABELS, {})
    assert TASK.primary(gold, LABELS) == "best_f1"
    decided = TASK.judge(encoded, gold, outputs, LABELS, TASK.decide(gold, metrics))
    assert decided["f1"] == pytest.approx(metrics["best_f1"])
    # A last bit more or less, as another batch may give, changes no decision.
    for factor in (1 - 1e-6, 1 + 1e-6):
        again = TASK.judge(encoded, gold, outputs * factor, LABELS, TASK.decide(gold, metrics))
        assert again["f1"] == decided["f1"]


@pytest.fixture(scope="module")
def own_tokenizer(prepared: Path) -> Tokenizer:
    return load_tokenizer(prepared / "tokenizer")


@settings(max_examples=40)
@given(st.text(max_size=60), st.text(max_size=20), st.integers(0, 5))
def test_answers_are_exact_parts_of_any_context(
    own_tokenizer: Tokenizer, context: str, question: str, seed: int
) -> None:
    encoded = TASK.encode([Question(question, context)], own_tokenizer, Windowing(16))
    rng = np.random.default_rng(seed)
    outputs = rng.normal(size=(len(encoded.examples.tokens), 2)).astype(np.float32)
    (answer,) = TASK.answers(encoded, outputs, LABELS, {})
    for span in (answer, *answer.alternatives):
        if span.answer:
            assert context[span.start : span.end] == span.answer == span.answer.strip()
    assert json.loads(json.dumps(answer.to_dict()))["answer"] == answer.answer


def test_the_best_spans_by_brute_force(tokenizer: Tokenizer) -> None:
    context = "The weather is fine and nobody goes."
    encoded = TASK.encode([Question("Where?", context)], tokenizer, Windowing(64))
    examples, offsets = encoded.examples, encoded.offsets[0]
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(len(examples.tokens), 2)).astype(np.float32) * 3
    (answer,) = TASK.answers(encoded, outputs, LABELS, {})
    inside = outputs[examples.second[0] : -1]
    assert len(inside) == len(offsets) <= 20
    every = {
        (int(offsets[a, 0]), int(offsets[b, 1])): float(inside[a, 0] + inside[b, 1])
        for a in range(len(inside))
        for b in range(a, len(inside))
    }
    ranked = sorted(every, key=lambda place: -every[place])
    assert (answer.start, answer.end) == ranked[0]
    values = np.exp([every[place] for place in ranked[:20]] + [outputs[0].sum()])
    assert answer.score == pytest.approx(values[0] / values[:-1].sum(), rel=1e-4), "an answer is given always"
    assert answer.no_answer_score == pytest.approx(values[-1] / values.sum(), rel=1e-4)
    (unsure,) = TASK.answers(encoded, outputs, LABELS, {"no_answer_threshold": 0.99})
    assert unsure.score == pytest.approx(values[0] / values.sum(), rel=1e-4)
    assert [(span.start, span.end) for span in answer.alternatives] == ranked[1:5]
    assert all(isinstance(span, Span) for span in answer.alternatives)


def test_an_answer_has_thirty_pieces_at_most(tokenizer: Tokenizer) -> None:
    """As in the official code of BERT and ALBERT."""
    encoded = TASK.encode([Question("Where?", "a b c d " * 12)], tokenizer, Windowing(64))
    begin, pieces = int(encoded.examples.second[0]), len(encoded.offsets[0])
    assert pieces > 40
    for size in (30, 31):
        outputs = np.zeros((len(encoded.examples.tokens), 2), dtype=np.float32)
        outputs[begin, 0], outputs[begin + size - 1, 1] = 9, 9
        (answer,) = TASK.answers(encoded, outputs, LABELS, {})
        whole = (int(encoded.offsets[0][0, 0]), int(encoded.offsets[0][size - 1, 1]))
        assert ((answer.start, answer.end) == whole) == (size == 30)


@pytest.mark.parametrize("threshold", [0.05, 0.5, 1.0])
def test_the_calibration_error_is_that_of_the_answers_given(
    tokenizer: Tokenizer, tmp_path: Path, threshold: float
) -> None:
    rows, encoded, gold = learn(tokenizer, write_json(tmp_path / "2.json", squad(unanswerable=True)), Windowing(24))
    outputs = np.random.default_rng(0).normal(size=(len(encoded.examples.tokens), 2)).astype(np.float32)
    decision = {"no_answer_threshold": threshold}
    answers = TASK.answers(encoded, outputs, LABELS, decision)
    wanted = [[given.text for given in target.answers] or [""] for target in gold.targets]
    right = [
        any(exact_match(text, answer.answer) for text in texts) for texts, answer in zip(wanted, answers, strict=True)
    ]
    found = TASK.calibration_error(rows, encoded, outputs, LABELS, decision, TASK.decisions(encoded, gold, outputs))
    sure = np.array([answer.score for answer in answers])
    assert found == pytest.approx(expected_calibration_error(sure, np.array(right)))


def test_decisions_are_as_sure_as_the_answers_and_as_right(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """With and without questions that have no answer."""
    for version in (1, 2):
        path = write_json(tmp_path / f"{version}.json", squad(unanswerable=version == 2))
        _, encoded, gold = learn(tokenizer, path, Windowing(24))
        assert (version == 2) == (not all(target.answers for target in gold.targets))
        outputs = np.random.default_rng(version).normal(size=(len(encoded.examples.tokens), 2)).astype(np.float32)
        for logits in (outputs, outputs + 4 * perfect(encoded, gold)):
            found = TASK.decisions(encoded, gold, logits)
            threshold = 1.0 if version == 1 else 0.5
            answers = TASK.answers(encoded, logits, LABELS, {"no_answer_threshold": threshold})
            right = [
                any(exact_match(given.text, answer.answer) for given in target.answers)
                if target.answers
                else not answer.answer
                for answer, target in zip(answers, gold.targets, strict=True)
            ]
            chosen = found.logits.argmax(1)
            same = np.array(
                [(one == BEST) == (answer.answer == "") for one, answer in zip(chosen, answers, strict=True)]
            )
            assert version == 2 or same.all()
            np.testing.assert_allclose(found.confidences[same], np.array([a.score for a in answers])[same], rtol=1e-6)
            assert (found.correct == right)[same].all()


def test_alternatives_are_of_other_words(tokenizer: Tokenizer, tmp_path: Path) -> None:
    row = {"question": "where?", "context": "Rome or Rome or Rome or Rome.", "answers": ["Rome"]}
    read = TASK.read(write_jsonl(tmp_path / "rows.jsonl", [row]), Columns())
    encoded = TASK.encode(read.inputs, tokenizer, Windowing(32))
    outputs = np.random.default_rng(0).normal(size=(len(encoded.examples.tokens), 2)).astype(np.float32)
    (answer,) = TASK.answers(encoded, outputs, LABELS, {})
    said = [answer.answer, *(span.answer for span in answer.alternatives)]
    assert len(set(said)) == len(said) == 5


def test_answers_that_are_missing_are_not_none(tmp_path: Path) -> None:
    row = {"question": "where?", "context": "In Rome.", "answers": None}
    with pytest.raises(InputError, match=r"line 1: 'answers' is null; write \[\] where"):
        TASK.read(write_jsonl(tmp_path / "rows.jsonl", [row]), Columns())


def test_the_loss_is_the_cross_entropy_over_each_window(tokenizer: Tokenizer, tmp_path: Path) -> None:
    _, encoded, gold = learn(tokenizer, write_json(tmp_path / "qa.json", squad()), Windowing(24))
    lesson = TASK.lesson(encoded, gold, LABELS, "auto")
    examples = encoded.examples
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(len(examples.tokens), 2)).astype(np.float32)
    index = np.arange(len(examples))[::-1].copy()
    batch = examples.batch(index)
    logits = torch.from_numpy(outputs[examples.token_index(batch)]).requires_grad_()
    value = lesson.loss(torch.cat((logits, torch.full((3, 2), 99.0))), batch).sum()
    value.backward()
    expected = 0.0
    sure = perfect(encoded, gold)
    for sequence in index:
        here = slice(examples.starts[sequence], examples.starts[sequence + 1])
        logs = torch.from_numpy(outputs[here]).log_softmax(0)
        places = sure[here].argmax(0)
        expected -= float(logs[places[0], 0] + logs[places[1], 1]) / 2
    assert float(value.detach()) == pytest.approx(expected, rel=1e-5)
    mean = TASK.judge(encoded, gold, outputs, LABELS, {})["loss"]
    assert mean == pytest.approx(expected / len(index), rel=1e-5)
    assert logits.grad is not None
    assert abs(float(logits.grad.sum())) < 1e-4, "a softmax moves nothing but shares"


def test_answers_that_are_elsewhere_or_nowhere(tokenizer: Tokenizer, tmp_path: Path) -> None:
    def row(text: str, start: object, key: str) -> dict[str, object]:
        answers = [{"text": text, "answer_start": start}]
        return {"id": key, "question": "Where?", "context": "Rome, Oslo and Rome again.", "answers": answers}

    rows = [row("Oslo", 6, "a"), row("Rome", 13, "b"), row("Lima", 0, "c"), row("", 0, "d"), row("Oslo", None, "e")]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    _, encoded, gold = learn(tokenizer, path, Windowing(64))
    assert (gold.unusable, len(gold.moved)) == (2, 1)
    (note,) = TASK.read(path, Columns()).notes
    assert note == f"2 questions have an answer that is empty or not in the context: {path}, line 3"
    lesson = TASK.lesson(encoded, gold, LABELS, "auto")
    assert lesson.items.weights.tolist() == [1, 1, 0, 0, 1]
    assert "2 questions have an answer that is empty or not in the context; not trained on" in lesson.notes
    assert "1 answers do not stand where the file says" in lesson.notes[1]
    offsets = encoded.offsets[1]
    assert offsets[gold.pieces[1, 0], 0] == 15, "the nearer of the two"


def test_the_first_answer_that_stands_in_the_context_is_learnt(tokenizer: Tokenizer, tmp_path: Path) -> None:
    row = {"question": "Where?", "context": "Rome, Oslo and Rome again.", "answers": ["Roma", "Oslo", "Rome"]}
    read, encoded, gold = learn(tokenizer, write_jsonl(tmp_path / "rows.jsonl", [row]), Windowing(64))
    assert TASK.labels(read) == LABELS
    assert (gold.unusable, gold.moved) == (0, [])
    assert encoded.offsets[0][gold.pieces[0, 0], 0] == 6


def test_answers_of_no_word_are_compared_as_officially(tokenizer: Tokenizer, tmp_path: Path) -> None:
    row = {"question": "Where?", "context": "The Rome of old.", "answers": ["The", "Rome"]}
    read, *_ = learn(tokenizer, write_jsonl(tmp_path / "rows.jsonl", [row]), Windowing(64))
    no_decisions = Decisions(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    for said, exact in (("", 0.0), ("the", 0.0), ("Rome", 100.0)):
        answer = QuestionAnswer(said, None, None, 1.0, 0.0, ())
        right = TASK.right_answers(read, [answer], no_decisions)
        assert right.tolist() == [exact > 0]
        assert TASK.score(read, [said])["exact"] == exact


def test_long_contexts_and_long_questions(tokenizer: Tokenizer) -> None:
    context = "nobody goes there. " * 20_000
    encoded = TASK.encode([Question("Where?", context)], tokenizer, Windowing(512, stride=256))
    assert len(encoded.offsets[0]) > 60_000
    assert encoded.examples.lengths.max() == 512
    assert encoded.cut == 0
    outputs = np.zeros((len(encoded.examples.tokens), 2), dtype=np.float32)
    outputs[-2] = 9  # the last piece
    (answer,) = TASK.answers(encoded, outputs, LABELS, {})
    assert answer.end == len(context.rstrip())
    encoded = TASK.encode([Question("Where is it? " * 40, context[:400])], tokenizer, Windowing(64))
    assert encoded.cut == 1
    assert encoded.examples.second.max() == 2 + (64 - 3) // 2
    assert TASK.window_notes(0, 1, 64) == ["1 questions are longer than half a window; only their beginnings are read"]


def test_a_context_of_a_hundred_thousand_tokens_is_answered_from(
    tokenizer: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context = "Nobody goes there in the winter. " * 15_000 + "Anna lives in Rome."
    predictor = litebert.load(small_model(tmp_path / "m", tokenizer, (TASK.head,), max_position_embeddings=512))
    assert len(predictor.tokenizer.encode(context).ids) > 100_000
    (answer,) = predictor.predict([{"question": "Where?", "context": context}])
    assert "note:" not in capsys.readouterr().err
    predictor.predict([{"question": "Where is it? " * 200, "context": context[:400]}])
    assert "note: 1 questions are longer than half a window" in capsys.readouterr().err
    assert answer.answer
    assert context[answer.start : answer.end] == answer.answer


def test_an_answer_that_looks_like_json(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"question": "Where?", "context": "See [1].", "answer": "[1]"}]
    assert TASK.read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns()).targets[0].answers == (("[1]", 4),)


def test_a_place_before_the_context_is_none() -> None:
    assert place_of(Given("cd", -4), "abcdef") == 2


FORMS = [
    {"answers": [{"text": "Rome", "answer_start": 0}]},
    {"answers": {"text": ["Rome"], "answer_start": [0]}},
    {"answers": {"text": ["Rome"], "answer_start": [float("nan")]}},
    {"answers": ["Rome"]},
    {"answer": "Rome"},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_forms_of_answers(tmp_path: Path, form: dict[str, Any]) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"question": "Where?", "context": "Rome.", **form}])
    assert TASK.read(path, Columns()).targets[0].answers == (("Rome", 0),)


def test_names_of_columns(tmp_path: Path) -> None:
    row: dict[str, object] = {"q": "Where?", "passage": "Rome.", "answers": []}
    path = write_jsonl(tmp_path / "rows.jsonl", [row])
    with pytest.raises(InputError, match=r"no column 'question'; its columns are .*--text-pair"):
        TASK.read(path, Columns())
    read = TASK.read(path, Columns(text_pair="q"))
    assert read.inputs == [("Where?", "Rome.")]
    assert read.columns == ("passage", "q", "answers")
    with pytest.raises(InputError, match="no question has an answer"):
        TASK.labels(read)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": [7]}, r"question 1 \(a0\): '7' in 'answers' is no answer"),
        ({"question": ["a"]}, "'question' is no text but a list"),
    ],
    ids=["answer", "question"],
)
def test_questions_that_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    data = squad()
    data["data"][0]["paragraphs"][0]["qas"][0].update(change)
    with pytest.raises(InputError, match=message):
        TASK.read(write_json(tmp_path / "qa.json", data), Columns())


def test_doubled_ids_are_counted_and_told_apart(tokenizer: Tokenizer, tmp_path: Path) -> None:
    data = squad()
    data["data"][0]["paragraphs"][0]["qas"][0]["id"] = "b0"
    read, encoded, gold = learn(tokenizer, write_json(tmp_path / "qa.json", data), Windowing(64))
    (note,) = read.notes
    assert "1 ids are those of rows before them: " in note
    assert note.endswith("question 2 (b0), 'b0'; rows are told apart by their order")
    assert gold.keys == [str(row) for row in range(12)]
    assert TASK.judge(encoded, gold, perfect(encoded, gold), LABELS, {})["total"] == 12


def test_squad_files_without_their_parts(tmp_path: Path) -> None:
    data = squad()
    for article in data["data"]:
        for qa in article["paragraphs"][0]["qas"]:
            del qa["answers"]
    with pytest.raises(InputError, match="no column 'answers'"):
        TASK.read(write_json(tmp_path / "qa.json", data), Columns())
    del data["data"][0]["paragraphs"][0]["context"]
    with pytest.raises(InputError, match="after question 0 there is no 'context'; add it"):
        TASK.read(write_json(tmp_path / "qa.json", data), Columns())


def test_impossible_is_true_or_false(tmp_path: Path) -> None:
    data = squad()
    data["data"][1]["paragraphs"][0]["qas"][0]["is_impossible"] = "false"
    with pytest.raises(InputError, match=r"after question 3 it is not SQuAD's JSON .is_impossible is 'false', neither"):
        TASK.read(write_json(tmp_path / "qa.json", data), Columns())


def test_files_that_are_no_squad(tmp_path: Path) -> None:
    (tmp_path / "qa.json").write_text('{"data": ' + "[" * 100_000)
    with pytest.raises(InputError, match=r"qa\.json is not JSON"):
        TASK.read(tmp_path / "qa.json", Columns())
    (tmp_path / "qa.json").write_text("{'data': []}")
    with pytest.raises(InputError, match=r"qa\.json is not JSON"):
        TASK.read(tmp_path / "qa.json", Columns())
    row = '{"question": "Where?", "context": "Rome.", "answers": ["Rome"]}\n'
    (tmp_path / "qa.json").write_text(row * 2)
    assert len(TASK.read(tmp_path / "qa.json", Columns())) == 2, "JSON lines of that name are rows"
    (tmp_path / "qa.json").write_text(row)
    assert len(TASK.read(tmp_path / "qa.json", Columns())) == 1
