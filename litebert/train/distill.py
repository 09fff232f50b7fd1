"""Distillation: a student model learns from raw text to answer like its teacher.

The run folder, its resumption and all that may happen to it are those of pre-training (see session.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from litebert.data.batches import DataSettings
from litebert.data.catalog import find_model, places
from litebert.data.pairs import PairSettings
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.errors import ConfigError
from litebert.evaluate.embeddings import probe
from litebert.interop.huggingface import is_embedder, load_model, read_model
from litebert.text.tokenizer import load_tokenizer
from litebert.train.corpora import (
    TextRunSettings,
    claim,
    open_folders,
    require_length,
    require_tokenizer,
    training_source,
)
from litebert.train.loop import autocast, choose_device, stop_signals
from litebert.train.parallel import World, restarted, world
from litebert.train.teaching import Student, TeachingObjective, TeachingSettings
from litebert.train.text_run import TextRun, TextRunReport


def _single_segments() -> DataSettings:
    return DataSettings(batch_size=64, pairs=PairSettings(length=64, objective="none"))


@dataclass(frozen=True, kw_only=True)
class DistillSettings(TextRunSettings):
    """All settings of a run of distillation; the folders' tokenizer is student's and teacher's."""

    student: str = ""
    """Folder of the model that is taught."""
    teacher: str = ""
    """Folder or name of the model that teaches."""
    probes: bool = True
    """Measure STS-B and CLINC150 at every evaluation, where the folders of public data hold them."""
    teaching: TeachingSettings = field(default_factory=TeachingSettings)
    data: DataSettings = field(default_factory=_single_segments)


def distill(settings: DistillSettings, out: Path, *, resume: bool = False) -> TextRunReport:
    """Teach, or go on with an interrupted run; one of its processes, where `torchrun` started several.

    Raises what `pretrain` raises, and ConfigError if student and teacher do not fit together.
    """
    with world(choose_device(settings.loop.device)) as here, stop_signals() as received:
        return _distill(settings, out, resume or restarted(), here, received)


def _distill(
    settings: DistillSettings, out: Path, resume: bool, here: World, received: Callable[[], int]
) -> TextRunReport:
    for role in ("student", "teacher"):
        if not getattr(settings, role):
            raise ConfigError(f"no {role}; name its folder, as in --{'model' if role == 'student' else role} DIR")
    known = claim(out, settings, resume=resume)
    corpora = open_folders(settings, here)
    tokenizer = load_tokenizer(corpora[0].path / TOKENIZER_FOLDER)
    source = find_model(settings.student)
    heads = [*(["masked_lm"] if settings.teaching.masked_lm else []), *(["embed"] if is_embedder(source) else [])]
    loaded = read_model(source, heads, generator=torch.Generator().manual_seed(settings.seed))
    model = loaded.model
    teacher = load_model(find_model(settings.teacher), ()).to(here.device)
    for config, folder in ((model.config, source), (teacher.config, find_model(settings.teacher))):
        require_tokenizer(config, folder, tokenizer)
        require_length(config, settings)
    student = Student(model, teacher.config.hidden_size, teacher.config.num_hidden_layers).to(here.device)

    def precision() -> Any:
        return autocast(settings.loop.precision, here.device)

    objective = TeachingObjective(
        student,
        teacher,
        settings.data,
        settings.teaching,
        precision,
        compiled=settings.loop.compile,
        world=here,
    )
    run = TextRun(
        settings=settings,
        out=out,
        world=here,
        corpora=corpora,
        tokenizer=tokenizer,
        source=training_source(settings, tokenizer, settings.seed),
        trained=student,
        model=model,
        objective=objective,
        kept={name: value for name, value in loaded.extra.items() if name == "length" and "embed" in heads},
        probe=(lambda: probe(model.albert, tokenizer, places(), precision=precision)) if settings.probes else None,
    )
    return TextRunReport(**run.go(received, known))
