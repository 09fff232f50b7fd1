"""Opinions written for these tests, and small models to teach them to."""

import csv
import json
from pathlib import Path

import torch

from litebert.interop.huggingface import save_model
from litebert.model.config import preset
from litebert.model.heads import build_model
from litebert.text.tokenizer import Tokenizer

GOOD = """
The soup was hot and the bread was fresh; I would go back tomorrow.
A film that made me laugh, then cry, then call my mother.
They answered within the hour and mended it for nothing.
Bright room, quiet street, and a kind word every morning.
The second half is wonderful, and the ending is better still.
My daughter loved the puppets and asked to see them again.
Good boots: two winters on and still dry.
What a lovely voice, and what a fine band behind her.
The book is clear, honest and never dull.
Fresh fish, friendly people, fair prices.
The battery lasts for days and the screen is a joy.
I have rarely slept so well in a strange bed.
A warm and clever play with not one wasted line.
The guide knew every stone and told it with love.
Easy to build, pleasant to look at, and it does not wobble.
Best coffee in the town, and the cake is lovely too.
"""

BAD = """
The soup was cold and the bread was stale; never again.
A film that bored me, then annoyed me, then put me to sleep.
They let me wait three weeks and then lost the parcel.
Dark room, noisy street, and a rude man at the desk.
The second half is awful, and the ending is worse.
My daughter hated the puppets and wanted to go home.
Bad boots: wet feet on the very first day.
What a dreadful noise, and what a sad little band.
The book is muddled, false and terribly dull.
Old fish, grumpy people, shameless prices.
The battery is dead by noon and the screen is a mess.
I have rarely slept so badly in a clean bed.
A cold and stupid play with hardly one good line.
The guide knew nothing and mumbled it without love.
Hard to build, ugly to look at, and it wobbles.
Worst coffee in the town, and the cake is stale too.
"""

ROWS: list[dict[str, str]] = [
    {"text": text, "label": label}
    for pair in zip(GOOD.strip().splitlines(), BAD.strip().splitlines(), strict=True)
    for text, label in zip(pair, ("good", "bad"), strict=True)
]


def write_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write rows as a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def small_model(
    folder: Path, tokenizer: Tokenizer, heads: tuple[str, ...] = ("masked_lm", "sentence_order"), **fields: object
) -> Path:
    """Save a model of random weights that are large enough to tell texts apart; biases are not zero."""
    shape = {"hidden_size": 64, "embedding_size": 32, "intermediate_size": 128, "initializer_range": 0.1}
    shape |= {"max_position_embeddings": 64, "vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.pad_id}
    shape |= {"bos_token_id": tokenizer.cls_id, "eos_token_id": tokenizer.sep_id}
    generator = torch.Generator().manual_seed(7)
    model = build_model(preset("tiny", **shape | fields), heads, generator=generator)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.1, generator=generator)
    save_model(model, folder, tokenizer)
    return folder
