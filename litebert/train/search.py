"""A search for the settings of a fine-tuning: trials of other rates, lengths and batches around what is given.

    job -> trial 0: the settings as they are
        -> trials 1 to N - 1: what TPE proposes (Bergstra et al. 2011), ended early where the median was better
        -> the winner as recipe.toml, and its model, trained once more

Beside OUT lies `OUT.tune`: `search.toml` (of what the search is), `trials.jsonl` (a line for every finished trial) and
`recipe.toml`. A trial is a function of the seed and of the trials before it, so a search that was killed goes on where
it was and ends as if nothing had happened.
"""

import json
import math
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from litebert import config
from litebert.console import log, progress
from litebert.data.catalog import find_model
from litebert.data.labelled import Columns
from litebert.errors import ConfigError, OutputError
from litebert.files import held, in_use, require_empty, sha256, write_text
from litebert.interop.huggingface import fingerprint
from litebert.train.finetune import carry_out
from litebert.train.fit import Evaluation, Fit, Watch
from litebert.train.job import FinetuneSettings, Job, read_job
from litebert.train.results import FinetuneReport, plain

if TYPE_CHECKING:
    import optuna

LOOKS = 5
"""Looks at the dev set in a trial, at the same shares of the training, so that trials of any length can be compared."""

FIRST = 5
"""Trials before TPE has something to go by: what they try is drawn at random, and none is ended early."""

RATE_FACTOR, EPOCHS_FACTOR = 4.0, 2.0
"""It is searched from the given rate and epochs divided by these to the given ones times these."""
BATCH_FACTORS = (0.5, 1.0, 2.0)
LARGEST_WARMUP, LARGEST_DECAY = 0.2, 0.1
"""It is searched from 0 to these, or to what is given where that is more."""

TRIALS = "trials.jsonl"

DOMAIN = 6
"""Of random numbers, beside the seed."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One that has ended."""

    number: int
    settings: dict[str, float]
    """What was tried."""
    looks: list[tuple[int, float]]
    """Of each look at the dev set: which of LOOKS it was, from 1, and the primary metric."""
    score: float | None
    """The best of them; None: it was ended early, or went wrong."""
    loss: float | None
    """The dev loss there."""
    note: str = ""
    """Why there is no score."""

    def said(self, metric: str) -> str:
        """A line for people."""
        tried = ", ".join(f"{name} {value:g}" for name, value in self.settings.items())
        return f"trial {self.number}: {tried}: {self.note or f'{metric} {self.score:.4f}'}"


@dataclass(frozen=True, kw_only=True)
class SearchReport:
    """What a search came to."""

    trials: list[Trial]
    winner: int
    recipe: Path
    """What `--config` takes to fine-tune so again."""
    finetuned: FinetuneReport

    def to_dict(self) -> dict[str, Any]:
        """The report of the winner's fine-tuning, and `search`."""
        trials = [asdict(trial) for trial in self.trials]
        search = {"winner": self.winner, "recipe": str(self.recipe), "trials": trials}
        return self.finetuned.to_dict() | {"search": plain(search)}


