"""Linear maps, computed so that a CPU spends its time on the product."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AddBias(torch.autograd.Function):
    """Add a bias (N,) to a product (T, N); its gradient is a product too, with a row of ones.

    A sum over tokens is what compilers for CPUs are worst at: fused with the kernel before, it costs more than that.
    """

    @staticmethod
    def forward(ctx: Any, product: Tensor, bias: Tensor) -> Tensor:
        """(T, N), (N,) -> (T, N), in the product's precision."""
        return (product + bias).to(product.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """(T, N) -> (T, N), (N,)."""
        ones = gradient.new_ones(1, gradient.shape[0])
        return gradient, (ones @ gradient)[0].float()


def linear(module: nn.Linear, x: Tensor) -> Tensor:
    """Apply a linear map with a bias: (T, in) -> (T, out).

    Compiled for a CPU, the bias is added by whatever kernel reads the product next. Inside the product (addmm) it would
    first be copied into the whole result.
    """
    if x.device.type == "cpu" and torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        return AddBias.apply(F.linear(x, module.weight), module.bias)  # type: ignore[no-any-return, no-untyped-call]
    return module(x)  # type: ignore[no-any-return]
