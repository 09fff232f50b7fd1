"""The job that the fine-tunings of all seeds share: settings, rows as the model reads them, and what is learnt.

settings + labelled rows + a model's shape -> job -> fit(seed, rate)
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from litebert.console import log
from litebert.data.catalog import find_model
from litebert.data.examples import Items, SequenceBatch
from litebert.data.labelled import Columns, Labelled
from litebert.errors import ConfigError
from litebert.evaluate.metrics import Doubles, Metrics
from litebert.interop.huggingface import is_embedder, model_tokenizer, read_config, read_model, read_own, with_sentences
from litebert.model.config import AlbertConfig
from litebert.model.device import Precision, autocast, choose_device
from litebert.model.heads import TASKS as HEADS
from litebert.model.heads import AlbertWithHeads, build_model
from litebert.model.outputs import head_outputs, to_packed
from litebert.tasks.table import AnyTask, task_named
from litebert.tasks.task import Encoded, Lesson, Weighting, Windowing
from litebert.text.tokenizer import Tokenizer
from litebert.train.fit import Fit, Loss, State, Steps, Watch, fit, load_state, subset
from litebert.train.loop import check_seed
from litebert.train.optimizers import OptimizerSettings
from litebert.train.probing import linear_head, probe
from litebert.train.schedules import ScheduleSettings
from litebert.train.teacher import Teacher, taught

RATES = ((256, 3e-4), (512, 1e-4), (1024, 2e-5))
"""Default learning rates: that of the first width at least the model's, 1e-5 beyond. Small models bear and
need more (Turc et al. 2019 chose among 3e-5 to 3e-4 for widths of 128 to 512; the paper has 1e-5 to 3e-5 from
base on). litebert-small, of width 384, learns SST-2, CLINC150 and SQuAD better at 1e-4 and above than at 5e-5, CoLA,
RTE and MRPC about as well, and STS-B with both texts in one sequence a little worse (dev rows, mostly one seed)."""

DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob", "embedding_dropout_prob")
"""Those of the encoder."""

FEW_STEPS, MOST_EPOCHS, EPOCHS = 300, 20, 3
"""Three epochs of a few hundred rows are a few dozen steps, too few to learn anything (Zhang et al. 2021)."""


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings:
    """How a model is fine-tuned. None means: chosen by size of model or data, and said."""

    epochs: float | None = None
    """Passes over the training rows; None: 3, for few rows as many as make 300 steps, but at most 20."""
    batch_size: int = 32
    """Sequences a step."""
    learning_rate: float | None = None
    """Peak rate; None: by the width of the model."""
    length: int | None = None
    """Most tokens of a sequence; longer texts are divided into overlapping windows. None: what the model can
    read."""
    seed: int = 1
    """Decides the new head's weights, the order of rows, dropout, and the choice of `train_rows`."""
    seeds: int = 1
    """Fine-tune this many times, with seeds from `seed` up; the best model on the dev set is kept."""
    train_rows: int | None = None
    """Train on this many rows only, drawn by the seed; None: all."""
    from_scratch: bool = False
    """Start from random weights of the same shape: what the training rows alone can teach."""
    pooling: Literal["first", "mean"] | None = None
    """What stands for a text: the vector of [CLS], or the mean of all its tokens; None: as the model has it, the mean
    where its sentence embeddings are made so. transformers' classes have `first` alone."""
    teacher: str | None = None
    """Folder or name of a fine-tuned model whose answers are learnt beside the labels; None: the labels alone."""
    teacher_weight: float = 0.5
    """Share of the teacher in the loss; the labels have the rest."""
    temperature: float = 2.0
    """By which the logits of student and teacher are divided before they are compared: above 1 the answers that the
    teacher thinks wrong count more beside each other (0.5 and 2 as in DistilBERT's script for SQuAD)."""
    unlabelled: str | None = None
    """File of further rows to train on, without labels: the teacher's answers stand for them."""
    metric: str | None = None
    """What the best checkpoint is chosen by; None: the task's own."""
    class_weights: Weighting = "auto"
    """What a row of a rare label counts: `none`, the same as any; `inverse`, that every label counts the same in sum;
    `sqrt`, the root of that; `auto`: sqrt where the commonest label has four times the rows of the rarest."""
    patience: int = 5
    """End after this many looks at the dev set without a better one; 0: go on to the last epoch."""
    stride: int | None = None
    """Tokens from one window of a context to the next (qa); None: three quarters of a window."""
    evaluate_every: float | None = None
    """Epochs between looks at the dev set; None: 1, or more where there are more than ten epochs."""
    optimizer: Literal["adamw", "lamb", "muon"] = "adamw"
    weight_decay: float = 0.01
    probe: bool = True
    """Fit the head alone first, on the encoder as it is, see `litebert.train.probing`."""
    dropout: float | None = None
    """Of the encoder's embedding, attention and hidden states; None: as its config says."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 switches clipping off."""
    warmup: float = 0.1
    """Share of the steps in which the rate rises; it falls to 0 in the others."""
    precision: Precision = "auto"
    """Of training; the dev set is always judged in fp32, as `evaluate` and `predict` do."""
    device: str = "auto"
    max_tokens: int = 16384
    """Steps with more tokens are computed in parts, which changes only the memory they take."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "seeds", "train_rows", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} = {value}: expected 1 or more")
        check_seed(self.seed)
        if not 0 <= self.teacher_weight <= 1:
            raise ConfigError(f"teacher_weight = {self.teacher_weight:g}: expected a share between 0 and 1")
        if self.unlabelled is not None and self.teacher is None:
            raise ConfigError("unlabelled rows need somebody to label them: give --teacher DIR, a fine-tuned model")
        if self.unlabelled is not None and self.train_rows is not None:
            raise ConfigError("train_rows and unlabelled contradict each other: give fewer rows in the training file")
        if self.stride is not None and self.stride < 1:
            raise ConfigError(f"stride = {self.stride}: expected 1 token or more")
        for name in ("weight_decay", "clip", "patience"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} = {getattr(self, name):g}: expected 0 or more")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout = {self.dropout:g}: expected a share from 0 to below 1")
        if not 0 <= self.warmup < 1:
            raise ConfigError(f"warmup = {self.warmup:g}: expected a share from 0 to below 1")
        for name in ("epochs", "learning_rate", "evaluate_every", "temperature"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} = {value:g}: expected a number above 0")
        if self.length is not None and self.length < 8:
            raise ConfigError(f"length = {self.length}: expected 8 tokens or more")

    @property
    def all_seeds(self) -> range:
        """The seed of each fine-tuning."""
        return range(self.seed, self.seed + self.seeds)

    def optimizer_settings(self, rate: float) -> OptimizerSettings:
        """The optimizer at a learning rate; it forgets more slowly than in pre-training, as steps are few and noisy."""
        return OptimizerSettings(
            name=self.optimizer, learning_rate=rate, weight_decay=self.weight_decay, beta2=0.999, clip=self.clip
        )


class _Set(NamedTuple):
    """Labelled rows, ready for the model."""

    rows: Labelled[Any, Any]
    encoded: Encoded
    gold: Any


def _encode(
    task: AnyTask, rows: Labelled[Any, Any], labels: tuple[str, ...], tokenizer: Tokenizer, windowing: Windowing
) -> _Set:
    encoded = task.encode(rows.inputs, tokenizer, windowing)
    return _Set(rows, encoded, task.gold(rows, encoded, labels))


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that the fine-tunings of all seeds share."""

    task: AnyTask
    inputs: Mapping[str, str]
    """What the record says of where the rows come from."""
    folder: Path
    tokenizer: Tokenizer
    shape: AlbertConfig
    settings: FinetuneSettings
    labels: tuple[str, ...]
    primary: str
    train: _Set
    dev: _Set
    lesson: Lesson
    teacher: Metrics | None
    """The teacher's metrics on the dev rows; None where there is none."""
    device: torch.device

    @property
    def length(self) -> int:
        """Most tokens of a sequence."""
        return _length(self.settings, self.shape)

    @property
    def rate(self) -> float:
        """The peak learning rate."""
        return self.settings.learning_rate or default_rate(self.shape.hidden_size)

    def announce(self) -> None:
        """Say what was read, what is unusual about it, and how it is going to be done."""
        task = self.task
        for data, what in ((self.train, "training"), (self.dev, "dev")):
            columns = [repr(name) for name in data.rows.columns if name is not None]
            log(
                f"{data.rows.source}: {len(data.rows):,} {what} rows of {', '.join(columns)}; "
                + task.describe(data.gold, self.labels)
            )
            notes = [*data.rows.notes, *task.window_notes(data.encoded.long_rows, data.encoded.cut, self.length)]
            if data is self.dev:
                notes += task.judging_notes(data.gold, self.labels)
            for note in notes:
                log(f"note: {what}: {note}")
        for note in self.lesson.notes:
            log(f"note: {note}")
        _note_overlap(self.train.rows, self.dev.rows)
        if self.teacher is not None:
            log(f"the teacher on the dev rows: {self.primary} {self.teacher[self.primary]:.4f}")
        steps = self._steps()
        log(
            f"fine-tuning {task.name}: learning rate {self.rate:g} (width {self.shape.hidden_size}), "
            f"{steps.total / steps.per_epoch:g} epochs of {steps.per_epoch:,} steps; the best checkpoint by "
            f"{self.primary}" + (", from random weights" if self.settings.from_scratch else "")
        )

    def resolved(self) -> dict[str, Any]:
        """The settings with everything chosen filled in."""
        steps = self._steps()
        return asdict(self.settings) | {
            "epochs": steps.total / steps.per_epoch,
            "evaluate_every": steps.evaluate_every / steps.per_epoch,
            "learning_rate": self.rate,
            "length": self.length,
            "metric": self.primary,
        }

    def fit(self, seed: int, rate: float, watch: Watch) -> Fit:
        """Fine-tune once."""
        settings, task = self.settings, self.task
        items = self._chosen(seed)

        def outputs(model: AlbertWithHeads, batch: SequenceBatch) -> Tensor:
            with autocast(settings.precision, self.device):
                return model.logits(task.head, to_packed(batch, self.device)).float()  # (S, C) or (T, C)

        model = self.fresh_model(seed, dropout=self.lesson.dropout).to(self.device)
        head = linear_head(model.heads[task.head])
        if head is not None and settings.probe:
            probe(model, head, items, outputs, self.lesson.loss, max_tokens=settings.max_tokens, seed=seed)
        return fit(
            model,
            items,
            Loss(outputs, self.lesson.loss, self.lesson.joint),
            self._judge,
            steps=plan_steps(len(items), settings),
            optimizer=settings.optimizer_settings(rate),
            schedule=ScheduleSettings(name="linear", warmup=settings.warmup),
            batch_size=settings.batch_size,
            max_tokens=settings.max_tokens,
            primary_metric=self.primary,
            seed=seed,
            collapsed=task.collapsed if task.varied(self.dev.gold) else lambda _: False,
            patience=settings.patience,
            watch=watch,
            from_start=head is None or settings.probe,
        )

    def _judge(self, model: AlbertWithHeads) -> Metrics:
        """The dev set's metrics. What is decided by them (a threshold) is not known yet."""
        outputs = self.lesson.outputs(head_outputs(model, self.task.head, self.dev.encoded.examples))
        return self.task.judge(self.dev.encoded, self.dev.gold, outputs, self.labels, {})

    def _chosen(self, seed: int) -> Items:
        rows = subset(len(self.train.rows), self.settings.train_rows, seed)
        return self.lesson.items if len(rows) == len(self.train.rows) else self.lesson.items.of_rows(rows)

    def _steps(self) -> Steps:
        return plan_steps(len(self._chosen(self.settings.seed)), self.settings)

    def finished(self, seed: int, state: State) -> AlbertWithHeads:
        """The model of a fit as it answers."""
        model = self.fresh_model(seed)
        load_state(model, state)
        self.lesson.finish(model.heads[self.task.head])
        return model.to(self.device)

    def fresh_model(self, seed: int, *, dropout: float = 0.0) -> AlbertWithHeads:
        """The model before step 1: a function of the seed. dropout: of an encoder that has none of its own, unless
        the settings say."""
        generator = torch.Generator().manual_seed(seed)
        overrides: dict[str, Any] = {"labels": list(self.labels), "problem_type": self.task.problem_type}
        if HEADS[self.task.head].reads != "sequences":
            overrides["pooling"] = self.settings.pooling or self.shape.pooling
        elif self.settings.pooling is not None:
            overrides["sentence_pooling"] = self.settings.pooling
        if self.settings.dropout is not None:
            overrides |= dict.fromkeys(DROPOUTS, self.settings.dropout)
        elif dropout and not self.shape.hidden_dropout_prob:
            overrides |= dict.fromkeys(DROPOUTS, dropout)
        heads = (self.task.head,)
        if self.settings.from_scratch:
            shape = AlbertConfig.from_dict(self.shape.to_dict() | overrides)
            return build_model(shape, heads, generator=generator)
        return read_model(self.folder, heads, overrides=overrides, generator=generator).model


