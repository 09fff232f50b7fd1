"""Tokenizers of other models, by their `tokenizer.json`: WordPiece, byte-level BPE, unigram with word marks.

The library `tokenizers` divides the text. What stands around it is as for ALBERT's own tokenizer: special pieces that
are spelled out in a text are text, offsets are those of the user's characters, and where a word begins is known.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from litebert.errors import TokenizerError
from litebert.files import write_text
from litebert.text.interface import Encoding, Tokenizer

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
SPECIAL_FILE = "special_tokens_map.json"

_ROLES = {"pad": ("[PAD]", "<pad>"), "unk": ("[UNK]", "<unk>"), "cls": ("[CLS]", "<s>"), "sep": ("[SEP]", "</s>"),
          "mask": ("[MASK]", "<mask>")}  # fmt: skip
"""What special pieces are called where no file beside the vocabulary says it."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_METASPACE, _BYTE_SPACE = "▁", "Ġ"
_UNKNOWN = "⁇"

_MODEL_MAX_LENGTH = 512
_NO_LIMIT = 10**9
"""transformers writes a number of thirty digits where there is no longest text."""


class FastTokenizer(Tokenizer):
    """A `tokenizer.json` and the names of its special pieces.

    The ids of a text, or a pair, are those of transformers' AutoTokenizer with `split_special_tokens=True`.
    """

    def __init__(self, model: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        """Build a tokenizer from the content of `tokenizer.json` and what files beside it say of special pieces.

        Raises:
            TokenizerError: the library cannot read it, it is of a kind whose words are not known, or special pieces
                are missing or stand elsewhere than `[CLS] text [SEP] text_pair [SEP]`.
        """
        # Cutting and padding are the caller's business.
        self._model = {**model, "truncation": None, "padding": None}
        self._settings = dict(settings)
        self._tokenizer = _library(self._model)
        self._tokenizer.encode_special_tokens = True  # which reads: encode them as text
        vocabulary: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self._ids = vocabulary
        self.vocab_size = max(vocabulary.values(), default=-1) + 1
        self._pieces = [""] * self.vocab_size
        for piece, i in vocabulary.items():
            self._pieces[i] = piece
        self._roles = {role: _special_piece(role, settings, vocabulary) for role in _ROLES}
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            vocabulary[self._roles[role]] for role in _ROLES
        )
        added = [entry["id"] for entry in self._model.get("added_tokens") or () if entry["special"]]
        holes = [i for i, piece in enumerate(self._pieces) if not piece]
        named = (self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id)
        self.special_ids = frozenset((*named, *added, *holes))
        self._kind = _kind(self._model)
        starts = [i in self.special_ids or self._begins_word(piece) for i, piece in enumerate(self._pieces)]
        self.word_start_table = np.array(starts, dtype=bool)
        self.separators = self._separators()
        alone, within = self.encode_ids(["a", " a"])
        self.between = "" if alone == within else " "
        self.lower = self.normalize("A") == "a"
        identity = json.dumps([self._model, self._roles], sort_keys=True)
        self.fingerprint = hashlib.sha256(identity.encode()).hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        return (FastTokenizer, (self._model, self._settings))

    def normalize(self, text: str) -> str:
        """See `Tokenizer`."""
        if self._tokenizer.normalizer is not None:
            text = self._tokenizer.normalizer.normalize_str(_valid(text))
        return " ".join((text.replace(_METASPACE, " ") if self._kind == "Metaspace" else text).split())

    def encode_ids(self, texts: Sequence[str], *, threads: int = 1) -> list[list[int]]:
        """See `Tokenizer`."""
        if threads > 1:
            batch = self._tokenizer.encode_batch_fast([_valid(text) for text in texts], add_special_tokens=False)
            return [encoding.ids for encoding in batch]
        # The library's own batches take every core.
        return [self._tokenizer.encode(_valid(text), add_special_tokens=False).ids for text in texts]

    def encode(self, text: str, text_pair: str | None = None, *, special_tokens: bool = True) -> Encoding:
        """See `Tokenizer`; `segment_ids` tell the texts apart for models with one segment, too."""
        texts = [text] if text_pair is None else [text, text_pair]
        return self._join([self._encode_text(part) for part in texts], special_tokens)

    def encode_batch(self, texts: Sequence[str], *, special_tokens: bool = True, threads: int = 1) -> list[Encoding]:
        """See `Tokenizer`."""
        return [self.encode(text, special_tokens=special_tokens) for text in texts]

    def encode_masked(self, text: str, mark: str) -> list[int]:
        """See `Tokenizer`."""
        marked = _valid(text).replace(mark, self._roles["mask"])
        ids: list[int] = self._with_masks.encode(marked, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """See `Tokenizer`."""
        runs: list[list[int]] = [[]]
        for i in ids:
            self.id_to_piece(i)
            if i == self.unk_id:
                runs.append([])
            elif i not in self.special_ids:
                runs[-1].append(int(i))
        text = f" {_UNKNOWN} ".join(self._tokenizer.decode(run, skip_special_tokens=False) for run in runs)
        return " ".join(text.split())

    def save(self, folder: Path) -> None:
        """See `Tokenizer`: `tokenizer.json`, and `tokenizer_config.json` by which AutoTokenizer takes it as it is."""
        longest = self._settings.get("model_max_length")
        segments = ["token_type_ids"] if self.separators == 1 else []
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "do_lower_case": self.lower,
            "model_max_length": longest if isinstance(longest, int) and longest < _NO_LIMIT else _MODEL_MAX_LENGTH,
            "model_input_names": ["input_ids", *segments, "attention_mask"],
            "clean_up_tokenization_spaces": False,
            "bos_token": self._roles["cls"],
            "eos_token": self._roles["sep"],
            **{f"{role}_token": piece for role, piece in self._roles.items()},
        }
        write_text(folder / TOKENIZER_FILE, json.dumps(self._model, ensure_ascii=False) + "\n")
        write_text(folder / CONFIG_FILE, json.dumps(config, indent=2, ensure_ascii=False) + "\n")

    @cached_property
    def _with_masks(self) -> tokenizers.Tokenizer:
        """The same, but for the mask, which is no text."""
        mask = self._roles["mask"]
        added = self._model.get("added_tokens") or ()
        kept = [entry for entry in added if entry["content"] == mask or not entry["special"]]
        library = _library({**self._model, "added_tokens": kept})
        if not any(entry["content"] == mask for entry in kept):
            library.add_special_tokens([tokenizers.AddedToken(mask, normalized=False)])
        return library

    def _begins_word(self, piece: str) -> bool:
        if self._kind == "WordPiece":
            return not piece.startswith(self._model["model"].get("continuing_subword_prefix", "##"))
        if self._kind == "ByteLevel":
            # What begins with no letter is a sign, or the first byte of another script's letter.
            return piece.startswith(_BYTE_SPACE) or not piece[:1].isalnum()
        return piece.startswith(_METASPACE)

    def _encode_text(self, text: str) -> Encoding:
        """Encode without special pieces."""
        encoding = self._tokenizer.encode(_valid(text), add_special_tokens=False)
        ids: list[int] = encoding.ids
        offsets = [_without_space(text, *span) for span in encoding.offsets]
        pieces = [self._pieces[i] for i in ids]
        for n, i in enumerate(ids):
            if i == self.unk_id:
                surface = text[slice(*offsets[n])]
                pieces[n] = self.normalize(surface) or surface
        word_starts = [bool(self.word_start_table[i]) for i in ids]
        word_starts[:1] = [True] * len(word_starts[:1])
        return Encoding(ids, pieces, offsets, word_starts, [0] * len(ids), [False] * len(ids))

    def _join(self, parts: Sequence[Encoding], special_tokens: bool) -> Encoding:
        """Join the encodings of one or two texts to that of a sequence."""
        cls, sep = (Encoding([i], [self._pieces[i]], [(0, 0)], [True], [0], [True]) for i in (self.cls_id, self.sep_id))
        rows = [cls] if special_tokens else []
        for segment, part in enumerate(parts):
            last = segment == len(parts) - 1
            ends = [sep] * (1 if last else self.separators) if special_tokens else []
            rows += [row._replace(segment_ids=[segment] * len(row.ids)) for row in (part, *ends)]
        return Encoding(*(list(chain.from_iterable(column)) for column in zip(*rows, strict=True)))

    def _separators(self) -> int:
        """How many separators stand between two texts; TokenizerError where special pieces stand elsewhere."""
        if self._tokenizer.post_processor is None:
            return 1
        words = [i for i in range(self.vocab_size) if i not in self.special_ids][:1]
        text = self._pieces[words[0]] if words else "a"
        bare = self._tokenizer.encode(text, add_special_tokens=False).ids
        found = self._tokenizer.encode(text, text).ids
        for separators in (1, 2):
            if found == [self.cls_id, *bare, *[self.sep_id] * separators, *bare, self.sep_id]:
                return separators
        pieces = " ".join(self._pieces[i] for i in found)
        raise TokenizerError(f"a pair becomes {pieces!r}, not [CLS] text [SEP] text [SEP]; take an encoder's tokenizer")


