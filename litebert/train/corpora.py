"""The prepared folders a run reads, as it finds them at its start, and the settings it was begun with."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from litebert import config
from litebert.console import log
from litebert.data.batches import DataSettings, SpecialIds, WindowSource
from litebert.data.shards import CorpusSplit, TokenCorpus, open_corpus
from litebert.errors import CheckpointError, ConfigError, DataFolderError, InputError, OutputError
from litebert.files import LOCK, held, in_use, require_empty
from litebert.model.config import AlbertConfig
from litebert.text.tokenizer import Tokenizer, load_tokenizer
from litebert.train.loop import LoopSettings, Metrics, check_seed
from litebert.train.optimizers import OptimizerSettings
from litebert.train.parallel import World
from litebert.train.schedules import ScheduleSettings

MAY_CHANGE = frozenset(
    {"data.workers", "data.micro_batches", "loop.device", "loop.compile", "loop.log_every", "loop.keep"}
    | {"loop.checkpoint_every", "loop.evaluate_every", "loop.held_out_tokens", "loop.rollbacks"}
    | {"loop.activation_checkpointing", "loop.minutes"}
)
"""Settings that may differ when a run goes on: how it is computed and watched, not what is computed."""

LEAST_FILLED = 0.7
"""A step whose tokens fill less of its room than this wastes time on padding."""

TEXT_FOLDER = "text"
"""In the folder of a run that reads files of text: their text as such, see `data.aligned`."""


@dataclass(frozen=True, kw_only=True)
class TextRunSettings:
    """What the settings of every kind of run on prepared text have; a recipe is a TOML file of those that differ."""

    folders: dict[str, float] = field(default_factory=dict)
    """Prepared data folders and their weights."""
    seed: int = 1
    """Decides new weights, the order of the data, masks and dropout."""
    branch: str | None = None
    """Folder of a run whose newest checkpoint this one begins with: weights, optimizer, place in the data. Steps and
    schedule are its own: so a run at a constant rate is cut by a few steps of decay, and goes on afterwards."""
    data: DataSettings = field(default_factory=DataSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    loop: LoopSettings = field(default_factory=LoopSettings)

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.branch == "":
            raise ConfigError("branch = '': name the folder of a run, or leave it out")

    @property
    def may_change(self) -> frozenset[str]:
        """Settings that may differ when the run goes on."""
        return MAY_CHANGE


def weighted(items: Sequence[str]) -> dict[str, float]:
    """Read folders, each as DIR or DIR=WEIGHT; raises InputError for a weight that is no number."""
    folders: dict[str, float] = {}
    for item in items:
        folder, equals, weight = item.rpartition("=")
        if not equals or Path(item).exists():
            folder, weight = item, "1"
        try:
            folders[folder] = float(weight)
        except ValueError:
            raise InputError(
                f"--data {item}: the weight {weight!r} is no number; write DIR=WEIGHT, as books=2"
            ) from None
    return folders


@contextmanager
def run_alone(out: Path, world: World) -> Iterator[None]:
    """Have a run's folder for the processes of this run; raises OutputError, in all of them, where others have it."""
    refused: OutputError | None = None
    with ExitStack() as stack:
        if world.is_first:
            try:
                refused = None if stack.enter_context(held(out)) else in_use(out)
            except OutputError as error:
                refused = error
        if world.any(refused is not None):
            raise refused or in_use(out)
        yield


def claim(out: Path, settings: TextRunSettings, *, resume: bool) -> bool:
    """Tell whether `out` holds this run already, begun with the same settings.

    Data folders may lie elsewhere by now: their content is compared later. Raises OutputError if something else is
    there, or `resume` is not set; CheckpointError if settings differ that change what is computed.
    """
    if not resume or not (out / "config.toml").exists():
        if resume and out.is_dir() and {path.name for path in out.iterdir()} - {LOCK} == {TEXT_FOLDER}:
            return False  # the run was interrupted before its first step
        runs = (
            "it holds no run to go on with: give the run's folder" if resume else "add --resume to go on with its run"
        )
        require_empty(out, f"{runs}, or choose another one")
        return False
    try:
        then = config.build(type(settings), config.read_toml(out / "config.toml"))
    except ConfigError as error:
        raise CheckpointError(f"{out} holds a run of another kind, or of another litebert ({error})") from error
    before, after = (config.flatten(asdict(s) | {"folders": list(s.folders.values())}) for s in (then, settings))
    may_change = settings.may_change | ({"loop.steps"} if settings.schedule.endless else set())
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name) and name not in may_change:
            raise CheckpointError(
                f"{out} was begun with {name} = {before.get(name)!r}, now it is {after.get(name)!r}; "
                "give the same settings (see its config.toml) or start another run"
            )
    return True


