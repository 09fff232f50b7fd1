"""The two segments of sequences, each by itself: what a teacher reads of a pair that its student is to compare.

Dimensions: T tokens and S sequences of a padded batch.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from litebert.data.batches import PretrainBatch


class Apart(NamedTuple):
    """Segments as sequences of their own, by falling length. Shapes depend on those of the batch alone."""

    input_ids: NDArray[np.int64]
    """(T + S,)"""
    position_ids: NDArray[np.int64]
    """(T + S,)"""
    cu_seqlens: NDArray[np.int32]
    """(2 S + 1,)"""
    matches: NDArray[np.int64]
    """(T,) where each token of the batch is among them"""
    first: NDArray[np.int64]
    """(S,) which of these sequences is the first segment of each one of the batch"""
    second: NDArray[np.int64]
    """(S,) which is its second one; any where it has none"""
    paired: NDArray[np.bool_]
    """(S,) whether it has one"""


def paired(batch: PretrainBatch) -> NDArray[np.bool_]:
    """Which sequences of a batch have two segments: (S,)."""
    starts, ends = batch.cu_seqlens[:-1], batch.cu_seqlens[1:]
    last: NDArray[np.bool_] = batch.token_type_ids[ends - 1] == 1
    return (ends > starts) & last


def read_apart(batch: PretrainBatch, pad_id: int) -> Apart:
    """Turn each [CLS] A [SEP] B [SEP] of a padded batch into [CLS] A [SEP] and [CLS] B [SEP]; others stay whole."""
    total, sequences, used = len(batch.input_ids), len(batch.order_labels), batch.num_tokens
    segments = batch.token_type_ids[:used]
    begins = np.zeros(used, dtype=np.bool_)  # of a segment; where that is a second one, its [CLS] is yet to come
    begins[batch.cu_seqlens[:-1][np.diff(batch.cu_seqlens) > 0]] = True
    second = np.flatnonzero((segments[1:] == 1) & (segments[:-1] == 0)) + 1
    begins[second] = True
    starts = np.flatnonzero(begins)
    late = segments[starts] == 1
    sizes = np.diff(starts, append=used) + late
    order = np.argsort(-sizes, kind="stable")
    ends = np.cumsum(sizes[order])
    places = np.empty(len(starts), dtype=np.int64)  # where each segment begins
    places[order] = ends - sizes[order]
    number = np.empty(len(starts), dtype=np.int64)  # which sequence it becomes
    number[order] = np.arange(len(starts))

    matches = np.arange(total)
    matches[:used] += np.repeat(places + late - starts, sizes - late)
    ids, positions = np.full(total + sequences, pad_id), np.zeros(total + sequences, dtype=np.int64)
    ids[matches[:used]] = batch.input_ids[:used]
    ids[places[late]] = batch.input_ids[0]  # [CLS], as every sequence begins
    positions[: ends[-1]] = np.arange(ends[-1]) - np.repeat(ends - sizes[order], sizes[order])
    cu_seqlens = np.full(2 * sequences + 1, ends[-1], dtype=np.int32)
    cu_seqlens[: len(ends) + 1] = 0, *ends

    pairs = paired(batch)
    first, after = np.zeros(sequences, dtype=np.int64), np.zeros(sequences, dtype=np.int64)
    first[: (~late).sum()] = number[~late]
    after[pairs] = number[late]
    return Apart(ids, positions, cu_seqlens, matches, first, after, pairs)


def bands_apart(bands: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """How many of the segments are no longer than which length, where the sequences they come from lie in `bands`.

    Longer than l are at most: one segment of every sequence that is longer, and a second one of those of 2 l + 1 tokens
    or more. No bands where a length is not twice the next one.
    """
    lengths = [length for _, length in bands]
    if not bands or any(a != 2 * b for a, b in pairwise(lengths)):
        return ()
    counts = np.cumsum([0, *(count for count, _ in bands)])  # longer than each length, from the first on; at last S
    longer = [*(counts[:-2] + counts[1:-1]).tolist(), 2 * int(counts[-1])]
    return tuple((end - begin, length) for begin, end, length in zip((0, *longer), longer, lengths, strict=False))
