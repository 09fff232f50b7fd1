"""choice: which of several texts goes with a context, with or without a question.

Each choice is a sequence, `[CLS] context [SEP] question choice [SEP]`; a softmax over the choices of a row.
Dimensions: R rows, O choices of all rows, n sequences, S sequences of a batch.
"""

import itertools
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from litebert.data.examples import Ints, Items, SequenceBatch, encode_rows
from litebert.data.labelled import Columns, Labelled, first_of, kind_of, label_column, list_of, text_of, there, value_of
from litebert.errors import InputError
from litebert.evaluate.calibration import Decisions
from litebert.evaluate.metrics import Floats, Metrics, log_softmax
from litebert.model.outputs import window_means
from litebert.tasks.imitation import Opinion, grouped_divergence
from litebert.tasks.task import (
    DIGITS,
    Encoded,
    ItemLoss,
    Lesson,
    Task,
    Weighting,
    Windowing,
    grouped_log_softmax,
    shares,
)
from litebert.text.tokenizer import Tokenizer

CONTEXT_NAMES = ("context", "article", "passage", "premise", "text", "sent1")
QUESTION_NAMES = ("question", "query", "sent2")
CHOICES_NAMES = ("choices", "options", "answers", "endings")
_NUMBERED = re.compile(r"(?i)(choice|option|ending|answer)_?([0-9]{1,9}|[a-j])$")


class Choices(NamedTuple):
    """What there is to choose from."""

    context: str
    question: str
    choices: tuple[str, ...]


class Chosen(NamedTuple):
    """The choice of a row."""

    choice: int
    """Counted from 0."""
    scores: tuple[float, ...]
    """Probability of each choice."""

    def to_dict(self) -> dict[str, Any]:
        """`choice`, `scores`."""
        return {"choice": self.choice, "scores": [round(score, DIGITS) for score in self.scores]}


@dataclass(frozen=True, kw_only=True)
class ChoiceEncoded(Encoded):
    """Choices, each as a row of `examples`."""

    bounds: Ints
    """(R + 1,): where among the choices those of each row begin."""

    @property
    def long_rows(self) -> int:
        """Rows with a choice that did not fit into one sequence."""
        many = self.examples.windows_per_row > 1
        return int(np.logical_or.reduceat(many, self.bounds[:-1]).sum()) if len(many) else 0


