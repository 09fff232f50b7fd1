"""How fast fine-tuning is beside transformers' Trainer: the same weights, rows, batches and rates, in turn, in one run.

    LITEBERT_DATA=... python benchmarks/finetune_speed.py litebert-small [--set sst2|tydiqa] [--rows 2000] [--rounds 3]

One epoch of SST-2, or of TyDiQA's English questions, whose long contexts both read in windows of 384 tokens. Both
compute matrix products in bf16 by autocast, and begin with a head of random weights (litebert's probe is left out);
the Trainer groups rows by length and pads to the longest of a batch (with --compile it compiles too, which pays only in
long trainings). In every round both train with the round's seed,
the order of the two changing; timed is the training, without reading, encoding and judging. Both are judged by litebert
on the same test rows. Nothing else should run. Ends with one JSON line.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from trainer import OVERLAP, WINDOW, train

from litebert.data.catalog import find_model
from litebert.exam.material import Caps, Material, prepare_material
from litebert.exam.sets import SETS
from litebert.infer.judging import judge_model
from litebert.train.finetune import finetune
from litebert.train.job import FinetuneSettings

RATE = 1e-4
BATCHES = {"sst2": 32, "tydiqa": 16}
TEST_ROWS = {"sst2": None, "tydiqa": 200}
"""Most rows that both are judged on, a fixed draw; None: all."""


def ours(name: str, model: Path, material: Material, out: Path, seed: int) -> float:
    """Fine-tune by litebert; returns the seconds of the fit, but for those in which the dev rows are judged."""
    from litebert.train import job

    seconds, fit = [0.0], job.fit

    def timed(model: Any, items: Any, loss: Any, evaluate: Any, **how: Any) -> Any:
        def judge(model: Any) -> Any:
            start = time.perf_counter()
            metrics = evaluate(model)
            seconds[0] -= time.perf_counter() - start
            return metrics

        start = time.perf_counter()
        result = fit(model, items, loss, judge, **how)
        seconds[0] += time.perf_counter() - start
        return result

    windows: dict[str, Any] = {"length": WINDOW, "stride": WINDOW - OVERLAP} if name == "tydiqa" else {}
    settings = FinetuneSettings(
        epochs=1, batch_size=BATCHES[name], learning_rate=RATE, seed=seed, probe=False, **windows
    )
    files = {part: material.file(part) for part in ("train", "dev")}
    job.fit = timed
    try:
        finetune(SETS[name].task, model=model, out=out / "model", settings=settings, **files)
    finally:
        job.fit = fit
    return seconds[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--set", choices=sorted(BATCHES), default="sst2")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    model, one = find_model(arguments.model), SETS[arguments.set]
    metric, scale = one.metrics[0], 1 if one.task == "qa" else 100
    times: dict[str, list[float]] = {"litebert": [], "transformers": []}
    scores: dict[str, list[float]] = {"litebert": [], "transformers": []}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        caps = Caps(train=arguments.rows, test=TEST_ROWS[one.name])
        material = prepare_material(one, Path(os.environ["LITEBERT_DATA"]), folder / one.name, caps, {})
        for seed in range(1, arguments.rounds + 1):
            for name in sorted(times, reverse=seed % 2 == 0):
                out = folder / f"{name}-{seed}"
                if name == "litebert":
                    seconds = ours(one.name, model, material, out, seed)
                else:
                    seconds, _ = train(
                        one,
                        model,
                        material,
                        out,
                        seed=seed,
                        rate=RATE,
                        epochs=1,
                        batch_size=BATCHES[one.name],
                        compiled=arguments.compile,
                    )
                score = scale * judge_model(out / "model", material.file("test"))[metric]
                times[name].append(seconds)
                scores[name].append(score)
                print(f"seed {seed}, {name}: {seconds:.1f} s, {metric} {score:.1f}", flush=True)
    ratio = statistics.median(times["transformers"]) / statistics.median(times["litebert"])
    print(f"| system | seconds, median | {one.title} test, {metric}, mean | deviation |\n|---|---|---|---|")
    for name in times:
        mean, spread = statistics.mean(scores[name]), statistics.stdev(scores[name]) if arguments.rounds > 1 else 0.0
        print(f"| {name} | {statistics.median(times[name]):.1f} | {mean:.1f} | {spread:.1f} |")
    print(f"litebert is {ratio:.2f} times as fast")
    print(json.dumps({"ratio": ratio, "seconds": times, "scores": scores, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
