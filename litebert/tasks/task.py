"""What a task is: everything that fine-tuning, predicting and evaluating need to know of it, and nothing else does.

    file -> rows -> (input, target) -> encoded (windows) + gold -> lesson (items, loss)     to learn
    rows -> [a teacher] -> opinions -> distance                                        to learn from it, too
    file -> rows -> input -> encoded -> [the model's head] -> outputs -> answers           to answer
    gold + outputs -> metrics;   targets + answers of any system -> score                  to judge

Dimensions: R rows, n sequences (windows), S sequences of a batch, T its tokens, C outputs of a head.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from litebert.data.examples import Examples, Items, SequenceBatch
from litebert.data.labelled import (
    LABEL_NAMES,
    Columns,
    InputT,
    Labelled,
    TargetT,
    find_columns,
)
from litebert.data.rows import Row, place, read_rows
from litebert.errors import ConfigError, InputError
from litebert.evaluate.calibration import Decisions
from litebert.evaluate.metrics import Bools, Floats, Metrics
from litebert.text.perturb import perturb_all
from litebert.text.tokenizer import Tokenizer

DIGITS = 6
"""Digits of a probability in a file; in Python nothing is rounded."""

Weighting = Literal["auto", "none", "sqrt", "inverse"]
"""How much a label counts in training: the same for all, by the inverse of its number of rows, or by its root."""


class Answer(Protocol):
    """One row's answer."""

    def to_dict(self) -> dict[str, Any]:
        """The fields of the record that is written, as plain values."""


class Windowing(NamedTuple):
    """How texts are divided."""

    length: int
    """Most tokens of a sequence."""
    stride: int | None = None
    """Tokens from one window of a context to the next (qa); None: three quarters of a window."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Rows as the model reads them."""

    examples: Examples
    cut: int = 0
    """Rows of which a part is not read."""

    @property
    def long_rows(self) -> int:
        """Rows that did not fit into one sequence."""
        return self.examples.long_rows


ItemLoss = Callable[[Tensor, SequenceBatch], Tensor]
"""Of the head's logits (S, C) or (T, C) in fp32 and their batch: one number for each of its items, in their order."""

