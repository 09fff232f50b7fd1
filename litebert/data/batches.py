"""The input of pre-training: an endless, reproducible stream of steps, each a batch of masked sequences.

1. All documents of the data folders are cut into blocks; an epoch is a permutation of them, drawn from (seed, epoch).
2. A window is a fixed number of blocks, taken from the folders in proportion to their weights. Its sequences are
   made, shuffled and masked with a generator drawn from (seed, window): a pure function of the window's number,
   whichever process computes it (`WindowSource.window`).
3. Sequences are taken from the windows in order until the token budget of a step is full (`BatchStream`).
4. A step is divided into micro-batches, padded to shapes that never change, so that compilation happens once.

The state of the stream is two numbers, the window and the sequence in it: resuming costs the same at any step.
"""

import itertools
import math
import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litebert.data.masking import Masked, MaskSettings, MaskVocabulary, mask
from litebert.data.pairs import (
    NO_LABEL,
    Blocks,
    PairSettings,
    Samples,
    Text,
    cut_blocks,
    join_texts,
    make_samples,
    read_text,
)
from litebert.data.shards import TokenCorpus, open_corpus
from litebert.errors import ConfigError, DataFolderError, LitebertError
from litebert.text.tokenizer import Tokenizer

WINDOW_BLOCKS = 128
"""Blocks a window holds: the reach of shuffling within an epoch."""

