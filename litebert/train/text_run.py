"""What pre-training and distillation have in common: a run on prepared text, from its model to its report."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from litebert.data.batches import BatchStream, PretrainBatch, WindowSource, held_out_batches
from litebert.data.shards import TokenCorpus
from litebert.errors import TrainingError
from litebert.interop.huggingface import check_target, save_model
from litebert.model.heads import AlbertWithHeads
from litebert.text.tokenizer import Tokenizer
from litebert.train.checkpoints import Progress
from litebert.train.corpora import TextRunSettings, joined
from litebert.train.hooks import MetricsLog, describe
from litebert.train.loop import Hook, Metrics, Objective, Run
from litebert.train.optimizers import build_optimizer
from litebert.train.parallel import World
from litebert.train.session import Session

TRAINED = ("trained_tokens", "trained_steps")
"""What litebert.json says of a model's training on text, that of the model which a run began with included."""


class TextObjective(Objective, Protocol):
    """An objective that can be measured on held-out text."""

    attention: str
    """The kernel."""

    def evaluate(self, batches: Iterable[PretrainBatch]) -> Metrics: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class TextRunReport:
    """What a run came to."""

    model: Path
    """Folder of the finished model."""
    steps: int
    tokens: int
    seconds: float
    """Time spent in steps."""
    held_out: Metrics
    """What was last measured on the held-out documents; empty where there are none."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values."""
        return asdict(self) | {"model": str(self.model)}

    def summary(self) -> str:
        """Return the report in a few lines."""
        lines = [f"{self.steps:,} steps, {self.tokens:,} tokens in {self.seconds / 60:.1f} minutes{self._more()}"]
        if self.held_out:
            lines.append(f"held-out: {describe(self.held_out)}")
        return "\n".join([*lines, f"model: {self.model}"])

    def _more(self) -> str:
        return ""


@dataclass(frozen=True, kw_only=True)
class TextRun:
    """A run that is ready to begin or to go on."""

    settings: TextRunSettings
    out: Path
    world: World
    corpora: list[TokenCorpus]
    tokenizer: Tokenizer
    source: WindowSource
    held_out: Mapping[str, WindowSource]
    """Held-out documents by the name of their folder."""
    trained: nn.Module
    """All that has a gradient."""
    model: AlbertWithHeads
    """What is saved in the end; `trained`, or a part of it."""
    objective: TextObjective
    kept: Mapping[str, Any] = field(default_factory=dict)
    """What the finished model's litebert.json keeps of the model that the run began with."""
    probe: Callable[[], Metrics] | None = None
    """Measures more, beside the objective's own figures on held-out text."""
    hooks: Callable[[MetricsLog], Sequence[Hook]] = lambda _: ()
    bound: Sequence[str] = ()
    """Hashes of what else the run may not go on without."""

    def go(self, received: Callable[[], int], known: bool) -> dict[str, Any]:
        """Run to the end and save the model; returns the fields of a TextRunReport. See `Session.go`."""
        settings = self.settings
        check_target(self.out / "model")
        run = Run(
            model=self.trained,
            optimizer=build_optimizer(self.trained, settings.optimizer),
            stream=BatchStream(self.source),
            progress=Progress(
                earlier_tokens=self.kept.get("trained_tokens", 0), earlier_steps=self.kept.get("trained_steps", 0)
            ),
            seed=settings.seed,
            world=self.world,
        )
        metrics = Session(
            out=self.out,
            run=run,
            objective=self.objective,
            loop=settings.loop,
            schedule=settings.schedule,
            clip=settings.optimizer.clip,
            config=asdict(settings),
            data=[*(corpus.digest for corpus in self.corpora), *self.bound],
            environment={"micro_batches": settings.data.micro_batches, "attention": self.objective.attention},
            branch=Path(settings.branch) if settings.branch else None,
            evaluate=self._evaluate if self.held_out or self.probe else None,
            hooks=self.hooks,
        ).go(received, known)
        if not all(bool(parameter.isfinite().all()) for parameter in self.model.parameters()):
            raise TrainingError(
                f"after step {run.progress.step:,} the weights are no numbers any more, and no model is written; "
                "start again at a lower --learning-rate"
            )
        if self.world.is_first:
            reached = run.progress
            tokens, steps = reached.earlier_tokens + reached.tokens, reached.earlier_steps + reached.step
            done = zip(TRAINED, (tokens, steps), strict=True)
            save_model(self.model, self.out / "model", self.tokenizer, {**self.kept, **dict(done)})
        self.world.wait()
        return {
            "model": self.out / "model",
            "steps": run.progress.step,
            "tokens": run.progress.tokens,
            "seconds": run.progress.seconds,
            "held_out": metrics,
        }

    def _evaluate(self) -> Metrics:
        tokens, sources = self.settings.loop.held_out_tokens, self.held_out.items()
        found = {name: self.objective.evaluate(held_out_batches(source, tokens)) for name, source in sources}
        more = self.probe() if self.probe is not None else {}
        self.trained.train()
        return (joined(found) if found else {}) | more
