"""The peak memory of a step of pre-training, measured beside what `litebert plan` predicts.

    python benchmarks/memory.py [--only NAME ...] [--steps 2]

Each configuration is trained in a fresh process, with the real objective on synthetic sequences of full length and a
fresh folder for the compiler's cache; its peak is the process's own largest resident size (VmHWM), all of it. The
optimizer's moments are made first, so that the first step has its full peak; the second shows what freed memory the
allocator does not give back. Linux only. Ends with one JSON line. xxlarge takes many minutes: name it to run it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "tiny": {"preset": "tiny", "length": 64, "batch_size": 32},
    "tiny, eager": {"preset": "tiny", "length": 64, "batch_size": 32, "compiled": False},
    "mini": {"preset": "mini", "length": 64, "batch_size": 64, "optimizer": "muon"},
    "small, fp32, eager": {
        "preset": "small", "length": 128, "batch_size": 8, "precision": "fp32", "compiled": False, "optimizer": "lamb",
    },
    "base": {"preset": "base", "length": 128, "batch_size": 16},
    "base, eager": {"preset": "base", "length": 128, "batch_size": 16, "compiled": False},
    "base, fp32": {"preset": "base", "length": 128, "batch_size": 8, "precision": "fp32"},
    "large, checkpointing, eager": {
        "preset": "large", "length": 128, "batch_size": 8, "compiled": False, "activation_checkpointing": True,
    },
    "xlarge, checkpointing, eager": {
        "preset": "xlarge", "length": 128, "batch_size": 4, "compiled": False, "activation_checkpointing": True,
    },
    "xxlarge, checkpointing": {
        "preset": "xxlarge", "length": 512, "batch_size": 8, "activation_checkpointing": True,
    },
}  # fmt: skip
SLOW = ("xxlarge, checkpointing",)
HOW = ("precision", "compiled", "optimizer", "activation_checkpointing")


def train(settings: dict[str, Any], steps: int) -> dict[str, float]:
    """Take steps in this process, and return its peak in bytes and the seconds of the last step."""
    import numpy as np
    import torch

    import litebert.train.pretrain  # noqa: F401  what a run imports
    from litebert.data.batches import DataSettings, PretrainBatch
    from litebert.data.pairs import PairSettings
    from litebert.model.config import preset
    from litebert.model.device import autocast
    from litebert.model.heads import build_model
    from litebert.train.objective import PretrainObjective
    from litebert.train.optimizers import OptimizerSettings, build_optimizer

    rows, length = settings["batch_size"], settings["length"]
    config = preset(settings["preset"])
    tokens, rng = rows * length, np.random.default_rng(1)
    chosen = np.sort(rng.choice(tokens, round(0.15 * tokens), replace=False))
    batch = PretrainBatch(
        input_ids=rng.integers(5, config.vocab_size, tokens),
        position_ids=np.tile(np.arange(length), rows),
        token_type_ids=np.tile((np.arange(length) > length // 2).astype(np.int64), rows),
        cu_seqlens=(np.arange(rows + 1) * length).astype(np.int32),
        masked_positions=chosen,
        masked_labels=rng.integers(5, config.vocab_size, len(chosen)),
        order_labels=rng.integers(0, 2, rows),
    )
    model = build_model(config, generator=torch.Generator().manual_seed(1))
    model.albert.encoder.activation_checkpointing = settings.get("activation_checkpointing", False)
    optimizer = build_optimizer(model, OptimizerSettings(name=settings.get("optimizer", "adamw")))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.set_factor(0.0)
    optimizer.step()
    optimizer.zero_grad()
    optimizer.set_factor(1e-3)
    objective = PretrainObjective(
        model,
        DataSettings(batch_size=rows, pairs=PairSettings(length=length)),
        lambda: autocast(settings.get("precision", "bf16"), torch.device("cpu")),
        compiled=settings.get("compiled", True),
    )
    model.train()
    seconds = 0.0
    for _ in range(steps):
        start = time.perf_counter()
        objective.backward(batch)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds = time.perf_counter() - start
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {"peak": 1024 * int(status["VmHWM"].split()[0]), "seconds": seconds}


def predict(settings: dict[str, Any]) -> int:
    from litebert.model.config import preset
    from litebert.model.plan import plan

    how = {name: settings[name] for name in HOW if name in settings}
    planned = plan(preset(settings["preset"]), length=settings["length"], batch_size=settings["batch_size"], **how)
    return planned.memory.total


def measure(settings: dict[str, Any], steps: int) -> dict[str, float]:
    """Train in a process of its own."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, "--one", json.dumps(settings), "--steps", str(steps)]
        done = subprocess.run(
            command, env=os.environ | {"TORCHINDUCTOR_CACHE_DIR": cache}, capture_output=True, text=True, check=False
        )
    if done.returncode:
        return {"peak": float("nan"), "seconds": float("nan")}
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=CONFIGURATIONS, help="configurations by name")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(train(json.loads(arguments.one), arguments.steps)))
        return
    rows: dict[str, dict[str, float]] = {}
    for name in arguments.only or [name for name in CONFIGURATIONS if name not in SLOW]:
        settings = CONFIGURATIONS[name]
        measured, predicted = measure(settings, arguments.steps), predict(settings)
        ratio = predicted / measured["peak"]
        rows[name] = {"predicted": predicted, "measured": measured["peak"], "ratio": round(ratio, 3)} | {
            "seconds": round(measured["seconds"], 1)
        }
        print(
            f"{name:30} predicted {predicted / 2**30:6.2f} GiB, measured {measured['peak'] / 2**30:6.2f} GiB, "
            f"ratio {ratio:.3f}, {measured['seconds']:.1f} s a step",
            flush=True,
        )
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
