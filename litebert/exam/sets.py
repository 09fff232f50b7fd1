"""The one table of public data sets: where their files lie, how they are read, and by which rules they are judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from litebert.errors import ConfigError
from litebert.exam import readers
from litebert.exam.readers import Reader, table

Files = tuple[str, ...]
"""Files of one part of a set, or folders of such, in its folder."""

LANGUAGES = ("ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")

HELD_OUT = 0.2
"""Share of the rows that become the test where a set has none."""


@dataclass(frozen=True, kw_only=True)
class ExamSet:
    """One set. The best epoch is chosen on dev rows and the marks are those of test rows: these are never the same."""

    name: str
    title: str
    benchmark: str
    """The name it is asked for by, with others of its kind."""
    task: str
    folder: str
    train: Files
    test: Files = ()
    """None: a share of the training rows, by `group`, which are then not trained on."""
    dev: Files = ()
    """None: a tenth of the training rows, by `group`."""
    read: Reader
    read_test: Reader | None = None
    """Where the test is written in another way than the rest."""
    read_unlabelled: Reader | None = None
    group: str | None = None
    """Field that rows on both sides of a split never have in common."""
    others: Mapping[str, Files] = field(default_factory=dict)
    """More tests, judged by the same model: languages whose rows stand in the order of the first one's."""
    aligned: bool = False
    """The tests of `others` are the held-out places of files that have the same rows as `train`; else whole files."""
    elsewhere: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Sets of the same task from other places, by name, whose test rows the same model is judged on: what their labels
    are called here; rows with other labels are left out."""
    unknown: Mapping[str, Files] = field(default_factory=dict)
    """Texts that have none of the labels, `dev` and `test`: whether the model tells them from the others is judged."""
    metrics: tuple[str, ...]
    """What the marks are, the first one above all."""
    select: str | None = None
    """What the best epoch is chosen by; None: the first metric."""
    test_rows: int | None = None
    """Most rows of the test, a fixed draw."""
    baseline: Literal["tfidf", "majority", "none"] = "none"
    """TF-IDF and logistic regression (for numbers: the cosine of TF-IDF), the commonest answer, or nothing."""
    server: Mapping[str, Files] = field(default_factory=dict)
    """GLUE's server: from the official name of a file of answers to the names that the questions' file may have, in the
    set's folder; the first one that is there is answered."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """What the server calls our labels, where it calls them otherwise."""
    note: str = ""
    """A rule of this set that readers of the table should know."""
    otherwise: tuple[Mapping[str, Any], ...] = ()
    """Other ways in which the set is distributed, by the fields that differ; the first way whose files are all there is
    read."""

    def ways(self) -> list["ExamSet"]:
        """The set in every way in which it is distributed, this one first."""
        return [self, *(replace(self, otherwise=(), **fields) for fields in self.otherwise)]

    def part_files(self) -> dict[str, Files]:
        """The files that must be there, by part."""
        return {part: files for part, files in (("train", self.train), ("dev", self.dev), ("test", self.test)) if files}


NO_TEST = "its test has no labels, so the official dev rows are the test; the best epoch is chosen on a tenth of train"

_PAIR = {"text": "sentence1", "text_pair": "sentence2"}
_ENTAILMENT = {"entailment": "entailment", "not_entailment": "not_entailment"}
_MOODS = {"0": "negative", "1": "positive"}
_JUDGED = {"0": "unacceptable", "1": "acceptable"}
_FOLLOWS = {"0": "not_entailment", "1": "entailment"}
_SAME = {"0": "different", "1": "paraphrase"}
_TWIN = {"0": "different", "1": "duplicate"}
_ALIKE = {"negative": "negative", "positive": "positive"}
_REVIEWS = {"neg": "negative", "pos": "positive"}
_NLI = {"entailment": "entailment", "neutral": "neutral", "contradiction": "contradiction"}
_UNLABELLED = ("test_unlabelled.tsv", "test.tsv")


def _back(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: number for number, name in labels.items()}


