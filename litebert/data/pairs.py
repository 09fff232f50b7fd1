"""Segment pairs: sentences of prepared documents become [CLS] A [SEP] B [SEP] sequences.

1. Documents are cut at sentence ends into blocks of some thousand tokens (`cut_blocks`).
2. In a block, consecutive sentences are gathered up to the target length; a share of the targets is short, or, where
   lengths are spread, all are drawn and what was gathered is cut.
3. A random sentence end divides what was gathered into segments A and B.
   For `sentence_order` every other block or so is gathered backwards: the sentence that fills a sequence up is longer
   than others, and were it always the last one, the lengths alone would tell the order of 53 % of the pairs.
4. The sentence objective decides what stands second: for `sentence_order` the two are swapped half of the time, for
   `next_sentence` B is taken from another document half of the time, for `none` there is one segment; for `comparison`
   B is text at any distance from A, and nobody is asked about their order.

A sentence-order pair never spans documents and never holds a random one: where a document's rest is a single
sentence, the sequence has one segment and no order label (google-research/albert#234 is the defect avoided here).
"""

import functools
import itertools
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litebert.data.shards import Shard
from litebert.errors import ConfigError

LEAST = 6
"""Tokens of text in the shortest segment of those that are cut to spread lengths."""

OVERLAPPING, FOLLOWING, ELSEWHERE = 0.3, 0.25, 0.25
"""Shares of the pairs to compare whose second segment overlaps the first, follows it, or is from elsewhere in the
block; the others' are from another block. So all degrees of similarity occur, that of strangers not too often."""
NO_LABEL = -100
"""Label of a sequence without a sentence objective; the loss leaves it out."""

Objective = Literal["sentence_order", "next_sentence", "none", "comparison"]


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """How sequences are made of sentences."""

    length: int = 128
    """Longest sequence in tokens, special tokens included."""
    objective: Objective = "sentence_order"
    """What the second segment is: the neighbour, swapped or not (ALBERT), a random one (BERT), nothing, or text more or
    less like the first, for a student that is to say how similar they are."""
    short: float = 0.1
    """Share of sequences whose target length is drawn uniformly from 2 to `length`."""
    spread: bool = False
    """Cut each sequence at a length drawn anew, such that lengths from 8 to 16, 16 to 32, 32 to 64 tokens and so on get
    about the same number of tokens: for models that are to read requests as well as paragraphs. Segments that are
    to be compared are always cut so."""
    single: float = 0.4
    """Share of sequences of one segment, where the objective is `comparison`."""

    def __post_init__(self) -> None:
        if self.length < 8:
            raise ConfigError(f"length = {self.length}: a sequence needs at least 8 tokens; use 64 or more")
        for name in ("short", "single"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"pairs.{name} = {getattr(self, name)}: expected a share between 0 and 1")
        if self.spread and self.objective in ("sentence_order", "next_sentence"):
            raise ConfigError(
                f"pairs.spread cuts single segments, not the pairs of objective {self.objective!r}; set one of them to "
                "objective=none or spread=false"
            )
        if self.objective == "comparison" and self.length < 2 * LEAST + 3:
            raise ConfigError(f"length = {self.length}: two segments to compare need {2 * LEAST + 3} tokens or more")

    @property
    def drawn(self) -> bool:
        """Whether the length of every sequence is drawn."""
        return self.spread or self.objective == "comparison"

    @functools.cached_property
    def lengths(self) -> NDArray[np.float64]:
        """Of sequences whose lengths are drawn: how likely each number of tokens is, (length + 1,), where no text ends
        before its cut."""
        alone = np.concatenate((np.zeros(2), _cut_lengths(self.length - 2)))
        if self.objective != "comparison":
            return alone
        beside, room = np.zeros(self.length + 1), self.length - 3
        for first, likely in enumerate(_cut_lengths(room - LEAST)):
            beside[first + 3 :] += likely * _cut_lengths(room - first)
        return self.single * alone + (1 - self.single) * beside

    @property
    def mean_length(self) -> float:
        """The mean of `lengths`."""
        return float(np.arange(self.length + 1) @ self.lengths)

    def share_longer(self, length: int) -> float:
        """The share of `lengths` above a number of tokens."""
        return float(self.lengths[length + 1 :].sum())


