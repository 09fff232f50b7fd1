"""Several layers made one: the mean of their weights, heads and inner units brought into one order first.

A mean of weights only means something where the units of the layers correspond. The residual stream is one basis for
all layers, but heads, and the inner units of the feed-forward blocks, stand in any order: those of each layer are put
into the order in which they are most like those of a reference layer (Ainsworth et al. 2023, "Git Re-Basin").

Dimensions: H hidden, F inside the feed-forward block, N heads, D head size, R rank.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from litebert.model.encoder import Attention, FeedForward

State = dict[str, Tensor]
"""The tensors of a block by their names in it."""


def aligned_attention(blocks: Sequence[Attention]) -> list[State]:
    """The blocks' tensors, the heads of each in the order of the middle one's; what each computes stays the same."""
    reference, states = blocks[len(blocks) // 2], []
    for block in blocks:
        state = _state(block)
        heads = _match(_head_features(reference), _head_features(block))
        size = block.dense.in_features // block.heads
        order = (heads[:, None] * size + torch.arange(size)).flatten()  # (H,)
        rows = torch.cat([order + third * len(order) for third in range(3)])  # (3H,)
        state |= {"qkv.weight": state["qkv.weight"][rows], "qkv.bias": state["qkv.bias"][rows]}
        states.append(state | {"dense.weight": state["dense.weight"][:, order]})
    return states


def aligned_ffn(blocks: Sequence[FeedForward]) -> list[State]:
    """The blocks' tensors, the inner units of each in the order of the middle one's."""
    reference, states = blocks[len(blocks) // 2], []
    for block in blocks:
        state = _state(block)
        order = _match(_inner_features(reference), _inner_features(block))  # (F,)
        state |= {"inner.weight": state["inner.weight"][order], "inner.bias": state["inner.bias"][order]}
        states.append(state | {"output.weight": state["output.weight"][:, order]})
    return states


def mean(states: Sequence[State]) -> State:
    """The mean of blocks whose units correspond."""
    return {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}


def low_rank(difference: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """`down` (R, in) and `up` (out, R), whose product is the nearest of its rank to a (out, in) difference."""
    left, sizes, right = torch.linalg.svd(difference, full_matrices=False)
    root = sizes[:rank].sqrt()
    return root[:, None] * right[:rank], left[:, :rank] * root


def _state(block: torch.nn.Module) -> State:
    return {name: tensor.detach().clone() for name, tensor in block.state_dict().items()}


def _head_features(block: Attention) -> Tensor:
    """What a head's weights are, (N, 4 D H)."""
    heads, hidden = block.heads, block.dense.out_features
    qkv = block.qkv.weight.detach().view(3, heads, -1, hidden).transpose(0, 1).reshape(heads, -1)
    return torch.cat((qkv, block.dense.weight.detach().T.reshape(heads, -1)), 1)


def _inner_features(block: FeedForward) -> Tensor:
    """What an inner unit's weights are, those towards it and those from it alike in size, (F, 2 H)."""
    inner, out = block.inner.weight.detach(), block.output.weight.detach().T
    return torch.cat([part / part.norm().clamp(min=torch.finfo(part.dtype).tiny) for part in (inner, out)], 1)


def _match(reference: Tensor, other: Tensor) -> Tensor:
    """The order in which the other's units are most like those of the reference, (units,)."""
    from scipy.optimize import linear_sum_assignment

    _, order = linear_sum_assignment((reference @ other.T).numpy(), maximize=True)
    return torch.from_numpy(np.asarray(order, dtype=np.int64))
