"""Speed of pre-training beside transformers' AlbertForPreTraining of the same size, in turn, in one run.

A folder of another architecture of BERT's family is trained on masked words alone, beside transformers' class of it.

Both compute in bf16, are compiled, and take whole steps: forward, backward, clipping, AdamW. Once on sequences that
are all of full length, once on real text with the paper's share of short sequences; there the peer reads the same
sequences padded to full length, which the longest of a batch nearly always has. Only tokens of text are counted.
A shape that transformers cannot express (pre-norm, rotary) is compared with its own block of the same sizes.
"""

import inspect
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from litebert.bench.race import Contestant, matrix_ceiling, race
from litebert.console import progress
from litebert.data.batches import (
    BatchStream,
    DataSettings,
    PretrainBatch,
    SpecialIds,
    WindowSource,
    concatenate,
    select,
)
from litebert.data.pairs import NO_LABEL, PairSettings
from litebert.data.shards import TOKENIZER_FOLDER, open_corpus
from litebert.errors import ConfigError
from litebert.interop.configs import read_json, to_hugging_face
from litebert.interop.family import FAMILIES
from litebert.interop.huggingface import CONFIG, read_config
from litebert.model.config import AlbertConfig, preset
from litebert.model.device import autocast, choose_device
from litebert.model.heads import build_model
from litebert.model.plan import plan
from litebert.text.tokenizer import load_tokenizer
from litebert.train.objective import PretrainObjective
from litebert.train.optimizers import OptimizerSettings, build_optimizer

FIRST_ID = 5
"""Ids below are special ones in synthetic text."""

PEER_BATCHES = 40
"""Batches of real text the peer goes round in."""

Arrays = dict[str, NDArray[np.int64]]
"""A padded batch, named as transformers names its arguments."""


class Text(NamedTuple):
    """One kind of text, for both sides."""

    name: str
    packed: Iterator[PretrainBatch]
    padded: Iterator[Arrays]


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What one system reached on one kind of text."""

    system: str
    text: str
    """`full length` or `real text`."""
    tokens_per_second: float
    flops_per_second: float
    """Useful arithmetic: that of litebert's way of computing it, whoever computes."""
    ceiling_share: float
    """Of what this machine reaches in matrix products alone."""
    ratio: float
    """litebert's speed as a multiple of this one's."""


@dataclass(frozen=True, kw_only=True)
class PretrainBench:
    """The result of a race."""

    model: str
    """Name of the preset, or the folder."""
    length: int
    batch_size: int
    device: str
    threads: int
    ceiling: float
    """FLOP/s of matrix products in bf16."""
    speeds: list[Speed]
    data_share: float
    """Share of litebert's time on real text that went into making batches; 0 without real text."""
    fill: float
    """Share of the peer's padded batches that is text, on real text; 0 without."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values."""
        return asdict(self)

    def summary(self) -> str:
        """Return the table, a line for each system and kind of text."""
        lines = [
            f"{self.model}, length {self.length}, batch {self.batch_size}, {self.device}, {self.threads} threads; "
            f"matrix products alone: {self.ceiling / 1e9:,.0f} GFLOP/s in bf16",
            f"{'text':12} {'system':24} {'tokens/s':>10} {'GFLOP/s':>9} {'of ceiling':>10} {'litebert is':>12}",
        ]
        for s in self.speeds:
            ratio = "" if s.system == "litebert" else f"{s.ratio:.2f} x"
            lines.append(
                f"{s.text:12} {s.system:24} {s.tokens_per_second:10,.0f} {s.flops_per_second / 1e9:9,.0f} "
                f"{s.ceiling_share:10.0%} {ratio:>12}"
            )
        if self.fill:
            lines.append(
                f"on real text {self.data_share:.2%} of litebert's time is spent on making batches; "
                f"{self.fill:.0%} of the peer's padded batches is text"
            )
        return "\n".join(lines)


