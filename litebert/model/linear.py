"""Linear maps, computed so that a CPU spends its time on the product."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHUNK, MOST_NUMBERS = 512, 10 << 20
"""Tokens of a partial sum, and how many numbers all of them may have: more do not stay in caches.

With matrix units (AMX) partial sums of a weight's gradient take two thirds of the time of one product over all tokens,
whose transposed operand is slow to read there; without such units there is no difference
(benchmarks/weight_gradient.py)."""


class Affine(torch.autograd.Function):
    """A product and a bias, for a compiler for CPUs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """(T, M), (N, M), (N,) -> (T, N), in the precision of x."""
        used = weight.to(x.dtype)
        ctx.save_for_backward(x, used)
        return (F.linear(x, used) + bias).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(T, N) -> (T, M), (N, M), (N,).

        The gradient of the bias is a product too, with a row of ones: a sum over tokens is what compilers for CPUs are
        worst at; fused with the kernel before, it costs more than that.
        """
        x, weight = ctx.saved_tensors
        ones = gradient.new_ones(1, gradient.shape[0])
        return gradient @ weight, transposed_product(gradient, x), (ones @ gradient)[0]


def transposed_product(a: Tensor, b: Tensor) -> Tensor:
    """Sum over tokens of the outer products of two rows: (T, N), (T, M) -> (N, M), in fp32 or more."""
    precision = torch.promote_types(a.dtype, torch.float32)
    count = len(a) // CHUNK
    if count < 2 or count * a.shape[1] * b.shape[1] > MOST_NUMBERS:
        return (a.t() @ b).to(precision)
    whole = count * CHUNK
    parts = a[:whole].reshape(count, CHUNK, -1).transpose(1, 2) @ b[:whole].reshape(count, CHUNK, -1)  # (K, N, M)
    total = parts.sum(0, dtype=precision)
    return total + a[whole:].t() @ b[whole:] if whole < len(a) else total


def linear(module: nn.Linear, x: Tensor) -> Tensor:
    """Apply a linear map with a bias: (T, in) -> (T, out).

    Compiled for a CPU, the bias is added by whatever kernel reads the product next. Inside the product (addmm) it would
    first be copied into the whole result.
    """
    if x.device.type == "cpu" and torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        return Affine.apply(x, module.weight, module.bias)  # type: ignore[no-any-return, no-untyped-call]
    return module(x)  # type: ignore[no-any-return]