EncodedT = TypeVar("EncodedT", bound=Encoded)
GoldT = TypeVar("GoldT")


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is to be learnt from encoded rows."""

    items: Items
    loss: ItemLoss
    """What is minimized."""
    notes: tuple[str, ...] = ()
    joint: bool = False
    """The loss of an item depends on the others of its step, however that is divided."""
    dropout: float = 0.0
    """Dropout of the encoder that the loss needs; of a model that has its own this is not used."""
    shift: float = 0.0
    scale: float = 1.0
    """The finished head gives output * scale + shift of what the head in training gives."""

    def outputs(self, raw: Floats) -> Floats:
        """From what the head in training says to what the finished one will say."""
        return raw if (self.shift, self.scale) == (0.0, 1.0) else (raw * self.scale + self.shift).astype(raw.dtype)

    def finish(self, head: nn.Module) -> None:
        """Put scale and shift into the weights of a linear head."""
        with torch.no_grad():
            for name, parameter in head.named_parameters():
                parameter.mul_(self.scale)
                if name.endswith("bias"):
                    parameter.add_(self.shift)


class Task(ABC, Generic[InputT, TargetT, EncodedT, GoldT]):
    """One task. Stateless: the labels, and what was decided in training, are handed in."""

    name: ClassVar[str]
    head: ClassVar[str]
    """Its head in `model.heads.TASKS`."""
    problem_type: ClassVar[str | None] = None
    """Hugging Face's word for the kind of target."""
    metrics: ClassVar[tuple[str, ...]]
    """Metrics that can choose the best checkpoint, more being better; the first one does so by default."""
    shown: ClassVar[tuple[str, ...]] = ()
    """Metrics that are shown beside it while training goes on."""
    long_rows: ClassVar[str] = "each of their windows counts the same, and their answers are averaged"
    """What becomes of rows that are longer than a sequence."""
    weighs_labels: ClassVar[bool] = False
    """Whether a row may count more because its label is rare."""
    cut: ClassVar[str] = ""
    """What the rows are of which a part is not read, and which part is."""
    label_names: ClassVar[Sequence[str]] = LABEL_NAMES
    """Usual names of the column of the targets."""
    decides: ClassVar[bool] = False
    """Whether its outputs are logits of classes, which `decisions` gives."""
    answer_field: ClassVar[str | None] = None
    """The field of a record that holds the likeliest of its `scores`; None where an answer is no such thing."""
    places: ClassVar[bool] = False
    """Whether targets are places in the text, so that another wording has others."""
    fields: ClassVar[str] = "'text'"
    """The fields of a row, for messages."""
    named_outputs: ClassVar[bool] = True
    """Whether the head's outputs are told apart by the names of the labels; else by their place."""
    same_pieces: ClassVar[bool] = False
    """Whether a student can learn from a teacher only what that says of the student's own pieces."""

    # --- from files to inputs and targets ---

    def rows(self, source: str | Path, *, labelled: bool = False) -> Iterator[tuple[str, Row]]:
        """Yield the rows of a file, each with what to call it in a message; labelled: they are to have targets."""
        for number, fields in read_rows(source):
            yield place(source, number), fields

    def columns(
        self,
        present: Iterable[str],
        wanted: Columns,
        source: str | Path,
        *,
        trained: Columns | None = None,
        label: bool = False,
    ) -> Columns:
        """Choose the columns to read; raises InputError, naming those there are, where one is missing."""
        return find_columns(present, wanted, source, trained=trained, label=label, label_names=self.label_names)

    @abstractmethod
    def input(self, fields: Mapping[str, Any], columns: Columns, where: str) -> InputT:
        """What the model reads of a row; raises InputError where the row has it not."""

    @abstractmethod
    def target(self, fields: Mapping[str, Any], columns: Columns, where: str) -> TargetT:
        """What is to be learnt from a row; raises InputError where the row says nothing usable."""

    def read(self, source: str | Path, wanted: Columns, trained: Columns | None = None) -> Labelled[InputT, TargetT]:
        """Read a whole labelled file. Raises InputError, naming the row, for what cannot be used."""
        columns: Columns | None = None
        places, inputs, targets, ids = [], [], [], []
        for where, fields in self.rows(source, labelled=True):
            if columns is None:
                columns = self.columns(fields, wanted, source, trained=trained, label=True)
            places.append(where)
            inputs.append(self.input(fields, columns, where))
            targets.append(self.target(fields, columns, where))
            if (name := id_of(fields)) is not None:
                ids.append(name)
        if columns is None:
            raise InputError(f"{source} has no rows; give a file with labelled rows")
        notes = self.input_notes(inputs)
        if 0 < len(ids) < len(places):
            notes.append(
                f"{len(places) - len(ids):,} of {len(places):,} rows have no `id`; those of the others are left aside"
            )
        elif doubled := _repeated(ids):
            notes.append(
                f"{len(doubled):,} ids are those of rows before them: {places[doubled[0]]}, {ids[doubled[0]]!r}; "
                "rows are told apart by their order"
            )
        return Labelled(
            source=str(source),
            columns=columns,
            places=places,
            inputs=inputs,
            targets=targets,
            ids=ids if len(ids) == len(places) else None,
            notes=tuple(notes),
        )

    def plain_input(self, row: object, where: str, trained: Columns | None) -> InputT:
        """The input of a row given in Python: a mapping with the usual fields."""
        if not isinstance(row, Mapping):
            raise InputError(f"{where} is a {type(row).__name__}; give a dict with {self.fields}")
        return self.input(row, self.columns(row, Columns(), where, trained=trained), where)

    def size(self, given: InputT) -> int:
        """About how many characters an input has."""
        return sum(len(text) for text in _texts(given))

    def perturbed(self, name: str, given: InputT, target: TargetT, *key: int) -> tuple[InputT, TargetT]:
        """A row whose texts are all perturbed (see `litebert.text.perturb`), and what is true of it then."""
        return perturb_all(name, given, *key), target

    def input_notes(self, inputs: Sequence[InputT]) -> list[str]:
        """What is unusual about inputs, counted."""
        return []

    # --- from inputs to sequences, and from outputs to answers ---

    @abstractmethod
    def encode(self, inputs: Sequence[InputT], tokenizer: Tokenizer, windowing: Windowing) -> EncodedT:
        """Tokenize inputs into windows; nothing is cut without a note."""

    @abstractmethod
    def answers(
        self, encoded: EncodedT, outputs: Floats, labels: Sequence[str], decision: Mapping[str, Any]
    ) -> Sequence[Answer]:
        """One typed answer a row. outputs: of the head, (n, C) or (total tokens, C); decision: see `decide`."""

    def window_notes(self, long: int, cut: int, length: int) -> list[str]:
        """Say how many rows are longer than a sequence, and what becomes of them."""
        notes = [f"{long:,} rows are longer than {length} tokens; {self.long_rows}"] if long else []
        return [*notes, f"{cut:,} {self.cut}"] if cut else notes

    # --- learning ---

    @abstractmethod
    def labels(self, rows: Labelled[InputT, TargetT]) -> tuple[str, ...]:
        """Names of the head's outputs, from the training rows; raises InputError where these cannot be learnt."""

    def check_judged(self, rows: Labelled[InputT, TargetT]) -> None:
        """Raise InputError where a model cannot be judged by these rows, though it may be able to learn from such."""

    @abstractmethod
    def gold(self, rows: Labelled[InputT, TargetT], encoded: EncodedT, labels: Sequence[str]) -> GoldT:
        """The targets as arrays; raises InputError, naming the row, for a label that is not among `labels`."""

    def judging_notes(self, gold: GoldT, labels: Sequence[str]) -> list[str]:
        """What these targets cannot tell of a model that is judged by them."""
        return []

    @staticmethod
    def not_judged(labels: Sequence[str], counts: Sequence[int]) -> list[str]:
        """Say that labels do not occur."""
        absent = [label for label, count in zip(labels, counts, strict=True) if not count]
        if not absent:
            return []
        names = ", ".join(map(repr, absent[:5])) + (", …" if len(absent) > 5 else "")
        have = "has" if len(absent) == 1 else "have"
        share = f"{len(absent):,} of the {len(labels):,} labels"
        return [f"{share} {have} no row ({names}): what is learnt of them is not judged"]

    @abstractmethod
    def lesson(self, encoded: EncodedT, gold: GoldT, labels: Sequence[str], weighting: Weighting) -> Lesson:
        """How the training rows are learnt."""

    def opinions(self, encoded: EncodedT, outputs: Floats) -> list[Any]:
        """What a teacher's outputs say of each row, in terms that a student with another tokenizer has too.

        Raises ConfigError where the task has no teachers.
        """
        raise ConfigError(f"{self.name} is not learnt from a teacher: leave out --teacher")

    def target_of(self, answer: Answer) -> TargetT:
        """What is learnt from a row that has no label but a teacher's answer."""
        target: TargetT = self.answer_of(answer.to_dict(), "the teacher's answer")
        return target

    def imitation(self, encoded: EncodedT, opinions: Sequence[Any], lesson: Lesson, temperature: float) -> ItemLoss:
        """How far a student is from these opinions of its training rows (None: of a row that is not trained on).

        temperature: divides the logits of both where they are those of a distribution.
        """
        raise NotImplementedError

    def possible_metrics(self, labels: Sequence[str]) -> tuple[str, ...]:
        """Those of `metrics` that there are with these labels."""
        return self.metrics

    def primary(self, gold: GoldT, labels: Sequence[str]) -> str:
        """The metric that the best checkpoint is chosen by unless the user names one, given the training rows."""
        return self.metrics[0]

    def describe(self, gold: GoldT, labels: Sequence[str]) -> str:
        """What the targets look like, in a few words."""
        return ""

    def decide(self, gold: GoldT, metrics: Metrics) -> dict[str, Any]:
        """What `answers` has to know besides, from the training rows and the best metrics: plain JSON values."""
        return {}

    # --- judging ---

    @abstractmethod
    def judge(
        self, encoded: EncodedT, gold: GoldT, outputs: Floats, labels: Sequence[str], decision: Mapping[str, Any]
    ) -> Metrics:
        """Metrics of outputs, those of `metrics` and `loss` among them."""

    @abstractmethod
    def collapsed(self, metrics: Metrics) -> bool:
        """Whether these metrics are those of a model that gives the same answer whatever it reads."""

    def varied(self, gold: GoldT) -> bool:
        """Whether the dev rows differ so that one answer for all of them is a collapse."""
        return True

    def majority(self, train: GoldT, dev: GoldT) -> float | None:
        """Dev accuracy of always giving the commonest answer of the training rows; None where that makes no sense."""
        return None

    def confusion(self, gold: GoldT, outputs: Floats, encoded: EncodedT, labels: Sequence[str]) -> dict[str, Any]:
        """Tables that an evaluation adds to the metrics."""
        return {}

    def decisions(self, encoded: EncodedT, gold: GoldT, outputs: Floats) -> Decisions:
        """The outputs as logits of classes, beside the truth, for tasks with `decides`.

        A head that gives its outputs divided by a number gives the probabilities of that temperature.
        """
        raise NotImplementedError(f"{self.name} has no classes")

    def calibration_error(
        self,
        rows: Labelled[InputT, TargetT],
        encoded: EncodedT,
        outputs: Floats,
        labels: Sequence[str],
        decision: Mapping[str, Any],
        decisions: Decisions,
    ) -> float:
        """The expected calibration error of the answers, for tasks with `decides`."""
        return decisions.calibration_error

    def right_answers(self, rows: Labelled[InputT, TargetT], answers: Sequence[Any], decisions: Decisions) -> Bools:
        """Which rows' answers are right, for tasks with an `answer_field`: (R,)."""
        return decisions.correct

    # --- answers of any system ---

    @abstractmethod
    def answer_of(self, fields: Mapping[str, Any], where: str) -> Any:
        """The plain answer in a record that some system wrote; raises InputError where there is none."""

    def check_answer(self, given: InputT, answer: Any, where: str) -> None:
        """Raise InputError where a plain answer cannot be one to this input."""

    def labels_of(self, rows: Labelled[InputT, TargetT], answers: Sequence[Any]) -> tuple[str, ...]:
        """The labels that plain answers to all rows of a file are scored by, for tasks whose metrics depend on them."""
        return ()

    @abstractmethod
    def score(self, rows: Labelled[InputT, TargetT], answers: Sequence[Any]) -> Metrics:
        """Metrics of plain answers to the rows, in their order, as the official scripts compute them."""


