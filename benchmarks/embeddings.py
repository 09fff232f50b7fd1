"""What sentence embeddings are worth without fine-tuning: STS-B dev and test, CLINC150 with ten examples an intent.

    LITEBERT_DATA=... python benchmarks/embeddings.py litebert-small all-MiniLM-L6-v2 [FOLDER ...]

Means over tokens, in fp32; Spearman's correlation times 100, accuracy in per cent. Ends with one JSON line.
"""

import argparse
import json
import os
from pathlib import Path

from litebert.data.catalog import find_model
from litebert.data.rows import write_rows
from litebert.evaluate.embeddings import CLINC150, STS_B, intent_accuracy, sts_spearman
from litebert.interop.huggingface import load_model
from litebert.text.tokenizer import load_tokenizer

TEST = STS_B.with_name("sts-test-labelled.tsv")


def with_header(file: Path, out: Path) -> Path:
    """The labelled test rows of STS-B, which come without names of columns, as dev has them."""
    lines = (line.split("\t") for line in file.read_text(encoding="utf-8").splitlines())
    write_rows(({"sentence1": cells[5], "sentence2": cells[6], "score": cells[4]} for cells in lines), out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--work", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    place = Path(os.environ["LITEBERT_DATA"])
    arguments.work.mkdir(parents=True, exist_ok=True)
    test = with_header(place / TEST, arguments.work / "sts-b-test.jsonl")
    table: dict[str, dict[str, float]] = {}
    print("| model | STS-B dev | STS-B test | CLINC150 |\n|---|---|---|---|")
    for name in arguments.models:
        folder = find_model(name)
        encoder, tokenizer = load_model(folder, ()).albert, load_tokenizer(folder)
        table[name] = {
            "sts_b": sts_spearman(encoder, tokenizer, place / STS_B),
            "sts_b_test": sts_spearman(encoder, tokenizer, test),
            "clinc150": intent_accuracy(encoder, tokenizer, place / CLINC150),
        }
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in table[name].values()) + " |", flush=True)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
