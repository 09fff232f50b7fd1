"""The shape of a model: one frozen record with Hugging Face's field names, and the presets as differences."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from litebert.errors import ConfigError
from litebert.model.sharing import SharingPlan, parse_sharing, sharing_plan

ACTIVATIONS = ("gelu_new", "gelu", "relu", "silu", "tanh")
MOST_LAYERS = 1000
"""More are a mistake, and would take minutes to be told."""

BLOCKS = ("post_norm", "pre_norm")
POSITIONS = ("absolute", "rotary", "relative")
POOLINGS = ("first", "mean", "none")
SENTENCE_POOLINGS = ("mean", "first", "max")
PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


@dataclass(frozen=True, kw_only=True)
class AlbertConfig:
    """Everything that decides a model's tensors and arithmetic. The defaults are ALBERT base, version 2.

    Raises ConfigError when the values cannot make a model. `num_hidden_groups` is not a field but read from
    `sharing`, so that there is one truth; `from_dict` and `preset` take it as another spelling of `groups=K`.
    """

    vocab_size: int = 30000
    """Pieces of the vocabulary, V."""
    embedding_size: int = 128
    """Width of the factorized embedding, E."""
    hidden_size: int = 768
    """Width of the encoder, H."""
    num_hidden_layers: int = 12
    """Layers that a token passes through (applications of a group, shared or not)."""
    inner_group_num: int = 1
    """Blocks that one layer applies in a row, as in the original."""
    num_attention_heads: int = 12
    """Attention heads, N; must divide H."""
    intermediate_size: int = 3072
    """Width inside the feed-forward block, F."""
    hidden_act: str = "gelu_new"
    """Activation: gelu_new (tanh form: what the original calls gelu), gelu (erf), relu, silu or tanh."""
    hidden_dropout_prob: float = 0.0
    """Dropout after the attention's output projection and after the feed-forward block's."""
    attention_probs_dropout_prob: float = 0.0
    """Dropout on the attention probabilities."""
    embedding_dropout_prob: float = 0.0
    """Dropout after the embedding's layer norm (the original uses hidden_dropout_prob there)."""
    classifier_dropout_prob: float = 0.1
    """Dropout on the pooled vector before a task's classifier."""
    max_position_embeddings: int = 512
    """The longest sequence; the position table, where there is one, has `position_offset` rows more."""
    type_vocab_size: int = 2
    """Segments; with 1 every token is of the first, with 0 there are none."""
    initializer_range: float = 0.02
    """Standard deviation of the truncated normal that weights start from."""
    layer_norm_eps: float = 1e-12
    """Epsilon of every layer norm."""
    pad_token_id: int = 0
    """Id of the padding piece."""
    bos_token_id: int = 2
    """Id of the piece a sequence begins with, [CLS]."""
    eos_token_id: int = 3
    """Id of the piece a segment ends with, [SEP]."""
    labels: tuple[str, ...] = ("LABEL_0", "LABEL_1")
    """A task's label names by index (Hugging Face's id2label)."""
    problem_type: str | None = None
    """A task's kind of target, in Hugging Face's words; None: no task yet."""
    sharing: str = "all"
    """Weight sharing: all, attention, ffn, none, groups=K, cycle=K or deltas=R."""
    pooling: str = "first"
    """What the pooler reads: `first`, the vector of [CLS] (ALBERT and BERT), or `mean`, that of all tokens (a model
    that was trained little has not learnt to gather a text in one token); `none`: there is no pooler."""
    pooler_activation: str = "tanh"
    """What follows the pooler's linear map: tanh (ALBERT and BERT), or any other of the activations."""
    sentence_pooling: str = "mean"
    """What stands for a text in a model of sentence embeddings: `mean` of its tokens, `first`, the vector of [CLS], or
    `max`, the largest of each number."""
    sentence_normalized: bool = True
    """Sentence embeddings have length 1."""
    block: str = "post_norm"
    """post_norm (ALBERT, BERT) or pre_norm (litebert's own: a norm before each part, one more at the end)."""
    position: str = "absolute"
    """absolute (a learned table), rotary (queries and keys turned by their position, no table) or relative (MPNet:
    the table, and on the scores of all layers a learned bias by the distance of two tokens)."""
    position_offset: int = 0
    """Row of the position table at which a sequence begins (RoBERTa and MPNet leave those of padding free)."""
    embedding_projection: bool = True
    """A linear map leads from E to H; without it (BERT) E must be H."""

    def __post_init__(self) -> None:
        """Check every value; nothing is changed here."""
        _check_sizes(self)
        _check_choices(self)
        self.sharing_plan  # noqa: B018  raises where the plan does not fit the layers

    @property
    def head_size(self) -> int:
        """Width of one attention head, D."""
        return self.hidden_size // self.num_attention_heads

    @property
    def num_labels(self) -> int:
        """Number of a task's labels."""
        return len(self.labels)

    @property
    def sharing_plan(self) -> SharingPlan:
        """The block index of every layer."""
        return sharing_plan(self.sharing, self.num_hidden_layers, self.inner_group_num)

    @property
    def num_hidden_groups(self) -> int | None:
        """The plan as the original's and Hugging Face's number of groups; None where it is no such plan."""
        kind, number = parse_sharing(self.sharing)
        return {"all": 1, "none": self.num_hidden_layers, "groups": number}.get(kind)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values, for JSON and TOML; None is left out (TOML has none)."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        return values | {"labels": list(self.labels)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> AlbertConfig:
        """Read what `to_dict` wrote; absent fields take their defaults, unknown ones raise ConfigError."""
        values = _groups_as_sharing(values)
        names = [field.name for field in fields(cls)]
        for key in values:
            if key not in names:
                raise ConfigError(f"{key!r} is no field of the model: use one of {', '.join(names)}")
        return cls(**values | ({"labels": tuple(values["labels"])} if "labels" in values else {}))


