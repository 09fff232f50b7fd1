"""Domain adaptation: a pre-trained model goes on with film reviews, some general text mixed in against forgetting.

    LITEBERT_DATA=... python benchmarks/adapt.py runs/mini runs/data [--steps 2000] [--out runs/adapt]

Prepares the texts of $LITEBERT_DATA/imdb/train.jsonl.xz with the run's tokenizer, then goes on from the run's model
twice: with reviews alone, and with one part of general text (the folder the model was pre-trained on) to three of
reviews. Prints masked-token loss and accuracy on held-out documents of both before and after; ends with one JSON line.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

from litebert import config
from litebert.data.prepare import prepare
from litebert.train.hooks import read_metrics
from litebert.train.pretrain import PretrainSettings, pretrain

RATE_FACTOR = 0.3
"""Of the rate of pre-training."""


def held_out(
    run: Path, settings: PretrainSettings, folders: dict[str, float], steps: int, factor: float = RATE_FACTOR
) -> dict[str, float]:
    """Go on from the run's model, unless that was done before; returns the last look at held-out text."""
    data, optimizer = settings.data, settings.optimizer
    wanted = replace(
        settings,
        folders=folders,
        init=str(settings.init),
        model={},
        data=data,
        optimizer=replace(optimizer, learning_rate=factor * optimizer.learning_rate),
        schedule=replace(settings.schedule, name="linear", warmup=0.05),
        loop=replace(settings.loop, steps=steps, evaluate_every=steps, checkpoint_every=steps),
    )
    pretrain(wanted, run, resume=True)
    (*_, last) = [line for line in read_metrics(run) if line["kind"] == "held_out"]
    return {key: value for key, value in last.items() if "/" in key}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("runs/adapt"))
    arguments = parser.parse_args()
    reviews = arguments.out / "reviews"
    if not (reviews / "index.json").exists():
        texts = Path(os.environ["LITEBERT_DATA"], "imdb", "train.jsonl.xz")
        prepare([texts], arguments.run / "model", reviews, held_out=0.02)
    read = config.build(PretrainSettings, config.read_toml(arguments.run / "config.toml"))
    settings = replace(read, init=str(arguments.run / "model"), unigram_bias=False)
    both = {str(reviews): 3.0, str(arguments.data): 1.0}
    rows = {
        "before": held_out(arguments.out / "before", settings, both, 1, 1e-9),
        "reviews and general text, 3 : 1": held_out(arguments.out / "mixed", settings, both, arguments.steps),
        "reviews alone": held_out(
            arguments.out / "alone", settings, both | {str(arguments.data): 1e-9}, arguments.steps
        ),
    }
    for name, metrics in rows.items():
        print(f"{name:32} " + ", ".join(f"{key} {value:.3f}" for key, value in sorted(metrics.items())))
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