def _cut(chance: float, room: int) -> int:
    """A number of tokens from LEAST to `room`, some n in proportion to 1 / n^2; chance: uniform from 0 to 1."""
    return int(LEAST / (1 - chance * (1 - LEAST / (room + 1))))


def _cut_lengths(room: int) -> NDArray[np.float64]:
    """How likely `_cut` gives each number: (room + 1,)."""
    numbers = np.arange(room + 2, dtype=np.float64)
    at_least = (1 - LEAST / np.maximum(numbers, LEAST)) / (1 - LEAST / (room + 1))  # chance from which n is reached
    return np.diff(at_least)


class Blocks(NamedTuple):
    """Runs of consecutive sentences of one document each, of one shard or several."""

    shard: NDArray[np.int32]  # (N,)
    first: NDArray[np.int64]  # (N,) first sentence in the shard
    stop: NDArray[np.int64]  # (N,) one past the last sentence
    document: NDArray[np.int64]  # (N,) number of the document in the split

    def take(self, chosen: NDArray[np.int64]) -> "Blocks":
        """Return some of the blocks, in that order."""
        return Blocks(self.shard[chosen], self.first[chosen], self.stop[chosen], self.document[chosen])


class Samples(NamedTuple):
    """Sequences with special tokens, one after the other; nothing is masked yet."""

    input_ids: NDArray[np.int32]  # (T,)
    segment_ids: NDArray[np.uint8]  # (T,) 0 for [CLS] A [SEP], 1 for B [SEP]
    text: NDArray[np.bool_]  # (T,) False at special tokens
    cu_seqlens: NDArray[np.int64]  # (S + 1,)
    labels: NDArray[np.int64]  # (S,) 0: original order / true neighbour, 1: swapped / random, NO_LABEL: neither
    texts: NDArray[np.object_] | None = None  # (S,) what was encoded, where a second tokenizer will read it
    offsets: NDArray[np.int64] | None = None  # (T, 2) the characters of that each token is of; none at special ones


class Text(NamedTuple):
    """The sentences of several blocks in one buffer."""

    tokens: NDArray[np.integer]  # (n,)
    ends: list[int]  # end of each sentence in `tokens`, ascending
    first: list[int]  # per block: its first sentence
    document: list[int]  # per block: its document


