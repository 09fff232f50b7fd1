"""What every tokenizer gives, whatever its vocabulary is made of."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from litebert.errors import TokenizerError


class Encoding(NamedTuple):
    """A text or a pair of texts as the model sees it; every list has one entry per piece."""

    ids: list[int]
    pieces: list[str]
    """As in the vocabulary, with its marks (such as "▁" where a word begins, "##" within one); an unknown piece keeps
    its surface."""
    offsets: list[tuple[int, int]]
    """Characters [start, end) of the text as given, of the second text where `segment_ids` is 1.

    `normalize(text[start:end])` is the piece without its marks. Where one character yields several pieces ("½", or
    one of several bytes), each of them spans all of it. A piece that is only a word mark has an empty span, special
    ones (0, 0).
    """
    word_starts: list[bool]
    segment_ids: list[int]
    special: list[bool]
    """True for [CLS] and [SEP]."""


class Tokenizer(ABC):
    """Text to ids and back. The attributes are fixed once loaded; instances can be pickled."""

    vocab_size: int
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    special_ids: frozenset[int]
    """Never drawn as a random replacement. An unknown piece of a text may be masked, as in the original."""
    fingerprint: str
    """SHA-256 over vocabulary and settings: what shards and checkpoints are bound to."""
    word_start_table: npt.NDArray[np.bool_]
    """(V,): the piece begins a word, for the masking of whole words."""
    lower: bool
    _pieces: list[str]
    _ids: dict[str, int]
    """The vocabulary, both ways."""
    between: str = ""
    """What stands before a sentence that follows another one, so that it is encoded alone as within the text: a space
    where pieces hold it (byte-level BPE)."""
    separators: int = 1
    """[SEP] between two texts; RoBERTa and MPNet put two."""

    @abstractmethod
    def normalize(self, text: str) -> str:
        """Return `text` as the vocabulary sees it, its words separated by single spaces."""

    @abstractmethod
    def encode_ids(self, texts: Sequence[str], *, threads: int = 1) -> list[list[int]]:
        """Return the ids of each text, without special pieces: the fast path."""

    def encode_flat(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return what `encode_ids` does as two arrays: (T,) all ids in a row, (len(texts),) how many each text has."""
        ids = self.encode_ids(texts)
        lengths = np.array([len(of_text) for of_text in ids], dtype=np.int64)
        return np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=int(lengths.sum())), lengths

    @abstractmethod
    def encode(self, text: str, text_pair: str | None = None, *, special_tokens: bool = True) -> Encoding:
        """Encode as `[CLS] text [SEP]` or `[CLS] text [SEP] text_pair [SEP]`.

        A special piece that is spelled out in a text, such as "[MASK]", is text like any other.
        """

    @abstractmethod
    def encode_batch(self, texts: Sequence[str], *, special_tokens: bool = True, threads: int = 1) -> list[Encoding]:
        """Encode each text as `encode` does; in one go, where that is faster."""

    @abstractmethod
    def encode_masked(self, text: str, mark: str) -> list[int]:
        """Return the ids of a text in which each `mark` stands for a masked piece, without special pieces at the ends.

        The text is encoded as a whole, so that what follows a mask is not taken for the beginning of a text. A mask
        stands for a whole piece, the space before it included.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Return the normalized text that `ids` stand for: special pieces left out, unknown ones as "⁇"."""

    def id_to_piece(self, i: int) -> str:
        """Return piece number `i`; TokenizerError if there is none."""
        if not 0 <= i < self.vocab_size:
            raise TokenizerError(
                f"no piece has number {i} in this vocabulary of {self.vocab_size}; use the one it is from"
            )
        return self._pieces[i]

    def piece_to_id(self, piece: str) -> int:
        """Return the number of `piece`, `unk_id` if the vocabulary lacks it."""
        return self._ids.get(piece, self.unk_id)

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the tokenizer's files into `folder`; equal tokenizers give equal bytes."""
