"""What a run folder says of its run: settings, metrics, incidents, environment, data, speed.

A run that is going on, was stopped or crashed can be read too: what is not there is left out.
"""

import json
import statistics
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litebert import config
from litebert.data.shards import INDEX_NAME
from litebert.errors import CheckpointError
from litebert.train.checkpoints import MANIFEST, WEIGHTS, saved, step_of

Line = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run folder says."""

    folder: Path
    settings: dict[str, Any]
    """Flat: dotted names and values."""
    train: list[Line]
    held_out: list[Line]
    incidents: list[Line]
    finished: bool
    """All its steps are done, and its model is there; a leg that ended by its minutes leaves a model, too."""
    environment: dict[str, Any]
    """Of the newest checkpoint that can be read."""
    parameters: int | None
    data: dict[str, dict[str, Any]]
    """Each data folder's index; empty where it is no longer there."""
    written: float | None
    """When the last metrics were written, in seconds since 1970."""
    unreadable: int = 0
    """Lines of the metrics that are no JSON."""

    @property
    def step(self) -> int:
        """The last step that the metrics tell of."""
        return max((int(line["step"]) for line in (*self.train, *self.held_out)), default=0)

    @property
    def teacher(self) -> str | None:
        """Of a run of distillation."""
        return self.settings.get("teacher") or None

    @property
    def unigram_entropy(self) -> float | None:
        """Entropy of the training text in nats; None where it is not known (several folders, or none is there)."""
        indices = list(self.data.values())
        return indices[0].get("splits", {}).get("train", {}).get("unigram_entropy") if len(indices) == 1 else None


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """How fast the logged steps were; the first, which compiles, is left out where there are others."""

    tokens_per_second: float
    """The median."""
    seconds: float
    """The median of a step."""
    slow: float
    """Nineteen of twenty steps took at most that many seconds."""
    data_share: float
    """Share of the time in which a step waited for its batch."""


def read_run(folder: Path) -> RunRecord:
    """Read what there is of a run. Raises CheckpointError where the folder is none of a run."""
    if not (folder / "config.toml").is_file():
        raise CheckpointError(
            f"{folder} is no run folder, it has no config.toml; name the --out of pretrain or distill"
        )
    settings = config.flatten(config.read_toml(folder / "config.toml"))
    lines, unreadable = _read_lines(folder / "metrics.jsonl")
    kept = saved(folder / "checkpoints")
    manifests = [manifest for path in kept if (manifest := _read_json(path / MANIFEST))]
    reached = max([*map(step_of, kept), *(int(line["step"]) for line in lines)], default=0)
    metrics = folder / "metrics.jsonl"
    folders = [name.removeprefix("folders.") for name in settings if name.startswith("folders.")]
    return RunRecord(
        folder=folder,
        settings=settings,
        train=[line for line in lines if line.get("kind") == "train"],
        held_out=[line for line in lines if line.get("kind") == "held_out"],
        incidents=[line for line in lines if line.get("kind") == "incident"],
        finished=(folder / "model" / "config.json").is_file() and reached >= settings.get("loop.steps", 0),
        environment=manifests[-1].get("environment", {}) if manifests else {},
        parameters=_count_parameters(folder),
        data={name: _read_index(name, folder) for name in folders},
        written=metrics.stat().st_mtime if metrics.is_file() else None,
        unreadable=unreadable,
    )


def throughput(train: list[Line]) -> Throughput | None:
    """Return how fast the steps were; None where no line says."""
    timed = [line for line in train if {"seconds", "data_seconds", "tokens_per_second"} <= line.keys()]
    timed = but_the_first(timed)
    if not timed:
        return None
    seconds = sorted(float(line["seconds"]) for line in timed)
    return Throughput(
        tokens_per_second=statistics.median(float(line["tokens_per_second"]) for line in timed),
        seconds=statistics.median(seconds),
        slow=seconds[int(0.95 * (len(seconds) - 1))],
        data_share=sum(float(line["data_seconds"]) for line in timed) / max(sum(seconds), 1e-9),
    )


def but_the_first(lines: list[Line]) -> list[Line]:
    """Leave the step out that waits for the compiler, where there are others."""
    return lines[1:] or lines


def is_number(value: object) -> bool:
    """Tell whether a value of the metrics is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read_lines(path: Path) -> tuple[list[Line], int]:
    """Return the records of a file of JSON lines that have a step, in the order of their steps; count the others."""
    if not path.is_file():
        return [], 0
    lines: list[Line] = []
    bad = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            if isinstance(line, dict) and is_number(line.get("step")):
                lines.append(line)
            else:
                bad += 1
    return sorted(lines, key=lambda line: float(line["step"])), bad


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _read_index(name: str, run: Path) -> dict[str, Any]:
    """Return the index of a data folder; a relative name is looked for here, then beside the run."""
    places = [Path(name), run.resolve().parent / name]
    return next((index for place in places if (index := _read_json(place / INDEX_NAME))), {})


def _count_parameters(run: Path) -> int | None:
    """Return how many numbers the newest weights hold, read from their file's head alone."""
    paths = [run / "model" / "model.safetensors"]
    paths += [path / WEIGHTS for path in reversed(saved(run / "checkpoints"))]
    for path in paths:
        try:
            with path.open("rb") as file:
                (size,) = struct.unpack("<Q", file.read(8))
                head = json.loads(file.read(size))
        except (OSError, ValueError, struct.error):
            continue
        total = 0
        for name, tensor in head.items():
            if name != "__metadata__":
                count = 1
                for length in tensor["shape"]:
                    count *= length
                total += count
        return total
    return None
