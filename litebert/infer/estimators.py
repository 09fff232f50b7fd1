"""scikit-learn estimators: fine-tuning and predicting behind `fit`, `predict` and `score`, in pipelines and searches.

    TextClassifier(model="model", epochs=3).fit(texts, labels).predict(["a fine film"])

They keep the fitted model as the bytes of its files, safetensors among them, so that copies, pickles and other
processes have all of it.
"""

import contextlib
import itertools
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from litebert import config
from litebert.data.labelled import LARGEST, Columns, Labelled
from litebert.errors import ConfigError, InputError
from litebert.evaluate.entities import Chunk, chunks, entity_metrics, parse_tag, tags_of
from litebert.infer.predictor import Predictor, load
from litebert.tasks.table import TASKS
from litebert.tasks.texts import TextInput
from litebert.train.finetune import teach
from litebert.train.job import FinetuneSettings

FEWEST = 20
"""With fewer rows than this none are held out to choose the best state by; it is chosen on all of them."""


class TextEstimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn says nothing of its types
    """What the estimators share. `get_params`, `set_params` and `clone` are scikit-learn's own.

    Fitted, it has `report_`, `n_features_in_` and, where X was a table with names, `feature_names_in_`.
    """

    task: ClassVar[str]

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        epochs: float | None = None,
        batch_size: int = 32,
        learning_rate: float | None = None,
        length: int | None = None,
        seed: int = 1,
        held_out: float = 0.1,
        settings: Mapping[str, Any] | None = None,
        verbose: bool = False,
    ) -> None:
        """Take note of the parameters; `fit` checks them.

        model: the folder to start from. held_out: share of the rows by which the best state is chosen. settings: any
        other of `FinetuneSettings`. verbose: say on stderr what fine-tuning says.
        """
        self.model = model
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.length = length
        self.seed = seed
        self.held_out = held_out
        self.settings = settings
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        """Texts instead of tables of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        return tags

    def __getstate__(self) -> Any:
        """All but what is made again of the model's files when it is needed."""
        return {name: value for name, value in super().__getstate__().items() if name != "_loaded"}

    def _fit(self, inputs: list[Any], targets: list[Any], sample_weight: Any) -> None:
        """Fine-tune in a folder that is gone afterwards, and keep the model's files."""
        if not isinstance(self.model, str | Path):
            raise ConfigError(f"model = {self.model!r}: name the folder of the model to start from")
        if not isinstance(self.held_out, int | float) or not 0 <= self.held_out < 1:
            raise ConfigError(f"held_out = {self.held_out!r}: expected a share from 0, and less than 1")
        if not isinstance(self.seed, int | np.integer) or self.seed < 0:
            raise ConfigError(f"seed = {self.seed!r}: expected a whole number from 0")
        if not isinstance(self.settings, Mapping | None):
            raise ConfigError(f"settings = {self.settings!r}: expected a dictionary of settings of FinetuneSettings")
        weights = _weights(sample_weight, len(inputs))
        if weights is not None:  # a row of no weight is as one that is not there
            kept = np.flatnonzero(weights)
            inputs, targets, weights = [inputs[i] for i in kept], [targets[i] for i in kept], weights[kept]
        train, dev = self._divided(targets)
        rows = [
            Labelled(
                source="X",
                columns=Columns("text", "text_pair" if self.n_features_in_ > 1 else None, "label"),
                places=[f"X[{i}]" for i in part],
                inputs=[inputs[i] for i in part],
                targets=[targets[i] for i in part],
            )
            for part in (train, dev)
        ]
        with tempfile.TemporaryDirectory() as folder, self._voice():
            out = Path(folder) / "model"
            self.report_ = teach(
                TASKS[self.task],
                model=self.model,
                train=rows[0],
                dev=rows[1],
                out=out,
                settings=self._settings(),
                row_weights=None if weights is None else weights[train],
            )
            if (problem := self.report_.results[self.report_.best].problem) and not self.verbose:
                warnings.warn(f"{problem}; another learning_rate may help", ConvergenceWarning, stacklevel=3)
            self.files_ = {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()}
        self.__dict__.pop("_loaded", None)

    def _settings(self) -> FinetuneSettings:
        named = {name: getattr(self, name) for name in ("epochs", "batch_size", "learning_rate", "length", "seed")}
        given = {name: value for name, value in named.items() if value is not None} | dict(self.settings or {})
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}
        return config.build(FinetuneSettings, plain)

    @contextlib.contextmanager
    def _voice(self) -> Iterator[None]:
        if self.verbose:
            yield
            return
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
            yield

    def _divided(self, targets: Sequence[Any]) -> tuple[list[int], list[int]]:
        """Rows to learn from, and rows to choose the best state by, which are the same ones where there are few.

        Of every label about the same share is held out, but never its last row.
        """
        count = len(targets)
        if self.held_out == 0 or count < FEWEST:
            return list(range(count)), list(range(count))
        order = np.random.default_rng([self.seed, 5]).permutation(count).tolist()
        groups: dict[str, list[int]] = {}
        for i in order:
            groups.setdefault(repr(targets[i]) if self.task == "classify" else "", []).append(i)
        dev = _held_out([*groups.values()], self.held_out)
        chosen = set(dev)
        return ([i for i in range(count) if i not in chosen], sorted(dev)) if dev else (sorted(order), sorted(order))

    @property
    def predictor_(self) -> Predictor:
        """The fitted model; raises NotFittedError before `fit`."""
        check_is_fitted(self, "files_")
        if "_loaded" not in self.__dict__:
            with tempfile.TemporaryDirectory() as folder:
                for name, content in self.files_.items():
                    (Path(folder) / name).write_bytes(content)
                self._loaded = load(folder, device=self._settings().device)
        return self._loaded

    def _answers(self, inputs: list[Any]) -> list[Any]:
        """Answers of the fitted model."""
        return self.predictor_.predict([self._row(given) for given in inputs])

    def _row(self, given: Any) -> Any:
        if not isinstance(given, TextInput):
            return given
        alone = given.text_pair is None and self.n_features_in_ == 1
        return {"text": given.text} if alone else given._asdict()

    def _check_names(self, X: Any, *, fitting: bool) -> None:
        """Take note of a table's names of columns, or compare them with those that were fitted."""
        names = [str(name) for name in X.columns] if hasattr(X, "columns") else None
        if fitting:
            self.__dict__.pop("feature_names_in_", None)
            if names is not None:
                self.feature_names_in_ = np.array(names, dtype=object)
        elif names is not None and hasattr(self, "feature_names_in_") and list(self.feature_names_in_) != names:
            raise ValueError(
                f"The feature names should match those that were passed during fit: {list(self.feature_names_in_)}, "
                f"not {names}"
            )

    def _inputs(self, X: Any, *, fitting: bool = False) -> list[Any]:
        """Texts or pairs of X."""
        self._check_names(X, fitting=fitting)
        inputs = _text_inputs(X)
        width = 1 + any(given.text_pair is not None for given in inputs)
        if fitting:
            self.n_features_in_ = width
        return inputs


