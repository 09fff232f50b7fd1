"""The gradient of a weight: one product over all tokens beside partial sums, in bf16 on a CPU, compiled.

    OMP_NUM_THREADS=1 python benchmarks/weight_gradient.py [--tokens 2048]

In turn; milliseconds, medians of the rounds. `CHUNK` of litebert/model/linear.py rests on it. ONEDNN_MAX_CPU_ISA of
AVX512_CORE_BF16 shows a processor without matrix units.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from litebert.model.linear import transposed_product

SHAPES = ((384, 384), (384, 1152), (384, 1536), (1536, 384), (768, 3072), (3072, 768))
ROUNDS = 15


def milliseconds(product: Callable[[Tensor, Tensor], Tensor], gradient: Tensor, x: Tensor) -> float:
    """The time of one."""
    start = time.perf_counter()
    product(gradient, x)
    return 1000 * (time.perf_counter() - start)


def one_product(gradient: Tensor, x: Tensor) -> Tensor:
    """(T, N), (T, M) -> (N, M), in fp32."""
    return (gradient.t() @ x).float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2048)
    tokens = parser.parse_args().tokens
    table: dict[str, dict[str, float]] = {}
    print("| in, out | one product, ms | partial sums, ms |\n|---|---|---|")
    for inputs, outputs in SHAPES:
        x, gradient = (torch.randn(tokens, size).bfloat16() for size in (inputs, outputs))
        ways = {"one product": torch.compile(one_product), "partial sums": torch.compile(transposed_product)}
        for way in ways.values():
            way(gradient, x)
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                found[name].append(milliseconds(way, gradient, x))
        medians = {name: statistics.median(times) for name, times in found.items()}
        table[f"{inputs}, {outputs}"] = medians
        print(f"| {inputs}, {outputs} | {medians['one product']:.2f} | {medians['partial sums']:.2f} |")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
