"""Fine-tuning: a model and labelled rows in, a task model out.

OUT is a model folder. Beside the model's files it holds `training/`: `config.toml` (the resolved settings),
`metrics.jsonl` (every look at the dev set) and `report.json`. OUT appears whole, at the end, or not at all.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from litebert import config
from litebert.console import log
from litebert.data.examples import Examples, Ints, SequenceBatch, encode_rows
from litebert.data.labelled import Columns, LabelledRows, label_ids, label_set, read_labelled
from litebert.errors import ConfigError
from litebert.evaluate.evaluate import ClassifyEvaluator, head_logits, model_tokenizer, to_packed
from litebert.evaluate.metrics import ClassifyMetric
from litebert.files import new_folder, require_empty
from litebert.interop.huggingface import SavedModel, read_config, read_model, save_model
from litebert.model.config import AlbertConfig
from litebert.model.heads import AlbertWithHeads, build_model
from litebert.text.tokenizer import Tokenizer
from litebert.train.fit import Fit, State, Steps, Watch, fit, load_state, subset
from litebert.train.loop import Precision, autocast, choose_device
from litebert.train.optimizers import OptimizerSettings
from litebert.train.results import FinetuneReport, SeedResult, plain, say_result
from litebert.train.schedules import ScheduleSettings
from litebert.train.seeds import run_seeds

RATES = ((256, 3e-4), (512, 1e-4), (1024, 2e-5))
"""Default learning rates: that of the first width at least the model's, 1e-5 beyond. Small models bear and
need more (Turc et al. 2019 chose among 3e-5 to 3e-4 for widths of 128 to 512; the paper has 1e-5 to 3e-5 from
base on)."""

FEW_STEPS, MOST_EPOCHS, EPOCHS = 300, 20, 3
"""Three epochs of a few hundred rows are a few dozen steps, too few to learn anything (Zhang et al. 2021)."""

IMBALANCE = 4
"""A note is due where the most frequent label has this many times the rows of the rarest."""


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
    """What stands for a text: the vector of [CLS], or the mean of all its tokens; None: as the model has it."""
    metric: ClassifyMetric = "accuracy"
    """What the best checkpoint is chosen by."""
    evaluate_every: float | None = None
    """Epochs between looks at the dev set; None: 1, or more where there are more than ten epochs."""
    optimizer: Literal["adamw", "lamb", "muon"] = "adamw"
    weight_decay: float = 0.01
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
        for name in ("weight_decay", "clip"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} = {getattr(self, name):g}: expected 0 or more")
        if not 0 <= self.warmup <= 1:
            raise ConfigError(f"warmup = {self.warmup:g}: expected a share between 0 and 1")
        for name in ("epochs", "learning_rate", "evaluate_every"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} = {value:g}: expected a number above 0")
        if self.length is not None and self.length < 8:
            raise ConfigError(f"length = {self.length}: expected 8 tokens or more")
        if self.seed < 0:
            raise ConfigError(f"seed = {self.seed}: expected 0 or more")

    def optimizer_settings(self, rate: float) -> OptimizerSettings:
        """The optimizer at a learning rate; it forgets more slowly than in pre-training, as steps are few and noisy."""
        return OptimizerSettings(
            name=self.optimizer, learning_rate=rate, weight_decay=self.weight_decay, beta2=0.999, clip=self.clip
        )


def finetune_classify(
    *,
    model: Path | str,
    train: Path | str,
    dev: Path | str,
    out: Path | str,
    columns: Columns | None = None,
    settings: FinetuneSettings | None = None,
) -> FinetuneReport:
    """Teach a model to label texts or pairs of texts, and write it to `out`.

    Labels are those of the training rows, sorted. Raises OutputError where `out` is not empty or cannot be
    written, ModelFolderError and TokenizerError for a folder that is no model, InputError for rows that
    cannot be used.
    """
    settings, out = settings or FinetuneSettings(), Path(out)
    require_empty(out)
    shape = read_config(model)
    tokenizer = model_tokenizer(Path(model))
    length = _length(settings, shape)
    train_set, labels = _train_set(train, columns or Columns(), tokenizer, length, settings.metric)
    dev_set = _dev_set(dev, train_set.rows.columns, labels, tokenizer, length)
    _note_overlap(train_set.rows, dev_set.rows)
    job = _Job(Path(model), shape, settings, labels, train_set, dev_set, choose_device(settings.device))
    job.announce()
    with new_folder(out) as folder:
        record = folder / "training"
        record.mkdir()
        inputs = {"task": "classify", "model": str(model), "train": str(train), "dev": str(dev)}
        resolved = config.dump(inputs | {"columns": train_set.rows.columns._asdict()} | job.resolved())
        (record / "config.toml").write_text(resolved, encoding="utf-8")
        seeds = range(settings.seed, settings.seed + settings.seeds)
        results, best, state = run_seeds(job.fit, seeds, job.rate, settings.metric, record / "metrics.jsonl")
        report = FinetuneReport(
            model=out,
            labels=labels,
            columns=train_set.rows.columns,
            train_rows=len(subset(len(train_set.rows), settings.train_rows, settings.seed)),
            dev_rows=len(dev_set.rows),
            primary_metric=settings.metric,
            majority=float((dev_set.gold == np.bincount(train_set.gold).argmax()).mean()),
            results=tuple(results),
            best=best,
        )
        (record / "report.json").write_text(json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n", "utf-8")
        saved = _write_model(folder, job, results[best], state, tokenizer, length)
    say_result(report, saved.opens_in_transformers)
    return report


def _write_model(
    folder: Path, job: "_Job", result: SeedResult, state: State, tokenizer: Tokenizer, length: int
) -> SavedModel:
    """Write the files of the model beside its record; `extra` is what the predictor has to know of the training."""
    model = job.fresh_model(result.seed)
    load_state(model, state)
    columns = job.train.rows.columns._asdict()
    extra = {"task": "classify", "columns": columns, "length": length, "dev": plain(result.metrics)}
    # By way of a folder of its own: what happens to one that exists already is the writer's business.
    saved = save_model(model, folder / "saved", tokenizer, extra)
    for file in sorted((folder / "saved").iterdir()):
        file.rename(folder / file.name)
    (folder / "saved").rmdir()
    return saved


@dataclass(frozen=True)
class _Set:
    """Labelled rows, ready for the model."""

    rows: LabelledRows
    examples: Examples
    gold: Ints
    """(R,): class of each row."""


def _train_set(
    path: Path | str, columns: Columns, tokenizer: Tokenizer, length: int, metric: str
) -> tuple[_Set, tuple[str, ...]]:
    rows = read_labelled(path, columns)
    labels = label_set(rows)
    if metric == "f1" and len(labels) != 2:
        raise ConfigError(f"metric = 'f1' is for two labels, {path} has {len(labels)}; use macro_f1")
    made = _Set(rows, encode_rows(tokenizer, rows.texts, rows.pairs, length), np.array(label_ids(rows, labels)))
    _describe(made, labels, length, "training", "each window is trained with the row's label")
    return made, labels


def _dev_set(path: Path | str, columns: Columns, labels: tuple[str, ...], tokenizer: Tokenizer, length: int) -> _Set:
    # The dev file has the columns of the training file, or at least columns of the usual names.
    rows = read_labelled(path, Columns(), columns)
    made = _Set(rows, encode_rows(tokenizer, rows.texts, rows.pairs, length), np.array(label_ids(rows, labels)))
    _describe(made, labels, length, "dev", "the answers of its windows are averaged")
    return made


def _describe(data: _Set, labels: tuple[str, ...], length: int, what: str, treatment: str) -> None:
    """Say what was read, and what is unusual about it."""
    rows, columns = data.rows, data.rows.columns
    counts = [(label, int((data.gold == i).sum())) for i, label in enumerate(labels)]
    shown = ", ".join(f"{label!r} {count / len(rows):.0%}" for label, count in counts[:8])
    pair = f" and {columns.text_pair!r}" if columns.text_pair else ""
    log(
        f"{rows.source}: {len(rows):,} {what} rows; text in {columns.text!r}{pair}, {len(labels)} labels in "
        f"{columns.label!r}: {shown}{', …' if len(counts) > 8 else ''}"
    )
    if rows.empty:
        log(f"note: {rows.empty:,} {what} rows have an empty text; they are used as they are")
    if long := data.examples.long_rows:
        log(f"note: {long:,} {what} rows are longer than {length} tokens; {treatment}")
    most, least = max(counts, key=lambda c: c[1]), min(counts, key=lambda c: c[1])
    if what == "training" and most[1] >= IMBALANCE * max(least[1], 1):
        log(
            f"note: the labels are imbalanced ({most[0]!r} {most[1]:,} rows, {least[0]!r} {least[1]:,}): "
            "accuracy says "
            f"little, {most[1] / len(rows):.0%} is had by always answering {most[0]!r}; see macro_f1 (--set "
            "metric=macro_f1)"
        )


def _note_overlap(train: LabelledRows, dev: LabelledRows) -> None:
    seen = set(zip(train.texts, train.pairs, strict=True))
    same = sum(row in seen for row in zip(dev.texts, dev.pairs, strict=True))
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


@dataclass(frozen=True)
class _Job:
    """Everything that the fine-tunings of all seeds share."""

    folder: Path
    shape: AlbertConfig
    settings: FinetuneSettings
    labels: tuple[str, ...]
    train: _Set
    dev: _Set
    device: torch.device

    @property
    def rate(self) -> float:
        return self.settings.learning_rate or default_rate(self.shape.hidden_size)

    def announce(self) -> None:
        """Say how it is going to be done."""
        steps = self._steps()
        log(
            f"fine-tuning: learning rate {self.rate:g} (width {self.shape.hidden_size}), "
            f"{steps.total / steps.per_epoch:g} epochs of {steps.per_epoch:,} steps"
            + (", from random weights" if self.settings.from_scratch else "")
        )

    def resolved(self) -> dict[str, Any]:
        """The settings with everything chosen filled in."""
        steps = self._steps()
        return asdict(self.settings) | {
            "epochs": steps.total / steps.per_epoch,
            "evaluate_every": steps.evaluate_every / steps.per_epoch,
            "learning_rate": self.rate,
            "length": _length(self.settings, self.shape),
        }

    def fit(self, seed: int, rate: float, watch: Watch) -> Fit:
        """Fine-tune once."""
        settings = self.settings
        examples, gold = self._chosen(seed)
        target = torch.from_numpy(gold)

        def loss(model: AlbertWithHeads, batch: SequenceBatch) -> Tensor:
            with autocast(settings.precision, self.device):
                logits = head_logits(model, to_packed(batch, self.device))  # (S, C)
            right = target[examples.rows[batch.sequences]].to(self.device)  # (S,)
            return F.cross_entropy(logits.float(), right, reduction="sum")

        return fit(
            self.fresh_model(seed).to(self.device),
            examples,
            loss,
            ClassifyEvaluator(examples=self.dev.examples, gold=self.dev.gold, primary_metric=settings.metric),
            steps=plan_steps(len(examples), settings),
            optimizer=settings.optimizer_settings(rate),
            schedule=ScheduleSettings(name="linear", warmup=settings.warmup),
            batch_size=settings.batch_size,
            max_tokens=settings.max_tokens,
            primary_metric=settings.metric,
            seed=seed,
            varied=len(set(self.dev.gold.tolist())) > 1,
            watch=watch,
        )

    def _chosen(self, seed: int) -> tuple[Examples, Ints]:
        rows = subset(len(self.train.rows), self.settings.train_rows, seed)
        if len(rows) == len(self.train.rows):
            return self.train.examples, self.train.gold
        return self.train.examples.select(rows), self.train.gold[rows]

    def _steps(self) -> Steps:
        return plan_steps(len(self._chosen(self.settings.seed)[0]), self.settings)

    def fresh_model(self, seed: int) -> AlbertWithHeads:
        """The model before step 1: a function of the seed."""
        generator = torch.Generator().manual_seed(seed)
        overrides: dict[str, Any] = {
            "labels": list(self.labels),
            "problem_type": "single_label_classification",
            "pooling": self.settings.pooling or self.shape.pooling,
        }
        if self.settings.from_scratch:
            shape = AlbertConfig.from_dict(self.shape.to_dict() | overrides)
            return build_model(shape, ("classify",), generator=generator)
        return read_model(self.folder, ("classify",), overrides=overrides, generator=generator).model
