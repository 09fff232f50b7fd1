"""Linear probing before fine-tuning: the head learns alone first, from the encoder as it is (Kumar et al. 2022, LP-FT).

The first gradients of a new head say more of its random weights than of the task, and bend the encoder for them; and
where labels are many and rows few, a head is still on its way when the epochs are over. A linear head on fixed vectors
is a convex problem that takes no time at all, so every fine-tuning begins at its solution.

Dimensions: T tokens, S sequences, G items, N vectors that a head reads, H width, C outputs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from litebert.data.examples import Items, SequenceBatch
from litebert.model.heads import AlbertWithHeads

ENOUGH_VECTORS = 1 << 14
"""Vectors, of sequences or of tokens, from which on no more items are drawn."""

STRENGTH = 0.05
"""C of the logistic regression (of the ridge regression where numbers are learnt) for each output of the head, for
vectors of mean 0 and of mean square length 1. The more labels share the rows, the fewer rows each of them has. For two
labels this is far below what is best for the head alone: an encoder learns little from rows that are right already."""

ITERATIONS = 100
"""Of L-BFGS, at most."""

ITEMS = 256
"""Items that are drawn and packed into batches together."""

PROBE = 5
"""Domain of random numbers, beside the seed."""

Outputs = Callable[[AlbertWithHeads, SequenceBatch], Tensor]
"""Of a model and a batch: what its head says, (S, C) or (T, C)."""
ItemLoss = Callable[[Tensor, SequenceBatch], Tensor]
"""Of that and the batch: the loss of each of its items, (G,)."""


class _Part(NamedTuple):
    """A batch as the head reads it."""

    vectors: Tensor
    """(N, H)"""
    batch: SequenceBatch
    weights: Tensor
    """(G,) of its items"""


def linear_head(head: nn.Module) -> nn.Linear | None:
    """The linear layer that is all there is to learn in a head; None where there is more, or nothing."""
    layers = [layer for layer in head.modules() if next(layer.parameters(recurse=False), None) is not None]
    return layers[0] if len(layers) == 1 and isinstance(layers[0], nn.Linear) else None


def probe(
    model: AlbertWithHeads,
    head: nn.Linear,
    items: Items,
    outputs: Outputs,
    loss: ItemLoss,
    *,
    max_tokens: int,
    seed: int,
) -> None:
    """Fit `head`, the last layer of `model`, to training items by L-BFGS, and leave all else as it is.

    Minimizes the weighted mean loss + |W|^2 / (2 C G), C as STRENGTH says. Of many items some are drawn.
    """
    model.eval()
    parts: list[_Part] = []
    with torch.no_grad(), _inputs(head) as read:
        for drawn in _draws(len(items), seed):
            drawn = drawn[np.argsort(-items.longest[drawn], kind="stable")]  # which attention pads least
            ahead = iter(items.weights[drawn].tolist())
            for batch in items.batches(drawn, max_tokens):
                count = len(loss(outputs(model, batch), batch))
                vectors = read.pop().float()
                parts.append(_Part(vectors, batch, torch.tensor(list(islice(ahead, count)), device=vectors.device)))
            if sum(len(part.vectors) for part in parts) >= ENOUGH_VECTORS:  # never within a draw, which is sorted
                break
    vectors = torch.cat([part.vectors for part in parts])
    center = vectors.mean(0)  # (H,)
    scale = (vectors - center).square().sum(1).mean().sqrt().clamp(min=1e-6)
    weights = torch.cat([part.weights for part in parts])
    penalty, total = 1 / (2 * STRENGTH * head.out_features * len(weights)), weights.sum().clamp(min=1e-6)
    weight, bias = (torch.zeros_like(parameter, requires_grad=True) for parameter in (head.weight, head.bias))
    optimizer = torch.optim.LBFGS((weight, bias), max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def objective() -> float:
        optimizer.zero_grad()
        value = penalty * weight.square().sum()
        for part in parts:
            said = F.linear((part.vectors - center) / scale, weight, bias)
            value = value + (loss(said, part.batch) * part.weights).sum() / total
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimizer.step(objective)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        head.weight.copy_(weight / scale)
        head.bias.copy_(bias - head.weight @ center)


def _draws(count: int, seed: int) -> list[NDArray[np.int64]]:
    """All items in random order, ITEMS at a time."""
    order = np.random.default_rng([seed, PROBE]).permutation(count)
    return np.split(order, range(ITEMS, count, ITEMS))


@contextmanager
def _inputs(layer: nn.Module) -> Iterator[list[Tensor]]:
    """What a layer is given while this lasts."""
    given: list[Tensor] = []

    def keep(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        given.append(arguments[0].detach())

    handle = layer.register_forward_pre_hook(keep)
    try:
        yield given
    finally:
        handle.remove()
