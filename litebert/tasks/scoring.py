"""Scoring what any system has answered: a file of predictions beside a file of labelled rows."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from litebert.console import log
from litebert.data.labelled import Columns, Labelled, there
from litebert.data.packing import opened, split_name
from litebert.data.rows import DoubledError, Row, without_doubles
from litebert.errors import ConfigError, InputError
from litebert.evaluate.metrics import Metrics
from litebert.evaluate.retrieval import score_rankings
from litebert.tasks.qa import QuestionAnswering
from litebert.tasks.table import TASKS, AnyTask, task_named
from litebert.tasks.task import id_of

FIELDS = {
    "entities": "ner", "answer": "qa", "choice": "choice", "labels": "multilabel", "value": "regress",
    "similarity": "embed", "label": "classify", "prediction": "classify",
}  # fmt: skip
"""The task that a record with such a field answers, the most telling first."""
WRITTEN = {
    "ner": {"entities"}, "qa": {"answer", "no_answer_score"}, "choice": {"choice", "scores"},
    "multilabel": {"labels", "scores"}, "regress": {"value"}, "embed": {"similarity"},
    "classify": {"label", "score", "scores"},
}  # fmt: skip
"""The fields that `predict` writes. Those of the row that was read stand beside them, and may look like answers."""
RETRIEVAL = "retrieval"
"""No task of a head: rankings of documents, in files of their own kinds."""


def score_files(
    predictions: str | Path,
    gold: str | Path,
    *,
    task: str | None = None,
    no_answer: str | Path | None = None,
    columns: Columns | None = None,
    by: str | None = None,
) -> dict[str, Any]:
    """Score predictions: SQuAD's JSON {id: answer}, or records as `predict` writes them, those of others included.

    Rows belong together by their `id`, else by their order. task: None: told by the predictions' fields. no_answer:
    JSON {id: probability that there is no answer}. by: a column of `gold`; the metrics are given for each of its
    values too (XNLI by language, RACE by level, MNLI by matched). Task `retrieval`: see `evaluate.retrieval`.
    Raises InputError where predictions are missing, doubled or no answers.
    """
    if task == RETRIEVAL:
        if by is not None or no_answer is not None:
            raise ConfigError("--task retrieval scores rankings beside judgements alone; leave --by and the like out")
        return dict(score_rankings(predictions, gold))
    answers = _squad_answers(predictions)
    if answers is not None:
        if task not in (None, "qa"):
            raise ConfigError(f"--task {task}: {predictions} holds answers to questions (qa); leave --task out")
        job, records = TASKS["qa"], [(f"{predictions}, {key}", {"id": key, "answer": v}) for key, v in answers.items()]
    else:
        job, records = _read(predictions, task)
    if no_answer is not None and job.name != "qa":
        raise ConfigError(f"--no-answer-probabilities is for answers to questions (qa), not for {job.name}")
    rows = job.read(gold, columns or Columns())
    for note in rows.notes:
        log(f"note: {gold}: {note}")
    matched = list(_matched(records, rows, predictions))
    _check_texts(job, matched, rows)
    given = [_answer(job, fields, where) for where, fields in matched]
    for one, answer, (where, _) in zip(rows.inputs, given, matched, strict=True):
        job.check_answer(one, answer, where)
    unanswered = _probabilities(no_answer, rows)
    metrics: dict[str, Any] = dict(_score(job, rows, given, unanswered))
    if job.name != "qa":
        metrics["rows"] = len(rows)
    if by is not None:
        metrics[f"by_{by}"] = _by(job, gold, by, rows, given, unanswered)
    return metrics


def _answer(job: AnyTask, fields: Row, where: str) -> Any:
    if str(fields.get("abstained")).lower() == "true":
        raise InputError(
            f"{where}: abstained, so there is no answer to score; predict without --abstain-below, or judge the model "
            "itself: litebert evaluate --model DIR --data FILE --abstain-below P"
        )
    return job.answer_of(fields, where)


def _score(
    job: AnyTask, rows: Labelled[Any, Any], given: Sequence[Any], no_answer: Mapping[str, float] | None
) -> Metrics:
    if isinstance(job, QuestionAnswering):
        return job.score(rows, given, no_answer)
    return job.score(rows, given)


def _squad_answers(path: str | Path) -> dict[str, str] | None:
    """The official form of predictions, one object of texts by id; None where the file is another."""
    if split_name(Path(path).name)[1] != ".json":
        return None
    value = _json(path)
    if not isinstance(value, dict) or "id" in value:
        return None
    wrong = {key: answer for key, answer in value.items() if not isinstance(answer, str)}
    if wrong and not FIELDS.keys() & value.keys():  # it is no record
        key, answer = next(iter(wrong.items()))
        raise InputError(
            f'{path}: {json.dumps(answer)[:60]} for the id {key!r} is no answer; write a text, "" for none'
        )
    return None if wrong else value


def _json(path: str | Path) -> Any:
    path = Path(path)
    with opened(path) as file:
        content = file.read()
    try:
        return json.loads(content, object_pairs_hook=without_doubles)
    except DoubledError as error:
        raise InputError(f"{path}: the id {error} is there twice; give one answer a question") from None
    except ValueError:
        return None


def _read(path: str | Path, task: str | None) -> tuple[AnyTask, list[tuple[str, Row]]]:
    if task is not None:
        job = task_named(task)
        return job, list(job.rows(path, labelled=True))
    # Only the entities' task reads files of other kinds than tables, CoNLL columns.
    records = list(TASKS["ner"].rows(path, labelled=True))
    names = list(records[0][1]) if records else []
    found = {FIELDS[name]: name for name in reversed(FIELDS) if name in names}
    if not found:
        raise InputError(
            f"{path} has no column with answers ({', '.join(FIELDS)}); {there(names)}; name the task: --task TASK"
        )
    if len(found) > 1:
        told = [one for one in found if WRITTEN[one] <= set(names)]
        most = max((len(WRITTEN[one]) for one in told), default=0)
        told = [one for one in told if len(WRITTEN[one]) == most]
        if len(told) != 1:
            columns = ", ".join(f"{name!r} ({one})" for one, name in found.items())
            raise InputError(f"{path} has columns of answers to several tasks: {columns}; name it: --task TASK")
        return TASKS[told[0]], records
    if set(found.values()) == {"prediction"} and any(_has_fraction(fields.get("prediction")) for _, fields in records):
        return TASKS["regress"], records  # as GLUE's server has it for STS-B
    return TASKS[next(iter(found))], records


def _has_fraction(value: object) -> bool:
    try:
        return not float(str(value)).is_integer()
    except (ValueError, OverflowError):
        return False


def _matched(
    records: Sequence[tuple[str, Row]], rows: Labelled[Any, Any], path: str | Path
) -> Iterator[tuple[str, Row]]:
    """The records in the order of the rows."""
    ids = rows.ids
    if ids is None and sorted(str(fields.get("index")) for _, fields in records) == sorted(map(str, range(len(rows)))):
        ids = [str(i) for i in range(len(rows))]  # as GLUE's files number rows
    nameless = [where for where, fields in records if id_of(fields) is None]
    if nameless and len(nameless) < len(records):
        raise InputError(f"{nameless[0]}: no `id`, though others have one; give every prediction its own, or none any")
    if ids is None or nameless:
        if ids is not None or not nameless:
            without = path if nameless else rows.source
            log(f"note: {without} has no `id` for every row: predictions and rows belong together by their order")
        if len(records) != len(rows):
            raise InputError(
                f"{path} has {len(records):,} predictions, {rows.source} {len(rows):,} rows; give one for each row, in "
                "their order, or an `id` in both files"
            )
        yield from records
        return
    by_id: dict[str, tuple[str, Row]] = {}
    for where, fields in records:
        key = str(id_of(fields))
        if key in by_id:
            raise InputError(f"{where}: the id {key!r} is that of {by_id[key][0]} too; give one prediction a row")
        by_id[key] = where, fields
    seen: dict[str, str] = {}
    for key, where in zip(ids, rows.places, strict=True):
        if key in seen:
            raise InputError(f"{where}: the id {key!r} is that of {seen[key]} too; give every row its own")
        seen[key] = where
    missing = [key for key in ids if key not in by_id]
    if missing:
        raise InputError(
            f"{path} lacks predictions for {len(missing):,} of {len(rows):,} rows (the first: id {missing[0]!r}, "
            f"{seen[missing[0]]}); give one for each row"
        )
    if len(by_id) > len(rows):
        log(f"note: {path} has {len(by_id) - len(rows):,} predictions for rows that are not in {rows.source}; left out")
    for key in ids:
        yield by_id[key]


def _check_texts(job: AnyTask, matched: Sequence[tuple[str, Row]], rows: Labelled[Any, Any]) -> None:
    """Raise InputError where entities, which are places in a text, were found in another text than the row's."""
    if job.name != "ner":
        return
    for (where, fields), given, place in zip(matched, rows.inputs, rows.places, strict=True):
        if "text" in fields and fields["text"] != given:
            raise InputError(
                f"{where}: the text {str(fields['text'])[:40]!r} is not that of {place}, {given[:40]!r}; entities "
                "are places in a text, so give predictions for the very same one"
            )


