"""Speed beside other systems: `bench`."""

import json
from pathlib import Path

from litebert.commands.flags import Answer, Switch, Whole


def bench_pretrain(
    *,
    preset: str = "base",
    length: Whole = 128,
    batch_size: Whole = 16,
    data: Path | None = None,
    rounds: Whole = 5,
    steps: Whole = 3,
    device: str = "auto",
    eager: Switch = False,
) -> Answer:
    """Measure the speed of pre-training beside transformers' AlbertForPreTraining (bf16, compiled).

    Parameters
    ----------
    preset
        tiny, mini, small, base, large, xlarge or xxlarge.
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

    result = run(
        name=preset,
        length=length,
        batch_size=batch_size,
        data=data,
        rounds=rounds,
        steps=steps,
        device=device,
        eager=eager,
    )
    return Answer(data=result.to_dict(), text=f"{result.summary()}\n{json.dumps(result.to_dict())}")
