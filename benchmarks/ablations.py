"""The paper's ablations in miniature: one factor at a time, equal steps, on a slice of the corpus.

    LITEBERT_DATA=... python benchmarks/ablations.py runs/data [--out runs/ablations] [--only sharing] [--steps 1200]

Runs every row of recipes/ablations/factors.toml around recipes/ablations/base.toml; what is there already is not done
again, what was interrupted goes on. Measures on held-out documents: masked-token loss and accuracy under the same masks
for all (15 % of words); accuracy of a probe on the sentence-order task, which is logistic regression on the mean
vectors of both segments of a frozen encoder; that of the model's own sentence objective; SST-2 dev from 500 rows, the
mean of 3 seeds; parameters; tokens a second. Prints the table, writes ablations.json and ablations.png to docs/, and
ends with one JSON line.
"""

import argparse
import json
import os
import statistics
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from litebert import config
from litebert.data.batches import BatchStream, SpecialIds, WindowSource, held_out_batches, pad
from litebert.data.masking import MaskSettings
from litebert.data.pairs import NO_LABEL
from litebert.interop.huggingface import load_model
from litebert.text.tokenizer import load_tokenizer
from litebert.train.finetune import finetune
from litebert.train.hooks import read_metrics
from litebert.train.job import FinetuneSettings
from litebert.train.objective import PretrainObjective
from litebert.train.pretrain import PretrainSettings, pretrain

RECIPES = Path(__file__).parent.parent / "recipes" / "ablations"
MASKS = MaskSettings(unit="word", share=0.15)
COLUMNS = "loss | accuracy | order probe | own objective | SST-2 | parameters | tokens/s"
PROBE_PAIRS = 6000
"""Pairs of sentences of the probe; two thirds train it, the rest judge it."""


def settings_of(assignments: list[str], data: Path, seed: int, steps: int | None) -> PretrainSettings:
    """The settings of one run."""
    tree = config.merge(config.read_toml(RECIPES / "base.toml"), config.parse_assignments(assignments))
    settings = config.build(PretrainSettings, tree)
    loop = replace(settings.loop, steps=steps, evaluate_every=steps, checkpoint_every=steps) if steps else settings.loop
    return replace(settings, folders={str(data): 1.0}, seed=seed, loop=loop)


def own_objective(run: Path) -> dict[str, float]:
    """Held-out accuracy of the sentence objective that the run itself had; empty where it had none."""
    last = [line for line in read_metrics(run) if line["kind"] == "held_out"][-1]
    return {"own_objective": last["order_accuracy"]} if "order_accuracy" in last else {}


def masked_words(model: Path, settings: PretrainSettings, data: Path) -> dict[str, float]:
    """Loss and accuracy on held-out documents, under the same masks for all."""
    loaded = load_model(model, ("masked_lm",))
    wanted = replace(settings.data, masking=MASKS, pairs=replace(settings.data.pairs, objective="none"))
    source = WindowSource({data: 1.0}, SpecialIds.of(load_tokenizer(model)), wanted, 0, "held_out")
    objective = PretrainObjective(loaded, wanted, nullcontext, compiled=False)
    found = objective.evaluate(held_out_batches(source, 100_000))
    return {name: found[name] for name in ("mlm_loss", "mlm_accuracy")}


