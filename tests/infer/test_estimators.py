"""The estimators under scikit-learn's own checks: those without data as they are, the others ported to lists of strings
by their names, as scikit-learn skips them for estimators of text."""

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

import litebert
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.errors import ConfigError, InputError, ModelFolderError
from litebert.infer.estimators import TextClassifier, TextEstimator, TextRegressor, TokenTagger
from litebert.text.tokenizer import load_tokenizer
from tests.labelled import ROWS, small_model
from tests.tasks.rows import ner_rows, regress_rows

TEXTS = [row["text"] for row in ROWS]
LABELS = [row["label"] for row in ROWS]
NUMBERS = [row["value"] for row in regress_rows()]
SENTENCES = [row["text"].replace(".", " .").replace("!", " !").replace(",", " ,").split() for row in ner_rows()]
NAMES = {"Anna": "B-P", "Omar": "B-P", "Li": "B-P", "Wei": "I-P", "Jane": "B-P", "Doe": "I-P"}
TAGS = [[NAMES.get(token, "O") for token in sentence] for sentence in SENTENCES]

Data = tuple[list[Any], list[Any]]
CASES: dict[type[TextEstimator], Data] = {
    TextClassifier: (TEXTS, LABELS),
    TextRegressor: ([row["text"] for row in regress_rows()], NUMBERS),
    TokenTagger: (SENTENCES, TAGS),
}
# These few rows are learnt, if at all, as one answer for all of them.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
EVERY = pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)


