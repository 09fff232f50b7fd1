"""From sequences to answers of a classifier, and from answers to metrics. The same code judges dev sets and
predicts.

Dimensions: R rows, n sequences, S sequences of a batch, T its tokens, C classes.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from litebert.console import Advance
from litebert.data.examples import Examples, SequenceBatch
from litebert.errors import ModelFolderError, TokenizerError
from litebert.evaluate.metrics import Floats, Ints, Metrics, classification_metrics
from litebert.interop.huggingface import read_own
from litebert.model.heads import AlbertWithHeads
from litebert.model.packed import Packed
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
    return Packed(ids, positions, segments, cu_seqlens, _rounded(batch.max_length, 8))


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step


@torch.inference_mode()
def classify_logits(
    model: AlbertWithHeads,
    examples: Examples,
    *,
    precision: Precision = nullcontext,
    max_tokens: int = MAX_TOKENS,
    advance: Advance | None = None,
) -> Floats:
    """Return the logits (R, C) of every row, averaged over its windows. The model is in evaluation mode
    afterwards."""
    model.eval()
    device = next(model.parameters()).device
    sums = np.zeros((examples.num_rows, model.config.num_labels), dtype=np.float64)
    for batch in examples.batches(examples.by_length(), max_tokens):
        with precision():
            logits = head_logits(model, to_packed(batch, device))  # (S, C)
        np.add.at(sums, examples.rows[batch.sequences], logits.float().cpu().numpy())
        if advance is not None:
            advance(len(batch.sequences))
    return (sums / examples.windows_per_row[:, None]).astype(np.float32)


def head_logits(model: AlbertWithHeads, packed: Packed) -> Tensor:
    """The classifier's logits of every sequence, (S, C)."""
    hidden = model.encode(packed)  # (T, H)
    return model.heads["classify"](model.pooled(hidden, packed))  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class ClassifyEvaluator:
    """Judges a classifier on one labelled set."""

    examples: Examples
    gold: Ints
    """(R,): class of each row."""
    primary_metric: str = "accuracy"
    """The metric by which checkpoints are compared; more is better."""
    precision: Precision = nullcontext

    def __call__(self, model: AlbertWithHeads) -> Metrics:
        """Return the metrics, the primary one among them."""
        return classification_metrics(self.gold, classify_logits(model, self.examples, precision=self.precision))


def model_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer that belongs to a model folder.

    Raises ModelFolderError where there is none, TokenizerError where it is not the one the model was saved
    with.
    """
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
