"""How far a head is fitted before the encoder learns with it: trials of the strength of the probe, and none at all.

    LITEBERT_DATA=... python benchmarks/probe.py MODEL [--out runs/probe] [--strengths 0.005 0.05 0.5]

A row is C for each output of the head (litebert/train/probing.py, where the one that is best has its place), a column a
set with few rows: 500 of SST-2, ten examples for each of CLINC150's 150 labels. What counts is the best accuracy on the
dev rows of a run, one number a seed. What is there already is not done again. Prints a table, and one JSON line.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from litebert.data.catalog import find_model
from litebert.exam.material import Caps, prepare_material
from litebert.exam.sets import SETS
from litebert.train import probing
from litebert.train.finetune import finetune
from litebert.train.job import FinetuneSettings

TRIALS = {
    "sst2": (Caps(train=500), FinetuneSettings(epochs=10, learning_rate=5e-5, pooling="mean")),
    "clinc150-10": (Caps(), FinetuneSettings(epochs=20, learning_rate=1e-4, pooling="mean", evaluate_every=5)),
}


def accuracy(model: Path, rows: Path, out: Path, settings: FinetuneSettings, strength: float) -> float:
    """The best on the dev rows, in per cent; strength: 0 stands for no probe."""
    if not out.exists():
        train, dev = (rows / f"{part}.jsonl" for part in ("train", "dev"))
        with patch.object(probing, "STRENGTH", strength):
            finetune("classify", model=model, train=train, dev=dev, out=out, settings=settings)
    report = json.loads((out / "training" / "report.json").read_text(encoding="utf-8"))
    return 100 * float(report["results"][0]["metrics"]["accuracy"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, default=Path("runs/probe"))
    parser.add_argument("--strengths", type=float, nargs="+", default=[0, 0.005, 0.05, 0.5])
    parser.add_argument("--sets", nargs="+", choices=TRIALS, default=list(TRIALS))
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    model, data = find_model(arguments.model), Path(os.environ["LITEBERT_DATA"])
    runs = arguments.out / "".join(letter if letter.isalnum() else "-" for letter in arguments.model).strip("-")
    for name in arguments.sets:
        if not (rows := arguments.out / "data" / name).exists():
            prepare_material(SETS[name], data, rows, TRIALS[name][0], {})
    table: dict[str, dict[str, list[float]]] = {}
    print(f"| C of each output | {' | '.join(SETS[name].title for name in arguments.sets)} |")
    print("|---" * (1 + len(arguments.sets)) + "|")
    for strength in arguments.strengths:
        row = table[f"{strength:g}" if strength else "no probe"] = {}
        for name in arguments.sets:
            row[name] = [
                accuracy(
                    model,
                    arguments.out / "data" / name,
                    runs / f"{name}-{strength:g}-{seed}",
                    replace(TRIALS[name][1], seed=seed, probe=strength > 0),
                    strength,
                )
                for seed in range(1, arguments.seeds + 1)
            ]
        cells = [", ".join(f"{mark:.1f}" for mark in marks) for marks in row.values()]
        print(f"| {list(table)[-1]} | {' | '.join(cells)} |", flush=True)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