def search(
    task: str,
    *,
    model: Path | str,
    train: Path | str,
    dev: Path | str,
    out: Path | str,
    trials: int,
    columns: Columns | None = None,
    settings: FinetuneSettings | None = None,
) -> SearchReport:
    """Try `trials` settings, and write the model of the best ones to `out`.

    Each trial is one fine-tuning with `settings.seed`; the winner is trained once more, with all of `settings.seeds`.
    Raises what `finetune` raises; ConfigError for no trials, where optuna is not installed, and where no trial came to
    an end; OutputError where beside `out` lies a search of something else, or one that is going on.
    """
    out, settings = Path(out), settings or FinetuneSettings()
    if trials < 1:
        raise ConfigError(f"--tune {trials}: expected 1 trial or more")
    _require_optuna()
    require_empty(out)
    job = read_job(task, model=model, train=train, dev=dev, columns=columns, settings=settings)
    folder = out.with_name(f"{out.name}.tune")
    with held(folder) as ours:
        if not ours:
            raise in_use(folder)
        finished = _claim(folder, job)
        job.announce()
        with progress("tuning", trials, "trials") as advance:
            advance(len(finished))
            while len(finished) < trials:
                finished.append(_try(job, finished))
                log(finished[-1].said(job.primary))
                write_text(folder / TRIALS, "".join(json.dumps(asdict(trial)) + "\n" for trial in finished))
                advance()
        winner = _best(finished)
        chosen = replace(job, settings=_with(job, winner.settings))
        recipe = folder / "recipe.toml"
        write_text(recipe, config.dump(_recipe(chosen.settings)))
        log(f"the best is {winner.said(job.primary)}; its recipe, for --config: {recipe}")
        return SearchReport(trials=finished, winner=winner.number, recipe=recipe, finetuned=carry_out(chosen, out))


class _EndedEarly(Exception):
    """A trial is not worth going on with."""


class _TrialWatch(Watch):
    """Notes the looks at the dev set, and ends a trial that falls behind."""

    def __init__(self, trial: "optuna.Trial | None", metric: str) -> None:
        self.trial, self.metric, self.total = trial, metric, 1
        self.looks: dict[int, float] = {}

    def step(self, done: int, total: int, loss: float) -> None:
        """Take note of the length."""
        self.total = total

    def evaluation(self, evaluation: Evaluation) -> None:
        """Note one look for each of LOOKS shares of the training; raises _EndedEarly."""
        place, value = round(LOOKS * evaluation.step / self.total), evaluation.metrics[self.metric]
        if place == 0 or place in self.looks or not math.isfinite(value):
            return
        self.looks[place] = value
        if self.trial is not None and place < LOOKS:
            self.trial.report(value, place)
            if self.trial.should_prune():
                raise _EndedEarly


def _try(job: Job, finished: Sequence[Trial]) -> Trial:
    """The next trial: a function of the job and of the trials before it."""
    number = len(finished)
    trial, tried = (None, _given(job)) if number == 0 else _propose(job, finished)
    watch, note = _TrialWatch(trial, job.primary), ""
    attempt, fit = replace(job, settings=_with(job, tried)), Fit(rate=tried["learning_rate"], primary_metric="")
    try:
        fit = attempt.fit(job.settings.seed, attempt.rate, watch)
        note = fit.problem
    except _EndedEarly:
        note = f"ended early at {len(watch.looks)} of {LOOKS} looks at the dev set"
    score, loss = (None, None) if note else (float(fit.score[0]), float(-fit.score[1]))
    looks = [(place, float(value)) for place, value in watch.looks.items()]
    return Trial(number=number, settings=tried, looks=looks, score=score, loss=loss, note=note)


def _given(job: Job) -> dict[str, float]:
    """The settings that are searched, as they are."""
    resolved = job.resolved()
    return {
        "learning_rate": job.rate,
        "epochs": resolved["epochs"],
        "batch_size": job.settings.batch_size,
        "warmup": job.settings.warmup,
        "weight_decay": job.settings.weight_decay,
    }


