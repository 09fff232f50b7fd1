"""Settings: defaults < TOML file < command line. Unknown keys are errors; the resolved settings go beside the run.

A settings object is a frozen dataclass whose fields are either values or further dataclasses (its sections). This
module turns nested dictionaries into such objects and back, and knows nothing about what they mean.
"""

import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from litebert.errors import ConfigError

T = TypeVar("T")
Tree = dict[str, Any]


def read_toml(path: Path) -> Tree:
    """Return the tables of a TOML file as nested dictionaries."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a TOML file with settings") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML ({error}); correct that line") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); give the path of a TOML file") from None


def parse_assignments(assignments: typing.Iterable[str]) -> Tree:
    """Turn `section.key=value` strings into nested dictionaries; values are TOML values or plain strings."""
    tree: Tree = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--set {text!r}: expected section.key=value, as in --set optimizer.name=lamb")
        merge(tree, nest(name.strip(), _parse_value(value.strip())))
    return tree


def merge(into: Tree, other: Mapping[str, Any]) -> Tree:
    """Overwrite the values of `into` by those of `other`, table by table; returns `into`."""
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        elif isinstance(value, Mapping) and into.get(key) is not None:
            raise ConfigError(f"{key} = {into[key]!r}: {key} is a section; write it as [{key}] with settings below")
        else:
            into[key] = merge({}, value) if isinstance(value, Mapping) else value
    return into


def build(cls: type[T], tree: Mapping[str, Any], where: str = "", base: T | None = None) -> T:
    """Make a settings object from nested dictionaries, checking names and types of all values.

    What is not named is as in `base`; without one, and in sections, as the defaults have it.
    """
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls} is no settings class")
    hints, defaults = typing.get_type_hints(cls), {field.name: field for field in dataclasses.fields(cls)}
    values: Tree = {}
    for key, value in tree.items():
        name = f"{where}{key}"
        if key not in hints:
            close = difflib.get_close_matches(key, hints, n=1)
            hint = f"did you mean {where}{close[0]}?" if close else f"known: {', '.join(sorted(hints))}"
            raise ConfigError(f"unknown setting {name!r}; {hint}")
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{name} is a section, got the value {value!r}; write {name}.key = value")
            section = _default(defaults[key]) if base is None else getattr(base, key)
            values[key] = build(typing.cast(type[Any], hints[key]), value, f"{name}.", section)
        else:
            values[key] = _convert(hints[key], value, name)
    return cls(**values) if base is None else dataclasses.replace(typing.cast(Any, base), **values)


def _default(field: "dataclasses.Field[Any]") -> Any:
    """What a field is unless said otherwise; None where it must be said."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


def dump(settings: Any) -> str:
    """Write a settings object (or nested dictionaries) as TOML; fields that are None are left out."""
    is_object = dataclasses.is_dataclass(settings) and not isinstance(settings, type)
    return "\n".join(_toml_lines(dataclasses.asdict(settings) if is_object else settings, [])) + "\n"


def _convert(hint: Any, value: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, name)
    if origin is typing.Literal:
        if value not in arguments:
            raise ConfigError(f"{name} = {value!r} is not one of {', '.join(map(repr, arguments))}")
        return value
    if origin in (tuple, list):
        items = value if isinstance(value, list | tuple) else [value]
        return origin(_convert(arguments[0], item, name) for item in items)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} = {value!r}: expected a table")
        return {key: _convert(arguments[1], item, f"{name}.{key}") for key, item in value.items()}
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Any:
        return value
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} = {value}: expected a finite number")
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ConfigError(f"{name} = {value!r}: expected {_type_name(hint)}, got {_type_name(type(value))}")
    return value


def _type_name(hint: type) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", Path: "a path"}
    return names.get(hint, hint.__name__)


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def nest(name: str, value: Any) -> Tree:
    """Turn the dotted name of a setting and its value into nested dictionaries."""
    section, _, rest = name.partition(".")
    return {section: nest(rest, value) if rest else value}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Tree:
    """Turn nested dictionaries into one of dotted names, the other way round from `nest`."""
    flat: Tree = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _toml_lines(tree: Mapping[str, Any], path: list[str]) -> list[str]:
    plain = {k: v for k, v in tree.items() if not isinstance(v, Mapping) and v is not None}
    lines = [f"[{'.'.join(path)}]"] if path and (plain or not tree) else []
    lines += [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in plain.items()]
    for key, value in tree.items():
        if isinstance(value, Mapping):
            lines += ([""] if lines else []) + _toml_lines(value, [*path, _toml_key(key)])
    return lines


def _toml_key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    # A TOML basic string is a JSON string, but for DEL, which JSON leaves as it is.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
