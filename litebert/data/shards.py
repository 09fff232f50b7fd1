"""Prepared text on disk: token shards with sentence and document ends, read through memory maps.

A data folder holds

    README.md                the data card: sources, words, what is held out, what was left out
    index.json               format version, tokenizer, element type, counts and hashes; written last
    tokenizer/               a copy of the tokenizer whose ids the shards hold
    documents.parquet        id, source, split, shard, first sentence and sentences of every document
    train-00000.tokens       token ids of all sentences, no special tokens: raw little-endian uint8, uint16 or uint32
    train-00000.sentences    where each sentence ends in `.tokens`: raw little-endian int32, ascending
    train-00000.documents    where each document ends in `.sentences`: raw little-endian int32, ascending
    held_out-00000.*         the same for the held-out documents

Only the folder's own names stand inside, no times and no paths: the same text gives the same bytes anywhere.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from litebert.errors import DataFolderError
from litebert.files import sha256

FORMAT_VERSION = 1

SPLITS = ("train", "held_out")

INDEX_NAME = "index.json"
CARD_NAME = "README.md"
TOKENIZER_FOLDER = "tokenizer"
DOCUMENTS_NAME = "documents.parquet"

MOST_SHARD_TOKENS = 1 << 30
"""So that the ends, the last document's included, fit into their type."""

SHARD_TOKENS = 1 << 25
"""A shard is closed once it holds this many tokens (64 MiB of uint16); a document never spans two shards."""

