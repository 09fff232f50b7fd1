"""Tokenizers by their interface and by their place on disk."""

import json
from pathlib import Path
from typing import Any

from litebert.errors import TokenizerError
from litebert.text.fast import TOKENIZER_FILE, load_fast
from litebert.text.interface import Encoding, Tokenizer
from litebert.text.normalize import Normalization
from litebert.text.unigram import CONFIG_FILE, MODEL_FILE, SentencePieceTokenizer
from litebert.text.utf8 import UTF8_FILE, Utf8Tokenizer

__all__ = ["Encoding", "Tokenizer", "has_tokenizer", "load_tokenizer"]

_SLOW = ("vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model")
"""Vocabularies without the rules by which they are used."""


def has_tokenizer(folder: str | Path) -> bool:
    """Whether a folder holds a tokenizer that `load_tokenizer` would try."""
    return any((Path(folder) / name).is_file() for name in (MODEL_FILE, TOKENIZER_FILE, *_SLOW))


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Load a tokenizer from a folder, or from a bare `.model` file of sentencepiece.

    A folder has ALBERT's `spiece.model`, or else the `tokenizer.json` of any other encoder. A bare file means the
    original's English settings: lower case, accents dropped. Beside `spiece.model`, `do_lower_case` and
    `keep_accents` of `tokenizer_config.json` may say otherwise.

    Raises:
        TokenizerError: there is no such file or folder, no vocabulary in it, or one that cannot be used.
    """
    path = Path(path)
    if (path / UTF8_FILE).is_file():
        return Utf8Tokenizer()
    if path.is_dir():
        file = path / MODEL_FILE
        if not file.is_file():
            file = path / TOKENIZER_FILE
        if not file.is_file():
            raise TokenizerError(_no_tokenizer(path))
    elif path.is_file():
        file = path
    else:
        raise TokenizerError(f"{path}: no such file or folder; name a folder with {MODEL_FILE} or a .model file")
    try:
        if file.name == TOKENIZER_FILE:
            return load_fast(file)
        settings = _read_settings(path / CONFIG_FILE) if path.is_dir() else Normalization()
        return SentencePieceTokenizer(file.read_bytes(), settings)
    except TokenizerError as error:
        raise TokenizerError(f"{file}: {error}") from error
    except OSError as error:
        raise TokenizerError(f"{file}: cannot be read ({error.strerror}); check its permissions") from error


def _no_tokenizer(folder: Path) -> str:
    slow = next((name for name in _SLOW if (folder / name).is_file()), None)
    if slow is None:
        return f"{folder}: neither {MODEL_FILE} nor {TOKENIZER_FILE} in this folder; name one that has it"
    return (
        f"{folder}: {slow} alone gives no places of pieces in the text; make {TOKENIZER_FILE} with transformers: "
        "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
    )


def _read_settings(file: Path) -> Normalization:
    if not file.exists():
        return Normalization()
    try:
        config: Any = json.loads(file.read_text(encoding="utf-8"))
        lower, keep_accents = config.get("do_lower_case", True), config.get("keep_accents", False)
    except (OSError, ValueError, AttributeError) as error:
        raise TokenizerError(
            f"{file}: no readable JSON object; restore it, or remove it for the original's settings"
        ) from error
    if not (isinstance(lower, bool) and isinstance(keep_accents, bool)):
        raise TokenizerError(f"{file}: do_lower_case and keep_accents must be true or false")
    return Normalization(lower=lower, keep_accents=keep_accents)
