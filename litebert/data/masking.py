"""Masked language modelling: spans of whole words, chosen anew each time a text is read.

1. Text tokens are grouped into words (or each token is one).
2. The words of each segment are divided at random into n-grams, n <= 3, with p(n) ~ 1/n (ALBERT, section 3.1, after
   SpanBERT).
3. In each sequence the same share of n-grams is chosen, uniformly; so every token is masked with equal probability.
4. Of the chosen tokens 80 % become [MASK], 10 % a random piece of the vocabulary, 10 % stay (BERT, section 3.1).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from litebert.data.pairs import Samples
from litebert.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class MaskSettings:
    """What is hidden from the model."""

    share: float = 0.15
    """Share of the text tokens that are to be predicted."""
    unit: Literal["ngram", "word", "token"] = "ngram"
    """What is masked as one: up to `longest` words, one word, or one token."""
    longest: int = 3
    """Largest number of words in an n-gram."""
    keep: float = 0.1
    """Share of the chosen tokens that stay as they are."""
    replace: float = 0.1
    """Share of the chosen tokens that become a random piece of the vocabulary."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ConfigError(f"masking.share = {self.share}: expected a share between 0 and 1, such as 0.15")
        if self.longest < 1:
            raise ConfigError(f"masking.longest = {self.longest}: an n-gram has at least one word")
        if self.keep < 0 or self.replace < 0 or self.keep + self.replace > 1:
            raise ConfigError(f"masking.keep = {self.keep}, replace = {self.replace}: expected at most 1 together")


class MaskVocabulary(NamedTuple):
    """What masking needs to know of a tokenizer."""

    mask_id: int
    word_starts: NDArray[np.bool_]  # (V,)
    replacements: NDArray[np.int32]  # ids that may stand in for a token: all but special ones


class Masked(NamedTuple):
    """Sequences in which some tokens are hidden."""

    input_ids: NDArray[np.int32]  # (T,)
    positions: NDArray[np.int64]  # (M,) ascending
    targets: NDArray[np.int32]  # (M,) the ids that stood there


def mask(samples: Samples, vocabulary: MaskVocabulary, settings: MaskSettings, rng: np.random.Generator) -> Masked:
    """Choose and hide tokens of all sequences."""
    positions = choose(samples, vocabulary.word_starts, settings, rng)
    targets = samples.input_ids[positions]
    chance = rng.random(len(positions))
    random = vocabulary.replacements[rng.integers(len(vocabulary.replacements), size=len(positions))]
    shown = np.where(chance < settings.replace, random, np.int32(vocabulary.mask_id))
    shown = np.where(chance >= 1 - settings.keep, targets, shown)
    input_ids = samples.input_ids.copy()
    input_ids[positions] = shown
    return Masked(input_ids, positions, targets)


def choose(
    samples: Samples, word_starts: NDArray[np.bool_], settings: MaskSettings, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the positions (M,) of the tokens to be predicted, ascending."""
    text = np.flatnonzero(samples.text)
    if not len(text):
        return text
    segment = np.concatenate(([True], np.diff(text) != 1))  # the first token of a segment
    begins = segment | (settings.unit == "token") | word_starts[samples.input_ids[text]]
    words = np.flatnonzero(begins)  # (W,) in `text`
    spans = words[_divide(segment[words], settings.longest if settings.unit == "ngram" else 1, rng)]
    sequence = np.searchsorted(samples.cu_seqlens, text[spans], side="right") - 1
    chosen = _choose_share(sequence, len(samples.labels), settings.share, rng)
    sizes = np.diff(np.concatenate((spans, [len(text)])))
    return text[np.repeat(chosen, sizes)]


def _divide(segment: NDArray[np.bool_], longest: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Divide words into n-grams with p(n) ~ 1/n; a segment's first word begins one. Returns their first words."""
    begins = segment.copy()
    if longest == 1:
        begins[:] = True
    else:
        weights = 1 / np.arange(1, longest + 1)
        cumulative = np.cumsum(weights / weights.sum())
        sizes = 1 + np.searchsorted(cumulative[:-1], rng.random(len(begins)), side="right")
        ends = np.cumsum(sizes)
        begins[ends[ends < len(begins)]] = True
    return np.flatnonzero(begins)


def _choose_share(group: NDArray[np.int64], groups: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose `share` of the members of each group (ascending numbers), the rest of the division by chance."""
    counts = np.bincount(group, minlength=groups)
    wanted = np.floor(counts * share + rng.random(groups)).astype(np.int64)
    order = np.lexsort((rng.random(len(group)), group))
    rank = np.empty(len(group), dtype=np.int64)
    first = np.concatenate(([0], np.cumsum(counts)[:-1]))
    rank[order] = np.arange(len(group)) - first[group[order]]
    return np.asarray(rank < wanted[group])
