"""A fine-tuned model that a smaller one learns a task from (Hinton et al. 2015).

    texts of the training rows -> teacher, with its own tokenizer -> an opinion of each row, once, before training
    loss = (1 - weight) * loss of the labels + weight * distance to the opinions

Rows without labels can be learnt from, too: the teacher's answers stand for them. Teacher and student need no tokenizer
in common, and a step costs what it costs without a teacher.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from litebert.console import progress
from litebert.data.catalog import find_model
from litebert.data.examples import Ints, SequenceBatch
from litebert.data.labelled import Columns, Labelled
from litebert.errors import ConfigError, InputError, ModelFolderError
from litebert.evaluate.metrics import Floats, Metrics
from litebert.interop.huggingface import LoadedModel, model_tokenizer, read_model
from litebert.model.outputs import head_outputs
from litebert.tasks.table import AnyTask, task_of
from litebert.tasks.task import Encoded, ItemLoss, Lesson, Windowing
from litebert.text.tokenizer import Tokenizer


class Teacher:
    """A loaded task model, whose outputs come in the order of the student's labels."""

    def __init__(
        self,
        folder: str | Path,
        task: AnyTask,
        labels: Sequence[str],
        device: torch.device,
        *,
        student: Tokenizer,
        windowing: Windowing,
    ) -> None:
        """student, windowing: the student's tokenizer, and how it reads long texts.

        Raises ModelFolderError for a folder that is no model of this task, ConfigError for other labels, and where
        the task asks for a common tokenizer and there is none.
        """
        self.folder, self.task, self.labels, self.device = find_model(folder), task, tuple(labels), device
        loaded = read_model(self.folder)
        _check_task(loaded, task, self.folder)
        self.order = _order(loaded, task, self.labels, self.folder)
        self.model = loaded.model.to(device)
        self.tokenizer = model_tokenizer(self.folder)
        longest = self.model.config.max_position_embeddings
        self.decision: Mapping[str, Any] = loaded.extra.get("decision", {})
        self.windowing = Windowing(int(loaded.extra.get("length", longest)), loaded.extra.get("stride"))
        if task.same_pieces:
            self.windowing = windowing
            if self.tokenizer.fingerprint != student.fingerprint:
                raise ConfigError(
                    f"teacher {folder} has another tokenizer than the model: what is learnt for {task.name} are "
                    "probabilities of single pieces; give a teacher with the tokenizer of the model"
                )
            if windowing.length > longest:
                raise ConfigError(
                    f"teacher {folder} reads at most {longest} tokens, the model {windowing.length}: give --length "
                    f"{longest}"
                )

    def opinions(self, inputs: Sequence[Any], asked: Ints) -> list[Any]:
        """What it says of the rows `asked`, an opinion for each of `inputs`; None for the others."""
        encoded, outputs = self._answer([inputs[row] for row in asked.tolist()])
        result: list[Any] = [None] * len(inputs)
        for row, said in zip(asked.tolist(), self.task.opinions(encoded, outputs), strict=True):
            result[row] = said
        return result

    def label(self, file: str | Path, rows: Labelled[Any, Any]) -> tuple[Labelled[Any, Any], list[Any]]:
        """Add the rows of a file without labels to labelled ones, with its answers as their targets; returns them all,
        and its opinions of the new ones. Raises InputError for a file that has no such rows.
        """
        places, inputs, columns = [], [], None
        for where, fields in self.task.rows(file):
            columns = columns or self.task.columns(fields, Columns(), file, trained=rows.columns)
            places.append(where)
            inputs.append(self.task.input(fields, columns, where))
        if not inputs:
            raise InputError(f"{file} has no rows; give a file with rows, or leave it out")
        encoded, outputs = self._answer(inputs)
        answers = self.task.answers(encoded, outputs, self.labels, self.decision)
        together = replace(
            rows,
            places=[*rows.places, *places],
            inputs=[*rows.inputs, *inputs],
            targets=[*rows.targets, *map(self.task.target_of, answers)],
            ids=None,
            notes=(*rows.notes, f"{len(inputs):,} of the rows are those of {file}, labelled by the teacher"),
        )
        return together, self.task.opinions(encoded, outputs)

    def judge(self, rows: Labelled[Any, Any]) -> Metrics:
        """Its metrics on labelled rows; what is decided by them (a threshold) is left open."""
        encoded, outputs = self._answer(rows.inputs)
        return self.task.judge(encoded, self.task.gold(rows, encoded, self.labels), outputs, self.labels, {})

    def _answer(self, inputs: Sequence[Any]) -> tuple[Encoded, Floats]:
        encoded: Encoded = self.task.encode(inputs, self.tokenizer, self.windowing)
        with progress("asking the teacher", len(encoded.examples), "sequences") as advance:
            outputs = head_outputs(self.model, self.task.head, encoded.examples, advance=advance)
        return encoded, outputs[:, self.order]


def taught(lesson: Lesson, distance: ItemLoss, weight: float) -> Lesson:
    """A lesson from labels and a teacher; weight: the share of the teacher, from 0 to 1."""

    def loss(logits: Tensor, batch: SequenceBatch) -> Tensor:
        return (1 - weight) * lesson.loss(logits, batch) + weight * distance(logits, batch)

    return replace(lesson, loss=loss)


def _check_task(loaded: LoadedModel, task: AnyTask, folder: Path) -> None:
    found = task_of(loaded.model, loaded.extra)
    # A folder of transformers often does not say what kind of target its classifier is for.
    open_kind = "task" not in loaded.extra and loaded.model.config.problem_type is None
    if found is task or (open_kind and task.head in loaded.model.heads):
        return
    what = f"is a model for {found.name}" if found else "has no head of any task"
    raise ModelFolderError(
        f"teacher {folder} {what}, and it is to teach {task.name}: fine-tune it first (litebert finetune {task.name})"
    )


def _order(loaded: LoadedModel, task: AnyTask, labels: tuple[str, ...], folder: Path) -> Ints:
    """(C,): which of the teacher's outputs each of the student's is."""
    theirs = loaded.model.config.labels
    if not task.named_outputs:
        return np.arange(len(labels))
    if set(theirs) != set(labels):
        raise ConfigError(
            f"teacher {folder} knows the labels {_some(theirs)}, the rows have {_some(labels)}: give a teacher of the "
            "same labels, or name them alike (id2label in its config.json)"
        )
    return np.array([theirs.index(label) for label in labels], dtype=np.int64)


def _some(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels[:8])) + (", …" if len(labels) > 8 else "")
