"""The original's text normalization, and how many characters each character of a text becomes in it.

The normalization of google-research/albert (`preprocess_text` in tokenization.py) is: runs of white space become
one space and none at the ends, NFKD, combining characters dropped, lower case. Everything that NFKD could put
into another order is dropped afterwards, so the result is the concatenation of what each character becomes by
itself (but for the final sigma of `str.lower`, which changes no length): that makes exact alignment possible.
"""

import re
import unicodedata
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_ASCII = re.compile("[^\x00-\x7f]+")
_LONGEST_CACHED = 16
_SIGMAS = "\u03a3\u03f9\U0001d6ba\U0001d6f4\U0001d72e\U0001d768\U0001d7a2"
"""What is a capital sigma after NFKD, whose small letter depends on its neighbours."""


class Normalization(NamedTuple):
    """What happens to a text before the sentencepiece model sees it: a part of what a tokenizer is."""

    lower: bool = True
    keep_accents: bool = False
    """Leave out NFKD and keep the combining characters (for vocabularies of other languages)."""

    def __call__(self, text: str) -> str:
        """Normalize `text`. A lone surrogate, which UTF-8 cannot express, becomes U+FFFD."""
        text = " ".join(text.split())
        if not text.isascii():
            text = _SURROGATE.sub("\ufffd", text) if self.keep_accents else _NOT_ASCII.sub(_decompose_match, text)
        return text.lower() if self.lower else text

    def quick(self, text: str) -> bytes:
        """Normalize to UTF-8, but leave runs of spaces, which every sentencepiece model reduces by itself.

        Several times faster than `__call__`: only what is not ASCII and may change is looked at in Python.
        """
        if text.isascii():
            if not _only_spaces(text):
                return self(text).encode()
        elif self.keep_accents or not _only_spaces(text) or any(sigma in text for sigma in _SIGMAS):
            return self(text).encode()
        else:
            text = _changing(self.lower).sub(_lower_match if self.lower else _decompose_match, text)
        return text.encode().lower() if self.lower else text.encode()  # bytes know the letters of ASCII alone

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


def codepoints(text: str) -> npt.NDArray[np.uint32]:
    """The code points of `text`, (len(text),), lone surrogates included."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _only_spaces(text: str) -> bool:
    """Whether a text holds no white space but the space and what NFKD makes one.

    A dozen searches for single characters take a fraction of the time of one for a class of them.
    """
    if (
        "\n" in text
        or "\t" in text
        or "\r" in text
        or "\v" in text
        or "\f" in text
        or "\x1c" in text
        or "\x1d" in text
        or "\x1e" in text
        or "\x1f" in text
    ):
        return False
    return text.isascii() or not ("\x85" in text or "\u1680" in text or "\u2028" in text or "\u2029" in text)


@lru_cache(maxsize=2)
def _changing(lower: bool) -> re.Pattern[str]:
    """Runs of characters beyond ASCII, but for those that surely stay: small letters, quotes, dashes and the like."""
    candidates = map(chr, chain(range(0x80, 0x250), range(0x2010, 0x2060)))
    staying = "".join(c for c in candidates if _decompose(c) == c and not (lower and c.lower() != c))
    return re.compile(f"[^\x00-\x7f{re.escape(staying)}]+")


def _decompose_match(match: re.Match[str]) -> str:
    run = match[0]
    return _decompose(run) if len(run) <= _LONGEST_CACHED else _decompose.__wrapped__(run)


def _lower_match(match: re.Match[str]) -> str:
    return _decompose_match(match).lower()


@lru_cache(maxsize=65536)
def _decompose(run: str) -> str:
    run = "".join(char for char in unicodedata.normalize("NFKD", run) if not unicodedata.combining(char))
    return _SURROGATE.sub("\ufffd", run)
