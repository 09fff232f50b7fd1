"""Raw text to a data folder of token shards: `litebert prepare`.

    files -> chunks -> [workers: documents -> sentences -> ids] -> duplicates out -> split -> shards -> index

1. The input is listed and hashed; with the settings that says whether a folder that exists is this one.
2. One process reads and unpacks the files and hands out units of about 2 MiB; workers parse, split, encode.
   What shares twelve words in a row with an excluded text is dropped before that (overlap.py).
3. Their results are written in the order of the input, whoever finished first: the bytes do not depend on
   the number of processes. A document whose text came before is dropped. One is held out if the 64-bit digest
   of its text lies in the first `held_out` of the range: the same text is on the same side wherever that is the
   same share, but for the one document that is moved where a side would be empty.
4. Every 64 MiB of text a commit makes the work so far safe (journal.py); a second start goes on from there.
5. At the end the shards are counted and hashed (index.py), and only then the folder gets its name.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from litebert.console import log, progress
from litebert.data.card import overlap_lines, overlap_share
from litebert.data.excluded import find_excluded, gather
from litebert.data.index import complete, sync
from litebert.data.journal import DATA_NAME, EXCLUDED_NAME, Journal, clear, difference, open_journal
from litebert.data.shards import CARD_NAME, INDEX_NAME, MOST_SHARD_TOKENS, SHARD_TOKENS, SPLITS, open_corpus, token_type
from litebert.data.sources import ReadOptions, SourceFile, few, find_files, read_chunks, reading_warnings
from litebert.data.workers import Means, Piece, Unit, encode_units
from litebert.errors import ConfigError, DataFolderError, InputError, OutputError
from litebert.files import disk_errors, require_empty, sha256
from litebert.text.tokenizer import Tokenizer, load_tokenizer

RULES_VERSION = 2
"""Raised whenever the same input and settings would give other shards than before."""

UNIT_BYTES = 2 << 20
UNIT_PIECES = 512

COMMIT_BYTES = 64 << 20

FEW_SENTENCES = 4
"""Shorter documents on average look like paragraphs."""

MUCH_OVERLAP = 0.05
"""More of a source than this that is dropped for its overlap asks for a look at what it is."""

MUCH_UNKNOWN = 0.01
"""More unknown tokens than this ask for another vocabulary."""

SHOWN_OVERLAPS = 5

MOST_PROCESSES_A_CORE = 16
"""Each takes a second to start, and none is of use beyond the cores."""

SMALL_INPUT = 1 << 20
"""Files of fewer bytes than this are not worth starting processes for."""


@dataclass(frozen=True, kw_only=True)
class PrepareReport:
    """What was prepared. Bytes of text are UTF-8 after decoding; a megabyte is 10**6 bytes."""

    out: Path
    files: int
    documents: int
    held_out_documents: int
    sentences: int
    tokens: int
    text_bytes: int
    duplicates: int
    """Documents left out because their text had come before."""
    empty_documents: int
    replaced_bytes: dict[str, int]
    """For each file with bytes that were not UTF-8, how many became U+FFFD."""
    sources: dict[str, dict[str, int]]
    """For each source its documents, held_out_documents, sentences, words, tokens, text_bytes and duplicates; where
    something was excluded also overlap_paragraphs, overlap_documents and overlap_bytes of read_bytes."""
    unigram_entropy: float
    """Of the train tokens, in nats: what a model that knows only frequencies cannot get under."""
    disk_bytes: int
    disk_per_text_byte: float
    seconds: float
    megabytes_per_second: float
    """Of text read in this run, duplicates included; 0 where nothing was left to do."""
    warnings: tuple[str, ...]
    overlap: dict[str, Any] | None = None
    """Where texts were excluded, what was dropped for it: in all, `by_file`, with examples."""
    resumed: bool = False
    already_done: bool = False

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON can hold them."""
        return {**asdict(self), "out": str(self.out)}

    def summary(self) -> str:
        """The report in a few lines."""
        pace = f"in {self.seconds:,.1f} s, {self.megabytes_per_second:.1f} MB/s"
        lines = [
            f"{self.out}: nothing to do, it was prepared from this text before"
            if self.already_done
            else f"{self.out}: prepared {'(the rest) ' if self.resumed else ''}{pace}",
            f"{self.files:,} files, {self.text_bytes / 1e6:,.1f} MB of text, {self.documents:,} documents"
            f" ({self.held_out_documents:,} held out), {self.sentences:,} sentences, {self.tokens:,} tokens",
            f"{self.duplicates:,} duplicates dropped, {self.empty_documents:,} empty documents left out,"
            f" {sum(self.replaced_bytes.values()):,} bytes replaced that were not UTF-8",
            f"{self.disk_bytes / 1e6:,.1f} MB on disk, {self.disk_per_text_byte:.3f} bytes a byte of text;"
            f" unigram entropy {self.unigram_entropy:.3f} nats",
        ]
        if self.overlap is not None:
            shares = {name: overlap_share(counts) for name, counts in self.sources.items()}
            worst = sorted(shares, key=lambda name: -shares[name])
            lines += (line for line in overlap_lines(self.overlap, SHOWN_OVERLAPS) if line)
            lines.append("dropped by source: " + ", ".join(f"{name} {shares[name]:.3%}" for name in worst))
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What reading needs."""

    files: list[SourceFile]
    sizes: list[int]
    excluded: list[SourceFile]
    tokenizer: Path
    options: ReadOptions
    processes: int
    commit_bytes: int


def prepare(
    paths: Sequence[str | Path],
    tokenizer: str | Path,
    out: str | Path,
    *,
    held_out: float = 0.005,
    exclude: Sequence[str | Path] = (),
    processes: int = 0,
    text_field: str = "text",
    documents: str = "auto",
    shard_tokens: int = SHARD_TOKENS,
    commit_bytes: int = COMMIT_BYTES,
) -> PrepareReport:
    """Turn files and folders of text into the data folder `out` (shards.py says what it holds).

    `held_out` is the share of documents held out; where chance leaves a split empty, one document is moved
    there. Lines of documents that share twelve words in a row with any text of the files and folders `exclude`
    are dropped. `processes` 0 means one a core. `text_field` and `documents` are those of `ReadOptions`; a shard
    is closed at `shard_tokens`. The same call after an interruption goes on; on a finished folder it does
    nothing. Memory does not grow with the corpus but for 8 bytes a document; a document is held as a whole.

    Raises:
        InputError: an input that is missing, unreadable, damaged, no text or too little; nothing stays.
        DataFolderError: `out`, or unfinished work beside it, comes from other input, settings or excluded files.
        OutputError: `out` is not empty, or cannot be written; what was committed stays for the next start.
        ConfigError, TokenizerError: a setting out of range; no tokenizer there.
    """
    started = time.monotonic()
    out = Path(out).absolute()
    out = out.resolve() if out.is_symlink() else out
    options = ReadOptions(text_field, documents)
    _check(options, held_out, processes, shard_tokens)
    work = out.with_name(out.name + ".unfinished")
    others: list[str] = []
    files = find_files(paths, exclude=(out, work), others=others)
    excluded = find_excluded(exclude, (out, work))
    _require_apart(files, excluded)
    loaded = load_tokenizer(tokenizer)
    sizes, identity = _identify(files)
    settings = {
        "rules_version": RULES_VERSION,
        "tokenizer": loaded.fingerprint,
        "held_out": held_out,
        **options._asdict(),
        "shard_tokens": shard_tokens,
        "input": identity,
        **({"exclude": _identify(excluded)[1]} if excluded else {}),
    }
    done = _is_done(out, settings)
    resumed, read = False, 0
    if not done:
        job = _Job(
            files=files,
            sizes=sizes,
            excluded=excluded,
            tokenizer=Path(tokenizer),
            options=options,
            processes=processes or _processes(sum(sizes)),
            commit_bytes=commit_bytes,
        )
        resumed, read = _build(out, work, settings, loaded, job)
    clear(work)
    report = _report(out, time.monotonic() - started, read)
    unseen = tuple(_input_warnings(report, files, options, others))
    return replace(report, resumed=resumed, already_done=done, warnings=report.warnings + unseen)


def _check(options: ReadOptions, held_out: float, processes: int, shard_tokens: int) -> None:
    options.check()
    if not 0 <= held_out < 1:
        raise ConfigError(f"held_out {held_out}: give a share of the documents, from 0 to less than 1")
    most = MOST_PROCESSES_A_CORE * (os.cpu_count() or 1)
    if not 0 <= processes <= most:
        raise ConfigError(f"processes {processes}: give a number from 1 to {most}, or 0 for one a core")
    if not 1 <= shard_tokens <= MOST_SHARD_TOKENS:
        raise ConfigError(f"shard_tokens {shard_tokens}: give a number from 1 to {MOST_SHARD_TOKENS}")


def _require_apart(files: list[SourceFile], excluded: list[SourceFile]) -> None:
    read = {file.path.resolve() for file in files}
    for file in excluded:
        if file.path.resolve() in read:
            raise InputError(f"{file.path} is to be prepared, and excluded: take it out of the texts or of --exclude")


def _identify(files: list[SourceFile]) -> tuple[list[int], dict[str, Any]]:
    """The size of each file, and what tells this input from any other. Takes about 1 % of the whole time."""
    sizes = []
    digest = hashlib.sha256()
    with progress("look at the input", len(files), "files") as advance:
        for file in files:
            try:
                sizes.append(file.path.stat().st_size)
                content = sha256(file.path)
            except OSError as error:
                raise InputError(f"{file.path}: cannot be read ({error.strerror})") from None
            digest.update(json.dumps([file.name, file.source, sizes[-1], content]).encode())
            advance()
    first = files[0].name
    return sizes, {"files": len(files), "bytes": sum(sizes), "first": first, "sha256": digest.hexdigest()}


def _is_done(out: Path, settings: dict[str, Any]) -> bool:
    if not (out / INDEX_NAME).exists():
        require_empty(out)
        return False
    found = difference(open_corpus(out).index.get("settings"), settings)
    if found:
        raise DataFolderError(f"{out} was prepared otherwise ({found}): remove it, or choose another folder")
    return True


def _processes(size: int) -> int:
    if size < SMALL_INPUT:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _build(out: Path, work: Path, settings: dict[str, Any], tokenizer: Tokenizer, job: _Job) -> tuple[bool, int]:
    """Make the folder; whether an earlier run had begun it, and bytes of text read now."""
    dtype = token_type(tokenizer.vocab_size)
    try:
        with disk_errors(out), open_journal(work, settings, dtype) as journal:
            if _is_done(out, settings):  # by another process, just now
                return False, 0
            before = journal.progress.text_bytes
            if before:
                log(f"{work}: going on after {before / 1e6:,.0f} MB of text")
            if job.excluded:
                shutil.rmtree(work / EXCLUDED_NAME, ignore_errors=True)
                gather(job.excluded, work / EXCLUDED_NAME)
            read = _encode_all(journal, job)
            moved = _to_move(journal)
            if moved is not None:  # only a small corpus can come here
                journal.restart(moved)
                _encode_all(journal, job)
            complete(journal, tokenizer)
            if out.exists():
                out.rmdir()  # it is empty
            (work / DATA_NAME).rename(out)
            sync(out.parent)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); make room or choose another") from error
    return before > 0, read


def _encode_all(journal: Journal, job: _Job) -> int:
    """Write the documents of all input that is not written yet; bytes of text that were read."""
    read = committed = 0
    names = [(file.name, file.source) for file in job.files]
    before = np.cumsum([0, *job.sizes]).tolist()
    units = _units(job, journal.progress.file, journal.progress.chunk)
    means = Means(job.tokenizer, job.options, journal.folder / EXCLUDED_NAME if job.excluded else None)
    with (
        progress("prepare", before[-1] / 1e6, "MB of files") as advance,
        closing(encode_units(units, means, job.processes)) as results,
    ):
        shown = 0.0
        for encoded in results:
            journal.append(encoded, names)
            read += int(encoded.text_bytes.sum())
            if read - committed >= job.commit_bytes:
                journal.commit()
                committed = read
            last = encoded.pieces[-1]
            position = (before[last.file] + last.position) / 1e6
            advance(position - shown)
            shown = position
    journal.commit()
    return read


def _units(job: _Job, first: int, done: int) -> Iterator[Unit]:
    """The input from chunk `done` of file `first` on, in units that a worker does at a time."""
    unit: Unit = []
    size = 0
    for number in range(first, len(job.files)):
        for place, chunk in enumerate(read_chunks(job.files[number], job.options)):
            if number == first and place < done:
                continue
            unit.append(Piece(number, place, job.files[number], chunk))
            size += chunk.size
            if size >= UNIT_BYTES or len(unit) == UNIT_PIECES:
                yield unit
                unit, size = [], 0
    if unit:
        yield unit


def _to_move(journal: Journal) -> int | None:
    """The digest of the document that has to change sides, if one split would be empty without need."""
    done = journal.progress
    if not journal.settings["held_out"] or done.documents < 2 or done.moved is not None:
        return None
    train, held_out = (sum(counts.documents for counts in done.shards[split]) for split in SPLITS)
    if not held_out:
        return journal.seen.smallest()
    return None if train else journal.seen.largest()


def _report(out: Path, seconds: float, read: int) -> PrepareReport:
    index = open_corpus(out).index
    counts = index["counts"]
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return PrepareReport(
        out=out,
        files=index["settings"]["input"]["files"],
        documents=counts["documents"],
        held_out_documents=index["splits"]["held_out"]["documents"],
        sentences=counts["sentences"],
        tokens=counts["tokens"],
        text_bytes=counts["text_bytes"],
        duplicates=counts["duplicates"],
        empty_documents=counts["empty_documents"],
        replaced_bytes=index["replaced_bytes"],
        sources=index["sources"],
        unigram_entropy=index["splits"]["train"]["unigram_entropy"],
        disk_bytes=size,
        disk_per_text_byte=size / counts["text_bytes"],
        seconds=seconds,
        megabytes_per_second=read / 1e6 / seconds,
        warnings=tuple(_warnings(index)),
        overlap=index.get("overlap"),
    )


def _warnings(index: dict[str, Any]) -> Iterator[str]:
    counts, replaced = index["counts"], index["replaced_bytes"]
    yield from reading_warnings((), replaced)
    passed_over = index.get("overlap", {}).get("passed_over", ())
    if passed_over:
        yield f"{len(passed_over)} excluded files hold no text: {few(passed_over)}"
    for source, found in index["sources"].items():
        if overlap_share(found) > MUCH_OVERLAP:
            yield (
                f"{overlap_share(found):.1%} of {source} was dropped: is it the excluded texts themselves, or a phrase"
                f" that many texts have, such as a licence? The examples in {CARD_NAME} show it"
            )
    if counts.get("unknown", 0) > MUCH_UNKNOWN * counts["tokens"]:
        yield (
            f"{counts['unknown'] / counts['tokens']:.1%} of the tokens are none of the vocabulary's pieces: is it of"
            " this language? `litebert tokenizer train` makes one of your own text"
        )
    if counts["empty_documents"]:
        yield f"{counts['empty_documents']:,} documents hold no text and were left out"
    if index["settings"]["held_out"] and not index["splits"]["held_out"]["documents"]:
        yield "nothing is held out: that takes two documents"
    if not counts["documents_of_two_sentences"]:
        yield "no document has two sentences: there is nothing to learn their order from"


def _input_warnings(
    report: PrepareReport, files: list[SourceFile], options: ReadOptions, others: list[str]
) -> Iterator[str]:
    yield from reading_warnings(others, {})
    plain = any(file.kind == ".txt" for file in files)
    if plain and report.documents == 1 and options.documents != "blank-lines":
        yield "all is one document: if blank lines stand between documents, say --documents blank-lines"
    if plain and options.documents == "auto" and report.sentences < FEW_SENTENCES * report.documents:
        yield (
            f"documents are short, {report.sentences / report.documents:.1f} sentences on average: if blank"
            " lines in .txt files stand between paragraphs, say --documents file"
        )
