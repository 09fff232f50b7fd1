"""Text kept as it is: shards of bytes, for text that several tokenizers are going to read later."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from litebert.errors import TokenizerError
from litebert.text.interface import Encoding, Tokenizer

UTF8_FILE = "utf8.txt"


class Utf8Tokenizer(Tokenizer):
    """An id is a byte of UTF-8. There are no special pieces, and no model reads these ids."""

    vocab_size = 256
    pad_id = unk_id = cls_id = sep_id = mask_id = -1
    special_ids = frozenset()
    lower = False

    def __init__(self) -> None:
        self.fingerprint = hashlib.sha256(UTF8_FILE.encode()).hexdigest()
        self.word_start_table = np.ones(self.vocab_size, dtype=np.bool_)
        self._pieces = [f"<0x{byte:02X}>" for byte in range(self.vocab_size)]
        self._ids = {piece: byte for byte, piece in enumerate(self._pieces)}

    def normalize(self, text: str) -> str:
        """Return the text itself."""
        return text

    def encode_ids(self, texts: Sequence[str], *, threads: int = 1) -> list[list[int]]:
        """Return the bytes of each text."""
        return [list(text.encode()) for text in texts]

    def encode(self, text: str, text_pair: str | None = None, *, special_tokens: bool = False) -> Encoding:
        """Encode one text, each of its bytes with the character that it is of; it goes without special pieces."""
        if text_pair is not None or special_tokens:
            raise TokenizerError("text that is kept as bytes has neither pairs nor special pieces; encode a text alone")
        characters = [character.encode() for character in text]
        ids = list(b"".join(characters))
        return Encoding(
            ids=ids,
            pieces=[self._pieces[i] for i in ids],
            offsets=[(place, place + 1) for place, raw in enumerate(characters) for _ in raw],
            word_starts=[True] * len(ids),
            segment_ids=[0] * len(ids),
            special=[False] * len(ids),
        )

    def encode_batch(self, texts: Sequence[str], *, special_tokens: bool = False, threads: int = 1) -> list[Encoding]:
        """Encode each text as `encode` does."""
        return [self.encode(text, special_tokens=special_tokens) for text in texts]

    def encode_masked(self, text: str, mark: str) -> list[int]:
        """Raise TokenizerError: there is no masked piece."""
        raise TokenizerError("text that is kept as bytes has no masked piece; use the tokenizer of a model")

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text, broken characters as "�"."""
        return bytes(ids).decode(errors="replace")

    def save(self, folder: Path) -> None:
        """Write a file that says what the ids are."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / UTF8_FILE).write_text("An id is a byte of UTF-8.\n", encoding="utf-8")
