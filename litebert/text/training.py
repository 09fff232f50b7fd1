"""Train a vocabulary with the paper's settings."""

import io
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece

from litebert.errors import TokenizerError
from litebert.files import new_folder
from litebert.text.interface import Tokenizer
from litebert.text.normalize import Normalization
from litebert.text.unigram import SentencePieceTokenizer

PAPER_SETTINGS: dict[str, Any] = {
    "model_type": "unigram",
    "character_coverage": 0.99995,
    "normalization_rule_name": "nmt_nfkc",
    "pad_id": 0,
    "unk_id": 1,
    "bos_id": -1,
    "eos_id": -1,
    "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
    "user_defined_symbols": ["(", ")", '"', "-", ".", "–", "£", "€"],
    "num_threads": 16,  # fixed: the number of threads is written into the model, and sums depend on it
}
"""Those of the original's 30k-clean.model, as written in that file."""

MOST_PIECES = 1_000_000
_LONGEST_WORD = 1000
_MOST_WORDS = 4_000_000


def train_tokenizer(
    texts: Iterable[str],
    out: Path,
    *,
    vocab_size: int = 30000,
    lower: bool = True,
    keep_accents: bool = False,
    most_words: int = _MOST_WORDS,
) -> Tokenizer:
    """Train a unigram vocabulary and save the tokenizer into the folder `out`.

    The texts are normalized as they will be when they are encoded. The trainer is given every distinct word with
    its count, since it would split sentences into words anyway: all of the text has a say instead of a sample of
    it, neither order nor chance matters, and memory is bounded by the number of distinct words. Where there are
    more than `most_words`, the rarest are forgotten. Where a script has no spaces, a word is what stands between two
    of them, and is cut where it is longer than the trainer takes.

    Args:
        texts: of any length and number, read once.
        out: the folder to save to.
        vocab_size: the number of pieces, special ones included.
        lower: make everything lower case.
        keep_accents: leave accents and other compatibility forms as they are (the original drops them, cased or not).
        most_words: how many distinct words are counted at most.

    Raises:
        TokenizerError: there is no text, or not enough for that many pieces, or the number is too small to hold all
            characters.
    """
    if not 1 <= vocab_size <= MOST_PIECES:
        raise TokenizerError(f"vocab_size = {vocab_size}: expected a number of pieces from 1 to {MOST_PIECES:,}")
    normalization = Normalization(lower=lower, keep_accents=keep_accents)
    counts = count_words(texts, normalization, most_words)
    if not counts:
        raise TokenizerError("there is no text to train a vocabulary on: name files that hold some")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(f"{word}\t{counts[word]}" for word in sorted(counts)),
            input_format="tsv",
            model_writer=model,
            vocab_size=vocab_size,
            max_sentence_length=4 * _LONGEST_WORD,
            minloglevel=2,  # errors arrive as exceptions
            **PAPER_SETTINGS,
        )
    except RuntimeError as error:
        raise TokenizerError(_explain(str(error), vocab_size)) from error
    tokenizer = SentencePieceTokenizer(model.getvalue(), normalization)
    with new_folder(out) as folder:
        tokenizer.save(folder)
    return tokenizer


def count_words(texts: Iterable[str], normalization: Normalization, most: int) -> Counter[str]:
    """Count the words of normalized texts; whenever there are more than `most`, the rarest are forgotten."""
    counts: Counter[str] = Counter()
    for text in texts:
        words = normalization(text).split(" ")
        if max(map(len, words)) > _LONGEST_WORD:  # more than the trainer takes: a script without spaces, if not data
            words = [word[i : i + _LONGEST_WORD] for word in words for i in range(0, len(word), _LONGEST_WORD)]
        counts.update(words)
        rare = 0
        while len(counts) > most:
            rare += 1
            counts = Counter({word: count for word, count in counts.items() if count > rare})
    del counts[""]
    return counts


def _explain(message: str, vocab_size: int) -> str:
    """Say in our words what the trainer of sentencepiece objects to."""
    if found := re.search(r"too high \(\d+\)\. Please set it to a value <= (\d+)", message):
        return (
            f"{vocab_size} pieces are too many for this text, which yields {found[1]}:"
            f" give more text, or a vocabulary size of at most {found[1]}"
        )
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return (
            f"{vocab_size} pieces are too few for this text, whose characters and special pieces are {found[1]}:"
            f" use a vocabulary size of at least {found[1]}"
        )
    return f"sentencepiece cannot train a vocabulary of {vocab_size} pieces on this text: {' '.join(message.split())}"
