"""Trials of teaching: what the student copies, rates, optimizers and lengths, each of equal arithmetic.

    LITEBERT_DATA=... python benchmarks/teaching.py STUDENT --data DIR[=WEIGHT] ... [--out runs/teaching] [--only ROW]

Runs every row of recipes/teaching/trials.toml (or of --trials FILE) around recipes/teaching/base.toml on a student that
`litebert compress` made; what is there already is not done again, what was interrupted goes on. Measures closeness to
the teacher on held-out text, STS-B dev without fine-tuning, and CLINC150 with ten examples an intent. Writes
what was measured into teaching.json beside the runs, with what stood there of other rows (--table FILE; that of the
first trials is docs/teaching.json), prints the table, and ends with one JSON line.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from litebert import config
from litebert.files import write_text
from litebert.train.corpora import weighted
from litebert.train.distill import DistillSettings, distill
from litebert.train.hooks import read_metrics

RECIPES = Path(__file__).parent.parent / "recipes" / "teaching"


def trial(assignments: list[str], student: Path, folders: dict[str, float], run: Path) -> dict[str, float]:
    """Run, or take what was run before; returns what was measured at its end."""
    tree = config.merge(config.read_toml(RECIPES / "base.toml"), config.parse_assignments(assignments))
    settings = replace(config.build(DistillSettings, tree), student=str(student), folders=folders)
    if not (run / "model").is_dir():
        distill(settings, run, resume=True)
    lines = list(read_metrics(run))
    last = [line for line in lines if line["kind"] == "held_out"][-1]
    steps = [line for line in lines if line["kind"] == "train"]
    return {
        "steps": steps[-1]["step"],
        "tokens": steps[-1]["tokens"],
        "cosine": last["cosine"],
        "hidden": last.get("hidden", float("nan")),
        "sts_b": last["sts_b"],
        "clinc150": last["clinc150"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", type=Path)
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR[=WEIGHT]")
    parser.add_argument("--out", type=Path, default=Path("runs/teaching"))
    parser.add_argument("--only", nargs="+", help="rows; all of them where not given")
    parser.add_argument("--trials", type=Path, default=RECIPES / "trials.toml")
    parser.add_argument("--table", type=Path, help="where not given, teaching.json in --out")
    arguments = parser.parse_args()
    folders = weighted(arguments.data)
    file = arguments.table or arguments.out / "teaching.json"
    table: dict[str, dict[str, float]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    print("| trial | steps | tokens | cosine | hidden | STS-B dev | CLINC150 |\n|---|---|---|---|---|---|---|")
    for row, assignments in config.read_toml(arguments.trials).items():
        if arguments.only and row not in arguments.only:
            continue
        name = "".join(letter if letter.isalnum() else "-" for letter in row)
        r = table[row] = trial(assignments, arguments.student, folders, arguments.out / name)
        print(
            f"| {row} | {r['steps']:,} | {r['tokens'] / 1e6:.2f}M | {r['cosine']:.3f} | {r['hidden']:.3f} | "
            f"{r['sts_b']:.1f} | {r['clinc150']:.1f} |",
            flush=True,
        )
    write_text(file, json.dumps(table, indent=1) + "\n")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