def _repeated(ids: Sequence[str]) -> list[int]:
    """The places at which something stands that stood before."""
    first = {one: i for i, one in reversed(list(enumerate(ids)))}
    return [i for i, one in enumerate(ids) if first[one] < i]


def _texts(given: object) -> Iterator[str]:
    if isinstance(given, str):
        yield given
    elif isinstance(given, tuple):
        for part in given:
            yield from _texts(part)


def grouped_log_softmax(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Log-softmax of values (N,) within groups of them, numbered by group (N,): (N,), as exact as torch's own.

    Sums and gradients are taken in a fixed order on a CPU.
    """
    top = values.new_full((groups,), float("-inf")).scatter_reduce(0, group, values.detach(), "amax")
    shifted = values - top[group]
    sums = values.new_zeros(groups).index_add(0, group, shifted.exp())
    return shifted - sums.log().index_select(0, group)


def sequence_of(batch: SequenceBatch) -> Tensor:
    """(T,): which of the batch's sequences each token belongs to."""
    return torch.repeat_interleave(torch.from_numpy(np.diff(batch.cu_seqlens).astype(np.int64)))


def id_of(fields: Mapping[str, Any]) -> str | None:
    """What a row is called: its `id`, or the `index` that GLUE's files have; None where it has no name."""
    name = fields.get("id", fields.get("index"))
    return None if name is None else str(name)


def label_weights(counts: Sequence[int], weighting: Weighting) -> list[float]:
    """How much a row of each label counts, 1 on average over the rows.

    `inverse`: every label counts the same in sum; `sqrt`, its root: rare labels are learnt, frequent ones are not
    given up for them (as Mahajan et al. 2018 sample); `auto`: `sqrt` where the commonest label has IMBALANCE times
    the rows of the rarest, else none.
    """
    power = {"none": 0.0, "sqrt": 0.5, "inverse": 1.0, "auto": 0.5 if skewed(counts) else 0.0}[weighting]
    raw = [count**-power if count else 0.0 for count in counts]
    mean = sum(weight * count for weight, count in zip(raw, counts, strict=True)) / sum(counts)
    return [weight / mean for weight in raw]


IMBALANCE = 4
"""Labels are skewed where the most frequent one has this many times the rows of the rarest."""


def skewed(counts: Sequence[int]) -> bool:
    """Whether labels with these numbers of rows are skewed."""
    present = [count for count in counts if count]
    return max(present, default=0) >= IMBALANCE * min(present, default=1)


def shares(names: Sequence[str], counts: Sequence[int], rows: int | None = None) -> str:
    """The first names with their shares of the rows (of the sum of `counts` where not given)."""
    total = max(sum(counts) if rows is None else rows, 1)
    shown = [f"{name!r} {count / total:.0%}" for name, count in list(zip(names, counts, strict=True))[:8]]
    return ", ".join(shown) + (", …" if len(names) > 8 else "")
