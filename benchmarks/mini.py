"""What an hour of pre-training is worth: SST-2 with a pre-trained model and with its random twin.

    litebert tokenizer train $LITEBERT_DATA/corpus --out runs/tokenizer --vocab-size 8192
    litebert prepare $LITEBERT_DATA/corpus --tokenizer runs/tokenizer --out runs/data
    litebert pretrain --config recipes/mini.toml --data runs/data --out runs/mini
    python benchmarks/mini.py runs/mini [--out docs]

Fine-tunes on all rows (1 epoch) and on 500 rows, with 3 seeds each, from the run's model and from random weights of
its shape; rates are chosen on the dev rows, and the labelled test rows are scored once. Evaluates the run's model on
held-out text under several masks. Writes `mini.json` and
`mini.png` (curves) to `--out`, and prints the tables of `docs/results.md`. A job
whose folder is there already (runs/mini-sst2/...) is read, not done again. Ends with one JSON line.
"""

import argparse
import json
import os
import statistics
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from litebert import config
from litebert.data.batches import SpecialIds, WindowSource, held_out_batches
from litebert.data.shards import open_corpus
from litebert.infer.judging import judge_model
from litebert.interop.huggingface import load_model
from litebert.text.tokenizer import load_tokenizer
from litebert.train.corpora import count_pieces, entropy
from litebert.train.finetune import finetune
from litebert.train.hooks import read_metrics
from litebert.train.job import FinetuneSettings
from litebert.train.loop import Metrics
from litebert.train.objective import PretrainObjective
from litebert.train.pretrain import PretrainSettings

MASKS: tuple[tuple[Literal["ngram", "word", "token"], float], ...] = (
    ("word", 0.25),
    ("word", 0.15),
    ("token", 0.15),
    ("ngram", 0.15),
)
"""What is masked, and how much of it: as in the recipe, less of it, as in BERT, as in the ALBERT paper."""

SEEDS = (1, 2, 3)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of the table."""

    name: str
    settings: FinetuneSettings
    rates: tuple[float, ...]
    """Peak rates to choose from, by the mean accuracy on the dev rows."""


FEW = FinetuneSettings(train_rows=500)
ALL = FinetuneSettings(epochs=1, batch_size=64)
JOBS = (
    Job(name="500-rows", settings=FEW, rates=(3e-4, 1e-3)),
    Job(name="500-rows-random", settings=replace(FEW, from_scratch=True), rates=(3e-4, 1e-3)),
    Job(name="all-rows", settings=ALL, rates=(3e-4,)),
    Job(name="all-rows-random", settings=replace(ALL, from_scratch=True), rates=(3e-4,)),
)


def scores(run: Path, settings: FinetuneSettings, out: Path, data: Path) -> dict[str, float]:
    """Fine-tune, or take what was fine-tuned before; returns the accuracies on dev and on test."""
    if not (out / "config.json").exists():
        train, dev = data / "train.tsv", data / "dev.tsv"
        finetune("classify", model=run / "model", train=train, dev=dev, out=out, settings=settings)
    return {
        "dev": judge_model(out, data / "dev.tsv")["accuracy"],
        "test": judge_model(out, data / "test_labelled.tsv")["accuracy"],
    }


def sst2(run: Path, job: Job, folder: Path, data: Path) -> dict[str, Any]:
    """Return the accuracies of every seed at the rate that is best on the dev rows."""
    found = {
        rate: [
            scores(
                run, replace(job.settings, seed=seed, learning_rate=rate), folder / f"{job.name}-{rate:g}-{seed}", data
            )
            for seed in SEEDS
        ]
        for rate in job.rates
    }
    rate = max(found, key=lambda rate: statistics.mean(score["dev"] for score in found[rate]))
    result: dict[str, Any] = {"rate": rate}
    for split in ("dev", "test"):
        values = [score[split] for score in found[rate]]
        result[split] = {"mean": statistics.mean(values), "std": statistics.stdev(values), "scores": values}
    return result


def masks(run: Path, settings: PretrainSettings, tokens: int = 100_000) -> dict[str, Metrics]:
    """Evaluate the run's model on the held-out documents under several masks."""
    model = load_model(run / "model", ("masked_lm", "sentence_order"))
    special = SpecialIds.of(load_tokenizer(run / "model"))
    folders = {Path(folder): weight for folder, weight in settings.folders.items()}
    results: dict[str, Metrics] = {}
    for unit, share in MASKS:
        data = replace(settings.data, masking=replace(settings.data.masking, unit=unit, share=share))
        source = WindowSource(folders, special, data, 0, "held_out")
        objective = PretrainObjective(model, data, nullcontext, compiled=False)
        results[f"{unit} {share:.0%}"] = objective.evaluate(held_out_batches(source, tokens))
    return results


def curves(run: Path, unigram: float, path: Path) -> dict[str, float]:
    """Draw losses and accuracies over tokens; returns the last held-out figures."""
    from matplotlib.figure import Figure

    lines = read_metrics(run)
    train = [line for line in lines if line["kind"] == "train"]
    held_out = [line for line in lines if line["kind"] == "held_out"]
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    millions = [line["tokens"] / 1e6 for line in held_out]
    loss.axhline(unigram, color="0.6", linestyle=":", label=f"unigram entropy {unigram:.2f}")
    loss.plot(
        [line["tokens"] / 1e6 for line in train], [line["mlm_loss"] for line in train], color="0.8", label="train"
    )
    loss.plot(millions, [line["mlm_loss"] for line in held_out], marker="o", color="#2b6cb0", label="held-out")
    loss.set(xlabel="million tokens", ylabel="nats", title="Masked-token loss")
    accuracy.plot(millions, [line["mlm_accuracy"] for line in held_out], marker="o", label="masked tokens")
    accuracy.plot(millions, [line["order_accuracy"] for line in held_out], marker="s", label="sentence order")
    accuracy.axhline(0.5, color="0.6", linestyle=":", label="order by chance")
    accuracy.set(xlabel="million tokens", title="Held-out accuracy", ylim=(0, 1))
    for axes in (loss, accuracy):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    names = ("mlm_loss", "mlm_accuracy", "order_accuracy", "tokens", "time")
    return {name: held_out[-1][name] for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    run: Path = arguments.run
    settings = config.build(PretrainSettings, config.read_toml(run / "config.toml"))
    splits = [open_corpus(folder).split("train") for folder in settings.folders]
    unigram = entropy(count_pieces(splits, open_corpus(next(iter(settings.folders))).vocab_size))
    result: dict[str, Any] = {"unigram_entropy": unigram}
    result["held_out"] = curves(run, unigram, arguments.out / "mini.png")
    data = Path(os.environ["LITEBERT_DATA"]) / "glue" / "SST-2"
    result["masks"] = masks(run, settings)
    folder = run.with_name(f"{run.name}-sst2")
    result["sst2"] = {job.name: sst2(run, job, folder, data) for job in JOBS}
    print(f"| held-out text, masked | nats | under the unigram entropy ({unigram:.3f}) | accuracy | order |")
    print("|---|---|---|---|---|")
    for name, row in result["masks"].items():
        loss = row["mlm_loss"]
        accuracies = f"{row['mlm_accuracy']:.1%} | {row['order_accuracy']:.1%}"
        print(f"| {name} | {loss:.3f} | {unigram - loss:.2f} | {accuracies} |")
    print("\n| SST-2 | rate | dev | test |\n|---|---|---|---|")
    for name, row in result["sst2"].items():
        cells = [
            f"{100 * row[split]['mean']:.1f} ± {100 * row[split]['std']:.1f} "
            f"({', '.join(f'{100 * score:.1f}' for score in row[split]['scores'])})"
            for split in ("dev", "test")
        ]
        print(f"| {name} | {row['rate']:g} | {cells[0]} | {cells[1]} |")
    (arguments.out / "mini.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
