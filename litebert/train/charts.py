"""Line charts as SVG, drawn without a library: they take the colours of the page they stand in, light or dark."""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

Point = tuple[float, float]
Format = Callable[[float], str]

HEIGHT = 260.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 12.0, 28.0
MOST_POINTS = 400
"""Points of a line that is drawn; there are hardly more pixels."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a chart."""

    name: str
    style: str
    """Class of the line in the page's style sheet."""
    points: Sequence[Point]
    """Steps and values, by rising steps; values that are not finite are left out."""
    smooth: bool = False
    """Draw the values themselves faintly and a moving mean over them."""
    said: str | None = None
    """What the legend says beside the name; None: the last value."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What a chart shows, over the steps of a run."""

    title: str
    series: Sequence[Series]
    format: Format
    """Writes a value for the axis and the legend."""
    levels: Sequence[tuple[str, float]] = ()
    """Values to compare with, as dashed lines: a name and a height each."""
    marks: Sequence[float] = ()
    """Steps at which something happened, as upright lines."""
    log: bool = False
    """Logarithmic scale; values of 0 and less are left out."""
    along: str = "step"
    """What the numbers below the picture count."""
    width: float = 480.0
    """Of the picture, in its own units; the page stretches it."""


def figure(chart: Chart) -> str:
    """Return the chart with its title and legend as an HTML `<figure>`; '' where it has no points."""
    series = [(line, _drawable(line.points, chart.log)) for line in chart.series]
    series = [(line, points) for line, points in series if points]
    if not series:
        return ""
    scale = _Scale.of([points for _, points in series], chart)
    body = [_grid(scale, chart)]
    body += [_mark(scale, step) for step in chart.marks if scale.first <= step <= scale.last]
    body += [_level(scale, height) for _, height in chart.levels]
    read: list[dict[str, object]] = []
    keys: list[tuple[str, str, str]] = []
    for line, points in series:
        shown = moving_mean(points, log=chart.log) if line.smooth else points
        if line.smooth and len(points) > 1:
            body.append(_path(scale, thin(points), f"{line.style} faint"))
        body.append(_path(scale, thin(shown), line.style))
        if len(points) <= 40:
            body += [_dot(scale, point, line.style) for point in points]
        keys.append((line.style, line.name, chart.format(shown[-1][1]) if line.said is None else line.said))
        read.append({"name": line.name, "points": [[step, chart.format(value)] for step, value in thin(shown)]})
    keys += [("level", name, chart.format(height)) for name, height in chart.levels]
    legend = "".join(
        f'<span class="key {escape(style)}">{escape(name)} <b>{escape(value)}</b></span>' for style, name, value in keys
    )
    data = escape(json.dumps({"first": scale.first, "last": scale.last, "along": chart.along, "series": read}))
    return (
        f'<figure data-chart="{data}"><figcaption><h3>{escape(chart.title)}</h3><div class="keys">{legend}</div>'
        f'</figcaption><svg viewBox="0 0 {chart.width:g} {HEIGHT:g}" role="img" aria-label="{escape(chart.title)}">'
        f"{''.join(body)}</svg></figure>"
    )


def moving_mean(points: Sequence[Point], *, log: bool = False) -> list[Point]:
    """Return the mean around each point over a fortieth of them all; at the ends of those that there are.

    log: the geometric mean; all values are above 0.
    """
    values = np.array([value for _, value in points])
    values = np.log(values) if log else values
    reach = len(points) // 80
    sums = np.concatenate(([0.0], np.cumsum(values)))
    places = np.arange(len(points))
    start, stop = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(points))
    means = (sums[stop] - sums[start]) / (stop - start)
    means = np.exp(means) if log else means
    return [(step, float(mean)) for (step, _), mean in zip(points, means, strict=True)]


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Return at most `most` points: the lowest and the highest of every stretch, so that no spike is lost."""
    if len(points) <= most:
        return list(points)
    stretches = most // 2
    bounds = [len(points) * i // stretches for i in range(stretches + 1)]
    kept: list[Point] = []
    for start, stop in itertools.pairwise(bounds):
        stretch = points[start:stop]
        ends = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        kept += sorted(ends)
    return kept


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers from `low` to `high`, about as many as asked for."""
    rough = (high - low) / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def short(value: float) -> str:
    """Write a number in a few characters: 12k, 3.4M, 0.0021, 2e-05."""
    size = abs(value)
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}"