@pytest.fixture(scope="module")
def model(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    return small_model(tmp_path_factory.mktemp("models") / "start", tokenizer)


def quick(kind: type[TextEstimator], model: Path | str, **changes: Any) -> TextEstimator:
    """An estimator that is fitted in a moment."""
    settings = {"precision": "fp32", "patience": 0}
    return kind(
        **{"model": model, "epochs": 1, "batch_size": 16, "learning_rate": 1e-3, "settings": settings} | changes
    )


@pytest.fixture(scope="module")
def fitted(model: Path) -> dict[type[TextEstimator], Any]:
    return {kind: quick(kind, model).fit(*data) for kind, data in CASES.items()}


def outputs(estimator: Any, X: Any) -> Any:
    """What an estimator says, as finely as it says it."""
    if isinstance(estimator, TokenTagger):
        return estimator.predict(X)
    return estimator.predict_proba(X) if isinstance(estimator, TextClassifier) else estimator.predict(X)


def same(one: Any, other: Any) -> None:
    if isinstance(one, list):
        assert one == other
    else:
        np.testing.assert_allclose(one, other, atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize(
    "check",
    [
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_get_params_invariance",
        "check_set_params",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_valid_tag_types",
        "check_mixin_order",
    ],
)
@EVERY
def test_checks_of_scikit_learn_without_data(kind: type[TextEstimator], check: str) -> None:
    getattr(estimator_checks, check)(kind.__name__, kind())


@EVERY
def test_check_estimators_unfitted(kind: type[TextEstimator], model: Path) -> None:
    with pytest.raises(NotFittedError):
        quick(kind, model).predict(CASES[kind][0])


@EVERY
def test_check_fit_returns_self_and_overwrites_no_parameters(kind: type[TextEstimator], model: Path) -> None:
    """check_estimators_fit_returns_self, check_dont_overwrite_parameters, check_estimators_overwrite_params."""
    estimator = quick(kind, model)
    before = estimator.get_params()
    names = set(vars(estimator))
    assert estimator.fit(*CASES[kind]) is estimator
    assert estimator.get_params() == before
    added = set(vars(estimator)) - names
    assert all(name.endswith("_") or name.startswith("_") for name in added)
    state = dict(vars(estimator))
    outputs(estimator, CASES[kind][0])
    assert {name: vars(estimator)[name] for name in state} == state, "check_dict_unchanged"


@EVERY
def test_check_fit_idempotent_and_clone(kind: type[TextEstimator], model: Path, fitted: dict[Any, Any]) -> None:
    """check_fit_idempotent: fitted twice, or as a clone, it is the same."""
    X, y = CASES[kind]
    again = clone(fitted[kind])
    assert not hasattr(again, "files_")
    again.fit(X, y)
    assert again.files_["model.safetensors"] == fitted[kind].files_["model.safetensors"]
    again.fit(X[::-1], y[::-1])
    again.fit(X, y)
    same(outputs(again, X), outputs(fitted[kind], X))


@pytest.mark.parametrize("how", ["joblib", "pickle"])
@EVERY
def test_check_estimators_pickle(kind: type[TextEstimator], fitted: dict[Any, Any], how: str, tmp_path: Path) -> None:
    X = CASES[kind][0]
    expected = outputs(fitted[kind], X)
    if how == "joblib":
        joblib.dump(fitted[kind], tmp_path / "estimator")
        back = joblib.load(tmp_path / "estimator")
    else:
        back = pickle.loads(pickle.dumps(fitted[kind]))
    assert back.files_["model.safetensors"] == fitted[kind].files_["model.safetensors"]
    same(outputs(back, X), expected)
    assert b"torch" not in pickle.dumps(back), "weights travel as safetensors alone"


@EVERY
def test_check_methods_subset_and_order_invariance(kind: type[TextEstimator], fitted: dict[Any, Any]) -> None:
    """check_methods_subset_invariance, check_methods_sample_order_invariance."""
    X = CASES[kind][0]
    whole = outputs(fitted[kind], X)
    same(outputs(fitted[kind], X[3:7]), whole[3:7])
    same(outputs(fitted[kind], X[::-1]), whole[::-1])


@EVERY
def test_check_pipeline_consistency(kind: type[TextEstimator], model: Path, fitted: dict[Any, Any]) -> None:
    X, y = CASES[kind]
    pipeline = make_pipeline(FunctionTransformer(), quick(kind, model)).fit(X, y)
    same(outputs(pipeline[-1], X), outputs(fitted[kind], X))
    assert pipeline.score(X, y) == pytest.approx(fitted[kind].score(X, y))


@EVERY
def test_check_estimators_empty_data_messages(kind: type[TextEstimator], model: Path) -> None:
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        quick(kind, model).fit([], [])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        quick(kind, model).fit(*(part[:n] for part, n in zip(CASES[kind], (4, 3), strict=True)))


class Table:
    """As much of a table of pandas as is needed."""

    def __init__(self, **columns: list[str]) -> None:
        self.columns = list(columns)
        self.rows = list(zip(*columns.values(), strict=True))

    def __len__(self) -> int:
        return len(self.rows)

    def to_numpy(self) -> Any:
        return np.array(self.rows, dtype=object)


def test_check_n_features_in_and_names(model: Path) -> None:
    """check_n_features_in_after_fitting, check_dataframe_column_names_consistency."""
    estimator = quick(TextClassifier, model)
    assert not hasattr(estimator, "n_features_in_")
    table = Table(first=TEXTS, second=TEXTS[::-1])
    estimator.fit(table, LABELS)
    assert estimator.n_features_in_ == 2
    assert estimator.feature_names_in_.tolist() == ["first", "second"]
    expected = estimator.predict_proba(table)
    same(estimator.predict_proba(list(zip(TEXTS, TEXTS[::-1], strict=True))), expected)
    with pytest.raises(ValueError, match="The feature names should match"):
        estimator.predict(Table(second=TEXTS, first=TEXTS))
    estimator.fit(np.array(TEXTS), LABELS)
    assert estimator.n_features_in_ == 1
    assert not hasattr(estimator, "feature_names_in_")


@EVERY
def test_check_sample_weights(kind: type[Any], model: Path, fitted: dict[Any, Any]) -> None:
    """check_sample_weights_list, _not_an_array, _shape, _not_overwritten; check_sample_weight_equivalence for ones."""
    X, y = CASES[kind]
    ones = [1.0] * len(X)
    equal = quick(kind, model).fit(X, y, sample_weight=ones)
    assert equal.files_["model.safetensors"] == fitted[kind].files_["model.safetensors"]
    weights = np.arange(len(X), dtype=float)
    kept = weights.copy()
    other = quick(kind, model).fit(X, y, sample_weight=weights)
    assert (weights == kept).all()
    assert other.files_["model.safetensors"] != equal.files_["model.safetensors"]
    for wrong in (np.ones((len(X), 2)), np.ones(len(X)) * -1, np.zeros(len(X)), np.full(len(X), np.nan)):
        with pytest.raises(ValueError, match="sample_weight"):
            quick(kind, model).fit(X, y, sample_weight=wrong)


def test_check_sample_weight_equivalence(model: Path, fitted: dict[Any, Any]) -> None:
    """Rows of no weight are as if they were not there."""
    wrong = ["good" if label == "bad" else "bad" for label in LABELS[:9]] + ["other"]
    weights = [1.0] * len(TEXTS) + [0.0] * 10
    estimator = quick(TextClassifier, model).fit(TEXTS + TEXTS[:10], LABELS + wrong, sample_weight=weights)
    assert estimator.classes_.tolist() == ["bad", "good"]
    assert estimator.files_["model.safetensors"] == fitted[TextClassifier].files_["model.safetensors"]


def test_check_classifiers(model: Path, fitted: dict[Any, Any]) -> None:
    """check_classifiers_classes, check_decision_proba_consistency, check_classifiers_one_label, check_supervised_y_2d,
    check_supervised_y_no_nan."""
    classifier = fitted[TextClassifier]
    assert is_classifier(classifier)
    assert classifier.classes_.tolist() == ["bad", "good"]
    shares = classifier.predict_proba(TEXTS)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert classifier.predict(TEXTS).tolist() == classifier.classes_[shares.argmax(1)].tolist()
    assert 0 <= classifier.score(TEXTS, LABELS, sample_weight=np.ones(len(TEXTS))) <= 1
    numbers = quick(TextClassifier, model).fit(TEXTS, [10 if label == "bad" else 9 for label in LABELS])
    assert numbers.classes_.tolist() == [9, 10]
    assert set(numbers.predict(TEXTS).tolist()) <= {9, 10}
    for y, message in (
        (["a"] * 32, "one class only"),
        (np.array([LABELS, LABELS]).T, "2 dimensions"),
        ([float("nan")] + [1.0] * 31, "NaN or infinity"),
    ):
        with pytest.raises(ValueError, match=message):
            quick(TextClassifier, model).fit(TEXTS, y)


def test_check_regressors(model: Path, fitted: dict[Any, Any]) -> None:
    """check_regressors_int, check_supervised_y_no_nan, check_regressors_no_decision_function."""
    regressor, (X, y) = fitted[TextRegressor], CASES[TextRegressor]
    assert is_regressor(regressor)
    assert not hasattr(regressor, "predict_proba")
    whole = quick(TextRegressor, model).fit(X, np.array(y, dtype=int))
    same(whole.predict(X), regressor.predict(X))
    assert 900 < regressor.predict(X).mean() < 1050, "in the unit of y"
    with pytest.raises(ValueError, match="NaN or infinity"):
        quick(TextRegressor, model).fit(X, [np.inf, *y[1:]])


def test_tags_of_tokens(model: Path) -> None:
    changes = {"epochs": 25, "learning_rate": 4e-3, "batch_size": 4, "held_out": 0.0}
    tagger = quick(TokenTagger, model, **changes).fit(SENTENCES, TAGS)
    assert tagger.score(SENTENCES, TAGS) > 0.8
    predicted = tagger.predict([*SENTENCES, ["odd token", "", "x"], []])
    assert [len(tags) for tags in predicted] == [*map(len, SENTENCES), 3, 0]
    assert set(tagger.classes_) == {"O", "B-P", "I-P"}
    with pytest.raises(ValueError, match=r"X\[0\] has 2 tokens, y\[0\] 1 tags"):
        tagger.fit([["a", "b"]], [["O"]])
    with pytest.raises(ValueError, match=r"y\[0\]: 'PER' is no tag"):
        tagger.fit([["a"]], [["PER"]])
    with pytest.raises(InputError, match=r"X\[0\] is no list of tokens"):
        tagger.fit(["a text"], [["O"]])


def test_search_and_cross_validation(model: Path) -> None:
    grid = {"learning_rate": [1e-3, 4e-3]}
    search = GridSearchCV(quick(TextClassifier, model, epochs=2), grid, cv=2, n_jobs=2).fit(TEXTS, LABELS)
    assert search.best_params_["learning_rate"] in grid["learning_rate"]
    assert search.predict(TEXTS[:2]).shape == (2,)
    assert cross_val_score(quick(TextRegressor, model), *CASES[TextRegressor], cv=2).shape == (2,)
    assert cross_val_score(quick(TokenTagger, model), SENTENCES, TAGS, cv=2).shape == (2,)


def test_models_are_taken_by_name() -> None:
    classifier = quick(TextClassifier, "litebert-small", epochs=1).fit(TEXTS[:8], LABELS[:8])
    assert classifier.predict(TEXTS[:3]).shape == (3,)


def test_rows_are_held_out_of_every_class() -> None:
    estimator = TextClassifier("m", held_out=0.25)
    labels = ["a"] * 20 + ["b"] * 4 + ["c"]
    train, dev = estimator._divided(labels)
    assert sorted(train + dev) == list(range(25))
    assert [labels[i] for i in dev].count("a") == 5
    assert [labels[i] for i in dev].count("b") == 1
    assert "c" in [labels[i] for i in train]
    assert TextClassifier("m")._divided(labels[:10])[0] == list(range(10))
    assert TextRegressor("m", held_out=0.2)._divided([float(i) for i in range(30)])[1] != []


def test_few_rows_of_every_class_are_divided_too() -> None:
    train, dev = TextClassifier("m", held_out=0.1)._divided([f"label {i % 150}" for i in range(750)])
    assert (len(train), len(dev)) == (675, 75)
    assert max(Counter(i % 150 for i in dev).values()) == 1


def test_numbers_of_numpy_are_numbers(model: Path) -> None:
    settings = quick(TextClassifier, model, seed=np.int64(3), batch_size=np.int64(8), epochs=np.float32(2))._settings()
    assert (settings.seed, settings.batch_size, settings.epochs) == (3, 8, 2.0)


def test_a_collapse_is_warned_of(model: Path) -> None:
    with pytest.warns(ConvergenceWarning, match="the same answer for every dev row"):
        quick(TextClassifier, model, epochs=3, learning_rate=3.0).fit(TEXTS, LABELS)


def test_what_is_refused(model: Path) -> None:
    with pytest.raises(ConfigError, match="model = None: name the folder"):
        litebert.TextClassifier().fit(TEXTS, LABELS)
    with pytest.raises(ConfigError, match="held_out = 1"):
        quick(TextClassifier, model, held_out=1.0).fit(TEXTS, LABELS)
    with pytest.raises(ConfigError, match="epoch"):
        quick(TextClassifier, model, settings={"epoch": 1}).fit(TEXTS, LABELS)
    with pytest.raises(InputError, match=r"X is a str; give a list of texts"):
        quick(TextClassifier, model).fit("a text", LABELS)
    with pytest.raises(InputError, match=r"X\[0\] is '7'; give a text"):
        quick(TextClassifier, model).fit([7] * 32, LABELS)
    with pytest.raises(ModelFolderError, match="nope is no folder"):
        quick(TextClassifier, Path("nope")).fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="y contains NaN or infinity"):
        quick(TextClassifier, model).fit(TEXTS, [float("nan"), *LABELS[1:]])
    with pytest.raises(ValueError, match="y contains NaN or infinity"):
        quick(TextClassifier, model).fit(TEXTS, np.array([np.nan, *([0, 1] * len(TEXTS))[1 : len(TEXTS)]], np.float32))
    with pytest.raises(ValueError, match=r"mixes values of several types \(NoneType, str\)"):
        quick(TextClassifier, model).fit(TEXTS, [*LABELS[:-1], None])
    for name, value in (("model", 5), ("held_out", "x"), ("seed", None), ("settings", 5)):
        with pytest.raises(ConfigError, match=f"{name} = {value!r}"):
            quick(TextClassifier, model).set_params(**{name: value}).fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match=r"y holds values above 1e\+18"):
        quick(TextRegressor, model).fit(TEXTS, [1e300, *range(1, len(TEXTS))])
    for wrong in (None, 5):
        with pytest.raises(InputError, match=r"X\[0\] is no list of tokens"):
            quick(TokenTagger, model).fit([wrong], [["O"]])
        with pytest.raises(ValueError, match=rf"y\[0\] is {wrong}, no list of tags"):
            quick(TokenTagger, model).fit([["a"]], [wrong])
    for arguments, message in (({"folder": 5}, "by its folder"), ({"precision": "zz"}, "precision 'zz'"),
                               ({"max_tokens": 0}, "max_tokens = 0")):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            litebert.load(**{"folder": model} | arguments)


def test_it_says_nothing_unless_asked(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick(TextClassifier, model).fit(TEXTS, LABELS)
    assert capsys.readouterr().err == ""
    quick(TextClassifier, model, verbose=True).fit(TEXTS, LABELS)
    assert "fine-tuning classify" in capsys.readouterr().err
