"""The one table of tensor names: ours <-> Hugging Face's ALBERT <-> the original TensorFlow code."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from litebert.model.config import AlbertConfig

Side = Literal["hugging_face", "tensorflow"]

TABLE, LINEAR, NORM, OUTPUT, PLAIN = "table", "linear", "norm", "output", "plain"

_SUFFIXES: dict[str, tuple[tuple[str, str], ...]] = {
    TABLE: ((".weight", ""),),
    LINEAR: ((".weight", "/kernel"), (".bias", "/bias")),
    NORM: ((".weight", "/gamma"), (".bias", "/beta")),
    OUTPUT: ((".weight", "output_weights"), (".bias", "output_bias")),
    PLAIN: (("", ""),),
}
"""Of each kind of module: the ends of its tensors' names, in PyTorch and in TensorFlow."""

_A, _F = "albert.encoder.attention.{block}", "albert.encoder.ffn.{block}"
_H = "albert.encoder.albert_layer_groups.{group}.albert_layers.{inner}"
_T = "bert/encoder/transformer/group_{group}/inner_group_{inner}"

_MODULES: tuple[tuple[str, str, str, str], ...] = (
    ("albert.embedding.word", "albert.embeddings.word_embeddings", "bert/embeddings/word_embeddings", TABLE),
    (
        "albert.embedding.position",
        "albert.embeddings.position_embeddings",
        "bert/embeddings/position_embeddings",
        TABLE,
    ),
    (
        "albert.embedding.segment",
        "albert.embeddings.token_type_embeddings",
        "bert/embeddings/token_type_embeddings",
        TABLE,
    ),
    ("albert.embedding.norm", "albert.embeddings.LayerNorm", "bert/embeddings/LayerNorm", NORM),
    (
        "albert.encoder.projection",
        "albert.encoder.embedding_hidden_mapping_in",
        "bert/encoder/embedding_hidden_mapping_in",
        LINEAR,
    ),
    (f"{_A}.qkv[0]", f"{_H}.attention.query", f"{_T}/attention_1/self/query", LINEAR),
    (f"{_A}.qkv[1]", f"{_H}.attention.key", f"{_T}/attention_1/self/key", LINEAR),
    (f"{_A}.qkv[2]", f"{_H}.attention.value", f"{_T}/attention_1/self/value", LINEAR),
    (f"{_A}.dense", f"{_H}.attention.dense", f"{_T}/attention_1/output/dense", LINEAR),
    (f"{_A}.norm", f"{_H}.attention.LayerNorm", f"{_T}/LayerNorm", NORM),
    (f"{_F}.inner", f"{_H}.ffn", f"{_T}/ffn_1/intermediate/dense", LINEAR),
    (f"{_F}.output", f"{_H}.ffn_output", f"{_T}/ffn_1/intermediate/output/dense", LINEAR),
    (f"{_F}.norm", f"{_H}.full_layer_layer_norm", f"{_T}/LayerNorm_1", NORM),
    ("albert.pooler", "albert.pooler", "bert/pooler/dense", LINEAR),
    ("heads.masked_lm.dense", "predictions.dense", "cls/predictions/transform/dense", LINEAR),
    ("heads.masked_lm.norm", "predictions.LayerNorm", "cls/predictions/transform/LayerNorm", NORM),
    ("heads.masked_lm.bias", "predictions.bias", "cls/predictions/output_bias", PLAIN),
    ("heads.sentence_order.classifier", "sop_classifier.classifier", "cls/seq_relationship/", OUTPUT),
    ("heads.qa.outputs", "qa_outputs", "cls/squad/", OUTPUT),
    ("heads.{classifier}.classifier", "classifier", "", OUTPUT),
)
"""Ours, Hugging Face's and TensorFlow's name of each module and its kind; [i] is a third of a fused tensor."""

CLASSIFIERS = ("classify", "ner", "choice")
"""Heads whose tensors have the same names outside, so that a folder's class must tell which one is meant."""


KINDS = (
    {ours: kind for ours, _, _, kind in _MODULES}
    | {f"heads.{name}.classifier": OUTPUT for name in CLASSIFIERS}
    | {"albert.encoder.relative": TABLE}
)
"""The kind of each of our modules that other programs' encoders can have."""


