"""The unfinished side of a data folder: what has been written so far, and how to go on after a kill.

While work goes on there is no data folder, only `NAME.unfinished` beside it:

    journal.json       settings and progress at the last commit, replaced atomically
    documents.jsonl    one line for every document written: the later table
    digests            8 bytes for every document written, to know duplicates again
    excluded/          the n-grams that stay out, made anew at every start
    data/              the later data folder

All but the journal is append-only. A commit brings the data to the disk and then notes its lengths; who
goes on cuts everything back to the noted lengths, so an interrupted run ends with the same bytes as an
uninterrupted one.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from litebert.data.duplicates import DigestSet
from litebert.data.shards import SPLITS, Ends, ShardCounts, SplitWriter
from litebert.data.workers import Encoded, Mask, PieceCounts, select
from litebert.errors import DataFolderError, InputError, UnreadableError
from litebert.files import held, write_text

JOURNAL_NAME = "journal.json"
TABLE_NAME = "documents.jsonl"
DIGESTS_NAME = "digests"
DATA_NAME = "data"
EXCLUDED_NAME = "excluded"

MANY_FILES = 1000
OTHER_FILES = "(other files)"


@dataclass(kw_only=True)
class Progress:
    """Everything that must be known to go on, and all that is counted on the way."""

    file: int = 0
    chunk: int = 0
    """Chunks of that file that are done."""
    shards: dict[str, list[ShardCounts]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    table_bytes: int = 0
    documents: int = 0
    pairable: int = 0
    """Documents with two sentences or more."""
    text_bytes: int = 0
    duplicates: int = 0
    empty: int = 0
    replaced: dict[str, int] = field(default_factory=dict)
    """Bytes that were not UTF-8, by file; once `MANY_FILES` are named the rest count as `OTHER_FILES`."""
    sources: dict[str, dict[str, int]] = field(default_factory=dict)
    overlap: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By excluded file the paragraphs dropped for it, their `text_bytes`, and the first as an `example`."""
    moved: int | None = None
    """Digest of the one document that is put into the split that would have been empty otherwise."""

    @classmethod
    def from_dict(cls, noted: dict[str, Any]) -> "Progress":
        """The inverse of `dataclasses.asdict` after JSON."""
        shards = {split: [ShardCounts(*counts) for counts in noted["shards"][split]] for split in SPLITS}
        return cls(**{**noted, "shards": shards})


