"""Model folders in Hugging Face's ALBERT layout: saved so that transformers opens them, loaded from either side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from litebert.errors import ConfigError, ModelFolderError, TokenizerError
from litebert.interop.files import new_folder
from litebert.interop.names import from_outside, missing_outside, to_outside
from litebert.model.config import AlbertConfig
from litebert.model.heads import TASKS, AlbertWithHeads, initialize

if TYPE_CHECKING:
    from litebert.text.tokenizer import Tokenizer

CONFIG, WEIGHTS, OWN = "config.json", "model.safetensors", "litebert.json"
FORMAT_VERSION = 1
NATIVE = "litebert"
"""The model_type of what transformers cannot express; it refuses the folder, naming this type."""

_SHARED_FIELDS = (
    "vocab_size embedding_size hidden_size num_hidden_layers num_hidden_groups inner_group_num "
    "num_attention_heads intermediate_size hidden_act hidden_dropout_prob attention_probs_dropout_prob "
    "classifier_dropout_prob max_position_embeddings type_vocab_size initializer_range layer_norm_eps "
    "pad_token_id bos_token_id eos_token_id"
).split()
_ABSENT = {"hidden_size": 4096, "num_attention_heads": 64, "intermediate_size": 16384}
"""What transformers assumes where its config.json is silent, as far as it differs from our defaults."""


class SavedModel(NamedTuple):
    """Where a model was written, and who can open it."""

    folder: Path
    opens_in_transformers: bool
    note: str
    """One line for the user where transformers cannot open it, else empty."""


class LoadedModel(NamedTuple):
    """A model, and what its folder did not hold."""

    model: AlbertWithHeads
    fresh: tuple[str, ...]
    """Parts with new random weights: heads by name, or "pooler"."""
    extra: dict[str, Any]
    """What `save_model` was given as `extra`."""


def expressible(config: AlbertConfig) -> bool:
    """Can transformers' ALBERT class compute this model?"""
    return (
        config.num_hidden_groups is not None and config.block == "post_norm" and config.position == "absolute"
    )


def save_model(
    model: AlbertWithHeads,
    folder: str | Path,
    tokenizer: Tokenizer | None = None,
    extra: Mapping[str, Any] | None = None,
) -> SavedModel:
    """Write a model folder: all of it or nothing. Equal weights give equal bytes.

    `extra` is kept in litebert.json and must be plain JSON values. What transformers' class cannot express is
    stored under our own names, each unique tensor once, and the returned note says that only litebert opens it.
    Raises TokenizerError where the tokenizer's vocabulary is not the model's, OutputError where nothing can be
    written.
    """
    config = model.config
    if tokenizer is not None:
        check_vocabulary(config, tokenizer.vocab_size)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    native = not expressible(config)
    tensors = state if native else to_outside(state, config, "hugging_face")
    own: dict[str, Any] = {"format_version": FORMAT_VERSION, "heads": list(model.heads)}
    if not native and config.embedding_dropout_prob != config.hidden_dropout_prob:
        own["embedding_dropout_prob"] = config.embedding_dropout_prob
    if tokenizer is not None:
        own["tokenizer_fingerprint"] = tokenizer.fingerprint
    own["extra"] = dict(extra or {})
    with new_folder(folder) as path:
        _write_json(path / CONFIG, to_hugging_face_config(config, list(model.heads)))
        _write_json(path / OWN, own)
        (path / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
        if tokenizer is not None:
            tokenizer.save(path)
    note = (
        f"{folder}: transformers cannot open this model (sharing {config.sharing!r}, block {config.block!r}, "
        f"position {config.position!r} are litebert's own); litebert can"
    )
    return SavedModel(Path(folder), not native, note if native else "")


def load_model(
    folder: str | Path,
    heads: Sequence[str] | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    generator: torch.Generator | None = None,
) -> AlbertWithHeads:
    """Load a model folder; `read_model` also tells what was not in it."""
    return read_model(folder, heads, overrides=overrides, generator=generator).model


def read_model(
    folder: str | Path,
    heads: Sequence[str] | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    generator: torch.Generator | None = None,
) -> LoadedModel:
    """Load a model folder, ours or one of transformers, in fp32 on the CPU.

    heads: names to have (None: those that the folder holds); a head that is not stored gets new weights from
    `generator` and is named in `fresh`. overrides: config fields to replace (dropouts, labels); with other labels
    than stored the classifier is new. Raises ModelFolderError: no model, damaged, tensors missing or of another
    shape; TokenizerError: the tokenizer beside it has another number of pieces.
    """
    folder = Path(folder)
    stored = read_config(folder)
    config = _override(stored, overrides or {})
    _check_tokenizer(folder, config)
    tensors = read_tensors(folder / WEIGHTS)
    native = not expressible(stored)
    state = tensors if native else collect(tensors, config)
    if config.labels != stored.labels:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("heads.classify.")}
    if heads is None:
        heads = [name for name in TASKS if any(key.startswith(f"heads.{name}.") for key in state)]
    model, fresh = assemble(config, heads, state, folder, tensors, generator)
    return LoadedModel(model, fresh, read_own(folder).get("extra", {}))