GLUE = (
    ExamSet(
        name="sst2",
        title="SST-2",
        benchmark="glue",
        task="classify",
        folder="glue/SST-2",
        train=("train.tsv",),
        dev=("dev.tsv",),
        test=("test_labelled.tsv",),
        read=table({"text": "sentence", "label": "label"}, labels=_MOODS),
        read_unlabelled=table({"id": "index", "text": "sentence"}),
        elsewhere={"imdb": _REVIEWS, "tweet-sentiment": _ALIKE},
        metrics=("accuracy",),
        baseline="tfidf",
        server={"SST-2": _UNLABELLED},
        answers=_back(_MOODS),
        note="test: the labelled test of the Stanford Sentiment Treebank; published rows are of its dev",
        otherwise=({"dev": (), "test": ("dev.tsv",), "note": NO_TEST},),
    ),
    ExamSet(
        name="cola",
        title="CoLA",
        benchmark="glue",
        task="classify",
        folder="glue/CoLA",
        train=("train.tsv",),
        test=("dev.tsv",),
        read=table({"text": "3", "label": "1"}, header=False, labels=_JUDGED),
        read_unlabelled=table({"id": "index", "text": "sentence"}),
        metrics=("matthews", "accuracy"),
        baseline="tfidf",
        server={"CoLA": _UNLABELLED},
        answers=_back(_JUDGED),
        note=NO_TEST,
    ),
    ExamSet(
        name="rte",
        title="RTE",
        benchmark="glue",
        task="classify",
        folder="glue/RTE",
        train=("train.tsv",),
        test=("dev.tsv",),
        read=table(_PAIR | {"label": "label"}, labels=_ENTAILMENT),
        read_unlabelled=table({"id": "index"} | _PAIR),
        metrics=("accuracy",),
        baseline="majority",
        server={"RTE": _UNLABELLED},
        note=NO_TEST,
    ),
    ExamSet(
        name="wnli",
        title="WNLI",
        benchmark="glue",
        task="classify",
        folder="glue/WNLI",
        train=("train.tsv",),
        test=("dev.tsv",),
        read=table(_PAIR | {"label": "label"}, labels=_FOLLOWS),
        read_unlabelled=table({"id": "index"} | _PAIR),
        group="text",
        metrics=("accuracy",),
        baseline="majority",
        server={"WNLI": _UNLABELLED},
        answers=_back(_FOLLOWS),
        note=NO_TEST + ". That dev has sentences of train with the other label: what was learnt by heart is wrong "
        "there, and less than by the commonest answer is usual",
    ),
    ExamSet(
        name="mrpc",
        title="MRPC",
        benchmark="glue",
        task="classify",
        folder="glue/MRPC",
        train=("msr_paraphrase_train.txt",),
        test=("msr_paraphrase_test.txt",),
        read=table({"text": "#1 String", "text_pair": "#2 String", "label": "Quality"}, labels=_SAME),
        read_unlabelled=readers.numbered(table({"text": "#1 String", "text_pair": "#2 String"})),
        metrics=("accuracy", "f1"),
        baseline="majority",
        server={"MRPC": (*_UNLABELLED, "msr_paraphrase_test.txt")},  # the server's rows, in its order
        answers=_back(_SAME),
        note="the original files: GLUE's dev is part of their train, so the original test is the test (the published "
        "rows are of dev) and the best epoch is chosen on a tenth of train",
        otherwise=({"train": ("train.tsv",), "test": ("dev.tsv",), "note": NO_TEST},),
    ),
    ExamSet(
        name="stsb",
        title="STS-B",
        benchmark="glue",
        task="regress",
        folder="glue/STS-B",
        train=("train.tsv",),
        dev=("dev.tsv",),
        test=("sts-test-labelled.tsv",),
        read=table(_PAIR | {"value": "score"}, number="value"),
        read_test=table({"text": "5", "text_pair": "6", "value": "4"}, header=False, number="value"),
        read_unlabelled=table({"id": "index"} | _PAIR),
        metrics=("pearson", "spearman"),
        select="pearson_spearman",
        baseline="tfidf",
        server={"STS-B": _UNLABELLED},
        note="test: the labelled test of the STS benchmark; published rows are of its dev",
        otherwise=({"dev": (), "test": ("dev.tsv",), "read_test": None, "note": NO_TEST},),
    ),
    ExamSet(
        name="qnli",
        title="QNLI",
        benchmark="glue",
        task="classify",
        folder="glue/QNLI",
        train=("train.tsv",),
        test=("dev.tsv",),
        read=table({"text": "question", "text_pair": "sentence", "label": "label"}, labels=_ENTAILMENT, tolerant=True),
        read_unlabelled=table({"id": "index", "text": "question", "text_pair": "sentence"}, tolerant=True),
        metrics=("accuracy",),
        baseline="majority",
        server={"QNLI": _UNLABELLED},
        note=NO_TEST,
    ),
    ExamSet(
        name="mnli",
        title="MNLI",
        benchmark="glue",
        task="classify",
        folder="glue/MNLI",
        train=("train.tsv",),
        test=("dev_matched.tsv",),
        read=table(_PAIR | {"label": "gold_label"}, labels=_NLI, tolerant=True),
        read_unlabelled=table({"id": "index"} | _PAIR, tolerant=True),
        group="text",  # each has three hypotheses
        others={"mismatched": ("dev_mismatched.tsv",)},
        metrics=("accuracy",),
        baseline="majority",
        server={
            "MNLI-m": ("test_matched.tsv",),
            "MNLI-mm": ("test_mismatched.tsv",),
            "AX": ("../diagnostic/diagnostic.tsv", "../AX/diagnostic.tsv", "../AX/test.tsv"),
        },
        note=NO_TEST,
    ),
    ExamSet(
        name="qqp",
        title="QQP",
        benchmark="glue",
        task="classify",
        folder="glue/QQP",
        train=("train.tsv",),
        test=("dev.tsv",),
        read=table(
            {"text": "question1", "text_pair": "question2", "label": "is_duplicate"}, labels=_TWIN, tolerant=True
        ),
        read_unlabelled=table({"id": "id", "text": "question1", "text_pair": "question2"}, tolerant=True),
        metrics=("accuracy", "f1"),
        baseline="majority",
        server={"QQP": _UNLABELLED},
        answers=_back(_TWIN),
        note=NO_TEST,
    ),
)

