"""What a model costs before it is trained: parameters, arithmetic, memory. Sharing saves only the first."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from litebert.errors import ConfigError
from litebert.model.config import AlbertConfig
from litebert.model.heads import AlbertWithHeads

PAPER_PARAMETERS = {"base": 12e6, "large": 18e6, "xlarge": 60e6, "xxlarge": 235e6}
"""Lan et al. 2020, table 1."""

_BYTES = {"fp32": 4, "bf16": 2}
_STATE_BYTES = 8
"""Of the optimizer a parameter: LAMB and AdamW keep two fp32 moments."""


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
class Memory:
    """Bytes to train with. Activations are an estimate: kernels and the allocator differ."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of it at once, at the end of the forward pass."""
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The costs of one model at one batch shape."""

    length: int
    batch_size: int
    precision: str
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
        p, f, m = self.parameters, self.flops, self.memory
        paper = f" (the paper says {PAPER_PARAMETERS[name] / 1e6:.0f}M)" if name in PAPER_PARAMETERS else ""
        again = ", checkpointing activations" if self.activation_checkpointing else ""
        return "\n".join(
            (
                f"{name}: {p.total / 1e6:.2f}M parameters{paper}",
                f"  embedding {p.embedding / 1e6:.2f}M, encoder {p.encoder / 1e6:.2f}M, heads {p.heads / 1e6:.2f}M",
                f"FLOPs a token at length {self.length}: {f.forward / 1e6:.1f}M forward, {f.train / 1e6:.1f}M to train",
                f"  forward: linear maps {f.linear / 1e6:.1f}M, attention {f.attention / 1e6:.1f}M, "
                f"heads {f.heads / 1e6:.1f}M",
                f"memory to train, {self.batch_size} x {self.length} tokens, {self.precision}{again}: {_size(m.total)}",
                f"  weights {_size(m.weights)}, gradients {_size(m.gradients)}, optimizer {_size(m.optimizer)}, "
                f"activations about {_size(m.activations)}",
            )
        )


def plan(
    config: AlbertConfig,
    *,
    length: int,
    batch_size: int,
    activation_checkpointing: bool = False,
    masked_share: float = 0.15,
    precision: str = "bf16",
) -> Plan:
    """Compute what pre-training costs on batches of `batch_size` sequences of `length` tokens.

    masked_share: tokens that the language-model head sees. precision: fp32, or bf16 (autocast: weights,
    gradients and moments stay fp32). Raises ConfigError for values that cannot be.
    """
    if precision not in _BYTES:
        raise ConfigError(f"precision {precision!r} is unknown: use {' or '.join(_BYTES)}")
    if batch_size < 1:
        raise ConfigError(f"batch size {batch_size} is no number of sequences: give one above 0")
    if not 0 < length <= config.max_position_embeddings:
        raise ConfigError(f"length {length} is not from 1 to the model's {config.max_position_embeddings} positions")
    parameters = _parameters(config)
    total = parameters.total
    return Plan(
        length=length,
        batch_size=batch_size,
        precision=precision,
        activation_checkpointing=activation_checkpointing,
        parameters=parameters,
        flops=_flops(config, length, masked_share, activation_checkpointing),
        memory=Memory(
            weights=4 * total,
            gradients=4 * total,
            optimizer=_STATE_BYTES * total,
            activations=_activations(
                config, length, batch_size, masked_share, _BYTES[precision], activation_checkpointing
            ),
        ),
    )


def _parameters(config: AlbertConfig) -> Parameters:
    with torch.device("meta"):
        model = AlbertWithHeads(config, ("masked_lm", "sentence_order"))
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


def _activations(
    config: AlbertConfig, length: int, batch_size: int, masked_share: float, width: int, again: bool
) -> int:
    """Estimate the bytes that the forward pass keeps for the backward pass.

    A layer keeps, a token: the block's input, query, key and value in two layouts, the attention's result, two
    sums before and two results of the norms (H each), the feed-forward block's inside before and after the
    activation (F each), the probabilities (N x L) in fp32 and, where that is another, in the precision of the
    products; dropouts keep their masks.
    """
    hidden, inner, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads
    probabilities = heads * length * (4 + (width < 4) * width + (config.attention_probs_dropout_prob > 0) * width)
    masks = 2 * hidden * (config.hidden_dropout_prob > 0)
    layer = width * (12 * hidden + 2 * inner) + probabilities + masks
    layers = len(config.sharing_plan.attention)
    kept = (layers * width * hidden + layer) if again else layers * layer
    embedding = (4 + width) * config.embedding_size
    logits = masked_share * config.vocab_size * (4 + width)
    return round(batch_size * length * (kept + embedding + logits))


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
