"""What sentence embeddings are worth without fine-tuning: STS-B dev and test, CLINC150 with ten examples an intent.

    LITEBERT_DATA=... python benchmarks/embeddings.py litebert-small all-MiniLM-L6-v2 [FOLDER ...]

Means over tokens, in fp32; Spearman's correlation times 100, accuracy in per cent. With --source NAME also how close
each model is to the one it was made of, as the mean cosine of their vectors, by kind of text: requests (CLINC150's dev
rows), captions and headlines (STS-B's dev rows), single sentences and paragraphs of 80 to 150 words (pages of
governments). With --baselines also the first model with random weights in its place, and TF-IDF of words and pairs of
words, fitted to the texts of STS-B's training rows and CLINC150's examples. Ends with one JSON line.
"""

import argparse
import json
import os
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from litebert.data.catalog import find_model
from litebert.data.rows import read_rows, write_rows
from litebert.data.sources import find_files, read_documents
from litebert.evaluate.embeddings import (
    CLINC150,
    STS_B,
    Vectors,
    intent_accuracy,
    sentence_vectors,
    sts_spearman,
)
from litebert.interop.huggingface import load_model
from litebert.model.encoder import Albert
from litebert.model.heads import build_model
from litebert.text.tokenizer import Tokenizer, load_tokenizer

SIDES = ("sentence1", "sentence2")
TEST = STS_B.with_name("sts-test-labelled.tsv")


def with_header(file: Path, out: Path) -> Path:
    """The labelled test rows of STS-B, which come without names of columns, as dev has them."""
    lines = (line.split("\t") for line in file.read_text(encoding="utf-8").splitlines())
    write_rows(({"sentence1": cells[5], "sentence2": cells[6], "score": cells[4]} for cells in lines), out)
    return out


def kinds_of_text(place: Path) -> dict[str, list[str]]:
    """Some hundred texts of each kind."""
    requests = (place / CLINC150 / "valid" / "seq.in").read_text(encoding="utf-8").splitlines()
    captions = [str(fields["sentence1"]) for _, fields in read_rows(place / STS_B)]
    [file] = find_files([place / "corpus" / "government.jsonl.xz"])
    pages = islice(read_documents(file), 400)
    paragraphs = [paragraph for page in pages for paragraph in page.text.split("\n")]
    sentences = [paragraph.partition(". ")[0] for paragraph in paragraphs]
    return {
        "requests": requests[:600],
        "captions": captions[:600],
        "sentences": [text for text in sentences if 12 < len(text.split()) < 30][:400],
        "paragraphs": [text for text in paragraphs if 80 < len(text.split()) < 150][:150],
    }


def vectors(name: str, texts: dict[str, list[str]]) -> dict[str, Vectors]:
    """Sentence vectors of every kind of text."""
    folder = find_model(name)
    encoder, tokenizer = load_model(folder, ()).albert, load_tokenizer(folder)
    return {kind: sentence_vectors(encoder, tokenizer, some, max_length=256) for kind, some in texts.items()}


def twin(name: str) -> Albert:
    """An encoder of the shape of a model, with random weights."""
    config = load_model(find_model(name), ()).config
    return build_model(config, (), generator=torch.Generator().manual_seed(1)).albert


def tf_idf(place: Path, test: Path) -> dict[str, float]:
    """The same marks for cosines of TF-IDF vectors, and for logistic regression on them."""
    pairs = {
        name: [row for _, row in read_rows(file)] for name, file in (("sts_b", place / STS_B), ("sts_b_test", test))
    }
    train = [str(row[side]) for _, row in read_rows(place / STS_B.with_name("train.tsv")) for side in SIDES]
    marks: dict[str, float] = {}
    words = TfidfVectorizer(ngram_range=(1, 2)).fit(train)
    for name, rows in pairs.items():
        one, other = (words.transform([str(row[side]) for row in rows]) for side in SIDES)
        cosines = np.asarray(one.multiply(other).sum(1)).ravel()
        marks[name] = 100 * float(spearmanr(cosines, [float(row["score"]) for row in rows]).statistic)
    (texts, labels), (others, gold) = (
        [(place / CLINC150 / part / file).read_text(encoding="utf-8").splitlines() for file in ("seq.in", "label")]
        for part in ("train_10", "valid")
    )
    fitted = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10, max_iter=1000))
    return marks | {"clinc150": 100 * float(fitted.fit(texts, labels).score(others, gold))}


def marks(encoder: Albert, tokenizer: Tokenizer, place: Path, test: Path) -> dict[str, float]:
    """What an encoder is worth as it is, in per cent."""
    return {
        "sts_b": sts_spearman(encoder, tokenizer, place / STS_B),
        "sts_b_test": sts_spearman(encoder, tokenizer, test),
        "clinc150": intent_accuracy(encoder, tokenizer, place / CLINC150),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--source", help="model to compare the vectors with")
    parser.add_argument("--baselines", action="store_true")
    parser.add_argument("--work", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    place = Path(os.environ["LITEBERT_DATA"])
    arguments.work.mkdir(parents=True, exist_ok=True)
    test = with_header(place / TEST, arguments.work / "sts-b-test.jsonl")
    table: dict[str, dict[str, float]] = {}
    texts = kinds_of_text(place) if arguments.source else {}
    theirs = vectors(arguments.source, texts) if arguments.source else {}
    columns = ["model", "STS-B dev", "STS-B test", "CLINC150", *texts]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name in arguments.models:
        folder = find_model(name)
        encoder, tokenizer = load_model(folder, ()).albert, load_tokenizer(folder)
        table[name] = marks(encoder, tokenizer, place, test)
        mine = vectors(name, texts) if texts else {}
        closeness = {kind: float((mine[kind] * theirs[kind]).sum(1).mean()) for kind in texts}
        cells = [name, *(f"{value:.1f}" for value in table[name].values()), *(f"{c:.3f}" for c in closeness.values())]
        table[name] |= closeness
        print(f"| {' | '.join(cells)} |", flush=True)
    if arguments.baselines:
        tokenizer, encoder = load_tokenizer(find_model(arguments.models[0])), twin(arguments.models[0])
        table["random twin"] = marks(encoder, tokenizer, place, test)
        table["TF-IDF"] = tf_idf(place, test)
        for name in ("random twin", "TF-IDF"):
            print(f"| {name} | {' | '.join(f'{value:.1f}' for value in table[name].values())} |{' |' * len(texts)}")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