@dataclass(frozen=True)
class _Scale:
    """From steps and values to places in the picture."""

    first: float
    last: float
    low: float
    high: float
    log: bool
    width: float

    @classmethod
    def of(cls, lines: Sequence[Sequence[Point]], chart: Chart) -> "_Scale":
        steps = [points[-1][0] for points in lines]
        values = np.array([value for points in lines for _, value in points])
        low, high = float(values.min()), float(values.max())
        # One wild value must not press all others flat: what is far off the rest is drawn at the edge.
        near, far = (float(q) for q in np.quantile(values, (0.01, 0.99)))
        if not chart.log and far > near:
            low, high = max(low, near - 2 * (far - near)), min(high, far + 2 * (far - near))
        heights = [height for _, height in chart.levels]
        low, high = min([low, *heights]), max([high, *heights])
        if chart.log:
            return cls(0.0, max(steps), low / 1.2, high * 1.2, True, chart.width)
        room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        floor = 0.0 if low >= 0 else -math.inf
        return cls(0.0, max(steps), max(low - room, floor), high + room, False, chart.width)

    def x(self, step: float) -> float:
        share = (step - self.first) / (self.last - self.first) if self.last > self.first else 0.5
        return round(LEFT + share * (self.width - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        share = ((math.log(value) if self.log else value) - low) / (high - low)
        return round(HEIGHT - BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - TOP - BOTTOM), 1)

    def value_ticks(self) -> list[float]:
        if not self.log:
            return ticks(self.low, self.high)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        factors = (1, 2, 5) if len(powers) < 4 else (1,)
        return [f * 10.0**p for p in powers for f in factors if self.low <= f * 10.0**p <= self.high]


def _drawable(points: Sequence[Point], log: bool) -> list[Point]:
    return [(step, value) for step, value in points if math.isfinite(value) and (value > 0 or not log)]


def _grid(scale: _Scale, chart: Chart) -> str:
    parts: list[str] = []
    for value in scale.value_ticks():
        y = scale.y(value)
        parts.append(f'<line class="grid" x1="{LEFT:g}" x2="{scale.width - RIGHT:g}" y1="{y}" y2="{y}"/>')
        label = escape(chart.format(value).replace(".0 %", " %"))
        parts.append(f'<text class="axis y" x="{LEFT - 7:g}" y="{y + 4:g}">{label}</text>')
    for step in ticks(scale.first, scale.last, 5 if chart.width < 600 else 10) if scale.last > scale.first else ():
        if step == int(step):
            x, y = scale.x(step), HEIGHT - BOTTOM
            parts.append(f'<text class="axis x" x="{x}" y="{y + 18:g}">{short(step)}</text>')
    return "".join(parts)


def _path(scale: _Scale, points: Sequence[Point], style: str) -> str:
    places = " ".join(f"{scale.x(step):g},{scale.y(value):g}" for step, value in points)
    return f'<polyline class="line {escape(style)}" points="{places}"/>'


def _dot(scale: _Scale, point: Point, style: str) -> str:
    return f'<circle class="dot {escape(style)}" cx="{scale.x(point[0]):g}" cy="{scale.y(point[1]):g}" r="3"/>'


def _level(scale: _Scale, height: float) -> str:
    y = scale.y(height)
    return f'<line class="line level" x1="{LEFT:g}" x2="{scale.width - RIGHT:g}" y1="{y}" y2="{y}"/>'


def _mark(scale: _Scale, step: float) -> str:
    x = scale.x(step)
    return f'<line class="line mark" x1="{x}" x2="{x}" y1="{TOP:g}" y2="{HEIGHT - BOTTOM:g}"/>'