def _probabilities(path: str | Path | None, rows: Labelled[Any, Any]) -> dict[str, float] | None:
    if path is None:
        return None
    if rows.ids is None or len(set(rows.ids)) < len(rows):
        raise InputError(
            f"{rows.source} has rows without an `id` of their own, which {path} goes by; give every question its own"
        )
    values = _json(path)
    if not isinstance(values, dict):
        raise InputError(f'{path} is no JSON object of probabilities by id; write {{"id": 0.5, …}}')
    for key, where in zip(rows.ids, rows.places, strict=True):
        value = values.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
            raise InputError(
                f"{path}: {str(value)[:60]} for the id {key!r} ({where}); give every question a probability"
            )
    known = set(rows.ids)
    return {key: float(value) for key, value in values.items() if key in known}


def _by(
    job: AnyTask,
    gold: str | Path,
    column: str,
    rows: Labelled[Any, Any],
    given: Sequence[Any],
    no_answer: Mapping[str, float] | None,
) -> dict[str, Metrics]:
    """Metrics for each value of a column."""
    groups: dict[str, list[int]] = {}
    for i, (_, fields) in enumerate(job.rows(gold, labelled=True)):
        if column not in fields:
            raise InputError(f"{rows.places[i]}: no column {column!r} (--by); {there(list(fields))}")
        groups.setdefault(str(fields[column]), []).append(i)
    result: dict[str, Any] = {}
    labels = job.labels_of(rows, given)
    for value, members in groups.items():
        part = Labelled(
            source=rows.source,
            columns=rows.columns,
            places=[rows.places[i] for i in members],
            inputs=[rows.inputs[i] for i in members],
            targets=[rows.targets[i] for i in members],
            ids=None if rows.ids is None else [rows.ids[i] for i in members],
            labels=labels,
        )
        result[value] = dict(_score(job, part, [given[i] for i in members], no_answer)) | {"rows": len(members)}
    return result