class Choice(Task[Choices, int, ChoiceEncoded, Ints]):
    """The right choice by cross-entropy over those of its row; gold (R,)."""

    name = "choice"
    head = "choice"
    named_outputs = False
    metrics = ("accuracy",)
    decides = True
    answer_field = "choice"
    label_names = ("label", "answer", "choice", "correct", "gold")
    fields: ClassVar[str] = "'context' and 'choices'"

    def columns(
        self, present: Any, wanted: Columns, source: str | Path, *, trained: Columns | None = None, label: bool = False
    ) -> Columns:
        """--text names the contexts, --text-pair the questions, which need not be there."""
        names = [str(name) for name in present]
        trained = trained or Columns()
        question = wanted.text_pair or first_of(names, [n for n in (trained.text_pair, *QUESTION_NAMES) if n])
        context = wanted.text or first_of(names, [n for n in (trained.text, *CONTEXT_NAMES) if n])
        if context is None and question is not None and wanted.text_pair is None:
            context, question = question, None  # a question and its answers, nothing else
        for name, option in ((context, "--text"), (question, "--text-pair")):
            if (name is None and option == "--text") or (name is not None and name not in names):
                raise InputError(
                    f"{source} has no column {name or 'context'!r}; {there(names)}; name it: {option} COLUMN"
                )
        if first_of(names, CHOICES_NAMES) is None and not any(_NUMBERED.match(name) for name in names):
            raise InputError(
                f"{source} has no column 'choices'; {there(names)}; give a list `choices`, or columns choice1, "
                "choice2, …"
            )
        return Columns(
            context, question, label_column(names, wanted, source, trained, self.label_names) if label else None
        )

    def input(self, fields: Mapping[str, Any], columns: Columns, where: str) -> Choices:
        """Context, question and choices."""
        assert columns.text is not None
        context = text_of(value_of(fields, columns.text, where), columns.text, where)
        question = "" if columns.text_pair is None else text_of(fields.get(columns.text_pair), columns.text_pair, where)
        return Choices(context, question, _choices(fields, where))

    def target(self, fields: Mapping[str, Any], columns: Columns, where: str) -> int:
        """The right choice: its number from 0, its letter, or its words."""
        assert columns.label is not None
        choices = _choices(fields, where)
        return _index(value_of(fields, columns.label, where), columns.label, where, choices)

    def encode(self, inputs: Sequence[Choices], tokenizer: Tokenizer, windowing: Windowing) -> ChoiceEncoded:
        """Tokenize every choice beside its context, in windows."""
        texts = [given.context for given in inputs for _ in given.choices]
        pairs = [f"{given.question} {choice}".strip() for given in inputs for choice in given.choices]
        counts = np.array([0, *(len(given.choices) for given in inputs)], dtype=np.int64)
        return ChoiceEncoded(
            examples=encode_rows(tokenizer, texts, list(pairs), windowing.length), bounds=np.cumsum(counts)
        )

    def labels(self, rows: Labelled[Choices, int]) -> tuple[str, ...]:
        """One output, for any number of choices."""
        return ("score",)

    def gold(self, rows: Labelled[Choices, int], encoded: ChoiceEncoded, labels: Sequence[str]) -> Ints:
        """The right choices."""
        return np.array(rows.targets, dtype=np.int64)

    def input_notes(self, inputs: Sequence[Choices]) -> list[str]:
        """Say where rows differ in their number of choices."""
        counts = Counter(len(given.choices) for given in inputs)
        if len(counts) < 2:
            return []
        shown = ", ".join(f"{number} choices: {count:,}" for number, count in sorted(counts.items()))
        return [f"rows differ in their number of choices ({shown})"]

    def describe(self, gold: Ints, labels: Sequence[str]) -> str:
        """How often each place is right."""
        counts = np.bincount(gold)
        return f"right choices: {shares(tuple(map(str, range(len(counts)))), counts.tolist())}"

    def lesson(self, encoded: ChoiceEncoded, gold: Ints, labels: Sequence[str], weighting: Weighting) -> Lesson:
        """A row's choices are learnt together; the logits of windows are averaged, as when answering."""
        examples, bounds = encoded.examples, encoded.bounds
        row_of = _row_of_choices(encoded)
        right = torch.from_numpy(gold)  # (R,)
        groups = np.searchsorted(examples.rows, np.stack((bounds[:-1], bounds[1:]), 1))

        def loss(logits: Tensor, batch: SequenceBatch) -> Tensor:
            means, choices = _choice_means(encoded, logits, batch)
            rows, row, counts = torch.unique_consecutive(row_of[choices], return_inverse=True, return_counts=True)
            logs = grouped_log_softmax(means, row.to(means.device), len(rows))
            return -logs.index_select(0, (counts.cumsum(0) - counts + right[rows]).to(means.device))

        items = Items(examples=examples, groups=groups, weights=np.ones(len(gold)), rows=np.arange(len(gold)))
        return Lesson(items=items, loss=loss)

    def opinions(self, encoded: ChoiceEncoded, outputs: Floats) -> list[Floats]:
        """The logits of each row's choices; those of windows are averaged."""
        return np.split(window_means(encoded.examples, outputs)[:, 0], encoded.bounds[1:-1])

    def imitation(
        self, encoded: ChoiceEncoded, opinions: Sequence[Opinion], lesson: Lesson, temperature: float
    ) -> ItemLoss:
        """The divergence of the softened distributions over a row's choices."""
        row_of = _row_of_choices(encoded)
        sizes = np.diff(encoded.bounds).tolist()
        said = [np.zeros(size, np.float32) if o is None else o for o, size in zip(opinions, sizes, strict=True)]
        theirs = torch.from_numpy(np.concatenate(said))  # (O,)

        def distance(logits: Tensor, batch: SequenceBatch) -> Tensor:
            means, choices = _choice_means(encoded, logits, batch)
            rows, row = torch.unique_consecutive(row_of[choices], return_inverse=True)
            wanted = theirs[choices].to(means.device)
            return grouped_divergence(means, wanted, row.to(means.device), len(rows), temperature)

        return distance

    def answers(
        self, encoded: ChoiceEncoded, outputs: Floats, labels: Sequence[str], decision: Mapping[str, Any]
    ) -> list[Chosen]:
        """The likeliest choice."""
        result = []
        for logs in _log_probabilities(encoded, outputs):
            result.append(Chosen(int(logs.argmax()), tuple(np.exp(logs).tolist())))
        return result

    def judge(
        self,
        encoded: ChoiceEncoded,
        gold: Ints,
        outputs: Floats,
        labels: Sequence[str],
        decision: Mapping[str, Any],
    ) -> Metrics:
        """accuracy; `predicted_choices`, the number of different answers; loss in nats."""
        logs = _log_probabilities(encoded, outputs)
        loss = -float(np.mean([row[right] for row, right in zip(logs, gold.tolist(), strict=True)]))
        return _accuracy(gold.tolist(), [int(row.argmax()) for row in logs]) | {"loss": loss}

    def decisions(self, encoded: ChoiceEncoded, gold: Ints, outputs: Floats) -> Decisions:
        """One of the choices of every row."""
        given = _log_probabilities(encoded, outputs)
        logits = np.full((len(gold), max(map(len, given), default=1)), -np.inf)
        for row, values in enumerate(given):
            logits[row, : len(values)] = values
        return Decisions(logits, gold, np.arange(len(gold)))

    def collapsed(self, metrics: Metrics) -> bool:
        """The same place in all rows."""
        return metrics["predicted_choices"] == 1

    def varied(self, gold: Ints) -> bool:
        """Whether different places are right."""
        return len(set(gold.tolist())) > 1

    def majority(self, train: Ints, dev: Ints) -> float:
        """Dev accuracy of the place that is most often right in training."""
        return float((dev == np.bincount(train).argmax()).mean())

    def answer_of(self, fields: Mapping[str, Any], where: str) -> int | str:
        """`choice`, or `label` or `prediction`: a number from 0, a letter, or the words of the choice."""
        column = next((name for name in ("choice", "label", "prediction") if name in fields), "choice")
        value = value_of(fields, column, where)
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise InputError(f"{where}: {value!r} in {column!r} is no choice; write its number, from 0")
        return value

    def check_answer(self, given: Choices, answer: int | str, where: str) -> None:
        """It must be one of the choices."""
        _index(answer, "choice", where, given.choices)

    def score(self, rows: Labelled[Choices, int], answers: Sequence[int | str]) -> Metrics:
        """Accuracy."""
        given = [
            _index(answer, "choice", rows.places[row], rows.inputs[row].choices) for row, answer in enumerate(answers)
        ]
        return _accuracy(rows.targets, given)