def _space(job: Job) -> "dict[str, optuna.distributions.BaseDistribution]":
    """Where it is searched: around the settings as they are."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    given = _given(job)
    rate, epochs, batch = (given[name] for name in ("learning_rate", "epochs", "batch_size"))
    return {
        "learning_rate": FloatDistribution(rate / RATE_FACTOR, rate * RATE_FACTOR, log=True),
        "epochs": FloatDistribution(epochs / EPOCHS_FACTOR, epochs * EPOCHS_FACTOR, log=True),
        "batch_size": CategoricalDistribution(sorted({max(1, round(batch * factor)) for factor in BATCH_FACTORS})),
        "warmup": FloatDistribution(0.0, max(LARGEST_WARMUP, given["warmup"])),
        "weight_decay": FloatDistribution(0.0, max(LARGEST_DECAY, given["weight_decay"])),
    }


def _propose(job: Job, finished: Sequence[Trial]) -> "tuple[optuna.Trial, dict[str, float]]":
    """What to try after these trials, with three digits; and optuna's side of it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = int(np.random.default_rng([job.settings.seed, DOMAIN, len(finished)]).integers(2**31))
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=FIRST),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST, n_warmup_steps=2),
    )
    space, state = _space(job), optuna.trial.TrialState
    for trial in finished:
        study.add_trial(
            optuna.trial.create_trial(
                state=state.PRUNED if trial.score is None else state.COMPLETE,
                value=trial.score,
                params=trial.settings,
                distributions=space,
                intermediate_values=dict(trial.looks),
            )
        )
    asked = study.ask(space)
    return asked, {name: _rounded(value, space[name]) for name, value in asked.params.items()}


def _rounded(value: float, where: Any) -> float:
    return value if isinstance(value, int) else float(np.clip(float(f"{value:.3g}"), where.low, where.high))


def _with(job: Job, tried: dict[str, float]) -> FinetuneSettings:
    every = job.settings.evaluate_every or tried["epochs"] / LOOKS
    return replace(job.settings, evaluate_every=every, **tried)  # type: ignore[arg-type]


def _best(finished: Sequence[Trial]) -> Trial:
    """The trial with the best score; of equal ones that with the lowest loss, as the best state of a fit."""
    scored = [trial for trial in finished if trial.score is not None]
    if not scored:
        raise ConfigError(
            f"none of {len(finished)} trials came to a good end (the last one: {finished[-1].note}); "
            "give another --learning-rate to search around"
        )
    return max(scored, key=lambda trial: (trial.score or 0.0, -(trial.loss or 0.0)))


def _recipe(settings: FinetuneSettings) -> dict[str, Any]:
    """What differs from the defaults."""
    return {
        field.name: value for field in fields(settings) if (value := getattr(settings, field.name)) != field.default
    }


def _claim(folder: Path, job: Job) -> list[Trial]:
    """The trials of this very search that are in its folder, none where it is new; raises OutputError."""
    columns = {name: value for name, value in job.train.rows.columns._asdict().items() if value is not None}
    models = {"model": job.folder} | ({"teacher": find_model(job.settings.teacher)} if job.settings.teacher else {})
    files = {name: Path(file) for name, file in job.inputs.items()}
    if job.settings.unlabelled:
        files["unlabelled"] = Path(job.settings.unlabelled)
    what: dict[str, Any] = {"task": job.task.name, "columns": columns}
    what |= {name: fingerprint(folder) for name, folder in models.items()}
    what |= {name: sha256(file) for name, file in files.items()}
    told = config.dump(what | {"settings": asdict(job.settings)})
    file = folder / "search.toml"
    if not file.exists():
        require_empty(folder)
        write_text(file, told)
        return []
    then, now = (config.flatten(tree) for tree in (config.read_toml(file), tomllib.loads(told)))
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            kind = f"with {name} = {then.get(name)!r}" if name.startswith("settings.") else f"of another {name}"
            raise OutputError(f"{folder} holds a search {kind}: give another --out, or remove that folder")
    if not (folder / TRIALS).exists():
        return []
    lines = (folder / TRIALS).read_text(encoding="utf-8").splitlines()
    finished = [_trial(json.loads(line)) for line in lines]
    log(f"{folder}: {len(finished)} trials are finished; going on after them")
    return finished


def _trial(values: dict[str, Any]) -> Trial:
    return Trial(**values | {"looks": [(place, value) for place, value in values["looks"]]})


def _require_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ConfigError("--tune needs optuna, which is not installed: pip install 'litebert[tune]'") from None
