"""Configs of other programs: ours <-> transformers' config.json, and the original's albert_config.json -> ours."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from litebert.errors import ModelFolderError
from litebert.interop.names import CLASSIFIERS
from litebert.model.config import AlbertConfig
from litebert.model.heads import TASKS

NATIVE = "litebert"
"""The model_type of what transformers cannot express; it refuses such a folder and names this type."""

_FIELDS = (
    "vocab_size",
    "embedding_size",
    "hidden_size",
    "num_hidden_layers",
    "num_hidden_groups",
    "inner_group_num",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "initializer_range",
    "layer_norm_eps",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
)
"""What transformers has a field for, under the same name as ours."""

_ABSENT = {"hidden_size": 4096, "num_attention_heads": 64, "intermediate_size": 16384}
"""What transformers assumes where its config.json is silent, as far as that is not our default."""

_SAME_ACTIVATION = {"gelu_fast": "gelu_new", "gelu_pytorch_tanh": "gelu_new", "swish": "silu"}
"""Other names of transformers for activations that we have."""


def expressible(config: AlbertConfig) -> bool:
    """Can the ALBERT class of transformers (and the original code) compute this model?"""
    form = (config.block, config.position, config.pooling, config.pooler_activation, config.position_offset)
    return (
        config.num_hidden_groups is not None
        and form == ("post_norm", "absolute", "first", "tanh", 0)
        and config.embedding_projection
        and config.type_vocab_size > 0
    )


def to_hugging_face(config: AlbertConfig, heads: Sequence[str]) -> dict[str, Any]:
    """Return the content of config.json."""
    if not expressible(config):
        name = architecture(heads).replace("Albert", "Litebert")
        return {"model_type": NATIVE, "architectures": [name]} | config.to_dict()
    values: dict[str, Any] = {"model_type": "albert", "architectures": [architecture(heads)]}
    values |= {name: getattr(config, name) for name in _FIELDS}
    values["id2label"] = {str(index): label for index, label in enumerate(config.labels)}
    values["label2id"] = {label: index for index, label in enumerate(config.labels)}
    if config.problem_type is not None:
        values["problem_type"] = config.problem_type
    return values | {"tie_word_embeddings": True, "dtype": "float32"}


def from_hugging_face(values: Mapping[str, Any], own: Mapping[str, Any]) -> AlbertConfig:
    """Read config.json, ours or transformers' (whose other keys are ignored), and litebert.json beside it."""
    if values.get("model_type") == NATIVE:
        own_fields = {key: value for key, value in values.items() if key not in ("model_type", "architectures")}
        return AlbertConfig.from_dict(own_fields)
    picked = _ABSENT | {name: values[name] for name in _FIELDS if values.get(name) is not None}
    if "hidden_act" in picked:
        picked["hidden_act"] = same_activation(picked["hidden_act"])
    # transformers drops out the embedding with the hidden probability, as the original does.
    hidden_dropout = picked.get("hidden_dropout_prob", 0.0)
    picked["embedding_dropout_prob"] = own.get("embedding_dropout_prob", hidden_dropout)
    return AlbertConfig.from_dict(picked | read_labels(values))


def same_activation(name: str) -> str:
    """Our name of an activation of transformers."""
    return _SAME_ACTIVATION.get(name, name)


def read_labels(values: Mapping[str, Any]) -> dict[str, Any]:
    """Our fields for what config.json says of a task."""
    picked: dict[str, Any] = {"problem_type": values.get("problem_type")}
    if values.get("id2label"):
        id2label = {int(key): label for key, label in values["id2label"].items()}
        picked["labels"] = tuple(id2label[index] for index in sorted(id2label))
    elif values.get("num_labels"):
        picked["labels"] = tuple(f"LABEL_{index}" for index in range(values["num_labels"]))
    return picked


def from_tensorflow(values: Mapping[str, Any]) -> AlbertConfig:
    """Read the original's albert_config.json; its gelu is the tanh form, its other keys are ignored."""
    picked = {name: values[name] for name in _FIELDS if values.get(name) is not None}
    if picked.get("hidden_act") == "gelu":
        picked["hidden_act"] = "gelu_new"
    picked["embedding_dropout_prob"] = picked.get("hidden_dropout_prob", 0.0)
    return AlbertConfig.from_dict(picked)


def architecture(heads: Sequence[str]) -> str:
    """Return the class of transformers that has these heads."""
    for name in ("classify", "ner", "choice", "qa", "sentence_order", "masked_lm"):
        if name in heads:
            return TASKS[name].hugging_face
    return "AlbertModel"


def classifier(values: Mapping[str, Any]) -> str:
    """Return the head that a folder's `classifier` tensors are, by the class that its config.json names."""
    written = values.get("architectures") or ()
    return next((name for name in CLASSIFIERS if TASKS[name].hugging_face in written), CLASSIFIERS[0])


def parse_json(path: Path) -> Any:
    """Read a JSON file of a model; raises ModelFolderError where there is none that makes sense."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderError(f"{path.parent} holds no model, {path.name} is missing: name another") from None
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"{path} cannot be read ({error}): get the model again") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raises ModelFolderError where there is none."""
    values = parse_json(path)
    if not isinstance(values, dict):
        raise ModelFolderError(f"{path} holds no JSON object: get the model again")
    return values


def write_json(path: Path, values: object) -> None:
    """Write a JSON file; equal values give equal bytes."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
