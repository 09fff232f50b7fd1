"""A question that the machine's own text answers by itself: which subject is this sentence about?

The package that a paragraph documents is its label. So that the question is fair:
1. the files of the packages are dealt into train, dev and test: the splits share no file
2. only plain English counts: what names a package or spells an identifier is left out
3. paragraphs that begin or end alike count once, over all splits
4. every subject has the same number of rows
"""

import csv
import hashlib
import random
import re
from pathlib import Path

from prose import Module

SUBJECTS = {
    "standard library": "programming",
    "matplotlib": "plotting",
    "networkx": "graphs",
    "scipy": "numerical methods",
    "sklearn": "machine learning",
    "sympy": "symbolic mathematics",
    "torch": "deep learning",
}
"""What each package is about. numpy is left out: it is about what scipy is about."""

ROWS_PER_SUBJECT = {"test": 150, "dev": 50, "train": 200}
"""The splits, in the order in which they choose: nothing much like a row of the test is learned from."""

GIVEAWAY = re.compile(
    r"torch|numpy|scipy|sklearn|scikit|sympy|networkx|matplotlib|pyplot|pylab|python|\b(?:np|nx|plt)\b",
    re.IGNORECASE,
)
"""Words that name a package."""
IDENTIFIER = re.compile(r"_|\w\.\w|[a-z][A-Z]|\(\)|=")
"""Signs of code."""

Rows = dict[str, list[tuple[str, str]]]
"""Per split: (text, subject)."""


def split_of(module: Module) -> str:
    """The split a file is dealt to, by a hash of its name: test 15 %, dev 8 %, train the rest."""
    share = hashlib.sha256(f"{module.package}/{module.path}".encode()).digest()[0] / 256
    return "test" if share < 0.15 else "dev" if share < 0.23 else "train"


def label(modules: list[Module], seed: int = 0) -> Rows:
    """Make the labelled rows of all splits, each in a random order."""
    rows: Rows = {}
    seen: set[str] = set()
    for split, per_subject in ROWS_PER_SUBJECT.items():
        chosen = []
        for package, subject in SUBJECTS.items():
            mine = [module for module in modules if module.package == package and split_of(module) == split]
            lines = [line for module in mine for line in module.paragraphs if _is_fair(line)]
            shuffle(lines, f"{seed} {split} {package}")
            fresh = [line for line in lines if _is_new(line, seen)]
            chosen += [(line, subject) for line in fresh[:per_subject]]
        shuffle(chosen, f"{seed} {split}")
        rows[split] = chosen
    return rows


def shuffle(items: list[str] | list[tuple[str, str]], seed: str) -> None:
    """Put items into an order that depends on the seed alone."""
    random.Random(seed).shuffle(items)


def write_rows(rows: Rows, folder: Path) -> None:
    """Write one CSV file a split, with the columns `text` and `label`."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, pairs in rows.items():
        with (folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "label"))
            writer.writerows(pairs)


def _is_fair(line: str) -> bool:
    return 12 <= len(line.split()) <= 50 and not GIVEAWAY.search(line) and not IDENTIFIER.search(line)


def _is_new(line: str, seen: set[str]) -> bool:
    words = re.findall(r"\w+", line.lower())
    ends = {" ".join(words[:6]), " ".join(words[-6:])}
    if ends & seen:
        return False
    seen |= ends
    return True
