"""What came of a compression, in numbers: size, arithmetic, and how close the result is to its source."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from litebert.model.config import AlbertConfig
from litebert.model.heads import AlbertWithHeads
from litebert.model.plan import plan

_LENGTH = 128


class Closeness(NamedTuple):
    """Sentence vectors of one model beside those of another."""

    sentences: int
    cosine: float
    """Mean cosine of a sentence's two vectors."""
    unrelated: float
    """Mean cosine of the source's vectors of different sentences."""
    nearest: float
    """Share of sentences whose vector has the source's vector of the same sentence as its nearest."""


def closeness(source: Tensor, other: Tensor) -> Closeness:
    """Compare normalized vectors (S, H) of the same sentences."""
    cosines = other @ source.T  # (S, S)
    number, same = len(source), source @ source.T
    return Closeness(
        sentences=number,
        cosine=float(cosines.diagonal().mean()),
        unrelated=float((same.sum() - same.diagonal().sum()) / (number * (number - 1))),
        nearest=float((cosines.argmax(1) == torch.arange(number)).double().mean()),
    )


@dataclass(frozen=True, kw_only=True)
class CompressReport:
    """The result of `compress`."""

    source: str
    model: Path
    config: AlbertConfig
    source_config: AlbertConfig
    embedding_variance: float
    """Share of the variance of the source's embedding that is kept; 1 where it could be copied."""
    start: str
    tried: dict[str, float]
    """Cosine of sentence vectors to the source's, by start; empty where only one was to be had."""
    closeness: Closeness
    """On held-out sentences."""
    without_relative: Closeness | None
    """The source without its relative positions beside itself; None where it has none."""
    carried: tuple[str, ...]
    """Heads and files taken along."""
    text: str
    """Where the sentences come from."""
    note: str = ""

    def origin(self) -> dict[str, Any]:
        """What the model's folder keeps of it."""
        return {
            "source": Path(self.source).name,
            "start": self.start,
            "embedding_variance": round(self.embedding_variance, 4),
            "closeness": {name: round(value, 4) for name, value in self.closeness._asdict().items()},
        }

    def to_dict(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        ours, theirs = _costs(self.config), _costs(self.source_config)
        return {
            "model": str(self.model),
            "source": self.source,
            "parameters": ours.parameters,
            "source_parameters": theirs.parameters,
            "megabytes": ours.megabytes,
            "source_megabytes": theirs.megabytes,
            "flops": ours.flops,
            "source_flops": theirs.flops,
            "embedding_variance": self.embedding_variance,
            "start": self.start,
            "tried": self.tried,
            "closeness": self.closeness._asdict(),
            "without_relative_positions": self.without_relative._asdict() if self.without_relative else None,
            "carried": list(self.carried),
            "text": self.text,
            "config": asdict(self.config) | {"labels": list(self.config.labels)},
        }

    def summary(self) -> str:
        """A few lines for people."""
        ours, theirs, close = _costs(self.config), _costs(self.source_config), self.closeness
        layers = f"{self.source_config.num_hidden_layers} -> {self.config.num_hidden_layers} layers"
        lines = [
            f"parameters   {theirs.parameters / 1e6:.1f}M -> {ours.parameters / 1e6:.1f}M "
            f"(embedding {self.config.embedding_size} wide, sharing {self.config.sharing}, {layers})",
            f"size         {theirs.megabytes:.1f} MB -> {ours.megabytes:.1f} MB in fp32, half of it in bf16",
            f"arithmetic   {theirs.flops / 1e6:.1f}M -> {ours.flops / 1e6:.1f}M FLOPs a token at length {_LENGTH}: "
            "sharing saves none",
            f"embedding    {100 * self.embedding_variance:.1f} % of its variance kept",
            f"start        {self.start}{self._others()}",
            f"closeness    cosine {close.cosine:.3f} to the source on {close.sentences:,} held-out sentences "
            f"(unrelated ones {close.unrelated:.3f}); the source's is the nearest for {100 * close.nearest:.1f} %",
        ]
        if self.without_relative is not None:
            bare = self.without_relative
            lines.append(
                f"positions    the source itself without its relative positions, which ALBERT lacks: cosine "
                f"{bare.cosine:.3f}, nearest {100 * bare.nearest:.1f} %"
            )
        lines.append(f"carried      {', '.join(self.carried) or 'nothing else'}")
        if self.source_config.pooling == "none":
            lines.append("new          a pooler, which the source lacks: random until a task is learnt")
        lines.append(f"text         {self.text}")
        return "\n".join([*lines, *([self.note] if self.note else []), f"model: {self.model}"])

    def _others(self) -> str:
        others = [f"{name} {cosine:.3f}" for name, cosine in self.tried.items() if name != self.start]
        return f" {self.tried[self.start]:.3f} by cosine; {', '.join(others)}" if others else ""


class _Costs(NamedTuple):
    parameters: int
    megabytes: float
    """In fp32, of 10^6 bytes."""
    flops: int
    """A token, forward through the encoder."""


def _costs(config: AlbertConfig) -> _Costs:
    with torch.device("meta"):
        parameters = sum(parameter.numel() for parameter in AlbertWithHeads(config).parameters())
    flops = plan(config, length=min(_LENGTH, config.max_position_embeddings), batch_size=1).flops
    return _Costs(parameters, parameters * 4 / 1e6, flops.linear + flops.attention)
