"""The table of names is complete and turns both ways without loss."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from litebert.interop.configs import expressible, from_tensorflow, read_json
from litebert.interop.names import CLASSIFIERS, Side, from_outside, missing_outside, tensor_names, to_outside
from litebert.interop.tensorflow import read_index
from tests.models import config_of, random_model

EVERYTHING = ("masked_lm", "sentence_order", "classify", "qa")
PLANS = pytest.mark.parametrize(
    "fields", [{}, {"sharing": "groups=2"}, {"sharing": "none"}, {"sharing": "groups=2", "inner_group_num": 3}], ids=str
)


def state_of(fields: dict[str, object], heads: tuple[str, ...] = EVERYTHING) -> dict[str, Tensor]:
    return dict(random_model(config_of(**fields), heads).state_dict())


@PLANS
@pytest.mark.parametrize("side", ["hugging_face", "tensorflow"])
def test_there_and_back(side: Side, fields: dict[str, object]) -> None:
    config, state = config_of(**fields), state_of(fields)
    outside = to_outside(state, config, side)
    assert all(tensor.is_contiguous() for tensor in outside.values())
    assert sum(tensor.numel() for tensor in outside.values()) == sum(tensor.numel() for tensor in state.values())
    back = from_outside(outside, config, side)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


@PLANS
def test_every_tensor_of_ours_is_in_the_table_and_no_name_is_twice(fields: dict[str, object]) -> None:
    names = list(tensor_names(config_of(**fields)))
    assert {name.ours for name in names} == set(state_of(fields))
    for side in ("hugging_face", "tensorflow"):
        assert len({getattr(name, side) for name in names}) == len(names)


@pytest.mark.parametrize("kind", ["shared", "groups"])
def test_the_originals_names_are_all_known(kind: str, golden: Path) -> None:
    config = from_tensorflow(read_json(golden / kind / "albert_config.json"))
    state = dict(random_model(config).state_dict())
    index = read_index(golden / kind / "model.ckpt-best")
    outside = to_outside(state, config, "tensorflow")
    assert outside.keys() == index.keys()
    assert {name: tuple(tensor.shape) for name, tensor in outside.items()} == {
        name: entry.shape for name, entry in index.items()
    }


@PLANS
def test_hugging_faces_names_are_all_known(fields: dict[str, object]) -> None:
    transformers = pytest.importorskip("transformers", reason="the peers extra is not installed")
    from litebert.interop.configs import to_hugging_face

    config = config_of(**fields)
    values = to_hugging_face(config, ["masked_lm", "sentence_order"])
    with torch.device("meta"):
        theirs = transformers.AlbertForPreTraining(transformers.AlbertConfig(**values)).state_dict()
    tied = {"predictions.decoder.weight", "predictions.decoder.bias"}
    ours = to_outside(state_of(fields, ("masked_lm", "sentence_order")), config, "hugging_face")
    assert ours.keys() == theirs.keys() - tied
    assert all(ours[name].shape == theirs[name].shape for name in ours)


@pytest.mark.parametrize("head", CLASSIFIERS)
def test_heads_of_one_name_outside_are_told_apart(head: str) -> None:
    config, state = config_of(), state_of({}, (head,))
    outside = to_outside(state, config, "hugging_face")
    assert {name for name in outside if not name.startswith("albert.")} == {"classifier.weight", "classifier.bias"}
    back = from_outside(outside, config, "hugging_face", head)
    assert all(torch.equal(back[name], state[name]) for name in state)
    assert missing_outside([f"heads.{head}.classifier.bias"], config, "hugging_face") == ["classifier.bias"]


def test_a_fused_tensor_needs_all_its_thirds() -> None:
    config, state = config_of(), state_of({})
    outside = to_outside(state, config, "hugging_face")
    lost = next(name for name in outside if name.endswith("attention.key.weight"))
    del outside[lost]
    back = from_outside(outside, config, "hugging_face")
    assert state.keys() - back.keys() == {"albert.encoder.attention.0.qkv.weight"}
    assert lost in missing_outside(state.keys() - back.keys(), config, "hugging_face")


@pytest.mark.parametrize(
    ("fields", "possible"),
    [
        ({"sharing": "groups=2"}, True),
        ({"sharing": "none"}, True),
        ({"sharing": "attention"}, False),
        ({"sharing": "cycle=2"}, False),
        ({"sharing": "deltas=2"}, False),
        ({"block": "pre_norm"}, False),
        ({"position": "rotary"}, False),
    ],
)
def test_what_others_cannot_express(fields: dict[str, object], possible: bool) -> None:
    assert expressible(config_of(**fields)) is possible
