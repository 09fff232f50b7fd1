"""Checkpoints of a run: all that is needed to go on as if nothing had happened.

`checkpoints/step-N/` holds `weights.safetensors`, `optimizer.safetensors` and `manifest.json` (step, place in the
data, environment, hash of each file). It is written under another name, synced to disk and renamed, so that what bears
the name is whole; hashes tell damage done later, and the checkpoint before is used then.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

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
    skipped: tuple[int, ...] = ()
    """Windows of the data that are left out, since the run diverged on them."""
    rollbacks: int = 0
    """How often it did."""
    losses: tuple[float, ...] = ()
    """Of the last steps, for noticing a divergence."""
    far: int = 0
    """How many losses in a row, until now, look like one."""
    calm_step: int = 0
    """The last step before those."""
    calm_window: int = 0
    """Of the data, where that step ended."""
    earlier_steps: int = 0
    """Done before this run: by the one that it branched off, up to there, and by the model that it began with."""
    earlier_tokens: int = 0
    """Read in those."""

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Progress":
        """Read what `asdict` and JSON made of one."""
        lists = {"skipped": tuple(values["skipped"]), "losses": tuple(values["losses"])}
        return cls(**values | lists | {"data": StreamState(*values["data"])})


Environment = dict[str, str | int]
"""What a run's bits depend on, besides its settings."""

Note = Callable[[str, str], None]
"""Told of an incident: what, in one word, and a sentence."""


class Manifest(NamedTuple):
    """What a checkpoint says of itself."""

    progress: Progress
    environment: Environment
    data: list[str]


def environment() -> Environment:
    """Return what results depend on wherever torch computes: its version, threads and the processor's instructions."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def save(
    folder: Path,
    model: nn.Module,
    optimizer: Combined,
    progress: Progress,
    *,
    keep: int,
    environment: Environment,
    data: list[str],
) -> Path:
    """Write a checkpoint under `folder`, then remove all but the newest `keep`.

    `data` are the hashes of what the run reads. The newest one from before losses that look like a divergence is kept
    too.
    """
    path = folder / f"step-{progress.step}"
    with new_folder(path) as new:
        save_file(unique_parameters(model), new / WEIGHTS)
        save_file(optimizer.state(), new / OPTIMIZER)
        manifest = {
            "format": 1,
            "progress": asdict(progress),
            "environment": environment,
            "data": data,
            "sha256": {name: sha256(new / name) for name in (WEIGHTS, OPTIMIZER)},
        }
        (new / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    found = saved(folder)
    before = [step_of(old) for old in found if step_of(old) <= progress.calm_step]  # what a divergence goes back to
    for old in found[:-keep]:
        if step_of(old) != max(before, default=-1):
            shutil.rmtree(old)
    return path


def saved(folder: Path) -> list[Path]:
    """Return the checkpoints under `folder`, oldest first."""
    found = [p for p in folder.glob("step-*") if p.name.removeprefix("step-").isdigit()]
    return sorted(found, key=step_of)


def step_of(path: Path) -> int:
    """Return the step of the checkpoint in a folder."""
    return int(path.name.removeprefix("step-"))


def restore(folder: Path, model: nn.Module, optimizer: Combined, *, last: int | None = None, note: Note) -> Manifest:
    """Load the newest whole checkpoint, of step `last` or before; return its manifest.

    Damaged ones are named and passed over. Raises CheckpointError if none is whole.
    """
    for path in reversed(saved(folder)):
        if last is not None and step_of(path) > last:
            continue
        try:
            manifest = verify(path)
        except CheckpointError as error:
            note("damaged_checkpoint", str(error))
            continue
        _load_parameters(model, load_file(path / WEIGHTS), path)
        optimizer.load_state(load_file(path / OPTIMIZER))
        return manifest
    early = "" if last is None else f" of step {last:,} or before"
    raise CheckpointError(f"{folder}: no checkpoint{early} is whole; start again in another folder")


def discard(folder: Path, after: int) -> None:
    """Remove the checkpoints after step `after`, and what kills left half-written."""
    for path in saved(folder):
        if step_of(path) > after:
            shutil.rmtree(path)
    for path in folder.glob(".step-*"):
        shutil.rmtree(path)


def verify(path: Path) -> Manifest:
    """Return the manifest of a checkpoint whose files are what they were when written, else raise CheckpointError."""
    try:
        values: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        damaged = [name for name, digest in values["sha256"].items() if sha256(path / name) != digest]
        manifest = Manifest(Progress.of(values["progress"]), values["environment"], values["data"])
    except (OSError, ValueError, KeyError, TypeError) as error:
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
