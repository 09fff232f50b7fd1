"""Which layers share which weights, as data: a function from a plan's name to each layer's block index."""

from typing import NamedTuple

from litebert.errors import ConfigError

PLANS = "all, attention, ffn, none, groups=K, cycle=K or deltas=R"


class SharingPlan(NamedTuple):
    """The blocks of a stack of layers; a layer applies one attention block and one feed-forward block."""

    attention: tuple[int, ...]
    """For every layer, in order of application, the index of its attention block."""
    ffn: tuple[int, ...]
    """The same for its feed-forward block."""
    delta_rank: int = 0
    """Rank of the additive differences that each layer has to the shared weights; 0: none."""

    @property
    def num_attention_blocks(self) -> int:
        """Attention blocks that are stored."""
        return max(self.attention) + 1

    @property
    def num_ffn_blocks(self) -> int:
        """Feed-forward blocks that are stored."""
        return max(self.ffn) + 1


def parse_sharing(sharing: str) -> tuple[str, int]:
    """Split a plan's name into its kind and its number (0 for a kind without one); raises ConfigError."""
    kind, equals, number = str(sharing).partition("=")
    if kind in ("all", "attention", "ffn", "none") and not equals:
        return kind, 0
    if kind in ("groups", "cycle", "deltas") and number.isascii() and number.isdigit() and int(number) > 0:
        return kind, int(number)
    raise ConfigError(f"sharing {sharing!r} is no sharing plan: use {PLANS}, with numbers above 0")


def sharing_plan(sharing: str, num_hidden_layers: int, inner_group_num: int = 1) -> SharingPlan:
    """Resolve a plan: the block of each of `num_hidden_layers * inner_group_num` applications, in order.

    As in the original code a hidden layer applies a group, and a group is `inner_group_num` blocks in a row.
    The number of groups must divide the layers: the original's formula, Hugging Face's and integer division
    place the borders differently otherwise. `cycle=K` goes round: layer l takes group l mod K.
    """
    kind, number = parse_sharing(sharing)
    layers = range(num_hidden_layers)
    shared, own = [0 for _ in layers], list(layers)
    if kind == "groups" and num_hidden_layers % number:
        raise ConfigError(
            f"sharing 'groups={number}' does not divide {num_hidden_layers} layers: take a divisor of their number"
        )
    if kind == "cycle" and number > num_hidden_layers:
        raise ConfigError(f"sharing 'cycle={number}' is longer than the {num_hidden_layers} layers: take at most that")
    attention, ffn = {
        "all": (shared, shared),
        "attention": (shared, own),
        "ffn": (own, shared),
        "none": (own, own),
        "groups": ([layer * number // num_hidden_layers for layer in layers],) * 2,
        "cycle": ([layer % max(number, 1) for layer in layers],) * 2,
        "deltas": (shared, shared),
    }[kind]
    return SharingPlan(
        attention=_inner(attention, inner_group_num),
        ffn=_inner(ffn, inner_group_num),
        delta_rank=number if kind == "deltas" else 0,
    )


def _inner(groups: list[int], inner_group_num: int) -> tuple[int, ...]:
    return tuple(group * inner_group_num + inner for group in groups for inner in range(inner_group_num))