class Journal:
    """The unfinished folder, open for writing; get one from `open_journal`."""

    def __init__(self, folder: Path, settings: dict[str, Any], progress: Progress, dtype: str) -> None:
        self.folder = folder
        self.data = folder / DATA_NAME
        self.settings = settings
        self.progress = progress
        self.dtype = dtype
        self._begin()

    def _begin(self) -> None:
        self.data.mkdir(exist_ok=True)
        progress = self.progress
        self._table = _cut(self.folder / TABLE_NAME, progress.table_bytes)
        self._digests = _cut(self.folder / DIGESTS_NAME, progress.documents * 8)
        self.seen = DigestSet(np.fromfile(self.folder / DIGESTS_NAME, "<u8"))
        size = self.settings["shard_tokens"]
        self._writers = {
            split: SplitWriter(self.data, split, self.dtype, progress.shards[split], shard_tokens=size)
            for split in SPLITS
        }

    def append(self, encoded: Encoded, files: list[tuple[str, str]]) -> None:
        """Write the documents of one unit that are new; `files` gives name and source of each input file.

        Raises OSError.
        """
        progress = self.progress
        new = self.seen.add(encoded.digests)
        held_out = encoded.digests < np.uint64(int(self.settings["held_out"] * 2**64))
        if progress.moved is not None:
            held_out ^= encoded.digests == np.uint64(progress.moved)
        rows = [""] * len(new)
        sources = [files[piece.file][1] for piece in encoded.pieces for _ in range(piece.documents)]
        for split, chosen in zip(SPLITS, (new & ~held_out, new & held_out), strict=True):
            if chosen.any():
                self._write(split, encoded, chosen, sources, rows)
        table = "".join(rows).encode()
        self._table.write(table)
        self._digests.write(encoded.digests[new].astype("<u8").tobytes())
        progress.table_bytes += len(table)
        self._count(encoded, new, held_out, files)

    def commit(self) -> None:
        """Bring everything to the disk, then note that it is there. Raises OSError, OutputError."""
        for writer in self._writers.values():
            writer.flush()
        for file in (self._table, self._digests):
            file.flush()
            os.fsync(file.fileno())
        self.progress.shards = {split: writer.counts for split, writer in self._writers.items()}
        self._note()

    def restart(self, moved: int) -> None:
        """Forget all that was written, and put the document with digest `moved` into the other split."""
        self.close()
        self.progress = Progress(moved=moved)
        self._note()  # before the files are cut: what is noted must be there, more may be
        self._begin()

    def close(self) -> None:
        """Close all files; what is not committed counts as not written."""
        for writer in self._writers.values():
            writer.discard()
        for file in (self._table, self._digests):
            file.close()

    def _note(self) -> None:
        noted = {"settings": self.settings, "progress": asdict(self.progress)}
        write_text(self.folder / JOURNAL_NAME, json.dumps(noted))

    def _write(self, split: str, encoded: Encoded, chosen: Mask, sources: list[str], rows: list[str]) -> None:
        parts = select(encoded, chosen)
        shard, before = self._writers[split].append(*parts)
        first = before + np.cumsum(parts[2]) - parts[2]
        places = zip(np.flatnonzero(chosen).tolist(), first.tolist(), parts[2].tolist(), strict=True)
        for row, start, sentences in places:
            line = [encoded.ids[row], sources[row], split, shard, start, sentences]
            rows[row] = json.dumps(line, ensure_ascii=False) + "\n"

    def _count(self, encoded: Encoded, new: Mask, held_out: Mask, files: list[tuple[str, str]]) -> None:
        progress = self.progress
        progress.documents += int(new.sum())
        progress.pairable += int((encoded.document_sentences[new] > 1).sum())
        progress.duplicates += int((~new).sum())
        progress.text_bytes += int(encoded.text_bytes[new].sum())
        ends = np.cumsum(encoded.document_sentences)
        tokens = np.diff(np.concatenate([[0], np.cumsum(encoded.sentence_lengths)])[ends], prepend=0)
        begin = 0
        for piece in encoded.pieces:
            name, source = files[piece.file]
            rows = slice(begin, begin + piece.documents)
            begin += piece.documents
            progress.file, progress.chunk = piece.file, piece.number + 1
            progress.empty += piece.empty
            if piece.replaced:
                if name not in progress.replaced and len(progress.replaced) >= MANY_FILES:
                    name = OTHER_FILES
                progress.replaced[name] = progress.replaced.get(name, 0) + piece.replaced
            if piece.documents or piece.emptied:
                counts = progress.sources.setdefault(source, {})
                _add(counts, encoded, tokens, rows, new[rows], held_out[rows])
                if "exclude" in self.settings:
                    _add_overlap(counts, progress.overlap, piece, int(encoded.text_bytes[rows].sum()))


def _add(counts: dict[str, int], encoded: Encoded, tokens: Ends, rows: slice, new: Mask, held_out: Mask) -> None:
    _increase(
        counts,
        documents=new.sum(),
        held_out_documents=(new & held_out).sum(),
        sentences=encoded.document_sentences[rows][new].sum(),
        words=encoded.words[rows][new].sum(),
        tokens=tokens[rows][new].sum(),
        text_bytes=encoded.text_bytes[rows][new].sum(),
        duplicates=(~new).sum(),
    )


def _add_overlap(counts: dict[str, int], overlap: dict[str, dict[str, Any]], piece: PieceCounts, kept: int) -> None:
    """Count what was excluded from a piece. It is counted as read: duplicates are looked for after it."""
    dropped = sum(shared.text_bytes for shared in piece.shared)
    _increase(
        counts,
        read_bytes=kept + dropped,
        overlap_paragraphs=len(piece.shared),
        overlap_documents=piece.emptied,
        overlap_bytes=dropped,
    )
    for shared in piece.shared:
        name = shared.file if shared.file in overlap or len(overlap) < MANY_FILES else OTHER_FILES
        example = {"document": shared.document, "words": shared.words}
        entry = overlap.setdefault(name, {"paragraphs": 0, "text_bytes": 0, "example": example})
        _increase(entry, paragraphs=1, text_bytes=shared.text_bytes)


