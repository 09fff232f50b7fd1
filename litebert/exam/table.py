"""All results of a folder as one table: for the terminal, as Markdown, and as plain values."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from litebert.config import build, read_toml
from litebert.console import log
from litebert.evaluate.calibration import Bin, error_of_bins
from litebert.evaluate.metrics import mean_and_interval
from litebert.exam.material import Material, read_material
from litebert.exam.sets import GLUE, SETS, ExamSet
from litebert.exam.sitting import BASELINES, MODEL, TWIN
from litebert.train.results import plain

METRICS = {
    "accuracy": "accuracy", "f1": "F1", "macro_f1": "macro F1", "macro_recall": "macro recall", "matthews": "Matthews",
    "pearson": "Pearson", "spearman": "Spearman", "exact": "EM", "best_f1": "F1", "best_exact": "EM",
}  # fmt: skip
"""How metrics are called in tables."""

Result = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Published:
    """What others have reported."""

    name: str
    parameters: str
    marks: dict[str, list[float]]
    """By set, one for each metric, in percent."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One set: its rows, and the results of every system, by seed."""

    one: ExamSet
    material: Material
    results: dict[str, list[Result]]

    @property
    def metrics(self) -> str:
        """The names of its marks."""
        return " / ".join(METRICS[name] for name in self.one.metrics)

    @property
    def baseline(self) -> str | None:
        """The baseline that sat it, if one did."""
        return next((name for name in BASELINES if name in self.results), None)

    @property
    def minutes(self) -> float:
        """Of all sittings of the model."""
        return sum(float(result["seconds"]) for result in self.results.get(MODEL, ())) / 60

    @property
    def scale(self) -> float:
        """What marks are multiplied by to be in percent, as those of questions are already."""
        return 1.0 if self.one.task == "qa" else 100.0

    def scores(self, system: str, metric: str) -> list[float]:
        """A mark of every seed, in percent."""
        return [self.scale * float(result["metrics"][metric]) for result in self.results.get(system, ())]

    def marks(self, system: str | None) -> str:
        """Means and standard deviations of a system's marks, as people read them; "" where it has none."""
        if system not in self.results:
            return ""
        return " / ".join(mark(self.scores(system, metric)) for metric in self.one.metrics)

    def others(self) -> dict[str, float]:
        """Means over the seeds of the first mark on further tests, those of other sets by their titles."""
        parts = [result.get("others", {}) for result in self.results.get(MODEL, ())]
        return {self._title(name): self.scale * mean for name, mean in _means(parts).items()}

    def _title(self, test: str) -> str:
        return SETS[test].title if test in self.material.elsewhere else test

    def unknown(self) -> dict[str, dict[str, float]]:
        """Means over the seeds of how well texts of no label are told from the test rows, by measure."""
        parts = [result.get("unknown") or {} for result in self.results.get(MODEL, ())]
        return {name: _means([part.get(name, {}) for part in parts]) for name in UNKNOWN_BY if any(parts)}

    def unknown_cells(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows of that, without rows where there are no such texts."""
        rows = [
            [UNKNOWN_BY[name], *(f"{100 * values[mark]:.1f}" for mark in UNKNOWN_MARKS)]
            for name, values in self.unknown().items()
        ]
        return ["by", *UNKNOWN_MARKS.values()], rows

    def bins(self, *, before: bool = False) -> list[list[Bin]]:
        """How sure the model is and how often right, for each seed; before: without the temperature.

        Empty where the task has no probabilities, or an older litebert did not note what it takes.
        """
        name = "reliability_before" if before else "reliability"
        results = self.results.get(MODEL, ())
        if not all(result.get(name) for result in results):
            return []
        return [[Bin(*one) for one in result[name]] for result in results]

    def calibration_error(self, *, before: bool = False) -> float | None:
        """Expected calibration error on the test rows, the mean over the seeds; None where there are no bins."""
        errors = [error_of_bins(bins) for bins in self.bins(before=before)]
        return float(np.mean(errors)) if errors else None

    def calibration_cells(self) -> list[str]:
        """The set, that error in percent, and what it was without the temperature."""
        errors = (self.calibration_error(before=before) for before in (False, True))
        return [self.one.title, *("–" if error is None else f"{100 * error:.1f}" for error in errors)]

    def confusion(self) -> dict[str, dict[str, int]]:
        """Right label, answer, rows: summed over the model's seeds."""
        total: dict[str, dict[str, int]] = {}
        for result in self.results.get(MODEL, ()):
            for right, answers in (result.get("confusion") or {}).items():
                row = total.setdefault(right, {})
                for answer, rows in answers.items():
                    row[answer] = row.get(answer, 0) + rows
        return total

    def notes(self) -> list[str]:
        """What is to be known of the set, its rows, and its sittings."""
        troubles = [
            f"{_named(system)}, seed {result['seed']}: {result['problem']}"
            for system, found in self.results.items()
            for result in found
            if result.get("problem")
        ]
        return [*([self.material.rule] if self.material.rule else []), *self.material.notes, *troubles]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; marks in percent."""
        systems: dict[str, Any] = {}
        for system, found in self.results.items():
            systems[system] = {"seeds": [result["seed"] for result in found]}
            for metric in self.one.metrics:
                scores = self.scores(system, metric)
                mean, std, interval = mean_and_interval(scores)
                systems[system][metric] = {"mean": mean, "std": std, "interval": interval, "scores": scores}
        values = {
            "title": self.one.title,
            "task": self.one.task,
            "metrics": self.one.metrics,
            "systems": systems,
            "rows": self.material.rows,
            "available": self.material.available,
            "minutes": self.minutes,
            "others": self.others(),
            "unknown": self.unknown(),
            "calibration_error": self.calibration_error(),
            "calibration_error_before": self.calibration_error(before=True),
            "notes": self.notes(),
        }
        return plain(values)  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a folder of results says."""

    out: Path
    about: dict[str, Any]
    """What `config.toml` says of the model."""
    lines: list[Line]
    published: list[Published]
    """Those that have a mark on one of the sets."""
    server: dict[str, list[str]] = field(default_factory=dict)
    """Files of answers for GLUE's server, by the folder of a seed."""

    @property
    def name(self) -> str:
        """Of the model."""
        path = Path(self.about["model"])
        return path.parent.name if path.name == "model" and path.parent.name else path.name

    @property
    def described(self) -> str:
        """The model in a few words."""
        about = self.about
        return (
            f"{about['parameters'] / 1e6:.1f}M parameters, {about['layers']} layers of width {about['width']}; "
            f"weights {about['model_sha256'][:12]}"
        )

    @property
    def lacks(self) -> list[str]:
        """What is said of sets that are not there."""
        return list(self.about.get("lacks", {}).values())

    @property
    def marked(self) -> list[Line]:
        """Sets on which others have reported something."""
        return [line for line in self.lines if any(line.one.name in other.marks for other in self.published)]

    @property
    def has_twin(self) -> bool:
        """Whether a random twin sat any set."""
        return any(TWIN in line.results for line in self.lines)

    def server_notes(self) -> list[str]:
        """What is to be said of the files for GLUE's server."""
        official = [name for one in GLUE for name in one.server]
        return [
            f"{folder}: {', '.join(names)}; the server also wants {', '.join(n for n in official if n not in names)}"
            if set(official) - set(names)
            else f"{folder}: all {len(names)} files"
            for folder, names in self.server.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        about = {key: value for key, value in self.about.items() if key not in ("settings", "lacks")}
        return about | {
            "out": str(self.out),
            "sets": {line.one.name: line.to_dict() for line in self.lines},
            "lacks": self.about.get("lacks", {}),
            "published": {other.name: other.marks for other in self.published},
            "server": self.server,
        }

    def columns(self) -> list[str]:
        """The heads of the table."""
        twin = ["random twin"] if self.has_twin else []
        return ["set", "mark", self.name, *twin, "baseline", "train", "dev", "test", "seeds", "minutes"]

    def cells(self, line: Line) -> list[str]:
        """A row of the table."""
        rows, available = line.material.rows, line.material.available
        counts = [
            f"{rows[part]:,}" + (f" of {available[part]:,}" if rows[part] < available[part] else "")
            for part in ("train", "dev", "test")
        ]
        system = line.baseline
        baseline = f"{line.marks(system)} ({BASELINES[system]})" if system else "–"
        twin = [line.marks(TWIN) or "–"] if self.has_twin else []
        seeds = str(len(line.results.get(MODEL, ())))
        return [
            line.one.title, line.metrics, line.marks(MODEL) or "–", *twin, baseline, *counts, seeds,
            f"{line.minutes:.1f}",
        ]  # fmt: skip

    def markdown(self) -> str:
        """The table as Markdown, with the published rows, further tests and all notes."""
        parts = [f"# {self.name}: benchmarks", f"{self.described}; litebert {self.about['litebert']}. {MEANING}"]
        parts.append(_markdown(self.columns(), [self.cells(line) for line in self.lines]))
        if self.marked:
            parts += ["## Published", PUBLISHED, _markdown(*self.published_cells())]
        for line in self.lines:
            if others := line.others():
                head = f"## {line.one.title}: further tests, {METRICS[line.one.metrics[0]]}"
                own = line.marks(MODEL).split(" / ")[0]
                cells = [own, *(f"{value:.1f}" for value in others.values())]
                parts += [head, _markdown(["its own test", *others], [cells])]
            if line.unknown():
                parts += [f"## {line.one.title}: texts of none of its labels", UNKNOWN]
                parts.append(_markdown(*line.unknown_cells()))
        if sure := [line.calibration_cells() for line in self.lines if line.calibration_error() is not None]:
            parts += ["## Expected calibration error on the test rows, in percent"]
            parts.append(_markdown(["set", "as it answers", "before temperature scaling"], sure))
        notes = [f"- **{line.one.title}**: {'; '.join(line.notes())}." for line in self.lines if line.notes()]
        notes += [f"- {said}." for said in (*self.lacks, *(f"GLUE's server, {note}" for note in self.server_notes()))]
        return "\n\n".join([*parts, "## Notes", "\n".join(notes)]) + "\n"

    def published_cells(self) -> tuple[list[str], list[list[str]]]:
        """Heads and rows of what others have reported, the model first."""
        told = [max(len(other.marks.get(line.one.name, ())) for other in self.published) for line in self.marked]
        heads = ["system", "parameters"]
        own = [self.name, f"{self.about['parameters'] / 1e6:.1f}M"]
        for line, number in zip(self.marked, told, strict=True):
            heads.append(f"{line.one.title}, {' / '.join(line.metrics.split(' / ')[:number])}")
            own.append(" / ".join(line.marks(MODEL).split(" / ")[:number]) or "–")
        rows = [own]
        for other in self.published:
            marks = [other.marks.get(line.one.name, []) for line in self.marked]
            shown = [" / ".join(f"{value:.1f}" for value in values) or "–" for values in marks]
            rows.append([other.name, other.parameters, *shown])
        return heads, rows

    def show(self) -> None:
        """Print the first mark of every set to the terminal."""
        from rich.box import SIMPLE
        from rich.console import Console
        from rich.table import Table as Grid

        console = Console()
        grid = Grid(box=SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
        twin = ["random twin"] if self.has_twin else []
        for i, head in enumerate(["set", "mark", self.name, *twin, "baseline", "train", "test", "minutes"]):
            grid.add_column(head, justify="left" if i < 2 else "right")
        for line in self.lines:
            first = [line.marks(system).split(" / ")[0] or "–" for system in (MODEL, *([TWIN] if twin else []))]
            base = line.marks(line.baseline).split(" / ")[0] or "–"
            rows = (f"{line.material.rows[part]:,}" for part in ("train", "test"))
            name = METRICS[line.one.metrics[0]]
            grid.add_row(line.one.title, name, *first, base, *rows, f"{line.minutes:.1f}")
        console.print(f"{self.name}: {self.described}", markup=False, highlight=False)
        console.print(grid)
        for note in self.server_notes():
            console.print(f"GLUE's server, {note}", markup=False)
        console.print(f"rules, published rows and curves: {self.out / 'results.html'}", markup=False, soft_wrap=True)


MEANING = (
    "Marks in percent: means over seeds ± standard deviation, on test rows that neither the training nor the choice of "
    "the best epoch has seen."
)
UNKNOWN_BY = {"max_probability": "greatest probability", "energy": "energy"}
UNKNOWN_MARKS = {
    "auroc": "AUROC",
    "fpr_at_95_tpr": "passed where 95 % of the known are",
    "recall": "found",
    "known_accuracy": "right",
}
"""What the table says of texts of no label, and how it calls it."""
UNKNOWN = (
    "How well such texts are told from the test rows; found: of such texts, right: of the test rows, both at the "
    "threshold that the dev rows chose. In percent."
)
PUBLISHED = (
    "As reported by others, on the official dev rows after training on all official rows; the first row is this model, "
    "on the rows and by the rules of the table above."
)


def read_table(out: Path) -> Table:
    """Read all results of a folder; those that cannot be read are said and left out."""
    lines = []
    for name, one in SETS.items():
        if not (out / "data" / name / "set.json").is_file():
            continue
        results: dict[str, list[Result]] = {}
        for file in sorted((out / "results" / name).glob("*-*.json")):
            result = read_result(file)
            if result is not None:
                results.setdefault(result["system"], []).append(result)
        for found in results.values():
            found.sort(key=lambda result: int(result["seed"]))
        lines.append(Line(one=one, material=read_material(out / "data" / name)[0], results=results))
    sat = {line.one.name for line in lines}
    server = sorted(path for path in (out / "server").glob("seed-*") if path.is_dir())
    return Table(
        out=out,
        about=read_toml(out / "config.toml"),
        lines=lines,
        published=[other for other in published() if sat & other.marks.keys()],
        server={str(Path("server", p.name)): sorted(file.stem for file in p.glob("*.tsv")) for p in server},
    )


def read_result(file: Path) -> Result | None:
    """Read the result of a sitting; None where there is none, or a damaged one."""
    if not file.exists():
        return None
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(result, dict) and result.keys() >= {"system", "seed", "metrics", "seconds"}:
            return result
    except (OSError, ValueError):
        pass
    log(f"note: {file} is damaged and left out; the same command makes it again")
    return None


def published() -> list[Published]:
    """What others have reported."""
    tables = read_toml(Path(__file__).with_name("published.toml"))["systems"]
    return [build(Published, table) for table in tables]


def mark(scores: Sequence[float]) -> str:
    """Mean and standard deviation, in a few characters."""
    mean, std, _ = mean_and_interval(scores)
    return f"{mean:.1f}" if len(scores) < 2 else f"{mean:.1f} ± {std:.1f}"


def _means(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every value over those parts that have it."""
    found = {name: [part[name] for part in parts if name in part] for part in parts for name in part}
    return {name: sum(values) / len(values) for name, values in found.items()}


def _named(system: str) -> str:
    return {MODEL: "the model", TWIN: "the random twin"}.get(system, system)


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        for row in (heads, ["---"] * len(heads), *rows)
    ]
    return "\n".join(lines)
