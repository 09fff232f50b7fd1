"""Texts -> sequences of ids in strided windows -> packed batches within a budget of tokens.

Nothing is cut: what is longer than a sequence may be becomes several windows that overlap, whose answers are
averaged. Dimensions: R rows, n sequences (windows), T tokens of a batch, S its sequences.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from litebert.text.tokenizer import Tokenizer

Ints = npt.NDArray[np.int64]

OVERLAP = 0.25
"""Share of a window that the next one repeats, so that no sentence is only ever seen torn in two."""

_SURROGATE = re.compile("[\ud800-\udfff]")

_ENCODE_ROWS = 4096
"""Rows that are tokenized at a time: Python's lists of ids take ten times the room of the arrays."""


class SequenceBatch(NamedTuple):
    """A packed batch as arrays: the fields of the model's `Packed`, and where the sequences come from."""

    input_ids: npt.NDArray[np.int64]
    """(T,)"""
    position_ids: npt.NDArray[np.int64]
    """(T,)"""
    token_type_ids: npt.NDArray[np.int64]
    """(T,)"""
    cu_seqlens: npt.NDArray[np.int32]
    """(S + 1,)"""
    max_length: int
    """The longest sequence of the batch."""
    sequences: Ints
    """(S,): which of the examples each sequence is."""


class Window(NamedTuple):
    """A part of a text, in tokens of it, end exclusive."""

    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Examples:
    """All sequences of a data set, special tokens included, in flat arrays."""

    tokens: npt.NDArray[np.int32]
    """(total,)"""
    starts: Ints
    """(n + 1,): where each sequence begins in `tokens`."""
    second: Ints
    """(n,): the first token of the second segment, counted within the sequence; its length where there is
    none."""
    rows: Ints
    """(n,): the row that each sequence belongs to, ascending."""
    windows: Ints
    """(n, 2): where the windows into the first and the second text begin, in tokens of these."""
    num_rows: int

    def __len__(self) -> int:
        return len(self.rows)

    @functools.cached_property
    def lengths(self) -> Ints:
        """(n,): tokens of each sequence."""
        return np.diff(self.starts)

    @functools.cached_property
    def windows_per_row(self) -> Ints:
        """(R,): sequences of each row, at least one."""
        return np.bincount(self.rows, minlength=self.num_rows)

    @property
    def long_rows(self) -> int:
        """Rows that did not fit into one sequence."""
        return int((self.windows_per_row > 1).sum())

    def batch(self, index: Ints) -> SequenceBatch:
        """Pack the given sequences, one after the other."""
        lengths = self.lengths[index]
        cu_seqlens = np.zeros(len(index) + 1, dtype=np.int32)
        np.cumsum(lengths, out=cu_seqlens[1:])
        position = np.arange(cu_seqlens[-1], dtype=np.int64) - np.repeat(cu_seqlens[:-1], lengths)  # (T,)
        where = position + np.repeat(self.starts[index], lengths)  # (T,)
        return SequenceBatch(
            input_ids=self.tokens[where].astype(np.int64),
            position_ids=position,
            token_type_ids=(position >= np.repeat(self.second[index], lengths)).astype(np.int64),
            cu_seqlens=cu_seqlens,
            max_length=int(lengths.max(initial=1)),
            sequences=index,
        )

    def token_index(self, batch: SequenceBatch) -> Ints:
        """(T,): the place of each token of a batch among `tokens`."""
        return batch.position_ids + np.repeat(self.starts[batch.sequences], self.lengths[batch.sequences])

    def batches(self, order: Ints, max_tokens: int) -> Iterator[SequenceBatch]:
        """Pack sequences in the given order into batches of at most `max_tokens` (or one sequence, if that
        has more)."""
        for group in within_budget(self.lengths[order], max_tokens):
            yield self.batch(order[group])

    def by_length(self) -> Ints:
        """All sequences, the shortest first: batches of like lengths, which cost attention no padding."""
        return np.argsort(self.lengths, kind="stable")