_EMBEDDED = "learnt as embeddings whose cosines have the order of the scores; the two texts never see each other"

SIMILARITY = (
    replace(
        next(one for one in GLUE if one.name == "stsb"),
        name="stsb-embed",
        title="STS-B, embeddings",
        benchmark="similarity",
        task="embed",
        metrics=("spearman", "pearson"),
        select=None,
        server={},
        otherwise=({"dev": (), "test": ("dev.tsv",), "read_test": None, "note": f"{_EMBEDDED}; {NO_TEST}"},),
        note=_EMBEDDED,
    ),
)

_OFFICIAL_DEV = "the official dev is the test; the best epoch is chosen on a tenth of train, in whole articles"

QUESTIONS = (
    ExamSet(
        name="squad1",
        title="SQuAD 1.1",
        benchmark="squad",
        task="qa",
        folder="squad",
        train=("train-v1.1.json",),
        test=("dev-v1.1.json",),
        read=readers.squad,
        group="title",
        metrics=("f1", "exact"),
        note=_OFFICIAL_DEV,
        otherwise=(
            {
                "train": ("dev-v1.1.json",),
                "test": (),
                "note": "by articles, as only its dev could be had: a fifth of the questions, in whole articles, are "
                "the test; published rows learnt from ten times as many questions and are of all of dev",
            },
        ),
    ),
    ExamSet(
        name="squad2",
        title="SQuAD 2.0",
        benchmark="squad",
        task="qa",
        folder="squad",
        train=("train-v2.0.json",),
        test=("dev-v2.0.json",),
        read=readers.squad,
        group="title",
        metrics=("best_f1", "best_exact"),
        note=_OFFICIAL_DEV + "; thresholds tuned on it, as by the official script",
        otherwise=(
            {
                "train": ("cs224n-dev-v2.0.json",),
                "test": (),
                "note": "half of its dev, split by article, thresholds tuned on the test as by the official script. "
                "Its articles are also in SQuAD 1.1: the two are never mixed, each is learnt and judged by itself",
            },
        ),
    ),
    ExamSet(
        name="tydiqa",
        title="TyDiQA English",
        benchmark="squad",
        task="qa",
        folder="tydiqa",
        train=("tydiqa.goldp.en.train.json",),
        read=readers.squad,
        group="context",
        metrics=("f1", "exact"),
        note="its dev has lost its answers: a fifth of train is the test, no context on both sides. The file does not "
        "say of which article a context is, so that passages of one article may be on both sides",
    ),
)

