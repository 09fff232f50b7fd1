"""After the last step: the dev rows say how sure the model may be, and its head is scaled by that.

Every head is linear, so that a temperature is a factor of its weights (Guo et al. 2017): the answers stay the same,
`score` becomes a share that can be expected to be right, and transformers computes the same from the same folder.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from litebert.console import log
from litebert.data.labelled import Labelled
from litebert.evaluate.calibration import Calibration, calibrate
from litebert.model.heads import AlbertWithHeads
from litebert.model.outputs import head_outputs
from litebert.tasks.table import AnyTask
from litebert.tasks.task import Encoded
from litebert.train.results import SeedResult


def calibrate_model(
    model: AlbertWithHeads,
    task: AnyTask,
    result: SeedResult,
    *,
    train: Labelled[Any, Any],
    dev: Labelled[Any, Any],
    encoded: Encoded,
    gold: Any,
) -> tuple[SeedResult, Calibration | None]:
    """Fit a temperature on the dev rows that are no training rows, and put it into the head of a finished model.

    encoded, gold: of the dev rows. Returns the result with the metrics that the dev rows give now, and what came of it;
    None for tasks without probabilities of classes.
    """
    if not task.decides:
        return result, None
    decisions = task.decisions(encoded, gold, head_outputs(model, task.head, encoded.examples))
    seen = set(train.inputs)
    fresh = np.array([given not in seen for given in dev.inputs], dtype=np.bool_)
    found = calibrate(decisions.where(fresh[decisions.rows]))
    log(found.summary())
    if found.temperature == 1:
        return result, found
    with torch.no_grad():
        for parameter in model.heads[task.head].parameters():
            parameter.div_(found.temperature)
    outputs = head_outputs(model, task.head, encoded.examples)
    return replace(result, metrics=task.judge(encoded, gold, outputs, model.config.labels, {})), found
