"""One vector for a whole sequence: that of its first token, the mean of all, or the largest of each number.

Dimensions: T tokens of a packed batch, S its sequences, H hidden.
"""

import torch
from torch import Tensor

from litebert.model.packed import Packed


def first_tokens(packed: Packed) -> Tensor:
    """(S,): where each sequence begins; of an empty one some token."""
    return packed.cu_seqlens[:-1].long().clamp(max=packed.input_ids.shape[0] - 1)


def pool(hidden: Tensor, packed: Packed, how: str) -> Tensor:
    """Read vectors of tokens as vectors of sequences, how: `first`, `mean` or `max`; (T, H) -> (S, H).

    Unused slots influence nothing; of an empty sequence comes out 0, as the largest of no numbers minus infinity.
    """
    starts, ends = packed.cu_seqlens[:-1].long(), packed.cu_seqlens[1:].long()  # (S,), (S,)
    if how == "first":
        return torch.where((starts < ends)[:, None], hidden[first_tokens(packed)], 0.0)  # (S, H)
    token = torch.arange(hidden.shape[0], device=hidden.device)  # (T,)
    if how == "max":
        owner = torch.bucketize(token, ends, right=True)  # (T,), S for unused slots
        lowest = hidden.new_full((len(starts) + 1, hidden.shape[1]), float("-inf"))
        return lowest.scatter_reduce(0, owner[:, None].expand_as(hidden), hidden, "amax")[:-1]  # (S, H)
    # A matrix product: its shape is fixed, and its gradient the same bits every time.
    member = (token >= starts[:, None]) & (token < ends[:, None])  # (S, T)
    share = member.to(hidden.dtype) / (ends - starts).clamp(min=1)[:, None].to(hidden.dtype)
    return share @ hidden  # (S, H)
