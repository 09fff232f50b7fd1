"""Files of public data sets as they are distributed, to rows with the fields that our tasks read.

Each reader takes the files of one part of a set (mostly one; texts and labels may lie in several) and returns its rows,
and what is to be known of them: what was left out, counted. Damaged files raise InputError, naming file and line.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from litebert.data.packing import opened
from litebert.data.questions import read_squad
from litebert.data.rows import Row
from litebert.errors import InputError
from litebert.tasks.table import TASKS


@dataclass(frozen=True)
class Part:
    """The rows of one part of a set."""

    rows: list[Row]
    notes: tuple[str, ...] = field(default=())


Reader = Callable[[Sequence[Path]], Part]

COPA_QUESTIONS = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}
"""What COPA asks, as its own instructions put it (Roemmele et al. 2011)."""
LETTERS = "ABCDE"


def lines_of(path: Path) -> list[str]:
    r"""The lines of a file of UTF-8, plain or packed; only \n and \r\n end one."""
    with opened(path) as file:
        content = file.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {number}: not UTF-8; bring the file anew") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise InputError(f"{path} is empty; bring the file anew")
    return lines


def table(
    columns: Mapping[str, str],
    *,
    header: bool = True,
    labels: Mapping[str, str] | None = None,
    number: str | None = None,
    tolerant: bool = False,
) -> Reader:
    """A reader of tables whose fields stand between tabs, in which quotes mean nothing (GLUE's files).

    columns: from a field of ours to the column's name, without header to its place, as a text.
    labels: what the labels in the file mean; others are damage.
    number: a field of ours that is a number.
    tolerant: lines with too few fields are left out and counted, instead of being damage.
    """

    def read(files: Sequence[Path]) -> Part:
        (path,) = files
        lines = lines_of(path)
        names = lines[0].split("\t") if header else list(map(str, range(max(line.count("\t") for line in lines) + 1)))
        absent = [name for name in columns.values() if name not in names]
        if absent:
            raise InputError(f"{path} has no column {absent[0]!r} (there: {', '.join(names)}); bring the file anew")
        places = {ours: names.index(name) for ours, name in columns.items()}
        rows, broken = [], 0
        for at, line in enumerate(lines[header:], 1 + header):
            fields = line.split("\t")
            if len(fields) <= max(places.values()):
                broken += 1
                if not tolerant:
                    raise InputError(f"{path}, line {at}: {len(fields)} fields; {len(names)} were expected")
                continue
            row: Row = {ours: fields[place].strip() for ours, place in places.items()}
            rows.append(_typed(row, labels, number, f"{path}, line {at}"))
        return Part(rows, (f"{broken:,} lines of {path.name} with too few fields are left out",) if broken else ())

    return read


def numbered(reader: Reader) -> Reader:
    """The same rows with their numbers, from 0, as `id`."""

    def read(files: Sequence[Path]) -> Part:
        part = reader(files)
        return Part([{"id": str(number), **row} for number, row in enumerate(part.rows)], part.notes)

    return read


def _typed(row: Row, labels: Mapping[str, str] | None, number: str | None, where: str) -> Row:
    if labels is not None and "label" in row:
        if row["label"] not in labels:
            raise InputError(f"{where}: the label {row['label']!r} is none of {', '.join(labels)}; bring the file anew")
        row["label"] = labels[row["label"]]
    if number is not None and number in row:
        try:
            row[number] = float(row[number])
        except ValueError:
            raise InputError(f"{where}: {row[number]!r} is no number; bring the file anew") from None
    return row


def json_lines(files: Sequence[Path]) -> Part:
    """Rows that are JSON objects already, with `text` and `label`."""
    return Part([{"text": row["text"], "label": row["label"]} for row in _objects(files[0], ("text", "label"))])


def copa(files: Sequence[Path]) -> Part:
    """COPA as JSON lines: premise, two choices, and whether the cause or the effect is asked for."""
    needed = ("premise", "choice1", "choice2", "question", "label")
    return Part(
        [
            {
                "context": row["premise"],
                "question": COPA_QUESTIONS.get(row["question"], row["question"]),
                "choices": [row["choice1"], row["choice2"]],
                "label": row["label"],
            }
            for row in _objects(files[0], needed)
        ]
    )


def dream(files: Sequence[Path]) -> Part:
    """DREAM: dialogues, [[turns, [{question, choice, answer}], id], ...]."""
    (path,) = files
    rows: list[Row] = []
    try:
        for turns, asked, _ in _json(path):
            for one in asked:
                rows.append(
                    {
                        "context": "\n".join(turns),
                        "question": one["question"],
                        "choices": one["choice"],
                        "label": one["choice"].index(one["answer"]),
                    }
                )
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is not DREAM's JSON ({error!r}); bring the file anew") from None
    return Part(rows)


def race(folders: Sequence[Path]) -> Part:
    """RACE: folders of passages, each a file {id, article, questions, options, answers}."""
    rows: list[Row] = []
    for path in (path for folder in folders for path in sorted(folder.glob("*.txt"))):
        try:
            passage = _json(path)
            asked = zip(passage["questions"], passage["options"], passage["answers"], strict=True)
            for number, (question, choices, answer) in enumerate(asked):
                rows.append(
                    {
                        "id": f"{passage['id']}-{number}",
                        "context": passage["article"],
                        "question": question,
                        "choices": choices,
                        "label": LETTERS.index(answer),
                    }
                )
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{path} is no passage of RACE ({error!r}); bring the folder anew") from None
    return Part(rows)


def arc(files: Sequence[Path]) -> Part:
    """ARC as CSV without a header: question, A, B, C, D, letter of the answer.

    Questions whose choices were numbered, or more than four, have lost them on the way: those whose answer is not among
    the choices that are there are left out.
    """
    (path,) = files
    rows, lost = [], 0
    try:
        for fields in csv.reader(io.StringIO("\n".join(lines_of(path))), strict=True):
            question, *choices, answer = fields
            while choices and not choices[-1]:
                choices.pop()
            right = LETTERS.find(answer)
            if len(fields) != 6:
                raise InputError(f"{path}: {len(fields)} fields in {question[:40]!r}; 6 were expected")
            if len(choices) < 2 or "" in choices or not 0 <= right < len(choices):
                lost += 1
                continue
            rows.append({"context": question, "choices": choices, "label": right})
    except (csv.Error, ValueError) as error:
        raise InputError(f"{path} is not valid CSV ({error}); bring the file anew") from None
    return Part(rows, (f"{lost:,} rows of {path.name} have lost their choices and are left out",) if lost else ())


def squad(files: Sequence[Path]) -> Part:
    """SQuAD's JSON; where ids repeat, the questions get numbers instead."""
    rows = read_squad(files[0])
    if rows is None:
        raise InputError(f"{files[0]} is not SQuAD's JSON; bring the file anew")
    if not any(answer.get("text") for row in rows for answer in row.get("answers", ())):
        raise InputError(f"{files[0]} has no answers, so that nothing can be learnt or judged; bring a labelled one")
    if doubled := len(rows) - len({row["id"] for row in rows}):
        rows = [row | {"id": str(number)} for number, row in enumerate(rows)]
        return Part(rows, (f"{doubled:,} ids repeat, so that questions are numbered",))
    return Part(rows)


def conll(files: Sequence[Path]) -> Part:
    """CoNLL columns as texts with spans."""
    return Part([fields for _, fields in TASKS["ner"].rows(files[0], labelled=True)])


def parallel_files(files: Sequence[Path]) -> Part:
    """A file of texts and one of labels, line by line; a third one may say what the labels mean (number, tab, name)."""
    texts, labels = lines_of(files[0]), lines_of(files[1])
    if len(texts) != len(labels):
        raise InputError(f"{files[0]} has {len(texts):,} lines, {files[1]} {len(labels):,}; bring both files anew")
    names: dict[str, str] = {}
    if len(files) > 2:
        names = {line.split("\t")[0]: line.split("\t")[-1].strip() for line in lines_of(files[2])}
    rows = []
    for at, (text, label) in enumerate(zip(texts, labels, strict=True), 1):
        label = label.strip()
        if names and label not in names:
            raise InputError(f"{files[1]}, line {at}: {label!r} is not in {files[2].name}; bring both files anew")
        rows.append({"text": text.strip(), "label": names.get(label, label)})
    return Part(rows)


def _objects(path: Path, needed: Sequence[str]) -> Iterator[Row]:
    for at, line in enumerate(lines_of(path), 1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}, line {at}: not JSON ({error}); bring the file anew") from None
        absent = [name for name in needed if not isinstance(value, dict) or name not in value]
        if absent:
            raise InputError(f"{path}, line {at}: no {absent[0]!r}; bring the file anew")
        yield value


def _json(path: Path) -> Any:
    try:
        return json.loads("\n".join(lines_of(path)))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); bring the file anew") from None
