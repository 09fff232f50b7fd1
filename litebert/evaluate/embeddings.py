"""Sentence vectors, and what they are worth without fine-tuning: STS-B, and CLINC150 with ten examples an intent.

Dimensions: R texts, H width of the vectors.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from litebert.data.examples import Examples, encode_rows
from litebert.data.rows import read_rows
from litebert.evaluate.metrics import Floats, Metrics
from litebert.model.device import Computing
from litebert.model.encoder import Albert
from litebert.model.outputs import MAX_TOKENS, to_packed
from litebert.model.pooling import pool
from litebert.text.tokenizer import Tokenizer

Vectors = npt.NDArray[np.float32]

TINY = 1e-12
"""A vector is divided by its length, at least by this."""

STS_B = Path("glue", "STS-B", "dev.tsv")
CLINC150 = Path("clinc150")


@torch.inference_mode()
def sentence_vectors(
    encoder: Albert,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    max_length: int = 128,
    precision: Computing = nullcontext,
) -> Vectors:
    """Return the mean of each text's token vectors, of length 1: (R, H).

    Of a text longer than `max_length` tokens the mean is over all its windows.
    """
    encoder.eval()
    device = next(encoder.parameters()).device
    examples = encode_rows(tokenizer, texts, None, max_length)
    outputs = np.zeros((len(examples), encoder.config.hidden_size), dtype=np.float32)
    for batch in examples.batches(examples.by_length(), MAX_TOKENS):
        packed = to_packed(batch, device)
        with precision():
            hidden = encoder(packed).float()  # (T, H)
        outputs[batch.sequences] = pool(hidden, packed, "mean").cpu().numpy()
    return row_vectors(examples, outputs)


def row_vectors(examples: Examples, outputs: Floats, *, normalized: bool = True) -> Vectors:
    """Vectors of rows (R, H) from those of their windows (n, H): the mean, each counting as many times as it has
    tokens, so that means over tokens stay such; then of length 1 unless not wanted."""
    rows, lengths = examples.rows, examples.lengths
    sums = np.zeros((examples.num_rows, outputs.shape[1]), dtype=np.float64)
    np.add.at(sums, rows, outputs * lengths[:, None])
    means = sums / np.bincount(rows, lengths, examples.num_rows)[:, None]
    if normalized:
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), TINY)
    return means.astype(np.float32)


def sts_spearman(encoder: Albert, tokenizer: Tokenizer, file: Path, *, precision: Computing = nullcontext) -> float:
    """Return 100 times Spearman's correlation of cosines with the scores of an STS-B file."""
    from scipy.stats import spearmanr

    rows = [row for _, row in read_rows(file)]
    texts = [str(row[column]) for column in ("sentence1", "sentence2") for row in rows]
    vectors = sentence_vectors(encoder, tokenizer, texts, precision=precision)
    cosines = (vectors[: len(rows)] * vectors[len(rows) :]).sum(-1)
    return 100 * float(spearmanr(cosines, [float(row["score"]) for row in rows]).statistic)


def intent_accuracy(
    encoder: Albert, tokenizer: Tokenizer, folder: Path, *, precision: Computing = nullcontext
) -> float:
    """Return the accuracy in per cent of logistic regression on CLINC150's validation rows, ten examples an intent."""
    from sklearn.linear_model import LogisticRegression

    def read(split: str) -> tuple[list[str], list[str]]:
        texts, labels = (
            (folder / split / name).read_text(encoding="utf-8").splitlines() for name in ("seq.in", "label")
        )
        return texts, labels

    (texts, labels), (others, gold) = read("train_10"), read("valid")
    vectors = sentence_vectors(encoder, tokenizer, [*texts, *others], precision=precision)
    fitted = LogisticRegression(C=10.0, max_iter=1000).fit(vectors[: len(texts)], labels)
    return 100 * float(np.mean(fitted.predict(vectors[len(texts) :]) == np.array(gold)))


def probe(
    encoder: Albert, tokenizer: Tokenizer, places: Sequence[Path], *, precision: Computing = nullcontext
) -> Metrics:
    """Measure what can be found in the folders of public data; nothing where there are none."""
    found: Metrics = {}
    for place in places:
        if "sts_b" not in found and (place / STS_B).is_file():
            found["sts_b"] = sts_spearman(encoder, tokenizer, place / STS_B, precision=precision)
        if "clinc150" not in found and (place / CLINC150).is_dir():
            found["clinc150"] = intent_accuracy(encoder, tokenizer, place / CLINC150, precision=precision)
    return found
