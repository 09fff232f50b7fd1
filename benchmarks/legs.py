"""The legs in which a model was taught, as one story: a table, and curves over all minutes.

    python benchmarks/legs.py runs/small-1 runs/small-2 [...] [--out docs/small]

Reads the folders of the runs of `litebert distill` in their order; writes OUT.json and OUT.png, and prints the table.
Legs of other folders that OUT.json has already come before them, so that their runs need not be kept.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from curves import draw_legs

from litebert.train.hooks import read_metrics
from litebert.train.record import read_run

MEASURED = ("cosine", "hidden", "sts_b", "clinc150")
TITLES = {
    "cosine": "Cosine to the teacher's sentence vectors",
    "sts_b": "STS-B dev, Spearman",
    "clinc150": "CLINC150, 10 shots, %",
}
"""Panels of the plot."""


def leg(run: Path, minutes: float) -> dict[str, Any]:
    """What one run came to; minutes: of one core, those of the legs before it."""
    lines, environment = read_metrics(run), read_run(run).environment
    cores = environment["threads"] * environment["processes"]
    train = [line for line in lines if line["kind"] == "train"]
    held_out = [line for line in lines if line["kind"] == "held_out"]
    return {
        "run": run.name,
        "steps": held_out[-1]["step"],
        "tokens": train[-1]["tokens"],
        "minutes": cores * train[-1]["time"] / 60,
        "cores": cores,
        "tokens_per_second": statistics.median(line["tokens_per_second"] for line in train[1:]),
        "curve": [
            {"minutes": minutes + cores * line["time"] / 60} | {name: line[name] for name in MEASURED}
            for line in held_out
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("docs/small"))
    arguments = parser.parse_args()
    record: Path = arguments.out.with_suffix(".json")
    before = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else []
    legs: list[dict[str, Any]] = [one for one in before if one["run"] not in {run.name for run in arguments.runs}]
    for run in arguments.runs:
        legs.append(leg(run, sum(one["minutes"] for one in legs)))
    print("| leg | steps | tokens | minutes of one core | tokens/s | cosine | STS-B dev | CLINC150 |")
    print("|---|---|---|---|---|---|---|---|")
    for number, one in enumerate(legs):
        last = one["curve"][-1]
        print(
            f"| {number + 1} | {one['steps']:,} | {one['tokens'] / 1e6:.1f}M | {one['minutes']:.0f} | "
            f"{one['tokens_per_second']:,.0f} | {last['cosine']:.3f} | {last['sts_b']:.1f} | {last['clinc150']:.1f} |"
        )
    lines = [(f"leg {number}", one["curve"]) for number, one in enumerate(legs, 1)]
    draw_legs(lines, ("minutes", "minutes of one core"), TITLES, arguments.out.with_suffix(".png"))
    record.write_text(json.dumps(legs, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
