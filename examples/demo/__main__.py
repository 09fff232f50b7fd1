"""litebert in three minutes: the model that comes with it, the text of this machine, two cores and no network.

1. gather      sentences from the documentation of the Python packages on this machine
2. search      them by meaning, with the vectors of litebert-small, which was taught and not fine-tuned
3. fine-tune   litebert-small to tell which subject a sentence is about, and a twin that starts from random weights
4. compare     both with TF-IDF and logistic regression, on sentences from files that nothing was trained on
5. predict     the subjects of new sentences

Every step drives the public command line and shows its commands. Run: `make demo`.
"""

from pathlib import Path

import numpy as np
import prose
from steps import Demo, console, show_table

OUT = Path("demo-output") / "small"
MODEL = "litebert-small"

QUESTIONS = (
    "How do I find the quickest route between two places?",
    "My program must wait until another one has finished.",
    "Which colours suit a person who cannot tell red from green?",
)
"""No sentence of the documentation has these words."""


def main() -> None:
    """Run all steps and end with a summary."""
    import picture

    demo = Demo(OUT)
    with demo.step("Gather real text: the documentation on this machine"):
        rows = demo.label(prose.gather())
    with demo.step("Search it by meaning: vectors of litebert-small, as it comes"):
        search(demo, tuple(text for text, _ in rows["train"]))
    with demo.step("Fine-tune it on labelled sentences, and a twin that starts from random weights"):
        demo.finetune(MODEL)
    with demo.step("Compare: sentences from files that nothing was trained on"):
        accuracies = demo.compare(MODEL, "its twin from random weights", rows)
    with demo.step("Predict the subject of new sentences"):
        demo.predict()
    picture.compare(accuracies, len(rows["test"]), OUT / "summary.png")
    console.print(f"\n[bold cyan]Summary[/] ({demo.minutes:.1f} minutes)")
    show_table(accuracies, len(rows["test"]), "What litebert-small was taught")
    console.print(f"\nThe picture: {OUT / 'summary.png'}. To go on: litebert predict --model {OUT / 'model'}")


def search(demo: Demo, texts: tuple[str, ...]) -> None:
    """Show the sentences whose vectors are nearest to those of questions."""
    vectors = np.array([answer["embedding"] for answer in demo.answers(MODEL, (*QUESTIONS, *texts), "sentences")])
    similarities = vectors[: len(QUESTIONS)] @ vectors[len(QUESTIONS) :].T  # (questions, texts)
    for question, row in zip(QUESTIONS, similarities, strict=True):
        console.print(f"   [bold]{question}[/]", soft_wrap=True)
        for number in np.argsort(-row)[:2]:
            console.print(f"      [green]{row[number]:.2f}[/] {texts[number]}", soft_wrap=True)


if __name__ == "__main__":
    main()
