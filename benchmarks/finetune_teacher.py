"""What a teacher is worth in fine-tuning: SST-2 with and without one, several seeds, few labels and all.

    litebert data get all-MiniLM-L6-v2
    LITEBERT_DATA=... python benchmarks/finetune_teacher.py STUDENT [--out runs/finetune-teacher]

The teacher is fine-tuned first, on all rows, by litebert itself; the student learns from the labels alone, and from
labels and teacher at the default weight and temperature. The best state is chosen on dev.tsv, and what counts is the
accuracy on test_labelled.tsv, which nobody has seen. What is there already is not done again. Prints a table, mean
and 95 % interval over the seeds, and ends with one JSON line. --quick takes 64 rows and a step or two: it shows that
all of it works, and its numbers mean nothing.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from litebert.data.catalog import find_model
from litebert.evaluate.metrics import mean_and_interval
from litebert.infer.predictor import evaluate_model
from litebert.train.finetune import finetune
from litebert.train.job import FinetuneSettings


def tuned(model: Path, data: Path, out: Path, **settings: Any) -> Path:
    """Fine-tune, or take what was fine-tuned before."""
    if not out.exists():
        files = {"train": data / "train.tsv", "dev": data / "dev.tsv"}
        finetune("classify", model=model, out=out, settings=FinetuneSettings(**settings), **files)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", type=Path)
    parser.add_argument("--teacher", default="all-MiniLM-L6-v2", help="folder or name of the model that is to teach")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 67_349], help="training rows")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/finetune-teacher"))
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    data = Path(os.environ["LITEBERT_DATA"]) / "glue" / "SST-2"
    quick: dict[str, Any] = {"epochs": 1.0, "train_rows": 64} if arguments.quick else {}
    counts = [64] if arguments.quick else arguments.rows
    teacher = tuned(find_model(arguments.teacher), data, arguments.out / "teacher", **quick)
    table: dict[str, Any] = {"teacher": evaluate_model(teacher, data / "test_labelled.tsv")["accuracy"]}
    print(f"teacher: test accuracy {table['teacher']:.4f}\n\n| rows | from | test accuracy | 95 % interval |")
    print("|---|---|---|---|")
    for rows in counts:
        for name, more in (("labels", {}), ("labels and teacher", {"teacher": str(teacher)})):
            scores = []
            for seed in range(1, arguments.seeds + 1):
                out = arguments.out / f"{rows}-{name.replace(' ', '-')}-{seed}"
                settings = quick | more | {"train_rows": rows, "seed": seed}
                folder = tuned(arguments.student, data, out, **settings)
                scores.append(evaluate_model(folder, data / "test_labelled.tsv")["accuracy"])
            mean, _, (low, high) = mean_and_interval(scores)
            table[f"{rows}, {name}"] = scores
            print(f"| {rows:,} | {name} | {mean:.4f} | {low:.4f} to {high:.4f} |", flush=True)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
