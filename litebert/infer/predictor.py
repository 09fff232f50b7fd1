"""A model folder that answers: `load(folder).predict(rows or texts)`, files in and out, and metrics on
labelled rows."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, get_args

from litebert.console import Advance, log, progress
from litebert.data.catalog import find_model
from litebert.data.labelled import Columns, Labelled, merged
from litebert.data.rows import STDIN, Row, require_writable, write_rows
from litebert.data.shards import open_corpus
from litebert.errors import ConfigError, InputError, ModelFolderError, OutputError
from litebert.evaluate.calibration import Decisions
from litebert.evaluate.metrics import Floats
from litebert.infer.abstaining import answer_field, withheld
from litebert.infer.fill_mask import MASK, complete
from litebert.infer.held_out import held_out_metrics
from litebert.interop.huggingface import OWN, model_tokenizer, read_model
from litebert.model.device import Precision, autocast, choose_device
from litebert.model.heads import AlbertWithHeads
from litebert.model.outputs import MAX_TOKENS, head_outputs
from litebert.tasks.table import FILL_MASK, TASKS, AnyTask, task_of
from litebert.tasks.task import Answer, Encoded, Windowing
from litebert.text.tokenizer import Tokenizer

CHUNK_ROWS, CHUNK_CHARACTERS = 2048, 4_000_000
"""How much is answered at a time: enough to sort by length, little enough to hold, and to go on reading a
stream."""


class Input(NamedTuple):
    """A row as the model reads it."""

    given: Any
    """A task's input; without a task a `TextInput`."""
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
        self.windowing = Windowing(int(extra.get("length", model.config.max_position_embeddings)), extra.get("stride"))
        """How texts that are longer than a sequence are read."""
        self.columns = Columns(**extra["columns"]) if "columns" in extra else None
        """The columns that the model was fine-tuned on."""
        self.decision: Mapping[str, Any] = extra.get("decision", {})
        """What was decided in training, see `Task.decide`."""
        self.job = task_of(model, extra)
        """How the model's task is done; None for a pre-trained model without one."""
        self._reader: AnyTask = self.job or TASKS["classify"]
        self._precision = lambda: autocast(precision, self.device)

    @property
    def task(self) -> str:
        """The name of the task, or `fill-mask` for a pre-trained model without one."""
        return self.job.name if self.job else FILL_MASK

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the outputs of the task's head, in the model's order."""
        return self.model.config.labels if self.job else ()

    def predict(self, rows: str | Mapping[str, Any] | Iterable[str | Mapping[str, Any]]) -> list[Answer]:
        """Answer texts, or rows with the fields of the task: one typed answer a row, in order.

        Longer texts than the model's are read in windows; where something has to be cut, stderr says how often.
        Raises InputError for a row that the model cannot answer.
        """
        return list(self.predict_iter(rows))

    def predict_iter(self, rows: str | Mapping[str, Any] | Iterable[str | Mapping[str, Any]]) -> Iterator[Answer]:
        """Answer a stream of rows, some thousands at a time, in order."""
        return self._stream(
            Input(self._reader.plain_input(row, f"row {i}", self.columns), f"row {i}")
            for i, row in enumerate(_each(rows), 1)
        )

    def encode(self, inputs: Sequence[Any]) -> Encoded:
        """Inputs of the task as the model reads them."""
        encoded: Encoded = self._reader.encode(inputs, self.tokenizer, self.windowing)
        return encoded

    def outputs(self, encoded: Encoded, advance: Advance | None = None) -> Floats:
        """What the task's head says of encoded rows: (n, C) or (total tokens, C), see `head_outputs`."""
        return head_outputs(
            self.model,
            self._reader.head,
            encoded.examples,
            precision=self._precision,
            max_tokens=self.max_tokens,
            advance=advance,
        )

    def _stream(self, inputs: Iterable[Input], counts: Counter[str] | None = None) -> Iterator[Answer]:
        """counts: takes what is to be said of the rows in the end, by the caller; None: what was cut is said here."""
        inputs, own = iter(inputs), Counter[str]()
        while chunk := self._chunk(inputs):
            yield from self._answer(chunk, own if counts is None else counts)
        for note in self._reader.window_notes(0, own["cut"], self.windowing.length):
            log(f"note: {note}")

    def _answer(self, inputs: list[Input], counts: Counter[str]) -> Sequence[Answer]:
        counts["empty"] += sum(not self._reader.size(row.given) for row in inputs)
        if self.job is None:
            return self._complete(inputs)
        encoded = self.encode([row.given for row in inputs])
        counts.update(long=encoded.long_rows, cut=encoded.cut)
        return self.job.answers(encoded, self.outputs(encoded), self.labels, self.decision)

    def _complete(self, inputs: list[Input]) -> list[Answer]:
        orders = "sentence_order" in self.model.heads
        for given, where in inputs:
            if MASK not in given.text + (given.text_pair or "") and not (orders and given.text_pair is not None):
                raise InputError(
                    f"{where}: no {MASK} in the text"
                    + (" and no text_pair" if orders else "")
                    + f"; a model without a task only fills masks, as in 'Paris is the {MASK} of France.'"
                    + (", and says whether a text_pair follows the text" if orders else "")
                    + "; for labels fine-tune it: litebert finetune classify"
                )
        texts, pairs = [row.given.text for row in inputs], [row.given.text_pair for row in inputs]
        length = self.windowing.length
        return list(complete(self.model, self.tokenizer, texts, pairs, max_length=length, precision=self._precision))

    def _chunk(self, inputs: Iterator[Input]) -> list[Input]:
        """Take the next rows of a stream, up to a number of rows and about a number of characters."""
        chunk: list[Input] = []
        held = 0
        for row in islice(inputs, CHUNK_ROWS):
            chunk.append(row)
            held += self._reader.size(row.given)
            if held >= CHUNK_CHARACTERS:
                break
        return chunk


