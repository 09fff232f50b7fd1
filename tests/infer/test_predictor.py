"""Answers: typed, in order, the same however they are asked for; masks against plain arithmetic."""

import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
import torch

import litebert
from litebert.data.examples import ExamplesBuilder
from litebert.data.labelled import Columns
from litebert.data.rows import read_rows, write_rows
from litebert.errors import InputError, ModelFolderError, OutputError, UserError
from litebert.infer import fill_mask, predictor
from litebert.infer.fill_mask import Completion, encode_masked
from litebert.infer.judging import judge_model
from litebert.infer.predictor import load, predict_file
from litebert.interop.huggingface import load_model, save_model
from litebert.model.packed import pack_lists
from litebert.tasks.classify import Classification
from litebert.text.tokenizer import Tokenizer
from tests.labelled import ROWS, small_model

TEXTS = [row["text"] for row in ROWS]
LABELS = ("good", "bad", "so-so")


@pytest.fixture(scope="module")
def classifier(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "classifier"
    return small_model(folder, tokenizer, ("classify",), labels=LABELS, problem_type="single_label_classification")


@pytest.fixture(scope="module")
def pretrained(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("models") / "pretrained", tokenizer)


def test_typed_answers_in_order(classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "CHUNK_ROWS", 5)
    model = litebert.load(classifier)
    answers = model.predict(TEXTS)
    assert len(answers) == len(TEXTS)
    assert model.labels == LABELS
    for text, answer in zip(TEXTS, answers, strict=True):
        assert isinstance(answer, Classification)
        assert sum(answer.scores.values()) == pytest.approx(1)
        assert list(answer.scores) == list(LABELS)
        assert answer.score == max(answer.scores.values()) == answer.scores[answer.label]
        alone = model.predict(text)[0]
        assert alone.label == answer.label
        assert alone.score == pytest.approx(answer.score, abs=1e-6)
    assert len({round(answer.score, 4) for answer in answers}) > 10, "texts are told apart"


def test_rows_may_be_texts_or_dicts_with_pairs(classifier: Path) -> None:
    model = load(classifier)
    text, pair, dicts, other, second, odd = model.predict(
        [
            "a fine film",
            {"text": "a fine film", "text_pair": "a bad film"},
            {"text": "a fine film", "id": 7},
            {"sentence": "a fine film"},
            {"sentence1": "a fine film", "sentence2": "a bad film"},
            {"text": "a bad film", "review": "a fine film"},
        ]
    )
    assert text.to_dict() == dicts.to_dict() == other.to_dict() != odd.to_dict()
    assert text.to_dict() != pair.to_dict() == second.to_dict()


def test_rows_are_read_as_in_a_file(classifier: Path) -> None:
    """By the columns of the training, whatever others there are."""
    model = load(classifier)
    fine, pair = model.predict(["a fine film", {"text": "a fine film", "text_pair": "a bad film"}])
    model.columns = Columns("review")
    assert model.predict({"text": "a bad film", "review": "a fine film"})[0].to_dict() == fine.to_dict()
    model.columns = Columns("text")
    assert model.predict({"text": "a fine film", "text_pair": "a bad film"})[0].to_dict() == fine.to_dict()
    model.columns = Columns("text", "text_pair")
    assert model.predict({"text": "a fine film", "text_pair": "a bad film"})[0].to_dict() == pair.to_dict()


def test_a_row_by_itself_and_tables(classifier: Path) -> None:
    class Table:
        columns = ("text", "label")

        def __iter__(self) -> Iterator[str]:
            return iter(self.columns)

        def to_dict(self, kind: str) -> list[dict[str, str]]:
            assert kind == "records"
            return [{"text": "a fine film", "label": "good"}, {"text": "a bad film", "label": "bad"}]

    model = load(classifier)
    one = model.predict("a fine film")[0].to_dict()
    for rows in ("a fine film", {"text": "a fine film"}):
        assert [answer.to_dict() for answer in model.predict_iter(rows)] == [one]
    first, second = model.predict(Table())
    assert first.to_dict() == one != second.to_dict()
    with pytest.raises(InputError, match="rows are a int; give a text, a dict, or a list"):
        model.predict(5)


def test_empty_and_odd_texts_are_answered(classifier: Path) -> None:
    odd = ["", " ", "\x00", "\ud800", "🙂" * 50, "a" * 5000, {"text": None}]
    assert len(load(classifier).predict(odd)) == len(odd)
    assert load(classifier).predict([]) == []


@pytest.mark.parametrize(
    ("row", "message"),
    [(5, "row 2 is a int"), ({"words": "a"}, "row 2 has no column 'text'"), ({"text": ["a"]}, "row 2: 'text' is no")],
)
def test_rows_that_are_none(classifier: Path, row: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(classifier).predict(["fine", row])


def test_a_stream_is_answered_as_it_comes(classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "CHUNK_ROWS", 4)
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield "text"

    answers = load(classifier).predict_iter(endless())
    next(answers)
    assert taken == 4


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl.gz", "a.parquet", "a.txt"])
@pytest.mark.parametrize("out", ["b.jsonl", "b.csv", "b.parquet", "b.tsv.xz"])
def test_files_in_and_out(classifier: Path, tmp_path: Path, name: str, out: str) -> None:
    if name == "a.txt":
        (tmp_path / name).write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    else:
        write_rows(({"id": i, "text": text, "label": "?"} for i, text in enumerate(TEXTS)), tmp_path / name)
    assert predict_file(classifier, tmp_path / name, tmp_path / out) == len(TEXTS)
    records = [row.fields for row in read_rows(tmp_path / out)]
    assert [record["text"] for record in records] == TEXTS
    expected = [answer.to_dict() for answer in load(classifier).predict(TEXTS)]
    assert [record["label"] for record in records] == [answer["label"] for answer in expected]
    if name != "a.txt":
        assert [int(record["id"]) for record in records] == list(range(len(TEXTS)))
        assert {record["input_label"] for record in records} == {"?"}, "a field that is in the way is kept"
    scores = records[0]["scores"]
    scores = json.loads(scores) if isinstance(scores, str) else scores
    assert scores == pytest.approx(expected[0]["scores"], abs=1e-5)


def test_standard_input_to_standard_output(classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.BytesIO(b'{"text": "a fine film", "id": 1}\n"an awful film"\n')
    stdout = io.BytesIO()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stdin))
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=stdout))
    assert predict_file(classifier, "-") == 2
    records = [json.loads(line) for line in stdout.getvalue().splitlines()]
    assert list(records[0]) == ["text", "id", "label", "score", "scores"]
    assert records[1]["text"] == "an awful film"


