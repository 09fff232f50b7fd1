"""One text read by two tokenizers: a student's sequences, and which tokens of its teacher stand at the same characters.

Text is kept as shards of bytes (`Utf8Tokenizer`), so that blocks, windows and their order are those of every other
folder. A window is encoded when it is read; each of its sequences remembers its text, and of which characters each
token is. The teacher encodes the same text; a student's token then learns from the mean of those tokens of the teacher
that share a character with it.

Dimensions: S sequences, T tokens of the student, U of the teacher, K most tokens of the teacher for one of the student.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from litebert.data.batches import DataSettings, PretrainBatch, SpecialIds, WindowSource
from litebert.data.pairs import Samples, Text, assemble, draw_spans
from litebert.data.prepare import prepare
from litebert.errors import ConfigError
from litebert.text.interface import Tokenizer
from litebert.text.utf8 import Utf8Tokenizer

T = TypeVar("T")

MOST_TOKENS = 4
"""K: of more tokens of the teacher at one of the student's, only the first ones teach."""

_ROOM = 1.125
"""Tokens of the teacher for each of the student's, at most; where there are more, twice the room is taken."""


def keep_text(paths: Sequence[Path], out: Path, *, held_out: float = 0.005) -> None:
    """Write the text of files and folders to the data folder `out`, as it is. Raises what `prepare` raises."""
    with TemporaryDirectory() as folder:
        Utf8Tokenizer().save(Path(folder))
        prepare(paths, folder, out, held_out=held_out)


def require_single_segments(settings: DataSettings) -> None:
    """Raise ConfigError where pairs are wanted, which cannot be made of text that two tokenizers read."""
    if settings.pairs.objective != "none":
        raise ConfigError(
            f"pairs.objective = {settings.pairs.objective!r}: text that two tokenizers read is divided into single "
            "segments; set data.pairs.objective=none"
        )


