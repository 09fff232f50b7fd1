"""Learning-rate schedules: pure functions of the step, as factors of the peak rate."""

import math
from dataclasses import dataclass
from typing import Literal

from litebert.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """The learning rate over the steps of a run."""

    name: Literal["linear", "warmup_stable_decay", "cosine", "constant"] = "linear"
    """`linear`: up, then down to the end (BERT, ALBERT). `warmup_stable_decay`: up, constant, and a short decay at
    the end, so that a run can be prolonged (Hu et al. 2024, MiniCPM)."""
    warmup: float = 0.05
    """Share of all steps in which the rate rises linearly from 0; 1 or more: the number of these steps."""
    decay: float = 0.2
    """Share of all steps in which `warmup_stable_decay` falls to the final factor, as 1 - sqrt (Hägele et al. 2024)."""
    final: float = 0.0
    """Factor of the peak rate at the last step."""

    def __post_init__(self) -> None:
        if self.warmup < 0 or (self.warmup > 1 and self.warmup % 1):
            raise ConfigError(f"schedule.warmup = {self.warmup}: expected a share below 1, or a number of steps")
        for name in ("decay", "final"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"schedule.{name} = {getattr(self, name)}: expected a share between 0 and 1")
        if self.name == "warmup_stable_decay" and self.warmup < 1 and self.warmup + self.decay > 1:
            raise ConfigError(
                f"schedule.warmup + schedule.decay = {self.warmup + self.decay:g}: at most 1; lower one of them"
            )

    @property
    def endless(self) -> bool:
        """Whether the rates so far do not depend on how many steps there will be."""
        return self.name == "constant" and (self.warmup == 0 or self.warmup >= 1)


def rate_factor(settings: ScheduleSettings, step: int, total: int) -> float:
    """Return the factor of the peak rate for step `step` (0-based) of `total` steps."""
    warmup = round(settings.warmup if settings.warmup >= 1 else settings.warmup * total)
    rising = min(1.0, (step + 1) / max(warmup, 1))
    if settings.name == "constant" or total == 1:  # whose only step would be the last one, at the rate of the end
        return rising
    decay = round(settings.decay * total) if settings.name == "warmup_stable_decay" else max(total - warmup, 0)
    progress = max(0.0, (step + 1 - (total - decay)) / max(decay, 1))  # 0 before the decay, 1 at the last step
    shape = {
        "linear": 1 - progress,
        "cosine": (1 + math.cos(math.pi * progress)) / 2,
        "warmup_stable_decay": 1 - math.sqrt(progress),
    }[settings.name]
    return min(rising, settings.final + (1 - settings.final) * shape)  # a warmup of too many steps ends in the decay
