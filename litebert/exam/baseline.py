"""What needs no neural network: TF-IDF with logistic regression, or always the same answer."""

from typing import Any

import numpy as np

from litebert.data.labelled import Columns, Labelled
from litebert.exam.material import Material
from litebert.exam.sets import ExamSet
from litebert.tasks.table import TASKS, AnyTask

STRENGTHS = (1.0, 3.0, 10.0, 30.0)
"""Of regularization, C of scikit-learn; the best one on the dev rows is taken."""
MOST_TERMS = 50_000
"""Words and pairs of words, the most frequent ones."""

Rows = Labelled[Any, Any]


def baseline(one: ExamSet, material: Material) -> dict[str, float]:
    """Metrics of the set's baseline on the test rows, as those of any system's answers are computed."""
    task = TASKS[one.task]
    rows = {part: task.read(material.file(part), Columns()) for part in ("train", "dev", "test")}
    if one.baseline == "majority":
        answers = [_commonest(rows["train"])] * len(rows["test"])
    elif one.task in ("regress", "embed"):
        answers = _cosines(rows)
    else:
        answers = _logistic(one, task, rows)
    return dict(task.score(rows["test"], answers))


def _commonest(rows: Rows) -> Any:
    names, counts = np.unique(np.array(rows.targets), return_counts=True)
    return names[counts.argmax()].item()


def _cosines(rows: dict[str, Rows]) -> list[float]:
    """How alike two texts are, by their TF-IDF vectors: nothing is learnt but how rare a word is."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True).fit([text for given in rows["train"].inputs for text in given])
    first, second = (words.transform([given[side] for given in rows["test"].inputs]) for side in (0, 1))
    return [float(value) for value in np.asarray(first.multiply(second).sum(1)).ravel()]


def _logistic(one: ExamSet, task: AnyTask, rows: dict[str, Rows]) -> list[str]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=MOST_TERMS)
    vectors = {part: _vectors(words, part, found) for part, found in rows.items()}
    name = one.select or one.metrics[0]
    best: tuple[float, list[str]] | None = None
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=1000).fit(vectors["train"], rows["train"].targets)
        mark = task.score(rows["dev"], model.predict(vectors["dev"]).tolist())[name]
        if best is None or mark > best[0]:
            best = mark, model.predict(vectors["test"]).tolist()
    assert best is not None
    return best[1]


def _vectors(words: Any, part: str, rows: Rows) -> Any:
    texts = [given.text for given in rows.inputs]
    return words.fit_transform(texts) if part == "train" else words.transform(texts)
