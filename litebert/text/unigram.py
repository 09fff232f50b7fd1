"""The original's tokenizer: its normalization, a unigram model of sentencepiece, its split of digits and commas."""

import gc
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import sentencepiece

from litebert.errors import TokenizerError
from litebert.files import disk_errors, write_text
from litebert.text.alignment import WORD_MARK, PlainAligner, PlainBatch, SpanTuples, align
from litebert.text.export import Vocabulary, tokenizer_config, tokenizer_json
from litebert.text.interface import Encoding, Tokenizer
from litebert.text.normalize import Normalization
from litebert.text.spiece import read_settings

SPECIAL_PIECES = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
MODEL_FILE = "spiece.model"
CONFIG_FILE = "tokenizer_config.json"

_PORTION = 1 << 16
"""Batches are worked on in portions of about so many characters: memory is bounded, and a cache holds them."""

_SHARED_PORTION = 1 << 19
"""Threads that share a portion need more, or they would wait for each other."""

_FEW = 8
"""For more texts than this a thread of sentencepiece's own is started."""

_SYMBOLS = frozenset('!"#$%&()*+,-./:;?@[\\]^_`{|}~€£')
_ENGLISH = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")

_Segmented = list[npt.NDArray[np.int32]]
"""The ids of each text, as sentencepiece gives them."""

_State = TypeVar("_State")
_Result = TypeVar("_Result")


