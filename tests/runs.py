"""Short runs of pre-training, in this process and in others, and how to kill those."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from litebert import config
from litebert.data.batches import DataSettings
from litebert.data.masking import MaskSettings
from litebert.data.pairs import PairSettings
from litebert.train.corpora import TextRunSettings
from litebert.train.hooks import read_metrics
from litebert.train.loop import LoopSettings
from litebert.train.optimizers import OptimizerSettings
from litebert.train.pretrain import PretrainSettings

LOOP = LoopSettings(
    steps=12, precision="fp32", compile=False, checkpoint_every=4, evaluate_every=6, held_out_tokens=2000, log_every=1
)


def settings(folder: Path, **changes: object) -> PretrainSettings:
    """A run of a few seconds; dropout is on, so that its chance must be right too."""
    base = PretrainSettings(
        folders={str(folder): 1.0},
        preset="tiny",
        model={"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1},
        data=DataSettings(batch_size=8, pairs=PairSettings(length=32), masking=MaskSettings(share=0.25)),
        optimizer=OptimizerSettings(name="muon", learning_rate=2e-3),
        loop=LOOP,
    )
    return replace(base, **changes)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def write_recipe(wanted: TextRunSettings, folder: Path) -> Path:
    """Write a recipe that gives these settings."""
    recipe = folder / "recipe.toml"
    recipe.write_text(config.dump(asdict(wanted)))
    return recipe


def start(recipe: Path, run: Path, *, launcher: tuple[str, ...] = (), stage: str = "pretrain") -> subprocess.Popen[str]:
    """Begin a run, or go on with it, in a process of its own."""
    command = [sys.executable, *launcher, "-m", "litebert", stage, "--config", recipe, "--out", run, "--resume"]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.Popen(
        list(map(str, command)), env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def launcher(processes: int = 2, restarts: int = 0) -> tuple[str, ...]:
    """What stands before `-m litebert`: torchrun, on this machine alone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return (
        "-m",
        "torch.distributed.run",
        f"--nproc-per-node={processes}",
        f"--max-restarts={restarts}",
        "--master-addr=127.0.0.1",
        f"--master-port={port}",
        "--monitor-interval=0.1",
    )


def lines(run: Path) -> int:
    """How many lines of metrics there are."""
    return len(read_metrics(run)) if (run / "metrics.jsonl").exists() else 0


def writes_checkpoint(run: Path) -> bool:
    """Whether a checkpoint is being written, or was when the run was killed."""
    return any((run / "checkpoints").glob(".step-*.partial"))


def kill(process: subprocess.Popen[str], run: Path, chance: random.Random, *, while_writing: bool) -> bool:
    """Send SIGKILL once the metrics have grown: at some moment, or while a checkpoint is being written.

    Returns false if the run came to its end before.
    """
    before, grown, moment = lines(run), 0.0, chance.uniform(0, 0.4)
    while process.poll() is None:
        now = time.monotonic()
        grown = grown or (now if lines(run) > before else 0.0)
        if grown and (writes_checkpoint(run) if while_writing else now - grown > moment):
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return True
        time.sleep(0 if grown else 0.005)
    return False
