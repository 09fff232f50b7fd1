"""Chunks of files to encoded documents, in several processes, in order.

Every worker is joined to the parent by a pipe of its own and holds one unit of work at a time: when the
parent dies, however it dies, the workers find their pipes closed and end.
"""

import gc
import itertools
import multiprocessing
import signal
import traceback
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from litebert.data.duplicates import Digests, text_digest
from litebert.data.ngrams import NgramSet
from litebert.data.overlap import OverlapFilter, Shared
from litebert.data.shards import TOKEN_TYPES, Ends, Tokens, token_type
from litebert.data.sources import Chunk, Document, ReadOptions, SourceFile, parse_chunk
from litebert.errors import LitebertError, UserError
from litebert.text.sentences import split_sentences
from litebert.text.tokenizer import Tokenizer, load_tokenizer

BATCH_SENTENCES = 4096
"""Sentences that are lists of Python integers at a time: a long document is not held that way as a whole."""


class Piece(NamedTuple):
    """A chunk and where it stands: chunk `number` of file `file` of the input, both counted from 0."""

    file: int
    number: int
    source: SourceFile
    chunk: Chunk


Unit = list[Piece]
"""Consecutive pieces that are sent to a worker together."""


class Means(NamedTuple):
    """What a worker needs to know; all that may be large stays in files."""

    tokenizer: Path
    options: ReadOptions
    excluded: Path | None = None
    """Folder of the n-grams whose paragraphs are dropped."""


class PieceCounts(NamedTuple):
    """What became of one piece besides its documents."""

    file: int
    number: int
    position: int
    documents: int
    replaced: int
    empty: int
    emptied: int = 0
    """Documents of which all paragraphs were excluded."""
    shared: tuple[Shared, ...] = ()
    """Paragraphs that were excluded."""


class Encoded(NamedTuple):
    """One unit as ids: d documents of s sentences of n tokens; documents without any token are left out."""

    pieces: list[PieceCounts]
    ids: list[str]
    digests: Digests
    """(d,) of the text as it was read, so that a document is on the same side whatever is excluded."""
    text_bytes: Ends
    """(d,) of UTF-8, of what is kept."""
    words: Ends
    """(d,) runs of what is no white space."""
    document_sentences: Ends
    """(d,) sentences in each document, at least one."""
    sentence_lengths: Ends
    """(s,) tokens in each sentence, at least one."""
    tokens: Tokens
    """(n,)"""


class Encoder:
    """What turns units into ids; one for a process. Raises TokenizerError, OSError."""

    def __init__(self, means: Means) -> None:
        self.tokenizer = load_tokenizer(means.tokenizer)
        self.options = means.options
        self.overlap = OverlapFilter(NgramSet(means.excluded)) if means.excluded else None


def encode_units(units: Iterable[Unit], means: Means, processes: int) -> Generator[Encoded]:
    """Parse, split and encode units; the results come in the order of the units, whatever the number of
    processes.

    With one process all is done here. At most a few units a process are in memory. Raises the UserError of the first
    unit that has one, be it in reading or in encoding it, after the results before it; LitebertError when a worker
    dies.
    """
    if processes == 1:
        encoder = Encoder(means)
        for unit in units:
            yield encode_unit(unit, encoder)
        return
    with _pool(processes, means) as workers:
        yield from _in_order(iter(units), workers)


def encode_unit(unit: Unit, encoder: Encoder) -> Encoded:
    """Parse, split and encode the pieces of one unit. Raises InputError."""
    parsed = [parse_chunk(piece.source, piece.chunk, encoder.options) for piece in unit]
    documents = [document for part in parsed for document in part.documents]
    digests = np.fromiter((text_digest(text.encode()) for _, _, text in documents), np.uint64, len(documents))
    shared: list[tuple[Shared, ...]] = [()] * len(documents)
    if encoder.overlap is not None:
        documents, shared = encoder.overlap.clean(documents)
    left = np.array([bool(text) for _, _, text in documents], bool)
    pieces: list[PieceCounts] = []
    begin = 0
    for piece, part in zip(unit, parsed, strict=True):
        rows = slice(begin, begin + len(part.documents))
        begin = rows.stop
        full, dropped = int(left[rows].sum()), tuple(itertools.chain.from_iterable(shared[rows]))
        counts = (full, part.replaced, part.empty, len(part.documents) - full, dropped)
        pieces.append(PieceCounts(piece.file, piece.number, piece.chunk.position, *counts))
    return _encode_documents(pieces, [d for d in documents if d.text], digests[left], encoder.tokenizer)


def _encode_documents(
    pieces: list[PieceCounts], documents: list[Document], digests: Digests, tokenizer: Tokenizer
) -> Encoded:
    sentences: list[str] = []
    ends = np.empty(len(documents), np.int64)
    sizes = np.empty(len(documents), np.int64)
    words = np.empty(len(documents), np.int64)
    for row, (_, _, text) in enumerate(documents):
        found = [text[start:end] for start, end in split_sentences(text)]
        sentences += [*found[:1], *(tokenizer.between + sentence for sentence in found[1:])]
        ends[row] = len(sentences)
        raw = text.encode()
        sizes[row] = len(raw)
        words[row] = _count_words(raw)
    tokens, lengths = _encode(sentences, tokenizer)
    return _without_empty(pieces, documents, digests, sizes, words, ends, tokens, lengths)


