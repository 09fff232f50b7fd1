"""A model folder that answers: `load(folder).predict(rows or texts)`, files in and out, and metrics on
labelled rows."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from litebert.console import Advance, log, progress
from litebert.data.catalog import find_model
from litebert.data.examples import encode_rows
from litebert.data.labelled import Columns, find_columns, label_ids, merged, read_labelled, texts_of
from litebert.data.rows import STDIN, NumberedRow, Row, place, read_rows, write_rows
from litebert.errors import InputError, ModelFolderError, OutputError
from litebert.evaluate.evaluate import MAX_TOKENS, classify_logits, model_tokenizer
from litebert.evaluate.metrics import Floats, classification_metrics, confusion
from litebert.infer.answers import Answer, Classification
from litebert.infer.fill_mask import MASK, complete
from litebert.interop.huggingface import read_model
from litebert.model.heads import AlbertWithHeads
from litebert.text.tokenizer import Tokenizer
from litebert.train.loop import Precision, autocast, choose_device

CHUNK_ROWS, CHUNK_CHARACTERS = 2048, 4_000_000
"""How much is answered at a time: enough to sort by length, little enough to hold, and to go on reading a
stream."""


class Input(NamedTuple):
    """A row as the model reads it."""

    text: str
    text_pair: str | None
    place: str
    """What to call the row in a message."""


class Predictor:
    """A loaded model with its tokenizer. It reads no network and keeps no state between calls."""

    def __init__(
        self,
        model: AlbertWithHeads,
        tokenizer: Tokenizer,
        *,
        extra: Mapping[str, Any] | None = None,
        device: str = "auto",
        precision: Precision = "fp32",
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        extra = extra or {}
        self.device = choose_device(device)
        self.model = model.to(self.device).eval()
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.length = int(extra.get("length", model.config.max_position_embeddings))
        """Most tokens of a sequence; longer texts are read in windows."""
        self.columns = Columns(**extra["columns"]) if "columns" in extra else None
        """The columns that the model was fine-tuned on."""
        self._precision = lambda: autocast(precision, self.device)

    @property
    def task(self) -> str:
        """`classify`, or `fill-mask` for a pre-trained model without a task."""
        return "classify" if "classify" in self.model.heads else "fill-mask"

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of a task, in the model's order."""
        return self.model.config.labels if self.task == "classify" else ()

    def predict(self, rows: str | Iterable[str | Mapping[str, Any]]) -> list[Answer]:
        """Answer texts, or rows with the fields `text` and perhaps `text_pair`: one typed answer a row, in
        order.

        Raises InputError for a row that the model cannot answer.
        """
        return list(self.predict_iter([rows] if isinstance(rows, str) else rows))

    def predict_iter(self, rows: Iterable[str | Mapping[str, Any]]) -> Iterator[Answer]:
        """Answer a stream of rows, some thousands at a time, in order."""
        return self._stream(self._input(i, row) for i, row in enumerate(rows, 1))

    def logits(self, texts: list[str], pairs: list[str | None], advance: Advance | None = None) -> Floats:
        """The classifier's logits of every row (R, C), averaged over its windows."""
        examples = encode_rows(self.tokenizer, texts, pairs, self.length)
        return classify_logits(
            self.model, examples, precision=self._precision, max_tokens=self.max_tokens, advance=advance
        )

    def _input(self, number: int, row: object) -> Input:
        where = f"row {number}"
        if isinstance(row, str):
            return Input(row, None, where)
        if not isinstance(row, Mapping):
            raise InputError(f"{where} is a {type(row).__name__}; give a text, or a dict with 'text'")
        columns = Columns("text", "text_pair")
        if "text" not in row:
            columns = find_columns(row, Columns(), where, trained=self.columns)
        return Input(*texts_of(row, columns, where), where)

    def _stream(self, inputs: Iterable[Input]) -> Iterator[Answer]:
        inputs = iter(inputs)
        while chunk := _chunk(inputs):
            yield from self._classify(chunk) if self.task == "classify" else self._complete(chunk)

    def _classify(self, inputs: list[Input]) -> list[Answer]:
        logits = self.logits([row.text for row in inputs], [row.text_pair for row in inputs])
        wide = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
        labels = self.labels
        answers: list[Answer] = []
        for probabilities in (wide / wide.sum(1, keepdims=True)).tolist():
            best = int(np.argmax(probabilities))
            scores = dict(zip(labels, probabilities, strict=True))
            answers.append(Classification(labels[best], probabilities[best], scores))
        return answers

    def _complete(self, inputs: list[Input]) -> list[Answer]:
        orders = "sentence_order" in self.model.heads
        for row in inputs:
            if MASK not in row.text + (row.text_pair or "") and not (orders and row.text_pair is not None):
                raise InputError(
                    f"{row.place}: no {MASK} in the text"
                    + (" and no text_pair" if orders else "")
                    + f"; a model without a task only fills masks, as in 'Paris is the {MASK} of France.'"
                    + (", and says whether a text_pair follows the text" if orders else "")
                    + "; for labels fine-tune it: litebert finetune classify"
                )
        texts, pairs = [row.text for row in inputs], [row.text_pair for row in inputs]
        return list(
            complete(self.model, self.tokenizer, texts, pairs, max_length=self.length, precision=self._precision)
        )


