"""A linear map is the same function compiled, in both directions."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from litebert.model.linear import CHUNK, Affine, linear, transposed_product


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
        assert one.dtype == other.dtype
        assert_close(one, other, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("tokens", [7, CHUNK + 7, 2 * CHUNK, 3 * CHUNK + 7])
def test_gradients_of_any_number_of_tokens(tokens: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((tokens, 6), (5, 6), (5,))
    leaves = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(Affine.apply, leaves, fast_mode=True)


def test_more_than_stays_in_caches_is_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(3 * CHUNK, size, generator=generator).bfloat16() for size in (7, 5))
    parts = transposed_product(a, b)
    monkeypatch.setattr("litebert.model.linear.MOST_NUMBERS", 3 * 7 * 5 - 1)
    one = transposed_product(a, b)
    assert_close(one, (a.t() @ b).float(), atol=0, rtol=0)
    assert_close(parts, a.float().t() @ b.float(), atol=0.3, rtol=0.01)
    assert not torch.equal(parts, one)


def test_partial_sums_are_added_in_fp32() -> None:
    column = torch.zeros(4 * CHUNK, 1, dtype=torch.bfloat16)
    column[:CHUNK], column[CHUNK::CHUNK] = 1.0, 1.0  # partial sums of 512, 1, 1 and 1; bf16 loses the ones
    total = transposed_product(column, column)
    assert total.dtype == torch.float32
    assert total.item() == CHUNK + 3
