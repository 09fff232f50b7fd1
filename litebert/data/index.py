"""The last pages of a data folder: the table of documents, the counts and hashes, the tokenizer, the card."""

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from litebert.data.card import card
from litebert.data.journal import EXCLUDED_NAME, TABLE_NAME, Journal
from litebert.data.ngrams import NGRAM_WORDS, read_facts
from litebert.data.shards import (
    CARD_NAME,
    DOCUMENTS_NAME,
    FORMAT_VERSION,
    INDEX_NAME,
    SPLITS,
    TOKEN_TYPES,
    TOKENIZER_FOLDER,
    shard_files,
)
from litebert.errors import InputError
from litebert.files import sha256
from litebert.text.tokenizer import Tokenizer

TABLE_ROWS = 1 << 16
BLOCK_BYTES = 8 << 20

Frequencies = npt.NDArray[np.int64]


def complete(journal: Journal, tokenizer: Tokenizer) -> None:
    """Write what the shards lack to be a data folder, and bring all of it to the disk.

    May be done again after an interruption. Raises InputError where there is too little text, OSError.
    """
    _require_text(journal)
    write_table(journal.folder / TABLE_NAME, journal.data / DOCUMENTS_NAME)
    tokenizer.save(journal.data / TOKENIZER_FOLDER)
    index = build_index(journal, tokenizer)
    (journal.data / CARD_NAME).write_text(card(index), encoding="utf-8")
    text = json.dumps(index, indent=1, ensure_ascii=False) + "\n"
    (journal.data / INDEX_NAME).write_text(text, encoding="utf-8")
    for path in (*sorted(journal.data.rglob("*")), journal.data):
        sync(path)


def build_index(journal: Journal, tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of `index.json`. Reads every shard once."""
    done = journal.progress
    train, held_out = (_count_split(journal, split, tokenizer.vocab_size) for split in SPLITS)
    splits = {"train": train[0], "held_out": held_out[0]}
    # Add-one smoothing: what a model of train frequencies alone loses on text it has not seen.
    splits["held_out"]["unigram_cross_entropy"] = _cross_entropy(held_out[1], train[1] + 1)
    return {
        "format_version": FORMAT_VERSION,
        "tokenizer": {"fingerprint": tokenizer.fingerprint, "vocab_size": tokenizer.vocab_size},
        "dtype": journal.dtype,
        "counts": {
            **{name: sum(entry[name] for entry in splits.values()) for name in _COUNTED},
            "text_bytes": done.text_bytes,
            "duplicates": done.duplicates,
            "empty_documents": done.empty,
            "replaced_bytes": sum(done.replaced.values()),
            "documents_of_two_sentences": done.pairable,
            "unknown": sum(int(found[1][tokenizer.unk_id]) for found in (train, held_out) if tokenizer.unk_id >= 0),
        },
        "splits": splits,
        "replaced_bytes": done.replaced,
        "sources": done.sources,
        **({"overlap": _overlap(journal)} if "exclude" in journal.settings else {}),
        "sha256": {DOCUMENTS_NAME: sha256(journal.data / DOCUMENTS_NAME)},
        "settings": journal.settings,
    }


def _overlap(journal: Journal) -> dict[str, Any]:
    """What was excluded, and what was dropped for it."""
    facts = read_facts(journal.folder / EXCLUDED_NAME)
    totals = {
        name: sum(counts.get(key, 0) for counts in journal.progress.sources.values())
        for name, key in (
            ("paragraphs", "overlap_paragraphs"),
            ("documents", "overlap_documents"),
            ("text_bytes", "overlap_bytes"),
            ("read_bytes", "read_bytes"),
        )
    }
    share = totals["text_bytes"] / totals["read_bytes"]
    said = {name: value for name, value in facts.items() if name != "names"}
    return {**totals, "share": share, "ngram_words": NGRAM_WORDS, **said, "by_file": journal.progress.overlap}


def write_table(lines: Path, table: Path) -> None:
    """Turn spooled JSON lines into the Parquet table of documents, a bounded number of rows at a time."""
    import pyarrow
    from pyarrow import parquet

    text, number = pyarrow.string(), pyarrow.int64()
    kinds = {"id": text, "source": text, "split": text, "shard": number, "first_sentence": number}
    schema = pyarrow.schema({**kinds, "sentences": number})
    with lines.open(encoding="utf-8") as spool, parquet.ParquetWriter(table, schema) as writer:
        while rows := list(map(json.loads, itertools.islice(spool, TABLE_ROWS))):
            columns = zip(zip(*rows, strict=True), schema.types, strict=True)
            writer.write_batch(pyarrow.record_batch([pyarrow.array(*c) for c in columns], schema=schema))


def sync(path: Path) -> None:
    """Bring a file or a folder's list of names to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_COUNTED = ("documents", "sentences", "tokens")


def _require_text(journal: Journal) -> None:
    first = journal.settings["input"]["first"]
    if not journal.progress.documents and journal.progress.overlap:
        raise InputError(f"all text of the input ({first} ...) is among the excluded texts: give other text")
    if not journal.progress.documents:
        raise InputError(f"no text in the input ({first} ...), all of it is empty: give files with text")
    if sum(counts.sentences for shards in journal.progress.shards.values() for counts in shards) < 2:
        raise InputError(f"one sentence is all the input ({first} ...) holds: give more text to learn from")


def _count_split(journal: Journal, split: str, vocab_size: int) -> tuple[dict[str, Any], Frequencies]:
    """The index entry of a split, and how often each id occurs in it, (vocab_size,)."""
    frequencies = np.zeros(vocab_size, np.int64)
    entries: list[dict[str, Any]] = []
    for number, counts in enumerate(journal.progress.shards[split]):
        name = f"{split}-{number:05d}"
        files = [journal.data / file for file, _ in shard_files(name, journal.dtype, counts)]
        with files[0].open("rb") as tokens:
            while block := tokens.read(BLOCK_BYTES):
                ids = np.frombuffer(block, TOKEN_TYPES[journal.dtype])
                frequencies += np.bincount(ids, minlength=vocab_size)
        digests = {file.suffix[1:]: sha256(file) for file in files}
        entries.append({"name": name, **counts._asdict(), "sha256": digests})
    totals = {name: sum(entry[name] for entry in entries) for name in _COUNTED}
    entropy = _cross_entropy(frequencies, frequencies)
    return {**totals, "unigram_entropy": entropy, "shards": entries}, frequencies


def _cross_entropy(of: Frequencies, under: Frequencies) -> float:
    """Nats a token of text with frequencies `of`, predicted from `under`; 0 for no text."""
    seen = of > 0
    if not seen.any():
        return 0.0
    return float(-(of[seen] / of.sum() * np.log(under[seen] / under.sum())).sum())
