"""Paragraphs that share an n-gram with an excluded text, taken out of documents."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from litebert.data.ngrams import NgramHasher, NgramSet, normal
from litebert.data.sources import Document

BATCH_CHARACTERS = 1 << 19
_LINE_END = re.compile(r"(?<!\n)\n(?!\n)")


class Shared(NamedTuple):
    """A paragraph that was taken out."""

    file: str
    """The excluded file it shares its first such n-gram with; the first of them, where several have it."""
    document: str
    text_bytes: int
    words: str
    """That n-gram as it is written in the paragraph, after NFKC."""


class OverlapFilter:
    """Takes out what is excluded; one for a process."""

    def __init__(self, excluded: NgramSet) -> None:
        self._excluded = excluded
        self._hasher = NgramHasher()

    def clean(self, documents: Sequence[Document]) -> tuple[list[Document], list[tuple[Shared, ...]]]:
        """The documents without such lines, in the same order, and what was taken out of each.

        A document of which nothing is left stays, with an empty text.
        """
        kept: list[Document] = []
        shared: list[tuple[Shared, ...]] = []
        for batch in _batches(documents):
            hits = self._lines("\n\n".join(document.text for document in batch))
            first = 0
            for document in batch:
                after = first + document.text.count("\n") + 1
                touched = not hits.keys().isdisjoint(range(first, after))
                left, out = _without(document, first, hits) if touched else (document, ())
                kept.append(left)
                shared.append(out)
                first = after + 1
        return kept, shared

    def _lines(self, text: str) -> dict[int, tuple[str, str]]:
        """For each line to be dropped the excluded file and the words, of the first n-gram that both have.

        An n-gram may run over line ends, as in text that is broken to fit a page, but over no empty line.
        """
        text = normal(text)
        ngrams = self._hasher.ngrams(_LINE_END.sub(" ", text))
        breaks = np.array([match.start() for match in re.finditer("\n", text)], dtype=np.int64)
        places, owners = self._excluded.find(ngrams.numbers)
        firsts, lasts = (np.searchsorted(breaks, sides[places]) for sides in (ngrams.starts, ngrams.ends))
        hits: dict[int, tuple[str, str]] = {}
        for place, owner, first, last in zip(*(x.tolist() for x in (places, owners, firsts, lasts)), strict=True):
            words = " ".join(text[ngrams.starts[place] : ngrams.ends[place]].split())
            for line in range(first, last + 1):
                hits.setdefault(line, (self._excluded.facts["names"][owner], words))
        return hits


def _without(document: Document, first: int, hits: dict[int, tuple[str, str]]) -> tuple[Document, tuple[Shared, ...]]:
    left, out = [], []
    for number, line in enumerate(document.text.split("\n"), first):
        if number in hits:
            file, words = hits[number]
            out.append(Shared(file, document.id, len(line.encode()), words))
        else:
            left.append(line)
    return document._replace(text="\n".join(left).strip()), tuple(out)


def _batches(documents: Sequence[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
