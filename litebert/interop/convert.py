"""Turning other programs' ALBERT checkpoints into our model folder."""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from litebert.console import log
from litebert.errors import ConfigError, ModelFolderError
from litebert.files import require_empty
from litebert.interop import configs
from litebert.interop.configs import read_json
from litebert.interop.huggingface import (
    CONFIG,
    OWN,
    WEIGHTS,
    SavedModel,
    assemble,
    read_model,
    read_tensors,
    save_model,
)
from litebert.interop.names import from_outside, tensor_names
from litebert.interop.tensorflow import find_checkpoint, read_checkpoint
from litebert.model.config import AlbertConfig
from litebert.model.heads import AlbertWithHeads
from litebert.text.tokenizer import Tokenizer, has_tokenizer, load_tokenizer

PICKLED = "pytorch_model.bin"


STORED = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""Numbers in which weights can be stored."""


def convert(source: str | Path, out: str | Path, *, precision: str = "fp32") -> SavedModel:
    """Write a litebert model folder from a Hugging Face folder, a TensorFlow folder or a checkpoint's prefix.

    precision: `fp32`, or `bf16`, which halves the file and rounds every weight to three digits.

    The tokenizer (`spiece.model`, `30k-clean.model` or another single `.model` file) is taken along where it is
    there. A `pytorch_model.bin` is read without running code in it. Raises ModelFolderError where the source is
    no ALBERT or damaged, TokenizerError where its tokenizer does not fit, OutputError where OUT is not empty,
    ConfigError for an unknown precision.
    """
    source, out = Path(source), Path(out)
    if precision not in STORED:
        raise ConfigError(f"precision {precision!r} is unknown: weights are stored as {' or '.join(STORED)}")
    require_empty(out)
    forms = (WEIGHTS, PICKLED, f"{WEIGHTS}.index.json")
    if (source / CONFIG).is_file() and any((source / form).is_file() for form in forms):
        model, extra = _from_hugging_face(source)
        folder = source
    else:
        prefix = _prefix(source)
        folder = prefix.parent
        model, extra = _from_tensorflow(prefix), {}
    return save_model(model, out, _tokenizer(folder), extra, dtype=STORED[precision])


def _from_hugging_face(folder: Path) -> tuple[AlbertWithHeads, Mapping[str, Any]]:
    pickled = not (folder / WEIGHTS).is_file() and (folder / PICKLED).is_file()
    tensors = _unpickle(folder / PICKLED) if pickled else read_tensors(folder / WEIGHTS)
    loaded = read_model(folder, generator=_generator(), tensors=tensors)
    lost = [name for name in tensors if name.startswith(_HEADS)]
    if lost and not set(loaded.model.heads) - {"embed"}:
        log(f"note: {folder} has a head that litebert does not read, which is left out ({lost[0]})")
    return loaded.model, loaded.extra


_HEADS = ("classifier.", "cls.", "lm_head.", "qa_outputs.", "vocab_", "generator_", "predictions.", "score.")
"""How the names of tensors that belong to heads begin."""


def _generator() -> torch.Generator:
    """The start of a pooler that the source lacks: the same every time, so that equal sources are equal bytes."""
    return torch.Generator().manual_seed(0)


def _unpickle(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused below
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        found = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
    except pickle.UnpicklingError as error:
        raise ModelFolderError(
            f"{path} holds more than plain weights, which may be code of its author, or is damaged; get it again, as "
            f"{WEIGHTS} if there is one"
        ) from error
    except (zipfile.BadZipFile, RuntimeError, EOFError, OSError, AttributeError) as error:
        line = (str(error).splitlines() or ["it ends early"])[0]
        raise ModelFolderError(f"{path} holds no plain weights or is damaged ({line}): get it again") from error
    if not found:
        raise ModelFolderError(f"{path} holds no plain weights: get it again")
    return found


def _prefix(source: Path) -> Path:
    if source.is_dir() and not any(source.glob("*.index")):
        missing = f"{WEIGHTS} nor {PICKLED}" if (source / CONFIG).is_file() else f"{CONFIG} nor a checkpoint's .index"
        raise ModelFolderError(f"{source} holds no ALBERT, neither {missing}: name a folder that does")
    return find_checkpoint(source)


def _from_tensorflow(prefix: Path) -> AlbertWithHeads:
    config = _tensorflow_config(prefix.parent)
    names = {name.tensorflow for name in tensor_names(config)}
    lost: list[str] = []

    def wanted(name: str) -> bool:
        plain = name.removeprefix("module/")
        if plain not in names and not plain.endswith(_SLOTS):
            lost.append(plain)
        return plain in names

    tensors = read_checkpoint(prefix, wanted)
    if lost:
        log(f"note: {prefix} has variables that litebert does not read, which are left out ({', '.join(lost[:3])})")
    tensors = {name.removeprefix("module/"): tensor for name, tensor in tensors.items()}
    if "output_bias" in tensors:
        labels = tuple(f"LABEL_{index}" for index in range(len(tensors["output_bias"])))
        kind = "regression" if len(labels) == 1 else "single_label_classification"
        config = replace(config, labels=labels, problem_type=kind)
    state = from_outside(tensors, config, "tensorflow")
    return assemble(config, state, prefix, side="tensorflow", generator=_generator())[0]


_SLOTS = ("adam_m", "adam_v", "lamb_m", "lamb_v", "global_step", "_power", "loss_scale", "good_steps")
"""How the names of variables end that belong to an optimizer."""


def _tensorflow_config(folder: Path) -> AlbertConfig:
    named = folder / "albert_config.json"
    found = [named] if named.is_file() else sorted(folder.glob("*config*.json"))
    found = [path for path in found if path.name not in ("tokenizer_config.json", OWN)]
    if len(found) != 1:
        raise ModelFolderError(f"{folder} has no albert_config.json: put the checkpoint's config beside it")
    try:
        return configs.from_tensorflow(read_json(found[0]))
    except ConfigError as error:
        raise ModelFolderError(f"{found[0]}: {error}") from error


def _tokenizer(folder: Path) -> Tokenizer | None:
    if has_tokenizer(folder):
        return load_tokenizer(folder)
    models = sorted(folder.glob("*.model"))
    return load_tokenizer(models[0]) if len(models) == 1 else None
