"""`litebert evaluate --model`: the metrics of a model on labelled rows, and what else can be asked of it there.

rows [labels renamed] -> metrics -> [abstention] [rows of no label] [the same rows, perturbed]
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from litebert.console import log
from litebert.data.labelled import Columns, Labelled
from litebert.errors import ConfigError, InputError
from litebert.evaluate.metrics import Doubles
from litebert.evaluate.selective import selective_metrics
from litebert.evaluate.unknowns import told_apart
from litebert.infer.abstaining import answer_field, sureness
from litebert.infer.predictor import Judged, Predictor, held_out, judged, load, task_to_judge
from litebert.model.outputs import window_means
from litebert.tasks.table import AnyTask
from litebert.text.perturb import PERTURBATIONS

ONE_LABEL = "single_label_classification"


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What is asked beside the metrics."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """The file's names of labels to those of the model; "": rows with that label are left out."""
    abstain_below: float | None = None
    """Probability below which rows are left without an answer."""
    out_of_scope: Path | None = None
    """Rows that have none of the labels."""
    dev: Path | None = None
    dev_out_of_scope: Path | None = None
    """Rows with and without a label to choose a threshold by."""
    perturb: bool = False
    """Whether the same rows are judged again, written otherwise."""
    seed: int = 1
    """Of the perturbations."""

    def __post_init__(self) -> None:
        if (self.dev is None) != (self.dev_out_of_scope is None):
            raise ConfigError("--dev and --dev-out-of-scope go together: a threshold is chosen on rows of both kinds")
        if self.dev is not None and self.out_of_scope is None:
            raise ConfigError("--dev and --dev-out-of-scope choose a threshold for --out-of-scope FILE; give that too")
        if self.seed < 0:
            raise ConfigError(f"--seed {self.seed}: expected 0 or more")


