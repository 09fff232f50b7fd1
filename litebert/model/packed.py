"""The packed batch: the tokens of many sequences in one row, without padding between them.

Dimensions: B rows and L length of a padded batch, S sequences and T tokens (total_tokens) of a packed one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from litebert.errors import InputError

Bands = tuple[tuple[int, int], ...]
"""How many sequences are no longer than which length, by falling length."""


class Packed(NamedTuple):
    """The one currency of training and answering.

    Sequence s is the tokens from cu_seqlens[s] up to cu_seqlens[s + 1]. T may be more than cu_seqlens[-1]:
    the slots after it are unused, hold any valid ids and influence nothing. cu_seqlens may be padded with its
    last value, which makes empty sequences. Both keep shapes constant, so that a model is compiled once.
    """

    input_ids: Tensor
    """(T,) int64"""
    position_ids: Tensor
    """(T,) int64, the place of each token within its sequence"""
    token_type_ids: Tensor
    """(T,) int64, the segment of each token"""
    cu_seqlens: Tensor
    """(S + 1,) int32, from 0, non-decreasing"""
    max_length: int
    """No sequence is longer than this; constant over the batches of a run"""
    bands: Bands = ()
    """Where attention pads, it pads the first sequences to the first length, the next ones to the next, and so on: they
    lie by falling length. Empty: all to max_length. Constant over the batches of a run, too"""


def pack(
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    token_type_ids: Tensor | None = None,
    position_ids: Tensor | None = None,
) -> tuple[Packed, Tensor]:
    """Take the real tokens out of a padded batch.

    All arguments are (B, L); attention_mask is true (or not 0) at real tokens, None means everywhere.
    Segments are 0 and positions the column unless given. Returns the packed batch and index (T,) int64: the
    place of each token in the flattened (B * L) batch, for `unpack`. Sizes depend on the data: not to compile.
    """
    rows, length = input_ids.shape
    if attention_mask is None:
        attention_mask = torch.ones_like(input_ids, dtype=torch.bool)
    real = attention_mask.bool()
    index = real.flatten().nonzero().flatten()  # (T,)
    if position_ids is None:
        position_ids = torch.arange(length, device=input_ids.device)
    if token_type_ids is None:
        token_type_ids = torch.zeros_like(input_ids)
    cu_seqlens = torch.zeros(rows + 1, dtype=torch.int32, device=input_ids.device)
    cu_seqlens[1:] = real.sum(1).cumsum(0)
    packed = Packed(
        input_ids=input_ids.flatten()[index],
        position_ids=position_ids.expand(rows, length).flatten()[index],
        token_type_ids=token_type_ids.expand(rows, length).flatten()[index],
        cu_seqlens=cu_seqlens,
        max_length=length,
    )
    return packed, index


def pack_lists(input_ids: Sequence[Sequence[int]], token_type_ids: Sequence[Sequence[int]] | None = None) -> Packed:
    """Pack sequences of ids, each with its segments (0 unless given); max_length is the longest one."""
    if token_type_ids is None:
        token_type_ids = [[0] * len(ids) for ids in input_ids]
    lengths = [len(ids) for ids in input_ids]
    if lengths != [len(segments) for segments in token_type_ids]:
        raise InputError("ids and segments differ in length: give one segment id for every id")
    cu_seqlens = torch.zeros(len(lengths) + 1, dtype=torch.int32)
    cu_seqlens[1:] = torch.tensor(lengths, dtype=torch.int64).cumsum(0)
    return Packed(
        input_ids=torch.tensor([i for ids in input_ids for i in ids], dtype=torch.int64),
        position_ids=torch.tensor([i for length in lengths for i in range(length)], dtype=torch.int64),
        token_type_ids=torch.tensor([i for segments in token_type_ids for i in segments], dtype=torch.int64),
        cu_seqlens=cu_seqlens,
        max_length=max(lengths, default=1),
    )


def unpack(tokens: Tensor, index: Tensor, rows: int, length: int) -> Tensor:
    """Put packed vectors (T, H) back into a padded batch (B, L, H), 0 at padding; index is from `pack`."""
    padded = tokens.new_zeros(rows * length, *tokens.shape[1:])
    return padded.index_copy(0, index, tokens).view(rows, length, *tokens.shape[1:])  # (B, L, H)
