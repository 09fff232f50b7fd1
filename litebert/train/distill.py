"""Distillation: a student model learns from raw text to answer like its teacher.

The run folder, its resumption and all that may happen to it are those of pre-training (see session.py).
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from litebert.console import log
from litebert.data.aligned import AlignedSource, keep_text, require_single_segments
from litebert.data.batches import DataSettings, WindowSource
from litebert.data.catalog import find_model, places
from litebert.data.pairs import PairSettings
from litebert.data.shards import INDEX_NAME, TOKENIZER_FOLDER, TokenCorpus
from litebert.errors import ConfigError, DataFolderError, UserError
from litebert.evaluate.embeddings import probe
from litebert.interop.huggingface import fingerprint, is_embedder, load_model, read_config, read_model, read_own
from litebert.interop.sentences import SentenceSettings
from litebert.model.device import autocast, choose_device
from litebert.text.tokenizer import Tokenizer, load_tokenizer
from litebert.train.corpora import (
    MAY_CHANGE,
    TEXT_FOLDER,
    TextRunSettings,
    claim,
    held_out_sources,
    open_folders,
    require_length,
    run_alone,
    training_source,
)
from litebert.train.loop import Metrics, stop_signals
from litebert.train.parallel import World, restarted, world
from litebert.train.teaching import Student, TeachingObjective, TeachingSettings, check_lesson, check_shapes
from litebert.train.text_run import TRAINED, TextRun, TextRunReport


def _single_segments() -> DataSettings:
    return DataSettings(batch_size=64, pairs=PairSettings(length=64, objective="none"))


@dataclass(frozen=True, kw_only=True)
class DistillSettings(TextRunSettings):
    """All settings of a run of distillation; `folders` may be files of text where the tokenizers differ."""

    student: str = ""
    """Folder of the model that is taught."""
    teacher: str = ""
    """Folder or name of the model that teaches."""
    probes: bool = True
    """Measure STS-B and CLINC150 at every evaluation, where the folders of public data hold them."""
    teaching: TeachingSettings = field(default_factory=TeachingSettings)
    data: DataSettings = field(default_factory=_single_segments)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_lesson(self.teaching, self.data, one_tokenizer=True)

    @property
    def may_change(self) -> frozenset[str]:
        """As in pre-training; similarities are those within a part of a step, so that its size matters."""
        return MAY_CHANGE - {"data.micro_batches"} if self.teaching.similarity else MAY_CHANGE


def distill(settings: DistillSettings, out: Path, *, resume: bool = False) -> TextRunReport:
    """Teach, or go on with an interrupted run; one of its processes, where `torchrun` started several.

    Raises what `pretrain` raises, and ConfigError if student and teacher do not fit together.
    """
    with world(choose_device(settings.loop.device)) as here, stop_signals() as received, run_alone(out, here):
        return _distill(settings, out, resume or restarted(), here, received)


def _distill(
    settings: DistillSettings, out: Path, resume: bool, here: World, received: Callable[[], int]
) -> TextRunReport:
    for role in ("student", "teacher"):
        if not getattr(settings, role):
            raise ConfigError(f"no {role}; name its folder, as in --{'model' if role == 'student' else role} DIR")
    if settings.loop.activation_checkpointing:
        raise ConfigError(
            "loop.activation_checkpointing = true: a student shows every layer's result, so that none can be computed "
            "again; leave it out"
        )
    known = claim(out, settings, resume=resume)
    source, teaching = find_model(settings.student), find_model(settings.teacher)
    # A folder that is none is told before any text is read.
    check_shapes(settings.teaching, *(read_config(folder) for folder in (source, teaching)))
    reading = _read_text(settings, out, source, teaching, here)
    becomes = not is_embedder(source) and _teaches_vectors(settings, source, teaching)
    embeds = becomes or is_embedder(source)
    heads = [*(["masked_lm"] if settings.teaching.masked_lm else []), *(["embed"] if embeds else [])]
    generator = torch.Generator().manual_seed(settings.seed)
    overrides = SentenceSettings().config() if becomes else None
    loaded = read_model(source, heads, overrides=overrides, generator=generator)
    model = loaded.model
    if becomes:  # longer texts than it was taught are read in windows
        loaded.extra["length"] = settings.data.pairs.length
    if here.is_first:
        _say_left_out(source, heads)
    teacher = load_model(teaching, ()).to(here.device)
    for config in (model.config, teacher.config):
        require_length(config, settings)
    compares = settings.teaching.comparison > 0
    student = Student(model, teacher.config, compares=compares, generator=generator).to(here.device)

    def precision() -> Any:
        return autocast(settings.loop.precision, here.device)

    def judge() -> Metrics:
        return probe(model.albert, reading.tokenizer, places(), precision=precision)

    objective = TeachingObjective(
        student,
        teacher,
        settings.data,
        settings.teaching,
        precision,
        compiled=settings.loop.compile,
        world=here,
        reader=reading.teacher,
    )
    kept = [*TRAINED, *(["length"] if "embed" in heads else [])]
    run = TextRun(
        settings=settings,
        out=out,
        world=here,
        corpora=reading.corpora,
        tokenizer=reading.tokenizer,
        source=reading.source,
        held_out=reading.held_out,
        trained=student,
        model=model,
        objective=objective,
        kept={name: loaded.extra[name] for name in kept if name in loaded.extra} | _origin(loaded.extra),
        probe=judge if settings.probes else None,
        bound=[fingerprint(teaching)],
    )
    return TextRunReport(**run.go(received, known))


def _teaches_vectors(settings: DistillSettings, student: Path, teacher: Path) -> bool:
    """Whether a student learns its teacher's sentence embeddings as such, and so is a model for them itself."""
    own, wanted = (read_config(folder).hidden_size for folder in (student, teacher))
    directions = settings.teaching.sentence > 0 and own == wanted
    return is_embedder(teacher) and (directions or settings.teaching.similarity > 0)


