"""Checkpoints of a run: all that is needed to go on as if nothing had happened.

`checkpoints/step-N/` holds `weights.safetensors`, `optimizer.safetensors` and `manifest.json` (step, place in the
data, environment, hash of each file). It is written under another name, synced to disk and renamed, so that what bears
the name is whole; hashes tell damage done later, and the checkpoint before is used then.
"""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from litebert.console import log
from litebert.data.batches import StreamState
from litebert.errors import CheckpointError
from litebert.files import new_folder, sha256
from litebert.train.optimizers import Combined

WEIGHTS, OPTIMIZER, MANIFEST = "weights.safetensors", "optimizer.safetensors", "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is."""

    step: int = 0
    """Steps done."""
    tokens: int = 0
    """Tokens read, special ones included."""
    seconds: float = 0.0
    """Time spent in steps, in all sessions of the run."""
    data: StreamState = field(default_factory=StreamState)
    """The next sequence to be read."""


def environment() -> dict[str, str | int]:
    """Return what a run's bits depend on, besides its settings."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def save(folder: Path, model: nn.Module, optimizer: Combined, progress: Progress, keep: int) -> Path:
    """Write a checkpoint under `folder`, then remove all but the newest `keep`."""
    path = folder / f"step-{progress.step}"
    with new_folder(path) as new:
        save_file(unique_parameters(model), new / WEIGHTS)
        save_file(optimizer.state(), new / OPTIMIZER)
        manifest = {
            "format": 1,
            "progress": asdict(progress) | {"data": progress.data._asdict()},
            "environment": environment(),
            "sha256": {name: sha256(new / name) for name in (WEIGHTS, OPTIMIZER)},
        }
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for old in saved(folder)[:-keep]:
        shutil.rmtree(old)
    return path


def saved(folder: Path) -> list[Path]:
    """Return the checkpoints under `folder`, oldest first."""
    found = [p for p in folder.glob("step-*") if p.name.removeprefix("step-").isdigit()]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step-")))


def restore(folder: Path, model: nn.Module, optimizer: Combined) -> Progress | None:
    """Load the newest whole checkpoint; None where there is none. Damaged ones are named and passed over.

    Raises CheckpointError if checkpoints are there but none is whole.
    """
    paths = saved(folder)
    for path in reversed(paths):
        try:
            manifest = verify(path)
        except CheckpointError as error:
            log(f"warning: {error}")
            continue
        _load_parameters(model, load_file(path / WEIGHTS), path)
        optimizer.load_state(load_file(path / OPTIMIZER))
        changed = [
            f"{key} was {then}, is {environment()[key]}"
            for key, then in manifest["environment"].items()
            if key in environment() and environment()[key] != then
        ]
        if changed:
            log(f"warning: resumed run is not bit-exact: {'; '.join(changed)}")
        values = manifest["progress"]
        return Progress(**values | {"data": StreamState(**values["data"])})
    if paths:
        raise CheckpointError(f"{folder}: no checkpoint is whole; start again in another folder")
    return None


def verify(path: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint whose files are what they were when written, else raise CheckpointError."""
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        damaged = [name for name, digest in manifest["sha256"].items() if sha256(path / name) != digest]
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); the checkpoint before it is used") from None
    if damaged:
        raise CheckpointError(f"{path} is damaged ({', '.join(damaged)}); the checkpoint before it is used")
    return manifest


def unique_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Return each parameter once, by its first name: a shared block is stored once."""
    return {name: parameter.detach().cpu().contiguous() for name, parameter in model.named_parameters()}


def _load_parameters(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    own = dict(model.named_parameters())
    if own.keys() != tensors.keys() or any(own[name].shape != tensor.shape for name, tensor in tensors.items()):
        raise CheckpointError(f"{path} belongs to a model of another shape; use the settings of its run")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
