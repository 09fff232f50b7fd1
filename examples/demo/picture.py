"""The learning curves and the comparison as one picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # a file is wanted, not a window

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

INK, MUTED, PALE, ACCENT, SECOND = "#22303c", "#6b7a88", "#c9d3dc", "#d1495b", "#2e7f93"
STYLE: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.1,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.wspace": 0.06,
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": PALE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlepad": 12,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": "#e9eef2",
    "legend.frameon": False,
}

Metrics = list[dict[str, float | str]]
"""The lines of a run's `metrics.jsonl`."""


def draw(metrics: Metrics, unigram: float, accuracies: Mapping[str, float], rows: int, path: Path) -> None:
    """Write the picture as PNG.

    `unigram` is the entropy of the vocabulary in nats. `accuracies` are those of the competitors on `rows`
    rows; the first is the one to point out.
    """
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 3, figsize=(13, 4))
        _loss(panels[0], metrics, unigram)
        _accuracy(panels[1], metrics)
        _comparison(panels[2], accuracies, rows)
        figure.savefig(path, dpi=150)
        plt.close(figure)


def compare(accuracies: Mapping[str, float], rows: int, path: Path) -> None:
    """Write the comparison alone as PNG."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6, 4))
        _comparison(axes, accuracies, rows)
        figure.savefig(path, dpi=150)
        plt.close(figure)


def _series(metrics: Metrics, kind: str, name: str) -> tuple[list[float], list[float]]:
    """Millions of tokens read, and the values of a metric there."""
    lines = [line for line in metrics if line["kind"] == kind and name in line]
    return [float(line["tokens"]) / 1e6 for line in lines], [float(line[name]) for line in lines]


def _loss(axes: Axes, metrics: Metrics, unigram: float) -> None:
    axes.set_title("Pre-training: guess the masked words")
    axes.plot(*_series(metrics, "train", "mlm_loss"), color=PALE, linewidth=1, label="training batches")
    tokens, losses = _series(metrics, "held_out", "mlm_loss")
    axes.plot(tokens, losses, color=ACCENT, linewidth=2, marker="o", markersize=4, label="held-out text")
    axes.axhline(unigram, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    note = "knowing only how frequent words are"
    place = ("axes fraction", "data")
    _note(axes, note, (1, unigram), (0, 4), xycoords=place, ha="right", color=MUTED, fontsize=9)
    _note(
        axes,
        f"{losses[-1]:.2f}",
        (tokens[-1], losses[-1]),
        (0, 8),
        ha="center",
        fontweight="bold",
        color=ACCENT,
    )
    axes.set(xlabel="million tokens read", ylabel="loss (nats)")
    axes.set_ylim(axes.get_ylim()[0] - 0.4)  # room for the legend
    axes.grid(axis="y")
    axes.legend(loc="lower left", fontsize=9, ncols=2)


def _accuracy(axes: Axes, metrics: Metrics) -> None:
    axes.set_title("Answers that are right on held-out text")
    for name, label, color in (
        ("order_accuracy", "which of two segments came first", SECOND),
        ("mlm_accuracy", "which word was masked", ACCENT),
    ):
        tokens, values = _series(metrics, "held_out", name)
        if not values:
            continue
        percent = [100 * value for value in values]
        axes.plot(tokens, percent, color=color, linewidth=2, marker="o", markersize=4)
        place = (tokens[-1], percent[-1])
        _note(axes, f"{label}: {percent[-1]:.0f} %", place, (4, 9), ha="right", color=color, fontweight="bold")
    axes.set(xlabel="million tokens read", ylim=(0, 100))
    axes.yaxis.set_major_formatter("{x:.0f} %")
    axes.grid(axis="y")


def _comparison(axes: Axes, accuracies: Mapping[str, float], rows: int) -> None:
    axes.set_title(f"The subject of {rows:,} unseen sentences")
    for row, (name, accuracy) in enumerate(accuracies.items()):
        color = SECOND if row == 0 else PALE
        axes.barh(row, 100 * accuracy, color=color, height=0.42)
        _note(axes, name, (0, row - 0.25), (1, 3), fontsize=10)
        _note(axes, f"{100 * accuracy:.1f} %", (100 * accuracy, row), (5, 0), va="center", fontweight="bold")
    axes.set(xlim=(0, 100), ylim=(len(accuracies) - 0.6, -0.75), yticks=[])
    axes.xaxis.set_major_formatter("{x:.0f} %")
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="x", length=0)


def _note(axes: Axes, text: str, place: tuple[float, float], shift: tuple[float, float], **style: Any) -> None:
    """Write a text beside a point, shifted by some typographic points."""
    axes.annotate(text, place, xytext=shift, textcoords="offset points", **style)
