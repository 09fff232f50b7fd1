"""Fair timing on machines that are never quite quiet: contestants take turns, and medians are compared."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from litebert.console import Advance

MATRIX_SECONDS = 0.5
"""How long each product is repeated when the ceiling is measured."""


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A system that works through steps."""

    name: str
    step: Callable[[], int]
    """Do one step; returns the tokens that were of use, without padding."""


def race(
    contestants: list[Contestant], *, rounds: int, steps: int, device: torch.device, advance: Advance
) -> dict[str, float]:
    """Let everyone take `steps` steps in every round; return the tokens a second of each one's median round.

    Each takes two steps before, which compile.
    """
    speeds: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for contestant in contestants:
        contestant.step()
        contestant.step()
        advance(1, f"{contestant.name} is ready")
    for _ in range(rounds):
        for contestant in contestants:
            synchronize(device)
            start = time.perf_counter()
            tokens = sum(contestant.step() for _ in range(steps))
            synchronize(device)
            speeds[contestant.name].append(tokens / (time.perf_counter() - start))
            advance(1, f"{contestant.name}: {speeds[contestant.name][-1]:,.0f} tokens/s")
    return {name: statistics.median(values) for name, values in speeds.items()}


def synchronize(device: torch.device) -> None:
    """Wait for a GPU to finish."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_ceiling(shapes: list[tuple[int, int, int]], dtype: torch.dtype, device: torch.device) -> float:
    """Return the FLOP/s this machine reaches in nothing but matrix products.

    Args:
        shapes: rows, inner size and columns of the products; the ceiling is that of all of them one after the other.
        dtype: of the matrices.
        device: where they are.
    """
    flops = seconds = 0.0
    for rows, inner, columns in shapes:
        a = torch.randn(rows, inner, device=device).to(dtype)
        b = torch.randn(columns, inner, device=device).to(dtype)
        times: list[float] = []
        while sum(times) < MATRIX_SECONDS or len(times) < 6:
            synchronize(device)
            start = time.perf_counter()
            torch.nn.functional.linear(a, b)
            synchronize(device)
            times.append(time.perf_counter() - start)
        flops += 2.0 * rows * inner * columns
        seconds += statistics.median(times[1:])
    return flops / seconds
