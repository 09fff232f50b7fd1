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


class PieceCounts(NamedTuple):
    """What became of one piece besides its documents."""

    file: int
    number: int
    position: int
    documents: int
    replaced: int
    empty: int


class Encoded(NamedTuple):
    """One unit as ids: d documents of s sentences of n tokens; documents without any token are left out."""

    pieces: list[PieceCounts]
    ids: list[str]
    digests: Digests
    """(d,) of the text."""
    text_bytes: Ends
    """(d,) of UTF-8."""
    document_sentences: Ends
    """(d,) sentences in each document, at least one."""
    sentence_lengths: Ends
    """(s,) tokens in each sentence, at least one."""
    tokens: Tokens
    """(n,)"""


def encode_units(units: Iterable[Unit], tokenizer: Path, options: ReadOptions, processes: int) -> Generator[Encoded]:
    """Parse, split and encode units; the results come in the order of the units, whatever the number of
    processes.

    With one process all is done here. At most a few units a process are in memory. Raises the UserError of
    the first unit that has one, and LitebertError when a worker dies.
    """
    if processes == 1:
        loaded = load_tokenizer(tokenizer)
        for unit in units:
            yield encode_unit(unit, loaded, options)
        return
    with _pool(processes, tokenizer, options) as workers:
        yield from _in_order(iter(units), workers)


def encode_unit(unit: Unit, tokenizer: Tokenizer, options: ReadOptions) -> Encoded:
    """Parse, split and encode the pieces of one unit. Raises InputError."""
    pieces: list[PieceCounts] = []
    documents: list[Document] = []
    for piece in unit:
        parsed = parse_chunk(piece.source, piece.chunk, options)
        documents += parsed.documents
        counts = (piece.chunk.position, len(parsed.documents), parsed.replaced, parsed.empty)
        pieces.append(PieceCounts(piece.file, piece.number, *counts))
    sentences: list[str] = []
    ends = np.empty(len(documents), np.int64)
    digests = np.empty(len(documents), np.uint64)
    sizes = np.empty(len(documents), np.int64)
    for row, (_, _, text) in enumerate(documents):
        sentences += [text[start:end] for start, end in split_sentences(text)]
        ends[row] = len(sentences)
        raw = text.encode()
        digests[row] = text_digest(raw)
        sizes[row] = len(raw)
    tokens, lengths = _encode(sentences, tokenizer)
    return _without_empty(pieces, documents, digests, sizes, ends, tokens, lengths)


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
    return Encoded(pieces, ids, digests[kept], sizes[kept], counts[kept], lengths[lengths > 0], tokens)


class _Worker(NamedTuple):
    process: SpawnProcess
    pipe: "Connection[Any, Any]"


@contextmanager
def _pool(processes: int, tokenizer: Path, options: ReadOptions) -> Iterator[list[_Worker]]:
    context = multiprocessing.get_context("spawn")
    workers: list[_Worker] = []
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, tokenizer, options), daemon=True)
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


def _work(pipe: "Connection[Any, Any]", tokenizer: Path, options: ReadOptions) -> None:
    """The life of a worker: receive a unit, send its result or its error, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, and its end ends us
    gc.disable()  # lists of integers by the million, and no cycles
    loaded = load_tokenizer(tokenizer)
    while True:
        try:
            unit = pipe.recv()
            try:
                result: Any = encode_unit(unit, loaded, options)
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
    done: dict[int, Encoded] = {}
    sent = given = 0
    more = True

    def read_ahead() -> None:
        nonlocal more
        unit = next(units, None)
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
            yield done.pop(given)
            given += 1
            continue
        if not busy:
            return
        may_read = more and len(ahead) < len(workers)
        arrived: list[Any] = wait(list(busy), timeout=0 if may_read else None)
        if not arrived and may_read:
            read_ahead()
        for pipe in arrived:
            result = _checked(pipe.recv)
            if isinstance(result, LitebertError):
                raise result
            done[busy.pop(pipe)] = result
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
