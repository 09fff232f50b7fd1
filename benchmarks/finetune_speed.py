"""How fast fine-tuning is beside transformers' Trainer: the same weights, rows, batches and rates, in turn, in one run.

    LITEBERT_DATA=... python benchmarks/finetune_speed.py litebert-small [--set sst2|tydiqa] [--rows 2000] [--rounds 3]

One epoch of SST-2, or of TyDiQA's English questions, whose long contexts both read in windows of 384 tokens. Both
compute matrix products in bf16 by autocast; the Trainer groups rows by length and pads to the longest of a batch
(with --compile it compiles too, which pays only in long trainings). In every round both train with the round's seed,
the order of the two changing; timed are the steps alone, without reading, encoding and judging. Both are judged by
litebert on all test rows. Nothing else should run. Ends with one JSON line.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from litebert.data.catalog import find_model
from litebert.data.rows import read_rows
from litebert.exam.material import Caps, Material, prepare_material
from litebert.exam.sets import SETS
from litebert.infer.predictor import evaluate_model
from litebert.train.finetune import finetune
from litebert.train.job import FinetuneSettings
from litebert.train.loop import multiplies_bf16

RATE = 1e-4
BATCHES = {"sst2": 32, "tydiqa": 16}
WINDOW, OVERLAP = 384, 96
"""Tokens of a window of a context with its question, and of what two windows share."""


def ours(name: str, model: Path, material: Material, out: Path, seed: int) -> float:
    """Fine-tune by litebert; returns the seconds of the steps."""
    from litebert.train import fit

    seconds = [0.0]
    step = fit.take_step

    def timed(*arguments: Any) -> float:
        start = time.perf_counter()
        loss = step(*arguments)
        seconds[0] += time.perf_counter() - start
        return loss

    fit.take_step = timed
    windows: dict[str, Any] = {"length": WINDOW, "stride": WINDOW - OVERLAP} if name == "tydiqa" else {}
    settings = FinetuneSettings(epochs=1, batch_size=BATCHES[name], learning_rate=RATE, seed=seed, **windows)
    finetune(
        SETS[name].task,
        model=model,
        train=material.file("train"),
        dev=material.file("dev"),
        out=out / "model",
        settings=settings,
    )
    fit.take_step = step
    return seconds[0]


def classified(tokenizer: Any, rows: list[dict[str, Any]], model: Path) -> tuple[Any, list[dict[str, Any]]]:
    """transformers' classifier, and its items."""
    from transformers import AutoModelForSequenceClassification

    labels = sorted({str(row["label"]) for row in rows})
    numbers = {name: i for i, name in enumerate(labels)}
    encoded = tokenizer([str(row["text"]) for row in rows], truncation=True, max_length=512)
    items = [
        {name: encoded[name][i] for name in encoded} | {"labels": numbers[str(row["label"])]}
        for i, row in enumerate(rows)
    ]
    named: dict[str, Any] = {
        "id2label": dict(enumerate(labels)),
        "label2id": {name: i for i, name in enumerate(labels)},
    }
    peer = AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32, **named)
    return peer, items


def answered(tokenizer: Any, rows: list[dict[str, Any]], model: Path) -> tuple[Any, list[dict[str, Any]]]:
    """transformers' reader, and its items: every window with the answer's tokens, [CLS] where it is not in there."""
    from transformers import AutoModelForQuestionAnswering

    encoded = tokenizer(
        [str(row["question"]).strip() for row in rows],
        [str(row["context"]) for row in rows],
        truncation="only_second",
        max_length=WINDOW,
        stride=OVERLAP,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    items = []
    for window, offsets in enumerate(encoded["offset_mapping"]):
        answer = rows[encoded["overflow_to_sample_mapping"][window]]["answers"][0]
        begin, end = answer["answer_start"], answer["answer_start"] + len(answer["text"])
        inside = [i for i, part in enumerate(encoded.sequence_ids(window)) if part == 1]
        first, last = 0, 0
        if inside and offsets[inside[0]][0] <= begin and offsets[inside[-1]][1] >= end:
            first = next(i for i in inside if offsets[i][1] > begin)
            last = next(i for i in reversed(inside) if offsets[i][0] < end)
        fields = {name: encoded[name][window] for name in ("input_ids", "token_type_ids", "attention_mask")}
        items.append(fields | {"start_positions": first, "end_positions": last})
    return AutoModelForQuestionAnswering.from_pretrained(model, dtype=torch.float32), items


PEERS: dict[str, Callable[..., tuple[Any, list[dict[str, Any]]]]] = {"sst2": classified, "tydiqa": answered}


def trainers(name: str, model: Path, material: Material, out: Path, seed: int, *, compiled: bool) -> float:
    """The same by transformers."""
    from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments

    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = [fields for _, fields in read_rows(material.file("train"))]
    torch.manual_seed(seed)
    peer, items = PEERS[name](tokenizer, rows, model)
    arguments = TrainingArguments(
        output_dir=str(out / "run"),
        num_train_epochs=1,
        per_device_train_batch_size=BATCHES[name],
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
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--set", choices=sorted(PEERS), default="sst2")
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
        caps = Caps(train=arguments.rows)
        material = prepare_material(one, Path(os.environ["LITEBERT_DATA"]), folder / one.name, caps, {})
        for seed in range(1, arguments.rounds + 1):
            for name in sorted(times, reverse=seed % 2 == 0):
                out = folder / f"{name}-{seed}"
                if name == "litebert":
                    seconds = ours(one.name, model, material, out, seed)
                else:
                    seconds = trainers(one.name, model, material, out, seed, compiled=arguments.compile)
                score = scale * evaluate_model(out / "model", material.file("test"))[metric]
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
