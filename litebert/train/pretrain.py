"""Pre-training: prepared text in, a run folder with a model out.

A run folder holds `config.toml` (resolved, written before step 1), `metrics.jsonl`, `tensorboard/`,
`checkpoints/step-N/` and, when the run has ended, `model/`.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from litebert import config
from litebert.console import log, progress
from litebert.data.batches import BatchStream, DataSettings, SpecialIds, WindowSource, held_out_batches
from litebert.data.shards import TOKENIZER_FOLDER, CorpusSplit, open_corpus
from litebert.errors import CheckpointError, ConfigError, DataFolderError
from litebert.files import require_empty, write_text
from litebert.interop.huggingface import load_model, save_model
from litebert.model.config import AlbertConfig, preset
from litebert.model.heads import AlbertWithHeads, build_model
from litebert.model.memory import require_memory
from litebert.text.tokenizer import Tokenizer, load_tokenizer
from litebert.train import checkpoints
from litebert.train.hooks import Checkpointer, Evaluator, MetricsLog, ProgressBar, describe
from litebert.train.loop import Hook, LoopSettings, Metrics, Run, autocast, choose_device, multiplies_bf16, train
from litebert.train.objective import PretrainObjective
from litebert.train.optimizers import OptimizerSettings, build_optimizer
from litebert.train.schedules import ScheduleSettings


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """All settings of a run; a recipe is a TOML file of those that differ."""

    folders: dict[str, float] = field(default_factory=dict)
    """Prepared data folders and their weights."""
    init: str | None = None
    """Folder of a model to go on from; None: fresh weights."""
    preset: str = "base"
    """Shape of a fresh model."""
    seed: int = 1
    """Decides initial weights, the order of the data, masks and dropout."""
    unigram_bias: bool = True
    """Start the masked-token head's bias at the logarithm of each piece's frequency: the loss begins at the unigram
    entropy instead of spending its first steps on getting there."""
    model: dict[str, Any] = field(default_factory=dict)
    """Fields of the model that differ from the preset."""
    data: DataSettings = field(default_factory=DataSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)


MAY_CHANGE = frozenset(
    {"data.workers", "data.micro_batches", "loop.device", "loop.compile", "loop.log_every", "loop.keep"}
    | {"loop.checkpoint_every", "loop.evaluate_every", "loop.held_out_tokens", "loop.activation_checkpointing"}
)
"""Settings that may differ when a run goes on: how it is computed and watched, not what is computed."""


@dataclass(frozen=True, kw_only=True)
class PretrainReport:
    """What a run came to."""

    model: Path
    """Folder of the finished model."""
    steps: int
    tokens: int
    seconds: float
    """Time spent in steps."""
    held_out: Metrics
    """Losses and accuracies on the held-out documents; empty where there are none."""
    unigram_entropy: float
    """Entropy of the training text's pieces in nats: the loss of a model that knows only frequencies."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values."""
        return asdict(self) | {"model": str(self.model)}

    def summary(self) -> str:
        """Return the report in a few lines."""
        lines = [
            f"{self.steps:,} steps, {self.tokens:,} tokens in {self.seconds / 60:.1f} minutes; "
            f"unigram entropy {self.unigram_entropy:.3f} nats"
        ]
        if self.held_out:
            lines.append(f"held-out: {describe(self.held_out)}")
        return "\n".join([*lines, f"model: {self.model}"])


