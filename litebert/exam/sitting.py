"""One sitting: a system, a set and a seed; fine-tuned, judged, and what came out as plain values for one JSON file."""

import json
import math
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from litebert.data.labelled import Columns
from litebert.data.rows import read_rows
from litebert.evaluate.calibration import Calibration, Decisions, reliability_bins
from litebert.evaluate.unknowns import told_apart
from litebert.exam.baseline import baseline
from litebert.exam.material import Material
from litebert.exam.sets import ExamSet
from litebert.exam.settings import Plan
from litebert.files import write_text
from litebert.infer.judging import logits_of
from litebert.infer.predictor import Judged, Predictor, judged, load
from litebert.tasks.classify import Classification
from litebert.tasks.regress import Value
from litebert.train.finetune import finetune
from litebert.train.results import plain

MODEL, TWIN = "model", "twin"
BASELINES = {"tfidf": "TF-IDF", "majority": "commonest answer"}

STSB_RANGE = (0.0, 5.0)


@dataclass(frozen=True, kw_only=True)
class Sitting:
    """Who sits which examination."""

    one: ExamSet
    system: str
    """`model`, `twin`, or the name of a baseline."""
    seed: int

    @property
    def file(self) -> Path:
        """Of its result, in the folder of results."""
        return Path(self.one.name, f"{self.system}-{self.seed}.json")

    def __str__(self) -> str:
        seed = f", seed {self.seed}" if self.system in (MODEL, TWIN) else ""
        return f"{self.one.title}, {BASELINES.get(self.system, self.system)}{seed}"


def sit(sitting: Sitting, material: Material, plan: Plan, model: Path, work: Path, server: Path) -> dict[str, Any]:
    """Fine-tune and judge; returns what came out.

    work: a folder for the task model, removed before and after. server: a folder for GLUE's files of answers.
    """
    begin = time.monotonic()
    one = sitting.one
    result: dict[str, Any] = {"set": one.name, "system": sitting.system, "seed": sitting.seed}
    if sitting.system in BASELINES:
        result |= {"metrics": plain(baseline(one, material))}
    else:
        shutil.rmtree(work, ignore_errors=True)
        try:
            result |= _taught(sitting, material, plan, model, work, server)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return result | {"seconds": round(time.monotonic() - begin, 2)}


def _taught(sitting: Sitting, material: Material, plan: Plan, model: Path, work: Path, server: Path) -> dict[str, Any]:
    one, twin = sitting.one, sitting.system == TWIN
    settings = replace(plan.finetune, seed=sitting.seed, seeds=1, from_scratch=twin)
    train, dev = material.file("train"), material.file("dev")
    tuned = work / "model"
    report = finetune(one.task, model=model, train=train, dev=dev, out=tuned, settings=settings)
    (result,) = report.results
    predictor = load(tuned, device=settings.device)
    found = _judged(predictor, material.file("test"))
    metrics = {name: value for name, value in found.metrics.items() if isinstance(value, float)}
    decisions = found.decisions
    bins = before = None
    if decisions is not None:
        raw = uncalibrated(decisions, report.calibration)
        bins, before = (reliability_bins(one.confidences, one.correct) for one in (decisions, raw))
    others = {name: _judged(predictor, file).metrics for name, file in material.others_files().items()}
    unknown = _unknown(predictor, found, material)
    if not twin:
        for name in material.server:
            rows = read_rows(material.file(f"server-{name}"))
            write_server_file(predictor, one, [row.fields for row in rows], server / f"{name}.tsv")
    return plain(  # type: ignore[no-any-return]
        {
            "metrics": metrics,
            "others": {name: values[one.metrics[0]] for name, values in others.items()},
            "dev": result.metrics,
            "epoch": result.epoch,
            "learning_rate": result.learning_rate,
            "stopped": result.stopped,
            "problem": result.problem,
            "unknown": unknown,
            "confusion": found.metrics.get("confusion"),
            "reliability": bins,
            "reliability_before": before,
            "curve": _curve(tuned / "training" / "metrics.jsonl", report.primary_metric, result.learning_rate),
        }
    )


def uncalibrated(decisions: Decisions, calibration: Calibration | None) -> Decisions:
    """What the model says without the temperature that its head was divided by."""
    return decisions if calibration is None else decisions._replace(logits=decisions.logits * calibration.temperature)


def _judged(predictor: Predictor, file: Path) -> Judged:
    task = predictor.job
    assert task is not None
    return judged(predictor, task, task.read(file, Columns(), predictor.columns))


def _unknown(predictor: Predictor, found: Judged, material: Material) -> dict[str, Any] | None:
    """How well the test rows are told from texts of no label, by thresholds that the dev rows chose; None where there
    are no such texts."""
    if not {"dev", "test"} <= set(material.unknown) or predictor.job is None or found.decisions is None:
        return None
    task = predictor.job
    dev, logits = (logits_of(predictor, task, material.file(f"unknown-{part}"), Columns()) for part in ("dev", "test"))
    chosen = _judged(predictor, material.file("dev")).decisions
    assert chosen is not None
    return told_apart(found.decisions, logits, (chosen, dev))


def _curve(path: Path, metric: str, rate: float) -> list[dict[str, float]]:
    """The looks at the dev rows of the fit at that rate: step, training loss since the look before, the metric that
    chooses."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        {"step": line["step"], "loss": line["loss"], "dev": line["metrics"][metric]}
        for line in lines
        if math.isclose(line["learning_rate"], rate, rel_tol=1e-5)  # both are rounded; a restart has another
    ]


def write_server_file(predictor: Predictor, one: ExamSet, rows: list[dict[str, Any]], path: Path) -> None:
    """Answer the rows that GLUE's server asks for, as it wants them: a number of the row and the answer, by tabs."""
    lines = ["index\tprediction"]
    for row, answer in zip(rows, predictor.predict(rows), strict=True):
        if isinstance(answer, Value):
            low, high = STSB_RANGE
            said = f"{min(max(answer.value, low), high):.3f}"
        else:
            assert isinstance(answer, Classification)
            said = one.answers.get(answer.label, answer.label)
        lines.append(f"{row['id']}\t{said}")
    write_text(path, "\n".join(lines) + "\n")
