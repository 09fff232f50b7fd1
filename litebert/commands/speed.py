"""Speed beside other systems: `bench`."""

import json
from pathlib import Path

from litebert.commands.flags import Answer, Switch, Whole
from litebert.errors import ConfigError


def bench_pretrain(
    *,
    preset: str | None = None,
    model: str | None = None,
    length: Whole = 128,
    batch_size: Whole = 16,
    data: Path | None = None,
    rounds: Whole = 5,
    steps: Whole = 3,
    device: str = "auto",
    eager: Switch = False,
) -> Answer:
    """Measure the speed of pre-training beside transformers' class of the same model (bf16, compiled).

    Parameters
    ----------
    preset
        tiny, mini, small, base (the default), large, xlarge or xxlarge.
    model
        Folder or name of a model instead, ALBERT or one of BERT's family: its shape is taken.
    length
        Tokens of a full sequence.
    batch_size
        Sequences of full length a step.
    data
        Prepared folder: measures on real text too.
    rounds
        Turns everyone gets; the median counts.
    steps
        Steps a turn.
    device
        auto, cpu or cuda.
    eager
        Measure transformers without compilation too.
    """
    from litebert.bench.pretrain import bench_pretrain as run
    from litebert.data.catalog import find_model

    if preset is not None and model is not None:
        raise ConfigError("--preset and --model contradict each other; --model brings its own shape")
    result = run(
        model=find_model(model) if model is not None else preset or "base",
        length=length,
        batch_size=batch_size,
        data=data,
        rounds=rounds,
        steps=steps,
        device=device,
        eager=eager,
    )
    return Answer(data=result.to_dict(), text=f"{result.summary()}\n{json.dumps(result.to_dict())}")