def _chunk(inputs: Iterator[Input]) -> list[Input]:
    """Take the next rows of a stream, up to a number of rows and about a number of characters."""
    chunk: list[Input] = []
    held = 0
    for row in islice(inputs, CHUNK_ROWS):
        chunk.append(row)
        held += len(row.text) + len(row.text_pair or "")
        if held >= CHUNK_CHARACTERS:
            break
    return chunk


def load(
    folder: str | Path,
    *,
    device: str = "auto",
    precision: Precision = "fp32",
    max_tokens: int = MAX_TOKENS,
) -> Predictor:
    """Load a model by its folder, ours or one of transformers, or by its name in the catalogue, to answer with.

    precision: fp32, whose answers do not depend on the machine; bf16; auto (bf16 where it is fast).
    max_tokens: of a batch. Raises ModelFolderError where the folder holds no model, a damaged one, or no
    tokenizer; TokenizerError where the tokenizer is another model's.
    """
    folder = find_model(folder)
    loaded = read_model(folder)
    tokenizer = model_tokenizer(folder)
    if not {"classify", "masked_lm"} & set(loaded.model.heads):
        raise ModelFolderError(
            f"{folder} holds an encoder that answers nothing by itself; give it a task: litebert finetune classify"
        )
    return Predictor(
        loaded.model, tokenizer, extra=loaded.extra, device=device, precision=precision, max_tokens=max_tokens
    )


def predict_file(
    model: str | Path,
    source: str | Path,
    out: str | Path | None = None,
    *,
    columns: Columns | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
) -> int:
    """Answer every row of a file, or of standard input ("-"), and write the records in order; returns their
    number.

    The fields of a row pass through, the answer's are added. `out` None: JSON lines on standard output. Rows
    are read, answered and written a chunk at a time; a file appears when it is whole.
    """
    if out is not None and str(source) != STDIN and Path(out).resolve() == Path(source).resolve():
        raise OutputError(f"{out} is the file with the rows; give --out another name")
    predictor = load(model, device=device, precision=precision)
    with progress("predicting", unit="rows") as advance:
        return write_rows(_answered(predictor, source, columns or Columns(), advance), out)


def _answered(predictor: Predictor, source: str | Path, wanted: Columns, advance: Advance) -> Iterator[Row]:
    rows = read_rows(source)
    found: Columns | None = None
    empty = 0
    while chunk := list(islice(rows, CHUNK_ROWS)):
        if found is None:
            found = find_columns(chunk[0].fields, wanted, source, trained=predictor.columns)
        inputs = [_row_input(row, found, source) for row in chunk]
        empty += sum(not row.text.strip() for row in inputs)
        for row, answer in zip(chunk, predictor._stream(inputs), strict=True):
            yield merged(row.fields, answer.to_dict())
        advance(len(chunk))
    if empty:
        log(f"note: {empty:,} rows have an empty text; they are answered as they are")


def _row_input(row: NumberedRow, columns: Columns, source: str | Path) -> Input:
    where = place(source, row.number)
    return Input(*texts_of(row.fields, columns, where), where)


def evaluate_model(
    model: str | Path,
    data: str | Path,
    *,
    columns: Columns | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
) -> dict[str, Any]:
    """Judge a fine-tuned model on labelled rows: its metrics, `rows`, and `confusion` {right: {answer:
    rows}}.

    Raises InputError for a label that the model does not know, naming the row.
    """
    predictor = load(model, device=device, precision=precision)
    if predictor.task != "classify":
        raise ModelFolderError(
            f"{model} is a pre-trained model without a task, so labels say nothing about it; "
            "fine-tune it first: litebert finetune classify"
        )
    rows = read_labelled(data, columns or Columns(), predictor.columns)
    gold = np.array(label_ids(rows, predictor.labels))
    if rows.empty:
        log(f"note: {rows.empty:,} rows have an empty text; they are answered as they are")
    with progress("evaluating", len(rows), "rows") as advance:
        logits = predictor.logits(rows.texts, rows.pairs, advance)
    metrics: dict[str, Any] = dict(classification_metrics(gold, logits))
    return metrics | {"rows": len(rows), "confusion": confusion(gold, logits.argmax(1), predictor.labels)}
