"""Every recipe is one: its settings exist and have values that can be."""

from pathlib import Path
from typing import Any

import pytest

from litebert import config
from litebert.train.distill import DistillSettings
from litebert.train.pretrain import PretrainSettings

RECIPES = Path(__file__).parents[1] / "recipes"
PRETRAIN = ["mini.toml", "scratch/mini.toml", "scratch/base.toml", "ablations/base.toml"]
DISTILL = [
    *(f"small/leg-{leg}.toml" for leg in range(1, 9)),
    "teaching/base.toml",
    "frontier/base.toml",
    "scratch/taught.toml",
]
TRIALS = ["trials", "second", "third", "fourth", "mpnet", "pairs"]


@pytest.mark.parametrize("name", PRETRAIN)
def test_of_pretraining(name: str) -> None:
    config.build(PretrainSettings, config.read_toml(RECIPES / name))


@pytest.mark.parametrize("name", DISTILL)
def test_of_teaching(name: str) -> None:
    config.build(DistillSettings, config.read_toml(RECIPES / name))


def built(cls: type, base: str, assignments: list[str]) -> Any:
    tree = config.merge(config.read_toml(RECIPES / base), config.parse_assignments(assignments))
    return config.build(cls, tree)


def test_rows_of_the_ablations() -> None:
    rows = [
        row
        for factor in config.read_toml(RECIPES / "ablations/factors.toml").values()
        for row in factor["rows"].values()
    ]
    assert len(rows) > 15
    for row in rows:
        built(PretrainSettings, "ablations/base.toml", row)


@pytest.mark.parametrize("name", TRIALS)
def test_rows_of_the_trials_of_teaching(name: str) -> None:
    rows = config.read_toml(RECIPES / "teaching" / f"{name}.toml")
    assert len(rows) >= 2
    assert len({str(built(DistillSettings, "teaching/base.toml", row)) for row in rows.values()}) == len(rows)


def test_rows_of_the_frontier() -> None:
    for row in config.read_toml(RECIPES / "frontier/models.toml").values():
        built(DistillSettings, "frontier/base.toml", row.get("set", []))


def test_none_is_forgotten() -> None:
    exams = ("benchmark", "results", "card", "paper", "peers", "scratch/card")  # see tests/exam
    known = {*PRETRAIN, *DISTILL, *(f"{name}.toml" for name in exams), *(f"teaching/{name}.toml" for name in TRIALS)}
    known |= {"ablations/factors.toml", "frontier/models.toml"}
    assert {str(path.relative_to(RECIPES)) for path in RECIPES.rglob("*.toml")} == known
