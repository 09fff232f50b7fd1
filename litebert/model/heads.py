"""Heads and the one table of them: a new one is a module here and a line in TASKS.

Dimensions: M chosen tokens, S sequences, H hidden, E embedding, V vocabulary, C labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litebert.errors import ConfigError
from litebert.model.config import AlbertConfig
from litebert.model.encoder import Albert, activation
from litebert.model.linear import linear
from litebert.model.packed import Packed
from litebert.model.pooling import pool


class MaskedLMHead(nn.Module):
    """Scores of all pieces for the given tokens, through the embedding table: (M, H) -> (M, V)."""

    def __init__(self, config: AlbertConfig, word: nn.Embedding) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)
        self.norm = nn.LayerNorm(config.embedding_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.activation = activation(config.hidden_act)
        # In a tuple, so that the table is not registered twice: it has one name and is stored once.
        self._tied = (word,)

    def forward(self, hidden: Tensor) -> Tensor:
        """(M, H) -> (M, V) logits."""
        x = self.norm(self.activation(linear(self.dense, hidden)))  # (M, E)
        return F.linear(x, self._tied[0].weight, self.bias)  # (M, V)


class SentenceOrderHead(nn.Module):
    """Are the two segments in their order? (S, H) pooled -> (S, 2); label 0 = original order, 1 = swapped."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.classifier = nn.Linear(config.hidden_size, 2)

    def forward(self, pooled: Tensor) -> Tensor:
        """(S, H) -> (S, 2) logits. As in the original there is no dropout here."""
        return self.classifier(pooled)  # type: ignore[no-any-return]


class SequenceClassificationHead(nn.Module):
    """Labels of whole sequences: (S, H) pooled -> (S, C)."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, pooled: Tensor) -> Tensor:
        """(S, H) -> (S, C) logits."""
        return self.classifier(self.dropout(pooled))  # type: ignore[no-any-return]


class TokenClassificationHead(nn.Module):
    """Labels of tokens: (T, H) -> (T, C)."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, hidden: Tensor) -> Tensor:
        """(T, H) -> (T, C) logits."""
        return self.classifier(self.dropout(hidden))  # type: ignore[no-any-return]


class SpanHead(nn.Module):
    """Where an answer begins and ends: (T, H) -> (T, 2), softmaxes over the tokens of a sequence apart."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.outputs = nn.Linear(config.hidden_size, 2)

    def forward(self, hidden: Tensor) -> Tensor:
        """(T, H) -> (T, 2) logits of the first and the last token. As in the original there is no dropout here."""
        return self.outputs(hidden)  # type: ignore[no-any-return]


class ChoiceHead(nn.Module):
    """How well one of several choices fits: (S, H) pooled -> (S, 1), a softmax over the choices of a row."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.classifier_dropout_prob)
        self.classifier = nn.Linear(config.hidden_size, 1)

    def forward(self, pooled: Tensor) -> Tensor:
        """(S, H) -> (S, 1) logits."""
        return self.classifier(self.dropout(pooled))  # type: ignore[no-any-return]


