"""Training on labelled sequences: epochs over examples in shuffled order, judged on a dev set, the best state
kept.

Which loss and which metrics is the task's business: both are callables. A step is a number of sequences, not
of tokens, because that is what a learning rate is tuned for; they are packed, and divided where they exceed a
budget of tokens.
"""

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from litebert.data.examples import Examples, Ints, Items, SequenceBatch
from litebert.model.heads import AlbertWithHeads
from litebert.train.loop import Metrics
from litebert.train.optimizers import Combined, OptimizerSettings, build_optimizer
from litebert.train.schedules import ScheduleSettings, rate_factor

State = dict[str, Tensor]


class Loss(NamedTuple):
    """What is minimized, in two parts, so that a step can be divided at any sequence."""

    outputs: Callable[[AlbertWithHeads, SequenceBatch], Tensor]
    """Of the model and a batch: what is to be known of each of its sequences or tokens, (S, C) or (T, C)."""
    of_items: Callable[[Tensor, SequenceBatch], Tensor]
    """Of that and the batch: the loss of each of its items, in their order, (G,)."""
    joint: bool = False
    """The loss of an item depends on the others of its step."""


PATIENCE = 1000
"""A fit that still gives one answer for all dev rows after half of its steps, and this many, is ended there."""

STUCK, SOLVED = 0.995, 0.01
"""Where the training loss never comes below this share of what it was at first, nothing is learnt; unless it was below
SOLVED from the start, as a probed head's may be."""

STILL = 1e-4
"""Nor is anything learnt where all losses on the dev rows, which know no dropout, differ by less than this share."""

ORDER, SUBSET = 3, 4
"""Domains of random numbers, beside the seed."""


class Steps(NamedTuple):
    """How long a fit is."""

    total: int
    per_epoch: int
    evaluate_every: int

    def evaluates(self, done: int) -> bool:
        """Whether the dev set is looked at after `done` steps."""
        return done == self.total or done % self.evaluate_every == 0


class Evaluation(NamedTuple):
    """One look at the dev set."""

    step: int
    epoch: float
    loss: float
    """Mean training loss since the look before; NaN before step 1."""
    metrics: Metrics


@dataclass(kw_only=True)
class Fit:
    """What a fit came to."""

    rate: float
    primary_metric: str
    collapsed: Callable[[Metrics], bool] = lambda _: False
    """Whether metrics are those of one answer for all dev rows."""
    evaluations: list[Evaluation] = field(default_factory=list)
    best: Evaluation | None = None
    """None: no look at the dev set gave numbers."""
    state: State = field(default_factory=dict)
    """Parameters at the best evaluation."""
    diverged: bool = False
    """Whether the training loss was no number any more."""
    problem: str = ""
    """Why the fit is no good: it diverged, learns nothing, or answers the same for every row; empty where all is
    well."""
    stopped: str = ""
    """Why the fit ended before its last step; empty where it did not."""

    @property
    def score(self) -> tuple[float, float]:
        """What to compare states by: the best primary metric, then the lower dev loss."""
        return _score(self.best, self.primary_metric)

    @property
    def constant(self) -> bool:
        """Whether the best evaluation is that of one answer for all dev rows: it may score well, and is of no use."""
        return self.best is not None and self.collapsed(self.best.metrics)

    @property
    def quality(self) -> tuple[bool, tuple[float, float]]:
        """What to compare fits by: whether the answers differ at all, then the score."""
        return self.best is not None and not self.constant, self.score

    @property
    def looks_since_best(self) -> int:
        """Evaluations after the best of those that came after a step: a good start is not held against training that
        still gets better."""
        scores = [_score(look, self.primary_metric) for look in self.evaluations if look.step]
        return len(scores) - 1 - scores.index(max(scores)) if scores else 0

    def add(self, evaluation: Evaluation, model: nn.Module) -> None:
        """Take note of an evaluation, and of the parameters if it is the best so far."""
        self.evaluations.append(evaluation)
        if _score(evaluation, self.primary_metric) > self.score:
            self.best = evaluation
            self.state = {name: p.detach().clone() for name, p in model.named_parameters()}


