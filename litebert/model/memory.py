"""The peak memory of a training step on a CPU, predicted term by term, and which batches fit into a machine.

Dimensions: T tokens of a micro-batch, S its sequences (a quarter more than of full length, as the input pipeline pads
them), L length, M predicted tokens, V vocabulary, E embedding, H hidden, F inside the feed-forward block, N heads.

A step has four moments at which memory can peak; the highest is the prediction:

- heads: the forward pass has ended. All layers' activations are kept, and the logits (M x V) with what their
  gradient needs.
- layers: the backward pass is in the last layer: all activations, and what one layer's gradients need beside them.
- gradients: the backward pass is in the first layer: activations are gone, gradients have come. Where layers are
  computed again (activation checkpointing), one layer's activations are there too.
- optimizer: all gradients, and the optimizer's copies of the largest matrix.

What a layer keeps, a token: 2 F (before and after the activation), 5 H (inputs of the linear maps, sums before the
norms), and for each place of the padded attention 3 H (query, key, value) and the probabilities, N x L. Under autocast
each weight has a copy in bfloat16.

What torch.compile changes: it keeps the probabilities in bfloat16 alone, and adds up what layers that share a block
have in common only once it has all of it. In bfloat16 the weights' gradients of every layer wait for that; in fp32
products add to one another, and it is the gradients of query, key, value and result (4 H) that wait, for the biases.
With activation checkpointing a layer is compiled by itself, so that nothing waits; the heads are not compiled then.

Two things are of the runtime and not of the model; they were measured once (benchmarks/memory.py): the process with
its libraries and, after compilation, with the compiler; and the allocator's share. glibc keeps freed blocks of less
than 32 MiB to itself, and cannot fill all gaps between them. Where layers are computed again without the compiler, so
much comes and goes that the gaps are as large as what was freed: the logits, a layer's activations, a block's
gradients and copies.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from litebert.errors import ConfigError
from litebert.model.config import AlbertConfig
from litebert.model.heads import AlbertWithHeads

PRECISIONS = {"fp32": 4, "bf16": 2}
"""Bytes of a number in the products."""

MIB = 1 << 20
PROCESS = 350 * MIB
"""Python, torch and its libraries."""
COMPILER = 40 * MIB
"""The compiler's modules."""
COMPILED_LAYER = 17 * MIB
"""What is left of compiling one layer."""
HEAP_BLOCK = 32 * MIB
"""glibc maps larger blocks, and gives them back when they are freed (M_MMAP_THRESHOLD_MAX)."""
HEAP_SHARE = 0.18
"""Gaps between smaller blocks, as a share of them."""
OPTIMIZER_COPIES = {"adamw": 0.0, "lamb": 2.0, "muon": 2.4}
"""Copies of the largest matrix that an optimizer's step makes; AdamW is one pass over its tensors."""
SURELY = 1.15
"""A batch is refused where the prediction is more than this times all memory: beyond what predictions are off by."""
GPU_PROCESS = 500 * MIB
"""A process's context and libraries on a GPU."""
FEW_ROWS = 8
"""Muon leaves matrices of so few rows, and tables, to AdamW."""