def _groups_as_sharing(values: dict[str, Any]) -> dict[str, Any]:
    """Replace `num_hidden_groups`, the older spelling, by the sharing plan it means."""
    if "num_hidden_groups" not in values:
        return values
    groups, layers = values["num_hidden_groups"], values.get("num_hidden_layers", AlbertConfig.num_hidden_layers)
    plan = "all" if groups == 1 else "none" if groups == layers else f"groups={groups}"
    if values.get("sharing", plan) not in (plan, f"groups={groups}"):
        raise ConfigError(
            f"num_hidden_groups {groups} contradicts sharing {values['sharing']!r}: give only one of them"
        )
    return {name: value for name, value in values.items() if name != "num_hidden_groups"} | {"sharing": plan}


def _check_sizes(config: AlbertConfig) -> None:
    sizes = (
        "vocab_size embedding_size hidden_size num_hidden_layers inner_group_num num_attention_heads "
        "intermediate_size max_position_embeddings"
    )
    for name in (*sizes.split(), "type_vocab_size", "position_offset"):
        value, least = getattr(config, name), 1 if name in sizes else 0
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            rule = "above 0" if least else "from 0"
            raise ConfigError(f"{name} {value!r} is no size: give a whole number {rule}")
    if not config.embedding_projection and config.embedding_size != config.hidden_size:
        raise ConfigError(
            f"embedding_size {config.embedding_size} is not hidden_size {config.hidden_size}: without an "
            "embedding_projection the two must be equal"
        )
    if config.hidden_size % config.num_attention_heads:
        raise ConfigError(
            f"hidden_size {config.hidden_size} is no multiple of num_attention_heads "
            f"{config.num_attention_heads}: every head has the same width, so change one of them"
        )
    if config.num_hidden_layers > MOST_LAYERS:
        raise ConfigError(f"num_hidden_layers {config.num_hidden_layers}: expected {MOST_LAYERS} at most")
    if config.sharing_plan.delta_rank > config.hidden_size:
        raise ConfigError(
            f"sharing {config.sharing!r}: a rank above hidden_size {config.hidden_size} is none; give a lower one, "
            "such as deltas=16"
        )
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        value = getattr(config, name)
        if not isinstance(value, int) or not 0 <= value < config.vocab_size:
            raise ConfigError(
                f"{name} {value!r} is no id of the vocabulary: give one from 0 to {config.vocab_size - 1}"
            )


def _check_choices(config: AlbertConfig) -> None:
    choices = {"hidden_act": ACTIVATIONS, "block": BLOCKS, "position": POSITIONS, "pooling": POOLINGS}
    choices |= {"pooler_activation": ACTIVATIONS, "sentence_pooling": SENTENCE_POOLINGS}
    for name, allowed in choices.items():
        value = getattr(config, name)
        if value not in allowed:
            raise ConfigError(f"{name} {value!r} is unknown: use one of {', '.join(allowed)}")
    if config.problem_type is not None and config.problem_type not in PROBLEM_TYPES:
        raise ConfigError(f"problem_type {config.problem_type!r} is unknown: use one of {', '.join(PROBLEM_TYPES)}")
    for part in ("hidden", "attention_probs", "embedding", "classifier"):
        value = getattr(config, f"{part}_dropout_prob")
        if not _is_number(value) or not 0.0 <= value <= 1.0:
            raise ConfigError(f"{part}_dropout_prob {value!r} is no probability: give a number from 0 to 1")
    for name in ("initializer_range", "layer_norm_eps"):
        value = getattr(config, name)
        if not _is_number(value) or not 0.0 < value < float("inf"):
            raise ConfigError(f"{name} {value!r} is no size of numbers: give a small one above 0")
    if config.position == "rotary" and config.head_size % 2:
        raise ConfigError(
            f"position 'rotary' turns pairs of numbers, but a head is {config.head_size} wide: "
            "choose hidden_size and num_attention_heads so that it is even"
        )
    if not config.labels or not all(isinstance(label, str) for label in config.labels):
        raise ConfigError(f"labels {config.labels!r} name no classes: give at least one, each as text")
    if len(set(config.labels)) < len(config.labels):
        twice = next(label for label in config.labels if config.labels.count(label) > 1)
        raise ConfigError(f"labels: {twice!r} names two classes; give each a name of its own (id2label in config.json)")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


PRESETS: dict[str, dict[str, Any]] = {
    # The CPU sizes. `tiny` is for tests and demonstrations, `mini` for an hour of pre-training on two cores.
    "tiny": {
        "vocab_size": 4000, "embedding_size": 64, "hidden_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 2, "intermediate_size": 512, "block": "pre_norm", "position": "rotary",
        "pooling": "mean",
    },
    "mini": {
        "vocab_size": 8192, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
        "intermediate_size": 1024, "block": "pre_norm", "position": "rotary", "pooling": "mean",
    },
    "small": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    # The paper's shapes (Lan et al. 2020, table 1), one head per 64 of width, without dropout as in version 2.
    # The released xlarge has 16 heads instead of 32; a converted model keeps what its own config says.
    "base": {},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    "xlarge": {"hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 32, "intermediate_size": 8192},
    "xxlarge": {"hidden_size": 4096, "num_attention_heads": 64, "intermediate_size": 16384},
}  # fmt: skip
"""Each preset as its differences from the defaults of AlbertConfig."""


def preset(name: str, **overrides: Any) -> AlbertConfig:
    """Return a preset's config, some fields replaced; raises ConfigError for an unknown name or field."""
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r} is unknown: use one of {', '.join(PRESETS)}")
    return AlbertConfig.from_dict(PRESETS[name] | overrides)
