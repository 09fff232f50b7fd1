"""Optimizers: LAMB as the original ALBERT has it, AdamW, and Muon for the matrices of the blocks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from litebert.errors import ConfigError
from litebert.model.device import multiplies_bf16


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Which optimizer, and its constants."""

    name: Literal["adamw", "lamb", "muon"] = "adamw"
    """`lamb`: layer-wise trust ratios for large batches (You et al. 2020). `muon`: orthogonalized momentum for the
    matrices of the blocks, AdamW for all else (Jordan et al. 2024)."""
    learning_rate: float = 1e-3
    """The peak rate; the schedule scales it."""
    weight_decay: float = 0.01
    """Decoupled decay of matrices; biases and LayerNorm have none."""
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-6
    momentum: float = 0.95
    """Momentum of Muon."""
    adamw_rate: float = 1.0
    """With Muon: the rate of the parameters that AdamW trains, as a factor of learning_rate."""
    clip: float = 1.0
    """Largest norm of the gradient over all parameters; 0 switches clipping off."""

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate = {self.learning_rate:g}: expected a number above 0, such as 1e-3")
        for name in ("beta1", "beta2", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"optimizer.{name} = {getattr(self, name):g}: expected a number from 0, below 1")
        for name in ("weight_decay", "clip", "epsilon", "adamw_rate"):
            if getattr(self, name) < 0:
                raise ConfigError(f"optimizer.{name} = {getattr(self, name):g}: expected 0 or more")


FEW_ROWS = 8
"""A linear layer of at most this many outputs is a classifier, not a matrix of a block."""


class _OneByOne(torch.optim.Optimizer):
    """Updates its parameters one after the other, without a closure."""

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update all parameters from their gradients."""
        if closure is not None:
            raise ValueError(f"{type(self).__name__} takes no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return None

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        raise NotImplementedError


class Lamb(_OneByOne):
    """LAMB without bias correction, as in the original `lamb_optimizer.py` (You et al. 2020).

    Groups may switch `trust` off: their parameters (biases, LayerNorm) take the plain Adam step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "trust": True}
        super().__init__(params, defaults)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        beta1, beta2 = group["betas"]
        state["exp_avg"].lerp_(gradient, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        update = state["exp_avg"] / (state["exp_avg_sq"].sqrt() + group["eps"])
        if group["weight_decay"]:
            update.add_(parameter, alpha=group["weight_decay"])
        rate: float | Tensor = group["lr"]
        if group["trust"]:
            size, change = parameter.norm(), update.norm()
            rate = rate * torch.where((size > 0) & (change > 0), size / change, torch.ones_like(size))
        parameter.sub_(rate * update)


class Muon(_OneByOne, torch.optim.Muon):
    """torch's Muon, its updates as large as AdamW's (Liu et al. 2025), so that one rate serves both.

    torch orthogonalizes in bfloat16, and so does this where the processor has products of that, with the same bits;
    elsewhere they are emulated, which takes many times as long as the fp32 that is computed there.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float, momentum: float) -> None:
        super().__init__(list(params), lr, weight_decay, momentum)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, momentum = self.state[parameter], group["momentum"]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        ahead = gradient.lerp(state["momentum_buffer"], momentum)  # Nesterov
        half = ahead.bfloat16() if multiplies_bf16(parameter.device) else ahead
        update = orthogonalized(half, group["ns_coefficients"], group["ns_steps"], group["eps"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"] * (0.2 * max(parameter.shape) ** 0.5))


def orthogonalized(matrix: Tensor, coefficients: tuple[float, float, float], steps: int, epsilon: float) -> Tensor:
    """A matrix with the same singular vectors, and singular values near 1 (Newton-Schulz, Jordan et al. 2024)."""
    a, b, c = coefficients
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=epsilon)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if matrix.shape[0] > matrix.shape[1] else x


class Combined:
    """Several optimizers, each with its own parameters, behind the methods that a training loop calls."""

    def __init__(self, optimizers: list[torch.optim.Optimizer]) -> None:
        self.optimizers = optimizers

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """All groups of all optimizers."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self) -> None:
        """Update all parameters from their gradients."""
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def set_factor(self, factor: float) -> None:
        """Set each group's rate to `factor` times its peak rate."""
        for group in self.param_groups:
            group["lr"] = group["peak_lr"] * factor

    def state(self) -> dict[str, Tensor]:
        """Return all moments as flat tensors: `optimizer.parameter.moment` -> tensor."""
        flat: dict[str, Tensor] = {}
        for i, optimizer in enumerate(self.optimizers):
            for j, moments in optimizer.state_dict()["state"].items():
                flat |= {f"{i}.{j}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        return flat

    def load_state(self, flat: dict[str, Tensor]) -> None:
        """Take over the moments that `state` returned."""
        for i, optimizer in enumerate(self.optimizers):
            states: dict[int, dict[str, Tensor]] = {}
            for key, value in flat.items():
                owner, parameter, name = key.split(".", 2)
                if int(owner) == i:
                    states.setdefault(int(parameter), {})[name] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": states})


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> Combined:
    """Sort the trainable parameters of `model` into groups and make their optimizer."""
    matrices, tables, vectors = split_parameters(model)
    rate, decay = settings.learning_rate, settings.weight_decay
    betas = (settings.beta1, settings.beta2)
    made: list[torch.optim.Optimizer] = []
    if settings.name == "lamb":
        lamb_groups = [{"params": matrices + tables}, {"params": vectors, "weight_decay": 0.0, "trust": False}]
        made.append(Lamb(lamb_groups, rate, betas, settings.epsilon, decay))
    else:
        rest = rate
        if settings.name == "muon":
            rest = rate * settings.adamw_rate
            made.append(Muon(matrices, rate, decay, settings.momentum))
            matrices = []
        groups: list[dict[str, Any]] = [{"params": matrices + tables}, {"params": vectors, "weight_decay": 0.0}]
        made.append(torch.optim.AdamW(groups, rest, betas, settings.epsilon, decay, fused=True))
    combined = Combined(made)
    for group in combined.param_groups:
        group["peak_lr"] = group["lr"]
    return combined


def split_parameters(model: nn.Module) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return matrices, tables, and vectors (biases, LayerNorm), each parameter once and in order.

    Tables are embeddings and classifiers of a few labels: rows with a meaning each, which Muon should not mix.
    """
    tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters(recurse=False)}
    matrices: list[Tensor] = []
    embeddings: list[Tensor] = []
    vectors: list[Tensor] = []
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2:
            vectors.append(parameter)
        elif id(parameter) in tables or parameter.shape[0] <= FEW_ROWS:
            embeddings.append(parameter)
        else:
            matrices.append(parameter)
    return matrices, embeddings, vectors