class BatchShape(NamedTuple):
    """The shapes of a micro-batch."""

    tokens: int
    sequences: int
    length: int
    masked: int
    parts: int
    """Micro-batches a step."""

    @classmethod
    def of(cls, length: int, batch_size: int, parts: int = 1, masked_share: float = 0.15) -> "BatchShape":
        """Return the shapes that `data.batches.micro_batches` pads to."""
        tokens, sequences = batch_size * length, batch_size + -(-batch_size // 4)
        if parts > 1:
            tokens, sequences = -(-tokens // parts) + length, -(-sequences // parts)
        mean = masked_share * tokens
        return cls(tokens, sequences, length, min(tokens, -(-int(mean + 3 * mean**0.5 + 8) // 8) * 8), parts)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes that a process holds at the peak of a training step."""

    moment: str
    """Which moment of the step that is: heads, layers, gradients or optimizer."""
    weights: int
    optimizer: int
    """The moments."""
    gradients: int
    """Those that are there at the peak."""
    copies: int
    """Of the weights in bfloat16."""
    activations: int
    """What the backward pass needs, working memory included."""
    allocator: int
    process: int

    @property
    def total(self) -> int:
        """All of it."""
        model = self.weights + self.optimizer + self.gradients + self.copies
        return model + self.activations + self.allocator + self.process


class _Moment(NamedTuple):
    name: str
    gradients: float
    copies: float
    activations: float
    gaps: float
    """What the allocator holds beside that."""


def training_memory(
    model: AlbertWithHeads,
    batch: BatchShape,
    *,
    precision: str = "bf16",
    optimizer: str = "adamw",
    compiled: bool = True,
    activation_checkpointing: bool = False,
    on_gpu: bool = False,
) -> Memory:
    """Predict the peak of a step of pre-training; the model may stand on the meta device.

    On a GPU attention keeps no probabilities and pads nothing; that prediction has not been measured.

    Raises ConfigError for an unknown optimizer.
    """
    if optimizer not in OPTIMIZER_COPIES:
        raise ConfigError(f"optimizer {optimizer!r} is unknown: use one of {', '.join(OPTIMIZER_COPIES)}")
    parameters = sum(parameter.numel() for parameter in model.parameters())
    layers = len(model.config.sharing_plan.attention)
    again = activation_checkpointing
    costs = _Costs.of(
        model.config,
        batch,
        PRECISIONS[precision],
        compiled=compiled,
        heads_compiled=compiled and not again,
        on_gpu=on_gpu,
    )
    moments = list(_moments(model, batch, costs, optimizer, compiled, again))
    peak = max(moments, key=lambda moment: moment.gradients + moment.copies + moment.activations)
    return Memory(
        moment=peak.name,
        weights=4 * parameters,
        optimizer=_state_bytes(model, optimizer),
        gradients=round(peak.gradients),
        copies=round(peak.copies),
        activations=round(peak.activations),
        allocator=0 if on_gpu else round(peak.gaps),
        process=GPU_PROCESS
        if on_gpu
        else PROCESS + (COMPILER + (1 if again else layers) * COMPILED_LAYER if compiled else 0),
    )


class _Costs(NamedTuple):
    """Bytes of one layer and of what stands around the layers."""

    width: int
    """Of a number in the products."""
    layer: float
    """What a layer keeps for the backward pass."""
    small: float
    """Of that, what lies in blocks that come from the heap."""
    working: float
    """What a layer's backward pass needs beside it."""
    stream: float
    """What goes from layer to layer."""
    embedding: float
    logits: float

    @classmethod
    def of(
        cls, config: AlbertConfig, batch: BatchShape, width: int, *, compiled: bool, heads_compiled: bool, on_gpu: bool
    ) -> "_Costs":
        """Count them.

        Beside what it kept, the backward pass of a layer needs in the feed-forward block the gradients before and
        after the activation, of which one takes the place of what was kept (F), and of two vectors (2 H); in
        attention, when all that is gone, the gradients of the probabilities and of the scores.
        """
        hidden, inner, tokens = config.hidden_size, config.intermediate_size, batch.tokens
        places = tokens if on_gpu else batch.sequences * batch.length
        scores = 0 if on_gpu else places * config.num_attention_heads * batch.length
        pre_norm = config.block == "pre_norm"
        half = width < 4
        blocks = [(2, tokens * inner * width), (4 if pre_norm else 5, tokens * hidden * width)]
        blocks += [(2, tokens * hidden * 4)] * pre_norm  # the residual stream is fp32
        blocks += [(3, places * hidden * width), (2 if half and compiled else 1, scores * width)]
        blocks += [(1, scores * 4)] * (half and not compiled)
        blocks += [(4, tokens * hidden * 4)] * (compiled and not half)
        blocks += [(2, scores * width)] * (config.attention_probs_dropout_prob > 0)
        blocks += [(2, tokens * hidden * width)] * (config.hidden_dropout_prob > 0)
        attention = scores * (2 * width if compiled else 8 + 2 * half) - 2 * tokens * inner * width
        return cls(
            width=width,
            layer=sum(count * block for count, block in blocks),
            small=sum(count * block for count, block in blocks if block < HEAP_BLOCK),
            working=max(tokens * width * (inner + 2 * hidden), attention),
            stream=tokens * hidden * (4 if pre_norm else width),
            embedding=tokens * config.embedding_size * (4 + width),
            logits=batch.masked * config.vocab_size * (2 * width if heads_compiled else 12 + half * width),
        )


def _moments(
    model: AlbertWithHeads, batch: BatchShape, costs: _Costs, optimizer: str, compiled: bool, again: bool
) -> Iterator[_Moment]:
    layers = len(model.config.sharing_plan.attention)
    sizes = [parameter.numel() for parameter in model.parameters()]
    encoder = model.albert.encoder
    block = sum(p.numel() for half in (encoder.attention[0], encoder.ffn[0]) for p in half.parameters())
    gradients = 4.0 * sum(sizes)
    before = gradients if batch.parts > 1 else 0.0  # those of the micro-batches before
    waiting = float(costs.width * layers * block) if compiled and costs.width < 4 and not again else 0.0
    copies = 2.0 * sum(sizes) if costs.width < 4 else 0.0
    kept = costs.embedding + layers * (costs.stream if again else costs.layer)
    small = layers * (costs.stream * (costs.stream < HEAP_BLOCK) if again else costs.small)
    one = costs.layer if again else 0.0
    yield _Moment("heads", before, copies, kept + costs.logits, HEAP_SHARE * small)
    last = kept + one + costs.working
    gaps = HEAP_SHARE * (small + costs.small * again)
    yield _Moment("layers", before + costs.width * block, copies, last, gaps)
    # Where nothing is computed again, the last layer's activations are the first to go and the first's the last.
    first = last if again else costs.embedding + costs.layer + costs.working
    if again:
        matrices = 2 * costs.width * block * (costs.width * max(p.numel() for p in encoder.parameters()) <= HEAP_BLOCK)
        logits = costs.logits * (4 * batch.masked * model.config.vocab_size <= HEAP_BLOCK)
        gaps = logits + costs.small + matrices
    yield _Moment("gradients", max(gradients, waiting), copies, first, gaps)
    yield _Moment("optimizer", gradients, 0.0, OPTIMIZER_COPIES[optimizer] * 4 * max(sizes), 0.0)


def _state_bytes(model: nn.Module, optimizer: str) -> int:
    """AdamW and LAMB keep two fp32 moments of every parameter; Muon keeps one of the matrices."""
    tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    matrices = sum(p.numel() for p in model.parameters() if p.ndim == 2 and id(p) not in tables and len(p) > FEW_ROWS)
    return 8 * sum(p.numel() for p in model.parameters()) - (4 * matrices if optimizer == "muon" else 0)


def available_memory(device: torch.device) -> int:
    """Return all memory of the device in bytes, used or not; of a CPU what the machine and its control group allow."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path, encoding="ascii") as file:  # noqa: PTH123  no path of ours
                total = min(total, int(file.read()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return total


def require_memory(
    model: AlbertWithHeads,
    device: torch.device,
    *,
    length: int,
    batch_size: int,
    micro_batches: int = 1,
    masked_share: float = 0.15,
    processes: int = 1,
    precision: str = "bf16",
    optimizer: str = "adamw",
    compiled: bool = True,
    activation_checkpointing: bool = False,
) -> None:
    """Refuse a batch that cannot fit into the device's memory, and say what would.

    `processes` share a step, and on a CPU the memory. What fits is never refused: the prediction must be more than
    SURELY times all the memory there is, used or not.

    Raises ConfigError.
    """
    limit = available_memory(device) // (processes if device.type == "cpu" else 1)

    def needed(size: int, parts: int, again: bool = activation_checkpointing) -> int:
        shape = BatchShape.of(length, size, parts * processes, masked_share)
        return training_memory(
            model,
            shape,
            precision=precision,
            optimizer=optimizer,
            compiled=compiled,
            activation_checkpointing=again,
            on_gpu=device.type == "cuda",
        ).total

    need = needed(batch_size, micro_batches)
    if need <= SURELY * limit:
        return
    parts = _first(lambda count: needed(batch_size, count) <= limit, micro_batches, batch_size // processes)
    ways = [f"data.micro_batches={parts} or more"] if parts else []
    largest = _first(lambda less: needed(batch_size - less, 1) <= limit, 0, batch_size - processes)
    ways += [f"batch_size={batch_size - largest} or less"] if largest else []
    if not activation_checkpointing and needed(batch_size, micro_batches, True) <= limit:
        ways.append("loop.activation_checkpointing=true")
    raise ConfigError(
        f"batch_size={batch_size} of length {length} with micro_batches={micro_batches} needs about {size(need)}, but "
        f"there are {size(limit)} in all; " + (f"set {', or '.join(ways)}" if ways else "take a smaller model")
    )


def _first(fits: Callable[[int], bool], low: int, high: int) -> int | None:
    """Return the smallest number from `low` to `high` that fits, by halving; None where not even `high` does."""
    if high < low or not fits(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low


def size(count: float) -> str:
    """Write a number of bytes for people."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
