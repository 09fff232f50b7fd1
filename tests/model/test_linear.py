"""A linear map is the same function compiled, in both directions."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from litebert.model.linear import AddBias, linear


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_compiled_it_is_the_same_function(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    module, x = nn.Linear(24, 40), torch.randn(50, 24, requires_grad=True)
    results = []
    for function in (module, torch.compile(lambda x: linear(module, x))):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            y = function(x)
        assert y.dtype == dtype
        gradients = torch.autograd.grad(y.float().sin().sum(), [x, module.weight, module.bias])
        results.append((y.detach(), *gradients))
    for one, other in zip(*results, strict=True):
        assert_close(one, other, atol=tolerance, rtol=tolerance)


def test_the_gradient_of_the_bias_is_the_sum_over_tokens() -> None:
    product = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float32, requires_grad=True)
    gradient = torch.randn(7, 5, dtype=torch.float64)
    AddBias.apply(product, bias).backward(gradient)  # type: ignore[no-untyped-call]
    assert_close(product.grad, gradient)
    assert_close(bias.grad, gradient.sum(0).float())
