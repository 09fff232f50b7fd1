"""Distillation: a student model learns from raw text to answer like its teacher.

The run folder, its resumption and all that may happen to it are those of pre-training (see session.py).
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from litebert.data.batches import BatchStream, DataSettings, held_out_batches
from litebert.data.catalog import find_model, places
from litebert.data.pairs import PairSettings
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.errors import ConfigError
from litebert.evaluate.embeddings import probe
from litebert.interop.huggingface import load_model, save_model
from litebert.model.config import AlbertConfig
from litebert.text.tokenizer import load_tokenizer
from litebert.train.checkpoints import Progress
from litebert.train.corpora import claim, held_out_sources, joined, open_folders, require_tokenizer, training_source
from litebert.train.hooks import describe
from litebert.train.loop import LoopSettings, Metrics, Run, autocast, choose_device, stop_signals
from litebert.train.optimizers import OptimizerSettings, build_optimizer
from litebert.train.parallel import World, restarted, world
from litebert.train.schedules import ScheduleSettings
from litebert.train.session import Session
from litebert.train.teaching import Student, TeachingObjective, TeachingSettings


def _single_segments() -> DataSettings:
    return DataSettings(batch_size=64, pairs=PairSettings(length=64, objective="none"))


@dataclass(frozen=True, kw_only=True)
class DistillSettings:
    """All settings of a run; a recipe is a TOML file of those that differ."""

    folders: dict[str, float] = field(default_factory=dict)
    """Prepared data folders and their weights; the tokenizer is student's and teacher's."""
    student: str = ""
    """Folder of the model that is taught."""
    teacher: str = ""
    """Folder or name of the model that teaches."""
    seed: int = 1
    """Decides the order of the data, masks and dropout."""
    probes: bool = True
    """Measure STS-B and CLINC150 at every evaluation, where the folders of public data hold them."""
    teaching: TeachingSettings = field(default_factory=TeachingSettings)
    data: DataSettings = field(default_factory=_single_segments)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)


@dataclass(frozen=True, kw_only=True)
class DistillReport:
    """What a run came to."""

    model: Path
    """Folder of the student."""
    steps: int
    tokens: int
    seconds: float
    """Time spent in steps."""
    held_out: Metrics
    """Losses and closeness on the held-out documents, and the probes."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values."""
        return asdict(self) | {"model": str(self.model)}

    def summary(self) -> str:
        """Return the report in a few lines."""
        lines = [f"{self.steps:,} steps, {self.tokens:,} tokens in {self.seconds / 60:.1f} minutes"]
        if self.held_out:
            lines.append(f"held-out: {describe(self.held_out)}")
        return "\n".join([*lines, f"model: {self.model}"])


def distill(settings: DistillSettings, out: Path, *, resume: bool = False) -> DistillReport:
    """Teach, or go on with an interrupted run; one of its processes, where `torchrun` started several.

    Raises what `pretrain` raises, and ConfigError if student and teacher do not fit together.
    """
    with world(choose_device(settings.loop.device)) as here, stop_signals() as received:
        return _distill(settings, out, resume or restarted(), here, received)


def _distill(
    settings: DistillSettings, out: Path, resume: bool, here: World, received: Callable[[], int]
) -> DistillReport:
    for role in ("student", "teacher"):
        if not getattr(settings, role):
            raise ConfigError(f"no {role}; name its folder, as in --{'model' if role == 'student' else role} DIR")
    known = claim(out, settings, resume=resume)
    corpora = open_folders(settings, here)
    tokenizer = load_tokenizer(corpora[0].path / TOKENIZER_FOLDER)
    heads = ("masked_lm",) if settings.teaching.masked_lm else ()
    source = find_model(settings.student)
    model = load_model(source, heads, generator=torch.Generator().manual_seed(settings.seed))
    teacher = load_model(find_model(settings.teacher), ()).to(here.device)
    for config, folder in ((model.config, source), (teacher.config, find_model(settings.teacher))):
        require_tokenizer(config, folder, tokenizer)
        _require_length(config, settings)
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
    run = Run(
        model=student,
        optimizer=build_optimizer(student, settings.optimizer),
        stream=BatchStream(training_source(settings, tokenizer, settings.seed)),
        progress=Progress(),
        seed=settings.seed,
        world=here,
    )
    held_out = held_out_sources(settings, tokenizer)

    def evaluate() -> Metrics:
        found = {
            name: objective.evaluate(held_out_batches(windows, settings.loop.held_out_tokens))
            for name, windows in held_out.items()
        }
        probes = probe(model.albert, tokenizer, places(), precision=precision) if settings.probes else {}
        student.train()
        return (joined(found) if found else {}) | probes

    session = Session(
        out=out,
        run=run,
        objective=objective,
        loop=settings.loop,
        schedule=settings.schedule,
        clip=settings.optimizer.clip,
        config=asdict(settings),
        data=[corpus.digest for corpus in corpora],
        environment={"micro_batches": settings.data.micro_batches, "attention": objective.attention},
        evaluate=evaluate,
    )
    metrics = session.go(received, known)
    if here.is_first:
        extra = {"taught_tokens": run.progress.tokens, "taught_steps": run.progress.step}
        save_model(model, out / "model", tokenizer, extra)
    here.wait()
    return DistillReport(
        model=out / "model",
        steps=run.progress.step,
        tokens=run.progress.tokens,
        seconds=run.progress.seconds,
        held_out=metrics,
    )


def _require_length(config: AlbertConfig, settings: DistillSettings) -> None:
    length, longest = settings.data.pairs.length, config.max_position_embeddings
    if length > longest:
        raise ConfigError(f"length = {length}: the model has positions for {longest} tokens; lower --length")
