"""Other encoders of BERT's family: what their config.json means, and what their tensors are called.

Each is the same encoder with sharing `none`; it stands here as its differences from BERT.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from litebert.errors import ConfigError
from litebert.interop.configs import read_labels, same_activation
from litebert.interop.names import KINDS, Row, gather, suffixes
from litebert.model.config import AlbertConfig

_BERT_FIELDS: dict[str, Any] = {
    "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512, "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}  # fmt: skip
"""Fields of BERT's config.json that mean what ours of the same name mean, and what transformers assumes where it is
silent."""

_SPECIAL = ("bos_token_id", "eos_token_id")

_A, _F = "albert.encoder.attention.{block}", "albert.encoder.ffn.{block}"

_BERT_NAMES = {
    "albert.embedding.word": "embeddings.word_embeddings",
    "albert.embedding.position": "embeddings.position_embeddings",
    "albert.embedding.segment": "embeddings.token_type_embeddings",
    "albert.embedding.norm": "embeddings.LayerNorm",
    f"{_A}.qkv[0]": "encoder.layer.{block}.attention.self.query",
    f"{_A}.qkv[1]": "encoder.layer.{block}.attention.self.key",
    f"{_A}.qkv[2]": "encoder.layer.{block}.attention.self.value",
    f"{_A}.dense": "encoder.layer.{block}.attention.output.dense",
    f"{_A}.norm": "encoder.layer.{block}.attention.output.LayerNorm",
    f"{_F}.inner": "encoder.layer.{block}.intermediate.dense",
    f"{_F}.output": "encoder.layer.{block}.output.dense",
    f"{_F}.norm": "encoder.layer.{block}.output.LayerNorm",
    "albert.pooler": "pooler.dense",
    "heads.masked_lm.dense": "cls.predictions.transform.dense",
    "heads.masked_lm.norm": "cls.predictions.transform.LayerNorm",
    "heads.masked_lm.bias": "cls.predictions.bias",
}
"""Our modules and BERT's, without the `bert.` of a model with heads; [i] is a third of a fused tensor."""

_ROBERTA_NAMES = _BERT_NAMES | {
    "heads.masked_lm.dense": "lm_head.dense",
    "heads.masked_lm.norm": "lm_head.layer_norm",
    "heads.masked_lm.bias": "lm_head.bias",
}
_MPNET_NAMES = _ROBERTA_NAMES | {
    f"{_A}.qkv[0]": "encoder.layer.{block}.attention.attn.q",
    f"{_A}.qkv[1]": "encoder.layer.{block}.attention.attn.k",
    f"{_A}.qkv[2]": "encoder.layer.{block}.attention.attn.v",
    f"{_A}.dense": "encoder.layer.{block}.attention.attn.o",
    f"{_A}.norm": "encoder.layer.{block}.attention.LayerNorm",
    "albert.encoder.relative": "encoder.relative_attention_bias",
}
_ELECTRA_NAMES = _BERT_NAMES | {
    "albert.encoder.projection": "embeddings_project",
    "heads.masked_lm.dense": "generator_predictions.dense",
    "heads.masked_lm.norm": "generator_predictions.LayerNorm",
    "heads.masked_lm.bias": "generator_lm_head.bias",
}
_DISTILBERT_NAMES = _BERT_NAMES | {
    f"{_A}.qkv[0]": "transformer.layer.{block}.attention.q_lin",
    f"{_A}.qkv[1]": "transformer.layer.{block}.attention.k_lin",
    f"{_A}.qkv[2]": "transformer.layer.{block}.attention.v_lin",
    f"{_A}.dense": "transformer.layer.{block}.attention.out_lin",
    f"{_A}.norm": "transformer.layer.{block}.sa_layer_norm",
    f"{_F}.inner": "transformer.layer.{block}.ffn.lin1",
    f"{_F}.output": "transformer.layer.{block}.ffn.lin2",
    f"{_F}.norm": "transformer.layer.{block}.output_layer_norm",
    "heads.masked_lm.dense": "vocab_transform",
    "heads.masked_lm.norm": "vocab_layer_norm",
    "heads.masked_lm.bias": "vocab_projector.bias",
}

_DISTILBERT_FIELDS = {
    "dim": "hidden_size", "n_layers": "num_hidden_layers", "n_heads": "num_attention_heads",
    "hidden_dim": "intermediate_size", "activation": "hidden_act", "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob", "seq_classif_dropout": "classifier_dropout_prob",
}  # fmt: skip