def _say_left_out(student: Path, heads: list[str]) -> None:
    """Name the heads that the taught model will lack, as what they read changes and they are not taught."""
    left_out = [name for name in read_own(student).get("heads", []) if name not in heads]
    if left_out:
        way = "; teaching.masked_lm = 1 keeps masked_lm" if "masked_lm" in left_out else ""
        log(f"note: {student} has heads that are not taught, and are left out: {', '.join(left_out)}{way}")


def _origin(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What the student was compressed from; how close it was before it was taught no longer holds."""
    if "compressed" not in extra:
        return {}
    return {"compressed": {name: value for name, value in extra["compressed"].items() if name != "closeness"}}


class _Reading(NamedTuple):
    """The text of a run, as the student reads it."""

    corpora: list[TokenCorpus]
    tokenizer: Tokenizer
    teacher: Tokenizer | None
    """The teacher's, where it reads the text by its own."""
    source: WindowSource
    held_out: dict[str, WindowSource]


def _read_text(settings: DistillSettings, out: Path, student: Path, teacher: Path, here: World) -> _Reading:
    """Open prepared folders, whose tokenizer both have, or files of text, which each reads by its own.

    Raises ConfigError where there are some of each, DataFolderError where a tokenizer is not that of the folders.
    """
    prepared = [(Path(folder) / INDEX_NAME).exists() for folder in settings.folders]
    if not settings.folders or any(prepared):
        if not all(prepared):
            missing = next((folder for folder, there in zip(settings.folders, prepared, strict=True) if not there), "")
            raise ConfigError(f"{missing} is no prepared folder, others are; give either prepared folders or text")
        corpora = open_folders(settings, here)
        tokenizer = load_tokenizer(corpora[0].path / TOKENIZER_FOLDER)
        for folder in (student, teacher):
            _require_tokenizer(folder, tokenizer)
        source = training_source(settings, tokenizer, settings.seed)
        return _Reading(corpora, tokenizer, None, source, held_out_sources(settings, tokenizer))
    tokenizer, reader = load_tokenizer(student), load_tokenizer(teacher)
    check_lesson(settings.teaching, settings.data, one_tokenizer=False)
    require_single_segments(settings.data)
    kept = _keep(settings, out, here)
    corpora = open_folders(replace(settings, folders={str(folder): weight for folder, weight in kept.items()}), here)
    source = AlignedSource(kept, tokenizer, settings.data, settings.seed)
    held_out: dict[str, WindowSource] = {
        corpus.path.name: AlignedSource({corpus.path: 1.0}, tokenizer, settings.data, 0, "held_out")
        for corpus in corpora
        if corpus.split("held_out").num_documents
    }
    return _Reading(corpora, tokenizer, reader, source, held_out)


def _keep(settings: DistillSettings, out: Path, here: World) -> dict[Path, float]:
    """Keep the text of files beside the run, where it is not there yet; raises what `prepare` raises."""
    texts = {Path(text): weight for text, weight in settings.folders.items()}
    kept = {out / TEXT_FOLDER / f"{n}-{text.name.split('.')[0]}": text for n, text in enumerate(texts)}
    if here.is_first:
        try:
            for folder, text in kept.items():
                keep_text([text], folder)
        except UserError:
            with suppress(OSError):  # it holds some of them
                (out / TEXT_FOLDER).rmdir()
            raise
    here.wait()
    return {folder: texts[text] for folder, text in kept.items()}


def _require_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    if load_tokenizer(folder).fingerprint != tokenizer.fingerprint:
        raise DataFolderError(
            f"the data were prepared with another tokenizer than that of {folder}; prepare them again with --tokenizer "
            f"{folder}, or give files of text (--data TEXT), which student and teacher each read by their own"
        )
