"""The table as one HTML page that needs nothing but itself: marks, curves, confusions, reliability, rules."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from litebert.evaluate.calibration import pooled_bins
from litebert.exam.sitting import BASELINES, MODEL, TWIN
from litebert.exam.table import MEANING, METRICS, PUBLISHED, UNKNOWN, Line, Table
from litebert.files import write_text
from litebert.train.charts import Chart, Series, figure
from litebert.train.page import duration, page, percent, tile

MOST_LABELS = 12
"""More labels than this make no matrix that could be read: the likeliest confusions are listed instead."""
MOST_CONFUSIONS = 12


def write_page(table: Table, path: Path) -> None:
    """Write the page; raises OutputError where it cannot be written."""
    write_text(path, render(table))


def render(table: Table) -> str:
    """Return the page."""
    sat = [line for line in table.lines if line.results]
    body = f"""<header><h1>{escape(table.name)}</h1></header>
<p class="soft">{escape(table.described)} · litebert {escape(str(table.about["litebert"]))}</p>
<div class="tiles">{_tiles(table, sat)}</div>
<h2>Marks</h2>
<p class="soft">{escape(MEANING)} A dark tick on a bar is the baseline, an orange one the random twin.</p>
{_marks(table)}
{_published(table)}
{"".join(_section(line) for line in sat)}
<h2>Rules and remarks</h2>
{_notes(table)}"""
    return page(f"{table.name}: benchmarks", body)


def _tiles(table: Table, sat: Sequence[Line]) -> str:
    seconds = sum(result["seconds"] for line in sat for found in line.results.values() for result in found)
    sittings = sum(len(found) for line in sat for found in line.results.values())
    lacking = len(table.lacks)
    return "".join(
        (
            tile("sets", str(len(sat)), f"{lacking} more are not there" if lacking else ""),
            tile("sittings", str(sittings), "fine-tunings and baselines"),
            tile("time", duration(seconds), "training and judging"),
        )
    )


def _first(line: Line, system: str) -> float:
    scores = line.scores(system, line.one.metrics[0])
    return sum(scores) / len(scores)


def _marks(table: Table) -> str:
    """A row a set: the first mark with a bar from 0 to 100, other marks and remarks below in small."""
    twin = ["random twin"] if table.has_twin else []
    columns = ["set", table.name, *twin, "baseline", "train rows", "test rows", "seeds", "minutes"]
    heads = "".join(f"<th{' class=num' if i else ''}>{escape(head)}</th>" for i, head in enumerate(columns))
    return _grid(heads, [f"<tr>{''.join(_cells(line, bool(twin)))}</tr>" for line in table.lines])


def _cells(line: Line, twin: bool) -> list[str]:
    name = escape(line.one.title)
    link = f'<a href="#{escape(line.one.name)}">{name}</a>' if line.results else name
    rows, available = line.material.rows, line.material.available
    counts = [(rows[p], f"of {available[p]:,}" if rows[p] < available[p] else "") for p in ("train", "test")]
    return [
        f"<td>{link}{_small(line.metrics)}</td>",
        f'<td class="num mark">{_split(line, MODEL)}{_bar(line) if MODEL in line.results else ""}</td>',
        *([f"<td class=num>{_split(line, TWIN)}</td>"] if twin else []),
        f"<td class=num>{_split(line, line.baseline, BASELINES.get(line.baseline or '', ''))}</td>",
        *(f"<td class=num>{count:,}{_small(note)}</td>" for count, note in counts),
        f"<td class=num>{len(line.results.get(MODEL, ()))}</td>",
        f"<td class=num>{line.minutes:.1f}</td>",
    ]


def _split(line: Line, system: str | None, note: str = "") -> str:
    """A system's first mark, and the others below it."""
    first, *others = line.marks(system).split(" / ")
    return f"{escape(first or '–')}{_small(' / '.join(others))}{_small(note)}"


def _small(text: str) -> str:
    return f"<small>{escape(text)}</small>" if text else ""


def _bar(line: Line) -> str:
    """The first mark as a bar; ticks where twin and baseline are."""
    ticks = [(system, style) for system, style in ((TWIN, "twin"), (line.baseline, "base")) if system in line.results]
    shown = "".join(f'<i class="{style}" style="left:{_place(line, str(system)):.1f}%"></i>' for system, style in ticks)
    return f'<span class="bar"><i style="width:{_place(line, MODEL):.1f}%"></i>{shown}</span>'


def _place(line: Line, system: str) -> float:
    return min(max(_first(line, system), 0.0), 100.0)


def _published(table: Table) -> str:
    if not table.marked:
        return ""
    heads, rows = table.published_cells()
    head = "".join(f"<th{' class=num' if i else ''}>{escape(text)}</th>" for i, text in enumerate(heads))
    body = [
        f"<tr{' class=changed' if number == 0 else ''}>"
        + "".join(f"<td{' class=num' if i else ''}>{escape(cell)}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for number, row in enumerate(rows)
    ]
    return f'<h2>Beside published results</h2><p class="soft">{escape(PUBLISHED)}</p>{_grid(head, body)}'


def _grid(heads: str, rows: Sequence[str]) -> str:
    return (
        f'<div class="card scroll"><table class="marks"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _section(line: Line) -> str:
    """Everything of one set."""
    parts = [_curves(line), _losses(line), _reliability(line), _confusion(line), _others(line), _unknown(line)]
    shown = "".join(part for part in parts if part)
    title = f'<h2 id="{escape(line.one.name)}">{escape(line.one.title)}</h2>'
    if MODEL not in line.results or not shown:
        return ""
    system = line.baseline
    beside = [f"{METRICS[line.one.metrics[0]]} {line.marks(MODEL).split(' / ')[0]}"]
    if TWIN in line.results:
        beside.append(f"random twin {line.marks(TWIN).split(' / ')[0]}")
    if system:
        beside.append(f"{BASELINES[system]} {line.marks(system).split(' / ')[0]}")
    return f'{title}<p class="soft">{escape(" · ".join(beside))}</p><div class="charts">{shown}</div>'


def _looks(line: Line, key: str) -> list[Series]:
    series = []
    for system, style in ((MODEL, "train"), (TWIN, "held")):
        for result in line.results.get(system, ()):
            points = [(float(look["step"]), float(look[key])) for look in result["curve"] if look[key] is not None]
            name = f"seed {result['seed']}" if system == MODEL else "random twin"
            series.append(Series(name=name, style=style, points=points))
    return series


def _curves(line: Line) -> str:
    name = line.one.select or line.one.metrics[0]
    series = [
        Series(name=one.name, style=one.style, points=[(x, line.scale * y / 100) for x, y in one.points])
        for one in _looks(line, "dev")
    ]
    shown = METRICS.get(name, name.replace("_", " + "))
    return figure(Chart(title=f"{shown[0].upper()}{shown[1:]} on dev rows, by step", series=series, format=percent))


def _losses(line: Line) -> str:
    return figure(Chart(title="Training loss, by step", series=_looks(line, "loss"), format=lambda v: f"{v:.3g}"))


def _reliability(line: Line) -> str:
    """Confidence and accuracy of the answers in equal bins, over all seeds; on the diagonal they agree."""
    bins, error, before = pooled_bins(line.bins()), line.calibration_error(), line.calibration_error(before=True)
    if error is None:
        return ""
    said = percent(error) + ("" if before is None else f", {percent(before)} before temperature scaling")
    series = (
        Series(name="as sure as right", style="level", points=[(0.0, 0.0), (100.0, 1.0)], said=""),
        Series(
            name="answers; calibration error",
            style="train",
            said=said,
            points=[(round(100 * one.confidence, 1), one.accuracy) for one in bins],
        ),
    )
    return figure(Chart(title="Right, by confidence in %", series=series, format=percent, along="confidence"))


def _confusion(line: Line) -> str:
    counts = line.confusion()
    labels = list(dict.fromkeys((*counts, *(answer for row in counts.values() for answer in row))))
    if not labels:
        return ""
    if len(labels) > MOST_LABELS:
        return _confused(counts)
    heads = "".join(f"<th>{escape(label)}</th>" for label in labels)
    rows = []
    for right in labels:
        total = sum(counts.get(right, {}).values())
        cells = []
        for answer in labels:
            share = counts.get(right, {}).get(answer, 0) / total if total else 0.0
            style = "right" if right == answer else "wrong"
            cells.append(f'<td class="{style}" style="--share:{share:.3f}">{percent(share)}</td>')
        rows.append(f"<tr><th>{escape(right)}</th>{''.join(cells)}<td class=soft>{total:,}</td></tr>")
    return (
        f'<div class="card"><h3>Answers for each right label, all seeds</h3><div class="scroll">'
        f'<table class="matrix"><thead><tr><th>right \\ answer</th>{heads}<th>rows</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></div>"
    )


def _confused(counts: dict[str, dict[str, int]]) -> str:
    """The likeliest confusions of many labels."""
    wrong = [
        (rows / sum(row.values()), right, answer)
        for right, row in counts.items()
        for answer, rows in row.items()
        if answer != right
    ]
    found = sorted(wrong, reverse=True)[:MOST_CONFUSIONS]
    if not found:
        return ""
    rows = "".join(
        f"<tr><td>{escape(right)}</td><td>{escape(answer)}</td><td class=num>{percent(share)}</td></tr>"
        for share, right, answer in found
    )
    return (
        f'<div class="card"><h3>Most confused of {len(counts)} labels, all seeds</h3><table><thead><tr><th>right</th>'
        f"<th>answer</th><th class=num>of its rows</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _others(line: Line) -> str:
    others = line.others()
    if not others:
        return ""
    others = {"its own test": _first(line, MODEL)} | others
    rows = "".join(
        f'<tr><th>{escape(name)}</th><td class="num mark">{value:.1f}<span class="bar">'
        f'<i style="width:{value:.1f}%"></i></span></td></tr>'
        for name, value in others.items()
    )
    metric = METRICS[line.one.metrics[0]]
    return f'<div class="card"><h3>Further tests, {escape(metric)}</h3><table class="marks">{rows}</table></div>'


def _unknown(line: Line) -> str:
    heads, rows = line.unknown_cells()
    if not rows:
        return ""
    head = "".join(f"<th{' class=num' if i else ''}>{escape(text)}</th>" for i, text in enumerate(heads))
    body = "".join(
        f"<tr><th>{escape(name)}</th>{''.join(f'<td class=num>{cell}</td>' for cell in cells)}</tr>"
        for name, *cells in rows
    )
    return (
        f'<div class="card"><h3>Texts of none of the labels</h3><p class="soft">{escape(UNKNOWN)}</p>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _notes(table: Table) -> str:
    rows = [(line.one.title, "; ".join(line.notes())) for line in table.lines if line.notes()]
    rows += [("not there", said) for said in table.lacks]
    rows += [("GLUE's server", said) for said in table.server_notes()]
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(said)}</td></tr>" for name, said in rows)
    return f'<div class="card"><table>{body}</table></div>'