INFERENCE = (
    ExamSet(
        name="xnli",
        title="XNLI dev",
        benchmark="xnli",
        task="classify",
        folder="xnli",
        train=("dev-en.tsv",),
        read=table({"text": "0", "text_pair": "1", "label": "2"}, header=False, labels=_NLI),
        group="text",
        others={language: (f"dev-{language}.tsv",) for language in LANGUAGES},
        aligned=True,
        metrics=("accuracy",),
        baseline="majority",
        note="learnt from four fifths of the English dev, split by premise; the other languages are judged on the same "
        "held-out premises, and are never learnt from",
    ),
)

CHOICE = (
    ExamSet(
        name="copa",
        title="COPA",
        benchmark="choice",
        task="choice",
        folder="copa",
        train=("train-en.jsonl",),
        test=("val-en.jsonl",),
        read=readers.copa,
        metrics=("accuracy",),
        baseline="majority",
        note="the labels of its test were never published (files of it have 0 everywhere): the official dev rows, 100, "
        "are the test; the best epoch is chosen on a tenth of train",
    ),
    ExamSet(
        name="dream",
        title="DREAM",
        benchmark="choice",
        task="choice",
        folder="dream",
        train=("train.json",),
        dev=("dev.json",),
        test=("test.json",),
        read=readers.dream,
        metrics=("accuracy",),
        baseline="majority",
    ),
    ExamSet(
        name="race",
        title="RACE",
        benchmark="choice",
        task="choice",
        folder="RACE",
        train=("train/middle", "train/high"),
        dev=("dev/middle", "dev/high"),
        test=("test/middle", "test/high"),
        read=readers.race,
        others={"middle": ("test/middle",), "high": ("test/high",)},
        metrics=("accuracy",),
        baseline="majority",
    ),
    *(
        ExamSet(
            name=f"arc-{level}",
            title=f"ARC {level}",
            benchmark="choice",
            task="choice",
            folder="arc",
            train=(f"arc_{level}_train.csv",),
            test=(f"arc_{level}_validation.csv",),
            read=readers.arc,
            metrics=("accuracy",),
            baseline="majority",
            note="test: the official validation; without the texts that ARC lets a system look things up in",
        )
        for level in ("challenge", "easy")
    ),
)

ENTITIES = (
    ExamSet(
        name="wnut17",
        title="WNUT17",
        benchmark="ner",
        task="ner",
        folder="wnut17",
        train=("wnut17train.conll",),
        dev=("emerging.dev.conll",),
        test=("emerging.test.annotated",),
        read=readers.conll,
        metrics=("f1",),
        note="F1 of entities; the test is of other years and places than train, and its entities are new",
    ),
)


def _tweets(part: str) -> Files:
    return (f"{part}_text.txt", f"{part}_labels.txt", "mapping.txt")


