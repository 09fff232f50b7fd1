"""Several fine-tunings that differ in their seed, each with a second attempt if it goes wrong; the best is kept."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from litebert.console import log, progress
from litebert.errors import ConfigError
from litebert.train.fit import Fit, State, Watch
from litebert.train.results import Reporter, SeedResult

RESTART_FACTOR = 1 / 3
"""After a collapse the second attempt has this share of the learning rate."""


class Seeds(NamedTuple):
    """What came of all seeds."""

    results: list[SeedResult]
    """Of those that did not diverge."""
    best: int
    """Place of the best in `results`."""
    state: State
    """Its parameters."""
    diverged: list[int]
    """Seeds whose attempts both diverged."""


FitOnce = Callable[[int, float, Watch], Fit]
"""Fine-tune with a seed at a learning rate."""


def run_seeds(fit_once: FitOnce, seeds: range, rate: float, shown: Sequence[str], metrics_file: Path) -> Seeds:
    """Fine-tune once a seed.

    shown: the metrics that are said, the primary one first.

    Raises ConfigError where both attempts diverge with all seeds.
    """
    results: list[SeedResult] = []
    diverged: list[int] = []
    best, best_fit = 0, Fit(rate=rate, primary_metric=shown[0])
    with metrics_file.open("w", encoding="utf-8") as file, progress("fine-tuning") as advance:
        for seed in seeds:
            begin = time.monotonic()

            def attempt(rate: float, seed: int = seed) -> Fit:
                return fit_once(seed, rate, Reporter(seed, rate, shown, file, advance))

            try:
                done, problem = _restarting(attempt, seed, rate)
            except ConfigError as error:
                diverged.append(seed)
                if len(diverged) == len(seeds):
                    raise
                log(f"warning: nothing came of seed {seed}: {error}")
                continue
            assert done.best is not None
            if done.stopped:
                log(f"seed {seed}: {done.stopped}; ended early, the best state is kept (--set patience=0: go on)")
            results.append(
                SeedResult(
                    seed=seed,
                    learning_rate=done.rate,
                    epoch=done.best.epoch,
                    metrics=done.best.metrics,
                    seconds=time.monotonic() - begin,
                    stopped=done.stopped,
                    problem=problem,
                )
            )
            if len(results) == 1 or done.quality > best_fit.quality:
                best, best_fit = len(results) - 1, done
    return Seeds(results, best, best_fit.state, diverged)


def _restarting(attempt: Callable[[float], Fit], seed: int, rate: float) -> tuple[Fit, str]:
    """Fit, and once more at a lower rate if that goes wrong; returns the better one, and what is to be known of it."""
    first = attempt(rate)
    if not first.problem:
        return first, ""
    lower = rate * RESTART_FACTOR
    log(f"collapse with seed {seed} at learning rate {rate:g}: {first.problem}. Starting again at {lower:.3g}.")
    second = attempt(lower)
    chosen = max(first, second, key=lambda fit: fit.quality)
    if chosen.best is None or (first.diverged and second.diverged):
        raise ConfigError(
            f"learning_rate = {rate:g}: training diverged, and at {lower:.3g} again ({second.problem}); "
            "give a lower --learning-rate"
        )
    if second.problem:
        log(f"warning: the second attempt went wrong too ({second.problem}); this model is of little use")
        return chosen, chosen.problem
    if chosen is first:
        log(f"the second attempt is no better; the first one, at learning rate {rate:g}, is kept")
        return first, first.problem
    return chosen, f"restarted: {first.problem}"