class SentencePieceTokenizer(Tokenizer):
    """ALBERT's tokenizer.

    The original (`encode_pieces` in tokenization.py) takes apart every piece that ends in a digit and a comma: what
    stands before the comma is encoded once more by itself. What comes of that depends on the piece alone, so it is
    computed once for each such piece of the vocabulary.
    """

    def __init__(self, model: bytes, normalization: Normalization) -> None:
        """Build a tokenizer from the content of a `.model` file.

        Raises:
            TokenizerError: no sentencepiece model, one of another kind than ALBERT's, or without the special pieces.
        """
        self._model = model
        self.normalization = normalization
        self.lower = normalization.lower
        try:
            self._settings = read_settings(model)
            self._processor = sentencepiece.SentencePieceProcessor()
            self._processor.LoadFromSerializedProto(model)
        except (RuntimeError, ValueError) as error:
            raise TokenizerError("no sentencepiece model, or a damaged one; copy or train it again") from error
        self.vocab_size = self._processor.get_piece_size()
        everything = list(range(self.vocab_size))
        self._pieces: list[str] = self._processor.id_to_piece(everything)
        self._ids = {piece: i for i, piece in enumerate(self._pieces)}
        missing = [piece for piece in SPECIAL_PIECES if piece not in self._ids]
        if missing:
            raise TokenizerError(
                f"its vocabulary lacks {' '.join(missing)}; train one with `litebert tokenizer train`, which has all"
            )
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (self._ids[p] for p in SPECIAL_PIECES)
        control = np.flatnonzero(self._processor.is_control(everything)).tolist()
        self.special_ids = frozenset((self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id, *control))
        starts = [i in self.special_ids or is_word_start(piece) for i, piece in enumerate(self._pieces)]
        self.word_start_table = np.array(starts, dtype=bool)
        identity = json.dumps(normalization._asdict(), sort_keys=True)
        self.fingerprint = hashlib.sha256(identity.encode() + b"\n" + model).hexdigest()
        self._splits = {
            i: [self.piece_to_id(part) for part in self._split(piece)]
            for i, piece in enumerate(self._pieces)
            if _ends_in_digit_comma(piece)
        }
        self._split_table = np.isin(everything, list(self._splits))
        self._aligner = PlainAligner(
            self._pieces, self.special_ids, self.unk_id, self._settings.normalizer, normalization, self._normalize
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (SentencePieceTokenizer, (self._model, self.normalization))

    def normalize(self, text: str) -> str:
        """See `Tokenizer`."""
        return self._normalize(text).replace(WORD_MARK, " ").strip(" ")

    def encode_ids(self, texts: Sequence[str], *, threads: int = 1) -> list[list[int]]:
        """See `Tokenizer`."""
        if not self._table_suffices:
            segmented = (self._segment(self.normalization(text)) for text in texts)
            return [[self.piece_to_id(piece) for piece in pieces] for pieces in segmented]

        def finish(_: Sequence[str], segmented: _Segmented) -> list[list[int]]:
            ids, lengths = self._flat(segmented)
            numbers = self._number_table[ids]
            return [numbers[a:b].tolist() for a, b in _bounds(lengths)]

        with _collector_paused(len(texts) > _FEW):
            return self._in_portions(texts, lambda portion: (portion, portion), finish, threads)

    def encode_flat(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """See `Tokenizer`."""
        if not self._table_suffices:
            return super().encode_flat(texts)
        return self._flat(self._run(self._prepare(texts), threads=1))

    def encode(self, text: str, text_pair: str | None = None, *, special_tokens: bool = True) -> Encoding:
        """See `Tokenizer`."""
        if text_pair is None:
            return self.encode_batch([text], special_tokens=special_tokens)[0]
        return self._join(self.encode_batch([text, text_pair], special_tokens=False), special_tokens)

    def encode_batch(self, texts: Sequence[str], *, special_tokens: bool = True, threads: int = 1) -> list[Encoding]:
        """See `Tokenizer`."""

        def select(portion: Sequence[str]) -> tuple[PlainBatch, Sequence[str]]:
            batch = self._aligner.select(portion)
            return batch, batch.chosen

        def finish(batch: PlainBatch, segmented: _Segmented) -> list[Encoding]:
            return self._encodings(batch, segmented, special_tokens)

        with _collector_paused(len(texts) > _FEW):
            return self._in_portions(texts, select, finish, threads)

    def encode_masked(self, text: str, mark: str) -> list[int]:
        """See `Tokenizer`: the marks become a character that no vocabulary has, and are told apart afterwards."""
        code = 0xE000  # private use
        while chr(code) in text:
            code += 1
        stand_in = chr(code)
        encoding = self.encode(text.replace(mark, stand_in), special_tokens=False)
        ids: list[int] = []
        for i, piece in zip(encoding.ids, encoding.pieces, strict=True):
            if stand_in not in piece:
                ids.append(i)
                continue
            # Unknown characters that touch are one piece: the masks among them are told apart again.
            if piece[0] == stand_in and ids and self._pieces[ids[-1]] == WORD_MARK:
                ids.pop()
            parts = re.findall(f"{stand_in}|[^{stand_in}{WORD_MARK}]+", piece)
            ids += [self.mask_id if part == stand_in else self.unk_id for part in parts]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """See `Tokenizer`."""
        words = [int(i) for i in ids if i == self.unk_id or i not in self.special_ids]
        for i in words:
            self.id_to_piece(i)
        text: str = self._processor.decode(words)
        return text

    def save(self, folder: Path) -> None:
        """See `Tokenizer`: `spiece.model`, `tokenizer.json` and `tokenizer_config.json`."""
        scores: list[float] = self._processor.get_score(list(range(self.vocab_size)))
        vocabulary = Vocabulary(self._pieces, scores, SPECIAL_PIECES, frozenset(self._splits))
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / MODEL_FILE).write_bytes(self._model)
        write_text(folder / "tokenizer.json", tokenizer_json(vocabulary, self.normalization, *self._settings))
        write_text(folder / CONFIG_FILE, tokenizer_config(vocabulary, self.normalization))

    # Ids

    @property
    def _table_suffices(self) -> bool:
        """Whether all pieces to be split are in the table: unknown ones never end in a comma that is known."""
        return "," in self._ids

    def _in_portions(
        self,
        texts: Sequence[str],
        begin: Callable[[Sequence[str]], tuple[_State, Sequence[str]]],
        finish: Callable[[_State, _Segmented], list[_Result]],
        threads: int,
    ) -> list[_Result]:
        """Work on `texts` in portions: begin in Python, segment outside of it, finish in Python; join the results.

        With more than one thread a portion is segmented while the one before it is finished and the next begun.
        """
        results: list[_Result] = []
        if threads <= 1 or len(texts) <= _FEW:
            for portion in _portions(texts, _PORTION):
                state, chosen = begin(portion)
                results += finish(state, self._run(self._prepare(chosen), threads))
            return results
        with ThreadPoolExecutor(1) as background:
            running: tuple[_State, Future[_Segmented]] | None = None
            for portion in _portions(texts, _SHARED_PORTION):
                state, chosen = begin(portion)
                future = background.submit(self._run, self._prepare(chosen), threads)
                if running:
                    results += finish(running[0], running[1].result())
                running = state, future
            if running:
                results += finish(running[0], running[1].result())
        return results

    def _prepare(self, texts: Sequence[str]) -> list[bytes]:
        return list(map(self.normalization.quick, texts))

    def _run(self, prepared: list[bytes], threads: int) -> _Segmented:
        if len(prepared) <= _FEW:
            return [self._processor.encode(text, out_type="numpy") for text in prepared]
        segmented: _Segmented = self._processor.encode(prepared, out_type="numpy", num_threads=threads)
        return segmented

    def _flat(self, segmented: _Segmented) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Join the ids of texts, digits and commas split; return them and how many each text has."""
        lengths = np.array([len(ids) for ids in segmented], dtype=np.int64)
        ids = np.concatenate([*segmented, np.zeros(0, dtype=np.int32)])
        hits = np.flatnonzero(self._split_table[ids])
        if len(hits):
            parts = [self._splits[i] for i in ids[hits].tolist()]
            more = [len(part) - 1 for part in parts]
            np.add.at(lengths, np.searchsorted(np.cumsum(lengths), hits, side="right"), more)
            rest = list(chain.from_iterable(part[1:] for part in parts))
            ids = np.insert(ids, np.repeat(hits + 1, more), rest)
            ids[hits + np.cumsum([0, *more[:-1]])] = [part[0] for part in parts]
        return ids, lengths

    def _segment(self, normalized: str) -> list[str]:
        """Return the pieces of a normalized text step by step, as the original does."""
        pieces: list[str] = []
        for piece in self._processor.encode(normalized, out_type=str):
            pieces.extend(self._split(piece) if _ends_in_digit_comma(piece) else [piece])
        return pieces

    def _split(self, piece: str) -> list[str]:
        parts: list[str] = self._processor.encode(piece[:-1].replace(WORD_MARK, ""), out_type=str)
        if not piece.startswith(WORD_MARK) and parts[0].startswith(WORD_MARK):
            parts = [parts[0][1:], *parts[1:]] if len(parts[0]) > 1 else parts[1:]
        return [*parts, piece[-1]]

    def _normalize(self, text: str) -> str:
        """Apply both normalizations; spaces come out as word marks."""
        final: str = self._processor.normalize(self.normalization(text))
        return final

    # Encodings

    def _encodings(self, batch: PlainBatch, segmented: _Segmented, special_tokens: bool) -> list[Encoding]:
        encodings = self._encode_plain(batch, segmented, special_tokens)
        if encodings is None:
            return [self._join([self._encode_any(text)], special_tokens) for text in batch.texts]
        for i, plain in enumerate(batch.plain):
            if not plain:
                encodings[i] = self._join([self._encode_any(batch.texts[i])], special_tokens)
        return encodings

    def _encode_any(self, text: str) -> Encoding:
        """Encode a text of any kind without special pieces: the slow and sure way."""
        normalized = self.normalization(text)
        final, origin = self._processor.normalize(normalized, with_offsets=True)
        pieces = self._segment(normalized)
        offsets = align(text, self.normalization, final, origin, pieces, vanishes=self._vanishes)
        ids = [self.piece_to_id(piece) for piece in pieces]
        word_starts = [bool(self.word_start_table[i]) for i in ids]
        return Encoding(ids, pieces, offsets, word_starts, [0] * len(ids), [False] * len(ids))

    def _vanishes(self, char: str) -> bool:
        return not self._processor.normalize(char)

    def _encode_plain(self, batch: PlainBatch, segmented: _Segmented, special_tokens: bool) -> list[Encoding] | None:
        """Encode the plain texts of a batch all at once; None if the pieces do not add up to the texts."""
        ids, lengths = self._flat(segmented)
        spans = self._aligner.spans(batch, ids, lengths)
        if spans is None:
            return None
        starts, ends, places = spans.starts, spans.ends, np.arange(len(ids))
        if special_tokens:
            places += np.repeat(2 * np.arange(len(lengths)) + 1, lengths)
            lengths = lengths + 2
            stops = np.cumsum(lengths)
            ids, starts, ends = (_spread(column, places, int(stops[-1])) for column in (ids, starts, ends))
            ids[stops - lengths], ids[stops - 1] = self.cls_id, self.sep_id
        pieces = self._piece_table[ids]
        if spans.surfaces:
            surfaces = {surface: self._normalize(surface)[1:] for surface in set(spans.surfaces)}
            pieces[places[spans.unknown]] = [surfaces[surface] for surface in spans.surfaces]
        # Arrays of objects until the end: lists of everything would keep the garbage collector busy.
        numbers, offsets = self._number_table[ids], self._span_tuples(starts, ends)
        word_starts = self.word_start_table[ids]
        outer = [True] if special_tokens else []
        return [
            Encoding(
                numbers[a:b].tolist(),
                pieces[a:b].tolist(),
                offsets[a:b].tolist(),
                word_starts[a:b].tolist(),
                [0] * (b - a),
                [*outer, *([False] * (b - a - 2 * len(outer))), *outer],
            )
            for a, b in _bounds(lengths)
        ]

    def _join(self, parts: Sequence[Encoding], special_tokens: bool) -> Encoding:
        """Join the encodings of one or two texts to that of a sequence."""
        sep = Encoding([self.sep_id], ["[SEP]"], [(0, 0)], [True], [0], [True])
        rows = [Encoding([self.cls_id], ["[CLS]"], [(0, 0)], [True], [0], [True])] if special_tokens else []
        for segment, part in enumerate(parts):
            for row in (part, sep) if special_tokens else (part,):
                rows.append(row._replace(segment_ids=[segment] * len(row.ids)))
        return Encoding(*(list(chain.from_iterable(column)) for column in zip(*rows, strict=True)))

    @cached_property
    def _span_tuples(self) -> SpanTuples:
        return SpanTuples()

    @cached_property
    def _piece_table(self) -> npt.NDArray[np.object_]:
        return np.array(self._pieces, dtype=object)

    @cached_property
    def _number_table(self) -> npt.NDArray[np.object_]:
        return np.arange(self.vocab_size).astype(object)  # the same integers every time, instead of new ones


def is_word_start(piece: str) -> bool:
    """Whether `piece` begins a word: `_is_start_piece_sp` of create_pretraining_data.py in the original.

    Pieces with a word mark do, single symbols, and whatever holds a character that is neither a letter of
    English nor such a symbol.
    """
    return (
        piece.startswith((WORD_MARK, "<"))
        or piece in _SYMBOLS
        or not all(char in _ENGLISH or char in _SYMBOLS for char in piece)
    )


def _ends_in_digit_comma(piece: str) -> bool:
    return len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()


def _spread(column: npt.NDArray[Any], places: npt.NDArray[np.int64], size: int) -> npt.NDArray[Any]:
    """Put the entries of `column` at `places` of an array of zeros."""
    spread = np.zeros(size, dtype=column.dtype)
    spread[places] = column
    return spread


def _bounds(lengths: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Begin and end of each of several stretches that follow each other."""
    return pairwise(accumulate(lengths.tolist(), initial=0))


def _portions(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Divide `texts` where there are `size` characters together."""
    begin = characters = 0
    for i, text in enumerate(texts):
        characters += len(text)
        if characters >= size:
            yield texts[begin : i + 1]
            begin, characters = i + 1, 0
    if begin < len(texts):
        yield texts[begin:]


@contextmanager
def _collector_paused(pause: bool) -> Iterator[None]:
    """Keep the garbage collector from going through every list just made again and again.

    It does so as their number grows, takes as long as all the rest, and finds nothing: they hold no cycles.
    """
    pause = pause and gc.isenabled()
    if pause:
        gc.disable()
    try:
        yield
    finally:
        if pause:
            gc.enable()
