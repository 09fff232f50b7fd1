"""Labelled rows: which column is what, and what a label is.

A column is one the user names, else one the model was trained with, else one of the usual names. Labels are
texts, kept as written: the number 1 of a Parquet file and the "1" of a CSV file are the same label.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from litebert.data.rows import Row, is_whole
from litebert.errors import InputError

InputT = TypeVar("InputT")
TargetT = TypeVar("TargetT")

TEXT_NAMES = ("text", "sentence", "content", "review", "tweet", "message")
PAIR_NAMES = (
    ("text", "text_pair"),
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question1", "question2"),
    ("anchor", "positive"),
)
LABEL_NAMES = ("label", "labels", "class", "category", "target")

REGRESSION_VALUES = 10
"""More distinct labels than this that are all numbers, some with a fraction, are values, not classes."""
LARGEST = 1e18
"""The head of a regression answers in fp32, in which squares end at 3.4e38, and sums of squares earlier."""
MOST_CLASSES = 50
"""More classes than this must have two rows each on average, else the column holds something else."""


class Columns(NamedTuple):
    """The columns that are read; None: not told, or not there."""

    text: str | None = None
    text_pair: str | None = None
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class Labelled(Generic[InputT, TargetT]):
    """Rows with what is to be learnt from them, as read from one file; one entry a row in each list."""

    source: str
    columns: Columns
    places: list[str]
    """What to call each row in a message: file and line."""
    inputs: list[InputT]
    targets: list[TargetT]
    ids: list[str] | None = None
    """Names of the rows, which may repeat; None where not every row has one."""
    notes: tuple[str, ...] = ()
    """What the user should know of the file, counted."""
    labels: tuple[str, ...] = ()
    """All labels of the file that these rows are a part of; empty where they are the whole."""

    def __len__(self) -> int:
        return len(self.inputs)


def find_columns(
    present: Iterable[str],
    wanted: Columns,
    source: str | Path,
    *,
    trained: Columns | None = None,
    label: bool = False,
    label_names: Sequence[str] = LABEL_NAMES,
) -> Columns:
    """Choose the columns among those present: the user's, those the model was trained with, the usual ones.

    Raises InputError, naming the columns there are, where one is missing.
    """
    names = [str(name) for name in present]
    for option, name in (
        ("--text", wanted.text),
        ("--text-pair", wanted.text_pair),
        ("--label", wanted.label),
    ):
        if name is not None and name not in names and (label or option != "--label"):
            raise InputError(f"{source} has no column {name!r} ({option}); {there(names)}")
    text, pair = wanted.text, wanted.text_pair
    if text is None and trained is not None and trained.text in names:
        text, pair = trained.text, pair or trained.text_pair
    elif text is None:
        text, pair = _usual_texts(names, pair)
    elif pair is None and trained is not None and trained.text_pair != text and trained.text_pair in names:
        pair = trained.text_pair
    if text is None:
        raise InputError(
            f"{source} has no column 'text', nor another usual name of one; {there(names)}; "
            "name the one with the texts: --text COLUMN"
        )
    if pair is not None and pair not in names:
        raise InputError(f"{source} has no column {pair!r}; {there(names)}; name the second texts: --text-pair COLUMN")
    if not label:
        return Columns(text, pair)
    target = label_column(names, wanted, source, trained, label_names)
    if target in (text, pair):
        raise InputError(
            f"{source}: the column {target!r} cannot hold both texts and labels; name two: --text COLUMN --label COLUMN"
        )
    return Columns(text, pair, target)


def label_column(
    names: Sequence[str],
    wanted: Columns,
    source: str | Path,
    trained: Columns | None = None,
    label_names: Sequence[str] = LABEL_NAMES,
) -> str:
    """Choose the column of the labels; raises InputError, naming the columns there are, where there is none."""
    if wanted.label is not None and wanted.label in names:
        return wanted.label
    if wanted.label is not None:
        raise InputError(f"{source} has no column {wanted.label!r} (--label); {there(names)}")
    known = (trained.label,) if trained is not None and trained.label is not None else ()
    name = first_of(names, known) or first_of(names, label_names)
    if name is None:
        raise InputError(
            f"{source} has no column {label_names[0]!r}; {there(names)}; name the one with the labels: --label COLUMN"
        )
    return name


def _usual_texts(names: list[str], pair: str | None) -> tuple[str | None, str | None]:
    for first, second in PAIR_NAMES:
        left, right = first_of(names, (first,)), first_of(names, (second,))
        if left is not None and right is not None and pair in (None, right):
            return left, right
    return first_of(names, TEXT_NAMES), pair


def first_of(names: Sequence[str], known: Iterable[str]) -> str | None:
    """The first of the known names that is there, as written, else in other capitals."""
    lowered = {name.lower(): name for name in reversed(names)}
    for name in known:
        if name in names:
            return name
        if name.lower() in lowered:
            return lowered[name.lower()]
    return None


def there(names: Sequence[str]) -> str:
    """Name the columns that there are."""
    shown = ", ".join(repr(name if len(name) <= 40 else name[:40] + "…") for name in names[:20])
    words = f"its columns are {shown}{', …' if len(names) > 20 else ''}" if names else "it has no columns"
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        words += " (fields must be separated by commas; a file with tabs is named .tsv)"
    return words


def value_of(fields: Mapping[str, Any], column: str, where: str) -> object:
    """Return a field of a row; raises InputError where it is missing."""
    if column not in fields:
        raise InputError(f"{where}: no field {column!r}, which the first row has; add it to that row")
    return fields[column]


def texts_of(fields: Mapping[str, Any], columns: Columns, where: str) -> tuple[str, str | None]:
    """Return text and second text of a row; a second text that is missing or empty is None."""
    assert columns.text is not None
    text = text_of(value_of(fields, columns.text, where), columns.text, where)
    if columns.text_pair is None:
        return text, None
    return text, text_of(fields.get(columns.text_pair), columns.text_pair, where) or None


def text_of(value: object, column: str, where: str) -> str:
    """Return a field as a text, "" where it is missing; raises InputError for a list or an object."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"{where}: {column!r} is no text but {kind_of(value)}; give a text")


