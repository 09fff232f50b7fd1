"""Whether a model reads two texts beside each other: STS-B after one epoch, both texts in one sequence.

    LITEBERT_DATA=... python benchmarks/pairs.py MODEL... [--out runs/pairs]

Folders or names of models. Each is fine-tuned on all 5,749 pairs at the same rate, the mean over tokens standing for
the pair, and judged on the dev rows; what is there already is not done again. Prints a table, and one JSON line.
"""

import argparse
import json
import os
from pathlib import Path

from litebert.data.catalog import find_model
from litebert.data.labelled import Columns
from litebert.train.finetune import finetune
from litebert.train.job import FinetuneSettings

SETTINGS = FinetuneSettings(epochs=1, learning_rate=5e-5, pooling="mean", metric="pearson_spearman", probe=False)


def correlation(model: Path, data: Path, out: Path) -> float:
    """The mean of Pearson's and Spearman's correlation on the dev rows, in per cent."""
    if not out.exists():
        files = {part: data / f"{part}.tsv" for part in ("train", "dev")}
        columns = Columns("sentence1", "sentence2", "score")
        finetune("regress", model=model, out=out, columns=columns, settings=SETTINGS, **files)
    report = json.loads((out / "training" / "report.json").read_text(encoding="utf-8"))
    return 100 * float(report["results"][0]["metrics"]["pearson_spearman"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--out", type=Path, default=Path("runs/pairs"))
    arguments = parser.parse_args()
    data = Path(os.environ["LITEBERT_DATA"]) / "glue" / "STS-B"
    table: dict[str, float] = {}
    print("| model | STS-B dev after one epoch, both texts in one sequence |\n|---|---|")
    for name in arguments.models:
        folder = "".join(letter if letter.isalnum() else "-" for letter in name).strip("-")
        table[name] = correlation(find_model(name), data, arguments.out / folder)
        print(f"| {name} | {table[name]:.1f} |", flush=True)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
