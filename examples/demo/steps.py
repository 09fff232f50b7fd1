"""What both demos do: show each command they run, time their steps, and hold models against each other."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import baseline
import prose
import questions
from rich.console import Console
from rich.table import Table

LITEBERT = Path(sys.executable).with_name("litebert")

NEW_SENTENCES = (
    "Open the log, read it line by line, and close it even when something goes wrong.",
    "Move the legend to the upper left corner and draw the grid in light grey.",
    "A cycle that visits every vertex exactly once is called Hamiltonian.",
    "Approximate the integral with the trapezoidal rule and estimate the error.",
    "Hold out a fifth of the samples to see whether the classifier has overfitted.",
    "Expand the product, collect the terms in x and factor what remains.",
    "The gradients of all layers are summed over the devices before the weights are updated.",
)

console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)


class Demo:
    """A folder of output, and the steps that fill it."""

    def __init__(self, out: Path) -> None:
        """Begin with an empty folder."""
        os.environ.setdefault("MPLCONFIGDIR", str(out.absolute() / "cache"))
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        self.out = out
        self.seconds: dict[str, float] = {}
        """How long each step took."""

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step, and time it."""
        console.print(f"\n[bold cyan]{len(self.seconds) + 1}. {title}[/]")
        start = time.monotonic()
        yield
        self.seconds[title] = time.monotonic() - start

    @property
    def minutes(self) -> float:
        """Minutes of all steps so far."""
        return sum(self.seconds.values()) / 60

    def label(self, modules: list[prose.Module]) -> questions.Rows:
        """Write the labelled rows; those of dev and test come from other files than those of train."""
        rows = questions.label(modules)
        questions.write_rows(rows, self.out / "subjects")
        counts = ", ".join(f"{len(pairs):,} to {split}" for split, pairs in rows.items())
        console.print(
            f"{self.out / 'subjects'}: sentences labelled by the package they come from: {counts}", soft_wrap=True
        )
        for text, subject in rows["train"][:3]:
            console.print(f"   [dim]{subject}: {text[:90]}{'...' if len(text) > 90 else ''}[/]", soft_wrap=True)
        return rows

    def finetune(self, model: Path | str) -> None:
        """Fine-tune a model to tell subjects, and its twin that starts from random weights."""
        subjects = self.out / "subjects"
        labelled = ("--train", subjects / "train.csv", "--dev", subjects / "dev.csv")
        litebert("finetune", "classify", "--model", model, *labelled, "--out", self.out / "model")
        litebert("finetune", "classify", "--model", model, *labelled, "--out", self.out / "twin", "--from-scratch")

    def answers(self, model: Path | str, texts: tuple[str, ...], name: str) -> list[dict[str, Any]]:
        """Let a model answer texts through files, as a user would."""
        file = self.out / f"{name}.jsonl"
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        return [json.loads(line) for line in litebert("predict", "--model", model, file).splitlines()]

    def compare(self, name: str, twin: str, rows: questions.Rows) -> dict[str, float]:
        """Every competitor's accuracy on the test rows, the models' under the names given."""
        accuracies = {}
        for called, folder in ((name, "model"), (twin, "twin")):
            output = litebert("evaluate", "--model", self.out / folder, "--data", self.out / "subjects/test.csv")
            accuracies[called] = json.loads(output.splitlines()[-1])["accuracy"]
        accuracies["TF-IDF + logistic regression"] = baseline.accuracy(rows)
        accuracies["guessing"] = 1 / len(questions.SUBJECTS)
        return accuracies

    def predict(self) -> None:
        """Show the answers for sentences written by hand."""
        for answer in self.answers(self.out / "model", NEW_SENTENCES, "new"):
            console.print(
                f"   [green]{answer['label']:>21}[/] {answer['score']:4.0%}  {answer['text']}", soft_wrap=True
            )


def litebert(*arguments: str | Path) -> str:
    """Show and run one command; returns what it writes to stdout, which is not shown."""
    words = [str(argument) for argument in arguments]
    shown = [os.path.relpath(word) if Path(word).is_absolute() else word for word in words]
    console.print(f"[bold]$ litebert {' '.join(shown)}[/]", soft_wrap=True, markup=True)
    done = subprocess.run([LITEBERT, *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"litebert {words[0]} ended with exit code {done.returncode}")
    return done.stdout


def show_table(accuracies: Mapping[str, float], rows: int, gain: str) -> None:
    """Print the accuracies with their intervals, and what the first one gains on the others."""
    table = Table("", "accuracy", "95 % interval", title=f"The subject of {rows:,} unseen sentences")
    for name, accuracy in accuracies.items():
        margin = 1.96 * (accuracy * (1 - accuracy) / rows) ** 0.5
        interval = "" if name == "guessing" else f"{accuracy - margin:.1%} to {accuracy + margin:.1%}"
        table.add_row(name, f"{accuracy:.1%}", interval)
    console.print(table)
    first, second, third = list(accuracies.values())[:3]
    console.print(f"{gain} is worth {100 * (first - second):+.1f} points here, ", end="")
    console.print(f"against TF-IDF the model stands at {100 * (first - third):+.1f} points.")
