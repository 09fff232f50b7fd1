"""The original's text normalization, and how many characters each character of a text becomes in it.

The normalization of google-research/albert (`preprocess_text` in tokenization.py) is: runs of white space become
one space and none at the ends, NFKD, combining characters dropped, lower case. Everything that NFKD could put
into another order is dropped afterwards, so the result is the concatenation of what each character becomes by
itself (but for the final sigma of `str.lower`, which changes no length): that makes exact alignment possible.
"""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_NOT_ASCII = re.compile("[^\x00-\x7f]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_CACHED = 16


class Normalization(NamedTuple):
    """What happens to a text before the sentencepiece model sees it: a part of what a tokenizer is."""

    lower: bool = True
    keep_accents: bool = False
    """Leave out NFKD and keep the combining characters (for vocabularies of other languages)."""

    def __call__(self, text: str) -> str:
        """Normalize `text`. A lone surrogate, which UTF-8 cannot express, becomes U+FFFD."""
        text = " ".join(text.split())
        if not text.isascii():
            text = _NOT_ASCII.sub(self._replacement, text)
        return text.lower() if self.lower else text

    def quick(self, text: str) -> str:
        """Normalize as far as a sentencepiece model does not do it by itself: spaces may stay where it drops them."""
        if not text.isascii() or (
            "\n" in text
            or "\t" in text
            or "\r" in text
            or "\v" in text
            or "\f" in text
            or "\x1c" in text
            or "\x1d" in text
            or "\x1e" in text
            or "\x1f" in text
        ):  # nine searches for a byte are several times faster than one regular expression
            return self(text)
        return text.lower() if self.lower else text

    def lengths(self, text: str) -> npt.NDArray[np.int64]:
        """How many characters each character of `text` becomes, (len(text),); the sum is `len(self(text))`."""
        codes, inverse = np.unique(codepoints(text), return_inverse=True)
        chars = [chr(code) for code in codes.tolist()]
        lengths = np.array([len(self(char)) for char in chars], dtype=np.int64)[inverse]
        space = np.array([char.isspace() for char in chars], dtype=bool)[inverse]
        words = np.flatnonzero(~space)
        # `split` sees the text before decomposition: only white space of the text itself is collapsed.
        lengths[words[:-1][np.diff(words) > 1] + 1] = 1
        return lengths

    def _replacement(self, match: re.Match[str]) -> str:
        run = match[0]
        if len(run) <= _LONGEST_CACHED:
            return _decompose(run, self.keep_accents)
        return _decompose.__wrapped__(run, self.keep_accents)


def codepoints(text: str) -> npt.NDArray[np.uint32]:
    """The code points of `text`, (len(text),), lone surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


@lru_cache(maxsize=65536)
def _decompose(run: str, keep_accents: bool) -> str:
    if not keep_accents:
        run = "".join(char for char in unicodedata.normalize("NFKD", run) if not unicodedata.combining(char))
    return _SURROGATE.sub("\ufffd", run)
