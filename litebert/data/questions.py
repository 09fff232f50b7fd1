"""Questions on contexts: SQuAD's JSON, versions 1.1 and 2.0, as rows, and the forms of answers.

{"data": [{"paragraphs": [{"context": "...", "qas": [{"id": "...", "question": "...",
  "answers": [{"text": "...", "answer_start": 17}], "is_impossible": false}]}]}]}
"""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

from litebert.data.packing import opened
from litebert.data.rows import Row
from litebert.errors import InputError


class Given(NamedTuple):
    """A right answer."""

    text: str
    start: int
    """Its first character in the context."""


def read_squad(source: str | Path) -> list[Row] | None:
    """Return the questions of a file, with `id`, `question`, `context` and, where it has them, `title` and `answers`.

    None: the file is JSON lines, not SQuAD's JSON. Raises InputError where it is damaged, not JSON, or lacks a field.
    """
    path = Path(source)
    with opened(path) as file:
        content = file.read()
    try:
        value = json.loads(content)
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8; save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        if b"\n{" in content:
            return None
        raise InputError(f"{path} is not JSON ({error}); give SQuAD's JSON, or JSON lines named .jsonl") from None
    if not isinstance(value, dict) or "data" not in value:
        return None
    rows: list[Row] = []
    try:
        rows.extend(_questions(value["data"]))
    except KeyError as error:
        raise InputError(
            f"{path}: after question {len(rows):,} there is no {error}; add it, as SQuAD's JSON has it"
        ) from None
    except TypeError as error:
        raise InputError(f"{path}: after question {len(rows):,} it is not SQuAD's JSON ({error}); correct it") from None
    return rows


def _questions(data: Any) -> Iterator[Row]:
    for article in data:
        for paragraph in article["paragraphs"]:
            context = paragraph["context"]
            for qa in paragraph["qas"]:
                row: Row = {"id": qa["id"], "question": qa["question"], "context": context}
                if "title" in article:
                    row["title"] = article["title"]
                impossible = qa.get("is_impossible", False)
                if not isinstance(impossible, bool):
                    raise TypeError(f"is_impossible is {impossible!r}, neither true nor false")
                if "answers" in qa:
                    row["answers"] = [] if impossible else qa["answers"]
                yield row


def place_of(answer: Given, context: str) -> int | None:
    """Where an answer stands: where it is said to, else at the nearest place with the same characters."""
    text = answer.text
    if answer.start >= 0 and context[answer.start : answer.start + len(text)] == text:
        return answer.start
    around = max(answer.start, 0)
    found = (context.rfind(text, 0, around + len(text)), context.find(text, around))
    return min((at for at in found if at >= 0), key=lambda at: abs(at - around), default=None)


def given_answers(value: object, column: str, where: str, context: str) -> tuple[Given, ...]:
    """Read answers in SQuAD's form, that of `datasets`, or as texts; raises InputError for what is none."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):  # as a cell of a table holds them
        with contextlib.suppress(ValueError):
            cell = json.loads(value)
            if all(isinstance(one, str | Mapping) for one in (cell if isinstance(cell, list) else [cell])):
                value = cell  # else it is a text, such as [1]
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):  # columns instead of rows
        starts = value.get("answer_start") or [None] * len(value["text"])
        starts = starts if isinstance(starts, list) else [starts]
        if len(starts) != len(value["text"]):
            raise InputError(
                f"{where}: {column!r} has {len(value['text'])} texts and {len(starts)} places (answer_start); give one "
                "for each answer"
            )
        value = [{"text": text, "answer_start": start} for text, start in zip(value["text"], starts, strict=True)]
    if value is None:
        raise InputError(f"{where}: {column!r} is null; write [] where there is no answer, or leave the row out")
    if not isinstance(value, list | tuple):
        value = [value] if value != "" else []
    found = []
    for one in value:
        answer = {"text": one} if isinstance(one, str) else one
        if not isinstance(answer, Mapping) or not isinstance(answer.get("text"), str):
            raise InputError(
                f"{where}: {str(one)[:60]!r} in {column!r} is no answer; write "
                '{"text": "Rome", "answer_start": 17}, [] where there is none'
            )
        start = answer.get("answer_start", answer.get("start"))
        if isinstance(start, float):  # as tables with gaps hold whole numbers, and the gaps
            start = int(start) if start.is_integer() else None if math.isnan(start) else start
        if start is not None and (isinstance(start, bool) or not isinstance(start, Integral)):
            raise InputError(
                f"{where}: {start!r} is no place of an answer (answer_start in {column!r}); write the number of its "
                "first character, or leave it out"
            )
        found.append(Given(answer["text"], max(context.find(answer["text"]), 0) if start is None else int(start)))
    return tuple(found)
