"""Several layers made one: heads and inner units are brought into one order, then the weights averaged or fitted.

Weights only have something to do with each other where the units of the layers correspond. The residual stream is one
basis for all layers, but heads, and the inner units of the feed-forward blocks, stand in any order: those of each layer
are put into the order in which they are most like those of a reference layer (Ainsworth et al. 2023, "Git Re-Basin").

- The mean of the weights.
- The fit: of every linear map one that is near, by least squares, to what each layer's own makes of the inputs that
  this layer has on real tokens: W = (sum of W_l G_l) (sum of G_l)^-1, with G_l the Gram matrix of the inputs of layer l
  whose entries beside the diagonal are made smaller, a G + (1 - a) diag(G), so that the weights of inputs which few
  tokens tell apart stay near those of the layers (RegMean: Jin et al. 2023, "Dataless Knowledge Fusion by Merging
  Weights of Language Models").

Dimensions: H hidden, F inside the feed-forward block, N heads, D head size, R rank.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from litebert.model.encoder import Attention, Encoder, FeedForward

State = dict[str, Tensor]
"""The tensors of a block by their names in it."""

Grams = Mapping[str, Tensor]
"""Of the linear maps of a layer, by name: the Gram matrix of what they read, a one at its end: (in + 1, in + 1)."""

_READS_INNER = ("dense", "output")
"""The maps that read a block's inner units."""

OFF_DIAGONAL = 0.1
"""What the entries beside the diagonal of a Gram matrix count, `a` above."""

_RIDGE = 1e-6
"""Added to the diagonal, as a share of its mean: what an input that never occurs is multiplied by is the mean."""


class Aligned(NamedTuple):
    """A block in the order of another one."""

    state: State
    inner: Tensor
    """Where its inner units (heads, one after the other; inner features) stood before: (H,) or (F,)."""


def aligned_attention(blocks: Sequence[Attention]) -> list[Aligned]:
    """The blocks, the heads of each in the order of the middle one's; what each computes stays the same."""
    reference, aligned = blocks[len(blocks) // 2], []
    for block in blocks:
        state = _state(block)
        heads = _match(_head_features(reference), _head_features(block))
        size = block.dense.in_features // block.heads
        order = (heads[:, None] * size + torch.arange(size)).flatten()  # (H,)
        rows = torch.cat([order + third * len(order) for third in range(3)])  # (3H,)
        state |= {"qkv.weight": state["qkv.weight"][rows], "qkv.bias": state["qkv.bias"][rows]}
        aligned.append(Aligned(state | {"dense.weight": state["dense.weight"][:, order]}, order))
    return aligned


def aligned_ffn(blocks: Sequence[FeedForward]) -> list[Aligned]:
    """The blocks, the inner units of each in the order of the middle one's."""
    reference, aligned = blocks[len(blocks) // 2], []
    for block in blocks:
        state = _state(block)
        order = _match(_inner_features(reference), _inner_features(block))  # (F,)
        state |= {"inner.weight": state["inner.weight"][order], "inner.bias": state["inner.bias"][order]}
        aligned.append(Aligned(state | {"output.weight": state["output.weight"][:, order]}, order))
    return aligned


def mean(blocks: Sequence[Aligned]) -> State:
    """The mean of blocks whose units correspond."""
    return {name: torch.stack([block.state[name] for block in blocks]).mean(0) for name in blocks[0].state}


def fit(blocks: Sequence[Aligned], grams: Sequence[Grams]) -> State:
    """The linear maps near to those of all blocks on what each of them reads, the norms their mean.

    grams: of each block's layer, in the order that its units had before.
    """
    merged = mean(blocks)
    for name in [name for name in grams[0] if f"{name}.weight" in merged]:
        wanted, known = torch.zeros(()), torch.zeros(())  # (out, in + 1) and (in + 1, in + 1)
        ridge = _RIDGE * torch.stack([of_block[name].diagonal() for of_block in grams]).double().mean()
        for block, of_block in zip(blocks, grams, strict=True):
            weight, bias, gram = block.state[f"{name}.weight"], block.state[f"{name}.bias"], of_block[name]
            if name in _READS_INNER:
                order = torch.cat((block.inner, torch.tensor([len(block.inner)])))
                gram = gram[order][:, order]
            gram = OFF_DIAGONAL * gram.double() + (1 - OFF_DIAGONAL) * gram.diagonal().double().diag()
            gram.diagonal().add_(ridge)
            wanted, known = wanted + torch.cat((weight, bias[:, None]), 1).double() @ gram, known + gram
        solved = torch.linalg.solve(known, wanted, left=False).float()
        merged[f"{name}.weight"], merged[f"{name}.bias"] = solved[:, :-1].contiguous(), solved[:, -1].clone()
    return merged


@contextmanager
def watched(encoder: Encoder) -> Iterator[list[dict[str, Tensor]]]:
    """Sum up, for as long as it is open, the Gram matrices of what each layer's linear maps read."""
    sums: list[dict[str, Tensor]] = [{} for _ in encoder.plan.attention]
    handles = []
    for part, blocks in ((encoder.plan.attention, encoder.attention), (encoder.plan.ffn, encoder.ffn)):
        for number, block in enumerate(blocks):
            layers = [layer for layer, used in enumerate(part) if used == number]
            for name, map_ in block.named_children():
                if isinstance(map_, nn.Linear):
                    hook = _summing(name, [sums[layer] for layer in layers])
                    handles.append(map_.register_forward_pre_hook(hook))
    try:
        yield sums
    finally:
        for handle in handles:
            handle.remove()


def _summing(name: str, layers: list[dict[str, Tensor]]) -> Callable[[nn.Module, tuple[Tensor]], None]:
    """A hook of a map that the layers use one after the other, in every pass through the encoder."""
    turns = cycle(layers)

    def hook(_: nn.Module, inputs: tuple[Tensor]) -> None:
        x = torch.cat((inputs[0], torch.ones(len(inputs[0]), 1)), 1)  # (T, in + 1)
        sums = next(turns)
        sums[name] = sums.get(name, torch.zeros(())) + x.T @ x

    return hook


def low_rank(difference: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """`down` (R, in) and `up` (out, R), whose product is the nearest of its rank to a (out, in) difference."""
    left, sizes, right = torch.linalg.svd(difference, full_matrices=False)
    root = sizes[:rank].sqrt()
    return root[:, None] * right[:rank], left[:, :rank] * root


def _state(block: nn.Module) -> State:
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