def label_name(value: object, column: str, where: str) -> str:
    """Return a label as a text: what was written, without spaces around it.

    Raises InputError where there is none (empty, null, NaN) or the value is no label.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isnan(value):
        value = None
    if isinstance(value, float) and math.isinf(value):
        raise InputError(f"{where}: {value!r} in {column!r} is no label; correct that row or remove it")
    if value is None or isinstance(value, str | int | float):
        name = "" if value is None else str(value).strip()
        if name == "" or name.lower() == "nan":
            raise InputError(f"{where}: the label ({column!r}) is missing; label that row or remove it")
        if not is_whole(name):
            raise InputError(f"{where}: the label {name!r} holds half a character (a lone surrogate); correct that row")
        return name
    raise InputError(f"{where}: the label ({column!r}) is {kind_of(value)}; a label is one text or number")


def number_of(value: object, column: str, where: str) -> float:
    """Return a field as a number; raises InputError where it is none, or one too large to compute with."""
    try:
        number = _float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where}: {value!r} in {column!r} is no finite number; correct that row or remove it")
    if abs(number) > LARGEST:
        raise InputError(
            f"{where}: {value!r} in {column!r} is too large to be squared (at most {LARGEST:g}); give the values in "
            "larger units"
        )
    return number


def kind_of(value: object) -> str:
    """Say what a value is, for a message."""
    kinds = {
        type(None): "null",
        list: "a list",
        dict: "an object",
        bool: "true or false",
        bytes: "bytes",
        str: "a text",
    }
    return kinds.get(type(value), f"a {type(value).__name__}")


def list_of(value: object) -> Sequence[Any] | None:
    """Return a list, given as such or, in a table's cell, as JSON; None where it is none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, list | tuple) else None


def label_set(labels: Sequence[str], source: str, column: str | None) -> tuple[str, ...]:
    """Return the labels that occur, sorted: numbers by their size, else as texts.

    Raises InputError where they are no classes: only one, values of a regression, or nearly one a row.
    """
    counts = Counter(labels)
    if len(counts) == 1:
        raise InputError(
            f"{source}: every label in {column!r} is {labels[0]!r}; classify needs rows of two labels or more"
        )
    numbers = [_number(label) for label in counts]
    values = [number for number in numbers if number is not None]
    all_numbers = len(values) == len(counts)
    if all_numbers and len(counts) > REGRESSION_VALUES and any(not value.is_integer() for value in values):
        raise InputError(
            f"{source}: {column!r} holds {len(counts)} different numbers such as {labels[0]}: "
            "this looks like "
            "regression, which `litebert finetune regress` is for; classify needs classes"
        )
    if len(counts) > MOST_CLASSES and len(counts) > len(labels) / 2:
        raise InputError(
            f"{source}: {column!r} holds {len(counts)} different labels in {len(labels)} rows; is it the "
            "column with "
            "the labels? Name another: --label COLUMN"
        )
    return sorted_labels(counts)


def sorted_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Sort labels: numbers by their size, else as texts."""
    different = set(labels)
    numbers = {label: _number(label) for label in different}
    if None in numbers.values():
        return tuple(sorted(different))
    return tuple(sorted(different, key=lambda label: (numbers[label] or 0.0, label)))


def _float(value: str | float) -> float:
    """As tables write numbers: Python would take 2020_01 for one, and digits of any script."""
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        raise ValueError
    return float(value)


def _number(label: str) -> float | None:
    try:
        value = _float(label)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def label_ids(rows: Labelled[Any, str], labels: Sequence[str]) -> list[int]:
    """Return each row's index into `labels`; raises InputError, naming the row, for a label that is not among
    them."""
    index = {label: i for i, label in enumerate(labels)}
    for i, label in enumerate(rows.targets):
        if label not in index:
            raise unknown_label(label, rows.places[i], labels)
    return [index[label] for label in rows.targets]


def unknown_label(label: str, where: str, labels: Sequence[str]) -> InputError:
    """Say that a label was not among those of the training."""
    known = ", ".join(map(repr, labels[:10])) + (", …" if len(labels) > 10 else "")
    return InputError(
        f"{where}: the label {label!r} is not one the model was trained on ({known}); "
        "correct the row, or train on rows with that label"
    )


def merged(fields: Row, record: Mapping[str, Any]) -> Row:
    """Add a result to the row it belongs to; a field of the row with the name of a result keeps its value as
    `input_NAME`."""
    kept: Row = {}
    for name, value in fields.items():
        while name in record or name in kept:
            name = f"input_{name}"
        kept[name] = value
    return kept | dict(record)
