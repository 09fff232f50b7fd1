"""The encoder, from ids to one vector per token: embedding, blocks, pooler. One device, no input or output.

Dimensions: T tokens of a packed batch, S its sequences, B rows and L length of a padded one, V vocabulary,
E embedding, H hidden, F inside the feed-forward block, N heads, D head size, R rank of a layer's deltas.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from litebert.errors import ConfigError
from litebert.model.attention import (
    RELATIVE_BUCKETS,
    Angles,
    Layout,
    attend,
    dense_layout,
    packed_layout,
    relative_bias,
    rotary_angles,
)
from litebert.model.config import AlbertConfig
from litebert.model.linear import linear
from litebert.model.packed import Packed
from litebert.model.pooling import first_tokens, pool
from litebert.model.tables import look_up

GELU_SCALE = 2 * math.sqrt(2 / math.pi)


@dataclass
class Trace:
    """What a forward pass records beside its result, where asked: attribution and distillation read it."""

    hidden_states: list[Tensor] = field(default_factory=list)
    """The projected embedding and the output of each layer, (T, H) each."""
    attentions: list[Tensor] | None = None
    """None: not recorded. Else the probabilities of each layer, (S, N, L, L) each."""
    qkv: list[Tensor] | None = None
    """None: not recorded. Else queries, keys and values of each layer side by side, (T, 3H) each."""


def gelu_tanh(x: Tensor) -> Tensor:
    """The tanh form of gelu, which the original code calls gelu and Hugging Face gelu_new."""
    if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        # The same function, as (1 + tanh u) / 2 is sigmoid(2 u); compiled, its exp costs half of what tanh does.
        y = x.float()
        return (y * torch.sigmoid(GELU_SCALE * (y + 0.044715 * y * y * y))).to(x.dtype)
    return F.gelu(x, approximate="tanh")


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """Return the activation function of a config's `hidden_act`."""
    table: dict[str, Callable[[Tensor], Tensor]] = {
        "gelu_new": gelu_tanh,
        "gelu": F.gelu,
        "relu": F.relu,
        "silu": F.silu,
        "tanh": torch.tanh,
    }
    return table[name]


