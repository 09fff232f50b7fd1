"""transformers' Trainer on the rows of an examination: the peer of the benchmarks that fine-tune. Not run by itself."""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from litebert.data.rows import read_rows
from litebert.exam.material import Material
from litebert.exam.sets import ExamSet
from litebert.model.device import multiplies_bf16

WINDOW, OVERLAP = 384, 96
"""Tokens of a window of a context with its question, and of what two windows share."""

Row = dict[str, Any]


class Peer(NamedTuple):
    """A model of transformers, and what it is to learn, encoded."""

    model: Any
    items: list[Row]


def peer(one: ExamSet, tokenizer: Any, rows: list[Row], model: Path) -> Peer:
    """The class of transformers for the task of a set, with a new head, and the encoded rows."""
    makers = {"classify": _classifier, "regress": _regressor, "qa": _reader}
    return makers[one.task](tokenizer, rows, model)


def _encoded(tokenizer: Any, rows: list[Row]) -> list[Row]:
    texts = [str(row["text"]) for row in rows]
    pairs = [str(row["text_pair"]) for row in rows] if "text_pair" in rows[0] else None
    encoded = tokenizer(texts, pairs, truncation=True, max_length=512)
    return [{name: encoded[name][i] for name in encoded} for i in range(len(rows))]


def _classifier(tokenizer: Any, rows: list[Row], model: Path) -> Peer:
    from transformers import AutoModelForSequenceClassification

    labels = sorted({str(row["label"]) for row in rows})
    numbers = {name: i for i, name in enumerate(labels)}
    encoded = zip(_encoded(tokenizer, rows), rows, strict=True)
    items = [item | {"labels": numbers[str(row["label"])]} for item, row in encoded]
    named: Row = {"num_labels": len(labels), "id2label": dict(enumerate(labels)), "label2id": numbers}
    return Peer(AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32, **named), items)


def _regressor(tokenizer: Any, rows: list[Row], model: Path) -> Peer:
    from transformers import AutoModelForSequenceClassification

    encoded = zip(_encoded(tokenizer, rows), rows, strict=True)
    items = [item | {"labels": float(row["value"])} for item, row in encoded]
    named: Row = {"num_labels": 1, "problem_type": "regression"}
    return Peer(AutoModelForSequenceClassification.from_pretrained(model, dtype=torch.float32, **named), items)


def _reader(tokenizer: Any, rows: list[Row], model: Path) -> Peer:
    """Every window is an item, with the answer's first and last token; both [CLS] where the answer is not in there."""
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
    return Peer(AutoModelForQuestionAnswering.from_pretrained(model, dtype=torch.float32), items)


def train(
    one: ExamSet,
    model: Path,
    material: Material,
    out: Path,
    *,
    seed: int,
    rate: float,
    epochs: float,
    batch_size: int,
    keep_epochs: bool = False,
    compiled: bool = False,
) -> tuple[float, list[Path]]:
    """Fine-tune on the training rows; returns the seconds of `Trainer.train`, and the folders of the states: that of
    every epoch, or that of the end alone."""
    from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments

    tokenizer = AutoTokenizer.from_pretrained(model)
    torch.manual_seed(seed)
    made = peer(one, tokenizer, [fields for _, fields in read_rows(material.file("train"))], model)
    arguments = TrainingArguments(
        output_dir=str(out / "epochs"),
        num_train_epochs=epochs,
        per_device_train_batch_size=batch_size,
        learning_rate=rate,
        warmup_steps=0.1,
        weight_decay=0.01,
        train_sampling_strategy="group_by_length",
        bf16=multiplies_bf16(torch.device("cpu")),
        use_cpu=True,
        torch_compile=compiled,
        seed=seed,
        save_strategy="epoch" if keep_epochs else "no",
        save_only_model=True,
        report_to="none",
        disable_tqdm=True,
        logging_strategy="no",
    )
    collate = DataCollatorWithPadding(tokenizer)
    trainer = Trainer(model=made.model, args=arguments, train_dataset=made.items, data_collator=collate)
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    if not keep_epochs:
        made.model.save_pretrained(out / "model")
    folders = sorted((out / "epochs").glob("checkpoint-*")) if keep_epochs else [out / "model"]
    for folder in folders:
        tokenizer.save_pretrained(folder)
        if one.task == "qa":  # so that it is judged in the windows that it was taught in
            windows = {"length": WINDOW, "stride": WINDOW - OVERLAP}
            (folder / "litebert.json").write_text(json.dumps({"extra": windows}), encoding="utf-8")
    return seconds, folders
