"""litebert from raw text to predictions in about three minutes, on two cores and without a network.

1. gather      the English in the documentation of the Python packages on this machine
2. tokenize    it, with a vocabulary trained on it
3. pre-train   a tiny ALBERT on it from scratch
4. fine-tune   it to tell which subject a sentence is about, and a twin that was not pre-trained
5. compare     both with TF-IDF and logistic regression, on sentences from files that nothing was trained on
6. predict     the subjects of new sentences

Every step drives the public command line and shows its commands. Run: `make demo`.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import prose
import questions
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
OUT = Path("demo-output")
LITEBERT = Path(sys.executable).with_name("litebert")

GAPS = ("Return the [MASK] of the matrix.", "If the file does not [MASK], an error is raised.")
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
seconds: dict[str, float] = {}
"""How long each step took."""


def main() -> None:
    """Run all steps and end with a summary."""
    os.environ.setdefault("MPLCONFIGDIR", str(OUT.absolute() / "cache"))
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    with step("Gather real text: the documentation on this machine"):
        rows = gather()
    with step("Train a tokenizer on it and turn the text into token shards"):
        litebert("tokenizer", "train", OUT / "text", "--out", OUT / "tokenizer", "--vocab-size", "4000")
        litebert(
            "prepare",
            OUT / "text",
            "--tokenizer",
            OUT / "tokenizer",
            "--out",
            OUT / "data",
            "--held-out",
            ".02",
        )
    with step("Pre-train a tiny ALBERT from scratch: guess masked words, tell the order of sentences"):
        pretrained = OUT / "pretraining" / "model"
        litebert("pretrain", "--config", HERE / "pretrain.toml", "--data", OUT / "data", "--out", pretrained.parent)
        fill_gaps(pretrained)
    with step("Fine-tune it on labelled sentences, and a twin that starts from random weights"):
        labelled = ("--train", OUT / "subjects/train.csv", "--dev", OUT / "subjects/dev.csv")
        litebert("finetune", "classify", "--model", pretrained, *labelled, "--out", OUT / "model")
        litebert("finetune", "classify", "--model", pretrained, *labelled, "--out", OUT / "twin", "--from-scratch")
    with step("Compare: sentences from files that nothing was trained on"):
        accuracies = compare(rows)
    with step("Predict the subject of new sentences"):
        predict()
    summary(accuracies, len(rows["test"]))


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step, and time it."""
    console.print(f"\n[bold cyan]{len(seconds) + 1}. {title}[/]")
    start = time.monotonic()
    yield
    seconds[title] = time.monotonic() - start


def litebert(*arguments: str | Path) -> str:
    """Show and run one command; returns what it writes to stdout, which is not shown."""
    words = [str(argument) for argument in arguments]
    shown = [os.path.relpath(word) if Path(word).is_absolute() else word for word in words]
    console.print(f"[bold]$ litebert {' '.join(shown)}[/]", soft_wrap=True, markup=True)
    done = subprocess.run([LITEBERT, *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"litebert {words[0]} ended with exit code {done.returncode}")
    return done.stdout


def gather() -> questions.Rows:
    """Write the text to pre-train on and the labelled rows; dev and test come from other files."""
    modules = prose.gather()
    rows = questions.label(modules)
    questions.write_rows(rows, OUT / "subjects")
    seen = [module for module in modules if questions.split_of(module) == "train"]
    size = prose.write_text(seen, OUT / "text")
    console.print(f"{OUT / 'text'}: {size / 1e6:.1f} MB of prose from {len(seen):,} Python files")
    counts = ", ".join(f"{len(pairs):,} to {split}" for split, pairs in rows.items())
    console.print(f"{OUT / 'subjects'}: sentences labelled by the package they come from: {counts}", soft_wrap=True)
    for text, subject in rows["train"][:3]:
        console.print(f"   [dim]{subject}: {text[:90]}{'...' if len(text) > 90 else ''}[/]", soft_wrap=True)
    return rows


def answers(model: Path, texts: tuple[str, ...], name: str) -> list[dict[str, Any]]:
    """Let a model answer texts through files, as a user would."""
    questions_file = OUT / f"{name}.jsonl"
    questions_file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    lines = litebert("predict", "--model", model, questions_file).splitlines()
    return [json.loads(line) for line in lines]


def fill_gaps(model: Path) -> None:
    """Show what the pre-trained model guesses, before it has seen any label."""
    for answer in answers(model, GAPS, "gaps"):
        guesses = ", ".join(guess["piece"].strip("▁") for guess in answer["masks"][0][:5])
        console.print(f"   {answer['text'].replace('[MASK]', '____')}   [green]{guesses}[/]", soft_wrap=True)


def compare(rows: questions.Rows) -> dict[str, float]:
    """Return every competitor's accuracy on the test."""
    import baseline

    accuracies = {}
    for name, folder in (("ALBERT, pre-trained", "model"), ("ALBERT, not pre-trained", "twin")):
        output = litebert("evaluate", "--model", OUT / folder, "--data", OUT / "subjects/test.csv")
        accuracies[name] = json.loads(output.splitlines()[-1])["accuracy"]
    accuracies["TF-IDF + logistic regression"] = baseline.accuracy(rows)
    accuracies["guessing"] = 1 / len(questions.SUBJECTS)
    return accuracies


def predict() -> None:
    """Show the answers for sentences written by hand."""
    for answer in answers(OUT / "model", NEW_SENTENCES, "new"):
        console.print(f"   [green]{answer['label']:>21}[/] {answer['score']:4.0%}  {answer['text']}", soft_wrap=True)


def summary(accuracies: dict[str, float], rows: int) -> None:
    """Print the table of results and draw the picture."""
    import picture

    lines = (OUT / "pretraining/metrics.jsonl").read_text("utf-8").splitlines()
    metrics = [json.loads(line) for line in lines]
    index = json.loads((OUT / "data/index.json").read_text("utf-8"))
    unigram = index["splits"]["held_out"]["unigram_cross_entropy"]
    picture.draw(metrics, unigram, accuracies, rows, OUT / "summary.png")

    last = [line for line in metrics if line["kind"] == "held_out"][-1]
    console.print(f"\n[bold cyan]Summary[/] ({sum(seconds.values()) / 60:.1f} minutes)")
    read, loss = last["tokens"] / 1e6, last["mlm_loss"]
    console.print(f"Pre-training read {read:.1f} million tokens. On held-out text the loss of guessing a masked word")
    console.print(f"is now {loss:.2f} nats; knowing only how frequent words are gives {unigram:.2f}.")
    table = Table("", "accuracy", "95 % interval", title=f"The subject of {rows:,} unseen sentences")
    for name, accuracy in accuracies.items():
        margin = 1.96 * (accuracy * (1 - accuracy) / rows) ** 0.5
        interval = "" if name == "guessing" else f"{accuracy - margin:.1%} to {accuracy + margin:.1%}"
        table.add_row(name, f"{accuracy:.1%}", interval)
    console.print(table)
    first, second, third = list(accuracies.values())[:3]
    console.print(f"Pre-training is worth {100 * (first - second):+.1f} points here, ", end="")
    console.print(f"against TF-IDF the model stands at {100 * (first - third):+.1f} points.")
    console.print(f"\nThe curves: {OUT / 'summary.png'}. To go on: litebert predict --model {OUT / 'model'}")


if __name__ == "__main__":
    main()