def _increase(counts: dict[str, Any], **numbers: Any) -> None:
    for name, number in numbers.items():
        counts[name] = counts.get(name, 0) + int(number)


@contextmanager
def open_journal(folder: Path, settings: dict[str, Any], dtype: str) -> Iterator[Journal]:
    """Begin in `folder`, or go on where an earlier run with the same settings stopped.

    After an error in the block, what was committed stays, but for an InputError: then the input has to
    change, and the folder goes. It goes too if there was no commit. Raises DataFolderError where the
    earlier run had other settings, or is still at work, and where other files lie in the folder.
    """
    with held(folder) as ours:
        if not ours:
            raise DataFolderError(f"{folder}: another `litebert prepare` is at work here; wait for it")
        if strange := _strange(folder):
            raise DataFolderError(f"{folder} is needed for unfinished work, but holds {strange}: move that away")
        progress = _noted(folder, settings)
        useless = True
        try:
            with closing(Journal(folder, settings, progress, dtype)) as journal:
                yield journal
            useless = False
        except BaseException as error:
            if isinstance(error, InputError) and not isinstance(error, UnreadableError):
                raise
            useless = not (folder / JOURNAL_NAME).exists()
            raise
        finally:
            if useless:
                shutil.rmtree(folder, ignore_errors=True)


def clear(folder: Path) -> None:
    """Remove what finished work has left, unless another process is at work there, or anything else lies in it."""
    if folder.is_dir() and not _strange(folder):
        with held(folder) as ours:
            if ours:
                shutil.rmtree(folder, ignore_errors=True)


def _strange(folder: Path) -> str:
    """A file in a folder that no work of ours made; empty where there is none."""
    if (folder / JOURNAL_NAME).exists():
        return ""
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    ours = {TABLE_NAME, DIGESTS_NAME, EXCLUDED_NAME}
    if TABLE_NAME in names or not any((folder / DATA_NAME).glob("*")):  # it is made first, and filled after the table
        ours.add(DATA_NAME)
    return min(names - ours, default="")


def difference(old: Any, new: dict[str, Any]) -> str:
    """The first setting in which an earlier run differs, in words; empty if there is none."""
    old = old if isinstance(old, dict) else {}
    for name in {**new, **old}:
        if old.get(name) != new.get(name):
            if name == "exclude":
                return f"{_excluded(old)} there, {_excluded(new)} here"
            opaque = name in ("input", "tokenizer")
            return f"another {name}" if opaque else f"{name} {old.get(name)!r} there, {new.get(name)!r} here"
    return ""


def _excluded(settings: dict[str, Any]) -> str:
    entry = settings.get("exclude")
    return f"{entry['files']} files excluded ({entry['sha256'][:8]})" if entry else "nothing excluded"


def _noted(folder: Path, settings: dict[str, Any]) -> Progress:
    try:
        noted = json.loads((folder / JOURNAL_NAME).read_text(encoding="utf-8"))
        found = difference(noted["settings"], settings)
        progress = Progress.from_dict(noted["progress"])
    except FileNotFoundError:
        shutil.rmtree(folder / DATA_NAME, ignore_errors=True)
        return Progress()
    except (ValueError, KeyError, TypeError):
        raise DataFolderError(f"{folder / JOURNAL_NAME} is damaged: remove {folder}") from None
    if found:
        raise DataFolderError(
            f"{folder} is unfinished work with other settings ({found}): finish it with those, or remove it"
        )
    if not all("words" in counts for counts in progress.sources.values()):
        raise DataFolderError(f"{folder} is unfinished work of an earlier version of litebert: remove it")
    return progress


def _cut(path: Path, size: int) -> BinaryIO:
    file = path.open("ab")
    if file.tell() < size:
        file.close()
        raise DataFolderError(f"{path} is shorter than noted: remove {path.parent}")
    file.truncate(size)
    return file