def load_fast(file: Path) -> FastTokenizer:
    """Load a `tokenizer.json`; the files beside it say which pieces are special. Raises TokenizerError, OSError."""
    model = _read_object(file)
    settings: dict[str, Any] = {}
    for name in (SPECIAL_FILE, CONFIG_FILE):
        if (file.parent / name).is_file():
            settings |= _read_object(file.parent / name)
    return FastTokenizer(model, settings)


def _read_object(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TokenizerError(f"{file.name} is no readable JSON ({error}); copy it again") from error
    if not isinstance(values, dict):
        raise TokenizerError(f"{file.name} holds no JSON object; copy it again")
    return values


def _library(model: Mapping[str, Any]) -> tokenizers.Tokenizer:
    try:
        return tokenizers.Tokenizer.from_str(json.dumps(model))
    except Exception as error:  # the library raises nothing narrower
        line = " ".join(str(error).split())
        raise TokenizerError(f"{TOKENIZER_FILE} is not one that `tokenizers` reads ({line}); copy it again") from error


def _special_piece(role: str, settings: Mapping[str, Any], vocabulary: Mapping[str, int]) -> str:
    named = settings.get(f"{role}_token")
    if isinstance(named, dict):
        named = named.get("content")
    candidates = (named,) if isinstance(named, str) else _ROLES[role]
    for piece in candidates:
        if piece in vocabulary:
            return piece
    raise TokenizerError(
        f"its vocabulary lacks {' or '.join(candidates)}, the {role}_token; name the piece in {CONFIG_FILE}"
    )


def _kind(model: Mapping[str, Any]) -> str:
    """`WordPiece`, `ByteLevel` or `Metaspace`: by what a piece tells whether it begins a word."""
    kind = model.get("model", {}).get("type")
    if kind == "WordPiece":
        return "WordPiece"
    parts = {*_types(model.get("decoder")), *_types(model.get("pre_tokenizer"))}
    for name in ("ByteLevel", "Metaspace"):
        if name in parts:
            return name
    raise TokenizerError(
        f"a {kind} model whose pieces do not tell where a word begins; litebert reads WordPiece, byte-level BPE and "
        "pieces with word marks"
    )


def _types(part: Any) -> list[str]:
    """The types of a pre-tokenizer or decoder, those of a sequence one by one."""
    if not isinstance(part, dict):
        return []
    inner = part.get("pretokenizers") or part.get("decoders") or ()
    return [part.get("type", ""), *(name for item in inner for name in _types(item))]


def _valid(text: str) -> str:
    """Replace halves of surrogate pairs, which the library cannot take, by a character of the same length."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _without_space(text: str, start: int, end: int) -> tuple[int, int]:
    """A piece's characters without the white space before them, and with the accents that follow."""
    while start < end and text[start].isspace():
        start += 1
    while start < end < len(text) and unicodedata.combining(text[end]):
        end += 1
    return start, end