def pretrain(settings: PretrainSettings, out: Path, *, resume: bool = False) -> PretrainReport:
    """Pre-train, or go on with an interrupted run.

    Raises OutputError if `out` is not empty and `resume` is not set; CheckpointError if the settings or the data are
    not those of the run; DataFolderError and ModelFolderError for inputs that do not fit.
    """
    saved = checkpoints.saved(out / "checkpoints") if resume else []
    if not resume or not (out / "config.toml").exists():
        require_empty(out, "add --resume to go on with the run there, or choose another folder")
    else:
        _require_same_settings(settings, out)
    device = choose_device(settings.loop.device)
    tokenizer = _shared_tokenizer(settings)
    model = _make_model(settings, tokenizer).to(device)
    model.albert.encoder.activation_checkpointing = settings.loop.activation_checkpointing
    _require_memory(settings, model, device)
    source = WindowSource(_folders(settings), SpecialIds.of(tokenizer), settings.data, settings.seed)
    counts = count_pieces(source.splits, tokenizer.vocab_size)
    if settings.unigram_bias and settings.init is None:
        _set_unigram_bias(model, counts)
    run = Run(
        model=model,
        optimizer=build_optimizer(model, settings.optimizer),
        stream=BatchStream(source),
        progress=checkpoints.Progress(),
        seed=settings.seed,
    )
    if saved:
        run.progress = checkpoints.restore(out / "checkpoints", model, run.optimizer) or run.progress
        run.stream.state = run.progress.data
    write_text(out / "config.toml", config.dump(asdict(settings)))
    objective = PretrainObjective(
        model,
        settings.data,
        lambda: autocast(settings.loop.precision, device),
        compiled=settings.loop.compile,
    )
    held_out = _train(run, settings, objective, _held_out_source(settings, tokenizer), out)
    extra = {"trained_tokens": run.progress.tokens, "trained_steps": run.progress.step}
    save_model(model, out / "model", tokenizer, extra)
    return PretrainReport(
        model=out / "model",
        steps=run.progress.step,
        tokens=run.progress.tokens,
        seconds=run.progress.seconds,
        held_out=held_out,
        unigram_entropy=entropy(counts),
    )


def _train(
    run: Run, settings: PretrainSettings, objective: PretrainObjective, held_out: WindowSource | None, out: Path
) -> Metrics:
    """Run the loop under its hooks; returns the last held-out metrics."""
    loop, start = settings.loop, run.progress.step
    last: Metrics = {}

    def evaluate() -> Metrics:
        assert held_out is not None
        last.update(objective.evaluate(held_out_batches(held_out, loop.held_out_tokens)))
        return last

    parameters = sum(p.numel() for p in run.model.parameters())
    log(f"{parameters:,} parameters, steps {start:,} to {loop.steps:,} of {settings.data.token_budget:,} tokens")
    metrics_log = MetricsLog(out, loop.log_every, start)
    with progress("pre-training", loop.steps, "steps") as advance:
        advance(start)
        hooks: list[Hook] = [metrics_log, ProgressBar(advance, loop.steps, loop.log_every)]
        if held_out is not None:
            hooks.append(Evaluator(evaluate, loop.evaluate_every, loop.steps, metrics_log))
        hooks.append(Checkpointer(out / "checkpoints", loop.checkpoint_every, loop.keep, loop.steps))
        try:
            train(
                run,
                objective,
                settings.schedule,
                steps=loop.steps,
                clip=settings.optimizer.clip,
                hooks=hooks,
            )
        finally:
            metrics_log.close()
    if held_out is not None and not last:  # the run was finished before
        log(f"step {run.progress.step:,} held-out: {describe(evaluate())}")
    return last


def _folders(settings: PretrainSettings) -> dict[Path, float]:
    return {Path(folder): weight for folder, weight in settings.folders.items()}


def _shared_tokenizer(settings: PretrainSettings) -> Tokenizer:
    """Return the tokenizer of the data folders, which must be one."""
    corpora = [open_corpus(Path(folder)) for folder in settings.folders]
    if not corpora:
        raise ConfigError("no data; name a prepared folder, as in --data DIR (made by: litebert prepare)")
    for corpus in corpora[1:]:
        if corpus.fingerprint != corpora[0].fingerprint:
            raise DataFolderError(
                f"{corpus.path} and {corpora[0].path} were prepared with different tokenizers; prepare one again"
            )
    return load_tokenizer(corpora[0].path / TOKENIZER_FOLDER)