@torch.inference_mode()
def order_probe(model: Path, settings: PretrainSettings, data: Path) -> float:
    """Accuracy of a linear probe on whether two segments stand in their order."""
    loaded = load_model(model, ("masked_lm",)).eval()
    pairs = replace(settings.data.pairs, objective="sentence_order")
    wanted = replace(settings.data, pairs=pairs, batch_size=64)
    source = WindowSource({data: 1.0}, SpecialIds.of(load_tokenizer(model)), wanted, 999)
    objective = PretrainObjective(loaded, wanted, nullcontext, compiled=False)
    vectors: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for batch in islice(BatchStream(source), PROBE_PAIRS // wanted.batch_size):
        whole = batch.input_ids.copy()
        whole[batch.masked_positions] = batch.masked_labels
        part = pad(batch._replace(input_ids=whole), len(whole), len(batch.order_labels), len(batch.masked_labels), 0)
        packed, *_ = objective.tensors(part)
        hidden = loaded.albert(packed).numpy()
        owner = np.repeat(np.arange(len(batch.order_labels)), np.diff(batch.cu_seqlens))
        place = 2 * owner + batch.token_type_ids
        sums = np.zeros((2 * len(batch.order_labels), hidden.shape[1]), dtype=np.float32)
        np.add.at(sums, place, hidden[: len(place)])
        means = sums / np.maximum(np.bincount(place, minlength=len(sums)), 1)[:, None]
        chosen = batch.order_labels != NO_LABEL
        vectors.append(means.reshape(len(batch.order_labels), -1)[chosen])
        labels.append(batch.order_labels[chosen])
    x, y = np.concatenate(vectors), np.concatenate(labels)
    cut = 2 * len(y) // 3
    probe = LogisticRegression(C=0.1, max_iter=500).fit(x[:cut], y[:cut])
    return float(probe.score(x[cut:], y[cut:]))


def measure(run: Path, settings: PretrainSettings, data: Path, sst2: Path) -> dict[str, float]:
    """Run, or take what was run before, and judge it."""
    file = run / "ablation.json"
    if file.exists():
        return dict(json.loads(file.read_text(encoding="utf-8"))) | own_objective(run)
    pretrain(settings, run, resume=True)
    model = run / "model"
    steps = [line for line in read_metrics(run) if line["kind"] == "train"]
    tuned = run / "sst2"
    few = FinetuneSettings(train_rows=500, seeds=3, seed=settings.seed, learning_rate=1e-3)
    files = {"train": sst2 / "train.tsv", "dev": sst2 / "dev.tsv"}
    report = finetune("classify", model=model, out=tuned, settings=few, **files).to_dict()
    result = masked_words(model, settings, data) | {
        "order_probe": order_probe(model, settings, data),
        "sst2_500": report["mean"],
        "parameters": sum(p.numel() for p in load_model(model).parameters()),
        "tokens_per_second": statistics.median(line["tokens_per_second"] for line in steps),
    }
    file.write_text(json.dumps(result), encoding="utf-8")
    return result | own_objective(run)


def joined(results: list[dict[str, float]]) -> dict[str, Any]:
    """Means over the seeds, and their standard deviations where there are several."""
    means = {name: statistics.mean(result[name] for result in results) for name in results[0]}
    if len(results) == 1:
        return means
    spread = [name for name in ("mlm_loss", "order_probe", "own_objective", "sst2_500") if name in means]
    return means | {f"{name}_std": statistics.stdev(r[name] for r in results) for name in spread}


def cell(row: dict[str, Any], name: str, form: str) -> str:
    """A figure of the table, with its standard deviation where there are several seeds."""
    if name not in row:
        return ""
    return f"{row[name]:{form}}" + (f" ± {row[f'{name}_std']:{form}}" if f"{name}_std" in row else "")


def draw(table: dict[str, dict[str, Any]], path: Path) -> None:
    """Held-out loss of every row, a panel a factor, and the score on SST-2 below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 6), layout="constrained")
    width = [len(rows) for rows in table.values()]
    axes = figure.subplots(2, len(table), sharey="row", width_ratios=width, squeeze=False)
    figures = (("mlm_loss", "held-out loss, nats", 1), ("sst2_500", "SST-2 dev, 500 rows, %", 100))
    for line, (name, label, factor) in enumerate(figures):
        for column, (title, rows) in enumerate(table.items()):
            plot = axes[line][column]
            values = [factor * row[name] for row in rows.values()]
            errors = [factor * row.get(f"{name}_std", 0.0) for row in rows.values()]
            plot.errorbar(range(len(rows)), values, yerr=errors, fmt="o", color="#2b6cb0", capsize=3)
            plot.axhline(values[0], color="0.8", linestyle=":", zorder=0)
            plot.set_xticks(range(len(rows)), list(rows), rotation=35, ha="right")
            plot.set(xlim=(-0.5, len(rows) - 0.5), ylabel=label if column == 0 else "")
            plot.set_title(title.replace("_", " ") if line == 0 else "", fontsize=10)
            plot.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--only", nargs="+", help="factors; all of them where not given")
    parser.add_argument("--steps", type=int, help="other than in base.toml")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    sst2 = Path(os.environ["LITEBERT_DATA"]) / "glue" / "SST-2"
    table: dict[str, dict[str, Any]] = {}
    for factor, entry in config.read_toml(RECIPES / "factors.toml").items():
        if arguments.only and factor not in arguments.only:
            continue
        print(f"\n| {factor.replace('_', ' ')} | {COLUMNS} |")
        print("|---|---|---|---|---|---|---|---|")
        table[factor] = {}
        for row, assignments in entry["rows"].items():
            name = "base" if not assignments else f"{factor}-{row.replace(' ', '_')}"
            results = [
                measure(
                    arguments.out / f"{name}-{seed}",
                    settings_of(assignments, arguments.data, seed, arguments.steps),
                    arguments.data,
                    sst2,
                )
                for seed in range(1, entry.get("seeds", 1) + 1)
            ]
            r = table[factor][row] = joined(results)
            cells = [row, cell(r, "mlm_loss", ".3f"), cell(r, "mlm_accuracy", ".1%"), cell(r, "order_probe", ".1%")]
            cells += [cell(r, "own_objective", ".1%"), cell(r, "sst2_500", ".1%"), f"{r['parameters'] / 1e6:.2f}M"]
            print(f"| {' | '.join(cells)} | {r['tokens_per_second']:,.0f} |", flush=True)
    draw(table, arguments.docs / "ablations.png")
    (arguments.docs / "ablations.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
