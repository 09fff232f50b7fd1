"""Runs on raw text: `pretrain`, `distill`, and the `report` of one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from litebert.commands.flags import Answer, Many, MaybeWhole, Set, Switch, T, resolve
from litebert.errors import ConfigError


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """What every run on prepared text is told."""

    out: Path
    """Folder of the run: config.toml, metrics.jsonl, checkpoints/, tensorboard/ and, at the end, model/."""
    data: Annotated[list[str] | None, Many] = None
    """Prepared folders, each with an optional weight: DIR or DIR=WEIGHT."""
    config: Path | None = None
    """TOML file of settings, such as one of recipes/."""
    resume: Switch = False
    """Go on from the newest checkpoint in `out`."""
    branch: str | None = None
    """Folder of a run whose newest checkpoint this one begins with: weights, optimizer and place in the data."""
    steps: MaybeWhole = None
    """Steps of the whole run."""
    minutes: float | None = None
    """Stop after so many minutes, with a checkpoint and a model; --resume goes on."""
    batch_size: MaybeWhole = None
    """Sequences of full length a step; times length it is the token budget of a step."""
    length: MaybeWhole = None
    """Longest sequence in tokens."""
    seed: MaybeWhole = None
    """Decides new weights, order, masks and dropout."""
    learning_rate: float | None = None
    """Peak rate."""
    precision: str | None = None
    """auto, bf16 or fp32."""
    checkpoint_every: MaybeWhole = None
    """Steps between checkpoints."""
    device: str | None = None
    """auto, cpu or cuda."""
    assignments: Set = None

    def settings(self, cls: type[T], **more: Any) -> T:
        """Return the settings of that kind, `more` flags included."""
        from litebert.train.corpora import weighted

        flags = more | {
            "folders": weighted(self.data) if self.data else None,
            "seed": self.seed,
            "branch": self.branch,
            "data.batch_size": self.batch_size,
            "data.pairs.length": self.length,
            "optimizer.learning_rate": self.learning_rate,
            "loop.steps": self.steps,
            "loop.minutes": self.minutes,
            "loop.precision": self.precision,
            "loop.checkpoint_every": self.checkpoint_every,
            "loop.device": self.device,
        }
        return resolve(cls, self.config, flags, self.assignments)


def pretrain(*, run: RunFlags, preset: str | None = None, model: str | None = None) -> Answer:
    """Pre-train on prepared text: masked language modelling and sentence order.

    Parameters
    ----------
    preset
        Shape of a fresh model: tiny, mini, small, base, large, xlarge, xxlarge.
    model
        Folder or name of a model to go on from, instead of fresh weights (domain adaptation).
    """
    from litebert.data.catalog import find_model
    from litebert.train.pretrain import PretrainSettings
    from litebert.train.pretrain import pretrain as start

    if preset is not None and model is not None:
        raise ConfigError("--preset and --model contradict each other; --model brings its own shape")
    settings = run.settings(PretrainSettings, preset=preset, init=str(find_model(model)) if model else None)
    report = start(settings, run.out, resume=run.resume)
    return Answer(data=report.to_dict(), text=report.summary())


def distill(*, run: RunFlags, model: str | None = None, teacher: str | None = None) -> Answer:
    """Teach a model to answer like another one, on prepared raw text.

    Parameters
    ----------
    model
        Folder of the student.
    teacher
        Folder or name of the teacher. Where both have one tokenizer, --data are folders prepared with it; where they
        differ, files or folders of text.
    """
    from litebert.train.distill import DistillSettings
    from litebert.train.distill import distill as start

    report = start(run.settings(DistillSettings, student=model, teacher=teacher), run.out, resume=run.resume)
    return Answer(data=report.to_dict(), text=report.summary())


def report(run: Path, /, *, out: Path | None = None) -> Answer:
    """Write what a run of pretrain or distill did as one HTML page that needs nothing but itself.

    Parameters
    ----------
    run
        Folder of the run; it may be going on, stopped or finished.
    out
        File of the page; `report.html` in the run folder where not given.
    """
    from litebert.train.report import write_report

    written = write_report(run, out)
    return Answer(data=written.to_dict(), text=str(written.report))