def read_job(
    task: str,
    *,
    model: Path | str,
    train: Path | str,
    dev: Path | str,
    columns: Columns | None,
    settings: FinetuneSettings,
) -> Job:
    """Read the rows of two files for a task by its name, and make a job of them; raises what `finetune` raises."""
    model = find_model(model)
    for folder in (model, *([find_model(settings.teacher)] if settings.teacher else [])):
        read_config(folder)  # a folder that is none is told before the rows are read
    known = task_named(task)
    train_rows = known.read(train, columns or Columns())
    # The dev file has the columns of the training file, or at least columns of the usual names.
    dev_rows = known.read(dev, Columns(), train_rows.columns)
    inputs = {"train": str(train), "dev": str(dev)}
    return prepare_job(known, model=model, train=train_rows, dev=dev_rows, settings=settings, inputs=inputs)


def _as_it_embeds(
    settings: FinetuneSettings, task: AnyTask, shape: AlbertConfig, own: Mapping[str, Any]
) -> FinetuneSettings:
    """Of a model for sentence embeddings: it goes on reading texts as it did."""
    reads = HEADS[task.head].reads
    if reads == "sequences" and settings.length is None:
        return replace(settings, length=own.get("length"))
    if reads == "pooled" and settings.pooling is None and shape.sentence_pooling == "mean":
        return replace(settings, pooling="mean")
    return settings


