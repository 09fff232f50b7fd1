"""What a benchmark is told: how many seeds, which sets, and how each of them is learnt."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from litebert.config import build
from litebert.errors import ConfigError
from litebert.exam.material import Caps
from litebert.exam.sets import ExamSet, check_names
from litebert.train.job import FinetuneSettings

OWN = ("seed", "seeds", "from_scratch")
"""Settings of fine-tuning that the benchmark gives itself."""
CAPS = {"train_rows": "train", "dev_rows": "dev", "test_rows": "test"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one set is learnt and judged."""

    caps: Caps
    finetune: FinetuneSettings
    """But for the seed, and whether it starts from random weights."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values: what results that are put side by side must have in common."""
        values = {name: value for name, value in asdict(self.finetune).items() if name not in OWN}
        return values | {name: getattr(self.caps, part) for name, part in CAPS.items()}


@dataclass(frozen=True, kw_only=True)
class BenchmarkSettings:
    """A recipe of recipes/, or the defaults: all rows, and what `finetune` does by itself."""

    seeds: int = 5
    """Fine-tune the model that many times on every set."""
    seed: int = 1
    """The first of the seeds."""
    only: tuple[str, ...] = ()
    """Those of the benchmark's sets that are wanted; empty: all."""
    twin: tuple[str, ...] = ()
    """Sets on which the model's random twin, of the same shape, is fine-tuned too, with the first seed."""
    baseline: bool = True
    """Whether what needs no neural network is put beside it, where that makes sense."""
    finetune: dict[str, Any] = field(default_factory=dict)
    """Settings of fine-tuning for all sets."""
    sets: dict[str, Any] = field(default_factory=dict)
    """A table a set: its settings of fine-tuning, and `train_rows`, `dev_rows`, `test_rows`, which are fixed draws."""

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ConfigError(f"seeds = {self.seeds}: expected 1 or more")
        if self.seed < 0:
            raise ConfigError(f"seed = {self.seed}: expected 0 or more")
        for setting, names in (("only", self.only), ("twin", self.twin), ("sets", tuple(self.sets))):
            check_names(names, setting)
        _learning(self.finetune, "finetune.")  # so that a mistake in it is said of it, and not of a set

    def plan(self, one: ExamSet) -> Plan:
        """What this comes to for a set; raises ConfigError for what is no setting, or not a good one."""
        own = self.sets.get(one.name, {})
        if not isinstance(own, Mapping):
            raise ConfigError(f"sets.{one.name} = {own!r}: expected a table, such as [sets.{one.name}] with epochs = 3")
        values = {"metric": one.select or one.metrics[0], **self.finetune, **own}
        for name in OWN:
            if name in values:
                raise ConfigError(f"{name} is the benchmark's own to give on {one.title}; set `{name}` at its top")
        return _learning(values, f"sets.{one.name}.")


def _learning(values: Mapping[str, Any], prefix: str) -> Plan:
    values = dict(values)
    caps = {part: _rows(values.pop(name, None), prefix + name) for name, part in CAPS.items()}
    return Plan(caps=Caps(**caps), finetune=build(FinetuneSettings, values, prefix))


def _rows(value: object, name: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ConfigError(f"{name} = {value!r}: expected a number of rows, 1 or more")
