"""The one table of tasks: a new one is a file beside this and a line here."""

from collections.abc import Mapping
from typing import Any

from litebert.errors import ConfigError
from litebert.model.heads import AlbertWithHeads
from litebert.tasks.choice import Choice
from litebert.tasks.classify import Classify
from litebert.tasks.embed import Embed
from litebert.tasks.multilabel import Multilabel
from litebert.tasks.ner import Ner
from litebert.tasks.qa import QuestionAnswering
from litebert.tasks.regress import Regress
from litebert.tasks.task import Task

FILL_MASK = "fill-mask"
"""What a model answers that has no task."""

AnyTask = Task[Any, Any, Any, Any]

TASKS: dict[str, AnyTask] = {
    task.name: task for task in (Classify(), Multilabel(), Regress(), Ner(), QuestionAnswering(), Choice(), Embed())
}


def task_named(name: str) -> AnyTask:
    """Return the task of that name; raises ConfigError, naming those there are."""
    if name not in TASKS:
        raise ConfigError(f"task {name!r} is unknown; use one of {', '.join(TASKS)}")
    return TASKS[name]


def task_of(model: AlbertWithHeads, extra: Mapping[str, Any]) -> AnyTask | None:
    """The task of a loaded model: what litebert.json says, else what its head and config tell; None: it has none."""
    if extra.get("task") == FILL_MASK:
        return None
    if extra.get("task") in TASKS:
        return TASKS[extra["task"]]
    if "embed" in model.heads:  # whatever else it can do: its settings of sentence-transformers say so
        return TASKS["embed"]
    for task in TASKS.values():
        if task.head in model.heads and model.config.problem_type == task.problem_type:
            return task
    if "classify" in model.heads:  # of a folder that names no kind of target, as many of transformers' do not
        return TASKS["regress" if model.config.num_labels == 1 else "classify"]
    return next((task for task in TASKS.values() if task.head in model.heads), None)