def _score(evaluation: Evaluation | None, primary: str) -> tuple[float, float]:
    if evaluation is None or not all(math.isfinite(evaluation.metrics[name]) for name in (primary, "loss")):
        return -math.inf, -math.inf
    return evaluation.metrics[primary], -evaluation.metrics["loss"]


class Watch:
    """Told of every step and evaluation; does nothing by itself."""

    def step(self, done: int, total: int, loss: float) -> None:
        """After a step."""

    def evaluation(self, evaluation: Evaluation) -> None:
        """After a look at the dev set."""


def fit(
    model: AlbertWithHeads,
    items: Items,
    loss: Loss,
    evaluate: Callable[[AlbertWithHeads], Metrics],
    *,
    steps: Steps,
    optimizer: OptimizerSettings,
    schedule: ScheduleSettings,
    batch_size: int,
    max_tokens: int,
    primary_metric: str,
    seed: int,
    collapsed: Callable[[Metrics], bool],
    patience: int,
    watch: Watch,
    from_start: bool = False,
) -> Fit:
    """Train `model` in place; the returned state is that of the best evaluation.

    from_start: the model answers before it is taught, so what it is worth then is the first evaluation. collapsed:
    whether metrics are those of one answer for all dev rows. The fit ends early when it diverges, when a collapse lasts
    too long, and after `patience` evaluations without a better one (0: never).
    """
    made = build_optimizer(model, optimizer)
    result = Fit(rate=optimizer.learning_rate, primary_metric=primary_metric, collapsed=collapsed)
    since: list[float] = []
    if from_start:
        _look(result, Evaluation(0, 0.0, math.nan, evaluate(model)), model, watch)
    # Dropout draws from torch's own generator; outside of this block nothing has changed.
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for step, index in enumerate(step_indices(len(items), batch_size, seed, steps.total)):
            made.set_factor(rate_factor(schedule, step, steps.total))
            value = take_step(model, made, items, index, loss, max_tokens, optimizer.clip)
            since.append(value)
            watch.step(step + 1, steps.total, value)
            if not math.isfinite(value):
                result.diverged = True
                result.problem = f"the loss is {value} at step {step + 1}"
                return result
            if steps.evaluates(step + 1):
                evaluation = Evaluation(step + 1, (step + 1) / steps.per_epoch, float(np.mean(since)), evaluate(model))
                since.clear()
                _look(result, evaluation, model, watch)
                if ended(result, step + 1, steps, patience):
                    return result
    return result


def _look(result: Fit, evaluation: Evaluation, model: nn.Module, watch: Watch) -> None:
    result.add(evaluation, model)
    watch.evaluation(evaluation)


