"""A model that was pre-trained from raw text in legs: its curve, its speed, and held-out text source by source.

    python benchmarks/scratch.py runs/trunk runs/cut [...] [--out docs/scratch]

Reads the folders of the runs of `litebert pretrain` in their order, the last one the run whose model is judged: on the
held-out documents of all folders that it learnt from, as `litebert evaluate --model RUN/model --data FOLDER` does.
Writes OUT.json and OUT.png, prints the tables of the model's card, and ends with one JSON line. Losses are in nats;
those of the curve are of the masks and the length of the training, those of the table of what `evaluate` asks every
model.
"""

import argparse
import json
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from curves import draw_legs

from litebert import config
from litebert.data.shards import open_corpus
from litebert.infer.judging import judge_model
from litebert.train.corpora import count_pieces, entropy
from litebert.train.hooks import read_metrics
from litebert.train.pretrain import PretrainSettings
from litebert.train.record import read_run

WEIGHTS = {
    "mlm_loss": "masked_tokens",
    "mlm_accuracy": "masked_tokens",
    "unigram_loss": "masked_tokens",
    "order_accuracy": "pairs",
}
"""What each mean is over."""

TITLES = {
    "mlm_loss": "Masked words, held-out loss in nats",
    "mlm_accuracy": "Masked words, held-out accuracy",
    "order_accuracy": "Sentence order, held-out accuracy",
}
"""Panels of the plot."""


def branched(run: Path) -> int | None:
    """The step of another run that a run begins with; None where it begins by itself."""
    for line in read_metrics(run):
        if line.get("what") == "branched":
            return int(line["detail"].split()[3].replace(",", ""))
    return None


def leg(run: Path, before: int, last: int | None) -> dict[str, Any]:
    """What one run came to, up to the step `last` if it was gone on with later; before: the tokens before it."""
    lines, environment = read_metrics(run), read_run(run).environment
    lines = [line for line in lines if last is None or line["step"] <= last]
    train = [line for line in lines if line["kind"] == "train"]
    names = ("mlm_loss", "mlm_accuracy", "order_accuracy")
    return {
        "run": run.name,
        "steps": lines[-1]["step"],
        "tokens": lines[-1]["tokens"],
        "tokens_before": before,
        "minutes": lines[-1]["time"] / 60,
        "cores": environment["threads"] * environment["processes"],
        "tokens_per_second": statistics.median(line["tokens_per_second"] for line in train[1:] or train),
        "curve": [
            {"tokens": before + line["tokens"]} | {name: line[name] for name in names}
            for line in lines
            if line["kind"] == "held_out"
        ],
    }


def by_source(model: Path, folders: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Held-out figures of every source of every folder; those that differ by a number at the end are one source."""
    files: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for folder in folders:
        for name, metrics in judge_model(model, folder)["sources"].items():
            files[re.sub(r"-\d+$", "", name)].append(metrics)
    return {name: together(of_source) for name, of_source in files.items()} | {
        "all": together([*chain(*files.values())])
    }


def together(files: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over all masked words, and all pairs, of several files."""
    total = {name: sum(file[name] for file in files) for name in ("documents", "tokens", "masked_tokens", "pairs")}
    means = {
        name: sum(file[name] * file[weight] for file in files if name in file) / total[weight]
        for name, weight in WEIGHTS.items()
        if total[weight]
    }
    return means | total


def table(found: dict[str, dict[str, Any]]) -> str:
    """A row a source, in Markdown."""
    lines = [
        "| held-out text | documents | masked words' loss | under the unigram loss | accuracy | sentence order |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        order = f"{row['order_accuracy']:.1%} of {row['pairs']:,}" if row["pairs"] else ""
        lines.append(
            f"| {name} | {row['documents']:,} | {row['mlm_loss']:.3f} | {row['unigram_loss'] - row['mlm_loss']:.2f} | "
            f"{row['mlm_accuracy']:.1%} | {order} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("docs/scratch"))
    arguments = parser.parse_args()
    legs: list[dict[str, Any]] = []
    for run, after in zip(arguments.runs, [*arguments.runs[1:], None], strict=True):
        legs.append(leg(run, sum(one["tokens"] for one in legs), branched(after) if after else None))
    last: Path = arguments.runs[-1]
    settings = config.build(PretrainSettings, config.read_toml(last / "config.toml"))
    folders = [Path(folder) for folder in settings.folders]
    corpora = [open_corpus(folder) for folder in folders]
    unigram = entropy(count_pieces([corpus.split("train") for corpus in corpora], corpora[0].vocab_size))
    levels = {"mlm_loss": (f"unigram entropy {unigram:.2f}", unigram), "order_accuracy": ("chance", 0.5)}
    lines = [(one["run"], [point | {"millions": point["tokens"] / 1e6} for point in one["curve"]]) for one in legs]
    along, ranges = ("millions", "million tokens"), {"order_accuracy": (0.4, 1.0)}
    draw_legs(lines, along, TITLES, arguments.out.with_suffix(".png"), levels, ranges)
    print("| run | steps | million tokens | minutes | cores | tokens/s |\n|---|---|---|---|---|---|")
    for one in legs:
        print(
            f"| {one['run']} | {one['steps']:,} | {one['tokens'] / 1e6:.1f} | {one['minutes']:.0f} | {one['cores']} | "
            f"{one['tokens_per_second']:,.0f} |"
        )
    found = by_source(last / "model", folders)
    print(f"\n{table(found)}\n")
    result = {"unigram_entropy": unigram, "runs": legs, "held_out": found}
    arguments.out.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
