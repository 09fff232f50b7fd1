"""Fine-tuning: a model and labelled rows in, a task model out.

OUT is a model folder. Beside the model's files it holds `training/`: `config.toml` (the resolved settings),
`metrics.jsonl` (every look at the dev set) and `report.json`. OUT appears whole, at the end, or not at all.
"""

import json
from pathlib import Path
from typing import Any

from litebert import config
from litebert.data.labelled import Columns, Labelled
from litebert.evaluate.metrics import Doubles
from litebert.files import new_folder, require_empty
from litebert.interop.huggingface import write_model
from litebert.tasks.table import AnyTask
from litebert.train.calibrating import calibrate_model
from litebert.train.fit import subset
from litebert.train.job import FinetuneSettings, Job, prepare_job, read_job
from litebert.train.results import FinetuneReport, plain, say_result
from litebert.train.seeds import run_seeds


def finetune(
    task: str,
    *,
    model: Path | str,
    train: Path | str,
    dev: Path | str,
    out: Path | str,
    columns: Columns | None = None,
    settings: FinetuneSettings | None = None,
) -> FinetuneReport:
    """Teach a model one of the tasks of `litebert.tasks` from labelled rows, and write it to `out`.

    Raises ConfigError for an unknown task or metric, OutputError where `out` is not empty or cannot be written,
    ModelFolderError and TokenizerError for a folder that is no model, InputError for rows that cannot be used.
    """
    require_empty(Path(out))
    settings = settings or FinetuneSettings()
    job = read_job(task, model=model, train=train, dev=dev, columns=columns, settings=settings)
    job.announce()
    return carry_out(job, Path(out))


def teach(
    task: AnyTask,
    *,
    model: Path | str,
    train: Labelled[Any, Any],
    dev: Labelled[Any, Any],
    out: Path | str,
    settings: FinetuneSettings,
    row_weights: Doubles | None = None,
) -> FinetuneReport:
    """What `finetune` does, with rows that are read already.

    row_weights: (R,), what each training row counts beside its label's weight; 1 where not given.
    """
    require_empty(Path(out))
    job = prepare_job(task, model=model, train=train, dev=dev, settings=settings, row_weights=row_weights)
    job.announce()
    return carry_out(job, Path(out))


def carry_out(job: Job, out: Path) -> FinetuneReport:
    """Do a job: fine-tune once a seed, and write the best model and the record to `out`."""
    task, settings, rows = job.task, job.settings, job.train.rows
    with new_folder(out, replace=False) as folder:
        record = folder / "training"
        record.mkdir()
        told = {"task": task.name, "model": str(job.folder), **job.inputs, "columns": rows.columns._asdict()}
        (record / "config.toml").write_text(config.dump(told | job.resolved()), encoding="utf-8")
        shown = (job.primary, *task.shown)
        came = run_seeds(job.fit, settings.all_seeds, job.rate, shown, record / "metrics.jsonl")
        results, best = came.results, came.best
        finished = job.finished(results[best].seed, came.state)
        results[best], calibration = calibrate_model(
            finished, task, results[best], train=rows, dev=job.dev.rows, encoded=job.dev.encoded, gold=job.dev.gold
        )
        report = FinetuneReport(
            task=task.name,
            model=out,
            labels=job.labels,
            columns=rows.columns,
            train_rows=len(subset(len(rows), settings.train_rows, settings.seed)),
            dev_rows=len(job.dev.rows),
            primary_metric=job.primary,
            majority=task.majority(job.train.gold, job.dev.gold),
            teacher=job.teacher,
            results=tuple(results),
            best=best,
            diverged=tuple(came.diverged),
            calibration=calibration,
        )
        (record / "report.json").write_text(json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n", "utf-8")
        note = write_model(finished, folder, job.tokenizer, _facts(job, report))
    say_result(report, opens_elsewhere=not note)
    return report


def _facts(job: Job, report: FinetuneReport) -> dict[str, Any]:
    """What the predictor has to know of the training."""
    metrics = report.results[report.best].metrics
    extra = {
        "task": job.task.name,
        "columns": job.train.rows.columns._asdict(),
        "length": job.length,
        "dev": plain(metrics),
    }
    if report.calibration is not None:
        extra["calibration"] = plain(report.calibration.to_dict())
    if job.settings.stride is not None:
        extra["stride"] = job.settings.stride
    if decision := job.task.decide(job.train.gold, metrics):
        extra["decision"] = decision
    return extra
