"""From labelled rows to answers and marks: `finetune`, `predict`, `evaluate`, `benchmark`."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from litebert.commands.flags import Answer, MaybeWhole, Set, Switch, resolve
from litebert.errors import ConfigError

if TYPE_CHECKING:
    from litebert.train.job import FinetuneSettings


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
    tune: MaybeWhole = None
    """Trials of a search for rate, epochs, batch size, warmup and weight decay around the given ones; the best one's
    model is kept. OUT.tune holds the trials and the winner's recipe; a search that was killed goes on there."""
    epochs: float | None = None
    """Passes over the training rows."""
    batch_size: MaybeWhole = None
    """Sequences a step."""
    length: MaybeWhole = None
    """Most tokens of a sequence; longer texts are divided into overlapping windows."""
    learning_rate: float | None = None
    """Peak rate; by the width of the model where not given."""
    seed: MaybeWhole = None
    """Decides the head's weights, the order of rows, and dropout."""
    seeds: MaybeWhole = None
    """Fine-tune that many times; gives mean and interval, keeps the best."""
    train_rows: MaybeWhole = None
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
        return resolve(FinetuneSettings, self.config, flags, self.assignments)


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
    """Labelled rows to choose a threshold for --out-of-scope by; with --dev-out-of-scope."""
    dev_out_of_scope: Path | None = None
    """Rows of no label to choose a threshold by; with --dev."""
    perturb: Switch = False
    """Judge the rows again with typos, other letters, spellings and words, and phrases said otherwise."""
    seed: MaybeWhole = None
    """Of --perturb; 1 where not given."""


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
        Probability below which a row is left without an answer (classify, choice, qa): `abstained` is true then.
    task
        embed or fill-mask, instead of what the model is for: sentence embeddings of any encoder, or its masked words.
    device
        auto, cpu or cuda.
    """
    from litebert.data.labelled import Columns
    from litebert.data.rows import STDIN
    from litebert.infer.predictor import predict_file

    columns = Columns(text, text_pair)
    out = None if out is not None and str(out) == STDIN else out
    predict_file(model, source, out, columns=columns, task=task, abstain_below=abstain_below, device=device)


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
        if asked != JudgeFlags() or device != "auto":
            raise ConfigError("predictions are judged as they are; that option needs --model and --data")
        from litebert.tasks.scoring import score_files

        metrics = score_files(predictions, gold, task=task, no_answer=no_answer_probabilities, columns=columns, by=by)
    elif model is not None and data is not None and predictions is None and gold is None:
        from litebert.infer.judging import Questions, judge_model, named_labels, table

        for option, value in (("--task", task), ("--by", by), ("--no-answer-probabilities", no_answer_probabilities)):
            if value is not None:
                raise ConfigError(f"{option} goes with --predictions and --gold; a model knows its task")
        if asked.seed is not None and not asked.perturb:
            raise ConfigError("--seed is that of --perturb; nothing else in a judgement is left to chance")
        questions = Questions(
            labels=named_labels(asked.labels or ""),
            abstain_below=asked.abstain_below,
            out_of_scope=asked.out_of_scope,
            dev=asked.dev,
            dev_out_of_scope=asked.dev_out_of_scope,
            perturb=asked.perturb,
            seed=1 if asked.seed is None else asked.seed,
        )
        metrics = judge_model(model, data, columns=columns, questions=questions, device=device)
        shown = table(metrics)
    else:
        raise ConfigError("give either --model DIR and --data FILE, or --predictions FILE and --gold FILE")
    return Answer(data=metrics, text=f"{shown}{json.dumps(metrics, ensure_ascii=False)}")


def benchmark(
    name: str,
    /,
    *,
    model: str,
    out: Path,
    data: Path | None = None,
    config: Path | None = None,
    seeds: MaybeWhole = None,
    twin: Switch = False,
    assignments: Set = None,
) -> Answer:
    """Fine-tune and judge a model on public data sets, and put it into a table beside other systems.

    The same command goes on where it stopped. Writes results.md, results.json and results.html.

    Parameters
    ----------
    name
        glue, similarity, squad, xnli, choice, ner, sentiment, intent, or all.
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
    settings = resolve(BenchmarkSettings, config, flags, assignments)
    table = run(name, model=find_model(model), out=out, data=data, settings=settings)
    return Answer(data=table.to_dict(), text=table.show)
