"""Divergence: noticed at once, so that the run goes back to where all was well instead of on with broken weights.

A loss or gradient that is no finite number is a divergence; so are losses far above those of the steps before, several
in a row (one alone may be a hard batch). What is far is measured by the median and the median deviation of the losses
before, which a few outliers do not move. Spikes and the remedy, going back and leaving out the data in which it
happened, are those of PaLM's training (Chowdhery et al. 2022, section 5.1).
"""

import math
from collections.abc import Sequence

import numpy as np

HISTORY = 100
"""Losses that are remembered."""

FEWEST = 20
"""With fewer of them nothing is known of how they vary."""

DEVIATIONS, NATS = 6.0, 0.5
"""A loss is far if it lies this many standard deviations, and this much, above the median."""

SPIKES = 3
"""Far losses in a row that make a divergence."""


class Guard:
    """Looks at every step's loss and gradient norm.

    What it remembers is in `losses` and `far`, which a checkpoint keeps: a resumed run notices what an undisturbed one
    does.
    """

    def __init__(self, losses: Sequence[float] = (), far: int = 0) -> None:
        self.losses = list(losses)[-HISTORY:]
        self.far = far
        """Far losses in a row, until now."""

    def problem(self, loss: float, norm: float) -> str:
        """Return what is wrong with a step, or nothing."""
        if not math.isfinite(loss) or not math.isfinite(norm):
            return f"loss {loss:.3f}, gradient norm {norm:.3f}"
        if len(self.losses) >= FEWEST:
            median = float(np.median(self.losses))
            deviation = 1.4826 * float(np.median(np.abs(np.array(self.losses) - median)))  # of a normal distribution
            if loss > median + max(DEVIATIONS * deviation, NATS):
                self.far += 1
                return f"loss {loss:.3f} where {median:.3f} is usual" if self.far >= SPIKES else ""
        self.far = 0
        self.losses = [*self.losses, loss][-HISTORY:]
        return ""