def cut_blocks(shards: list[Shard], block_tokens: int) -> Blocks:
    """Cut every document at sentence ends into blocks of about `block_tokens` tokens; nothing is left out."""
    parts: list[Blocks] = []
    documents = 0
    for number, shard in enumerate(shards):
        ends = np.asarray(shard.sentence_ends, dtype=np.int64)
        document_ends = np.asarray(shard.document_ends, dtype=np.int64)
        if not len(ends):
            continue
        starts = np.concatenate(([0], ends[:-1]))
        document = np.searchsorted(document_ends, np.arange(len(ends)), side="right")
        document_start = starts[np.concatenate(([0], document_ends[:-1]))[document]]
        # By their middles: were it by their beginnings, the sentence that is cut through, which is longer than others,
        # would always stand at a block's end.
        part = ((starts + ends) // 2 - document_start) // block_tokens
        new = np.concatenate(([True], (np.diff(document) != 0) | (np.diff(part) != 0)))
        first = np.flatnonzero(new)
        stop = np.concatenate((first[1:], [len(ends)]))
        shard_ids = np.full(len(first), number, dtype=np.int32)
        parts.append(Blocks(shard_ids, first, stop, document[first] + documents))
        documents += len(document_ends)
    if not parts:
        empty = np.zeros(0, dtype=np.int64)
        return Blocks(empty.astype(np.int32), empty, empty, empty)
    return Blocks(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def read_text(shards: list[Shard], blocks: Blocks) -> Text:
    """Copy the tokens and sentence ends of `blocks` into one buffer, in their order."""
    tokens: list[NDArray[np.integer]] = []
    ends: list[NDArray[np.int64]] = []
    first: list[int] = []
    position = sentences = 0
    for shard_id, begin, stop in zip(blocks.shard, blocks.first, blocks.stop, strict=True):
        shard = shards[shard_id]
        start = int(shard.sentence_ends[begin - 1]) if begin else 0
        block_ends = np.asarray(shard.sentence_ends[begin:stop], dtype=np.int64)
        tokens.append(shard.tokens[start : block_ends[-1]])
        ends.append(block_ends - start + position)
        first.append(sentences)
        position += int(block_ends[-1]) - start
        sentences += len(block_ends)
    return Text(np.concatenate(tokens), np.concatenate(ends).tolist(), first, blocks.document.tolist())


def join_texts(texts: list[Text]) -> Text:
    """Put buffers of several splits one after the other, keeping their documents apart."""
    if len(texts) == 1:
        return texts[0]
    tokens = np.concatenate([text.tokens for text in texts])
    ends: list[int] = []
    first: list[int] = []
    document: list[int] = []
    for text in texts:
        offset = ends[-1] if ends else 0
        first += [sentence + len(ends) for sentence in text.first]
        documents = max(document, default=-1) + 1
        document += [number + documents for number in text.document]
        ends += [end + offset for end in text.ends]
    return Text(tokens, ends, first, document)


def make_samples(text: Text, settings: PairSettings, cls_id: int, sep_id: int, rng: np.random.Generator) -> Samples:
    """Make all sequences of a buffer, in random order."""
    return assemble(text.tokens, draw_spans(text, settings, rng), cls_id, sep_id)


def draw_spans(text: Text, settings: PairSettings, rng: np.random.Generator) -> NDArray[np.int64]:
    """Choose all sequences of a buffer, in random order: (S, 5) a_start, a_stop, b_start, b_stop, label."""
    if settings.objective == "sentence_order":
        spans = _draw_either_way(text, settings, rng)
    else:
        draw = _draw_comparisons if settings.objective == "comparison" else _draw_spans
        spans = _as_array(draw(text, settings, rng))
    return spans[rng.permutation(len(spans))]


def _as_array(spans: list[tuple[int, ...]]) -> NDArray[np.int64]:
    return np.asarray(spans, dtype=np.int64).reshape(-1, 5)


def _draw_either_way(text: Text, settings: PairSettings, rng: np.random.Generator) -> NDArray[np.int64]:
    """As `_draw_spans`, half of the blocks from their last sentence to their first."""
    first, ends = np.asarray(text.first, dtype=np.int64), np.asarray(text.ends, dtype=np.int64)
    stop, starts = np.append(first[1:], len(ends)), np.append(0, ends[:-1])
    backwards = rng.random(len(first)) < 0.5
    mirror = starts[first] + ends[stop - 1]  # token t of a block stands at mirror - 1 - t, seen from its end
    mirrored = ends.copy()
    for block in np.flatnonzero(backwards):
        sentences = slice(first[block], stop[block])
        mirrored[sentences] = mirror[block] - starts[sentences][::-1]
    spans = _as_array(_draw_spans(text._replace(ends=mirrored.tolist()), settings, rng))
    owner = np.searchsorted(starts[first], spans[:, 0], side="right") - 1  # (S,) blocks
    turned, paired = backwards[owner], spans[:, 4] != NO_LABEL
    for some, columns in ((turned & paired, [3, 2, 1, 0]), (turned & ~paired, [1, 0])):
        spans[some, : len(columns)] = mirror[owner[some], None] - spans[some][:, columns]
    return spans


def _draw_spans(text: Text, settings: PairSettings, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Return (a_start, a_stop, b_start, b_stop, label) in tokens of the buffer, in order of the text."""
    ends, starts = text.ends, [0, *text.ends[:-1]]
    least = 1 if settings.objective == "none" else 2
    room = settings.length - 1 - least
    # All chance is drawn at once: at most one sequence begins at a sentence.
    chance = rng.random((len(ends), 6)).tolist()
    spans: list[tuple[int, ...]] = []
    for block, begin in enumerate(text.first):
        stop = text.first[block + 1] if block + 1 < len(text.first) else len(ends)
        i = begin
        while i < stop:
            if pieces := _pieces(starts[i], ends[i], room):
                spans += [(*piece, 0, 0, NO_LABEL) for piece in pieces]
                i += 1
                continue
            short, size, cut, swap, end_a, end_b = chance[i]
            target = 2 + int(size * (room - 1)) if short < settings.short else room
            if settings.spread:
                target = _cut(size, room)
            j = min(max(bisect_left(ends, starts[i] + target, i) + 1, i + least), stop)
            if ends[j - 1] - starts[j - 1] > room:
                j -= 1  # which is not the first
            a, b, label, following = (starts[i], ends[j - 1]), (0, 0), NO_LABEL, j
            if settings.objective != "none" and j - i > 1:
                middle = i + 1 + int(cut * (j - i - 1))
                a, b, label = (starts[i], ends[middle - 1]), (starts[middle], ends[j - 1]), 0
                if settings.objective == "sentence_order" and swap < 0.5:
                    a, b, label = b, a, 1
                elif settings.objective == "next_sentence" and swap < 0.5:
                    # No longer than what would follow, or its length would tell that it is a stranger.
                    size = min(target, ends[j - 1] - starts[i]) - (a[1] - a[0])
                    stranger = _random_segment(text, starts, block, size, rng)
                    if stranger:
                        b, label, following = stranger, 1, middle
            spans.append((*_truncate(a, b, target if settings.spread else room, end_a, end_b), label))
            i = following
    return spans


def _draw_comparisons(text: Text, settings: PairSettings, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """As `_draw_spans`, of segments that are alone, or beside text that is more or less like them."""
    ends, starts = text.ends, [0, *text.ends[:-1]]
    room, chance = settings.length - 3, rng.random((len(ends), 7)).tolist()
    spans: list[tuple[int, ...]] = []
    for block, begin in enumerate(text.first):
        stop = text.first[block + 1] if block + 1 < len(text.first) else len(ends)
        i = begin
        while i < stop:
            if pieces := _pieces(starts[i], ends[i], room + 1):
                spans += [(*piece, 0, 0, NO_LABEL) for piece in pieces]
                i += 1
                continue
            alone, size, end_a, kind, place, other, swap = chance[i]
            target = _cut(size, room + 1 if alone < settings.single else room - LEAST)
            following = min(bisect_left(ends, starts[i] + target, i) + 1, stop)
            if ends[following - 1] - starts[following - 1] > room + 1:
                following -= 1  # which is not the first
            a, b = _truncate((starts[i], ends[following - 1]), (0, 0), target, end_a, 0.0)[:2], (0, 0)
            if alone >= settings.single:
                limit, near = ends[stop - 1], begin + int(place * (stop - begin))
                if kind < OVERLAPPING:
                    shift = int((1.5 * place - 0.5) * (a[1] - a[0]))
                    first = min(max(a[0] + shift, starts[begin]), limit - 1)
                elif kind < OVERLAPPING + FOLLOWING and following < stop:
                    first = starts[following]
                elif kind < OVERLAPPING + FOLLOWING + ELSEWHERE:
                    first = starts[near]
                else:
                    far = int(place * len(ends))
                    first = starts[far]
                    owner = bisect_right(text.first, far)
                    limit = ends[(text.first[owner] if owner < len(text.first) else len(ends)) - 1]
                b = (first, min(first + _cut(other, room - (a[1] - a[0])), limit))
                if swap < 0.5:
                    a, b = b, a
            spans.append((*a, *b, NO_LABEL))
            i = following
    return spans


def _pieces(start: int, end: int, room: int) -> list[tuple[int, int]]:
    """A sentence that is longer than a sequence, in parts of about one size that are sequences of their own: none where
    it is not. They are next to each other in no order that could be learnt, as they are cut anywhere."""
    count = max(-(-(end - start) // room), 1)
    cuts = [start + (end - start) * part // count for part in range(count + 1)]
    return list(itertools.pairwise(cuts)) if count > 1 else []


def _random_segment(
    text: Text, starts: list[int], block: int, tokens: int, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Return consecutive sentences of another document in the buffer, of `tokens` tokens or, with the last of them,
    more; None where there is only one document."""
    others = [k for k, document in enumerate(text.document) if document != text.document[block]]
    if not others:
        return None
    other = others[int(rng.integers(len(others)))]
    stop = text.first[other + 1] if other + 1 < len(text.first) else len(text.ends)
    begin = int(rng.integers(text.first[other], stop))
    last = min(bisect_left(text.ends, starts[begin] + max(tokens, 1), begin), stop - 1)
    return starts[begin], text.ends[last]


def _truncate(
    a: tuple[int, int], b: tuple[int, int], room: int, end_a: float, end_b: float
) -> tuple[int, int, int, int]:
    """Shorten the longer segment, then both, to `room` tokens; each loses them at one end, chosen by chance.

    Both ends are equally likely in either segment. Were A always cut in front and B behind, the cuts would tell
    whether the two were swapped.
    """
    size_a, size_b = a[1] - a[0], b[1] - b[0]
    if size_a + size_b > room:
        half = room // 2
        if size_b <= half:
            keep_a, keep_b = room - size_b, size_b
        elif size_a <= half:
            keep_a, keep_b = size_a, room - size_a
        else:
            keep_a, keep_b = room - half, half
        a = (a[1] - keep_a, a[1]) if end_a < 0.5 else (a[0], a[0] + keep_a)
        b = (b[1] - keep_b, b[1]) if end_b < 0.5 else (b[0], b[0] + keep_b)
    return *a, *b


def assemble(tokens: NDArray[np.integer], spans: NDArray[np.int64], cls_id: int, sep_id: int) -> Samples:
    """Gather [CLS] A [SEP] (B [SEP]) for all spans at once."""
    count = len(spans)
    buffer = np.concatenate((np.array([cls_id, sep_id]), tokens)).astype(np.int32)
    pair = (spans[:, 3] > spans[:, 2]).astype(np.int64)
    one = np.ones(count, dtype=np.int64)
    # Five runs a sequence: [CLS], A, [SEP], B, [SEP]; the special tokens stand at 0 and 1 of the buffer.
    begins = np.stack((0 * one, spans[:, 0] + 2, one, spans[:, 2] + 2, one), axis=1).ravel()
    sizes = np.stack((one, spans[:, 1] - spans[:, 0], one, spans[:, 3] - spans[:, 2], pair), axis=1)
    ends = np.cumsum(sizes.ravel())
    index = np.arange(ends[-1] if count else 0) + np.repeat(begins - (ends - sizes.ravel()), sizes.ravel())
    run = np.repeat(np.tile(np.arange(5), count), sizes.ravel())
    return Samples(
        input_ids=buffer[index],
        segment_ids=(run >= 3).astype(np.uint8),
        text=(run == 1) | (run == 3),
        cu_seqlens=np.concatenate(([0], np.cumsum(sizes.sum(axis=1)))),
        labels=spans[:, 4],
    )