def open_folders(settings: TextRunSettings, world: World) -> list[TokenCorpus]:
    """Open the data folders, which must share their tokenizer; the first process checks their hashes.

    Raises ConfigError if there is none, or if the batch cannot be divided among the processes; DataFolderError.
    """
    if settings.data.batch_size % world.size:
        raise ConfigError(
            f"batch_size = {settings.data.batch_size} cannot be divided among {world.size} processes; give a multiple "
            f"of {world.size}, or start another number of processes"
        )
    corpora = [open_corpus(Path(folder), verify=world.is_first) for folder in settings.folders]
    if not corpora:
        raise ConfigError("no data; name a prepared folder, as in --data DIR (made by: litebert prepare)")
    for corpus in corpora[1:]:
        if corpus.fingerprint != corpora[0].fingerprint:
            raise DataFolderError(
                f"{corpus.path} and {corpora[0].path} were prepared with different tokenizers; prepare one again"
            )
    return corpora


def training_source(settings: TextRunSettings, tokenizer: Tokenizer, seed: int) -> WindowSource:
    """The training documents of all folders, in proportion to their weights."""
    folders = {Path(folder): weight for folder, weight in settings.folders.items()}
    source = WindowSource(folders, SpecialIds.of(tokenizer), settings.data, seed)
    _warn_of_short_documents(source)
    return source


def _warn_of_short_documents(source: WindowSource) -> None:
    """Say so where steps have room for more text than documents give their sequences."""
    data = source.settings
    sizes = [split.num_tokens / split.num_documents for split in source.splits]
    mean = float(np.minimum(np.array(sizes) + 3, data.pairs.length) @ source.shares)
    filled = mean * data.sequence_slots / data.token_budget
    if not data.pairs.drawn and filled < LEAST_FILLED:
        log(
            f"warning: a step is filled to {filled:.0%} at most, as documents have some {mean - 3:.0f} tokens; take a "
            f"--length of about {max(8, math.ceil(mean / 8) * 8)}"
        )


def held_out_sources(settings: TextRunSettings, tokenizer: Tokenizer) -> dict[str, WindowSource]:
    """The held-out documents of each folder that has some, by the folder's name."""
    folders = [Path(f) for f in settings.folders if open_corpus(f).split("held_out").num_documents]
    if not folders:
        log("warning: no held-out documents; prepare with --held-out 0.005 to see what the model has learnt")
    names = [folder.name for folder in folders]
    return {
        folder.name if names.count(folder.name) == 1 else str(folder): WindowSource(
            {folder: 1.0}, SpecialIds.of(tokenizer), settings.data, 0, "held_out"
        )
        for folder in folders
    }


def joined(found: Mapping[str, Metrics]) -> Metrics:
    """The mean over all folders that have a figure, and beside it what was found in each, as `mlm_loss/NAME`."""
    if len(found) == 1:
        return next(iter(found.values()))
    values: dict[str, list[float]] = {}
    for metrics in found.values():
        for key, value in metrics.items():
            values.setdefault(key, []).append(value)
    means = {key: sum(some) / len(some) for key, some in values.items()}
    return means | {f"{key}/{name}": value for name, metrics in found.items() for key, value in metrics.items()}


def require_length(model: AlbertConfig, settings: TextRunSettings) -> None:
    """Refuse sequences that are longer than a model's positions."""
    length, longest = settings.data.pairs.length, model.max_position_embeddings
    if length > longest:
        raise ConfigError(f"length = {length}: the model has positions for {longest} tokens; lower --length")


def require_tokenizer(model: AlbertConfig, folder: Path, tokenizer: Tokenizer) -> None:
    """Refuse a model whose own tokenizer is not that of the data."""
    if load_tokenizer(folder).fingerprint != tokenizer.fingerprint or model.vocab_size < tokenizer.vocab_size:
        raise DataFolderError(
            f"the data were prepared with another tokenizer than that of {folder}; "
            f"prepare them again with --tokenizer {folder}"
        )


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
