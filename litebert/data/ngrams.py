"""Word n-grams as 64-bit numbers, and a set of very many of them in files that several processes map.

    text -> code points, folded: lower case, 0 between words -> a number a word -> a number an n-gram

A word is a run of letters and digits after Unicode's NFKC; n-grams do not cross lines. A word's number is a
polynomial of its code points modulo 2**64, mixed; an n-gram's is a polynomial of its words' numbers, mixed. Equal
n-grams have equal numbers; two different ones share one by chance once in 2**64 comparisons: 30 million excluded
n-grams and 100 million words of text meet with a probability of one in 6,000. Scripts without spaces between
words have whole clauses as words, and hardly an n-gram.
"""

import itertools
import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from litebert.files import sha256

NGRAM_WORDS = 12

BLOCK_CHARACTERS = 1 << 17
"""Hashed at a time, so that the arrays stay in the cache."""

FILTER_BITS = 16
"""For each n-gram at least, and the next power of two of all: so 15 of 16 numbers that are absent or more cost one look
into memory."""

_CODE_POINTS = 0x110000
_LETTER_BASE, _WORD_BASE = 0x9E6C63D0876A9A47, 0xD1B54A32D192ED03
_MIXERS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_FACTS, _NGRAMS, _OWNERS, _FILTER = "facts.json", "ngrams", "owners", "filter"

Numbers = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


class LineNgrams(NamedTuple):
    """All n-grams of a text, from left to right."""

    numbers: Numbers
    """(n,)"""
    starts: Places
    """(n,) first character of each n-gram in the text."""
    ends: Places
    """(n,) the character after each."""
    lines: Places
    """(n,) the line it stands in, from 0."""
    line_words: Places
    """(l,) words in each line of the text."""


def normal(text: str) -> str:
    """A text with one spelling of every letter; its lines stay its lines."""
    if text.isascii():
        return text
    lines = text.split("\n")
    return "\n".join(line if line.isascii() else unicodedata.normalize("NFKC", line) for line in lines)


class NgramHasher:
    """Numbers the n-grams of texts: always the same ones, in every process."""

    def __init__(self, words: int = NGRAM_WORDS) -> None:
        self.words = words
        letters = (chr(i) for i in range(_CODE_POINTS))
        self._folded = np.fromiter((ord(c.lower()[0]) if c.isalnum() else 0 for c in letters), np.uint32, _CODE_POINTS)
        self._powers = _powers(_LETTER_BASE)
        self._inverse = _powers(pow(_LETTER_BASE, -1, 1 << 64))

    def ngrams(self, text: str) -> LineNgrams:
        """The n-grams of a text that `normal` gave."""
        blocks = [self._block(text, start, stop) for start, stop in _blocks(text)]
        numbers, starts, ends, breaks = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        count = max(len(numbers) - self.words + 1, 0)
        mixed = _mix(numbers)
        total = np.zeros(count, np.uint64)
        for place in range(self.words):
            total *= np.uint64(_WORD_BASE)
            total += mixed[place : place + count]
        lines = np.searchsorted(breaks, starts)
        first = np.flatnonzero(lines[:count] == lines[self.words - 1 :][:count])
        line_words = np.bincount(lines, minlength=len(breaks) + 1)
        return LineNgrams(_mix(total[first]), starts[first], ends[first + self.words - 1], lines[first], line_words)

    def _block(self, text: str, start: int, stop: int) -> tuple[Numbers, Places, Places, Places]:
        """Unmixed numbers, starts and ends of the words of text[start:stop], and its line breaks."""
        points = np.frombuffer(text[start:stop].encode("utf-32-le", "surrogatepass"), "<u4")
        folded = self._folded[points]
        edges = np.flatnonzero(np.diff(folded != 0, prepend=False, append=False))
        begins, ends = edges[::2], edges[1::2]
        sums = np.zeros(len(folded) + 1, np.uint64)
        np.cumsum(folded * self._powers[: len(folded)], out=sums[1:])
        numbers = (sums[ends] - sums[begins]) * self._inverse[begins]
        breaks = np.flatnonzero(points == ord("\n"))
        return numbers, begins + start, ends + start, breaks + start


def _powers(base: int) -> Numbers:
    powers = np.full(BLOCK_CHARACTERS, base, np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Parts that end between words; a word as long as a block is cut."""
    start = 0
    while len(text) - start > BLOCK_CHARACTERS:
        limit = start + BLOCK_CHARACTERS
        gap = max(text.rfind(" ", start, limit), text.rfind("\n", start, limit))
        stop = gap + 1 if gap >= start else limit
        yield start, stop
        start = stop
    yield start, len(text)


def _mix(numbers: Numbers) -> Numbers:
    """Spread every bit over all others (the finalizer of splitmix64); different numbers stay different."""
    for shift, factor in _MIXERS:
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


def write_ngrams(folder: Path, spool: Path, counts: list[int], facts: dict[str, Any]) -> dict[str, Any]:
    """Make a set of the numbers in `spool`, of which the first `counts[0]` belong to owner 0, and so on.

    A number that several have belongs to the first. `facts` are kept with it, and returned with size and SHA-256 of
    the set. Holds 17 bytes a number in memory. Raises OSError.
    """
    numbers = np.fromfile(spool, "<u8")
    numbers.sort()
    new = np.ones(len(numbers), bool)
    np.not_equal(numbers[1:], numbers[:-1], out=new[1:])
    numbers = numbers[new]
    del new
    owners = np.zeros(len(numbers), "<u4")
    ends = np.cumsum(counts).tolist()
    with spool.open("rb") as file:
        for owner in reversed(range(len(counts))):
            file.seek(8 * (ends[owner] - counts[owner]))
            for part in _parts(counts[owner]):
                owners[np.searchsorted(numbers, np.sort(np.fromfile(file, "<u8", part)))] = owner
    owners.tofile(folder / _OWNERS)
    numbers.tofile(folder / _NGRAMS)
    _write_filter(folder / _FILTER, numbers)
    facts = {**facts, "ngrams": len(numbers), "sha256": sha256(folder / _NGRAMS)}
    (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
    return facts


def _parts(count: int, size: int = 1 << 20) -> Iterator[int]:
    while count:
        yield min(count, size)
        count -= min(count, size)


def _write_filter(path: Path, numbers: Numbers) -> None:
    """One bit for each value of a number's first bits: whether any number of the set begins like that."""
    bits = max(FILTER_BITS * len(numbers) - 1, 1 << 16).bit_length()
    shift, step = np.uint64(64 - bits), 1 << min(bits, 24)
    starts = np.arange(0, 1 << bits, step, dtype=np.uint64)
    edges = [*np.searchsorted(numbers, starts << shift).tolist(), len(numbers)]
    with path.open("wb") as file:
        for start, (first, last) in zip(starts, itertools.pairwise(edges), strict=True):
            flags = np.zeros(step, bool)
            flags[(numbers[first:last] >> shift) - start] = True
            np.packbits(flags, bitorder="little").tofile(file)


class NgramSet:
    """A set that `write_ngrams` wrote, mapped: what several processes read is in memory once."""

    def __init__(self, folder: Path) -> None:
        self.facts = read_facts(folder)
        self._numbers = np.memmap(folder / _NGRAMS, "<u8", mode="r")
        self._owners = np.memmap(folder / _OWNERS, "<u4", mode="r")
        self._filter = np.memmap(folder / _FILTER, np.uint8, mode="r")
        self._shift = np.uint64(64 - (8 * len(self._filter) - 1).bit_length())

    def find(self, numbers: Numbers) -> tuple[Places, Places]:
        """Which of the numbers (n,) are in the set, ascending, and to whom each of these belongs."""
        places = numbers >> self._shift
        bits = self._filter[places >> np.uint64(3)] >> (places & np.uint64(7)).astype(np.uint8)
        likely = np.flatnonzero(bits & 1)
        likely = likely[np.argsort(numbers[likely])]  # neighbours are looked for in the same pages
        at = np.minimum(np.searchsorted(self._numbers, numbers[likely]), len(self._numbers) - 1)
        there = self._numbers[at] == numbers[likely]
        order = np.argsort(likely[there])
        return likely[there][order], self._owners[at[there][order]].astype(np.int64)


def read_facts(folder: Path) -> dict[str, Any]:
    """What was said of a set when it was written. Raises FileNotFoundError."""
    facts: dict[str, Any] = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    return facts
