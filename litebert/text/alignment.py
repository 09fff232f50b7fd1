"""Where in the user's text every piece lies.

Three steps stand between a text and its pieces: our normalization, the one built into the sentencepiece model,
and the segmentation. `align` follows them one character at a time and is right for every text. `PlainAligner`
does the same for whole batches of plain texts at once: those in which no character's fate depends on its
neighbours, nearly all texts of English. There the lengths of the pieces alone say where they lie.
"""

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from litebert.text.normalize import Normalization, codepoints

WORD_MARK = "▁"

_UNSEEN, _SPACE, _OTHER, _UNKNOWN, _KNOWN = range(5)
"""Kinds of characters: not looked at yet; white space; one that needs `align`; one that becomes a single
character which is no piece by itself; from _KNOWN on, one that becomes 1, 2, ... characters which are pieces.
"""

_PLAIN_RANGES = ((0x20, 0x900), (0x2000, 0x3000), (0x4E00, 0xA000), (0x1F000, 0x20000))
"""Blocks without characters that NFKC puts together with the one before, other than combining ones."""

_PLAIN_NORMALIZERS = ("nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity")


def align(
    text: str,
    normalization: Normalization,
    final: str,
    origin: Sequence[int],
    pieces: Sequence[str],
    *,
    vanishes: Callable[[str], bool],
) -> list[tuple[int, int]]:
    """Return the characters [start, end) of `text` behind each piece, its word mark apart.

    Args:
        text: as the user wrote it.
        normalization: what was applied to it first.
        final: what the model's own normalization made of the result, spaces as word marks; the pieces joined.
        origin: for every character of `final` and for its end, where it comes from in what `normalization` gives.
        pieces: with word marks; a piece that is nothing else gets the empty span before the next one.
        vanishes: whether the model's normalization drops a character or takes it for a space.

    Where one source character yields several pieces ("½" is "1", "⁄", "2"), each of them spans all of it.
    """
    normalized = normalization(text)
    lengths = normalization.lengths(text)
    source = np.repeat(np.arange(len(text)), lengths).tolist()
    offsets: list[tuple[int, int]] = []
    position = 0
    for piece in pieces:
        begin, end = position + piece.startswith(WORD_MARK), position + len(piece)
        position = end
        if begin == end:
            at = source[origin[end]] if end < len(final) else len(text)
            offsets.append((at, at))
            continue
        stop = end
        while stop < len(final) and origin[stop] == origin[end - 1]:
            stop += 1  # the rest of what one character or sequence became
        last = origin[stop] - 1
        while last > origin[end - 1] and vanishes(normalized[last]):
            last -= 1
        upto = source[last] + 1
        while upto < len(text) and lengths[upto] == 0 and unicodedata.combining(text[upto]):
            upto += 1  # accents belong to the letter before them
        offsets.append((source[origin[begin]], upto))
    return offsets


class PlainBatch(NamedTuple):
    """Some texts, those among them that are not plain put aside."""

    texts: Sequence[str]
    plain: list[bool]
    chosen: list[str]
    """The texts, but empty where one is not plain."""
    joined: str
    """All the texts, each followed by a line end."""
    kinds: npt.NDArray[np.uint8]
    """(len(joined),): what each character is; those of texts that are not plain count as white space."""
    bases: npt.NDArray[np.int64]
    """(texts + 1,): where in `joined` each text begins, and where one more would."""


class Spans(NamedTuple):
    """Where P pieces lie, each counted from the beginning of its own text."""

    starts: npt.NDArray[np.int64]  # (P,)
    ends: npt.NDArray[np.int64]  # (P,)
    unknown: npt.NDArray[np.int64]
    """Indices of the unknown pieces."""
    surfaces: list[str]
    """The characters of each unknown piece."""