class EmbeddingHead(nn.Module):
    """The vector of a whole sequence, not yet normalized: (T, H) -> (S, H). It has no parameters."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.pooling = config.sentence_pooling

    def forward(self, hidden: Tensor, packed: Packed) -> Tensor:
        """(T, H) -> (S, H), in fp32."""
        with torch.autocast(hidden.device.type, enabled=False):
            return pool(hidden.float(), packed, self.pooling)


class TaskSpec(NamedTuple):
    """What a head needs, and what it is called elsewhere."""

    hugging_face: str
    """Class in transformers that has this head."""
    build: Callable[[AlbertConfig, Albert], nn.Module]
    """Make the head for an encoder."""
    reads: str
    """`tokens`: vectors of chosen tokens (M, H); `pooled`: the pooler's vectors (S, H); `sequences`: those of all
    tokens, and the batch that says whose they are."""


TASKS: dict[str, TaskSpec] = {
    "masked_lm": TaskSpec("AlbertForMaskedLM", lambda c, a: MaskedLMHead(c, a.embedding.word), "tokens"),
    "sentence_order": TaskSpec("AlbertForPreTraining", lambda c, _: SentenceOrderHead(c), "pooled"),
    "classify": TaskSpec("AlbertForSequenceClassification", lambda c, _: SequenceClassificationHead(c), "pooled"),
    "ner": TaskSpec("AlbertForTokenClassification", lambda c, _: TokenClassificationHead(c), "tokens"),
    "qa": TaskSpec("AlbertForQuestionAnswering", lambda c, _: SpanHead(c), "tokens"),
    "choice": TaskSpec("AlbertForMultipleChoice", lambda c, _: ChoiceHead(c), "pooled"),
    "embed": TaskSpec("AlbertModel", lambda c, _: EmbeddingHead(c), "sequences"),
}
"""`classify` is the head of single labels, sets of labels and numbers alike, as in transformers."""


class AlbertWithHeads(nn.Module):
    """An encoder and its heads by name: `model.heads["masked_lm"](model.encode(packed)[positions])`."""

    def __init__(self, config: AlbertConfig, heads: Sequence[str] = ()) -> None:
        super().__init__()
        for name in heads:
            if name not in TASKS:
                raise ConfigError(f"head {name!r} is unknown: use one of {', '.join(TASKS)}")
        self.config = config
        self.albert = Albert(config)
        self.heads = nn.ModuleDict({name: TASKS[name].build(config, self.albert) for name in heads})

    def encode(self, packed: Packed, *, attention: str = "auto", only: Tensor | None = None) -> Tensor:
        """Encode a packed batch -> (T, H), or (R, H) where `only` (R,) names the tokens that are wanted."""
        return self.albert(packed, attention=attention, only=only)  # type: ignore[no-any-return]

    def logits(self, head: str, packed: Packed) -> Tensor:
        """What a head says of a packed batch: (S, C) of its sequences, or (T, C) of its tokens."""
        if TASKS[head].reads == "pooled":
            return self.heads[head](self.albert.encode_pooled(packed))  # type: ignore[no-any-return]
        hidden = self.encode(packed)  # (T, H)
        if TASKS[head].reads == "sequences":
            return self.heads[head](hidden, packed)  # type: ignore[no-any-return]
        return self.heads[head](hidden)  # type: ignore[no-any-return]

    def pooled(self, hidden: Tensor, packed: Packed) -> Tensor:
        """The pooler's vector of every sequence: (T, H) -> (S, H)."""
        return self.albert.pooled(hidden, packed)


def with_pooler(config: AlbertConfig, heads: Sequence[str]) -> AlbertConfig:
    """The config of a model with these heads: where there was no pooler, a head that reads one makes it `first`."""
    needed = any(name in TASKS and TASKS[name].reads == "pooled" for name in heads)
    return replace(config, pooling="first") if needed and config.pooling == "none" else config


def build_model(
    config: AlbertConfig,
    heads: Sequence[str] = ("masked_lm", "sentence_order"),
    *,
    generator: torch.Generator | None = None,
) -> AlbertWithHeads:
    """Make a model with fresh weights, drawn from `generator` (torch's own when None)."""
    config = with_pooler(config, heads)
    # Made without memory first: torch's own start values would be thrown away, and draw from global state.
    with torch.device("meta"):
        model = AlbertWithHeads(config, heads)
    model.to_empty(device="cpu")
    initialize(model, config, generator)
    return model


def initialize(module: nn.Module, config: AlbertConfig, generator: torch.Generator | None = None) -> None:
    """Give every parameter of a module its start value.

    Matrices and tables: normal of deviation `initializer_range`, cut at two deviations, as in the original;
    biases 0, norms 1. In a pre-norm stack the maps that write into the residual stream start smaller by
    1 / sqrt(2 x layers) (GPT-2's rule), so that the stream does not grow with depth. Deltas start at zero.
    """
    layers = len(config.sharing_plan.attention)
    for name, parameter in module.named_parameters():
        owner = name.rpartition(".")[0]
        if parameter.ndim == 1:
            nn.init.constant_(parameter, 1.0 if owner.endswith("norm") and name.endswith("weight") else 0.0)
            continue
        if owner.endswith(".up"):
            nn.init.zeros_(parameter)
            continue
        std = config.initializer_range
        if config.block == "pre_norm" and owner.rpartition(".")[2] in ("dense", "output") and "encoder" in owner:
            std /= (2 * layers) ** 0.5
        nn.init.trunc_normal_(parameter, 0.0, std, -2 * std, 2 * std, generator=generator)
