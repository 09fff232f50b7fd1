"""From sequences to what a head says of them. The same code judges dev sets and predicts.

Dimensions: R rows, n sequences, S sequences of a batch, T its tokens, C classes.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from litebert.console import Advance
from litebert.data.examples import Examples, Ints, SequenceBatch
from litebert.errors import ModelFolderError, TokenizerError
from litebert.evaluate.metrics import Floats
from litebert.interop.huggingface import read_config, read_own
from litebert.model.heads import TASKS, AlbertWithHeads
from litebert.model.packed import Bands, Packed
from litebert.text.tokenizer import Tokenizer, has_tokenizer, load_tokenizer

MAX_TOKENS = 4096
"""Tokens of a batch when answering: larger ones gain nothing on a CPU and cost memory."""

Precision = Callable[[], AbstractContextManager[Any]]


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
    precision: Precision = nullcontext,
    max_tokens: int = MAX_TOKENS,
    advance: Advance | None = None,
) -> Floats:
    """What a head says: logits of every sequence (n, C), or of every token (total, C) in the order of `examples`.

    The model is in evaluation mode afterwards.
    """
    model.eval()
    device = next(model.parameters()).device
    per_token = TASKS[head].reads == "tokens"
    outputs: Floats | None = None
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


def window_means(examples: Examples, outputs: Floats) -> Floats:
    """Logits of rows (R, C): the mean of those of their windows (n, C)."""
    sums = np.zeros((examples.num_rows, outputs.shape[1]), dtype=np.float64)
    np.add.at(sums, examples.rows, outputs)
    return (sums / examples.windows_per_row[:, None]).astype(np.float32)


def model_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer that belongs to a model folder.

    Raises ModelFolderError where there is none, TokenizerError where it is not the one the model was saved
    with.
    """
    read_config(folder)
    if not has_tokenizer(folder):
        raise ModelFolderError(
            f"{folder} holds a model without a tokenizer (spiece.model or tokenizer.json), so it cannot read text; "
            "copy the tokenizer's files there"
        )
    tokenizer = load_tokenizer(folder)
    expected = read_own(folder).get("tokenizer_fingerprint")
    if expected is not None and expected != tokenizer.fingerprint:
        raise TokenizerError(
            f"{folder}: the tokenizer there is not the one the model was saved with; put back its files"
        )
    return tokenizer