class Embedding(nn.Module):
    """Word, position and segment vectors at width E, those that there are, added, normed, dropped out."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.word = nn.Embedding(config.vocab_size, config.embedding_size)
        self.position_offset, self.segments = config.position_offset, config.type_vocab_size
        rows = config.max_position_embeddings + config.position_offset
        self.position = nn.Embedding(rows, config.embedding_size) if config.position != "rotary" else None
        self.segment = nn.Embedding(self.segments, config.embedding_size) if self.segments else None
        self.norm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.embedding_dropout_prob)

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        token_type_ids: Tensor,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """(T,) ids, positions and segments -> (T, E). `inputs_embeds` (T, E) replaces the word vectors."""
        x = look_up(self.word.weight, input_ids) if inputs_embeds is None else inputs_embeds  # (T, E)
        if self.segment is not None:
            # With one segment the second text of a pair is of the first, too.
            x = x + (look_up(self.segment.weight, token_type_ids) if self.segments > 1 else self.segment.weight[0])
        if self.position is not None:
            offset = self.position_offset
            x = x + look_up(self.position.weight, position_ids + offset if offset else position_ids)
        return self.dropout(self.norm(x))  # type: ignore[no-any-return]


class Delta(nn.Module):
    """One layer's own low-rank addition to a shared linear map: (T, in) -> (T, out), zero at the start."""

    def __init__(self, in_features: int, out_features: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(in_features, rank, bias=False)
        self.up = nn.Linear(rank, out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the product of the two small matrices."""
        return self.up(self.down(x))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """The attention half of a block, residual and norm included: (T, H) -> (T, H)."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.probs_dropout = config.attention_probs_dropout_prob
        self.pre_norm = config.block == "pre_norm"
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        hidden: Tensor,
        layout: Layout,
        angles: Angles | None,
        delta: nn.ModuleDict | None = None,
        trace: Trace | None = None,
        only: Tensor | None = None,
    ) -> Tensor:
        """Attend within sequences; `trace` collects what it asks for. Of the tokens `only` (R,) there is a result, if
        given: (R, H)."""
        x = self.norm(hidden) if self.pre_norm else hidden  # (T, H)
        qkv = _linear(self.qkv, x, delta, "qkv")  # (T, 3H)
        out, probabilities = attend(qkv, layout, self.heads, angles, self.probs_dropout if self.training else 0.0)
        if trace is not None and trace.qkv is not None:
            trace.qkv.append(qkv)
        if trace is not None and trace.attentions is not None:
            if probabilities is None:
                raise ConfigError(
                    f"attention {layout.kernel!r} in {len(layout.bands)} bands keeps no probabilities: use 'padded' "
                    "in one band to see them"
                )
            trace.attentions.append(probabilities)
        if only is not None:
            out, hidden = out[only], hidden[only]  # (R, H)
        out = self.dropout(_linear(self.dense, out, delta, "dense"))
        return hidden + out if self.pre_norm else self.norm(hidden + out)  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """The feed-forward half of a block, residual and norm included: (T, H) -> (T, H)."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.pre_norm = config.block == "pre_norm"
        self.inner = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.activation = activation(config.hidden_act)

    def forward(self, hidden: Tensor, delta: nn.ModuleDict | None = None) -> Tensor:
        """Widen, activate, narrow."""
        x = self.norm(hidden) if self.pre_norm else hidden  # (T, H)
        inner = self.activation(_linear(self.inner, x, delta, "inner"))  # (T, F)
        out = self.dropout(_linear(self.output, inner, delta, "output"))  # (T, H)
        return hidden + out if self.pre_norm else self.norm(hidden + out)  # type: ignore[no-any-return]


def _linear(shared: nn.Linear, x: Tensor, delta: nn.ModuleDict | None, name: str) -> Tensor:
    out = linear(shared, x)
    return out if delta is None else out + delta[name](x)


class Encoder(nn.Module):
    """The projection from E to H and the layers. A block is stored once; `plan` says which layers use it."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.plan = config.sharing_plan
        self.head_size = config.head_size
        self.rotary = config.position == "rotary"
        self.activation_checkpointing = False
        """Recompute layers in the backward pass instead of keeping their activations."""
        self.checkpointed_layer: Callable[..., Tensor] = _layer
        """What is recomputed; `compile_layers` puts a compiled one here."""
        self.projection = nn.Linear(config.embedding_size, config.hidden_size) if config.embedding_projection else None
        relative = config.position == "relative"
        self.relative = nn.Embedding(RELATIVE_BUCKETS, config.num_attention_heads) if relative else None
        self.attention = nn.ModuleList(Attention(config) for _ in range(self.plan.num_attention_blocks))
        self.ffn = nn.ModuleList(FeedForward(config) for _ in range(self.plan.num_ffn_blocks))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps) if config.block == "pre_norm" else None
        self.deltas = nn.ModuleList(_deltas(config) for _ in self.plan.attention) if self.plan.delta_rank else None

    def forward(
        self,
        embedded: Tensor,
        position_ids: Tensor,
        layout: Layout,
        trace: Trace | None = None,
        only: Tensor | None = None,
    ) -> Tensor:
        """(T, E) -> (T, H) through all layers; of the tokens `only` (R,), if given: (R, H).

        The last layer then computes for these alone what is not attention: three quarters of its products.
        """
        hidden = embedded if self.projection is None else linear(self.projection, embedded)  # (T, H)
        if self.norm is not None:
            # Nothing renews a pre-norm stack's residual stream, so that it must not lose digits under autocast.
            hidden = hidden.to(self.norm.weight.dtype)
        if self.relative is not None:
            layout = layout._replace(bias=relative_bias(self.relative.weight, layout))
        angles = rotary_angles(position_ids, self.head_size, layout) if self.rotary else None
        for index in range(len(self.plan.attention)):
            chosen = only if index == len(self.plan.attention) - 1 else None
            if trace is not None:
                trace.hidden_states.append(hidden)
            if self.activation_checkpointing and trace is None and torch.is_grad_enabled():
                hidden = self._again(index, hidden, layout, angles, chosen)
            else:
                hidden = self.layer(index, hidden, layout, angles, trace, chosen)
        if self.norm is not None:
            hidden = self.norm(hidden)
        if trace is not None:
            trace.hidden_states.append(hidden)
        return hidden

    def compile_layers(self) -> None:
        """Compile what activation checkpointing computes again, once for all layers of a shape.

        One graph of all layers would keep each layer's gradient of the block they share until it has all of them.
        """
        self.checkpointed_layer = torch.compile(_layer, dynamic=False)

    def layer(
        self,
        index: int,
        hidden: Tensor,
        layout: Layout,
        angles: Angles | None,
        trace: Trace | None = None,
        only: Tensor | None = None,
    ) -> Tensor:
        """Apply one layer, (T, H) -> (T, H), or (R, H) for the tokens `only`.

        `norm` has yet to follow the last layer of a pre-norm stack.
        """
        return _layer(*self._parts(index), hidden, layout, angles, trace, only)

    def _again(self, index: int, hidden: Tensor, layout: Layout, angles: Angles | None, only: Tensor | None) -> Tensor:
        """Apply a layer whose activations are computed again in the backward pass."""
        later = only if self.checkpointed_layer is not _layer else None  # so that one layer is compiled, not two
        inside = only if later is None else None
        arguments = (*self._parts(index), hidden, layout, angles, None, inside)
        out = cast("Tensor", checkpoint(self.checkpointed_layer, *arguments, use_reentrant=False))
        return out if later is None else out[later]

    def _parts(self, index: int) -> tuple[nn.Module, nn.Module, nn.ModuleDict | None]:
        """Return a layer's attention, feed-forward and deltas."""
        attention, ffn = self.attention[self.plan.attention[index]], self.ffn[self.plan.ffn[index]]
        delta = None if self.deltas is None else cast("nn.ModuleDict", self.deltas[index])
        return attention, ffn, delta