@dataclass(frozen=True, kw_only=True)
class Items:
    """What is drawn for a step of training: one sequence, or several that belong in one batch."""

    examples: Examples
    groups: Ints
    """(G, 2): the sequences [first, end) of each item."""
    weights: npt.NDArray[np.float64]
    """(G,): what each item counts; the sum of a step's losses is divided by that of its weights."""
    rows: Ints
    """(G,): the row of the file that each item belongs to."""

    def __len__(self) -> int:
        return len(self.groups)

    @functools.cached_property
    def longest(self) -> Ints:
        """(G,): tokens of the longest sequence of each item."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        return np.maximum.reduceat(np.append(self.examples.lengths, 0), self.groups.ravel())[::2]

    def batches(self, index: Ints, max_tokens: int) -> Iterator[SequenceBatch]:
        """Pack items in the given order into batches of at most `max_tokens` (or one item, if that has more)."""
        starts = self.examples.starts
        groups = self.groups[index]
        for part in within_budget(starts[groups[:, 1]] - starts[groups[:, 0]], max_tokens):
            yield self.examples.batch(np.concatenate([np.arange(first, end) for first, end in groups[part].tolist()]))

    def of_rows(self, chosen: Ints) -> "Items":
        """Only the items of some rows (R',)."""
        kept = np.isin(self.rows, chosen)
        return replace(self, groups=self.groups[kept], weights=self.weights[kept], rows=self.rows[kept])


def single_items(examples: Examples, weights: npt.NDArray[np.float64] | None = None) -> Items:
    """Every sequence by itself; weights (n,), 1 where not given."""
    first = np.arange(len(examples))
    weights = np.ones(len(examples)) if weights is None else weights
    return Items(examples=examples, groups=np.stack((first, first + 1), 1), weights=weights, rows=examples.rows)


def within_budget(lengths: Ints, max_tokens: int) -> Iterator[slice]:
    """Divide consecutive sequences into groups of at most `max_tokens`."""
    start, held = 0, 0
    for i, length in enumerate(lengths.tolist()):
        if i > start and held + length > max_tokens:
            yield slice(start, i)
            start, held = i, 0
        held += length
    if start < len(lengths):
        yield slice(start, len(lengths))


def windows(length: int, size: int, overlap: int) -> list[Window]:
    """Cover `length` tokens by windows of at most `size`, neighbours sharing at least `overlap`; the last
    ends at the end."""
    if length <= size:
        return [Window(0, length)]
    step = max(size - overlap, 1)
    starts = [*range(0, length - size, step), length - size]
    return [Window(start, start + size) for start in starts]


def pair_windows(first: int, second: int, room: int) -> list[tuple[Window, Window]]:
    """Windows into two texts of these lengths that fit into `room` tokens together.

    A text that takes no more than half the room stays whole beside each window of the other. Two long ones
    get half the room each, and their windows advance side by side, so that every token of both is read at
    least once.
    """
    if first + second <= room:
        return [(Window(0, first), Window(0, second))]
    half = room // 2
    if second <= half:
        left, right = room - second, second
    elif first <= room - half:
        left, right = first, room - first
    else:
        left, right = room - half, half
    ours = windows(first, left, int(left * OVERLAP))
    theirs = windows(second, right, int(right * OVERLAP))
    steps = max(len(ours), len(theirs))
    return [(ours[i * len(ours) // steps], theirs[i * len(theirs) // steps]) for i in range(steps)]


def encode_rows(
    tokenizer: Tokenizer, texts: Sequence[str], pairs: Sequence[str | None] | None, max_length: int
) -> Examples:
    """Tokenize rows into sequences of at most `max_length` tokens, `[CLS] text [SEP]` or with a second text
    and `[SEP]`."""
    builder = ExamplesBuilder(tokenizer.cls_id, tokenizer.sep_id, max_length, tokenizer.separators)
    for start in range(0, len(texts), _ENCODE_ROWS):
        part = slice(start, start + _ENCODE_ROWS)
        first = tokenizer.encode_ids([whole_in_place(text) for text in texts[part]])
        some = [] if pairs is None else [whole_in_place(pair) for pair in pairs[part] if pair is not None]
        second = iter(tokenizer.encode_ids(some)) if some else iter(())
        for i, ids in enumerate(first):
            builder.add(ids, None if pairs is None or pairs[start + i] is None else next(second))
    return builder.build()


def whole_in_place(text: str) -> str:
    """Replace every half of a surrogate pair, which JSON can smuggle in and UTF-8 cannot say, by one character, so that
    all others keep their places."""
    return _SURROGATE.sub("\ufffd", text)


class ExamplesBuilder:
    """Collects rows of ids, without special tokens, and cuts them into windows."""

    def __init__(self, cls_id: int, sep_id: int, max_length: int, separators: int = 1) -> None:
        self._cls_id, self._max_length = cls_id, max_length
        self._end, self._between = [sep_id], [sep_id] * separators
        self._tokens: list[npt.NDArray[np.int32]] = []
        self._meta: list[tuple[int, int, int, int, int]] = []
        self._row = 0

    def add(self, first: Sequence[int], second: Sequence[int] | None) -> None:
        """Add the ids of one row."""
        cls, end, between = self._cls_id, self._end, self._between
        if second is None:
            room = self._max_length - 2
            for a in windows(len(first), room, int(room * OVERLAP)):
                self._append([cls, *first[a.start : a.end], *end], a.end - a.start + 2, a.start, 0)
        else:
            special = 2 + len(between)
            for a, b in pair_windows(len(first), len(second), self._max_length - special):
                ids = [cls, *first[a.start : a.end], *between, *second[b.start : b.end], *end]
                self._append(ids, a.end - a.start + 1 + len(between), a.start, b.start)
        self._row += 1

    def add_question(self, question: Sequence[int], context: Sequence[int], stride: int | None) -> int:
        """Add a row whose first text stands whole before every window of the second.

        stride: tokens from the beginning of one window to that of the next, at most a whole window. A question takes
        half of the room at most, or what the context leaves; returns how many of its tokens, at its end, did not fit.
        """
        cls, end, between = self._cls_id, self._end, self._between
        room = self._max_length - 2 - len(between)
        kept = question[: max(room // 2, room - len(context))]
        left = room - len(kept)
        overlap = int(left * OVERLAP) if stride is None else max(left - stride, 0)
        for a in windows(len(context), left, overlap):
            ids = [cls, *kept, *between, *context[a.start : a.end], *end]
            self._append(ids, len(kept) + 1 + len(between), 0, a.start)
        self._row += 1
        return len(question) - len(kept)

    def _append(self, ids: list[int], second: int, first_start: int, second_start: int) -> None:
        self._tokens.append(np.array(ids, dtype=np.int32))
        self._meta.append((len(ids), second, self._row, first_start, second_start))

    def build(self) -> Examples:
        """Return what was added."""
        meta = np.array(self._meta, dtype=np.int64).reshape(-1, 5)
        starts = np.zeros(len(meta) + 1, dtype=np.int64)
        np.cumsum(meta[:, 0], out=starts[1:])
        return Examples(
            tokens=np.concatenate(self._tokens) if self._tokens else np.zeros(0, dtype=np.int32),
            starts=starts,
            second=meta[:, 1],
            rows=meta[:, 2],
            windows=meta[:, 3:],
            num_rows=self._row,
        )