def _row_of_choices(encoded: ChoiceEncoded) -> Tensor:
    """(O,): which row each choice belongs to."""
    counts = np.diff(encoded.bounds)
    return torch.from_numpy(np.repeat(np.arange(len(counts)), counts))


def _choice_means(encoded: ChoiceEncoded, logits: Tensor, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
    """The mean logit of each choice in a batch, and which of all choices it is."""
    choice_of = torch.from_numpy(encoded.examples.rows[batch.sequences])  # (S,)
    choices, place = torch.unique_consecutive(choice_of, return_inverse=True)
    sums = logits.new_zeros(len(choices)).index_add(0, place.to(logits.device), logits[:, 0])
    windows = torch.from_numpy(encoded.examples.windows_per_row[choices.numpy()])
    return sums / windows.to(logits.device), choices


def _log_probabilities(encoded: ChoiceEncoded, outputs: Floats) -> list[Any]:
    """For each row the log-probabilities of its choices."""
    logits = window_means(encoded.examples, outputs)[:, 0]
    return [log_softmax(logits[start:end]) for start, end in itertools.pairwise(encoded.bounds)]


def _accuracy(gold: Sequence[int], given: Sequence[int]) -> Metrics:
    right = sum(one == other for one, other in zip(gold, given, strict=True))
    return {"accuracy": right / max(len(gold), 1), "predicted_choices": float(len(set(given)))}


def _choices(fields: Mapping[str, Any], where: str) -> tuple[str, ...]:
    column = first_of(list(fields), CHOICES_NAMES)
    if column is not None and not _NUMBERED.match(column):
        given = fields[column]
        value = list_of(given)
        if value is None:
            raise InputError(f'{where}: {column!r} is {kind_of(given)}, no list of choices; write ["one", "another"]')
        found = tuple(text_of(one, column, where) for one in value)
    else:
        numbered = sorted((name for name in fields if _NUMBERED.match(name)), key=_number)
        found = tuple(text_of(fields[name], name, where) for name in numbered)
    while found and not found[-1].strip():  # of a row with fewer choices than the others
        found = found[:-1]
    if len(found) < 2:
        raise InputError(f"{where}: {len(found)} choices; a row needs two or more")
    if not all(choice.strip() for choice in found):
        empty = next(number for number, choice in enumerate(found) if not choice.strip())
        raise InputError(f"{where}: choice {empty} (from 0) is empty; write it, or remove the row")
    return found


def _number(name: str) -> tuple[int, str]:
    number = name.rstrip("0123456789")
    digits = name[len(number) :]
    return (int(digits) if digits else 0, name)


def _index(value: object, column: str, where: str, choices: Sequence[str]) -> int:
    """The number of a choice, given as a number from 0, as its words, else as a letter from A.

    Raises InputError where words are none of them, or those of one choice and the number of another.
    """
    words = "" if value is None or isinstance(value, bool) else str(value).strip()
    number = words.removesuffix(".0")
    if number.isascii() and number.isdigit() and len(number) < 10 and int(number) < len(choices):
        if isinstance(value, str) and words in choices and list(choices).index(words) != int(number):
            raise InputError(
                f"{where}: {value!r} in {column!r} is one choice's words and another one's number; write the letter, "
                "or in JSON the number without quotes"
            )
        return int(number)
    if words in choices:
        return list(choices).index(words)
    letter = string.ascii_lowercase.find(words.lower()) if len(words) == 1 else -1
    if 0 <= letter < len(choices):
        return letter
    raise InputError(
        f"{where}: {value!r} in {column!r} is none of the {len(choices)} choices; write its number, from 0 to "
        f"{len(choices) - 1}, its letter, or its words"
    )