def judge_model(
    model: str | Path,
    data: str | Path,
    *,
    columns: Columns | None = None,
    questions: Questions | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Judge a fine-tuned model on labelled rows: its metrics, `rows`, and the tables of its task (`confusion`).

    `ece`: the expected calibration error, where answers are classes. A pre-trained model without a task is judged on
    the held-out text of a prepared folder, see `held_out_metrics`. Where asked for: `abstained`, `coverage`,
    `selective_accuracy`, `aurc`, `aurc_best` (`selective_metrics`); `out_of_scope` {`rows`, `max_probability` {…},
    `energy` {…}} (`separation`, `at_threshold`); `perturbed` {perturbation: {`changed`, `flipped`, metrics}}. Raises
    ConfigError where the model's task does not have what is asked for, InputError for rows that cannot be used.
    """
    questions, columns = questions or Questions(), columns or Columns()
    predictor = load(model, device=device)
    if questions == Questions() and (found := held_out(predictor, data)) is not None:
        return found
    task = task_to_judge(predictor, model)
    _check(task, questions, predictor.labels)
    rows = _read(predictor, task, data, columns, questions)
    result = judged(predictor, task, rows)
    metrics = result.metrics
    if questions.abstain_below is not None:
        assert result.decisions is not None
        answers = task.answers(result.encoded, result.outputs, predictor.labels, predictor.decision)
        sure = np.array([sureness(answer.to_dict()) for answer in answers])  # as `predict` writes them
        right = task.right_answers(rows, answers, result.decisions)
        metrics |= selective_metrics(sure, right, questions.abstain_below)
    if questions.out_of_scope is not None:
        metrics["out_of_scope"] = _unknowns(predictor, task, result, columns, questions)
    if questions.perturb:
        metrics["perturbed"] = _perturbed(predictor, task, result, questions.seed)
    return metrics


def table(metrics: Mapping[str, Any]) -> str:
    """The metrics of perturbed rows beside the clean ones, one column each; empty where nothing was perturbed."""
    columns: dict[str, Mapping[str, Any]] = metrics.get("perturbed", {})
    if not columns:
        return ""
    names = dict.fromkeys(["changed", *(name for column in columns.values() for name in column)])
    lines = [["", "clean", *columns]]
    for name in names:
        # Kinds of entities that are neither there nor given have no marks.
        values = [metrics.get(name, 0.0), *(column.get(name) for column in columns.values())]
        lines.append([name, *("" if value is None else f"{value:.4f}" for value in values)])
    first, *widths = (max(map(len, column)) for column in zip(*lines, strict=True))
    cells = (map(str.rjust, line[1:], widths) for line in lines)
    return "".join("  ".join([line[0].ljust(first), *right]) + "\n" for line, right in zip(lines, cells, strict=True))


def named_labels(words: str) -> dict[str, str]:
    """Read NAME=LABEL,NAME=LABEL; raises ConfigError where it is something else."""
    result: dict[str, str] = {}
    for part in words.split(",") if words else ():
        name, equals, label = (side.strip() for side in part.partition("="))
        if not equals or not name:
            raise ConfigError(f"--labels {part.strip()!r}: expected NAME=LABEL, as negative=0,positive=1")
        if result.get(name, label) != label:
            raise ConfigError(f"--labels: {name!r} is to be {result[name]!r} and {label!r}; give it one label")
        result[name] = label
    return result


def _check(task: AnyTask, questions: Questions, labels: tuple[str, ...]) -> None:
    if questions.abstain_below is not None:
        answer_field(task, questions.abstain_below)
    for option, wanted in (("--labels", questions.labels), ("--out-of-scope", questions.out_of_scope)):
        if wanted and task.problem_type != ONE_LABEL:
            raise ConfigError(f"{option} is for models that give one label (classify), not for {task.name}")
    for name, label in questions.labels.items():
        if label and label not in labels:
            raise ConfigError(f"--labels {name}={label}: the model has no label {label!r}; it has {_shown(labels)}")


def _read(
    predictor: Predictor, task: AnyTask, source: str | Path, columns: Columns, questions: Questions
) -> Labelled[Any, Any]:
    """Labelled rows, with the model's names of their labels."""
    rows = task.read(source, columns, predictor.columns)
    if task.problem_type != ONE_LABEL:
        return rows
    rows = _renamed(rows, questions.labels)
    unknown = next((i for i, label in enumerate(rows.targets) if label not in predictor.labels), None)
    if unknown is not None:
        names = sorted(set(rows.targets) - set(predictor.labels))
        given = ",".join(f"{name}=LABEL" for name in names[:5]) + (",…" if len(names) > 5 else "")
        raise InputError(
            f"{rows.places[unknown]}: the label {rows.targets[unknown]!r} is not one the model was trained on "
            f"({_shown(predictor.labels)}); correct the row, or say which they are: --labels '{given}' "
            f"('{names[0]}=' leaves its rows out)"
        )
    return rows


def _renamed(rows: Labelled[Any, str], names: Mapping[str, str]) -> Labelled[Any, str]:
    """Rows with other names of their labels; those that are to have none are left out."""
    if absent := [name for name in names if name not in rows.targets]:
        log(f"note: no row of {rows.source} has the label {absent[0]!r} (--labels)")
    targets = [names.get(label, label) for label in rows.targets]
    kept = [i for i, label in enumerate(targets) if label]
    if not kept:
        raise ConfigError(f"--labels leaves out every row of {rows.source}; name a label of the model for one at least")
    if len(kept) < len(rows):
        log(f"note: {len(rows) - len(kept):,} of {len(rows):,} rows of {rows.source} are left out (--labels)")
    return replace(
        rows,
        places=[rows.places[i] for i in kept],
        inputs=[rows.inputs[i] for i in kept],
        targets=[targets[i] for i in kept],
        ids=None if rows.ids is None else [rows.ids[i] for i in kept],
    )


def _shown(labels: tuple[str, ...]) -> str:
    return ", ".join(map(repr, labels[:10])) + (", …" if len(labels) > 10 else "")


def _perturbed(predictor: Predictor, task: AnyTask, clean: Judged, seed: int) -> dict[str, Any]:
    """For each perturbation the metrics, `changed`, the share of rows that it changes at all, and, where answers are
    classes, `flipped`, the share of answers that are others then."""
    result: dict[str, Any] = {}
    rows = clean.rows
    for name in PERTURBATIONS:
        pairs = zip(rows.inputs, rows.targets, strict=True)
        made = [task.perturbed(name, given, target, seed, row) for row, (given, target) in enumerate(pairs)]
        inputs, targets = ([one[side] for one in made] for side in (0, 1))
        changed = sum(one != other for one, other in zip(inputs, rows.inputs, strict=True)) / len(rows)
        written = replace(rows, inputs=inputs, targets=targets)
        found = judged(predictor, task, written, f"evaluating, {name}", notes=False)
        result[name] = {"changed": changed}
        if clean.decisions is not None and found.decisions is not None and not task.places:
            others = clean.decisions.logits.argmax(1) != found.decisions.logits.argmax(1)
            result[name]["flipped"] = float(others.mean())
        result[name] |= {k: v for k, v in found.metrics.items() if isinstance(v, float)}
    return result


def _unknowns(
    predictor: Predictor, task: AnyTask, known: Judged, columns: Columns, questions: Questions
) -> dict[str, Any]:
    """How well known rows are told from those of no label, by every measure."""
    assert questions.out_of_scope is not None
    assert known.decisions is not None
    unknown = logits_of(predictor, task, questions.out_of_scope, columns)
    if questions.dev is None or questions.dev_out_of_scope is None:
        return told_apart(known.decisions, unknown)
    dev = judged(predictor, task, _read(predictor, task, questions.dev, columns, questions)).decisions
    assert dev is not None
    return told_apart(known.decisions, unknown, (dev, logits_of(predictor, task, questions.dev_out_of_scope, columns)))


def logits_of(predictor: Predictor, task: AnyTask, source: Path, columns: Columns) -> Doubles:
    """What a model says of the rows of a file, whose labels, if there are any, do not matter: (rows, labels)."""
    wanted = columns._replace(label=None)
    found: Columns | None = None
    inputs = []
    for where, fields in task.rows(source):
        found = found or task.columns(fields, wanted, source, trained=predictor.columns)
        inputs.append(task.input(fields, found, where))
    if not inputs:
        raise InputError(f"{source} has no rows; give a file with texts")
    encoded = predictor.encode(inputs)
    return window_means(encoded.examples, predictor.outputs(encoded)).astype(np.float64)