def ended(result: Fit, done: int, steps: Steps, patience: int) -> bool:
    """Whether nothing more is to be had of a fit; says in it why."""
    looks = [look for look in result.evaluations if look.step]
    stale = patience > 0 and result.looks_since_best >= patience
    finished, lasting = stale or done == steps.total, 2 * done >= steps.total and done >= PATIENCE
    # At its end the second half counts: before, an untrained model's answers may differ by chance.
    same = [result.collapsed(look.metrics) for look in looks[len(looks) // 2 if finished else 0 :]]
    if finished and result.best is None:
        result.problem = f"the loss on the dev rows is {looks[-1].metrics['loss']} at step {done}"
    elif (finished or lasting) and all(same):
        result.problem = f"the same answer for every dev row until step {done}"
    elif finished and len(looks) > 2 and min(look.loss for look in looks[1:]) > max(STUCK * looks[0].loss, SOLVED):
        result.problem = f"the training loss stays at {looks[0].loss:.4g} until step {done}"
    elif finished and len(looks) > 2 and _still([look.metrics["loss"] for look in result.evaluations]):
        result.problem = f"the loss on the dev rows stays at {looks[0].metrics['loss']:.4g} until step {done}"
    elif stale and done < steps.total:
        result.stopped = f"no better result in {patience} looks at the dev set, until epoch {looks[-1].epoch:.3g}"
    return bool(result.problem or result.stopped)


def _still(losses: list[float]) -> bool:
    return max(losses) > SOLVED and max(losses) - min(losses) < STILL * max(losses)


def take_step(
    model: AlbertWithHeads,
    optimizer: Combined,
    items: Items,
    index: Ints,
    loss: Loss,
    max_tokens: int,
    clip: float,
) -> float:
    """One step on the items `index`; returns their weighted mean loss. How they are divided, into items, and items of
    more than `max_tokens` into sequences, changes nothing."""
    model.train()
    index = index[np.argsort(-items.longest[index], kind="stable")]  # which attention pads least
    weights = torch.from_numpy(items.weights[index] / (items.weights[index].sum() or 1.0)).float()
    total, done = 0.0, 0
    for batch in items.batches(index, sys.maxsize if loss.joint else max_tokens):
        value, count = _backward(model, items.examples, batch, weights[done:], loss, max_tokens)
        total, done = total + value, done + count
    nn.utils.clip_grad_norm_(model.parameters(), clip or float("inf"))
    optimizer.step()
    optimizer.zero_grad()
    return total


def _backward(
    model: AlbertWithHeads, examples: Examples, batch: SequenceBatch, weights: Tensor, loss: Loss, max_tokens: int
) -> tuple[float, int]:
    """Add the gradients of a batch; returns its weighted loss and its number of items.

    Where it has more than `max_tokens`, its parts cannot be had apart, as the loss needs all their outputs at once:
    these come first, without what the backward pass needs; their gradients from the loss; then each part again, under
    the same dropout (Gao et al. 2021, GradCache).
    """

    def weighted(outputs: Tensor) -> tuple[Tensor, int]:
        losses = loss.of_items(outputs, batch)  # (G,)
        return (losses * weights[: len(losses)].to(losses.device)).sum(), len(losses)

    parts = list(examples.batches(batch.sequences, max_tokens))
    if len(parts) == 1:
        total, count = weighted(loss.outputs(model, batch))
        total.backward()  # type: ignore[no-untyped-call]
        return float(total.detach()), count
    device = next(model.parameters()).device
    states, found = [], []
    with torch.no_grad():
        for part in parts:
            states.append(_random_state(device))
            found.append(loss.outputs(model, part))
    outputs = torch.cat(found).requires_grad_()
    total, count = weighted(outputs)
    (gradient,) = torch.autograd.grad(total, outputs)
    for part, state, of_part in zip(parts, states, torch.split(gradient, [len(one) for one in found]), strict=True):
        _set_random_state(device, state)
        loss.outputs(model, part).backward(of_part)  # type: ignore[no-untyped-call]
    return float(total.detach()), count


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def step_indices(count: int, batch_size: int, seed: int, total: int) -> Iterator[Ints]:
    """The items of each step: every epoch is a new order of all of them; its last step may have fewer."""
    for step in range(total):
        epoch, place = divmod(step, -(-count // batch_size))
        if place == 0:
            order = epoch_order(count, seed, epoch)
        yield order[place * batch_size : (place + 1) * batch_size]


def epoch_order(count: int, seed: int, epoch: int) -> Ints:
    """A permutation of `count` items, a function of (seed, epoch)."""
    return np.random.default_rng([seed, ORDER, epoch]).permutation(count)


def subset(count: int, wanted: int | None, seed: int) -> Ints:
    """`wanted` of `count` rows, chosen by the seed, in their order; all of them where that is not fewer."""
    if wanted is None or wanted >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, SUBSET]).permutation(count)[:wanted])


def load_state(model: nn.Module, state: State) -> None:
    """Put back the parameters of a `Fit`."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state[name])
