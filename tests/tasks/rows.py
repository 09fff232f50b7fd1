"""Rows written for these tests, a few dozen for each task: little enough to be learnt by heart in seconds."""

import json
from pathlib import Path
from typing import Any

from tests.labelled import BAD, GOOD

PEOPLE = ("Anna", "Omar", "Li Wei", "Jane Doe")
PLACES = ("Rome", "New York", "Oslo", "Lima")
SENTENCES = (
    "{person} lives in {place}.",
    "The train from {place} brought {person} home",
    "In {place}, nobody knows {person}!",
    "{person} and the cat",
)


def multilabel_rows() -> list[dict[str, Any]]:
    """Opinions with a mood and, some of them, subjects; one has no label at all."""
    rows = []
    for good, bad in zip(GOOD.strip().splitlines(), BAD.strip().splitlines(), strict=True):
        for text, mood in ((good, "glad"), (bad, "cross")):
            subjects = [word for word in ("soup", "film", "band", "book") if word in text]
            rows.append({"text": text, "labels": [mood, *subjects]})
    return [*rows, {"text": "Water is wet.", "labels": []}]


def regress_rows() -> list[dict[str, Any]]:
    """Opinions with a number far from zero."""
    lines = [(GOOD, 1000.0), (BAD, 940.0)]
    return [
        {"text": text, "value": mean + i}
        for lines_, mean in lines
        for i, text in enumerate(lines_.strip().splitlines())
    ]


def ner_rows() -> list[dict[str, Any]]:
    """Sentences with people and places as spans of characters."""
    rows = []
    for number, sentence in enumerate(SENTENCES):
        for i, person in enumerate(PEOPLE):
            place = PLACES[(i + number) % len(PLACES)]
            text = sentence.format(person=person, place=place)
            spans = [
                {"start": text.index(name), "end": text.index(name) + len(name), "label": label}
                for name, label in ((person, "person"), (place, "place"))
                if name in text
            ]
            rows.append({"text": text, "entities": sorted(spans, key=lambda span: span["start"])})
    return rows


def conll(rows: list[dict[str, Any]]) -> str:
    """The same as columns, IOB2, one space between words."""
    lines = []
    for row in rows:
        at = 0
        for word in row["text"].split(" "):
            span = next((s for s in row["entities"] if s["start"] <= at < s["end"]), None)
            tag = "O" if span is None else f"{'B' if span['start'] == at else 'I'}-{span['label']}"
            lines.append(f"{word}\t{tag}")
            at += len(word) + 1
        lines.append("")
    return "\n".join(lines) + "\n"


def squad(unanswerable: bool = True) -> dict[str, Any]:
    """Where do people live? SQuAD's JSON; some of those asked for are not in the context."""
    data = []
    for i, person in enumerate(PEOPLE):
        other, place = PEOPLE[(i + 1) % len(PEOPLE)], PLACES[i]
        context = f"The weather is fine today. {person} lives in {place}, near the old  bridge. Nobody goes there."
        answers = [{"text": place, "answer_start": context.index(place)}]
        qas: list[dict[str, Any]] = [
            {"id": f"a{i}", "question": f"Where does {person} live?", "answers": answers},
            {
                "id": f"b{i}",
                "question": f"What is near the house of {person}?",
                "answers": [{"text": "the old  bridge", "answer_start": context.index("the old")}],
            },
        ]
        if unanswerable:
            qas.append({"id": f"c{i}", "question": f"Who is {other}?", "answers": [], "is_impossible": True})
        data.append({"title": str(i), "paragraphs": [{"context": context, "qas": qas}]})
    return {"version": "own", "data": data}


def choice_rows() -> list[dict[str, Any]]:
    """What follows? Two to four choices."""
    causes = ("It rained all day.", "The sun was hot.", "He fell off the wall.", "She won the race.", "The cup broke.")
    effects = ("The street was wet.", "They drank water.", "His leg hurt.", "She was glad.", "Tea ran over the table.")
    rows = []
    for i, cause in enumerate(causes):
        for shift in range(1, 5):
            wrong = [effects[(i + j) % 5] for j in range(1, 1 + min(shift, 3))]
            place = (i + shift) % (len(wrong) + 1)
            rows.append(
                {"context": cause, "question": "What then?", "choices": [*wrong[:place], effects[i], *wrong[place:]]}
                | {"label": place}
            )
    return rows


def write_json(path: Path, value: object) -> Path:
    """Write one JSON value."""
    path.write_text(json.dumps(value), encoding="utf-8")
    return path