class PlainAligner:
    """Finds the spans of the pieces of many plain texts at once, from the numbers of the pieces alone.

    An unknown piece is a maximal run of characters that are no pieces by themselves, since sentencepiece joins
    adjacent unknown characters; that holds where all characters of all pieces are pieces too (`usable`).
    """

    def __init__(
        self,
        pieces: Sequence[str],
        special_ids: frozenset[int],
        unk_id: int,
        normalizer: str,
        normalization: Normalization,
        normalize: Callable[[str], str],
    ) -> None:
        """Prepare the tables.

        Args:
            pieces: the vocabulary.
            special_ids: numbers of pieces that no text yields, `unk_id` among them.
            unk_id: the number of the unknown piece.
            normalizer: name of the normalization built into the model.
            normalization: what is applied before it.
            normalize: both of them, with word marks.
        """
        single = {piece for piece in pieces if len(piece) == 1}
        ordinary = "".join(piece for i, piece in enumerate(pieces) if i not in special_ids)
        # Without a piece for the comma, an unknown piece could end in one, and would be split.
        complete = single.issuperset(ordinary) and single.issuperset((WORD_MARK, ","))
        self.usable = complete and normalizer in _PLAIN_NORMALIZERS
        self._single = frozenset(single)
        self._unk_id = unk_id
        self._normalization = normalization
        self._normalize = normalize
        self._lengths = np.array([len(piece.removeprefix(WORD_MARK)) for piece in pieces], dtype=np.int64)
        self._kinds = np.zeros(0x110000, dtype=np.uint8)
        self._kinds[0xD800:0xE000] = _OTHER  # surrogates: no character at all

    def select(self, texts: Sequence[str]) -> PlainBatch:
        """Find the plain ones among `texts`."""
        joined = "\n".join([*texts, ""])
        codes = codepoints(joined)
        kinds = self._kinds[codes]
        if _UNSEEN in kinds:
            for code in np.unique(codes[kinds == _UNSEEN]).tolist():
                self._kinds[code] = self._kind(chr(code))
            kinds = self._kinds[codes]
        bases = np.cumsum([0, *(len(text) + 1 for text in texts)])
        plain = [self.usable] * len(texts)
        chosen = list(texts) if self.usable else [""] * len(texts)
        if self.usable and _OTHER in kinds:
            others = np.searchsorted(bases, np.flatnonzero(kinds == _OTHER), side="right") - 1
            for i in np.unique(others).tolist():
                plain[i], chosen[i] = False, ""
                kinds[bases[i] : bases[i + 1]] = _SPACE
        return PlainBatch(texts, plain, chosen, joined, kinds, bases)

    def spans(self, batch: PlainBatch, ids: npt.NDArray[np.int32], counts: npt.NDArray[np.int64]) -> Spans | None:
        """Return where the pieces lie, or None if they do not add up to the texts, which then need `align`.

        Args:
            batch: the texts.
            ids: (P,) their pieces, one text after the other.
            counts: (texts,) how many pieces each text has.
        """
        chars = np.flatnonzero(batch.kinds != _SPACE)
        if batch.kinds.max(initial=0) > _KNOWN:
            chars = np.repeat(chars, np.maximum(batch.kinds[chars], _KNOWN) - (_KNOWN - 1))
        lengths = self._lengths[ids]  # without word marks
        unknown = np.flatnonzero(ids == self._unk_id)
        if len(unknown):
            runs = _run_lengths(np.flatnonzero(batch.kinds == _UNKNOWN))
            if len(runs) != len(unknown):
                return None
            lengths[unknown] = runs
        stops = np.cumsum(lengths)
        if not np.array_equal(np.searchsorted(chars, batch.bases), _running(lengths)[_running(counts)]):
            return None
        bare = lengths == 0
        starts = chars[stops - lengths]
        ends = chars[stops - 1 + bare] + 1 - bare
        bounds = zip(starts[unknown].tolist(), ends[unknown].tolist(), strict=True)
        surfaces = [batch.joined[a:b] for a, b in bounds]
        bases = np.repeat(batch.bases[:-1], counts)
        return Spans(starts - bases, ends - bases, unknown, surfaces)

    def _kind(self, char: str) -> int:
        if self._normalize(f"a{char}a") == f"{WORD_MARK}a{WORD_MARK}a":
            return _SPACE
        normalized = self._normalization(char)
        if not all(map(_stands_alone, normalized)) or self._normalize(char) != WORD_MARK + normalized:
            return _OTHER
        if self._single.issuperset(normalized):
            return _KNOWN + len(normalized) - 1
        return _UNKNOWN if len(normalized) == 1 else _OTHER


class SpanTuples:
    """Gives (start, end) tuples, short ones near the beginning of a text from a table.

    Making a tuple and two integers for every piece would cost more than all the rest of finding them.
    """

    def __init__(self, longest_start: int = 4096, longest: int = 16) -> None:
        """Make the tuples with a start below `longest_start` that are shorter than `longest`."""
        self._longest_start, self._longest = longest_start, longest
        tuples = ((start, start + length) for start in range(longest_start) for length in range(longest))
        self._table = np.fromiter(tuples, dtype=object, count=longest_start * longest)

    def __call__(self, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> npt.NDArray[np.object_]:
        """Return an array of the tuples (starts[i], ends[i])."""
        lengths = ends - starts
        rare = (starts >= self._longest_start) | (lengths >= self._longest)
        tuples: npt.NDArray[np.object_] = self._table[np.where(rare, 0, starts * self._longest + lengths)]
        for i in np.flatnonzero(rare).tolist():
            tuples[i] = (int(starts[i]), int(ends[i]))
        return tuples


def _stands_alone(char: str) -> bool:
    """Whether a normalized character becomes the same whatever stands beside it."""
    in_plain_block = any(low <= ord(char) < high for low, high in _PLAIN_RANGES)
    final_sigma = char in "σς"  # the only letter whose lower case depends on its neighbours
    return in_plain_block and not final_sigma and not unicodedata.combining(char)


def _running(sizes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Running sums, the empty one included: (n + 1,) from (n,)."""
    return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))


def _run_lengths(members: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Lengths of the runs of consecutive numbers in `members`, which ascend."""
    begins = np.flatnonzero(np.diff(members, prepend=-2) > 1)
    return np.diff(begins, append=len(members))