def prepare_job(
    task: AnyTask,
    *,
    model: Path | str,
    train: Labelled[Any, Any],
    dev: Labelled[Any, Any],
    settings: FinetuneSettings,
    inputs: Mapping[str, str] | None = None,
    row_weights: Doubles | None = None,
) -> Job:
    """Make a job of rows; row_weights: see `teach`."""
    model = find_model(model)
    tokenizer, shape, device = model_tokenizer(model), read_config(model), choose_device(settings.device)
    if is_embedder(model):
        settings = _as_it_embeds(settings, task, *with_sentences(model, shape, read_own(model).get("extra", {})))
    windowing = Windowing(_length(settings, shape), settings.stride)
    task.check_judged(dev)
    labels = task.labels(train)
    if settings.metric:
        _check_metric(task, settings.metric, labels)
    if settings.class_weights in ("sqrt", "inverse") and not task.weighs_labels:
        raise ConfigError(
            f"class_weights = {settings.class_weights!r}: rare labels are weighed in classify and multilabel, not in "
            f"{task.name}; leave it out"
        )
    dev_set = _encode(task, dev, labels, tokenizer, windowing)
    teacher: Teacher | None = None
    opinions: list[Any] = []
    if settings.teacher:
        teacher = Teacher(settings.teacher, task, labels, device, student=tokenizer, windowing=windowing)
        train, opinions = _ask(teacher, train, settings)
    train_set = _encode(task, train, labels, tokenizer, windowing)
    lesson = task.lesson(train_set.encoded, train_set.gold, labels, settings.class_weights)
    if row_weights is not None:
        items, counts = lesson.items, np.ones(len(train))
        counts[: len(row_weights)] = row_weights
        lesson = replace(lesson, items=replace(items, weights=items.weights * counts[items.rows]))
    if teacher:
        distance = task.imitation(train_set.encoded, opinions, lesson, settings.temperature)
        lesson = taught(lesson, distance, settings.teacher_weight)
    return Job(
        task=task,
        inputs=inputs or {},
        folder=model,
        tokenizer=tokenizer,
        shape=shape,
        settings=settings,
        labels=labels,
        primary=settings.metric or task.primary(train_set.gold, labels),
        train=train_set,
        dev=dev_set,
        lesson=lesson,
        teacher=teacher.judge(dev) if teacher else None,
        device=device,
    )


