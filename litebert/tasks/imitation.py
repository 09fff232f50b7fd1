"""How far a student's outputs are from its teacher's (Hinton et al. 2015): what the tasks' imitation is made of.

Dimensions: R rows, C outputs, N values.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from litebert.evaluate.metrics import Floats
from litebert.tasks.task import grouped_log_softmax

Opinion = Floats | None
"""What a teacher says of a row; None: it was not asked."""


def row_table(opinions: Sequence[Opinion]) -> Floats:
    """Opinions of one vector each as an array (R, C); zeros where there is none."""
    nothing = np.zeros_like(next(said for said in opinions if said is not None))
    return np.stack([nothing if said is None else said for said in opinions])


def divergence(mine: Tensor, theirs: Tensor, temperature: float) -> Tensor:
    """KL(theirs || mine) of the softmaxes of logits (..., C) at a temperature, times its square: (...).

    The square keeps the gradients as large as those of the labels, whatever the temperature.
    """
    log_mine, log_theirs = ((logits / temperature).log_softmax(-1) for logits in (mine, theirs))
    return (log_theirs.exp() * (log_theirs - log_mine)).sum(-1) * temperature**2


def grouped_divergence(mine: Tensor, theirs: Tensor, group: Tensor, groups: int, temperature: float) -> Tensor:
    """The same for logits (N,) within groups of them, numbered by group (N,): (groups,)."""
    log_mine, log_theirs = (grouped_log_softmax(logits / temperature, group, groups) for logits in (mine, theirs))
    terms = log_theirs.exp() * (log_theirs - log_mine)
    return terms.new_zeros(groups).index_add(0, group, terms) * temperature**2
