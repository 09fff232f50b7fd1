"""What no neural network is needed for: TF-IDF of words and word pairs, and logistic regression."""

from questions import Rows
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

STRENGTHS = (1.0, 3.0, 10.0, 30.0)


def accuracy(rows: Rows) -> float:
    """Accuracy on the test rows; the strength of regularization is chosen on the dev rows."""
    candidates = [_fit(rows["train"], strength) for strength in STRENGTHS]
    best = max(candidates, key=lambda model: _score(model, rows["dev"]))
    return _score(best, rows["test"])


def _fit(pairs: list[tuple[str, str]], strength: float) -> Pipeline:
    texts, labels = zip(*pairs, strict=True)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return make_pipeline(words, LogisticRegression(C=strength, max_iter=1000)).fit(texts, labels)


def _score(model: Pipeline, pairs: list[tuple[str, str]]) -> float:
    texts, labels = zip(*pairs, strict=True)
    return float(model.score(texts, labels))