def bench_pretrain(
    *,
    model: str | Path,
    length: int,
    batch_size: int,
    data: Path | None,
    rounds: int,
    steps: int,
    device: str,
    eager: bool,
) -> PretrainBench:
    """Race litebert against transformers.

    Args:
        model: name of a preset, or the folder of a model whose shape is raced; its weights do not matter.
        length: tokens of a full sequence.
        batch_size: sequences of full length a step.
        data: prepared folder of real text; None: synthetic text alone.
        rounds: turns everyone gets on each kind of text.
        steps: steps a turn.
        device: cpu, cuda or auto.
        eager: race the peer without compilation too.

    Raises ConfigError if transformers is not installed, and for values that cannot be; ModelFolderError for a folder
    that holds no model.
    """
    if rounds < 1 or steps < 1:
        raise ConfigError(f"rounds = {rounds}, steps = {steps}: expected 1 or more")
    where = choose_device(device)
    config = preset(model) if isinstance(model, str) else read_config(model)
    words_alone = isinstance(model, Path) and read_json(model / CONFIG).get("model_type") in FAMILIES
    pairs = PairSettings(length=length, objective="none" if words_alone else "sentence_order")
    settings = DataSettings(batch_size=batch_size, pairs=pairs)
    if data is not None:
        size = open_corpus(data).vocab_size
        if isinstance(model, Path) and size != config.vocab_size:
            raise ConfigError(
                f"{data} was prepared with a vocabulary of {size:,} pieces, {model} has {config.vocab_size:,}; prepare "
                f"it again with --tokenizer {model}"
            )
        config = replace(config, vocab_size=size)
    flops = plan(config, length=length, batch_size=batch_size).flops.train
    ceiling = matrix_ceiling(_products(config, settings), torch.bfloat16, where)
    speeds: list[Speed] = []
    data_share = fill = 0.0
    texts = [synthetic_text(config, settings)]
    if data is not None:
        text, fill = real_text(data, settings)
        texts.append(text)
    for text in texts:
        ours = Ours(config, settings, text.packed, where)
        peer = _their_masked_lm(model) if isinstance(model, Path) and words_alone else _their_albert(config)
        contestants = [Contestant(name="litebert", step=ours.step), *_peers(peer, text.padded, where, eager=eager)]
        with progress(f"bench: {text.name}", len(contestants) * (rounds + 1), "turns") as advance:
            found = race(contestants, rounds=rounds, steps=steps, device=where, advance=advance)
        data_share = ours.waited / ours.seconds
        speeds += [
            Speed(
                system=system,
                text=text.name,
                tokens_per_second=speed,
                flops_per_second=speed * flops,
                ceiling_share=speed * flops / ceiling,
                ratio=found["litebert"] / speed,
            )
            for system, speed in found.items()
        ]
    return PretrainBench(
        model=str(model),
        length=length,
        batch_size=batch_size,
        device=torch.cuda.get_device_name(where) if where.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        ceiling=ceiling,
        speeds=speeds,
        data_share=data_share if data is not None else 0.0,
        fill=fill,
    )


class Ours:
    """Whole steps of litebert's pre-training."""

    def __init__(
        self, config: AlbertConfig, settings: DataSettings, batches: Iterator[PretrainBatch], device: torch.device
    ) -> None:
        heads = ("masked_lm",) if settings.pairs.objective == "none" else ("masked_lm", "sentence_order")
        self.model = build_model(config, heads, generator=torch.Generator().manual_seed(0)).to(device).train()
        self.objective = PretrainObjective(self.model, settings, lambda: autocast("bf16", device), compiled=True)
        self.optimizer = build_optimizer(self.model, OptimizerSettings(name="adamw", learning_rate=1e-4))
        self.batches = batches
        self.waited = self.seconds = 0.0
        """Seconds spent on making batches, and altogether."""

    def step(self) -> int:
        """Take a step; returns its tokens."""
        start = time.perf_counter()
        batch = next(self.batches)
        self.waited += time.perf_counter() - start
        self.objective.backward(batch)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.seconds += time.perf_counter() - start
        return batch.num_tokens


Peer = Callable[[], nn.Module]
"""Makes a model of transformers with fresh weights."""


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise ConfigError(
            "transformers is not installed, which litebert is compared with; install it by: pip install litebert[peers]"
        ) from None
    return transformers


def _their_albert(config: AlbertConfig) -> Peer:
    shape = to_hugging_face(replace(config, block="post_norm", position="absolute", pooling="first"), ())
    theirs = _transformers()
    return lambda: theirs.AlbertForPreTraining(theirs.AlbertConfig(**shape))


def _their_masked_lm(folder: Path) -> Peer:
    theirs = _transformers()
    config = theirs.AutoConfig.from_pretrained(folder)
    return lambda: theirs.AutoModelForMaskedLM.from_config(config)