TOKEN_TYPES: dict[str, np.dtype[Any]] = {"uint8": np.dtype("u1"), "uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}
END_TYPE = np.dtype("<i4")

Tokens = npt.NDArray[np.unsignedinteger[Any]]
Ends = npt.NDArray[np.signedinteger[Any]]


class ShardCounts(NamedTuple):
    """How much one shard holds, which is also how long its files are."""

    tokens: int
    sentences: int
    documents: int


class Shard(NamedTuple):
    """One shard, memory-mapped and read-only.

    `tokens` (n,) unsigned; `sentence_ends` (s,) int32: exclusive end of each sentence in `tokens`,
    ascending; `document_ends` (d,) int32: exclusive end of each document in `sentence_ends`, ascending. No
    sentence and no document is empty.
    """

    tokens: Tokens
    sentence_ends: Ends
    document_ends: Ends


def token_type(vocab_size: int) -> str:
    """Name of the smallest element type that holds every id of the vocabulary."""
    return next(name for name, dtype in TOKEN_TYPES.items() if vocab_size <= 1 << 8 * dtype.itemsize)


def shard_files(name: str, dtype: str, counts: ShardCounts) -> list[tuple[str, int]]:
    """The files of a shard with their sizes in bytes: tokens, sentence ends, document ends."""
    return [
        (f"{name}.tokens", counts.tokens * TOKEN_TYPES[dtype].itemsize),
        (f"{name}.sentences", counts.sentences * END_TYPE.itemsize),
        (f"{name}.documents", counts.documents * END_TYPE.itemsize),
    ]


class SplitWriter:
    """Appends documents to the shards of one split.

    The files are append-only and their lengths follow from `counts`, so a later writer that is given the
    `counts` of an earlier moment cuts the files back to that moment and continues with the same bytes.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        dtype: str,
        counts: Sequence[ShardCounts] = (),
        *,
        shard_tokens: int = SHARD_TOKENS,
    ) -> None:
        self.folder = folder
        self.split = split
        self.dtype = dtype
        self.shard_tokens = shard_tokens
        self.counts = list(counts)
        self._files: list[BinaryIO] = []
        self._cut_back()

    def append(self, tokens: Tokens, sentence_lengths: Ends, document_sentences: Ends) -> tuple[int, int]:
        """Write whole documents: ids (n,), tokens of each sentence (s,), sentences of each document (d,).

        Returns the shard's number and the number of sentences that stood in it before. Raises OSError.
        """
        if not self._files:
            self._open()
        before = self.counts[-1]
        arrays = (
            tokens.astype(TOKEN_TYPES[self.dtype], copy=False),
            (before.tokens + np.cumsum(sentence_lengths)).astype(END_TYPE, copy=False),
            (before.sentences + np.cumsum(document_sentences)).astype(END_TYPE, copy=False),
        )
        for file, array in zip(self._files, arrays, strict=True):
            file.write(array.data)
        shard = len(self.counts) - 1
        self.counts[-1] = ShardCounts(*(n + len(array) for n, array in zip(before, arrays, strict=True)))
        if self.counts[-1].tokens >= self.shard_tokens:
            self.close()
        return shard, before.sentences

    def flush(self) -> None:
        """Bring everything written so far to the disk. Raises OSError."""
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Finish the open shard; the next document begins a new one. Raises OSError."""
        self.flush()
        self.discard()

    def discard(self) -> None:
        """Close the files whatever state they are in; never raises."""
        files, self._files = self._files, []
        for file in files:
            with contextlib.suppress(OSError):  # an error came before this one and says what is wrong
                file.close()

    def _open(self) -> None:
        if not self.counts or self.counts[-1].tokens >= self.shard_tokens:
            self.counts.append(ShardCounts(0, 0, 0))
        name = f"{self.split}-{len(self.counts) - 1:05d}"
        for file, _ in shard_files(name, self.dtype, self.counts[-1]):
            self._files.append((self.folder / file).open("ab"))

    def _cut_back(self) -> None:
        """Drop what an interrupted writer appended after `counts` were noted."""
        keep = {
            name: size
            for number, counts in enumerate(self.counts)
            for name, size in shard_files(f"{self.split}-{number:05d}", self.dtype, counts)
        }
        for path in self.folder.glob(f"{self.split}-*"):
            if path.name not in keep:
                path.unlink()
        for name, size in keep.items():
            path = self.folder / name
            if not path.exists() or path.stat().st_size < size:
                raise DataFolderError(f"{path} is shorter than it was: remove the unfinished folder")
            os.truncate(path, size)


class CorpusSplit:
    """The shards of one split; `name` is "train" or "held_out"."""

    def __init__(self, name: str, shards: list[Shard]) -> None:
        self.name = name
        self.shards = shards
        self.num_tokens = sum(len(shard.tokens) for shard in shards)
        self.num_sentences = sum(len(shard.sentence_ends) for shard in shards)
        self.num_documents = sum(len(shard.document_ends) for shard in shards)


class TokenCorpus:
    """A prepared data folder, open for reading; get one from `open_corpus`. Pickled as its path."""

    def __init__(self, path: Path, index: dict[str, Any]) -> None:
        self.path = path
        self.index = index
        self.fingerprint: str = index["tokenizer"]["fingerprint"]
        self.vocab_size: int = index["tokenizer"]["vocab_size"]
        self.tokenizer_path = path / TOKENIZER_FOLDER

    def __reduce__(self) -> tuple[Any, ...]:
        return open_corpus, (self.path,)

    @property
    def digest(self) -> str:
        """A hash of all that training reads from here: the tokenizer and the content of every shard."""
        content = [self.fingerprint, *(digest for _, _, digest in _expected_files(self.index))]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()

    def split(self, name: str) -> CorpusSplit:
        """Map the shards of "train" or "held_out". Raises DataFolderError for any other name."""
        if name not in self.index["splits"]:
            raise DataFolderError(f"{self.path}: no split {name!r}, there are {', '.join(self.index['splits'])}")
        dtype = TOKEN_TYPES[self.index["dtype"]]
        shards = []
        for entry in self.index["splits"][name]["shards"]:
            types = (dtype, END_TYPE, END_TYPE)
            files = shard_files(entry["name"], self.index["dtype"], _counts(entry))
            mapped = (_map(self.path / file, size, t) for (file, size), t in zip(files, types, strict=True))
            shards.append(Shard(*mapped))
        return CorpusSplit(name, shards)


def open_corpus(path: str | Path, *, verify: bool = False) -> TokenCorpus:
    """Open a folder that `litebert prepare` wrote.

    The size of every shard file is checked always; with `verify` the SHA-256 of every file too. Raises
    DataFolderError.
    """
    path = Path(path)
    index = read_index(path)
    try:
        for file, size, digest in _expected_files(index):
            _check_file(path / file, size, digest if verify else None)
        for file, digest in index["sha256"].items() if verify else ():
            _check_file(path / file, None, digest)
        return TokenCorpus(path, index)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataFolderError(f"{path / INDEX_NAME} is damaged ({error!r}): prepare the text again") from error


def read_index(path: Path) -> dict[str, Any]:
    """The contents of `index.json` of a data folder. Raises DataFolderError where there is none we know."""
    try:
        index = json.loads((path / INDEX_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataFolderError(
            f"{path} is no prepared data folder (no {INDEX_NAME}): make one with `litebert prepare`"
        ) from None
    except OSError as error:
        raise DataFolderError(f"cannot read {path / INDEX_NAME}: {error.strerror}") from None
    except ValueError:
        raise DataFolderError(f"{path / INDEX_NAME} is damaged: prepare the text again") from None
    version = index.get("format_version") if isinstance(index, dict) else None
    if version != FORMAT_VERSION:
        raise DataFolderError(
            f"{path} has data format {version!r}, this version reads {FORMAT_VERSION}: prepare the text again"
        )
    assert isinstance(index, dict)
    return index


def _counts(entry: dict[str, Any]) -> ShardCounts:
    return ShardCounts(int(entry["tokens"]), int(entry["sentences"]), int(entry["documents"]))


def _expected_files(index: dict[str, Any]) -> Iterator[tuple[str, int, str]]:
    for split in index["splits"].values():
        for entry in split["shards"]:
            for file, size in shard_files(entry["name"], index["dtype"], _counts(entry)):
                yield file, size, entry["sha256"][file.rsplit(".", 1)[1]]


def _check_file(path: Path, size: int | None, digest: str | None) -> None:
    try:
        found = path.stat().st_size
        if size is not None and found != size:
            raise DataFolderError(f"{path} has {found} bytes where {size} were written: prepare the text again")
        if digest is not None and sha256(path) != digest:
            raise DataFolderError(f"{path} is damaged, its SHA-256 is not the one noted: prepare the text again")
    except OSError as error:
        raise DataFolderError(f"{path}: {error.strerror}: prepare the text again") from None


def _map(path: Path, size: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if size == 0:  # an empty file cannot be mapped
        return np.empty(0, dtype)
    try:
        return np.memmap(path, dtype, mode="r")
    except (OSError, ValueError) as error:
        raise DataFolderError(f"cannot map {path}: {error}") from None