_CLASSIFY, _CHOICE = "heads.classify.classifier", "heads.choice.classifier"
_HIDDEN_LAYER = {"albert.pooler": "classifier.dense", _CLASSIFY: "classifier.out_proj"}
"""A classifier with a hidden layer of its own, which is what a pooler is."""

_COMMON: dict[str, dict[str, str]] = {
    "ForTokenClassification": {"heads.ner.classifier": "classifier"},
    "ForQuestionAnswering": {"heads.qa.outputs": "qa_outputs"},
    "ForMultipleChoice": {_CHOICE: "classifier"},
}
"""Heads that read tokens, or a pooler that has its place already."""


class Family(NamedTuple):
    """One model_type of transformers."""

    prefix: str
    """First part of the names in a model with heads."""
    names: Mapping[str, str]
    """Our modules and theirs."""
    decoder: str
    """The masked-token head's matrix; it is ours only where it is the embedding's."""
    tasks: Mapping[str, Mapping[str, str]]
    """Further modules by the end of the name of the class that has them: names do not tell what they are for."""
    fixed: Mapping[str, Any]
    """Our fields that all such models have in common."""
    fields: Mapping[str, str]
    """Their fields that are called otherwise, and ours; what it does not name is as in BERT."""
    absent: Mapping[str, Any]
    """What transformers assumes where config.json is silent, as far as that is not BERT's."""
    padded_positions: bool = False
    """The first rows of the position table, up to that of the padding's id, are no positions."""


_ROBERTA = Family(
    prefix="roberta",
    names=_ROBERTA_NAMES,
    decoder="lm_head.decoder.weight",
    tasks=_COMMON | {"ForSequenceClassification": _HIDDEN_LAYER},
    fixed={},
    fields={"classifier_dropout": "classifier_dropout_prob"},
    absent={"vocab_size": 50265, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2},
    padded_positions=True,
)

