"""The same text, written otherwise: what a reader does not mind, and a model should not.

    typos       one word in ten of four letters or more: a neighbouring key, two letters exchanged, or one dropped
    lower upper all letters
    british american   spellings of the other country
    synonyms    words of a small list
    paraphrase  contractions, other common phrases, "there is", politeness

Labels of whole texts stay true; places in a text move, see `perturb_between`. The number of negation words never
changes. English; other texts stay as they are, but for their case. Randomness is an argument: a text and a generator
give one result.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import numpy as np

from litebert.text.variants import (
    AUXILIARIES,
    EXISTENCE,
    KEYBOARD,
    NEGATION,
    OPENINGS,
    PHRASES,
    spellings,
    synonyms,
)

Perturbation = Callable[[str, np.random.Generator], str]

TextsT = TypeVar("TextsT")

TYPO_RATE = 0.1
"""Share of the words of four letters or more that get a typo."""
_SHORTEST = 4
_DOMAIN = 6
"""Of random numbers, beside the seed."""

_CHUNK = re.compile(r"\S+")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_NAME = re.compile(r"[@#/\\_\[\]<>{}0-9]|\w\.\w")
"""In addresses, tags, numbers and names of files nothing is changed."""


def perturb(name: str, text: str, *key: int) -> str:
    """Perturb a text by the name in PERTURBATIONS; `key`: seed, row, part of the row."""
    return PERTURBATIONS[name](text, np.random.default_rng([_DOMAIN, *key]))


def perturb_all(name: str, given: TextsT, *key: int) -> TextsT:
    """Perturb a text, or every text of a tuple of them, named or nested; what is none stays."""
    made: object = given
    if isinstance(given, str):
        made = perturb(name, given, *key)
    elif isinstance(given, tuple):
        parts = [perturb_all(name, part, *key, i) for i, part in enumerate(given)]
        made = given._make(parts) if hasattr(given, "_make") else tuple(parts)
    return made  # type: ignore[return-value]


def perturb_between(name: str, text: str, places: Iterable[int], *key: int) -> tuple[str, dict[int, int]]:
    """Perturb a text whose parts between `places`, numbers of characters, are to be found again.

    Returns the text, and where these places are in it: no phrase across one is said otherwise.
    """
    cuts = sorted({0, len(text), *places})
    moved, made = {0: 0}, ""
    for part, (start, end) in enumerate(itertools.pairwise(cuts)):
        made += perturb(name, text[start:end], *key, part)
        moved[end] = len(made)
    return made, moved


def negations(text: str) -> int:
    """How many words of a text turn it round: not, never, -n't, …"""
    return len(NEGATION.findall(text))


def typos(text: str, generator: np.random.Generator, rate: float = TYPO_RATE) -> str:
    """Mistype words; `rate`: the chance of each that has four letters of the alphabet or more.

    The first letter stays, as in most of people's typos. Negations stay whole, and none comes of a typo.
    """

    def mistyped(word: str, before: str) -> str:
        if len(word) < _SHORTEST or not (word.isascii() and word.isalpha()) or NEGATION.fullmatch(word):
            return word
        if generator.random() >= rate:
            return word
        made = _mistyped(word, generator)
        return word if NEGATION.fullmatch(made) else made

    return _each_word(text, mistyped)


def _mistyped(word: str, generator: np.random.Generator) -> str:
    at = int(generator.integers(1, len(word)))
    kind = int(generator.integers(3))
    if kind == 0:
        keys = KEYBOARD[word[at].lower()]
        key = keys[int(generator.integers(len(keys)))]
        return word[:at] + (key.upper() if word[at].isupper() else key) + word[at + 1 :]
    if kind == 1:
        at = min(at, len(word) - 2)
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :]


def lower(text: str, generator: np.random.Generator) -> str:
    """All letters small."""
    return text.lower()


def upper(text: str, generator: np.random.Generator) -> str:
    """All letters capital."""
    return text.upper()


def british(text: str, generator: np.random.Generator) -> str:
    """American spellings made British; what was American throughout, `american` gives back."""
    return _each_word(text, lambda word, before: _exchanged(word, spellings().to_british))


def american(text: str, generator: np.random.Generator) -> str:
    """British spellings made American; what was British throughout, `british` gives back."""
    return _each_word(text, lambda word, before: _exchanged(word, spellings().to_american))


def synonym(text: str, generator: np.random.Generator, rate: float = 1.0) -> str:
    """Put other words of the same meaning; `rate`: the chance of each word that has one.

    Only words in small letters, as a capital may be a name's, and only where "a" or "an" before it stays right.
    """

    def exchanged(word: str, before: str) -> str:
        other = synonyms().get(word)
        if other is None or (before.lower() in ("a", "an") and (word[0] in "aeiou") != (other[0] in "aeiou")):
            return word
        return other if generator.random() < rate else word

    return _each_word(text, exchanged)


def paraphrase(text: str, generator: np.random.Generator, rate: float = 1.0) -> str:
    """Say phrases otherwise; `rate`: the chance of each place where one could be. No place is changed twice."""

    def said(match: re.Match[str]) -> str:
        if generator.random() >= rate:
            return match[0]
        if match["subject"] is not None:
            made = match["subject"]
        elif match["opening"] is not None:
            made = OPENINGS[_plain(match["opening"])]
        else:
            made = PHRASES[_plain(match["phrase"])]
        if match[0].islower() or match[0].isupper():
            return made.lower() if match[0].islower() else made.upper()
        return made[0].upper() + made[1:] if match[0][0].isupper() else made

    return _phrases().sub(said, text)


PERTURBATIONS: dict[str, Perturbation] = {
    "typos": typos,
    "lower": lower,
    "upper": upper,
    "british": british,
    "american": american,
    "synonyms": synonym,
    "paraphrase": paraphrase,
}
"""By the names that reports have."""


def _each_word(text: str, change: Callable[[str, str], str]) -> str:
    """Change the words of a text, each with the one before it; what is no plain word stays."""
    before = ""

    def changed(match: re.Match[str]) -> str:
        nonlocal before
        made = change(match[0], before)
        before = match[0]
        return made

    return _CHUNK.sub(lambda m: m[0] if _NAME.search(m[0]) else _WORD.sub(changed, m[0]), text)


def _exchanged(word: str, table: Mapping[str, str]) -> str:
    """The other spelling with the capitals of the word; mixed ones are a name's. What follows an apostrophe stays."""
    stem = re.split("['’]", word, maxsplit=1)[0]
    other, rest = table.get(stem.lower()), word[len(stem) :]
    if other is None:
        return word
    if stem.isupper():
        return other.upper() + rest
    return (other if stem.islower() else other.capitalize() if stem == stem.capitalize() else stem) + rest


def _plain(phrase: str) -> str:
    return phrase.lower().replace("’", "'")


@functools.cache
def _phrases() -> re.Pattern[str]:
    """One pattern of all rules, so that what one makes another does not unmake."""

    def any_of(phrases: Mapping[str, str]) -> str:
        longest = sorted(phrases, key=len, reverse=True)
        return "|".join(re.escape(phrase).replace("'", "['’]") for phrase in longest)

    begins = r"(?:^|(?<=[.!?,;:]\s)|(?<=\n))"
    verbs = "|".join(AUXILIARIES)
    return re.compile(
        rf"{begins}{EXISTENCE}(?=\s(?:{verbs})\b)"
        rf"|{begins}(?P<opening>{any_of(OPENINGS)})(?=\s[a-zA-Z])"
        rf"|(?<![\w'’])(?P<phrase>{any_of(PHRASES)})(?![\w'’])",
        re.IGNORECASE,
    )