SENTIMENT = (
    ExamSet(
        name="imdb",
        title="IMDB",
        benchmark="sentiment",
        task="classify",
        folder="imdb",
        train=("train.jsonl.xz",),
        test=("test.jsonl.xz",),
        read=readers.json_lines,
        elsewhere={"sst2": _back(_REVIEWS), "tweet-sentiment": _back(_REVIEWS)},
        metrics=("accuracy",),
        test_rows=3000,
        baseline="tfidf",
        note="3,000 reviews of the test, always the same; reviews longer than the model reads are read in windows",
    ),
    ExamSet(
        name="tweet-sentiment",
        title="TweetEval sentiment",
        benchmark="sentiment",
        task="classify",
        folder="tweeteval/sentiment",
        train=_tweets("train"),
        dev=_tweets("val"),
        test=_tweets("test"),
        read=readers.parallel_files,
        elsewhere={"sst2": _ALIKE, "imdb": _REVIEWS},
        metrics=("macro_recall", "accuracy"),
        select="macro_f1",
        baseline="tfidf",
        otherwise=(
            {
                "train": _tweets("test"),
                "dev": (),
                "test": _tweets("val"),
                "note": "the texts of its train could not be had: learnt from the official test, judged on the "
                "official validation, so no published row is comparable",
            },
        ),
    ),
    ExamSet(
        name="tweet-emotion",
        title="TweetEval emotion",
        benchmark="sentiment",
        task="classify",
        folder="tweeteval/emotion",
        train=_tweets("train"),
        dev=_tweets("val"),
        test=_tweets("test"),
        read=readers.parallel_files,
        metrics=("macro_f1", "accuracy"),
        baseline="tfidf",
    ),
    ExamSet(
        name="sms-spam",
        title="SMS spam",
        benchmark="sentiment",
        task="classify",
        folder="sms_spam",
        train=("SMSSpamCollection",),
        read=table({"text": "SMS", "label": "Label"}, labels={"ham": "ham", "spam": "spam"}),
        group="text",
        metrics=("f1", "accuracy"),
        baseline="tfidf",
        note="F1 of spam; it has no official split: a fifth is the test, and messages that occur several times are "
        "all on one side",
    ),
)


def _clinc(part: str) -> Files:
    return (f"{part}/seq.in", f"{part}/label")


INTENT = tuple(
    ExamSet(
        name=name,
        title=title,
        benchmark="intent",
        task="classify",
        folder="clinc150",
        train=_clinc(train),
        dev=_clinc("valid"),
        test=_clinc("test"),
        read=readers.parallel_files,
        unknown={"dev": _clinc("oos/valid"), "test": _clinc("oos/test")},
        metrics=("accuracy",),
        baseline="tfidf",
        note=note,
    )
    for name, title, train, note in (
        ("clinc150", "CLINC150", "train", "150 intents, without those out of scope"),
        ("clinc150-10", "CLINC150, 10 shots", "train_10", "the published draw of ten examples an intent"),
    )
)

SETS = {one.name: one for one in (*GLUE, *SIMILARITY, *QUESTIONS, *INFERENCE, *CHOICE, *ENTITIES, *SENTIMENT, *INTENT)}

EXTRA = {"sentiment": ("sst2",)}
"""Sets that belong to more than one benchmark."""

ALL = "all"


def benchmarks() -> dict[str, tuple[str, ...]]:
    """The sets of every benchmark, by its name; `all` has every set."""
    names: dict[str, list[str]] = {}
    for one in SETS.values():
        names.setdefault(one.benchmark, list(EXTRA.get(one.benchmark, ()))).append(one.name)
    return {name: tuple(found) for name, found in names.items()} | {ALL: tuple(SETS)}


def sets_of(benchmark: str) -> list[ExamSet]:
    """The sets of a benchmark; raises ConfigError, naming those there are."""
    known = benchmarks()
    if benchmark not in known:
        raise ConfigError(f"the benchmark {benchmark!r} is unknown; use one of {', '.join(known)}")
    return [SETS[name] for name in known[benchmark]]


def check_names(names: Sequence[str], setting: str) -> None:
    """Raise ConfigError where a name is none of a set."""
    for name in names:
        if name not in SETS:
            raise ConfigError(f"{setting}: there is no set {name!r}; use names of {', '.join(SETS)}")


def lacking(one: ExamSet, folder: Path) -> list[str]:
    """The files of a set that a data folder has not; none where it is there in one of its ways."""
    missing = [_missing(way, folder) for way in one.ways()]
    return missing[0] if all(missing) else []


def as_distributed(one: ExamSet, folder: Path) -> ExamSet:
    """The set in the first way of distributing it that a data folder has whole."""
    return next((way for way in one.ways() if not _missing(way, folder)), one)


def _missing(one: ExamSet, folder: Path) -> list[str]:
    return [
        str(Path(one.folder, file))
        for files in one.part_files().values()
        for file in files
        if not (folder / one.folder / file).exists()
    ]
