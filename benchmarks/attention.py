"""Attention within the rows of a band: plain matrix products beside torch's own kernel, on a CPU.

    OMP_NUM_THREADS=1 python benchmarks/attention.py [--heads 12] [--size 32] [--tokens 4096]

Forward alone, and forward and backward, in fp32 and bf16, in turn; seconds of the processor, the least of five. Prints
how many times as long the plain products take. `FUSED_FROM` of litebert/model/attention.py rests on it.
"""

import argparse
import json
import time

import torch
from torch import Tensor

from litebert.model.attention import attend_rows

LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
ROUNDS = 5


def seconds(rows: Tensor, mask: Tensor, kernel: str, train: bool) -> float:
    """The processor's time of one pass."""
    start = time.process_time()
    with torch.set_grad_enabled(train):
        out, _ = attend_rows(rows, mask, None, None, kernel, 0.0)
        if train:
            out.sum().backward()  # type: ignore[no-untyped-call]
    rows.grad = None
    return time.process_time() - start


def ratio(length: int, dtype: torch.dtype, train: bool, arguments: argparse.Namespace) -> float:
    """Plain products to torch's kernel; every row is at least seven tenths full."""
    generator, count = torch.Generator().manual_seed(length), max(arguments.tokens // length, 1)
    shape = (count, length, 3, arguments.heads, arguments.size)
    rows = torch.randn(shape, generator=generator).to(dtype).requires_grad_()
    lengths = torch.randint(int(0.7 * length), length + 1, (count, 1), generator=generator)
    mask = (torch.arange(length) < lengths)[:, None, None]
    found: dict[str, list[float]] = {"padded": [], "fused": []}
    for _ in range(ROUNDS):
        for kernel, times in found.items():
            times.append(seconds(rows, mask, kernel, train))
    return min(found["padded"]) / min(found["fused"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=4096)
    arguments = parser.parse_args()
    table: dict[str, dict[int, float]] = {}
    print(f"| columns | {' | '.join(map(str, LENGTHS))} |\n|{'---|' * (len(LENGTHS) + 1)}")
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        for train in (False, True):
            what = f"{name}, {'forward and backward' if train else 'forward'}"
            table[what] = {length: ratio(length, dtype, train, arguments) for length in LENGTHS}
            print(f"| {what} | {' | '.join(f'{value:.2f}' for value in table[what].values())} |", flush=True)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
