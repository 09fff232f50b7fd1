"""From sequences to what a head says of them: for training, judging and answering alike.

Dimensions: R rows, n sequences, S sequences of a batch, T its tokens, C classes.
"""

from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from litebert.console import Advance
from litebert.data.examples import Examples, Ints, SequenceBatch
from litebert.model.device import Computing
from litebert.model.heads import TASKS, AlbertWithHeads
from litebert.model.packed import Bands, Packed

MAX_TOKENS = 4096
"""Tokens of a batch when answering: larger ones gain nothing on a CPU and cost memory."""


def to_packed(batch: SequenceBatch, device: torch.device) -> Packed:
    """Move a batch of arrays to a device as the model's packed batch, with a few unused slots at its end.

    Sizes are rounded up to few different ones: the kernels of bfloat16 products are made anew for each size and kept,
    which took 600 MB more after sixty steps on sequences as they came.
    """
    tokens = len(batch.input_ids)
    unused = _rounded(tokens, 64 if tokens > 256 else 8) - tokens
    ids, positions, segments = (
        torch.from_numpy(np.pad(values, (0, unused))).to(device, non_blocking=True) for values in batch[:3]
    )
    cu_seqlens = torch.from_numpy(batch.cu_seqlens).to(device, non_blocking=True)
    longest = _rounded(batch.max_length, 8)
    return Packed(ids, positions, segments, cu_seqlens, longest, bands_of(np.diff(batch.cu_seqlens), longest))


def bands_of(lengths: Ints, longest: int) -> Bands:
    """Divide sequences, (S,) tokens each, where no later one is longer than a half and a quarter of `longest`.

    Numbers and lengths are multiples of eight, so that there are few different ones. Falling lengths give most.
    """
    rest = np.maximum.accumulate(lengths[::-1])[::-1]  # (S,) the longest from here on
    limits = sorted({longest, _rounded(longest // 2, 8), _rounded(longest // 4, 8)}, reverse=True)
    ends = [min(_rounded(int((rest > limit).sum()), 8), len(lengths)) for limit in limits[1:]]
    bands = zip(pairwise((0, *ends, len(lengths))), limits, strict=True)
    return tuple((end - begin, limit) for (begin, end), limit in bands if end > begin)


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step


@torch.inference_mode()
def head_outputs(
    model: AlbertWithHeads,
    head: str,
    examples: Examples,
    *,
    precision: Computing = nullcontext,
    max_tokens: int = MAX_TOKENS,
    advance: Advance | None = None,
) -> NDArray[np.float32]:
    """What a head says: logits of every sequence (n, C), or of every token (total, C) in the order of `examples`.

    The model is in evaluation mode afterwards.
    """
    model.eval()
    device = next(model.parameters()).device
    per_token = TASKS[head].reads == "tokens"
    outputs: NDArray[np.float32] | None = None
    for batch in examples.batches(examples.by_length(), max_tokens):
        with precision():
            logits = model.logits(head, to_packed(batch, device)).float().cpu().numpy()
        if outputs is None:
            size = len(examples.tokens) if per_token else len(examples)
            outputs = np.zeros((size, logits.shape[1]), dtype=np.float32)
        where = examples.token_index(batch) if per_token else batch.sequences
        outputs[where] = logits[: len(where)]
        if advance is not None:
            advance(len(batch.sequences))
    return np.zeros((0, model.config.num_labels), dtype=np.float32) if outputs is None else outputs


def window_means(examples: Examples, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits of rows (R, C): the mean of those of their windows (n, C)."""
    sums = np.zeros((examples.num_rows, outputs.shape[1]), dtype=np.float64)
    np.add.at(sums, examples.rows, outputs)
    return (sums / examples.windows_per_row[:, None]).astype(np.float32)
