"""Public data sets as they are distributed: read, converted and encoded; nothing is trained."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from litebert.data.labelled import Columns
from litebert.data.rows import write_rows
from litebert.errors import InputError
from litebert.evaluate.entities import entity_metrics
from litebert.tasks.choice import Choice
from litebert.tasks.classify import Classify
from litebert.tasks.multilabel import Multilabel
from litebert.tasks.ner import Ner
from litebert.tasks.qa import QuestionAnswering
from litebert.tasks.regress import Regress
from litebert.tasks.task import Windowing
from litebert.text.tokenizer import Tokenizer
from tests.labelled import write_jsonl


@pytest.mark.parametrize(
    ("name", "rows", "entities"),
    [("wnut17train.conll", 3394, 1975), ("emerging.dev.conll", 1009, 836), ("emerging.test.annotated", 1287, 1079)],
)
def test_wnut17(litebert_data: Path, tokenizer: Tokenizer, name: str, rows: int, entities: int) -> None:
    task = Ner()
    read = task.read(litebert_data / "wnut17" / name, Columns())
    assert len(read) == rows
    assert sum(map(len, read.targets)) == entities
    labels = task.labels(read)
    assert {label[2:] for label in labels if label != "O"} == {
        "corporation", "creative-work", "group", "location", "person", "product",
    }  # fmt: skip
    some = slice(0, 300)
    part = type(read)(
        source=read.source,
        columns=read.columns,
        places=read.places[some],
        inputs=read.inputs[some],
        targets=read.targets[some],
    )
    encoded = task.encode(part.inputs, tokenizer, Windowing(64))
    gold = task.gold(part, encoded, labels)
    assert len(gold.torn) <= 0.03 * sum(map(len, part.targets))
    assert entity_metrics(part.targets, part.targets)["f1"] == 1


def test_tydiqa_and_squad(litebert_data: Path, tokenizer: Tokenizer) -> None:
    task = QuestionAnswering()
    with pytest.raises(InputError, match="all 440 answers are empty"):
        task.read(litebert_data / "tydiqa" / "tydiqa.goldp.en.dev.json", Columns())
    read = task.read(litebert_data / "tydiqa" / "tydiqa.goldp.en.train.json", Columns())
    assert len(read) == 3696
    encoded = task.encode(read.inputs, tokenizer, Windowing(128))
    gold = task.gold(read, encoded, ("start", "end"))
    assert (gold.unusable, gold.moved) == (0, [])
    assert read.notes[0].startswith("3,607 ids are those of rows before them")
    spans = [
        encoded.contexts[row][encoded.offsets[row][first, 0] : encoded.offsets[row][last, 1]]
        for row, (first, last) in enumerate(gold.pieces.tolist())
    ]
    given = [target.answers[0].text.strip() for target in read.targets]
    other = [(span, answer) for span, answer in zip(spans, given, strict=True) if answer not in span]
    assert len(other) <= 5, other  # invisible characters at their ends belong to no piece
    read = task.read(litebert_data / "squad" / "cs224n-dev-v2.0.json", Columns())
    assert (len(read), sum(not target.answers for target in read.targets)) == (6078, 3168)
    read = task.read(litebert_data / "squad" / "dev-v1.1.json", Columns())
    assert len(read) == 10570
    assert all(
        given.context[answer.start :].startswith(answer.text)
        for given, target in zip(read.inputs, read.targets, strict=True)
        for answer in target.answers
    )


def test_copa_dream_and_arc(litebert_data: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    task = Choice()
    read = task.read(litebert_data / "copa" / "val-en.jsonl", Columns())
    assert len(read) == 100
    assert read.columns == ("premise", "question", "label")
    assert read.inputs[0].choices == ("The toilet filled with water.", "Water flowed from the spout.")
    assert read.targets[0] == 1
    rows: list[dict[str, object]] = []
    for turns, asked, _ in json.loads((litebert_data / "dream" / "dev.json").read_text(encoding="utf-8")):
        rows += [
            {"context": "\n".join(turns), "question": q["question"], "choices": q["choice"], "answer": q["answer"]}
            for q in asked
        ]
    read = task.read(write_jsonl(tmp_path / "dream.jsonl", rows), Columns())
    assert (len(read), {len(given.choices) for given in read.inputs}) == (2040, {3})
    encoded = task.encode(read.inputs[:50], tokenizer, Windowing(64))
    assert encoded.long_rows > 0
    assert len(encoded.bounds) == 51
    with (litebert_data / "arc" / "arc_challenge_validation.csv").open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.reader(file) if line[1] and line[5] != "E"]  # five rows have lost choices
    table = [dict(zip(("question", *"ABCD", "answer"), line, strict=True)) for line in lines]
    write_rows(
        ({"question": r["question"], **{f"choice_{c}": r[c] for c in "ABCD"}, "label": r["answer"]} for r in table),
        tmp_path / "arc.csv",
    )
    read = task.read(tmp_path / "arc.csv", Columns())
    assert len(read) == 294
    assert read.notes[0].startswith("rows differ in their number of choices")
    assert set(read.targets) == {0, 1, 2, 3}


def test_stsb(litebert_data: Path) -> None:
    task = Regress()
    for name, rows in (("train.tsv", 5749), ("dev.tsv", 1500)):
        read = task.read(litebert_data / "glue" / "STS-B" / name, Columns())
        assert read.columns == ("sentence1", "sentence2", "score")
        assert len(read) == rows
        assert 0 == min(read.targets) < max(read.targets) == 5


def test_tweeteval_and_xnli(litebert_data: Path, tmp_path: Path) -> None:
    folder = litebert_data / "tweeteval" / "emotion"
    texts = (folder / "val_text.txt").read_text(encoding="utf-8").splitlines()
    labels = (folder / "val_labels.txt").read_text(encoding="utf-8").splitlines()
    names = dict(line.split("\t") for line in (folder / "mapping.txt").read_text(encoding="utf-8").splitlines() if line)
    rows: list[dict[str, object]] = [
        {"text": text, "label": names[label]} for text, label in zip(texts, labels, strict=True)
    ]
    read = Classify().read(write_jsonl(tmp_path / "emotion.jsonl", rows), Columns())
    assert len(read) == 374
    assert Classify().labels(read) == tuple(sorted(names.values()))
    # The same rows as sets of one label.
    path = write_jsonl(tmp_path / "sets.jsonl", [{"text": row["text"], "labels": [row["label"]]} for row in rows])
    assert Multilabel().labels(Multilabel().read(path, Columns())) == tuple(sorted(names.values()))
    counts = Counter[str]()
    with (litebert_data / "xnli" / "dev-en.tsv").open(encoding="utf-8") as file:
        for line in file:
            counts[line.rstrip("\n").split("\t")[2]] += 1
    assert counts == {"contradiction": 830, "entailment": 830, "neutral": 830}
