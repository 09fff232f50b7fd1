"""Model folders in Hugging Face's layout: ALBERT's saved so that transformers opens them, BERT's family loaded."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from litebert.data.catalog import read_catalog, shipped
from litebert.errors import ConfigError, ModelFolderError, OutputError, TokenizerError
from litebert.files import new_folder, sha256
from litebert.interop import configs
from litebert.interop.configs import read_json, write_json
from litebert.interop.family import FAMILIES, family_config, family_names, from_family
from litebert.interop.names import Side, from_outside, missing_outside, to_outside
from litebert.interop.sentences import SENTENCE_FILES, has_sentences, read_sentences, write_sentences
from litebert.model.config import AlbertConfig
from litebert.model.heads import TASKS, AlbertWithHeads, initialize, with_pooler
from litebert.text.fast import SPECIAL_FILE
from litebert.text.tokenizer import Tokenizer, has_tokenizer, load_tokenizer
from litebert.text.unigram import SentencePieceTokenizer

CONFIG, WEIGHTS, OWN = "config.json", "model.safetensors", "litebert.json"
MODEL_FILES = {CONFIG, WEIGHTS, OWN, "spiece.model", "tokenizer.json", "tokenizer_config.json"}
FORMAT_VERSION = 1

_LABELLED = ("heads.classify.", "heads.ner.")
"""Heads that have an output for each label."""


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
    tokenizer: Tokenizer | None
    """The one beside it."""


def save_model(
    model: AlbertWithHeads,
    folder: str | Path,
    tokenizer: Tokenizer | None = None,
    extra: Mapping[str, Any] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
) -> SavedModel:
    """Write a model folder, all of it or nothing; one that is there is replaced. Equal weights are equal bytes.

    See `write_model`. Raises OutputError where the folder holds anything that is no model's, or cannot be written.
    """
    folder = Path(folder).absolute()
    check_target(folder)
    with new_folder(folder) as path:
        note = write_model(model, path, tokenizer, extra, dtype=dtype)
    return SavedModel(folder, not note, note)


def write_model(
    model: AlbertWithHeads,
    folder: Path,
    tokenizer: Tokenizer | None = None,
    extra: Mapping[str, Any] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
) -> str:
    """Write the files of a model into a folder that is being made; returns a line where transformers cannot open them,
    else "".

    `extra` is kept in litebert.json and must be plain JSON values. dtype: of the stored weights; whoever opens the
    folder computes in fp32 all the same, unless told otherwise. What transformers' class cannot express is
    stored under our own names, each unique tensor once, and only litebert opens it. Raises TokenizerError where the
    tokenizer's vocabulary is not the model's.
    """
    config, heads = model.config, list(model.heads)
    own: dict[str, Any] = {"format_version": FORMAT_VERSION, "heads": heads}
    if tokenizer is not None:
        _check_vocabulary(config, tokenizer)
        own["tokenizer_fingerprint"] = tokenizer.fingerprint
    state = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.state_dict().items()}
    expressible = configs.expressible(config)
    if expressible:
        if len(rivals := [name for name in heads if name in ("classify", "ner", "choice")]) > 1:
            raise ConfigError(
                f"the heads {' and '.join(rivals)} have the same name in the classes of transformers: save the model "
                "with one of them"
            )
        state = to_outside(state, config, "hugging_face")
        if config.embedding_dropout_prob != config.hidden_dropout_prob:
            own["embedding_dropout_prob"] = config.embedding_dropout_prob
    write_json(folder / CONFIG, configs.to_hugging_face(config, heads))
    write_json(folder / OWN, own | {"extra": dict(extra or {})})
    (folder / WEIGHTS).write_bytes(save(state, metadata={"format": "pt"}))
    if tokenizer is not None:
        tokenizer.save(folder)
    if "embed" in heads:
        write_sentences(folder, config, (extra or {}).get("length", config.max_position_embeddings))
    if expressible:
        return ""
    return (
        f"transformers cannot open this model (sharing {config.sharing!r}, pooling {config.pooling!r}, block "
        f"{config.block!r}, position {config.position!r}: one of them is litebert's own); litebert can"
    )


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
    tensors: Mapping[str, Tensor] | None = None,
) -> LoadedModel:
    """Load a model folder, ours or one of transformers (ALBERT or one of BERT's family), in fp32 on the CPU.

    heads: names to have (None: those that the folder holds, and `embed` where it is for sentence embeddings, see
    `is_embedder`); a head that is not stored gets new weights from `generator` and is named in `fresh`. overrides:
    config fields to replace (dropouts, labels); with other labels than stored the classifier is new. Where the folder
    holds no pooler, the model has one if a head reads it. tensors: the weights, where they lie elsewhere.
    Raises ModelFolderError: no model, damaged, tensors missing or of another shape; TokenizerError: the tokenizer
    beside it is not the model's.
    """
    folder = Path(folder)
    stored, values, own = read_config(folder), read_json(folder / CONFIG), read_own(folder)
    tokenizer = _check_tokenizer(folder, stored, own)
    state = own_names(read_tensors(folder / WEIGHTS) if tensors is None else tensors, stored, folder, values)
    _check_numbers(state, folder)
    stored = completed(stored, state, values, tokenizer)
    extra = own.get("extra", {})
    heads = heads_of(folder, state) if heads is None else heads
    if "embed" in heads:
        stored, extra = with_sentences(folder, stored, extra)
    config = AlbertConfig.from_dict(stored.to_dict() | dict(overrides)) if overrides else stored
    if config.labels != stored.labels:
        state = {name: tensor for name, tensor in state.items() if not name.startswith(_LABELLED)}
    model, fresh = assemble(config, state, folder, heads=heads, values=values, generator=generator)
    return LoadedModel(model, fresh, extra, tokenizer)


def is_embedder(folder: str | Path) -> bool:
    """Whether a model folder is for sentence embeddings: what litebert.json names as its task is `embed`; where it
    names none, sentence-transformers' modules.json says so."""
    task = read_own(folder).get("extra", {}).get("task")
    return has_sentences(Path(folder)) if task is None else task == "embed"


def heads_of(folder: Path, state: Mapping[str, Tensor]) -> list[str]:
    """The heads that a folder with these tensors holds."""
    return [*_heads_in(state), *(["embed"] if is_embedder(folder) else [])]


def with_sentences(folder: Path, config: AlbertConfig, extra: Mapping[str, Any]) -> tuple[AlbertConfig, dict[str, Any]]:
    """Add what a folder's files of sentence-transformers say to its config and to `extra`, where it has such files."""
    kept = {name: value for name, value in extra.items() if name != "decision"}
    if has_sentences(folder):
        settings, longest = read_sentences(folder), config.max_position_embeddings
        config = replace(config, **settings.config())
        kept.setdefault("length", min(settings.length or longest, longest))
    return config, kept | ({} if config.sentence_normalized else {"decision": {"normalized": False}})


def _heads_in(state: Mapping[str, Tensor]) -> list[str]:
    return [name for name in TASKS if any(key.startswith(f"heads.{name}.") for key in state)]


def completed(
    config: AlbertConfig, state: Mapping[str, Tensor], values: Mapping[str, Any], tokenizer: Tokenizer | None = None
) -> AlbertConfig:
    """Add what the config.json of BERT's family leaves open: whether there is a pooler, and the special pieces."""
    if values["model_type"] not in FAMILIES:
        return config
    changes: dict[str, Any] = {} if "albert.pooler.weight" in state else {"pooling": "none"}
    if tokenizer is not None:
        changes |= {"bos_token_id": tokenizer.cls_id, "eos_token_id": tokenizer.sep_id}
    return replace(config, **changes)


def own_names(
    tensors: Mapping[str, Tensor], config: AlbertConfig, source: Path, values: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Rename transformers' tensors to ours, by the `values` of config.json; those of a bare encoder, which lack the
    first part of the name, too."""
    if values["model_type"] == configs.NATIVE:
        return dict(tensors)
    if values["model_type"] in FAMILIES:
        return from_family(tensors, config, values)
    if not any(name.startswith("albert.") for name in tensors):
        bare = ("embeddings.", "encoder.", "pooler.")
        tensors = {f"albert.{name}" if name.startswith(bare) else name: tensors[name] for name in tensors}
    state = from_outside(tensors, config, "hugging_face", configs.classifier(values))
    decoder, table = tensors.get("predictions.decoder.weight"), state.get("albert.embedding.word.weight")
    if decoder is not None and table is not None and not torch.equal(decoder, table):
        raise ModelFolderError(
            f"{source}: the decoder's matrix is not the embedding's, but ALBERT ties the two: save the model with "
            "tie_word_embeddings, or leave out the decoder"
        )
    return state


def assemble(
    config: AlbertConfig,
    state: Mapping[str, Tensor],
    source: Path,
    *,
    heads: Sequence[str] | None = None,
    side: Side = "hugging_face",
    values: Mapping[str, Any] | None = None,
    generator: torch.Generator | None = None,
) -> tuple[AlbertWithHeads, tuple[str, ...]]:
    """Build a model from tensors under our names; returns it and the parts that got new weights.

    heads None: those that `state` holds. The pooler and whole heads may be missing; any other missing tensor
    raises ModelFolderError, and so does another shape. `source`, `side` and config.json's `values` are for the
    messages.
    """
    if heads is None:
        heads = _heads_in(state)
    config = with_pooler(config, heads)
    with torch.device("meta"):
        model = AlbertWithHeads(config, heads)
    pooler = {"pooler": "albert.pooler."} if config.pooling != "none" else {}
    parts = pooler | {name: f"heads.{name}." for name in heads if any(True for _ in model.heads[name].parameters())}
    fresh = [part for part, start in parts.items() if not any(name.startswith(start) for name in state)]
    absent = tuple(parts[part] for part in fresh)
    lacking = [name for name in model.state_dict() if name not in state and not name.startswith(absent or "-")]
    _check_complete(lacking, config, source, side, values or {})
    for name, parameter in model.state_dict().items():
        if name in state and state[name].shape != parameter.shape:
            raise ModelFolderError(
                f"{source}: {name} has shape {tuple(state[name].shape)} in the weights, {tuple(parameter.shape)} "
                "by the config: get both from the same place again"
            )
    model.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in state:
                parameter.copy_(state[name])
    for part in fresh:
        module = model.albert.pooler if part == "pooler" else model.heads[part]
        assert module is not None
        initialize(module, config, generator)
    return model, tuple(fresh)


def read_config(folder: str | Path) -> AlbertConfig:
    """Read the config of a model folder; raises ModelFolderError where there is none that makes sense."""
    folder = Path(folder)
    if not folder.is_dir():
        names = ", ".join(sorted({*shipped(), *read_catalog()}))
        raise ModelFolderError(
            f"{folder} is no folder: name a model folder, with {CONFIG} and {WEIGHTS} in it, or one of {names}"
        )
    values = read_json(folder / CONFIG)
    kind = values.get("model_type")
    if kind not in ("albert", configs.NATIVE, *FAMILIES):
        raise ModelFolderError(
            f"{folder / CONFIG}: model_type is {kind!r}, litebert loads albert, {', '.join(FAMILIES)}: name the "
            "folder of one of these"
        )
    try:
        if kind in FAMILIES:
            return family_config(values)
        return configs.from_hugging_face(values, read_own(folder))
    except ConfigError as error:
        raise ModelFolderError(f"{folder / CONFIG}: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelFolderError(f"{folder / CONFIG}: a value of the wrong kind ({error}); get it again") from error


def read_own(folder: str | Path) -> dict[str, Any]:
    """Read litebert.json; empty where transformers wrote the folder."""
    path = Path(folder) / OWN
    own = read_json(path) if path.exists() else {}
    if own.get("format_version", FORMAT_VERSION) != FORMAT_VERSION:
        raise ModelFolderError(f"{path}: format {own['format_version']} is newer than this litebert: update it")
    if not isinstance(own.get("extra", {}), dict):
        raise ModelFolderError(f"{path} is damaged (`extra` is no object): copy the folder again")
    return own


def model_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer that belongs to a model folder.

    Raises ModelFolderError where there is none, TokenizerError where it is not the one the model was saved
    with.
    """
    read_config(folder)
    if not has_tokenizer(folder):
        raise ModelFolderError(
            f"{folder} holds a model without a tokenizer (spiece.model or tokenizer.json), so it cannot read text; "
            "copy the tokenizer's files there"
        )
    tokenizer = load_tokenizer(folder)
    expected = read_own(folder).get("tokenizer_fingerprint")
    if expected is not None and expected != tokenizer.fingerprint:
        raise TokenizerError(
            f"{folder}: the tokenizer there is not the one the model was saved with; put back its files"
        )
    return tokenizer


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; raises ModelFolderError where it is missing or damaged."""
    if not path.is_file():
        way_out = "name a model folder"
        if (path.parent / "pytorch_model.bin").exists():
            way_out = f"make it from pytorch_model.bin: litebert convert {path.parent} NEW_FOLDER"
        elif (path.parent / f"{path.name}.index.json").exists():
            way_out = "its weights are in several files; save them in one (save_pretrained with max_shard_size='100GB')"
        raise ModelFolderError(f"{path.parent} has no {path.name}: {way_out}")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except (SafetensorError, OSError) as error:
        raise ModelFolderError(f"{path} is damaged or cut short ({error}): copy or download it again") from error


def _check_complete(
    lacking: Iterable[str], config: AlbertConfig, source: Path, side: Side, values: Mapping[str, Any]
) -> None:
    names = list(lacking)
    if names:
        if values.get("model_type") in FAMILIES:
            outside = [row.outside for row in family_names(config, values) if row.ours in names]
        else:
            outside = missing_outside(names, config, side) if configs.expressible(config) else names
        raise ModelFolderError(
            f"{source} lacks {outside[0]} or what belongs to it: config and weights are not of one model, "
            "or a file is incomplete; get both from the same place again"
        )


def _check_numbers(state: Mapping[str, Tensor], folder: Path) -> None:
    for name, tensor in state.items():
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            what = "values that are no numbers" if tensor.is_floating_point() else f"{tensor.dtype} values"
            raise ModelFolderError(
                f"{folder}: the weights of {name} have {what}; copy the model again, or train it anew"
            )


def fingerprint(folder: Path) -> str:
    """A hash of the files that make a model what it is: weights, settings, tokenizer, how texts become vectors."""
    total = hashlib.sha256()
    for name in sorted({*MODEL_FILES, SPECIAL_FILE, *SENTENCE_FILES}):
        if (folder / name).is_file():
            total.update(f"{name} {sha256(folder / name)}\n".encode())
    return total.hexdigest()


def check_target(folder: Path) -> None:
    """Raise OutputError for a folder that a model cannot be written to, or into the place of."""
    if folder.is_file():
        raise OutputError(f"{folder} is a file: name a folder for the model")
    known = MODEL_FILES | {name.partition("/")[0] for name in SENTENCE_FILES}
    others = sorted(path.name for path in folder.iterdir() if path.name not in known) if folder.is_dir() else []
    if others:
        raise OutputError(
            f"{folder} holds {others[0]!r}, which is no part of a model: move it away, or choose another folder"
        )


def _check_vocabulary(config: AlbertConfig, tokenizer: Tokenizer) -> None:
    # ALBERT's vocabulary and table are one; others' tables have spare rows at times.
    spare = not isinstance(tokenizer, SentencePieceTokenizer) and tokenizer.vocab_size < config.vocab_size
    if tokenizer.vocab_size != config.vocab_size and not spare:
        raise TokenizerError(
            f"the tokenizer has {tokenizer.vocab_size} pieces, the model {config.vocab_size}: use the tokenizer "
            "that the model was trained with"
        )


def _check_tokenizer(folder: Path, config: AlbertConfig, own: Mapping[str, Any]) -> Tokenizer | None:
    if not has_tokenizer(folder):
        return None
    tokenizer = load_tokenizer(folder)
    _check_vocabulary(config, tokenizer)
    if own.get("tokenizer_fingerprint", tokenizer.fingerprint) != tokenizer.fingerprint:
        raise TokenizerError(
            f"{folder} does not hold the tokenizer that the model was saved with: put the right one there"
        )
    return tokenizer
