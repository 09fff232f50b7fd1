"""What commands share: the form of their answers, and how flags, files and defaults become settings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter, Token

from litebert.errors import ConfigError

T = TypeVar("T")

Many = Parameter(consume_multiple=True, negative=())
Set = Annotated[
    list[str] | None,
    Parameter(name="--set", negative=(), help="Any other setting, as section.key=value; may be given several times."),
]
Switch = Annotated[bool, Parameter(negative=())]


def _whole(kind: Any, tokens: Sequence[Token]) -> int:
    """Read a whole number; cyclopts by itself would round 2.5."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ConfigError(f"{tokens[0].keyword} {tokens[0].value}: expected a whole number") from None


Whole = Annotated[int, Parameter(converter=_whole)]
MaybeWhole = Annotated[int | None, Parameter(converter=_whole)]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command found out."""

    data: dict[str, Any]
    """Printed as one JSON object under `--json`."""
    text: Callable[[], None] | str = ""
    """Printed otherwise: a text, or a function that prints tables."""


def resolve(cls: type[T], path: Path | None, flags: dict[str, Any], assignments: list[str] | None) -> T:
    """Defaults < TOML < command line."""
    from litebert import config

    tree = config.read_toml(path) if path else {}
    for name, value in flags.items():
        if value is not None:
            config.merge(tree, config.nest(name, value))
    return config.build(cls, config.merge(tree, config.parse_assignments(assignments or [])))
