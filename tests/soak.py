"""Kill a run again and again, and see whether it ends as if nothing had happened.

    make soak        (python -m tests.soak [--kills 30] [--precision fp32 bf16] [--compile] [--seed 1])

For each precision a run is made twice on the documentation of Python's standard library: once undisturbed, once killed
with SIGKILL at random moments, each time after its metrics have grown, every third time while a checkpoint is being
written. Every kill is a line; then weights, optimizer states and metrics are compared. Exits with 1 where they differ.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from litebert.data.prepare import prepare
from litebert.text.training import train_tokenizer
from litebert.train import checkpoints
from litebert.train.hooks import read_metrics
from litebert.train.pretrain import PretrainSettings
from tests.prose import standard_library
from tests.runs import LOOP, kill, lines, same, settings, start, weights, write_recipe, writes_checkpoint


def make_data(folder: Path) -> Path:
    """Prepare the text that every machine with Python has."""
    prose = standard_library()
    text = folder / "library.jsonl"
    text.write_text("".join(json.dumps({"text": document}) + "\n" for document in prose), encoding="utf-8")
    train_tokenizer(prose, folder / "tokenizer", vocab_size=2000)
    prepare([text], folder / "tokenizer", folder / "data", held_out=0.1, processes=1)
    return folder / "data"


def disturb(recipe: Path, run: Path, kills: int, chance: random.Random) -> int:
    """Start and kill a run, then let it end; returns how many kills there were."""
    done = 0
    while done < kills:
        process = start(recipe, run)
        if not kill(process, run, chance, while_writing=done % 3 == 2):
            print(f"  ended after {done} kills: {process.communicate()[1].strip().splitlines()[-1:]}")
            return done
        done += 1
        where = "in a checkpoint's writing" if writes_checkpoint(run) else "between"
        saved = [checkpoints.step_of(path) for path in checkpoints.saved(run / "checkpoints")]
        print(f"  kill {done:2}: {lines(run):4} lines of metrics, checkpoints {saved}, {where}", flush=True)
    process = start(recipe, run)
    message = process.communicate()[1]
    if process.returncode:
        print(message, file=sys.stderr)
        sys.exit(1)
    return done


def differences(one: Path, other: Path) -> list[str]:
    """What differs between two finished runs: weights, optimizer states, metrics of training."""
    found = [] if same(weights(one), weights(other)) else ["weights"]
    states = [load_file(checkpoints.saved(run / "checkpoints")[-1] / checkpoints.OPTIMIZER) for run in (one, other)]
    found += [] if same(*states) else ["optimizer"]
    names = ("step", "tokens", "loss", "mlm_loss", "mlm_accuracy", "gradient_norm")
    metrics = [
        [tuple(line[name] for name in names) for line in read_metrics(run) if line["kind"] == "train"]
        for run in (one, other)
    ]
    return found + ([] if metrics[0] == metrics[1] else ["metrics"])


def soak(wanted: PretrainSettings, folder: Path, kills: int, seed: int) -> bool:
    """Compare a killed run with an undisturbed one; prints the result."""
    folder.mkdir()
    recipe = write_recipe(wanted, folder)
    undisturbed = start(recipe, folder / "undisturbed")
    undisturbed.communicate()
    begin = time.monotonic()
    done = disturb(recipe, folder / "killed", kills, random.Random(seed))
    found = differences(folder / "undisturbed", folder / "killed")
    verdict = f"differ in {', '.join(found)}" if found else "equal bit by bit: weights, optimizer, metrics"
    print(f"  {done} kills in {time.monotonic() - begin:.0f} s; {wanted.loop.steps} steps; {verdict}", flush=True)
    return not found and done == kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--compile", action="store_true", help="compiled, as runs are by default: a minute a kill")
    parser.add_argument("--steps", type=int, default=25, help="steps of the run for each kill")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(Path(folder))
        good = True
        for precision in arguments.precision:
            print(f"{precision}, {'compiled' if arguments.compile else 'not compiled'}, torch {torch.__version__}")
            steps = arguments.steps * arguments.kills
            loop = replace(LOOP, steps=steps, checkpoint_every=5, evaluate_every=steps)
            loop = replace(loop, precision=precision, compile=arguments.compile)
            good &= soak(settings(data, loop=loop), Path(folder, precision), arguments.kills, arguments.seed)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
