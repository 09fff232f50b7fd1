"""How fast fine-tuning is beside transformers' Trainer: the same weights, rows, batches and rates, in turn, in one run.

    LITEBERT_DATA=... python benchmarks/finetune_speed.py litebert-small [--rows 2000] [--rounds 3] [--compile]

SST-2, one epoch. Both compute matrix products in bf16 by autocast; the Trainer groups rows by length and pads to the
longest of a batch (with --compile it compiles too, which pays only in long trainings). In every round both train with
the round's seed, the order of the two changing; timed are the steps alone, without reading, encoding and judging. Both
are judged by litebert on all dev rows. Nothing else should run. Ends with one JSON line.
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

from litebert.data.catalog import find_model
from litebert.data.rows import read_rows, write_rows
from litebert.infer.predictor import evaluate_model
from litebert.train.finetune import finetune
from litebert.train.fit import subset
from litebert.train.job import FinetuneSettings
from litebert.train.loop import multiplies_bf16

BATCH, RATE = 32, 1e-4


def ours(model: Path, train: Path, dev: Path, out: Path, seed: int) -> tuple[float, float]:
    """Seconds of the steps, and dev accuracy."""
    from litebert.train import fit

    seconds = [0.0]
    step = fit.take_step

    def timed(*arguments: Any) -> float:
        start = time.perf_counter()
        loss = step(*arguments)
        seconds[0] += time.perf_counter() - start
        return loss

    fit.take_step = timed
    settings = FinetuneSettings(epochs=1, batch_size=BATCH, learning_rate=RATE, seed=seed, precision="auto")
    finetune("classify", model=model, train=train, dev=dev, out=out, settings=settings)
    fit.take_step = step
    return seconds[0], 100 * evaluate_model(out, dev)["accuracy"]


def trainers(model: Path, train: Path, dev: Path, out: Path, seed: int, *, compiled: bool) -> tuple[float, float]:
    """The same of transformers."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = [fields for _, fields in read_rows(train)]
    encoded = tokenizer([str(row["sentence"]) for row in rows], truncation=True, max_length=512)
    items = [
        {
            "input_ids": encoded["input_ids"][i],
            "attention_mask": encoded["attention_mask"][i],
            "labels": int(row["label"]),
        }
        for i, row in enumerate(rows)
    ]
    torch.manual_seed(seed)
    named: dict[str, Any] = {"id2label": {0: "0", 1: "1"}, "label2id": {"0": 0, "1": 1}}
    peer = AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32, **named)
    arguments = TrainingArguments(
        output_dir=str(out / "run"),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        warmup_steps=0.1,
        weight_decay=0.01,
        train_sampling_strategy="group_by_length",
        bf16=multiplies_bf16(torch.device("cpu")),
        use_cpu=True,
        torch_compile=compiled,
        seed=seed,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_strategy="no",
    )
    trainer = Trainer(model=peer, args=arguments, train_dataset=items, data_collator=DataCollatorWithPadding(tokenizer))
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    peer.save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    return seconds, 100 * evaluate_model(out / "model", dev)["accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    model, data = find_model(arguments.model), Path(os.environ["LITEBERT_DATA"]) / "glue" / "SST-2"
    rows = [fields for _, fields in read_rows(data / "train.tsv")]
    times: dict[str, list[float]] = {"litebert": [], "transformers": []}
    scores: dict[str, list[float]] = {"litebert": [], "transformers": []}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        train = folder / "train.tsv"
        write_rows((rows[i] for i in subset(len(rows), arguments.rows, 1)), train)
        for seed in range(1, arguments.rounds + 1):
            for name in sorted(times, reverse=seed % 2 == 0):
                out = folder / f"{name}-{seed}"
                if name == "litebert":
                    seconds, score = ours(model, train, data / "dev.tsv", out, seed)
                else:
                    seconds, score = trainers(model, train, data / "dev.tsv", out, seed, compiled=arguments.compile)
                times[name].append(seconds)
                scores[name].append(score)
                print(f"seed {seed}, {name}: {seconds:.1f} s, dev accuracy {score:.1f}", flush=True)
    ratio = statistics.median(times["transformers"]) / statistics.median(times["litebert"])
    print("| system | seconds, median | SST-2 dev, mean | deviation |\n|---|---|---|---|")
    for name in times:
        mean, spread = statistics.mean(scores[name]), statistics.stdev(scores[name]) if arguments.rounds > 1 else 0.0
        print(f"| {name} | {statistics.median(times[name]):.1f} | {mean:.1f} | {spread:.1f} |")
    print(f"litebert is {ratio:.2f} times as fast")
    print(json.dumps({"ratio": ratio, "seconds": times, "scores": scores, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