def _each(rows: Any) -> Iterable[Any]:
    """The rows of whatever holds some: one row by itself, a table of pandas or polars, or anything to go through."""
    if isinstance(rows, str | Mapping):
        return [rows]
    if hasattr(rows, "columns") and hasattr(rows, "to_dict"):
        records: list[Any] = rows.to_dicts() if hasattr(rows, "to_dicts") else rows.to_dict("records")
        return records
    if not isinstance(rows, Iterable):
        raise InputError(f"rows are a {type(rows).__name__}; give a text, a dict, or a list of them")
    return rows


def load(
    folder: str | Path,
    *,
    task: str | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
    max_tokens: int = MAX_TOKENS,
) -> Predictor:
    """Load a model by its folder, ours or one of transformers, or by its name in the catalogue, to answer with.

    task: what to answer instead of the model's own task: `embed`, which every encoder can, or `fill-mask`.
    precision: fp32, whose answers do not depend on the machine; bf16; auto (bf16 where it is fast).
    max_tokens: of a batch. Raises ModelFolderError where the folder holds no model, a damaged one, or no
    tokenizer; TokenizerError where the tokenizer is another model's.
    """
    if task not in (None, "embed", FILL_MASK):
        raise ConfigError(
            f"task {task!r}: a model answers what it was fine-tuned for; besides it can be asked for embed and "
            f"{FILL_MASK}"
        )
    if not isinstance(folder, str | Path):
        raise ConfigError(f"a model is loaded by its folder or its name, not by {folder!r}")
    if precision not in get_args(Precision):
        raise ConfigError(f"precision {precision!r}: use one of {', '.join(get_args(Precision))}")
    if not isinstance(max_tokens, int) or max_tokens < 1:
        raise ConfigError(f"max_tokens = {max_tokens!r}: expected a number of tokens, 1 or more")
    folder = find_model(folder)
    loaded = read_model(folder, ("embed",) if task == "embed" else None)
    tokenizer = model_tokenizer(folder)
    extra = loaded.extra if task is None else loaded.extra | {"task": task}
    if task_of(loaded.model, extra) is None and "masked_lm" not in loaded.model.heads:
        raise ModelFolderError(
            f"{folder} has no head for masked words; ask another model"
            if task == FILL_MASK
            else f"{folder} holds an encoder that answers nothing by itself; give it a task (litebert finetune "
            "classify), or ask for sentence embeddings: --task embed"
        )
    try:
        return Predictor(
            loaded.model, tokenizer, extra=extra, device=device, precision=precision, max_tokens=max_tokens
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFolderError(f"{folder / OWN} is damaged ({error}): copy the folder again") from error


def predict_file(
    model: str | Path,
    source: str | Path,
    out: str | Path | None = None,
    *,
    columns: Columns | None = None,
    abstain_below: float | None = None,
    task: str | None = None,
    device: str = "auto",
) -> int:
    """Answer every row of a file, or of standard input ("-"), and write the records in order; returns their
    number.

    task: see `load`. The fields of a row pass through, the answer's are added. `out` None: JSON lines on standard
    output. Rows are read, answered and written a chunk at a time; a file appears when it is whole. `abstain_below`:
    answers of less probability are left out (`abstained`); raises ConfigError where the model's answers have none.
    """
    if out is not None and str(source) != STDIN and Path(out).resolve() == Path(source).resolve():
        raise OutputError(f"{out} is the file with the rows; give --out another name")
    predictor = load(model, task=task, device=device)
    if out is not None:  # what cannot be read twice, as a pipe, tells its fields as it goes
        again = predictor._reader.rows(source) if Path(source).is_file() else ()
        require_writable((fields for _, fields in again), out)
    field = "" if abstain_below is None else answer_field(predictor.job, abstain_below)
    with progress("predicting", unit="rows") as advance:
        rows = _answered(predictor, source, columns or Columns(), advance, field, abstain_below or 0.0)
        return write_rows(rows, out)


def _answered(
    predictor: Predictor, source: str | Path, wanted: Columns, advance: Advance, field: str, threshold: float
) -> Iterator[Row]:
    """Rows with their answers; `field`: what is left empty below the threshold, "" where nothing is."""
    reader = predictor._reader
    rows = reader.rows(source)
    found: Columns | None = None
    counts = Counter[str]()
    while chunk := list(islice(rows, CHUNK_ROWS)):
        if found is None:
            found = reader.columns(chunk[0][1], wanted, source, trained=predictor.columns)
        inputs = [Input(reader.input(fields, found, where), where) for where, fields in chunk]
        for (_, fields), answer in zip(chunk, predictor._stream(inputs, counts), strict=True):
            record = withheld(answer.to_dict(), field, threshold) if field else answer.to_dict()
            counts.update(rows=1, abstained=record.get("abstained", False))
            yield merged(fields, record)
        advance(len(chunk))
    if field:
        log(
            f"note: {counts['abstained']:,} of {counts['rows']:,} rows are left without an answer, their best "
            f"probability being below {threshold:g}"
        )
    if counts["empty"]:
        log(f"note: {counts['empty']:,} rows have an empty text; they are answered as they are")
    for note in reader.window_notes(counts["long"], counts["cut"], predictor.windowing.length):
        log(f"note: {note}")


def held_out(predictor: Predictor, data: str | Path) -> dict[str, Any] | None:
    """See `held_out_metrics`; None where the model has a task, or `data` is no folder. Raises InputError for what is
    nowhere."""
    if str(data) != STDIN and not Path(data).exists():
        raise InputError(f"{data}: no such file or folder")
    if predictor.job is not None or not Path(data).is_dir():
        return None
    return held_out_metrics(predictor.model, predictor.tokenizer, open_corpus(data), predictor._precision)


def task_to_judge(predictor: Predictor, model: str | Path) -> AnyTask:
    """The task of a loaded model; raises ModelFolderError where it has none."""
    if predictor.job is None:
        raise ModelFolderError(
            f"{model} is a pre-trained model without a task, so labels say nothing about it; "
            "fine-tune it first: litebert finetune classify; or give a prepared folder, for its held-out text"
        )
    return predictor.job


class Judged(NamedTuple):
    """What a task model says of labelled rows, and what that is worth."""

    rows: Labelled[Any, Any]
    encoded: Encoded
    outputs: Floats
    """Of the task's head."""
    metrics: dict[str, Any]
    """With `rows`, their number, and the tables of the task."""
    decisions: Decisions | None
    """None where answers are no classes."""


def judged(
    predictor: Predictor, task: AnyTask, rows: Labelled[Any, Any], label: str = "evaluating", *, notes: bool = True
) -> Judged:
    """Answer labelled rows and compare; `label`: what the progress is called; notes: say what is unusual."""
    task.check_judged(rows)
    encoded = predictor.encode(rows.inputs)
    gold = task.gold(rows, encoded, predictor.labels)
    for note in (*rows.notes, *task.window_notes(encoded.long_rows, encoded.cut, predictor.windowing.length)):
        if notes:
            log(f"note: {note}")
    with progress(label, len(encoded.examples), "sequences") as advance:
        outputs = predictor.outputs(encoded, advance)
    metrics: dict[str, Any] = dict(task.judge(encoded, gold, outputs, predictor.labels, predictor.decision))
    decisions = task.decisions(encoded, gold, outputs) if task.decides else None
    if decisions is not None:
        metrics["ece"] = task.calibration_error(rows, encoded, outputs, predictor.labels, predictor.decision, decisions)
    tables = {"rows": len(rows)} | task.confusion(gold, outputs, encoded, predictor.labels)
    return Judged(rows, encoded, outputs, metrics | tables, decisions)
