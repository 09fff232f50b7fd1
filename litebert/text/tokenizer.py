"""Tokenizers by their interface and by their place on disk."""

import json
from pathlib import Path
from typing import Any

from litebert.errors import TokenizerError
from litebert.text.interface import Encoding, Tokenizer
from litebert.text.normalize import Normalization
from litebert.text.unigram import CONFIG_FILE, MODEL_FILE, SentencePieceTokenizer

__all__ = ["Encoding", "Tokenizer", "load_tokenizer"]


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Load a tokenizer from a folder with `spiece.model`, or from a bare `.model` file of sentencepiece.

    A bare file means the original's English settings: lower case, accents dropped. In a folder `do_lower_case`
    and `keep_accents` of `tokenizer_config.json` may say otherwise.

    Raises:
        TokenizerError: there is no such file or folder, or no vocabulary of ALBERT's kind in it.
    """
    path = Path(path)
    if path.is_dir():
        file, normalization = path / MODEL_FILE, _read_settings(path / CONFIG_FILE)
        if not file.is_file():
            raise TokenizerError(f"{path}: no {MODEL_FILE} in this folder; name one that has it, or a .model file")
    elif path.is_file():
        file, normalization = path, Normalization()
    else:
        raise TokenizerError(f"{path}: no such file or folder; name a folder with {MODEL_FILE} or a .model file")
    try:
        return SentencePieceTokenizer(file.read_bytes(), normalization)
    except TokenizerError as error:
        raise TokenizerError(f"{file}: {error}") from error
    except OSError as error:
        raise TokenizerError(f"{file}: cannot be read ({error.strerror}); check its permissions") from error


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
