"""litebert: the complete ALBERT system, from raw text to answers on a plain CPU.

    import litebert
    predictor = litebert.load("runs/sentiment")
    predictor.predict(["a fine film"])

Everything named here is imported when first used, so that `import litebert` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_ROOMS = {
    "AlbertConfig": "litebert.model.config",
    "AlbertModel": "litebert.interop.padded",
    "AlbertForMaskedLM": "litebert.interop.padded",
    "AlbertForPreTraining": "litebert.interop.padded",
    "AlbertForSequenceClassification": "litebert.interop.padded",
    "AlbertForMultipleChoice": "litebert.interop.padded",
    "AlbertForQuestionAnswering": "litebert.interop.padded",
    "AlbertForTokenClassification": "litebert.interop.padded",
    "TextClassifier": "litebert.infer.estimators",
    "TextEmbedder": "litebert.infer.estimators",
    "TextRegressor": "litebert.infer.estimators",
    "TokenTagger": "litebert.infer.estimators",
    "load": "litebert.infer.predictor",
    "load_tokenizer": "litebert.text.tokenizer",
}

__all__ = [
    "AlbertConfig",
    "AlbertForMaskedLM",
    "AlbertForMultipleChoice",
    "AlbertForPreTraining",
    "AlbertForQuestionAnswering",
    "AlbertForSequenceClassification",
    "AlbertForTokenClassification",
    "AlbertModel",
    "TextClassifier",
    "TextEmbedder",
    "TextRegressor",
    "TokenTagger",
    "load",
    "load_tokenizer",
]

if TYPE_CHECKING:
    from litebert.infer.estimators import TextClassifier, TextEmbedder, TextRegressor, TokenTagger
    from litebert.infer.predictor import load
    from litebert.interop.padded import (
        AlbertForMaskedLM,
        AlbertForMultipleChoice,
        AlbertForPreTraining,
        AlbertForQuestionAnswering,
        AlbertForSequenceClassification,
        AlbertForTokenClassification,
        AlbertModel,
    )
    from litebert.model.config import AlbertConfig
    from litebert.text.tokenizer import load_tokenizer


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'litebert' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
