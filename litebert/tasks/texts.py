"""What the tasks on whole texts and pairs of them share: their rows, their windows, and one vector of logits a row.

Dimensions: R rows, n sequences, C outputs.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from litebert.data.examples import encode_rows
from litebert.data.labelled import Columns, TargetT, texts_of
from litebert.errors import InputError
from litebert.evaluate.metrics import Doubles, Floats, log_softmax
from litebert.model.outputs import window_means
from litebert.tasks.task import Encoded, GoldT, Task, Windowing
from litebert.text.tokenizer import Tokenizer


class TextInput(NamedTuple):
    """A text, or a pair of texts."""

    text: str
    text_pair: str | None = None


class TextTask(Task[TextInput, TargetT, Encoded, GoldT]):
    """A task on texts or pairs: [CLS] text [SEP] or [CLS] text [SEP] text_pair [SEP], the pooled vector read."""

    head: ClassVar[str] = "classify"

    def columns(
        self,
        present: Iterable[str],
        wanted: Columns,
        source: str | Path,
        *,
        trained: Columns | None = None,
        label: bool = False,
    ) -> Columns:
        """Raises InputError, too, where a model of single texts would read pairs, or one of pairs single texts."""
        found = super().columns(present, wanted, source, trained=trained, label=label)
        if trained is not None and trained.text_pair is not None and found.text_pair is None:
            raise InputError(
                f"{source} has no column {trained.text_pair!r}, and the model was trained on pairs of texts; name the "
                "second: --text-pair COLUMN"
            )
        if trained is not None and trained.text_pair is None and found.text_pair not in (None, wanted.text_pair):
            raise InputError(
                f"{source} has two columns of texts, {found.text!r} and {found.text_pair!r}, and the model was trained "
                "on single ones; name the one to read: --text COLUMN"
            )
        return found

    def input(self, fields: Mapping[str, Any], columns: Columns, where: str) -> TextInput:
        """Read text and second text."""
        return TextInput(*texts_of(fields, columns, where))

    def plain_input(self, row: object, where: str, trained: Columns | None) -> TextInput:
        """A text, or a dict with the columns of the training, or with `text` and perhaps `text_pair`: as in a file."""
        if isinstance(row, str):
            row = {(trained.text if trained is not None and trained.text else "text"): row}
        if not isinstance(row, Mapping):
            raise InputError(f"{where} is a {type(row).__name__}; give a text, or a dict with 'text'")
        columns = self.columns(row, Columns(), where, trained=trained)
        return TextInput(*texts_of(row, columns, where))

    def input_notes(self, inputs: Sequence[TextInput]) -> list[str]:
        """Count texts that are empty."""
        empty = sum(not given.text.strip() for given in inputs)
        return [f"{empty:,} rows have an empty text; they are used as they are"] if empty else []

    def encode(self, inputs: Sequence[TextInput], tokenizer: Tokenizer, windowing: Windowing) -> Encoded:
        """Tokenize into windows."""
        texts, pairs = [given.text for given in inputs], [given.text_pair for given in inputs]
        return Encoded(examples=encode_rows(tokenizer, texts, pairs, windowing.length))

    def opinions(self, encoded: Encoded, outputs: Floats) -> list[Floats]:
        """The outputs (C,) of each row; those of windows are averaged."""
        return list(window_means(encoded.examples, outputs))


def probabilities(logits: Floats) -> Doubles:
    """Softmax over the last axis: (R, C) -> (R, C)."""
    return np.exp(log_softmax(logits))
