"""litebert from raw text to predictions in about three minutes, on two cores and without a network.

1. gather      the English in the documentation of the Python packages on this machine
2. tokenize    it, with a vocabulary trained on it
3. pre-train   a tiny ALBERT on it from scratch
4. fine-tune   it to tell which subject a sentence is about, and a twin that was not pre-trained
5. compare     both with TF-IDF and logistic regression, on sentences from files that nothing was trained on
6. predict     the subjects of new sentences

Every step drives the public command line and shows its commands. Run: `make demo-scratch`.
"""

import json
from pathlib import Path

import prose
import questions
from steps import Demo, console, litebert, show_table

HERE = Path(__file__).resolve().parent
OUT = Path("demo-output") / "scratch"

GAPS = ("Return the [MASK] of the matrix.", "If the file does not [MASK], an error is raised.")


def main() -> None:
    """Run all steps and end with a summary."""
    demo = Demo(OUT)
    with demo.step("Gather real text: the documentation on this machine"):
        rows = gather(demo)
    with demo.step("Train a tokenizer on it and turn the text into token shards"):
        tokenizer = OUT / "tokenizer"
        litebert("tokenizer", "train", OUT / "text", "--out", tokenizer, "--vocab-size", "4000")
        litebert("prepare", OUT / "text", "--tokenizer", tokenizer, "--out", OUT / "data", "--held-out", ".02")
    with demo.step("Pre-train a tiny ALBERT from scratch: guess masked words, tell the order of sentences"):
        pretrained = OUT / "pretraining" / "model"
        litebert("pretrain", "--config", HERE / "pretrain.toml", "--data", OUT / "data", "--out", pretrained.parent)
        fill_gaps(demo, pretrained)
    with demo.step("Fine-tune it on labelled sentences, and a twin that starts from random weights"):
        demo.finetune(pretrained)
    with demo.step("Compare: sentences from files that nothing was trained on"):
        accuracies = demo.compare("ALBERT, pre-trained", "ALBERT, not pre-trained", rows)
    with demo.step("Predict the subject of new sentences"):
        demo.predict()
    summary(demo, accuracies, len(rows["test"]))


def gather(demo: Demo) -> questions.Rows:
    """Write the text to pre-train on and the labelled rows."""
    modules = prose.gather()
    seen = [module for module in modules if questions.split_of(module) == "train"]
    size = prose.write_text(seen, OUT / "text")
    console.print(f"{OUT / 'text'}: {size / 1e6:.1f} MB of prose from {len(seen):,} Python files")
    return demo.label(modules)


def fill_gaps(demo: Demo, model: Path) -> None:
    """Show what the pre-trained model guesses, before it has seen any label."""
    for answer in demo.answers(model, GAPS, "gaps"):
        guesses = ", ".join(guess["piece"].strip("▁") for guess in answer["masks"][0][:5])
        console.print(f"   {answer['text'].replace('[MASK]', '____')}   [green]{guesses}[/]", soft_wrap=True)


def summary(demo: Demo, accuracies: dict[str, float], rows: int) -> None:
    """Print the table of results and draw the picture."""
    import picture

    lines = (OUT / "pretraining/metrics.jsonl").read_text("utf-8").splitlines()
    metrics = [json.loads(line) for line in lines]
    index = json.loads((OUT / "data/index.json").read_text("utf-8"))
    unigram = index["splits"]["held_out"]["unigram_cross_entropy"]
    picture.draw(metrics, unigram, accuracies, rows, OUT / "summary.png")

    last = [line for line in metrics if line["kind"] == "held_out"][-1]
    console.print(f"\n[bold cyan]Summary[/] ({demo.minutes:.1f} minutes)")
    read, loss = last["tokens"] / 1e6, last["mlm_loss"]
    console.print(f"Pre-training read {read:.1f} million tokens. On held-out text the loss of guessing a masked word")
    console.print(f"is now {loss:.2f} nats; knowing only how frequent words are gives {unigram:.2f}.")
    show_table(accuracies, rows, "Pre-training")
    console.print(f"\nThe curves: {OUT / 'summary.png'}. To go on: litebert predict --model {OUT / 'model'}")


if __name__ == "__main__":
    main()