class AlignedSource(WindowSource):
    """Windows of folders that `keep_text` made, encoded by one tokenizer as they are read."""

    ids_per_token = 4  # bytes

    def __init__(
        self,
        folders: dict[Path, float],
        tokenizer: Tokenizer,
        settings: DataSettings,
        seed: int,
        split: str = "train",
    ) -> None:
        require_single_segments(settings)
        super().__init__(folders, SpecialIds.of(tokenizer), settings, seed, split)
        self.tokenizer = tokenizer
        self._arguments: tuple[Any, ...] = (folders, tokenizer, settings, seed, split)

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process by name, as every source does."""
        return AlignedSource, self._arguments

    def _samples(self, text: Text, rng: np.random.Generator) -> Samples:
        raw = np.asarray(text.tokens, dtype=np.uint8).tobytes()
        sentences = [raw[start:end].decode() for start, end in zip([0, *text.ends[:-1]], text.ends, strict=True)]
        first, space = set(text.first), self.tokenizer.between
        inside = ["" if i in first else space for i in range(len(sentences))]
        encodings = self.tokenizer.encode_batch(list(map(str.__add__, inside, sentences)), special_tokens=False)
        sizes = np.array([len(encoding.ids) for encoding in encodings])
        places = np.cumsum([0, *(len(sentence) + 1 for sentence in sentences[:-1])])  # of sentences in `whole`
        places -= np.array(list(map(len, inside)))
        whole = " ".join(sentences)
        ids = np.array([i for encoding in encodings for i in encoding.ids], dtype=np.int32)
        characters = np.array([span for encoding in encodings for span in encoding.offsets], dtype=np.int64)
        characters = characters.reshape(-1, 2) + np.repeat(places, sizes)[:, None]  # (T, 2) in `whole`
        read = Text(np.arange(2, len(ids) + 2), np.cumsum(sizes).tolist(), text.first, text.document)
        spans = draw_spans(read, self.settings.pairs, rng)
        spans = spans[spans[:, 1] > spans[:, 0]]  # a block of which the vocabulary keeps nothing gives none
        starts, ends = characters[spans[:, 0], 0], characters[spans[:, 1] - 1, 1]  # (S,)
        samples = assemble(read.tokens, spans, 0, 1)  # numbers of [CLS], [SEP] and the tokens, not yet ids
        numbers, own = samples.input_ids, np.diff(samples.cu_seqlens)
        table = np.concatenate((np.array([self.special.cls_id, self.special.sep_id], dtype=np.int32), ids))
        offsets = np.concatenate((np.zeros((2, 2), dtype=np.int64), characters))[numbers]
        offsets = np.where(samples.text[:, None], offsets - np.repeat(starts, own)[:, None], 0)
        texts = np.array([whole[start:end] for start, end in zip(starts, ends, strict=True)], dtype=np.object_)
        return samples._replace(input_ids=table[numbers], texts=texts, offsets=offsets)


class Beside(NamedTuple):
    """What the teacher reads of a batch, and where it says something about each token of the student."""

    input_ids: NDArray[np.int64]  # (U,)
    position_ids: NDArray[np.int64]  # (U,)
    cu_seqlens: NDArray[np.int32]  # (S + 1,)
    matches: NDArray[np.int64]  # (T, K) tokens of the teacher, any where the share is 0
    shares: NDArray[np.float32]  # (T, K) what each of them counts; they add up to 1, or are all 0


def room_beside(tokens: int) -> int:
    """Tokens of a teacher that are expected for a student's budget, at most."""
    return -(-int(tokens * _ROOM) // 8) * 8


def read_beside(batch: PretrainBatch, tokenizer: Tokenizer, pad_id: int, length: int) -> Beside:
    """Encode the texts of a padded batch for the teacher, at most `length` tokens each, and align the two.

    Shapes depend on those of the batch alone, unless the teacher has far more tokens than the student.
    """
    assert batch.texts is not None
    assert batch.offsets is not None
    encodings = tokenizer.encode_batch(list(batch.texts))
    # What is beyond the teacher's length is left out, but for [SEP].
    read = [_cut(encoding.ids, length) for encoding in encodings]
    characters = [span for encoding in encodings for span in _cut(encoding.offsets, length)]
    sizes = np.array([len(of_text) for of_text in read], dtype=np.int64)
    ends = np.concatenate(([0], np.cumsum(sizes)))
    total, sequences = len(batch.input_ids), len(batch.cu_seqlens) - 1
    room = room_beside(total)
    while room < ends[-1]:
        room *= 2
    ids, positions = np.full(room, pad_id, dtype=np.int64), np.zeros(room, dtype=np.int64)
    ids[: ends[-1]] = [i for of_text in read for i in of_text]
    positions[: ends[-1]] = np.arange(ends[-1]) - np.repeat(ends[:-1], sizes)
    cu_seqlens = np.full(sequences + 1, ends[-1], dtype=np.int32)
    cu_seqlens[: len(ends)] = ends
    matches, shares = np.zeros((total, MOST_TOKENS), dtype=np.int64), np.zeros((total, MOST_TOKENS), dtype=np.float32)
    own = batch.cu_seqlens[: len(read) + 1].astype(np.int64)
    theirs = np.array(characters, dtype=np.int64).reshape(-1, 2)
    matches[: own[-1]], shares[: own[-1]] = _overlaps(batch.offsets, own, theirs, ends)
    return Beside(ids, positions, cu_seqlens, matches, shares)


def _cut(values: list[T], length: int) -> list[T]:
    return values if len(values) <= length else [*values[: length - 1], values[-1]]


def _overlaps(
    offsets: NDArray[np.int64], own: NDArray[np.int64], theirs: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which tokens of the teacher share characters with each token of the student: (T, K) and their shares.

    [CLS] and [SEP] are each other's. All sequences stand on one line of characters, far enough from each other.
    """
    line = int(max(offsets.max(initial=0), theirs.max(initial=0))) + 2
    sizes = np.diff(ends)
    base, other = np.repeat(np.arange(len(sizes)) * line, np.diff(own)), np.repeat(np.arange(len(sizes)) * line, sizes)
    mine, theirs = offsets + base[:, None], theirs + other[:, None]
    # Special tokens have no characters: their places at the ends keep the line in order.
    theirs[ends[1:] - 1] = (np.arange(1, len(sizes) + 1) * line - 1)[:, None]
    first = np.searchsorted(theirs[:, 1], mine[:, 0], side="right")
    stop = np.searchsorted(theirs[:, 0], mine[:, 1], side="left")
    stop = np.where(mine[:, 1] > mine[:, 0], stop, first)  # a token of no characters has no match
    for at, there in ((own[:-1], ends[:-1]), (own[1:] - 1, ends[1:] - 1)):
        first[at], stop[at] = there, there + 1
    number = np.arange(MOST_TOKENS)
    counts = np.clip(stop - first, 0, MOST_TOKENS)[:, None]
    return (
        np.minimum(first[:, None] + number, len(theirs) - 1),
        np.where(number < counts, 1 / np.maximum(counts, 1), 0).astype(np.float32),
    )