def suffixes(kind: str) -> list[str]:
    """The ends of the names of a module's tensors, in PyTorch."""
    return [end for end, _ in _SUFFIXES[kind]]


class Row(NamedTuple):
    """One tensor outside and where it stands in ours."""

    ours: str
    outside: str
    third: int | None = None
    """Which third of our tensor it is; None: all of it."""
    transposed: bool = False


class Name(NamedTuple):
    """One tensor outside and where it stands in ours."""

    ours: str
    hugging_face: str
    tensorflow: str
    third: int | None
    """Which third of our tensor it is; None: all of it."""
    transposed: bool
    """TensorFlow stores a linear map's matrix the other way round."""


def tensor_names(config: AlbertConfig, classifier: str = "classify") -> Iterator[Name]:
    """Yield every tensor that a post-norm model with whole groups can have, all heads included.

    Of the heads in CLASSIFIERS a model has at most one: `classifier`.
    """
    blocks = (config.num_hidden_groups or 0) * config.inner_group_num
    for ours, hugging_face, tensorflow, kind in _MODULES:
        ours, _, third = ours.partition("[")
        for block in range(blocks if "{block}" in ours else 1):
            group, inner = divmod(block, config.inner_group_num)
            for torch_end, tensorflow_end in _SUFFIXES[kind]:
                yield Name(
                    ours=ours.format(block=block, classifier=classifier) + torch_end,
                    hugging_face=hugging_face.format(group=group, inner=inner) + torch_end,
                    tensorflow=tensorflow.format(group=group, inner=inner) + tensorflow_end,
                    third=int(third[0]) if third else None,
                    transposed=kind == LINEAR and torch_end == ".weight",
                )


def to_outside(state: Mapping[str, Tensor], config: AlbertConfig, side: Side) -> dict[str, Tensor]:
    """Rename (and split, and turn) our tensors to the other side's; all of ours must be in the table."""
    result = {}
    known = set()
    for name in tensor_names(config, classifier_of(state)):
        if name.ours not in state:
            continue
        known.add(name.ours)
        tensor = state[name.ours]
        if name.third is not None:
            tensor = tensor.chunk(3)[name.third]
        result[getattr(name, side)] = (tensor.T if _turned(name, side) else tensor).contiguous()
    assert known == set(state), sorted(set(state) - known)
    return result


def from_outside(
    tensors: Mapping[str, Tensor], config: AlbertConfig, side: Side, classifier: str = "classify"
) -> dict[str, Tensor]:
    """Rename (and fuse, and turn) the other side's tensors to ours; what the table does not know is left out."""
    names = tensor_names(config, classifier)
    return gather(tensors, (Row(name.ours, getattr(name, side), name.third, _turned(name, side)) for name in names))


def gather(tensors: Mapping[str, Tensor], rows: Iterable[Row]) -> dict[str, Tensor]:
    """Take the tensors that `rows` name, turned and fused where they say so; what lacks a part is left out."""
    parts: dict[str, list[Tensor]] = {}
    whole: dict[str, bool] = {}
    for row in rows:
        whole[row.ours] = whole.get(row.ours, True) and row.outside in tensors
        if row.outside in tensors:
            tensor = tensors[row.outside]
            parts.setdefault(row.ours, []).append(tensor.T if row.transposed else tensor)
    return {ours: _fused(list_) for ours, list_ in parts.items() if whole[ours]}


def _fused(parts: list[Tensor]) -> Tensor:
    """One tensor of its parts; where these have shapes that cannot be, the first of them, whose shape is told later."""
    alike = all(part.ndim and part.shape[1:] == parts[0].shape[1:] for part in parts)
    return torch.cat(parts) if len(parts) > 1 and alike else parts[0]


def missing_outside(ours: Iterable[str], config: AlbertConfig, side: Side) -> list[str]:
    """The other side's names of the tensors that make up `ours`."""
    wanted = set(ours)
    return [getattr(name, side) for name in tensor_names(config, classifier_of(wanted)) if name.ours in wanted]


def classifier_of(ours: Iterable[str]) -> str:
    """Which of the heads in CLASSIFIERS is among tensors of ours; the first one where none is."""
    names = list(ours)
    return next((head for head in CLASSIFIERS if any(n.startswith(f"heads.{head}.") for n in names)), CLASSIFIERS[0])


def _turned(name: Name, side: Side) -> bool:
    return name.transposed and side == "tensorflow"