BLOCK_SEQUENCES = 8
"""Length of a block in sequences: longer blocks waste less at their ends, shorter ones mix documents better."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What a step reads."""

    batch_size: int = 64
    """Sequences of full length a step; times `pairs.length` it is the token budget of a step."""
    micro_batches: int = 1
    """Parts in which each process computes its share of a step; more need less memory, the data stay the same."""
    workers: int = 0
    """Processes that prepare batches ahead of the training loop; 0: the loop prepares them itself."""
    pairs: PairSettings = field(default_factory=PairSettings)
    masking: MaskSettings = field(default_factory=MaskSettings)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size = {self.batch_size}: expected 1 or more")
        if not 1 <= self.micro_batches <= self.batch_size:
            raise ConfigError(f"micro_batches = {self.micro_batches}: expected 1 to batch_size ({self.batch_size})")
        if self.workers < 0:
            raise ConfigError(f"workers = {self.workers}: expected 0 or more")

    @property
    def token_budget(self) -> int:
        """Tokens a step, at most."""
        return self.batch_size * self.pairs.length

    @property
    def sequence_slots(self) -> int:
        """Sequences a step, at most: a quarter more than of full length, as some are short; a tenth more than of mean
        length, where lengths are spread."""
        if self.pairs.drawn:
            return math.ceil(1.1 * self.token_budget / self.pairs.mean_length)
        return self.batch_size + -(-self.batch_size // 4)

    @property
    def longer(self) -> dict[int, int]:
        """How many sequences of a step may be longer than which length, by falling length: three standard deviations
        more than there are on average. Empty: all of them, where lengths are not drawn."""
        if not self.pairs.drawn:
            return {}
        halves = [self.pairs.length // 2**power for power in (1, 2) if self.pairs.length // 2**power >= 16]
        means = {length: self.sequence_slots * self.pairs.share_longer(length) for length in halves}
        return {length: min(math.ceil(mean + 3 * mean**0.5), self.sequence_slots) for length, mean in means.items()}

    def bands(self, parts: int) -> tuple[tuple[int, int], ...]:
        """How many sequences of a part of a step are no longer than which length: they lie by falling length.

        Empty where any of them may be of full length.
        """
        if not self.longer:
            return ()
        lengths = (self.pairs.length, *self.longer)
        ends = (*(-(-count // parts) for count in self.longer.values()), _room(self, parts)[1])
        bands = zip((0, *ends), ends, lengths, strict=False)
        return tuple((end - begin, length) for begin, end, length in bands if end > begin)


class PretrainBatch(NamedTuple):
    """Masked sequences, one after the other. In a padded batch, everything behind the last sequence is unused."""

    input_ids: NDArray[np.int64]  # (T,)
    position_ids: NDArray[np.int64]  # (T,)
    token_type_ids: NDArray[np.int64]  # (T,)
    cu_seqlens: NDArray[np.int32]  # (S + 1,)
    masked_positions: NDArray[np.int64]  # (M,)
    masked_labels: NDArray[np.int64]  # (M,) NO_LABEL where unused
    order_labels: NDArray[np.int64]  # (S,) NO_LABEL where there is none
    texts: NDArray[np.object_] | None = None  # (S,) and (T, 2), see `Samples`; never padded
    offsets: NDArray[np.int64] | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens in use, special ones included."""
        return int(self.cu_seqlens[-1])


class StreamState(NamedTuple):
    """Where a stream stands: the next sequence to be read."""

    window: int = 0
    sample: int = 0


class SpecialIds(NamedTuple):
    """What the stream needs to know of a tokenizer."""

    cls_id: int
    sep_id: int
    pad_id: int
    vocabulary: MaskVocabulary

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "SpecialIds":
        """Take the ids and tables from a tokenizer."""
        allowed = np.setdiff1d(np.arange(tokenizer.vocab_size), sorted(tokenizer.special_ids))
        vocabulary = MaskVocabulary(tokenizer.mask_id, tokenizer.word_start_table, allowed.astype(np.int32))
        return cls(tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id, vocabulary)


class WindowSource:
    """Masked windows of one or several data folders: a pure function of (seed, window number)."""

    ids_per_token = 1
    """How many ids of the shards make about one token of a sequence."""

    def __init__(
        self,
        folders: dict[Path, float],
        special: SpecialIds,
        settings: DataSettings,
        seed: int,
        split: str = "train",
        documents: NDArray[np.int64] | None = None,
    ) -> None:
        """Read the documents of `split`; of a single folder perhaps only some, by their numbers there."""
        self.settings, self.special, self.seed = settings, special, seed
        self._arguments = (folders, special, settings, seed, split, documents)
        self.corpora: list[TokenCorpus] = [open_corpus(folder) for folder in folders]
        weights = np.array(list(folders.values()), dtype=np.float64)
        if not folders or not np.all((weights > 0) & np.isfinite(weights)):
            raise ConfigError("data folders need weights above 0, as in --data wikipedia=2 --data novels=1")
        self.shares = weights / weights.sum()
        self.splits = [corpus.split(split) for corpus in self.corpora]
        size = settings.pairs.length * BLOCK_SEQUENCES * self.ids_per_token
        self.blocks: list[Blocks] = [cut_blocks(part.shards, size) for part in self.splits]
        if documents is not None:
            (blocks,) = self.blocks
            self.blocks = [blocks.take(np.flatnonzero(np.isin(blocks.document, documents)))]
        self._orders: dict[int, tuple[int, NDArray[np.int64]]] = {}
        for corpus, blocks in zip(self.corpora, self.blocks, strict=True):
            if not len(blocks.first):
                raise DataFolderError(f"{corpus.path}: no {split} documents; prepare more text")

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process by name: the maps are opened there anew, not copied."""
        return WindowSource, self._arguments

    def windows_per_epoch(self, folder: int = 0) -> float:
        """Windows after which every block of a folder has been read once."""
        return len(self.blocks[folder].first) / (WINDOW_BLOCKS * float(self.shares[folder]))

    def window(self, number: int) -> tuple[Samples, Masked]:
        """Make the sequences of a window."""
        rng = np.random.default_rng([self.seed, 1, number])
        texts = [
            read_text(split.shards, blocks)
            for split, blocks in zip(self.splits, self._window_blocks(number), strict=True)
            if len(blocks.first)
        ]
        samples = self._samples(join_texts(texts), rng)
        return samples, mask(samples, self.special.vocabulary, self.settings.masking, rng)

    def _samples(self, text: Text, rng: np.random.Generator) -> Samples:
        return make_samples(text, self.settings.pairs, self.special.cls_id, self.special.sep_id, rng)

    def _window_blocks(self, number: int) -> list[Blocks]:
        """Return each folder's blocks of a window."""
        if len(self.blocks) == 1:  # windows end with the epoch, so that each epoch reads every block once
            count = len(self.blocks[0].first)
            epoch, window = divmod(number, -(-count // WINDOW_BLOCKS))
            chosen = self._order(0, epoch)[window * WINDOW_BLOCKS : (window + 1) * WINDOW_BLOCKS]
            return [self.blocks[0].take(chosen)]
        # A folder's blocks so far are its share of all blocks so far, rounded; each folder has its own epochs.
        bounds = np.concatenate(([0], np.cumsum(self.shares))) * WINDOW_BLOCKS
        before = np.diff(np.round(bounds * number)).astype(np.int64)
        until = np.diff(np.round(bounds * (number + 1))).astype(np.int64)
        taken: list[Blocks] = []
        for folder, blocks in enumerate(self.blocks):
            turns = [divmod(int(i), len(blocks.first)) for i in range(before[folder], until[folder])]
            chosen = np.array([self._order(folder, epoch)[i] for epoch, i in turns], dtype=np.int64)
            taken.append(blocks.take(chosen))
        return taken

    def _order(self, folder: int, epoch: int) -> NDArray[np.int64]:
        """Return the order in which an epoch reads the blocks of a folder; the last one asked for is kept."""
        if self._orders.get(folder, (-1,))[0] != epoch:
            rng = np.random.default_rng([self.seed, 0, folder, epoch])
            self._orders[folder] = (epoch, rng.permutation(len(self.blocks[folder].first)))
        return self._orders[folder][1]


class BatchStream:
    """An endless iterator over steps; `state` is the place behind the last step it gave."""

    def __init__(
        self,
        source: WindowSource,
        state: StreamState = StreamState(),  # noqa: B008
        skipped: frozenset[int] = frozenset(),
    ) -> None:
        """Begin at `state`; windows that are `skipped` are left out."""
        self.source = source
        self.state = state
        self.skipped = skipped

    def __iter__(self) -> Iterator[PretrainBatch]:
        """Give steps from `state` on, for ever."""
        settings = self.source.settings
        budget, slots, longer = settings.token_budget, settings.sequence_slots, settings.longer
        parts: list[PretrainBatch] = []
        tokens = sequences = 0
        used = dict.fromkeys(longer, 0)
        start = self.state
        for number, (samples, masked) in _windows(self.source, start.window, self.skipped):
            ends = samples.cu_seqlens
            counts = {length: np.cumsum([0, *(np.diff(ends) > length)]) for length in longer}
            first = start.sample if number == start.window else 0
            while first < len(samples.labels):
                stop = int(np.searchsorted(ends, ends[first] + budget - tokens, side="right")) - 1
                stop = min(stop, first + slots - sequences)
                for length, count in counts.items():
                    room = longer[length] - used[length]
                    stop = min(stop, int(np.searchsorted(count, count[first] + room, side="right")) - 1)
                if stop > first:
                    parts.append(_slice(samples, masked, first, stop))
                    tokens += int(ends[stop] - ends[first])
                    sequences += stop - first
                    used = {length: used[length] + int(count[stop] - count[first]) for length, count in counts.items()}
                    first = stop
                if first < len(samples.labels):  # the next sequence does not fit: the step is full
                    self.state = StreamState(number, first)
                    step = concatenate(parts)
                    yield select(step, np.argsort(-np.diff(step.cu_seqlens), kind="stable")) if longer else step
                    parts, tokens, sequences = [], 0, 0
                    used = dict.fromkeys(longer, 0)


def _windows(source: WindowSource, first: int, skipped: frozenset[int]) -> Iterator[tuple[int, tuple[Samples, Masked]]]:
    """Give the windows from `first` on in order, computed here or ahead of time by worker processes."""
    workers = source.settings.workers
    numbers = (number for number in itertools.count(first) if number not in skipped)
    if not workers:
        for number in numbers:
            yield number, source.window(number)
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_adopt, initargs=(source,)) as pool:
        ahead = deque((n, pool.submit(_work, n)) for n in itertools.islice(numbers, 2 * workers))
        try:
            while True:
                number, future = ahead.popleft()
                after = next(numbers)
                ahead.append((after, pool.submit(_work, after)))
                try:
                    yield number, future.result()
                except BrokenProcessPool:
                    raise LitebertError(
                        "a process that makes batches died (out of memory?): go on with --resume, with fewer of them "
                        "(data.workers)"
                    ) from None
        finally:
            for _, future in ahead:
                future.cancel()


_adopted: list[WindowSource] = []  # in a worker process: the source it works for


def _adopt(source: WindowSource) -> None:
    _adopted.append(source)
    if (parent := parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """A process that was killed leaves no orders to its workers."""
    wait([sentinel])
    os._exit(1)


def _work(number: int) -> tuple[Samples, Masked]:
    return _adopted[0].window(number)


def held_out_batches(source: WindowSource, tokens: int) -> Iterator[PretrainBatch]:
    """Steps of the first epoch until `tokens` tokens are read or the epoch ends, always the same ones."""
    read = 0
    windows = -(-len(source.blocks[0].first) // WINDOW_BLOCKS)
    for number in range(windows):
        samples, masked = source.window(number)
        first = 0
        while first < len(samples.labels):
            limit = samples.cu_seqlens[first] + source.settings.token_budget
            stop = int(np.searchsorted(samples.cu_seqlens, limit, side="right")) - 1
            yield _slice(samples, masked, first, stop)
            read += int(samples.cu_seqlens[stop] - samples.cu_seqlens[first])
            if read >= tokens:
                return
            first = stop


def micro_batches(batch: PretrainBatch, settings: DataSettings, pad_id: int, parts: int) -> list[PretrainBatch]:
    """Divide a step into parts, padded to shapes that depend on the settings and the number of parts alone."""
    tokens, sequences = _room(settings, parts)
    # Some four standard deviations above the mean of masked tokens. A part with more of them, one in many thousands,
    # gets twice the room, as a shape of its own.
    mean = settings.masking.share * tokens
    room = min(tokens, -(-int(mean + 3 * mean**0.5 + 8) // 8) * 8)
    return [
        pad(part, tokens, sequences, room * max(1, -(-len(part.masked_positions) // room)), pad_id)
        for part in _divide(batch, parts)
    ]


def held_out_parts(batch: PretrainBatch, settings: DataSettings, pad_id: int, parts: int) -> list[PretrainBatch]:
    """Divide a held-out step like a step of training, so that it needs no more memory.

    It may have more sequences than such a step, or so few that there are fewer parts.
    """
    tokens, sequences = _room(settings, parts)
    return [
        pad(part, tokens, max(sequences, len(part.order_labels)), max(len(part.masked_labels), 1), pad_id)
        for part in _divide(batch, parts)
        if part.num_tokens
    ]


def _room(settings: DataSettings, parts: int) -> tuple[int, int]:
    """Tokens and sequences a part of a step, at most."""
    if parts == 1:
        return settings.token_budget, settings.sequence_slots
    return -(-settings.token_budget // parts) + settings.pairs.length, -(-settings.sequence_slots // parts)


def _divide(batch: PretrainBatch, parts: int) -> list[PretrainBatch]:
    if parts == 1:
        return [batch]
    # Dealt out by falling length, parts differ by at most one sequence in number and one length in tokens.
    order = np.argsort(-np.diff(batch.cu_seqlens), kind="stable")
    return [select(batch, np.sort(order[part::parts])) for part in range(parts)]


def pad(batch: PretrainBatch, tokens: int, sequences: int, masked: int, pad_id: int) -> PretrainBatch:
    """Fill a batch up to fixed shapes: numbers of tokens, sequences and masked tokens."""

    def fill(values: NDArray[np.integer], size: int, value: int) -> NDArray[np.int64]:
        out = np.full(size, value, dtype=np.int64)
        out[: len(values)] = values
        return out

    return PretrainBatch(
        fill(batch.input_ids, tokens, pad_id),
        fill(batch.position_ids, tokens, 0),
        fill(batch.token_type_ids, tokens, 0),
        fill(batch.cu_seqlens, sequences + 1, batch.num_tokens).astype(np.int32),
        fill(batch.masked_positions, masked, 0),
        fill(batch.masked_labels, masked, NO_LABEL),
        fill(batch.order_labels, sequences, NO_LABEL),
        batch.texts,
        batch.offsets,
    )


def concatenate(parts: list[PretrainBatch]) -> PretrainBatch:
    """Put batches one after the other."""
    offsets = np.cumsum([0, *(part.num_tokens for part in parts)])
    ends = [part.cu_seqlens[1:] + offset for part, offset in zip(parts, offsets, strict=False)]
    positions = [part.masked_positions + offset for part, offset in zip(parts, offsets, strict=False)]
    return PretrainBatch(
        np.concatenate([part.input_ids for part in parts]),
        np.concatenate([part.position_ids for part in parts]),
        np.concatenate([part.token_type_ids for part in parts]),
        np.concatenate([[0], *ends]).astype(np.int32),
        np.concatenate(positions),
        np.concatenate([part.masked_labels for part in parts]),
        np.concatenate([part.order_labels for part in parts]),
        _joined([part.texts for part in parts]),
        _joined([part.offsets for part in parts]),
    )


def _joined(parts: list[NDArray[Any] | None]) -> NDArray[Any] | None:
    found = [part for part in parts if part is not None]
    return np.concatenate(found) if found else None


def _slice(samples: Samples, masked: Masked, first: int, stop: int) -> PretrainBatch:
    """Take the sequences first..stop of a window as a batch."""
    ends = samples.cu_seqlens[first : stop + 1]
    start = ends[0]
    tokens = slice(int(start), int(ends[-1]))
    chosen = slice(*np.searchsorted(masked.positions, (ends[0], ends[-1])))
    positions = np.arange(tokens.stop - tokens.start) - np.repeat(ends[:-1] - start, np.diff(ends))
    return PretrainBatch(
        masked.input_ids[tokens].astype(np.int64),
        positions,
        samples.segment_ids[tokens].astype(np.int64),
        (ends - start).astype(np.int32),
        masked.positions[chosen] - start,
        masked.targets[chosen].astype(np.int64),
        samples.labels[first:stop],
        None if samples.texts is None else samples.texts[first:stop],
        None if samples.offsets is None else samples.offsets[tokens],
    )


def select(batch: PretrainBatch, sequences: NDArray[np.int64]) -> PretrainBatch:
    """Take some sequences of a batch."""
    ends = batch.cu_seqlens.astype(np.int64)
    sizes = np.diff(ends)[sequences]
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    tokens = np.arange(offsets[-1]) + np.repeat(ends[sequences] - offsets[:-1], sizes)
    place = np.full(batch.num_tokens, -1, dtype=np.int64)  # from the old position to the new
    place[tokens] = np.arange(len(tokens))
    chosen = place[batch.masked_positions] >= 0
    return PretrainBatch(
        batch.input_ids[tokens],
        batch.position_ids[tokens],
        batch.token_type_ids[tokens],
        offsets.astype(np.int32),
        place[batch.masked_positions[chosen]],
        batch.masked_labels[chosen],
        batch.order_labels[sequences],
        None if batch.texts is None else batch.texts[sequences],
        None if batch.offsets is None else batch.offsets[tokens],
    )
