"""A pre-trained model without a task on the held-out documents of a prepared folder, in all and source by source.

Every model is asked the same: sequences of 128 tokens made as in pre-training, 15 % of the words masked (80 % [MASK],
10 % a random piece, 10 % as they are), two segments whose order is swapped half of the time; all chance is fixed. Of
each source at most 200,000 tokens are read, drawn at random. `pretrain` itself masks held-out text as its settings say,
so its figures are others.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litebert.console import progress
from litebert.data.batches import DataSettings, PretrainBatch, SpecialIds, WindowSource, held_out_batches
from litebert.data.masking import MaskSettings
from litebert.data.packing import reading
from litebert.data.pairs import NO_LABEL, PairSettings
from litebert.data.shards import DOCUMENTS_NAME, TokenCorpus
from litebert.errors import DataFolderError
from litebert.model.heads import AlbertWithHeads
from litebert.text.tokenizer import Tokenizer
from litebert.train.corpora import count_pieces
from litebert.train.objective import PretrainObjective

LENGTH, SEQUENCES = 128, 32
SOURCE_TOKENS = 200_000

Counts = dict[str, int]


def held_out_metrics(
    model: AlbertWithHeads,
    tokenizer: Tokenizer,
    corpus: TokenCorpus,
    precision: Callable[[], AbstractContextManager[Any]],
) -> dict[str, Any]:
    """Mean losses in nats and accuracies: `mlm_loss`, `mlm_accuracy` and, with a head for it, `order_accuracy`;
    `unigram_loss` on the same masked tokens is that of a model that knows only how often each piece is in the training
    text.

    Beside them how much was read: `documents` there are, `tokens`, `masked_tokens`, `pairs`; and all of these for each
    of `sources`. The means are over what was read. Raises DataFolderError where nothing is held out, or the text was
    prepared with another tokenizer.
    """
    if corpus.fingerprint != tokenizer.fingerprint or model.config.vocab_size < tokenizer.vocab_size:
        raise DataFolderError(
            f"{corpus.path} was prepared with another tokenizer than the model's; prepare the text again with "
            "--tokenizer of the model's folder"
        )
    places = held_out_documents(corpus)
    if not places:
        raise DataFolderError(f"{corpus.path}: nothing is held out; prepare the text with --held-out 0.005")
    order = "sentence_order" in model.heads
    settings = DataSettings(
        batch_size=SEQUENCES,
        pairs=PairSettings(
            length=min(LENGTH, model.config.max_position_embeddings), objective="sentence_order" if order else "none"
        ),
        masking=MaskSettings(unit="word"),
    )
    objective = PretrainObjective(model, settings, precision, compiled=False)
    special = SpecialIds.of(tokenizer)
    found: dict[str, dict[str, Any]] = {}
    with progress("evaluating", len(places), "sources") as advance:
        rarity = _rarity(corpus)
        for name, documents in places.items():
            source = WindowSource({corpus.path: 1.0}, special, settings, 0, "held_out", documents)
            counts: Counts = Counter(documents=len(documents))
            labels: list[NDArray[np.int64]] = []
            metrics = objective.evaluate(_counted(held_out_batches(source, SOURCE_TOKENS), counts, labels))
            metrics["unigram_loss"] = float(rarity[np.concatenate(labels)].mean()) if counts["masked_tokens"] else 0.0
            found[name] = {**metrics, **counts}
            advance()
    return {**_mean(found.values()), "sources": found}


def held_out_documents(corpus: TokenCorpus) -> dict[str, NDArray[np.int64]]:
    """The numbers of the held-out documents of each source that has some, in the split's order."""
    from pyarrow import parquet

    path = corpus.path / DOCUMENTS_NAME
    with reading(path, "table of documents"):
        table = parquet.read_table(path, columns=["source"], filters=[("split", "=", "held_out")])
    sources = np.array(table.column("source").to_pylist(), dtype=object)
    return {str(name): np.flatnonzero(sources == name) for name in dict.fromkeys(sources.tolist())}


def _rarity(corpus: TokenCorpus) -> NDArray[np.float64]:
    """Minus the logarithm of each piece's share of the training text, each counted once more than it occurs: (V,)."""
    counts = count_pieces([corpus.split("train")], corpus.vocab_size) + 1
    return -np.log(counts / counts.sum())  # type: ignore[no-any-return]


def _counted(
    batches: Iterable[PretrainBatch], counts: Counts, labels: list[NDArray[np.int64]]
) -> Iterator[PretrainBatch]:
    for batch in batches:
        labels.append(batch.masked_labels)
        counts["tokens"] += batch.num_tokens
        counts["masked_tokens"] += len(batch.masked_labels)
        counts["pairs"] += int((batch.order_labels != NO_LABEL).sum())
        yield batch


def _mean(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Over all tokens, and all pairs, of all sources."""
    rows = list(found)
    total = {name: sum(row[name] for row in rows) for name in ("documents", "tokens", "masked_tokens", "pairs")}
    means: dict[str, Any] = {}
    for name in ("mlm_loss", "mlm_accuracy", "unigram_loss", "order_loss", "order_accuracy"):
        weight = "pairs" if name.startswith("order") else "masked_tokens"
        if total[weight]:
            means[name] = sum(row[name] * row[weight] for row in rows if name in row) / total[weight]
    return means | total
