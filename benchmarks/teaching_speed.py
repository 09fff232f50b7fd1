"""How fast a student is taught, and what share that is of the machine's matrix products alone.

    litebert compress all-MiniLM-L6-v2 --out runs/small-start --start average
    python benchmarks/teaching_speed.py runs/small-start --data DIR[=WEIGHT] ... [--recipe FILE]

Whole steps: making the batch, the teacher's forward pass, the student's forward and backward, clipping, optimizer.
Useful arithmetic is that of the encoders on real tokens: the student's three times (forward, and twice as much
backward), the teacher's once; losses and optimizer count as nothing. Nothing else should run. Beside steps of full
sequences, steps of spread lengths: padded inside attention in bands, as they are, and in one rectangle. Ends with one
JSON line.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from litebert import config
from litebert.bench.race import Contestant, matrix_ceiling, race
from litebert.console import progress
from litebert.data.batches import BatchStream, DataSettings
from litebert.data.catalog import find_model
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.interop.huggingface import load_model
from litebert.model.config import AlbertConfig
from litebert.model.device import autocast
from litebert.model.plan import plan
from litebert.text.tokenizer import load_tokenizer
from litebert.train.corpora import training_source, weighted
from litebert.train.distill import DistillSettings
from litebert.train.optimizers import build_optimizer
from litebert.train.parallel import World
from litebert.train.teaching import Student, TeachingObjective


class OneRectangle(DataSettings):
    """Spread lengths as they would be padded without bands."""

    def bands(self, parts: int) -> tuple[tuple[int, int], ...]:
        """None."""
        return ()


def kinds(data: DataSettings, sizes: list[int]) -> dict[str, DataSettings]:
    """What is measured, by name."""
    length, first = data.pairs.length, sizes[0]
    full = replace(data, pairs=replace(data.pairs, spread=False))
    spread = replace(data, batch_size=first, pairs=replace(data.pairs, spread=True))
    flat = OneRectangle(**{name: getattr(spread, name) for name in asdict(spread)})
    return {f"{size} x {length} tokens": replace(full, batch_size=size) for size in sizes} | {
        f"{first} x {length} tokens, lengths spread, in bands": spread,
        f"{first} x {length} tokens, lengths spread, in one rectangle": flat,
    }


def forward_flops(shape: AlbertConfig, length: int, mean: float) -> float:
    """Of the encoder, a token; mean: the length of the sequence that a token is in, averaged over tokens."""
    flops = plan(shape, length=length, batch_size=1).flops
    return flops.linear + flops.attention * mean / length


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", type=Path)
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR[=WEIGHT]")
    parser.add_argument("--recipe", type=Path, default=Path("recipes/small/leg-1.toml"))
    parser.add_argument("--batch-size", type=int, nargs="+", default=[24, 64])
    arguments = parser.parse_args()
    folders = weighted(arguments.data)
    base = replace(config.build(DistillSettings, config.read_toml(arguments.recipe)), folders=folders)
    tokenizer = load_tokenizer(Path(next(iter(folders))) / TOKENIZER_FOLDER)
    device = torch.device("cpu")
    teacher = load_model(find_model(base.teacher), ())
    contestants, means = [], {}
    for name, data in kinds(base.data, arguments.batch_size).items():
        settings = replace(base, data=data)
        model = load_model(arguments.student, ())
        student = Student(model, teacher.config)
        objective = TeachingObjective(
            student,
            teacher,
            settings.data,
            settings.teaching,
            lambda: autocast("bf16", device),
            compiled=True,
            world=World(),
        )
        optimizer = build_optimizer(student, settings.optimizer)
        batches = iter(BatchStream(training_source(settings, tokenizer, 1)))

        def step(name=name, objective=objective, optimizer=optimizer, batches=batches, student=student) -> int:  # type: ignore[no-untyped-def]
            batch = next(batches)
            sizes = np.diff(batch.cu_seqlens)
            means[name] = float((sizes**2).sum() / sizes.sum())
            read = objective.backward(batch)
            torch.nn.utils.clip_grad_norm_(student.parameters(), base.optimizer.clip)
            optimizer.step()
            optimizer.zero_grad()
            read()
            return batch.num_tokens

        contestants.append(Contestant(name=name, step=step))
    with progress("teaching", len(contestants) * 6, "turns") as advance:
        speeds = race(contestants, rounds=5, steps=8, device=device, advance=advance)
    length, width = base.data.pairs.length, teacher.config.hidden_size
    inner, tokens = teacher.config.intermediate_size, max(arguments.batch_size) * length
    shapes = [(tokens, width, 3 * width), (tokens, width, width), (tokens, width, inner), (tokens, inner, width)]
    ceiling = matrix_ceiling(shapes, torch.bfloat16, device)
    print(f"{ceiling / 1e9:,.0f} GFLOP/s in matrix products of these shapes alone")
    print("| step | MFLOP a token | tokens/s | GFLOP/s | of the ceiling |\n|---|---|---|---|---|")
    flops = {
        name: 3 * forward_flops(model.config, length, mean) + forward_flops(teacher.config, length, mean)
        for name, mean in means.items()
    }
    for name, speed in speeds.items():
        rate = speed * flops[name]
        print(f"| {name} | {flops[name] / 1e6:.1f} | {speed:,.0f} | {rate / 1e9:,.0f} | {rate / ceiling:.0%} |")
    result = {"threads": torch.get_num_threads(), "flops": flops, "ceiling": ceiling, "tokens_per_second": speeds}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
