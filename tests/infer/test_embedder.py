"""Sentence embeddings as a transformer of scikit-learn."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

import litebert
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.errors import ConfigError, InputError
from litebert.infer.estimators import TextEmbedder
from litebert.text.tokenizer import load_tokenizer
from tests.labelled import ROWS, small_model

TEXTS = [row["text"] for row in ROWS]
LABELS = [row["label"] for row in ROWS]


@pytest.fixture(scope="module")
def model(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    return small_model(tmp_path_factory.mktemp("models") / "start", tokenizer)


def test_texts_become_the_vectors_of_the_predictor(model: Path) -> None:
    vectors = TextEmbedder(model).transform(TEXTS)
    expected = np.stack([answer.embedding for answer in litebert.load(model, task="embed").predict(TEXTS)])
    assert vectors.shape == (len(TEXTS), 64)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, expected)
    for X in (np.array(TEXTS), np.array(TEXTS, dtype=object)[:, None], [[text] for text in TEXTS]):
        np.testing.assert_array_equal(TextEmbedder(model).fit(X).transform(X), expected)


def test_a_pipeline_learns_from_them(model: Path) -> None:
    pipeline = make_pipeline(TextEmbedder(model), LogisticRegression(C=1e6, max_iter=5000))
    assert pipeline.fit(TEXTS, LABELS).score(TEXTS, LABELS) > 0.9
    again = pickle.loads(pickle.dumps(pipeline))
    assert "_loaded" not in again[0].__dict__
    assert again.predict(TEXTS).tolist() == pipeline.predict(TEXTS).tolist()
    search = GridSearchCV(pipeline, {"logisticregression__C": [1.0, 1e6]}, cv=2, refit=False).fit(TEXTS, LABELS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_parameters_are_those_of_scikit_learn(model: Path, prepared: Path, tmp_path: Path) -> None:
    embedder = TextEmbedder(model)
    assert clone(embedder).get_params() == {"model": model, "device": "auto"}
    estimator_checks.check_parameters_default_constructible("TextEmbedder", embedder)
    estimator_checks.check_no_attributes_set_in_init("TextEmbedder", embedder)
    other = small_model(
        tmp_path / "other", load_tokenizer(prepared / TOKENIZER_FOLDER), hidden_size=32, num_attention_heads=2
    )
    assert embedder.transform(TEXTS[:1]).shape == (1, 64)
    assert embedder.set_params(model=other).transform(TEXTS[:1]).shape == (1, 32)


def test_what_is_refused(model: Path) -> None:
    with pytest.raises(ConfigError, match="model = None: name the folder"):
        TextEmbedder().transform(TEXTS)
    with pytest.raises(InputError, match=r"X\[0\] is a pair of texts"):
        TextEmbedder(model).fit([("a", "b")])
    with pytest.raises(InputError, match="X is a str"):
        TextEmbedder(model).transform("a text")
    with pytest.raises(ValueError, match="0 sample"):
        TextEmbedder(model).transform([])