def assemble(
    config: AlbertConfig,
    heads: Sequence[str],
    state: Mapping[str, Tensor],
    source: Path,
    outside: Mapping[str, Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> tuple[AlbertWithHeads, tuple[str, ...]]:
    """Build a model from tensors under our names; returns it and the parts that got new weights.

    The pooler and whole heads may be missing, everything else raises ModelFolderError, as does another shape.
    """
    with torch.device("meta"):
        model = AlbertWithHeads(config, heads)
    wanted = {name: parameter.shape for name, parameter in model.named_parameters()}
    missing = [name for name in wanted if name not in state]
    fresh = [part for part in ("pooler", *heads) if any(name.startswith(_prefix(part)) for name in missing)]
    lacking = [name for name in missing if not name.startswith(tuple(map(_prefix, fresh)) or ("\0",))]
    partial = [part for part in fresh if any(name.startswith(_prefix(part)) for name in state)]
    lacking += [name for name in missing if name.startswith(tuple(map(_prefix, partial)) or ("\0",))]
    if lacking:
        names = lacking if outside is None or not expressible(config) else (
            missing_outside(lacking, outside, config, "hugging_face") or lacking
        )
        raise ModelFolderError(
            f"{source} lacks {len(names)} tensor(s) of the model, first {names[0]!r}: the config and the weights do "
            "not belong together, or the file is incomplete; get both from the same place again"
        )
    for name, shape in wanted.items():
        if name in state and state[name].shape != shape:
            raise ModelFolderError(
                f"{source}: {name} has shape {tuple(state[name].shape)}, but the config says {tuple(shape)}: the "
                "config and the weights do not belong together; get both from the same place again"
            )
    model.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in state:
                parameter.copy_(state[name])
    for part in fresh:
        module = model.albert.pooler if part == "pooler" else model.heads[part]
        initialize(module, config, generator)
    return model, tuple(fresh)


def collect(tensors: Mapping[str, Tensor], config: AlbertConfig) -> dict[str, Tensor]:
    """Rename transformers' tensors to ours; a bare AlbertModel's, without the prefix `albert.`, too."""
    if not any(name.startswith("albert.") for name in tensors):
        bare = ("embeddings.", "encoder.", "pooler.")
        tensors = {f"albert.{name}" if name.startswith(bare) else name: tensor for name, tensor in tensors.items()}
    return from_outside(tensors, config, "hugging_face")


def to_hugging_face_config(config: AlbertConfig, heads: Sequence[str]) -> dict[str, Any]:
    """The content of config.json."""
    values = {"model_type": "albert", "architectures": [architecture(heads)]}
    if not expressible(config):
        return {"model_type": NATIVE, "architectures": [f"Litebert{architecture(heads)[6:]}"]} | config.to_dict()
    values |= {name: getattr(config, name) for name in _SHARED_FIELDS}
    values["id2label"] = {str(index): label for index, label in enumerate(config.labels)}
    values["label2id"] = {label: index for index, label in enumerate(config.labels)}
    if config.problem_type is not None:
        values["problem_type"] = config.problem_type
    return values | {"tie_word_embeddings": True, "dtype": "float32"}


def architecture(heads: Sequence[str]) -> str:
    """The class of transformers that has these heads."""
    for name in ("classify", "sentence_order", "masked_lm"):
        if name in heads:
            return TASKS[name].hugging_face
    return "AlbertModel"


def from_hugging_face_config(values: Mapping[str, Any], own: Mapping[str, Any]) -> AlbertConfig:
    """Read config.json, ours or transformers', whose other keys are ignored, and litebert.json beside it."""
    if values.get("model_type") == NATIVE:
        return AlbertConfig.from_dict(
            {name: value for name, value in values.items() if name not in ("model_type", "architectures")}
        )
    picked = _ABSENT | {name: values[name] for name in _SHARED_FIELDS if values.get(name) is not None}
    picked["embedding_dropout_prob"] = own.get("embedding_dropout_prob", picked.get("hidden_dropout_prob", 0.0))
    picked["problem_type"] = values.get("problem_type")
    if values.get("id2label"):
        id2label = values["id2label"]
        picked["labels"] = tuple(id2label[key] for key in sorted(id2label, key=int))
    return AlbertConfig.from_dict(picked)


def read_config(folder: str | Path) -> AlbertConfig:
    """Read the config of a model folder; raises ModelFolderError where there is none that makes sense."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelFolderError(f"{folder} is no folder: name a model folder, with config.json and model.safetensors")
    values = _read_json(folder / CONFIG)
    model_type = values.get("model_type")
    if model_type not in ("albert", NATIVE):
        raise ModelFolderError(f"{folder / CONFIG} says model_type {model_type!r}: litebert loads 'albert' models")
    try:
        return from_hugging_face_config(values, read_own(folder))
    except ConfigError as error:
        raise ModelFolderError(f"{folder / CONFIG}: {error}") from error


def read_own(folder: str | Path) -> dict[str, Any]:
    """Read litebert.json; empty where transformers wrote the folder."""
    path = Path(folder) / OWN
    own = _read_json(path) if path.exists() else {}
    if own.get("format_version", FORMAT_VERSION) > FORMAT_VERSION:
        raise ModelFolderError(f"{path} has format {own['format_version']}, newer than {FORMAT_VERSION}: update litebert")
    return own


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; raises ModelFolderError where it is missing or damaged."""
    if not path.is_file():
        hint = "litebert convert makes one from pytorch_model.bin" if _has_pickle(path.parent) else "name a model folder"
        raise ModelFolderError(f"{path.parent} has no {path.name}: {hint}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError) as error:
        raise ModelFolderError(f"{path} is damaged or cut short ({error}): copy or download it again") from error


def check_vocabulary(config: AlbertConfig, pieces: int) -> None:
    """Raise TokenizerError where a tokenizer's number of pieces is not the model's."""
    if pieces != config.vocab_size:
        raise TokenizerError(
            f"the tokenizer has {pieces} pieces, the model {config.vocab_size}: use the tokenizer the model was "
            "trained with"
        )


def _check_tokenizer(folder: Path, config: AlbertConfig) -> None:
    if (folder / "spiece.model").exists():
        from litebert.text.tokenizer import load_tokenizer

        check_vocabulary(config, load_tokenizer(folder).vocab_size)


def _override(config: AlbertConfig, overrides: Mapping[str, Any]) -> AlbertConfig:
    return AlbertConfig.from_dict(config.to_dict() | dict(overrides)) if overrides else config


def _prefix(part: str) -> str:
    return "albert.pooler." if part == "pooler" else f"heads.{part}."


def _has_pickle(folder: Path) -> bool:
    return (folder / "pytorch_model.bin").exists()


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderError(f"{path.parent} holds no model: there is no {path.name} in it") from None
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"{path} cannot be read ({error}): get the model folder again") from error
    if not isinstance(values, dict):
        raise ModelFolderError(f"{path} holds no JSON object: get the model folder again")
    return values