def test_a_pipe_is_read_once(classifier: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.jsonl")
    line = b'{"text": "a fine film", "id": 1}\n'
    writer = Thread(target=(tmp_path / "rows.jsonl").write_bytes, args=(line,))
    writer.start()
    assert predict_file(classifier, tmp_path / "rows.jsonl", tmp_path / "out.csv") == 1
    writer.join()
    assert [row.fields["id"] for row in read_rows(tmp_path / "out.csv")] == ["1"]


def test_a_bad_row_leaves_no_file(classifier: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,n\n" + "fine,1\n" * 30 + "short\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.csv, line 32: 1 fields"):
        predict_file(classifier, path, tmp_path / "b.jsonl")
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]
    with pytest.raises(OutputError, match="is the file with the rows"):
        predict_file(classifier, path, path)
    write_rows(ROWS, path)
    with pytest.raises(InputError, match=r"no column 'body' \(--text\); its columns are 'text', 'label'"):
        predict_file(classifier, path, None, columns=Columns(text="body"))


def test_evaluate(classifier: Path, tmp_path: Path) -> None:
    write_rows(ROWS, tmp_path / "gold.csv")
    metrics = judge_model(classifier, tmp_path / "gold.csv")
    answers = load(classifier).predict(TEXTS)
    right = sum(answer.to_dict()["label"] == row["label"] for answer, row in zip(answers, ROWS, strict=True))
    assert metrics["accuracy"] == pytest.approx(right / len(ROWS))
    assert metrics["rows"] == len(ROWS)
    assert sum(sum(counts.values()) for counts in metrics["confusion"].values()) == len(ROWS)
    json.dumps(metrics)
    write_rows([*ROWS, {"text": "x", "label": "odd"}], tmp_path / "odd.csv")
    with pytest.raises(InputError, match=r"odd\.csv, line 34: the label 'odd' .*'good', 'bad', 'so-so'"):
        judge_model(classifier, tmp_path / "odd.csv")


def test_only_a_task_can_be_evaluated(pretrained: Path, tmp_path: Path) -> None:
    (tmp_path / "any.csv").write_text("text,label\na,b\n")
    with pytest.raises(ModelFolderError, match=r"pre-trained model without a task.*finetune classify"):
        judge_model(pretrained, tmp_path / "any.csv")


def test_masks_are_filled_as_plain_arithmetic_says(pretrained: Path, tokenizer: Tokenizer) -> None:
    text, pair = "the [MASK] of a file is [MASK].", "it returns [MASK]"
    answer, order_only = load(pretrained).predict(
        [{"text": text, "text_pair": pair}, {"text": "one thing.", "text_pair": "another thing."}]
    )
    assert isinstance(answer, Completion)
    first, second = encode_masked(tokenizer, text), encode_masked(tokenizer, pair)
    ids = [tokenizer.cls_id, *first, tokenizer.sep_id, *second, tokenizer.sep_id]
    packed = pack_lists([ids], [[0] * (len(first) + 2) + [1] * (len(second) + 1)])
    model = load_model(pretrained).eval()
    with torch.no_grad():
        hidden = model.encode(packed)
        places = [i for i, token in enumerate(ids) if token == tokenizer.mask_id]
        probabilities = model.heads["masked_lm"](hidden[places]).softmax(-1)
        order = model.heads["sentence_order"](model.pooled(hidden, packed)).softmax(-1)[0, 0]
    assert len(answer.masks) == len(places) == 3
    for row, mask in zip(probabilities, answer.masks, strict=True):
        ranked = [i for i in row.argsort(descending=True).tolist() if i not in tokenizer.special_ids][:5]
        assert [candidate.piece for candidate in mask] == [tokenizer.id_to_piece(i) for i in ranked]
        assert [candidate.score for candidate in mask] == pytest.approx(row[ranked].tolist(), abs=1e-6)
    assert answer.order_score == pytest.approx(float(order), abs=1e-6)
    assert order_only.masks == []
    record = answer.to_dict()
    assert list(record) == ["masks", "order_score"]
    assert list(record["masks"][0][0]) == ["piece", "score"]


@pytest.mark.parametrize(
    "text",
    [
        "the [MASK] of the file.",
        "[MASK] is here",
        "here is [MASK]",
        "[MASK]",
        "[MASK][MASK] two",
        "is it [MASK]?",
        "\ue000 [MASK] 汉[MASK]字",
        "no mask",
    ],
)
def test_a_mask_stands_for_one_piece_and_leaves_the_others_alone(tokenizer: Tokenizer, text: str) -> None:
    ids = encode_masked(tokenizer, text)
    assert ids.count(tokenizer.mask_id) == text.count("[MASK]")
    # A common word in its place is tokenized as one piece, and all other pieces are the same.
    if "汉" not in text and "][" not in text:
        filled = tokenizer.encode_ids([re.sub(r"\[MASK\]", "name", text)])[0]
        name = tokenizer.piece_to_id("▁name")
        assert name != tokenizer.unk_id
        assert filled == [name if i == tokenizer.mask_id else i for i in ids]


def test_spare_rows_of_a_table_are_no_answer(tokenizer: Tokenizer) -> None:
    """Tables of BERT's family have some, rounded up to a multiple of 64."""
    logits = torch.zeros(1, tokenizer.vocab_size + 8)
    logits[0, tokenizer.vocab_size + 2] = 9.0
    (found,) = fill_mask._likeliest(logits, tokenizer)
    assert len(found) == fill_mask.TOP
    assert max(candidate.score for candidate in found) < 0.01


def test_a_mask_in_a_long_text_is_answered_where_it_has_context(pretrained: Path) -> None:
    model = load(pretrained)
    text = " ".join(TEXTS[:6]) + " the [MASK] of it. " + " ".join(TEXTS[6:12]) + " [MASK]"
    answer = model.predict(text)[0]
    assert isinstance(answer, Completion)
    assert [len(mask) for mask in answer.masks] == [5, 5]
    assert answer.order_score is None


def test_of_several_windows_the_one_with_most_context_answers(tokenizer: Tokenizer) -> None:
    builder = ExamplesBuilder(tokenizer.cls_id, tokenizer.sep_id, 20, tokenizer.separators)
    builder.add(list(range(10, 90)), None)
    examples = builder.build()
    begins = examples.windows[:, 0]
    ends = begins + examples.lengths - 2  # without [CLS] and [SEP]
    masks = [(0, token) for token in range(80)]
    places = fill_mask._best_places(examples, [masks], tokenizer.separators)
    several = 0
    for mask, (_, token) in enumerate(masks):
        margins = [min(token - b, e - 1 - token) for b, e in zip(begins, ends, strict=True) if b <= token < e]
        several += len(margins) > 1
        place = places[0, mask]
        begin, end = begins[place.sequence], ends[place.sequence]
        assert begin + place.token - 1 == token
        assert min(token - begin, end - 1 - token) == max(margins)
    assert several > 10


def test_the_order_of_a_long_pair_is_a_probability(pretrained: Path) -> None:
    model = load(pretrained)
    answer = model.predict({"text": " ".join(TEXTS * 3), "text_pair": " ".join(TEXTS[:9] * 3)})[0]
    assert isinstance(answer, Completion)
    assert answer.order_score is not None
    assert 0 < answer.order_score < 1


def test_what_a_model_without_a_task_cannot_answer(pretrained: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"row 2: no \[MASK\] in the text and no text_pair; .*finetune classify"):
        load(pretrained).predict(["a [MASK]", "no mask"])
    alone = small_model(tmp_path / "mlm", tokenizer, ("masked_lm",))
    answer = load(alone).predict({"text": "a [MASK]", "text_pair": "b"}["text"])
    assert answer[0].to_dict().keys() == {"masks"}
    with pytest.raises(InputError, match=r"row 1: no \[MASK\] in the text; a model"):
        load(alone).predict([{"text": "a", "text_pair": "b"}])


def test_folders_that_cannot_answer(classifier: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    encoder = load_model(classifier, ())
    save_model(encoder, tmp_path / "encoder", tokenizer)
    save_model(load_model(classifier), tmp_path / "bare")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("encoder", "answers nothing by itself"),
        ("bare", "without a tokenizer"),
        ("empty", "holds no model"),
        ("gone", "is no folder"),
    ):
        with pytest.raises(UserError, match=message):
            load(tmp_path / name)


def test_bf16_answers_nearly_the_same(classifier: Path) -> None:
    exact, rough = load(classifier).predict(TEXTS), load(classifier, precision="bf16").predict(TEXTS)
    for one, other in zip(exact, rough, strict=True):
        assert other.to_dict()["scores"] == pytest.approx(one.to_dict()["scores"], abs=0.05)
