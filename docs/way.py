"""Draws `docs/way.png`, the picture of the README: the way from text to answers. Run: python docs/way.py."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch

INK, MUTED, LINE = "#22303c", "#6b7a88", "#9fb0be"
STAGES = (
    ("raw text", "files of any size", "#f3e3d3", "tokenizer\nprepare"),
    ("token shards", "stored once, masked\nafresh every epoch", "#e6eef3", "pretrain"),
    ("encoder", "one shared block, a\nsmall embedding", "#cfe3e8", "finetune"),
    ("task model", "a folder that others\nopen, too", "#e6eef3", "predict\nevaluate"),
    ("answers", "labels with their\nprobabilities", "#f6d9dc", ""),
)
"""Name, a word about it, colour, and the commands that lead to the next stage."""
WIDTH, GAP, HEIGHT = 2.25, 1.2, 1.15


def main() -> None:
    """Write the picture beside this file."""
    span = len(STAGES) * (WIDTH + GAP) - GAP
    figure, axes = plt.subplots(figsize=(13, 2.1))
    for number, (name, about, color, commands) in enumerate(STAGES):
        left = number * (WIDTH + GAP)
        box = FancyBboxPatch((left, 0), WIDTH, HEIGHT, "round,pad=0,rounding_size=0.12", fc=color, ec="none")
        axes.add_patch(box)
        axes.text(left + WIDTH / 2, 0.84, name, ha="center", va="center", size=13, weight="bold", color=INK)
        axes.text(left + WIDTH / 2, 0.38, about, ha="center", va="center", size=9, color=MUTED)
        if commands:
            start, end = left + WIDTH + 0.06, left + WIDTH + GAP - 0.06
            arrow = {"arrowstyle": "-|>", "color": LINE, "linewidth": 1.6}
            axes.annotate("", (end, HEIGHT / 2), (start, HEIGHT / 2), arrowprops=arrow)
            middle = (start + end) / 2
            axes.text(middle, 0.7, commands, ha="center", va="bottom", size=9, family="monospace", color=INK)
    axes.set(xlim=(-0.1, span + 0.1), ylim=(-0.15, HEIGHT + 0.15))
    axes.axis("off")
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=130, bbox_inches="tight", facecolor="white")


if __name__ == "__main__":
    main()