def _layer(
    attention: nn.Module,
    ffn: nn.Module,
    delta: nn.ModuleDict | None,
    hidden: Tensor,
    layout: Layout,
    angles: Angles | None,
    trace: Trace | None = None,
    only: Tensor | None = None,
) -> Tensor:
    return ffn(attention(hidden, layout, angles, delta, trace, only), delta)  # type: ignore[no-any-return]


def _deltas(config: AlbertConfig) -> nn.ModuleDict:
    hidden, inner, rank = config.hidden_size, config.intermediate_size, config.sharing_plan.delta_rank
    shapes = {
        "qkv": (hidden, 3 * hidden),
        "dense": (hidden, hidden),
        "inner": (hidden, inner),
        "output": (inner, hidden),
    }
    return nn.ModuleDict({name: Delta(*shape, rank) for name, shape in shapes.items()})


class Albert(nn.Module):
    """Embedding, encoder and pooler."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(config)
        self.encoder = Encoder(config)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size) if config.pooling != "none" else None
        self.pooler_activation = activation(config.pooler_activation)

    def forward(
        self,
        packed: Packed,
        *,
        inputs_embeds: Tensor | None = None,
        attention: str = "auto",
        trace: Trace | None = None,
        only: Tensor | None = None,
    ) -> Tensor:
        """Encode a packed batch -> (T, H), or (R, H) where `only` (R,) names the tokens that are wanted.

        `inputs_embeds` (T, E) replaces the word vectors; `attention` names the kernel (see attention.py);
        `trace` collects hidden states and probabilities. Unused slots come out finite and mean nothing.
        """
        if attention == "auto" and trace is not None and trace.attentions is not None:
            attention = "padded"  # which has probabilities to show
        tokens = packed.input_ids.shape[0]
        layout = packed_layout(packed.cu_seqlens, tokens, packed.max_length, attention, packed.bands)
        embedded = self.embedding(packed.input_ids, packed.position_ids, packed.token_type_ids, inputs_embeds)
        return self.encoder(embedded, packed.position_ids, layout, trace, only)  # type: ignore[no-any-return]

    def dense(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        position_ids: Tensor,
        *,
        inputs_embeds: Tensor | None = None,
        trace: Trace | None = None,
    ) -> Tensor:
        """Encode a padded batch as it lies, ids and masks (B, L) -> (B, L, H): no gathers, for exports.

        `inputs_embeds` is (B, L, E). What comes out at padding means nothing.
        """
        rows, length = input_ids.shape
        flat = None if inputs_embeds is None else inputs_embeds.flatten(0, 1)  # (B * L, E)
        positions = position_ids.flatten()  # (B * L,)
        embedded = self.embedding(input_ids.flatten(), positions, token_type_ids.flatten(), flat)  # (B * L, E)
        hidden = self.encoder(embedded, positions, dense_layout(attention_mask), trace)  # (B * L, H)
        return hidden.view(rows, length, -1)  # type: ignore[no-any-return]

    def encode_pooled(self, packed: Packed, *, attention: str = "auto") -> Tensor:
        """Encode a packed batch into the pooler's vector of every sequence -> (S, H), and nothing that it does not
        read.

        Raises ConfigError where the model has no pooler.
        """
        if self.config.pooling != "first":
            return self.pooled(self(packed, attention=attention), packed)
        return self.through_pooler(self(packed, attention=attention, only=first_tokens(packed)))

    def pooled(self, hidden: Tensor, packed: Packed) -> Tensor:
        """The first token, or the mean, of every sequence through the pooler: (T, H) -> (S, H).

        Raises ConfigError where the model has no pooler.
        """
        return self.through_pooler(pool(hidden, packed, self.config.pooling))

    def through_pooler(self, vectors: Tensor) -> Tensor:
        """What the pooler makes of one vector a sequence, (S, H) -> (S, H); raises ConfigError where there is none."""
        if self.pooler is None:
            raise ConfigError("pooling 'none': this model has no pooler; set pooling to 'first' for a new one")
        return self.pooler_activation(self.pooler(vectors))  # (S, H)