def _make_model(settings: PretrainSettings, tokenizer: Tokenizer) -> AlbertWithHeads:
    heads = ("masked_lm",) if settings.data.pairs.objective == "none" else ("masked_lm", "sentence_order")
    if settings.init is not None:
        if settings.model:
            raise ConfigError("model settings and --model contradict each other; the folder's config decides the shape")
        model = load_model(Path(settings.init), heads)
        _require_tokenizer(model.config, Path(settings.init), tokenizer)
    else:
        shape: dict[str, Any] = {
            "vocab_size": tokenizer.vocab_size,
            "pad_token_id": tokenizer.pad_id,
            "bos_token_id": tokenizer.cls_id,
            "eos_token_id": tokenizer.sep_id,
        }
        generator = torch.Generator().manual_seed(settings.seed)
        model = build_model(preset(settings.preset, **shape | settings.model), heads, generator=generator)
    length, longest = settings.data.pairs.length, model.config.max_position_embeddings
    if length > longest:
        raise ConfigError(f"length = {length}: the model has positions for {longest} tokens; lower --length")
    return model


def _require_memory(settings: PretrainSettings, model: AlbertWithHeads, device: torch.device) -> None:
    """Refuse a batch that this machine cannot hold, before anything is written."""
    data, loop = settings.data, settings.loop
    half = loop.precision == "bf16" or (loop.precision == "auto" and multiplies_bf16(device))
    require_memory(
        model,
        device,
        length=data.pairs.length,
        batch_size=data.batch_size,
        micro_batches=data.micro_batches,
        masked_share=data.masking.share,
        precision="bf16" if half else "fp32",
        optimizer=settings.optimizer.name,
        compiled=loop.compile,
        activation_checkpointing=loop.activation_checkpointing,
    )


def _require_tokenizer(model: AlbertConfig, folder: Path, tokenizer: Tokenizer) -> None:
    """Refuse a model whose own tokenizer is not that of the data."""
    if load_tokenizer(folder).fingerprint != tokenizer.fingerprint or model.vocab_size != tokenizer.vocab_size:
        raise DataFolderError(
            f"the data were prepared with another tokenizer than that of {folder}; "
            f"prepare them again with --tokenizer {folder}"
        )


def _held_out_source(settings: PretrainSettings, tokenizer: Tokenizer) -> WindowSource | None:
    """Return the held-out documents of all folders that have some, in equal shares by weight."""
    folders = {f: w for f, w in _folders(settings).items() if open_corpus(f).split("held_out").num_documents}
    if not folders:
        log("warning: no held-out documents; prepare with --held-out 0.005 to see what the model has learnt")
        return None
    return WindowSource(folders, SpecialIds.of(tokenizer), settings.data, 0, "held_out")


def count_pieces(splits: list[CorpusSplit], vocab_size: int) -> np.ndarray:
    """Return how often each piece occurs: (V,) int64. Reads all tokens once, shard by shard."""
    counts = np.zeros(vocab_size, dtype=np.int64)
    step = 1 << 24
    for split in splits:
        for shard in split.shards:
            for start in range(0, len(shard.tokens), step):
                counts += np.bincount(shard.tokens[start : start + step], minlength=vocab_size)
    return counts


def entropy(counts: np.ndarray) -> float:
    """Return the entropy in nats of the distribution that `counts` gives."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


@torch.no_grad()
def _set_unigram_bias(model: AlbertWithHeads, counts: np.ndarray) -> None:
    """Start the head at the log frequencies, each piece counted once more than it occurs."""
    shares = (counts + 1) / (counts + 1).sum()
    bias: Tensor = model.heads["masked_lm"].bias  # type: ignore[assignment]
    bias.copy_(torch.from_numpy(np.log(shares)))


def _require_same_settings(settings: PretrainSettings, out: Path) -> None:
    """Refuse to go on with a run under settings that change what it computes."""
    then = config.build(PretrainSettings, config.read_toml(out / "config.toml"))
    before, after = _flat(asdict(then)), _flat(asdict(settings))
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name) and name not in MAY_CHANGE:
            raise CheckpointError(
                f"{out} was begun with {name} = {before.get(name)!r}, now it is {after.get(name)!r}; "
                "give the same settings (see its config.toml) or start another run"
            )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat
