"""The report of a run: one HTML page that needs nothing but itself.

Everything is read from the run folder, and from its data folders where they are still there. A run that is going on,
was stopped or crashed has a report too: what is not there is left out or said to be missing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from litebert import config
from litebert.errors import OutputError
from litebert.files import write_text
from litebert.train.charts import figure, short
from litebert.train.curves import curves
from litebert.train.distill import DistillSettings
from litebert.train.page import date, duration, page, percent, plain, table, tile
from litebert.train.pretrain import PretrainSettings
from litebert.train.record import Line, RunRecord, Throughput, is_number, read_run, throughput

INCIDENTS = {
    "resumed": "the run was stopped and went on",
    "rolled_back": "the loss went astray, and the run went back to a checkpoint",
    "damaged_checkpoint": "a checkpoint was not whole, the one before it was used",
    "not_bit_exact": "the run went on elsewhere, its bits may differ from then on",
    "stopped": "the run was asked to stop, and did",
    "plateau": "the model did not learn more than frequencies",
}
"""What the words in `what` mean."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Where the page is, and the figures at its head."""

    report: Path
    finished: bool
    step: int
    steps: int | None
    """Steps that the run was to take."""
    tokens: int
    seconds: float
    held_out: dict[str, float] = field(default_factory=dict)
    """The last evaluation."""
    unigram_entropy: float | None = None
    tokens_per_second: float | None = None
    data_share: float | None = None
    incidents: dict[str, int] = field(default_factory=dict)
    """How many there were of each kind."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values."""
        return asdict(self) | {"report": str(self.report)}


