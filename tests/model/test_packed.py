"""Packing takes exactly the real tokens out of a padded batch, and unpacking puts them back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from litebert.errors import InputError
from litebert.model.packed import pack, pack_lists, unpack


@given(data=st.data(), rows=st.integers(1, 5), length=st.integers(1, 9))
def test_there_and_back(data: st.DataObject, rows: int, length: int) -> None:
    flags = data.draw(st.lists(st.booleans(), min_size=rows * length, max_size=rows * length))
    mask = torch.tensor(flags).view(rows, length)
    ids = torch.arange(1, rows * length + 1).view(rows, length)
    packed, index = pack(ids, mask, ids % 2, None)
    assert packed.input_ids.tolist() == ids[mask].tolist()
    assert packed.token_type_ids.tolist() == (ids % 2)[mask].tolist()
    assert packed.position_ids.tolist() == mask.nonzero()[:, 1].tolist()
    assert packed.cu_seqlens.diff().tolist() == mask.sum(1).tolist()
    assert packed.cu_seqlens.dtype == torch.int32
    assert packed.max_length == length
    vectors = packed.input_ids[:, None].float().expand(-1, 3)
    assert torch.equal(unpack(vectors, index, rows, length), (ids * mask)[..., None].float().expand(-1, -1, 3))


def test_without_mask_segments_and_positions() -> None:
    packed, index = pack(torch.tensor([[5, 6], [7, 8]]))
    assert packed.input_ids.tolist() == [5, 6, 7, 8]
    assert packed.position_ids.tolist() == [0, 1, 0, 1]
    assert not packed.token_type_ids.any()
    assert index.tolist() == [0, 1, 2, 3]


def test_lists() -> None:
    packed = pack_lists([[5, 6, 7], [], [8]], [[0, 0, 1], [], [1]])
    assert packed.input_ids.tolist() == [5, 6, 7, 8]
    assert packed.position_ids.tolist() == [0, 1, 2, 0]
    assert packed.token_type_ids.tolist() == [0, 0, 1, 1]
    assert packed.cu_seqlens.tolist() == [0, 3, 3, 4]
    assert packed.max_length == 3
    assert not pack_lists([[5, 6]]).token_type_ids.any()
    with pytest.raises(InputError, match="one segment id"):
        pack_lists([[5, 6]], [[0]])
