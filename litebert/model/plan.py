"""What a model costs before it is trained: parameters, arithmetic, memory. Sharing saves only the first."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from litebert.errors import ConfigError
from litebert.model.config import AlbertConfig
from litebert.model.heads import AlbertWithHeads
from litebert.model.memory import PRECISIONS, BatchShape, Memory, size, training_memory

PAPER_PARAMETERS = {"base": 12e6, "large": 18e6, "xlarge": 60e6, "xxlarge": 235e6}
"""Lan et al. 2020, table 1."""


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """Unique parameters."""

    embedding: int
    encoder: int
    """Projection, blocks and pooler."""
    heads: int
    """Masked language model and sentence order; the decoder's matrix is the embedding's."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.embedding + self.encoder + self.heads


@dataclass(frozen=True, kw_only=True)
class Flops:
    """Floating-point operations a token; a multiplication and an addition count as two."""

    linear: int
    """Forward through the encoder's linear maps: what sharing does not make smaller."""
    attention: int
    """Forward through attention at full length."""
    heads: int
    """Forward through the pre-training heads, at the masked tokens alone."""
    train: int
    """Forward and backward, and the second forward of activation checkpointing."""

    @property
    def forward(self) -> int:
        """Encoder and heads, forward."""
        return self.linear + self.attention + self.heads


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The costs of one model at one batch shape."""

    length: int
    batch_size: int
    precision: str
    optimizer: str
    compiled: bool
    activation_checkpointing: bool
    parameters: Parameters
    flops: Flops
    memory: Memory

    def to_dict(self) -> dict[str, Any]:
        """All numbers, totals included, for JSON."""
        values = asdict(self)
        values["parameters"]["total"] = self.parameters.total
        values["flops"]["forward"] = self.flops.forward
        values["memory"]["total"] = self.memory.total
        return values

    def summary(self, name: str = "model") -> str:
        """A few lines for people; `name` is the preset's, for the paper's number beside ours."""
        p, f = self.parameters, self.flops
        paper = f" (the paper says {PAPER_PARAMETERS[name] / 1e6:.0f}M)" if name in PAPER_PARAMETERS else ""
        return "\n".join(
            (
                f"{name}: {p.total / 1e6:.2f}M parameters{paper}",
                f"  embedding {p.embedding / 1e6:.2f}M, encoder {p.encoder / 1e6:.2f}M, heads {p.heads / 1e6:.2f}M",
                f"FLOPs a token at length {self.length}: {f.forward / 1e6:.1f}M forward, {f.train / 1e6:.1f}M to train",
                f"  forward: linear maps {f.linear / 1e6:.1f}M, attention {f.attention / 1e6:.1f}M, "
                f"heads {f.heads / 1e6:.1f}M",
                self._memory(),
            )
        )

    def _memory(self) -> str:
        m = self.memory
        how = f"{self.precision}, {self.optimizer}, {'compiled' if self.compiled else 'not compiled'}"
        how += ", checkpointing activations" if self.activation_checkpointing else ""
        parts = (
            f"weights {size(m.weights)}, copies in bf16 {size(m.copies)}, moments {size(m.optimizer)}, "
            f"gradients {size(m.gradients)}, activations {size(m.activations)}, allocator {size(m.allocator)}, "
            f"process {size(m.process)}"
        )
        shape = f"{self.batch_size} x {self.length} tokens"
        return f"peak memory to train on a CPU, {shape}, {how}: {size(m.total)}\n  at its peak ({m.moment}): {parts}"


def plan(
    config: AlbertConfig,
    *,
    length: int,
    batch_size: int,
    micro_batches: int = 1,
    activation_checkpointing: bool = False,
    masked_share: float = 0.15,
    precision: str = "bf16",
    optimizer: str = "adamw",
    compiled: bool = True,
) -> Plan:
    """Compute what pre-training costs on batches of `batch_size` sequences of `length` tokens.

    masked_share: tokens that the language-model head sees. precision: fp32, or bf16 (autocast: weights,
    gradients and moments stay fp32). Raises ConfigError for values that cannot be.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"precision {precision!r} is unknown: use {' or '.join(PRECISIONS)}")
    if batch_size < 1:
        raise ConfigError(f"batch size {batch_size} is no number of sequences: give one above 0")
    if not 0 < length <= config.max_position_embeddings:
        raise ConfigError(f"length {length} is not from 1 to the model's {config.max_position_embeddings} positions")
    if not 1 <= micro_batches <= batch_size:
        raise ConfigError(f"micro_batches {micro_batches}: give a number from 1 to the batch size, {batch_size}")
    with torch.device("meta"):
        model = AlbertWithHeads(config, ("masked_lm", "sentence_order"))
    return Plan(
        length=length,
        batch_size=batch_size,
        precision=precision,
        optimizer=optimizer,
        compiled=compiled,
        activation_checkpointing=activation_checkpointing,
        parameters=_parameters(model),
        flops=_flops(config, length, masked_share, activation_checkpointing),
        memory=training_memory(
            model,
            BatchShape.of(length, batch_size, micro_batches, masked_share),
            precision=precision,
            optimizer=optimizer,
            compiled=compiled,
            activation_checkpointing=activation_checkpointing,
        ),
    )


def _parameters(model: AlbertWithHeads) -> Parameters:
    embedding, albert, everything = (
        sum(parameter.numel() for parameter in module.parameters())
        for module in (model.albert.embedding, model.albert, model)
    )
    return Parameters(embedding=embedding, encoder=albert - embedding, heads=everything - albert)


def _flops(config: AlbertConfig, length: int, masked_share: float, again: bool) -> Flops:
    hidden, inner, embedding = config.hidden_size, config.intermediate_size, config.embedding_size
    plan = config.sharing_plan
    layer = 2 * (4 * hidden * hidden + 2 * hidden * inner) + 2 * plan.delta_rank * (8 * hidden + 2 * inner)
    layers = len(plan.attention)
    linear = layers * layer + 2 * embedding * hidden * config.embedding_projection
    attention = layers * 4 * length * hidden
    language_model = masked_share * 2 * (hidden * embedding + embedding * config.vocab_size)
    sentence_order = 2 * (hidden * hidden + 2 * hidden) / length
    heads = round(language_model + sentence_order)
    train = 3 * (linear + attention + heads) + (layers * layer + attention if again else 0)
    return Flops(linear=linear, attention=attention, heads=heads, train=train)
