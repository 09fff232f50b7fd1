"""Plots of what was learnt in legs: a panel a measure, a line a leg."""

from collections.abc import Mapping, Sequence
from pathlib import Path


def draw_legs(
    legs: Sequence[tuple[str, Sequence[Mapping[str, float]]]],
    along: tuple[str, str],
    titles: Mapping[str, str],
    path: Path,
    levels: Mapping[str, tuple[str, float]] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> None:
    """Draw the points of every leg to a PNG.

    legs: name and points, each a measurement by name. along: the name of what runs to the right, and how it is
    called. titles: of the panels, by the name of what they show. levels: dotted lines in some of them, name and height.
    ranges: of what is upward, where a panel is not to fit its points.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    column, label = along
    for axes, (name, title) in zip(figure.subplots(1, len(titles)), titles.items(), strict=True):
        for leg, points in legs:
            across, up = [point[column] for point in points], [point[name] for point in points]
            axes.plot(across, up, marker="o", markersize=3, label=leg)
        if levels and name in levels:
            level, height = levels[name]
            axes.axhline(height, color="0.6", linestyle=":", label=level)
        if ranges and name in ranges:
            axes.set_ylim(*ranges[name])
        axes.set(title=title, xlabel=label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
