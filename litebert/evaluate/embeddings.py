"""Sentence vectors, and what they are worth without fine-tuning: STS-B, and CLINC150 with ten examples an intent.

Dimensions: R texts, H width of the vectors.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from litebert.data.examples import encode_rows
from litebert.data.rows import read_rows
from litebert.evaluate.evaluate import MAX_TOKENS, Precision, to_packed
from litebert.evaluate.metrics import Metrics
from litebert.model.encoder import Albert
from litebert.text.tokenizer import Tokenizer

Vectors = npt.NDArray[np.float32]

STS_B = Path("glue", "STS-B", "dev.tsv")
CLINC150 = Path("clinc150")


@torch.inference_mode()
def sentence_vectors(
    encoder: Albert,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    max_length: int = 128,
    precision: Precision = nullcontext,
) -> Vectors:
    """Return the mean of each text's token vectors, of length 1: (R, H).

    Of a text longer than `max_length` tokens the mean is over all its windows.
    """
    encoder.eval()
    device = next(encoder.parameters()).device
    examples = encode_rows(tokenizer, texts, None, max_length)
    sums = np.zeros((len(texts), encoder.config.hidden_size), dtype=np.float32)
    for batch in examples.batches(examples.by_length(), MAX_TOKENS):
        packed = to_packed(batch, device)
        with precision():
            hidden = encoder(packed).float()  # (T, H)
        sizes = np.diff(batch.cu_seqlens)
        owner = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)).to(device)
        totals = torch.zeros(len(sizes), hidden.shape[1], device=device).index_add_(0, owner, hidden[: len(owner)])
        np.add.at(sums, examples.rows[batch.sequences], totals.cpu().numpy())
    return F.normalize(torch.from_numpy(sums), dim=-1).numpy()


def sts_spearman(encoder: Albert, tokenizer: Tokenizer, file: Path, *, precision: Precision = nullcontext) -> float:
    """Return 100 times Spearman's correlation of cosines with the scores of an STS-B file."""
    from scipy.stats import spearmanr

    rows = [row for _, row in read_rows(file)]
    texts = [str(row[column]) for column in ("sentence1", "sentence2") for row in rows]
    vectors = sentence_vectors(encoder, tokenizer, texts, precision=precision)
    cosines = (vectors[: len(rows)] * vectors[len(rows) :]).sum(-1)
    return 100 * float(spearmanr(cosines, [float(row["score"]) for row in rows]).statistic)


def intent_accuracy(
    encoder: Albert, tokenizer: Tokenizer, folder: Path, *, precision: Precision = nullcontext
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
    encoder: Albert, tokenizer: Tokenizer, places: Sequence[Path], *, precision: Precision = nullcontext
) -> Metrics:
    """Measure what can be found in the folders of public data; nothing where there are none."""
    found: Metrics = {}
    for place in places:
        if "sts_b" not in found and (place / STS_B).is_file():
            found["sts_b"] = sts_spearman(encoder, tokenizer, place / STS_B, precision=precision)
        if "clinc150" not in found and (place / CLINC150).is_dir():
            found["clinc150"] = intent_accuracy(encoder, tokenizer, place / CLINC150, precision=precision)
    return found
