"""Pre-training: prepared text in, a run folder with a model out.

A run folder (see session.py) holds, when the run has ended, the finished model in `model/`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from litebert.data.catalog import find_model
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.errors import ConfigError
from litebert.interop.huggingface import load_model, read_own
from litebert.model.config import preset
from litebert.model.device import autocast, choose_device, uses_bf16
from litebert.model.heads import AlbertWithHeads, build_model
from litebert.model.memory import require_memory
from litebert.text.tokenizer import Tokenizer, load_tokenizer
from litebert.train.corpora import (
    TextRunSettings,
    claim,
    count_pieces,
    entropy,
    held_out_sources,
    open_folders,
    require_length,
    require_tokenizer,
    run_alone,
    training_source,
)
from litebert.train.hooks import PlateauWatch
from litebert.train.loop import stop_signals
from litebert.train.objective import PretrainObjective
from litebert.train.parallel import World, restarted, world
from litebert.train.text_run import TRAINED, TextRun, TextRunReport


@dataclass(frozen=True, kw_only=True)
class PretrainSettings(TextRunSettings):
    """All settings of a run of pre-training."""

    init: str | None = None
    """Folder or name of a model to go on from; None: fresh weights."""
    preset: str = "base"
    """Shape of a fresh model."""
    unigram_bias: bool = True
    """Start the masked-token head's bias at the logarithm of each piece's frequency: the loss begins at the unigram
    entropy instead of spending its first steps on getting there."""
    order_weight: float = 1.0
    """Of the sentence objective's loss beside that of masked words; 1 in BERT and ALBERT. A small model that cannot
    learn the order of sentences yet is disturbed less by a small one."""
    model: dict[str, Any] = field(default_factory=dict)
    """Fields of the model that differ from the preset."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.pairs.objective == "comparison":
            raise ConfigError(
                "data.pairs.objective = 'comparison': only a teacher can say how similar two texts are; use `litebert "
                "distill`, or set it to sentence_order"
            )


@dataclass(frozen=True, kw_only=True)
class PretrainReport(TextRunReport):
    """What a run of pre-training came to."""

    unigram_entropy: float
    """Entropy of the training text's pieces in nats: the loss of a model that knows only frequencies."""

    def _more(self) -> str:
        return f"; unigram entropy {self.unigram_entropy:.3f} nats"


def pretrain(settings: PretrainSettings, out: Path, *, resume: bool = False) -> PretrainReport:
    """Pre-train, or go on with an interrupted run; one of its processes, where `torchrun` started several.

    Raises OutputError if `out` is not empty and `resume` is not set; CheckpointError if the settings or the data are
    not those of the run; DataFolderError and ModelFolderError for inputs that do not fit; TrainingError if it diverges
    again and again; Stopped after SIGTERM or Ctrl-C, when a checkpoint has been written.
    """
    with world(choose_device(settings.loop.device)) as here, stop_signals() as received, run_alone(out, here):
        return _pretrain(settings, out, resume or restarted(), here, received)


def _pretrain(
    settings: PretrainSettings, out: Path, resume: bool, here: World, received: Callable[[], int]
) -> PretrainReport:
    known = claim(out, settings, resume=resume)
    corpora = open_folders(settings, here)
    tokenizer = load_tokenizer(corpora[0].path / TOKENIZER_FOLDER)
    model = make_model(settings, tokenizer).to(here.device)
    model.albert.encoder.activation_checkpointing = settings.loop.activation_checkpointing
    _require_memory(settings, model, here)
    source = training_source(settings, tokenizer, settings.seed)
    counts = count_pieces(source.splits, tokenizer.vocab_size)
    if settings.unigram_bias and settings.init is None:
        _set_unigram_bias(model, counts)
    objective = PretrainObjective(
        model,
        settings.data,
        lambda: autocast(settings.loop.precision, here.device),
        compiled=settings.loop.compile,
        order_weight=settings.order_weight,
        world=here,
    )
    unigram = entropy(counts)
    run = TextRun(
        settings=settings,
        out=out,
        world=here,
        corpora=corpora,
        tokenizer=tokenizer,
        source=source,
        held_out=held_out_sources(settings, tokenizer),
        trained=model,
        model=model,
        objective=objective,
        kept=_trained_before(settings),
        hooks=lambda metrics_log: [PlateauWatch(unigram, settings.loop.steps, metrics_log)],
    )
    return PretrainReport(**run.go(received, known), unigram_entropy=unigram)


def make_model(settings: PretrainSettings, tokenizer: Tokenizer) -> AlbertWithHeads:
    """The model that a run begins with, on the CPU; raises ConfigError for a shape that cannot be, or another one than
    that of the folder which it begins with."""
    heads = ("masked_lm",) if settings.data.pairs.objective == "none" else ("masked_lm", "sentence_order")
    if settings.init is not None:
        folder = find_model(settings.init)
        model = load_model(folder, heads)
        for name, value in settings.model.items():
            if (found := getattr(model.config, name, None)) != value:
                raise ConfigError(
                    f"model.{name} = {value!r}, and {folder} has {found!r}: leave it out, the folder decides the shape"
                )
        require_tokenizer(model.config, folder, tokenizer)
    else:
        shape: dict[str, Any] = {
            "vocab_size": tokenizer.vocab_size,
            "pad_token_id": tokenizer.pad_id,
            "bos_token_id": tokenizer.cls_id,
            "eos_token_id": tokenizer.sep_id,
        }
        if (named := settings.model.get("vocab_size", tokenizer.vocab_size)) != tokenizer.vocab_size:
            raise ConfigError(
                f"model.vocab_size = {named}, and the data's tokenizer has {tokenizer.vocab_size} pieces: leave it out"
            )
        generator = torch.Generator().manual_seed(settings.seed)
        model = build_model(preset(settings.preset, **shape | settings.model), heads, generator=generator)
    require_length(model.config, settings)
    return model


def _trained_before(settings: PretrainSettings) -> dict[str, Any]:
    own = read_own(find_model(settings.init)).get("extra", {}) if settings.init else {}
    return {name: own[name] for name in TRAINED if name in own}


def _require_memory(settings: PretrainSettings, model: AlbertWithHeads, world: World) -> None:
    """Refuse a batch that this machine cannot hold, before anything is written."""
    data, loop = settings.data, settings.loop
    require_memory(
        model,
        world.device,
        length=data.pairs.length,
        batch_size=data.batch_size,
        micro_batches=data.micro_batches,
        processes=world.size,
        masked_share=data.masking.share,
        precision="bf16" if uses_bf16(loop.precision, world.device) else "fp32",
        optimizer=settings.optimizer.name,
        compiled=loop.compile,
        activation_checkpointing=loop.activation_checkpointing,
    )


@torch.no_grad()
def _set_unigram_bias(model: AlbertWithHeads, counts: np.ndarray) -> None:
    """Start the head at the log frequencies, each piece counted once more than it occurs."""
    shares = (counts + 1) / (counts + 1).sum()
    bias: Tensor = model.heads["masked_lm"].bias  # type: ignore[assignment]
    bias.copy_(torch.from_numpy(np.log(shares)))
