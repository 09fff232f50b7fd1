"""What a teacher is worth in fine-tuning: SST-2 with and without one, several seeds, few labels and all.

    litebert data get all-MiniLM-L6-v2
    LITEBERT_DATA=... python benchmarks/finetune_teacher.py STUDENT [--out runs/finetune-teacher]

The teacher is fine-tuned first, on all rows, by litebert itself. The student learns from the labels of some rows; from
these and the teacher, at the default weight and temperature; and so with all other rows, unlabelled, besides. The best
state is chosen on dev.tsv, and what counts is the accuracy on test_labelled.tsv, which nobody has seen. In all of them
the mean over tokens stands for a text. What is there already is not done again. Prints a table, mean and 95 % interval
over the seeds, how often the student answers as its teacher does, and ends with one JSON line. --quick takes a few
dozen rows and a step or two: it shows that all of it works, and its numbers mean nothing.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from litebert.data.catalog import find_model
from litebert.data.rows import read_rows
from litebert.evaluate.metrics import mean_and_interval
from litebert.infer.judging import judge_model
from litebert.infer.predictor import load
from litebert.train.finetune import finetune
from litebert.train.fit import subset
from litebert.train.job import FinetuneSettings

RATE = 1e-4


def tuned(model: Path, train: Path, dev: Path, out: Path, **settings: Any) -> Path:
    """Fine-tune, or take what was fine-tuned before."""
    if not out.exists():
        finetune("classify", model=model, train=train, dev=dev, out=out, settings=FinetuneSettings(**settings))
    return out


def divided(lines: list[str], rows: int, seed: int, folder: Path) -> tuple[Path, Path]:
    """Write some rows, drawn by the seed, and the texts of all others; returns both files."""
    header, *body = lines
    chosen = set(subset(len(body), rows, seed).tolist())
    some = [line for i, line in enumerate(body) if i in chosen]
    others = [line.rpartition("\t")[0] for i, line in enumerate(body) if i not in chosen]
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"{rows}-{seed}.tsv", folder / f"{rows}-{seed}-others.tsv"
    for file, content in zip(files, ([header, *some], [header.rpartition("\t")[0], *others]), strict=True):
        file.write_text("\n".join(content) + "\n", encoding="utf-8")
    return files


def answers(model: Path, rows: Path) -> list[str]:
    """The labels that a model gives to the rows of a file."""
    texts = [str(fields["sentence"]) for _, fields in read_rows(rows)]
    return [answer.label for answer in load(model).predict(texts)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", type=Path)
    parser.add_argument("--teacher", default="all-MiniLM-L6-v2", help="folder or name of the model that is to teach")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 67_349], help="labelled rows")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, help="of every fine-tuning; by the number of rows where not given")
    parser.add_argument("--out", type=Path, default=Path("runs/finetune-teacher"))
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    data, out = Path(os.environ["LITEBERT_DATA"]) / "glue" / "SST-2", arguments.out
    dev, test = data / "dev.tsv", data / "test_labelled.tsv"
    lines = (data / "train.tsv").read_text(encoding="utf-8").rstrip("\n").split("\n")[: 97 if arguments.quick else None]
    epochs = 1.0 if arguments.quick else arguments.epochs
    how: dict[str, Any] = {"pooling": "mean", "learning_rate": RATE, "epochs": epochs}
    whole, _ = divided(lines, len(lines) - 1, 0, out / "rows")
    teacher = tuned(find_model(arguments.teacher), whole, dev, out / "teacher", **how)
    table: dict[str, Any] = {"teacher": judge_model(teacher, test)["accuracy"]}
    said = answers(teacher, test)
    print(f"teacher: test accuracy {table['teacher']:.4f}\n")
    print("| labelled rows | from | test accuracy | 95 % interval | answers of the teacher |\n|---|---|---|---|---|")
    for rows in [64] if arguments.quick else arguments.rows:
        ways = ["labels", "labels, teacher"] + ["labels, teacher, other rows"] * (rows < len(lines) - 1)
        for way in ways:
            scores, alike = [], []
            for seed in range(1, arguments.seeds + 1):
                some, others = divided(lines, rows, seed, out / "rows")
                settings = how | ({"teacher": str(teacher)} if "teacher" in way else {})
                settings |= {"unlabelled": str(others)} if "other" in way else {}
                name = f"{rows}-{way.replace(', ', '-').replace(' ', '-')}-{seed}"
                folder = tuned(arguments.student, some, dev, out / name, seed=seed, **settings)
                scores.append(judge_model(folder, test)["accuracy"])
                same = [ours == theirs for ours, theirs in zip(answers(folder, test), said, strict=True)]
                alike.append(sum(same) / len(same))
            mean, _, (low, high) = mean_and_interval(scores)
            table[f"{rows}: {way}"] = {"accuracy": scores, "agreement": alike}
            agreed = sum(alike) / len(alike)
            spread = f"{low:.4f} to {high:.4f}" if len(scores) > 1 else "one seed"
            print(f"| {rows:,} | {way} | {mean:.4f} | {spread} | {agreed:.4f} |", flush=True)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