FAMILIES: dict[str, Family] = {
    "bert": Family(
        prefix="bert",
        names=_BERT_NAMES,
        decoder="cls.predictions.decoder.weight",
        tasks=_COMMON | {"ForSequenceClassification": {_CLASSIFY: "classifier"}},
        fixed={},
        fields={"classifier_dropout": "classifier_dropout_prob"},
        absent={},
    ),
    "distilbert": Family(
        prefix="distilbert",
        names=_DISTILBERT_NAMES,
        decoder="vocab_projector.weight",
        tasks=_COMMON
        | {
            "ForSequenceClassification": {"albert.pooler": "pre_classifier", _CLASSIFY: "classifier"},
            "ForMultipleChoice": {"albert.pooler": "pre_classifier", _CHOICE: "classifier"},
        },
        fixed={"type_vocab_size": 0, "layer_norm_eps": 1e-12, "pooling": "none", "pooler_activation": "relu"},
        fields=_DISTILBERT_FIELDS,
        absent={"num_hidden_layers": 6, "classifier_dropout_prob": 0.2},
    ),
    "electra": Family(
        prefix="electra",
        names=_ELECTRA_NAMES,
        decoder="generator_lm_head.weight",
        tasks=_COMMON
        | {
            "ForSequenceClassification": _HIDDEN_LAYER,
            "ForMultipleChoice": {"albert.pooler": "sequence_summary.summary", _CHOICE: "classifier"},
        },
        fixed={"pooling": "none", "pooler_activation": "gelu"},
        fields={"embedding_size": "embedding_size", "classifier_dropout": "classifier_dropout_prob"},
        absent={"embedding_size": 128, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024},
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA._replace(absent={**_ROBERTA.absent, "vocab_size": 30522}),
    "mpnet": Family(
        prefix="mpnet",
        names=_MPNET_NAMES,
        decoder="lm_head.decoder.weight",
        tasks=_COMMON | {"ForSequenceClassification": _HIDDEN_LAYER},
        # Its code knows the padding as id 1, whatever the config says.
        fixed={"type_vocab_size": 0, "position": "relative", "pad_token_id": 1},
        fields={},
        absent={"vocab_size": 30527, "bos_token_id": 0, "eos_token_id": 2},
        padded_positions=True,
    ),
}
"""What is read beside ALBERT, by model_type."""


def family_config(values: Mapping[str, Any]) -> AlbertConfig:
    """Read the config.json of one of FAMILIES; keys that do not matter to an encoder are ignored.

    Ids of special pieces that it does not name are the padding's: the tokenizer knows better. Raises ConfigError
    for what our encoder does not compute.
    """
    family = FAMILIES[values["model_type"]]
    _check_supported(values)
    picked: dict[str, Any] = _BERT_FIELDS | dict(family.absent)
    picked |= {name: values[name] for name in (*picked, *_SPECIAL) if values.get(name) is not None}
    picked |= {ours: values[theirs] for theirs, ours in family.fields.items() if values.get(theirs) is not None}
    picked |= dict(family.fixed)
    picked["hidden_act"] = same_activation(picked["hidden_act"])
    picked.setdefault("embedding_size", picked["hidden_size"])
    picked["embedding_projection"] = picked["embedding_size"] != picked["hidden_size"]
    for dropout in ("embedding_dropout_prob", "classifier_dropout_prob"):
        picked.setdefault(dropout, picked["hidden_dropout_prob"])
    for name in _SPECIAL:
        picked.setdefault(name, picked["pad_token_id"])
    if family.padded_positions:
        picked["position_offset"] = picked["pad_token_id"] + 1
        picked["max_position_embeddings"] -= picked["position_offset"]
    if "albert.pooler" in _task(family, values) and picked.get("pooling") == "none":
        picked["pooling"] = "first"
    return AlbertConfig.from_dict(picked | read_labels(values) | {"sharing": "none"})


def family_names(config: AlbertConfig, values: Mapping[str, Any]) -> Iterator[Row]:
    """Yield every tensor that a folder with this config.json can have, under both names."""
    family = FAMILIES[values["model_type"]]
    names = {**family.names, **_task(family, values)}
    for ours, theirs in names.items():
        module, _, third = ours.partition("[")
        for block in range(config.num_hidden_layers if "{block}" in ours else 1):
            for end in suffixes(KINDS[ours]):
                part = int(third[0]) if third else None
                yield Row(module.format(block=block) + end, theirs.format(block=block) + end, part)


def from_family(tensors: Mapping[str, Tensor], config: AlbertConfig, values: Mapping[str, Any]) -> dict[str, Tensor]:
    """Rename and fuse the tensors of a folder with this config.json to ours; those we have no place for are left out.

    A masked-token head with a matrix of its own is left out, too: ours is the embedding's.
    """
    family = FAMILIES[values["model_type"]]
    plain = {_modern(name.removeprefix(f"{family.prefix}.")): tensor for name, tensor in tensors.items()}
    state = gather(plain, family_names(config, values))
    decoder, table = plain.get(family.decoder), state.get("albert.embedding.word.weight")
    if decoder is not None and table is not None and not torch.equal(decoder, table):
        state = {name: tensor for name, tensor in state.items() if not name.startswith("heads.masked_lm.")}
    return state


def _task(family: Family, values: Mapping[str, Any]) -> Mapping[str, str]:
    architecture = next(iter(values.get("architectures") or ()), "")
    return next((names for end, names in family.tasks.items() if architecture.endswith(end)), {})


def _modern(name: str) -> str:
    """The first checkpoints called a norm's weight gamma and its bias beta."""
    start, dot, end = name.rpartition(".")
    return start + dot + {"gamma": "weight", "beta": "bias"}.get(end, end)


_GELU_HEADS = ("electra", "roberta", "xlm-roberta", "mpnet")
"""Whose masked-token head has gelu, whatever the activation of the layers is."""

_SUMMARY = {"summary_type": "first", "summary_use_proj": True, "summary_activation": "gelu"}
"""How the head for multiple choice of ELECTRA pools, unless its config.json says otherwise."""


def _check_supported(values: Mapping[str, Any]) -> None:
    architecture, kind = next(iter(values.get("architectures") or ()), ""), values["model_type"]
    if architecture.endswith("ForMaskedLM") and kind in _GELU_HEADS and values.get("hidden_act", "gelu") != "gelu":
        raise ConfigError(
            f"hidden_act {values['hidden_act']!r}: the masked-token head of {kind} has gelu all the same, which "
            "litebert does not compute: save the encoder without it (AutoModel)"
        )
    if architecture.endswith("ForMultipleChoice") and kind == "electra":
        for name, usual in _SUMMARY.items():
            if values.get(name, usual) != usual:
                raise ConfigError(f"{name} {values[name]!r} is not among what litebert computes: use {usual!r}")
    positions = values.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise ConfigError(f"position_embedding_type {positions!r} is not among what litebert computes: use absolute")
    for name in ("is_decoder", "add_cross_attention"):
        if values.get(name):
            raise ConfigError(f"{name} is true, but litebert reads encoders only: name an encoder's folder")