def _ask(
    teacher: Teacher, rows: Labelled[Any, Any], settings: FinetuneSettings
) -> tuple[Labelled[Any, Any], list[Any]]:
    """All rows to train on, those that the teacher labels among them, and what it says of each."""
    every, more = teacher.label(settings.unlabelled, rows) if settings.unlabelled else (rows, [])
    asked = [subset(len(rows), settings.train_rows, seed) for seed in settings.all_seeds]
    return every, [*teacher.opinions(rows.inputs, np.unique(np.concatenate(asked))), *more]


def _check_metric(task: AnyTask, metric: str, labels: tuple[str, ...]) -> None:
    possible = task.possible_metrics(labels)
    if metric not in possible:
        raise ConfigError(
            f"metric = {metric!r}: {task.name} with {len(labels)} label(s) has {', '.join(possible)}; use one of these"
        )


def _note_overlap(train: Labelled[Any, Any], dev: Labelled[Any, Any]) -> None:
    seen = set(train.inputs)
    same = sum(given in seen for given in dev.inputs)
    if same:
        log(f"note: {same:,} of {len(dev):,} dev rows are training rows too; results on them say little")


def _length(settings: FinetuneSettings, shape: AlbertConfig) -> int:
    longest = shape.max_position_embeddings
    if settings.length is not None and settings.length > longest:
        raise ConfigError(f"length = {settings.length}: the model reads at most {longest} tokens; lower --length")
    return settings.length or longest


def default_rate(hidden_size: int) -> float:
    """The learning rate for models of a width."""
    return next((rate for width, rate in RATES if hidden_size <= width), 1e-5)


def plan_steps(sequences: int, settings: FinetuneSettings) -> Steps:
    """How many steps, and how often the dev set is looked at."""
    per_epoch = -(-sequences // settings.batch_size)
    epochs = settings.epochs
    if epochs is None:
        epochs = max(EPOCHS, min(MOST_EPOCHS, math.ceil(FEW_STEPS / per_epoch)))
    every = settings.evaluate_every or max(1.0, epochs / 10)
    return Steps(max(1, round(epochs * per_epoch)), per_epoch, max(1, round(every * per_epoch)))