def _peers(peer: Peer, batches: Iterator[Arrays], device: torch.device, *, eager: bool) -> list[Contestant]:
    """A model of transformers, compiled and perhaps eager, each with weights of its own."""

    def contestant(name: str, *, compiled: bool) -> Contestant:
        torch.manual_seed(0)
        model = peer().train().to(device)
        known = inspect.signature(model.forward).parameters
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        forward = torch.compile(model) if compiled else model

        def step() -> int:
            batch = next(batches)
            arguments = {k: torch.from_numpy(values).to(device) for k, values in batch.items() if k in known}
            with torch.autocast(device.type, torch.bfloat16):
                loss = forward(**arguments).loss
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            return int(batch["attention_mask"].sum())

        return Contestant(name=name, step=step)

    kinds = {"transformers, compiled": True} | ({"transformers, eager": False} if eager else {})
    return [contestant(name, compiled=compiled) for name, compiled in kinds.items()]


def synthetic_text(config: AlbertConfig, settings: DataSettings) -> Text:
    """Random ids in sequences that are all of full length, always the same."""
    rng = np.random.default_rng(0)
    rows, length = settings.batch_size, settings.pairs.length
    tokens = rows * length
    masked = np.sort(rng.permutation(tokens)[: round(settings.masking.share * tokens)])
    ids = rng.integers(FIRST_ID, config.vocab_size, tokens)
    batch = PretrainBatch(
        input_ids=ids,
        position_ids=np.tile(np.arange(length), rows),
        token_type_ids=np.tile(np.arange(length) * 2 // length, rows),
        cu_seqlens=np.arange(0, tokens + 1, length, dtype=np.int32),
        masked_positions=masked,
        masked_labels=ids[masked],
        order_labels=rng.integers(0, 2, rows),
    )
    return Text("full length", itertools.repeat(batch), itertools.repeat(padded(batch, length)))


def real_text(folder: Path, settings: DataSettings) -> tuple[Text, float]:
    """The stream of pre-training, and its sequences in padded rows; also the share of the rows that is text."""
    tokenizer = load_tokenizer(folder / TOKENIZER_FOLDER)
    source = WindowSource({folder: 1.0}, SpecialIds.of(tokenizer), settings, 1)
    rows = [padded(batch, settings.pairs.length) for batch in _in_rows(source, settings.batch_size, PEER_BATCHES)]
    fill = float(np.mean([batch["attention_mask"].mean() for batch in rows]))
    return Text("real text", iter(BatchStream(source)), itertools.cycle(rows)), fill


def _in_rows(source: WindowSource, rows: int, count: int) -> list[PretrainBatch]:
    """The first sequences of the stream, in batches of `rows` sequences."""
    everything = concatenate(list(itertools.islice(BatchStream(source), count + count // 2)))
    order = np.arange(rows * count)
    return [select(everything, part) for part in np.split(order, count)]


def padded(batch: PretrainBatch, length: int) -> Arrays:
    """Lay the sequences of a batch out in rows (S, length), as transformers reads them."""
    sizes = np.diff(batch.cu_seqlens)
    mask = (np.arange(length) < sizes[:, None]).astype(np.int64)  # (S, length)

    def rows(values: NDArray[np.int64], fill: int) -> NDArray[np.int64]:
        out = np.full(mask.shape, fill, dtype=np.int64)
        out[mask == 1] = values
        return out

    labels = np.full(batch.num_tokens, NO_LABEL, dtype=np.int64)
    labels[batch.masked_positions] = batch.masked_labels
    return {
        "input_ids": rows(batch.input_ids, 0),
        "attention_mask": mask,
        "token_type_ids": rows(batch.token_type_ids, 0),
        "labels": rows(labels, NO_LABEL),
        "sentence_order_label": batch.order_labels,
    }


def _products(config: AlbertConfig, settings: DataSettings) -> list[tuple[int, int, int]]:
    """Rows, inner size and columns of a block's matrix products."""
    tokens, hidden, inner = settings.token_budget, config.hidden_size, config.intermediate_size
    shapes = ((hidden, 3 * hidden), (hidden, hidden), (hidden, inner), (inner, hidden))
    return [(tokens, rows, columns) for rows, columns in shapes]
