"""Sharing is data: which block each layer uses, how many there are, and what that does to the numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from litebert.errors import ConfigError
from litebert.model.sharing import sharing_plan
from tests.models import OWN_BLOCK, config_of, packed_batch, random_model


@pytest.mark.parametrize(
    ("sharing", "attention", "ffn"),
    [
        ("all", (0, 0, 0, 0), (0, 0, 0, 0)),
        ("attention", (0, 0, 0, 0), (0, 1, 2, 3)),
        ("ffn", (0, 1, 2, 3), (0, 0, 0, 0)),
        ("none", (0, 1, 2, 3), (0, 1, 2, 3)),
        ("groups=2", (0, 0, 1, 1), (0, 0, 1, 1)),
        ("groups=4", (0, 1, 2, 3), (0, 1, 2, 3)),
        ("cycle=2", (0, 1, 0, 1), (0, 1, 0, 1)),
        ("cycle=3", (0, 1, 2, 0), (0, 1, 2, 0)),
        ("deltas=5", (0, 0, 0, 0), (0, 0, 0, 0)),
    ],
)
def test_the_block_of_each_layer(sharing: str, attention: tuple[int, ...], ffn: tuple[int, ...]) -> None:
    plan = sharing_plan(sharing, 4)
    assert (plan.attention, plan.ffn) == (attention, ffn)
    assert plan.delta_rank == (5 if sharing == "deltas=5" else 0)


@given(groups=st.integers(1, 12), size=st.integers(1, 6))
def test_groups_are_where_the_original_and_hugging_face_put_them(groups: int, size: int) -> None:
    layers = groups * size
    plan = sharing_plan(f"groups={groups}", layers)
    assert plan.attention == tuple(int(layer / layers * groups + 1e-9) for layer in range(layers))
    assert plan.attention == tuple(int(layer / (layers / groups) + 1e-9) for layer in range(layers))


@given(layers=st.integers(1, 24), groups=st.integers(1, 24))
def test_groups_that_do_not_divide_the_layers_are_refused(layers: int, groups: int) -> None:
    if layers % groups:
        with pytest.raises(ConfigError, match="divide"):
            sharing_plan(f"groups={groups}", layers)
    else:
        assert sharing_plan(f"groups={groups}", layers).num_ffn_blocks == groups


def test_a_group_of_several_blocks_applies_them_in_a_row() -> None:
    plan = sharing_plan("groups=2", 4, inner_group_num=2)
    assert plan.attention == plan.ffn == (0, 1, 0, 1, 2, 3, 2, 3)
    assert plan.num_attention_blocks == 4


@pytest.mark.parametrize("fields", [{}, OWN_BLOCK], ids=["post_norm", "pre_norm"])
@pytest.mark.parametrize(
    ("sharing", "blocks"),
    [
        ("all", (1, 1)),
        ("attention", (1, 4)),
        ("ffn", (4, 1)),
        ("none", (4, 4)),
        ("groups=2", (2, 2)),
        ("cycle=3", (3, 3)),
    ],
)
def test_unique_blocks_are_stored_once(sharing: str, blocks: tuple[int, int], fields: dict[str, str]) -> None:
    encoder = random_model(config_of(sharing=sharing, **fields)).albert.encoder
    assert (len(encoder.attention), len(encoder.ffn)) == blocks
    attention, ffn = (sum(p.numel() for p in part[0].parameters()) for part in (encoder.attention, encoder.ffn))
    rest = sum(p.numel() for p in encoder.projection.parameters())
    rest += 0 if encoder.norm is None else sum(p.numel() for p in encoder.norm.parameters())
    assert sum(p.numel() for p in encoder.parameters()) == blocks[0] * attention + blocks[1] * ffn + rest


@pytest.mark.parametrize("sharing", ["attention", "ffn", "none", "groups=2", "cycle=2"])
def test_blocks_made_equal_compute_what_one_shared_block_does(sharing: str) -> None:
    shared, apart = random_model(config_of()), random_model(config_of(sharing=sharing))
    state = shared.state_dict()

    def first_block(name: str) -> str:
        parts = name.split(".")
        return ".".join([*parts[:3], "0", *parts[4:]]) if parts[2] in ("attention", "ffn") else name

    apart.load_state_dict({name: state[first_block(name)] for name in apart.state_dict()})
    with torch.no_grad():
        assert torch.equal(apart.encode(packed_batch()), shared.encode(packed_batch()))


def test_deltas_start_as_the_shared_block_and_then_differ_by_layer() -> None:
    from litebert.model.heads import build_model

    plain, deltas = build_model(config_of()).eval(), build_model(config_of(sharing="deltas=3")).eval()
    deltas.load_state_dict(plain.state_dict(), strict=False)
    batch = packed_batch()
    with torch.no_grad():
        before = deltas.encode(batch)
        assert torch.equal(before, plain.encode(batch))
        for layer in range(4):
            for name in ("qkv", "dense", "inner", "output"):
                up = deltas.albert.encoder.deltas[layer][name].up.weight
                assert not up.any()
                up.normal_(generator=torch.Generator().manual_seed(layer))
                assert not torch.allclose(deltas.encode(batch), before), f"layer {layer} {name} changes nothing"
                up.zero_()
    rank, hidden, inner = 3, 32, 48
    extra = 4 * rank * ((hidden + 3 * hidden) + (hidden + hidden) + 2 * (hidden + inner))
    assert sum(p.numel() for p in deltas.parameters()) - sum(p.numel() for p in plain.parameters()) == extra