def _count_words(text: bytes) -> int:
    """Runs of what is no white space, in a text with none at its ends."""
    space = np.frombuffer(text, np.uint8) <= ord(" ")
    return 1 + int(np.count_nonzero(space[:-1] & ~space[1:]))


def _encode(sentences: list[str], tokenizer: Tokenizer) -> tuple[Tokens, Ends]:
    dtype = TOKEN_TYPES[token_type(tokenizer.vocab_size)]
    tokens: list[Tokens] = [np.empty(0, dtype)]
    lengths: list[int] = []
    for start in range(0, len(sentences), BATCH_SENTENCES):
        encoded = tokenizer.encode_ids(sentences[start : start + BATCH_SENTENCES])
        sizes = list(map(len, encoded))
        tokens.append(np.fromiter(itertools.chain.from_iterable(encoded), dtype, sum(sizes)))
        lengths += sizes
    return np.concatenate(tokens), np.array(lengths, np.int64)


def _without_empty(
    pieces: list[PieceCounts],
    documents: list[Document],
    digests: Digests,
    sizes: Ends,
    words: Ends,
    ends: Ends,
    tokens: Tokens,
    lengths: Ends,
) -> Encoded:
    """Drop sentences that became no token (control characters alone, say) and documents of only such."""
    owner = np.repeat(np.arange(len(documents)), np.diff(ends, prepend=0))
    counts = np.bincount(owner[lengths > 0], minlength=len(documents))
    kept = counts > 0
    piece_of = np.repeat(np.arange(len(pieces)), [piece.documents for piece in pieces])
    full = np.bincount(piece_of[kept], minlength=len(pieces)).tolist()
    pieces = [
        piece._replace(documents=left, empty=piece.empty + piece.documents - left)
        for piece, left in zip(pieces, full, strict=True)
    ]
    ids = [document.id for document, keep in zip(documents, kept.tolist(), strict=True) if keep]
    return Encoded(pieces, ids, digests[kept], sizes[kept], words[kept], counts[kept], lengths[lengths > 0], tokens)


class _Worker(NamedTuple):
    process: SpawnProcess
    pipe: "Connection[Any, Any]"


@contextmanager
def _pool(processes: int, means: Means) -> Iterator[list[_Worker]]:
    context = multiprocessing.get_context("spawn")
    workers: list[_Worker] = []
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, means), daemon=True)
            process.start()
            theirs.close()
            workers.append(_Worker(process, ours))
        yield workers
    finally:
        for worker in workers:
            worker.pipe.close()
            worker.process.terminate()
        for worker in workers:
            worker.process.join()


def _work(pipe: "Connection[Any, Any]", means: Means) -> None:
    """The life of a worker: receive a unit, send its result or its error, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, and its end ends us
    gc.disable()  # lists of integers by the million, and no cycles
    encoder = Encoder(means)
    while True:
        try:
            unit = pipe.recv()
            try:
                result: Any = encode_unit(unit, encoder)
            except UserError as error:
                result = error
            except Exception:
                result = LitebertError(f"a worker failed:\n{traceback.format_exc()}")
            pipe.send(result)
        except (EOFError, OSError):
            return


def _in_order(units: Iterator[Unit], workers: list[_Worker]) -> Iterator[Encoded]:
    """Hand out units to whoever is idle, read ahead while all are busy, give results back in order."""
    idle = [worker.pipe for worker in workers]
    busy: dict[Any, int] = {}
    ahead: deque[Unit] = deque()
    done: dict[int, Encoded | LitebertError] = {}
    sent = given = 0
    more = True
    unreadable: UserError | None = None

    def read_ahead() -> None:
        nonlocal more, unreadable
        unit = None
        try:
            unit = next(units, None)
        except UserError as error:  # whose turn has not come yet
            unreadable = error
        more = unit is not None
        if unit is not None:
            ahead.append(unit)

    while True:
        while idle and sent - given < 3 * len(workers):
            if not ahead and more:
                read_ahead()
            if not ahead:
                break
            pipe = idle.pop()
            _checked(pipe.send, ahead.popleft())
            busy[pipe] = sent
            sent += 1
        if given in done:
            result = done.pop(given)
            if isinstance(result, LitebertError):
                raise result
            yield result
            given += 1
            continue
        if not busy:
            if unreadable is not None:
                raise unreadable
            return
        may_read = more and len(ahead) < len(workers)
        arrived: list[Any] = wait(list(busy), timeout=0 if may_read else None)
        if not arrived and may_read:
            read_ahead()
        for pipe in arrived:
            done[busy.pop(pipe)] = _checked(pipe.recv)
            idle.append(pipe)


def _checked(action: Any, *arguments: Any) -> Any:
    try:
        return action(*arguments)
    except (EOFError, OSError):
        raise LitebertError(
            "a worker process died (out of memory?): run the same command again with fewer --processes"
        ) from None


Mask = npt.NDArray[np.bool_]


def select(encoded: Encoded, keep: Mask) -> tuple[Tokens, Ends, Ends]:
    """Tokens (n,), sentence lengths (s,) and sentences of each document (d,) where `keep` (documents,)."""
    if keep.all():
        return encoded.tokens, encoded.sentence_lengths, encoded.document_sentences
    sentences = np.repeat(keep, encoded.document_sentences)
    tokens = np.repeat(sentences, encoded.sentence_lengths)
    return encoded.tokens[tokens], encoded.sentence_lengths[sentences], encoded.document_sentences[keep]
