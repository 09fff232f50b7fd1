"""Settings: TOML and flags in, checked dataclasses out, and back."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litebert import config
from litebert.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Outer:
    count: int = 3
    name: str | None = None
    flag: bool = False
    weights: dict[str, float] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)


@dataclass(frozen=True, kw_only=True)
class Special(Outer):
    """Another default of a section."""

    inner: Inner = field(default_factory=lambda: Inner(rate=0.1, kind="b"))


def test_what_a_section_does_not_name_is_as_its_owner_has_it() -> None:
    """`distill --batch-size 4` changes one field of its own default, not of another command's."""
    assert config.build(Special, {"inner": {"rate": 1.0}}) == Special(inner=Inner(rate=1.0, kind="b"))
    assert config.build(Special, {}) == Special()
    base = Outer(count=1, inner=Inner(rate=2.0))
    assert config.build(Outer, {"inner": {"kind": "b"}}, base=base) == Outer(count=1, inner=Inner(rate=2.0, kind="b"))


def test_a_section_is_no_value_and_a_folder_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"inner = 3: inner is a section; write it as \[inner\]"):
        config.merge({"inner": 3}, {"inner": {"rate": 1.0}})
    with pytest.raises(ConfigError, match=r"cannot be read .* give the path of a TOML file"):
        config.read_toml(tmp_path)


def test_defaults_are_overwritten_table_by_table() -> None:
    tree = config.merge({"inner": {"rate": 1.0}, "count": 1}, {"inner": {"kind": "b"}})
    assert config.build(Outer, tree) == Outer(count=1, inner=Inner(rate=1.0, kind="b"))


def test_whole_numbers_serve_as_numbers() -> None:
    assert config.build(Inner, {"rate": 2}) == Inner(rate=2.0)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"cuont": 1}, "did you mean count"),
        ({"inner": {"rat": 1}}, "inner.rate"),
        ({"zzz": 1}, "known: count, flag"),
        ({"count": 1.5}, "count = 1.5: expected a whole number"),
        ({"count": True}, "expected a whole number"),
        ({"flag": 1}, "expected true or false"),
        ({"inner": 3}, "is a section"),
        ({"inner": {"kind": "c"}}, "not one of 'a', 'b'"),
        ({"inner": {"rate": "fast"}}, "expected a number"),
        ({"inner": {"rate": float("nan")}}, "inner.rate = nan: expected a finite number"),
        ({"inner": {"rate": float("inf")}}, "inner.rate = inf: expected a finite number"),
        ({"weights": {"a/b": "much"}}, "weights.a/b = 'much': expected a number"),
        ({"weights": {"a/b": {"c": 1}}}, "weights.a/b = .*: expected a number"),
    ],
)
def test_what_does_not_fit_is_named_with_a_way_out(tree: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config.build(Outer, tree)


def test_assignments_are_toml_values_or_words() -> None:
    tree = config.parse_assignments(["inner.rate=0.25", "name=some words", "flag=true", "weights.x=2.0"])
    expected = Outer(name="some words", flag=True, weights={"x": 2.0}, inner=Inner(rate=0.25))
    assert config.build(Outer, tree) == expected


def test_an_assignment_needs_an_equals_sign() -> None:
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        config.parse_assignments(["inner.rate"])


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.builds(
        Outer,
        count=st.integers(-(2**60), 2**60),
        name=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        flag=st.booleans(),
        weights=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), FINITE),
        inner=st.builds(Inner, rate=FINITE, kind=st.sampled_from(["a", "b"])),
    )
)
def test_what_is_dumped_is_read_back(settings: Outer) -> None:
    import tomllib

    assert config.build(Outer, tomllib.loads(config.dump(settings))) == settings


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[a\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        config.read_toml(broken)
    with pytest.raises(ConfigError, match="no such file"):
        config.read_toml(tmp_path / "absent.toml")