class TextClassifier(ClassifierMixin, TextEstimator):  # type: ignore[misc]
    """Labels of texts or of pairs of texts."""

    task = "classify"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from texts, or pairs (text, text_pair); y: one label each."""
        inputs = self._inputs(X, fitting=True)
        check_consistent_length(inputs, y, sample_weight)
        if any(isinstance(value, float) and not math.isfinite(value) for value in y):  # also beside texts
            raise ValueError("y contains NaN or infinity; label these rows or leave them out")
        y = np.asarray(y)
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            raise ValueError("y contains NaN or infinity; label these rows or leave them out")
        if y.ndim != 1:
            raise ValueError(f"y has {y.ndim} dimensions; a text has one label")
        if y.dtype.kind == "O" and len(kinds := {type(value).__name__ for value in y.tolist()}) > 1:
            raise ValueError(f"y mixes values of several types ({', '.join(sorted(kinds))}); give labels of one type")
        if y.dtype.kind == "O" and None in y.tolist():
            raise ValueError("y contains None; label these rows or leave them out")
        counted = y if sample_weight is None else y[_weights(sample_weight, len(y)) > 0]
        self.classes_ = np.unique(counted)
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class only, {self.classes_.tolist()[0]!r}; classifying needs two or more")
        self._fit(inputs, [str(value) for value in y.tolist()], sample_weight)
        return self

    def predict_proba(self, X: Any) -> Any:
        """Probabilities (R, C) of the labels in the order of `classes_`."""
        check_is_fitted(self, "files_")
        names = [str(value) for value in self.classes_.tolist()]
        answers = self._answers(self._inputs(X))
        return np.array([[answer.scores[name] for name in names] for answer in answers]).reshape(-1, len(names))

    def predict(self, X: Any) -> Any:
        """The likeliest label of each text."""
        shares = self.predict_proba(X)
        return self.classes_[shares.argmax(1)]


class TextRegressor(RegressorMixin, TextEstimator):  # type: ignore[misc]
    """Numbers of texts or of pairs of texts."""

    task = "regress"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from texts, or pairs (text, text_pair); y: one number each."""
        inputs = self._inputs(X, fitting=True)
        check_consistent_length(inputs, y, sample_weight)
        values = np.asarray(y, dtype=np.float64)
        if values.ndim != 1:
            raise ValueError(f"y has {values.ndim} dimensions; a text has one number")
        if not np.isfinite(values).all():
            raise ValueError("y contains NaN or infinity; correct these rows or leave them out")
        if np.abs(values).max() > LARGEST:
            raise ValueError(f"y holds values above {LARGEST:g}, too large to be squared; give them in larger units")
        self._fit(inputs, values.tolist(), sample_weight)
        return self

    def predict(self, X: Any) -> Any:
        """The number of each text."""
        check_is_fitted(self, "files_")
        return np.array([answer.value for answer in self._answers(self._inputs(X))], dtype=np.float64)