def write_report(run: Path, out: Path | None = None) -> Report:
    """Write the page of a run to `out`, by default `report.html` in the run folder.

    Raises CheckpointError where `run` is no run folder, OutputError where `out` cannot be written.
    """
    page = out or run / "report.html"
    if page.is_dir():
        raise OutputError(f"{page} is a folder; name a file for the page, such as {page / 'report.html'}")
    record = read_run(run)
    speed = throughput(record.train)
    last = record.train[-1] if record.train else {}
    kinds = [str(line.get("what", "?")) for line in record.incidents]
    report = Report(
        report=page,
        finished=record.finished,
        step=record.step,
        steps=_number(record.settings.get("loop.steps")),
        tokens=int(last.get("tokens", 0)),
        seconds=float(last.get("time", 0.0)),
        held_out=_figures(record.held_out[-1]) if record.held_out else {},
        unigram_entropy=record.unigram_entropy,
        tokens_per_second=speed.tokens_per_second if speed else None,
        data_share=speed.data_share if speed else None,
        incidents={kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
    )
    write_text(page, render(record, report, speed))
    return report


def render(record: RunRecord, report: Report, speed: Throughput | None) -> str:
    """Return the page."""
    taught = record.teacher is not None
    default = config.flatten(asdict(DistillSettings() if taught else PretrainSettings()))
    name = record.folder.resolve().name
    body = f"""<header><h1>{escape(name)}</h1>{_badge(record, report)}</header>
<p class="soft">{_subtitle(record)}</p>
<div class="tiles">{_tiles(record, report)}</div>
{_charts(record)}
<h2>Incidents</h2>
{_incidents(record, report)}
<div class="pair">
<section><h2>Throughput</h2><div class="card">{_throughput(record, report, speed)}</div></section>
<section><h2>Environment</h2><div class="card">{_environment(record)}</div></section>
</div>
<h2>Data</h2>
{_data(record, report)}
<h2>Settings</h2>
<p class="soft">Values that differ from the defaults stand out.</p>
<div class="columns">{_settings(record.settings, default)}</div>"""
    return page(f"{name}: report of {'distillation' if taught else 'pre-training'}", body)


def _badge(record: RunRecord, report: Report) -> str:
    if record.finished:
        return '<span class="badge good">finished</span>'
    of = f" of {report.steps:,}" if report.steps else ""
    return f'<span class="badge open">unfinished: step {report.step:,}{of}</span>'


def _subtitle(record: RunRecord) -> str:
    settings = record.settings
    if record.teacher is not None:
        parts = [f"{settings.get('student', '?')}, taught by {record.teacher}"]
    else:
        parts = [f"from {settings['init']}" if settings.get("init") else f"preset {settings.get('preset', '?')}"]
    if record.parameters:
        parts.append(f"{record.parameters / 1e6:.2f}M parameters")
    parts.append(f"length {settings.get('data.pairs.length', '?')}, batch {settings.get('data.batch_size', '?')}")
    parts.append(f"{settings.get('optimizer.name', '?')}, seed {settings.get('seed', '?')}")
    if record.written is not None:
        parts.append(f"last metrics {date(record.written)}")
    return " · ".join(escape(part) for part in parts)


def _tiles(record: RunRecord, report: Report) -> str:
    tiles = [("steps", f"{report.step:,}", f"of {report.steps:,}" if report.steps else "")]
    tiles.append(("tokens read", short(report.tokens), _epochs(record, report)))
    tiles.append(("time in steps", duration(report.seconds), ""))
    held = report.held_out
    if "mlm_loss" in held:
        below = f"{report.unigram_entropy - held['mlm_loss']:.2f} below unigrams" if report.unigram_entropy else ""
        tiles.append(("held-out loss", f"{held['mlm_loss']:.3f}", below))
        tiles.append(("held-out accuracy", percent(held.get("mlm_accuracy", 0.0)), "of masked tokens"))
    if "order_accuracy" in held:
        tiles.append(("held-out sentence order", percent(held["order_accuracy"]), "chance is 50 %"))
    if "cosine" in held:
        tiles.append(("cosine to the teacher", f"{held['cosine']:.3f}", "of held-out sentence vectors"))
    if "sts_b" in held:
        tiles.append(("STS-B dev", f"{held['sts_b']:.1f}", "Spearman, without fine-tuning"))
    if "clinc150" in held:
        tiles.append(("CLINC150", f"{held['clinc150']:.1f} %", "ten examples an intent"))
    if report.tokens_per_second is not None:
        waits = f"waits {percent(report.data_share or 0.0)} for data"
        tiles.append(("tokens/s, median", short(report.tokens_per_second), waits))
    count = len(record.incidents)
    shown = [tile(*one) for one in tiles]
    return "".join([*shown, tile("incidents", str(count), "" if count else "nothing to tell", bad=count > 0)])


def _charts(record: RunRecord) -> str:
    figures = "".join(figure(chart) for chart in curves(record))
    if not figures:
        return '<p class="soft">No metrics have been written yet.</p>'
    return f'<h2>Curves</h2><div class="charts lead">{figures}</div>'


def _incidents(record: RunRecord, report: Report) -> str:
    notes: list[str] = []
    odd = sum(isinstance(v, float) and v - v != 0 for line in (*record.train, *record.held_out) for v in line.values())
    if odd:
        notes.append(f"{odd:,} values of the metrics are not finite; the curves leave them out.")
    if record.unreadable:
        notes.append(f"{record.unreadable:,} lines of metrics.jsonl cannot be read (a kill cuts the last one off).")
    text = "".join(f'<p class="soft">{note}</p>' for note in notes)
    if not record.incidents:
        return f'<div class="card soft">None.{text}</div>'
    summary = ", ".join(
        f"{escape(kind)} × {count}" + (f" ({INCIDENTS[kind]})" if kind in INCIDENTS else "")
        for kind, count in report.incidents.items()
    )
    cells = [
        (plain(line["step"]), str(line.get("what", "?")), str(line.get("detail", ""))) for line in record.incidents
    ]
    rows = "".join(
        f'<tr><td>{escape(step)}</td><td class="what">{escape(what)}</td><td>{escape(detail)}</td></tr>'
        for step, what, detail in cells
    )
    listed = f"<table><thead><tr><th>step</th><th>what</th><th>detail</th></tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="card"><p>{summary}</p><div class="scroll">{listed}</div>{text}</div>'


def _throughput(record: RunRecord, report: Report, speed: Throughput | None) -> str:
    if speed is None:
        return '<span class="soft">No step has been timed.</span>'
    rows = {
        "tokens a second, median": f"{speed.tokens_per_second:,.0f}",
        "seconds a step, median": f"{speed.seconds:.3g}",
        "seconds a step, 95 % at most": f"{speed.slow:.3g}",
        "share of time that waits for data": percent(speed.data_share, 2),
    }
    first = record.train[0]
    if len(record.train) > 1 and "seconds" in first:
        rows["first step, with compilation"] = f"{first['seconds']:.3g} s"
    if report.seconds:
        rows["tokens a second, over all"] = f"{report.tokens / report.seconds:,.0f}"
    return table(rows) + f'<p class="soft">Of {len(record.train):,} logged steps; the first is left out.</p>'


def _environment(record: RunRecord) -> str:
    names = {"torch": "torch", "threads": "threads", "cpu": "processor capability", "litebert": "litebert"}
    rows = {names.get(name, name): plain(value) for name, value in record.environment.items()}
    rows["precision"] = plain(record.settings.get("loop.precision", "?"))
    rows["compiled"] = plain(record.settings.get("loop.compile", "?"))
    rows["device"] = plain(record.settings.get("loop.device", "?"))
    note = "" if record.environment else '<p class="soft">No checkpoint has been written that would say more.</p>'
    return table(rows) + note


def _data(record: RunRecord, report: Report) -> str:
    cards: list[str] = []
    for name, index in record.data.items():
        rows = {"weight": plain(record.settings.get(f"folders.{name}", "?"))}
        if index:
            splits, tokenizer = index.get("splits", {}), index.get("tokenizer", {})
            for split, label in (("train", "training"), ("held_out", "held-out")):
                counts = splits.get(split, {})
                rows[f"{label} documents"] = plain(counts.get("documents", "?"))
                rows[f"{label} tokens"] = plain(counts.get("tokens", "?"))
            rows["unigram entropy"] = f"{plain(splits.get('train', {}).get('unigram_entropy', '?'))} nats"
            rows["vocabulary"] = f"{plain(tokenizer.get('vocab_size', '?'))} pieces"
            rows["tokenizer"] = str(tokenizer.get("fingerprint", "?"))[:16]
            rows["sources"] = ", ".join(map(str, index.get("sources", {}))) or "?"
        note = "" if index else '<p class="soft">This folder is no longer there, so that nothing more is known.</p>'
        cards.append(f'<div class="card"><h3>{escape(name)}</h3>{table(rows)}{note}</div>')
    return f'<div class="pair">{"".join(cards)}</div>' if cards else '<p class="soft">No data folders are named.</p>'


def _settings(settings: Mapping[str, Any], default: Mapping[str, Any]) -> str:
    sections: dict[str, list[str]] = {}
    for name, value in settings.items():
        section, _, key = name.rpartition(".")
        if section == "folders" or name.startswith("folders."):
            continue
        changed = name not in default or default[name] != value
        was = f' <span class="was">default {escape(plain(default[name]))}</span>' if name in default else ""
        sections.setdefault(section, []).append(
            f"<tr{' class=changed' if changed else ''}><th>{escape(key)}</th>"
            f"<td>{escape(plain(value))}{was if changed else ''}</td></tr>"
        )
    return "".join(
        f'<div class="card"><h3>{escape(section or "run")}</h3><table class="settings">{"".join(rows)}</table></div>'
        for section, rows in sections.items()
    )


def _figures(line: Line) -> dict[str, float]:
    """What an evaluation found over all folders, without when."""
    when = ("step", "tokens", "time")
    return {name: float(v) for name, v in line.items() if is_number(v) and name not in when and "/" not in name}


def _epochs(record: RunRecord, report: Report) -> str:
    if len(record.data) != 1:
        return ""
    (index,) = record.data.values()
    tokens = index.get("splits", {}).get("train", {}).get("tokens")
    return f"about {report.tokens / tokens:.2g} epochs" if tokens else ""


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
