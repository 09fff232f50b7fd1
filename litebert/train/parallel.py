"""Several processes, one run: each computes its share of every step, and one sum makes the gradient whole.

Started by `torchrun`, one process for each GPU, or for each core or two of a CPU. All processes walk through the same
stream of steps; a step is divided into as many parts as there are processes and micro-batches, and each computes its
own. A shared block's gradient is whole only when the backward pass has ended, so that DistributedDataParallel's
buckets, made to be sent while it still runs, have nothing to overlap with. One all-reduce of one flat buffer costs the
same, and adds in the same order in every session of a run; buckets are arranged anew after a session's first step.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from litebert.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class World:
    """The processes of a run, as one of them sees them."""

    rank: int = 0
    """Number of this process; process 0 writes and speaks for all."""
    size: int = 1
    """How many there are."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """What this process computes on."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, all of them in one message of fp32."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.detach().flatten().float() for tensor in tensors])
        dist.all_reduce(flat)
        pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.detach().copy_(piece.view_as(tensor))

    def any(self, here: bool) -> bool:
        """Tell whether it is so in any process: all of them get the same answer."""
        if self.size == 1:
            return here
        flag = torch.tensor(float(here), device=self.device)
        dist.all_reduce(flag)
        return bool(flag > 0)

    def wait(self) -> None:
        """Wait for all processes to come here."""
        self.any(False)


@contextmanager
def world(device: torch.device) -> Iterator[World]:
    """Join the processes that `torchrun` started; a world of one where it did not.

    Raises ConfigError if there are fewer GPUs than processes.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=device)
        return
    local = int(os.environ["LOCAL_RANK"])
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise ConfigError(
                f"process {local} of this machine has no GPU of its own, there are {torch.cuda.device_count()}; "
                "lower torchrun's --nproc-per-node"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    # Processes that were started anew must not read the addresses of those before them.
    store, rank, _ = next(rendezvous("env://"))
    store = PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield World(rank=dist.get_rank(), size=size, device=device)
    finally:
        dist.destroy_process_group()


def restarted() -> bool:
    """Tell whether `torchrun` started this process anew after one of the run had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