class TokenTagger(TextEstimator):
    """Tags of tokens: X lists of tokens, y lists of as many tags in IOB1, IOB2 or IOBES; IOB2 is predicted."""

    task = "ner"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from sentences of tokens and their tags."""
        sentences = self._inputs(X, fitting=True)
        check_consistent_length(sentences, y, sample_weight)
        tags = []
        for i, row in enumerate(y):
            if isinstance(row, str) or not hasattr(row, "__iter__"):
                raise ValueError(f"y[{i}] is {row!r}, no list of tags; give one tag for each token")
            tags.append(list(map(str, row)))
        targets = []
        for i, (tokens, row) in enumerate(zip(sentences, tags, strict=True)):
            if len(tokens) != len(row):
                raise ValueError(
                    f"X[{i}] has {len(tokens)} tokens, y[{i}] {len(row)} tags; give one tag for each token"
                )
            if wrong := [tag for tag in row if parse_tag(tag) is None]:
                raise ValueError(f"y[{i}]: {wrong[0]!r} is no tag; use O, and B- and I- before a label")
            starts = _starts(tokens)
            targets.append(tuple(Chunk(starts[a], starts[b] - 1, label) for a, b, label in chunks(row)))
        self._fit([" ".join(tokens) for tokens in sentences], targets, sample_weight)
        self.classes_ = np.array(self.report_.labels)
        return self

    def predict(self, X: Any) -> list[list[str]]:
        """Tags in IOB2 of each sentence; a token that an entity only touches belongs to it."""
        check_is_fitted(self, "files_")
        sentences = self._inputs(X)
        answers = self._answers([" ".join(tokens) for tokens in sentences])
        result = []
        for tokens, answer in zip(sentences, answers, strict=True):
            starts, spans, free = _starts(tokens), [], 0
            for entity in answer.entities:
                first = max(int(np.searchsorted(starts, entity.start, side="right")) - 1, free)
                end = int(np.searchsorted(starts, entity.end, side="left"))
                free = min(end, len(tokens))
                if first < free:
                    spans.append(Chunk(first, free, entity.label))
            result.append(tags_of(spans, len(tokens)))
        return result

    def score(self, X: Any, y: Any) -> float:
        """F1 of whole entities."""
        return entity_metrics([chunks(list(map(str, row))) for row in y], [chunks(row) for row in self.predict(X)])[
            "f1"
        ]

    def _inputs(self, X: Any, *, fitting: bool = False) -> list[Any]:
        self._check_names(X, fitting=fitting)
        sentences = []
        for i, row in enumerate(_sequence(X)):
            words = not isinstance(row, str) and hasattr(row, "__iter__")
            if not words or not all(isinstance(token, str) for token in row):
                raise InputError(f"X[{i}] is no list of tokens; give each sentence as a list of texts")
            sentences.append([" ".join(token.split()) or "\ufffd" for token in row])
        if fitting:
            self.n_features_in_ = 1
        return sentences


class TextEmbedder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Sentence embeddings of texts as numbers for other estimators: any encoder, nothing is fitted.

    It names its model and keeps none of it: a pickle needs the folder where it is used.
    """

    def __init__(self, model: str | Path | None = None, *, device: str = "auto") -> None:
        """Take note of the parameters. model: folder or name of an encoder."""
        self.model = model
        self.device = device

    def __sklearn_tags__(self) -> Any:
        """Texts instead of tables of numbers, and nothing to fit."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        return tags

    def __getstate__(self) -> Any:
        """All but the loaded model."""
        return {name: value for name, value in super().__getstate__().items() if name != "_loaded"}

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn nothing; the texts are looked at."""
        _single_texts(X)
        return self

    def transform(self, X: Any) -> Any:
        """Vectors (R, H) of texts, fp32."""
        answers: list[Any] = self._predictor().predict(_single_texts(X))
        return np.stack([answer.embedding for answer in answers])

    def _predictor(self) -> Predictor:
        if self.model is None:
            raise ConfigError("model = None: name the folder of the model that makes the embeddings")
        wanted = (str(self.model), self.device)
        if self.__dict__.get("_loaded", (None,))[0] != wanted:
            self._loaded = wanted, load(self.model, task="embed", device=self.device)
        return self._loaded[1]


