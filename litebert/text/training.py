"""Train a tokenizer with the paper's settings."""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import sentencepiece

from litebert.errors import TokenizerError
from litebert.text.normalize import Normalization
from litebert.text.interface import Tokenizer
from litebert.text.unigram import SentencePieceTokenizer


def train_tokenizer(
    texts: Iterable[str], out: Path, *, vocab_size: int = 30000, lower: bool = True, max_sentences: int = 500_000, threads: int = 2
) -> Tokenizer:
    """Train a unigram vocabulary on `texts` and save the tokenizer into the folder `out`."""
    normalization = Normalization(lower=lower)

    def lines() -> Iterator[str]:
        for text in texts:
            for line in text.splitlines():
                normalized = normalization(line)
                if normalized:
                    yield normalized

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines(),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocab_size,
            character_coverage=0.99995,
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            control_symbols=["[CLS]", "[SEP]", "[MASK]"],
            user_defined_symbols=["(", ")", '"', "-", ".", "–", "£", "€"],
            input_sentence_size=max_sentences,
            shuffle_input_sentence=True,
            num_threads=threads,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise TokenizerError(f"no vocabulary of {vocab_size} pieces could be trained: {error}") from error
    tokenizer = SentencePieceTokenizer(model.getvalue(), normalization)
    tokenizer.save(out)
    return tokenizer