def _single_texts(X: Any) -> list[str]:
    inputs = _text_inputs(X)
    for i, given in enumerate(inputs):
        if given.text_pair is not None:
            raise InputError(f"X[{i}] is a pair of texts; give one text a row")
    return [given.text for given in inputs]


def _starts(tokens: Sequence[str]) -> list[int]:
    """Where tokens begin when single spaces stand between them, and where one more would."""
    return list(itertools.accumulate((len(token) + 1 for token in tokens), initial=0))


def _sequence(X: Any) -> list[Any]:
    if isinstance(X, str) or not hasattr(X, "__len__"):
        raise InputError(f"X is a {type(X).__name__}; give a list of texts")
    rows = X.to_numpy().tolist() if hasattr(X, "to_numpy") else X.tolist() if hasattr(X, "tolist") else list(X)
    if not rows:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    return rows


def _text_inputs(X: Any) -> list[TextInput]:
    """Texts, or rows of one or two of them, in a list, an array or a table."""
    result = []
    for i, row in enumerate(_sequence(X)):
        parts = (row,) if isinstance(row, str) else tuple(row) if isinstance(row, list | tuple) else ()
        if not 1 <= len(parts) <= 2 or not all(isinstance(part, str) for part in parts):
            raise InputError(f"X[{i}] is {str(row)[:40]!r}; give a text, or a pair of texts")
        result.append(TextInput(*parts))
    return result


def _held_out(groups: Sequence[list[int]], share: float) -> list[int]:
    """About a share of each group, and as nearly as can be of all: by the largest remainders; never a group's last."""
    wanted = [share * len(group) for group in groups]
    taken = [min(int(size), len(group) - 1) for size, group in zip(wanted, groups, strict=True)]
    spare = [k for k, group in enumerate(groups) if taken[k] < len(group) - 1]
    spare.sort(key=lambda k: taken[k] - wanted[k])
    for k in spare[: round(sum(wanted)) - sum(taken)]:
        taken[k] += 1
    return [i for group, most in zip(groups, taken, strict=True) for i in group[:most]]


def _weights(sample_weight: Any, count: int) -> Any:
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (count,):
        raise ValueError(f"sample_weight has the shape {weights.shape}, expected ({count},)")
    if not np.isfinite(weights).all() or (weights < 0).any() or weights.sum() == 0:
        raise ValueError("sample_weight must be finite, not negative, and not zero for all rows")
    return weights
