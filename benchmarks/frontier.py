"""The frontier: what quality costs in size and in time, one factor at a time around `litebert-small`.

    LITEBERT_DATA=... python benchmarks/frontier.py --data DIR[=WEIGHT] ... [--out runs/frontier] [--only ROW ...]

Compresses all-MiniLM-L6-v2 as each row of recipes/frontier/models.toml says, and teaches the result for ten minutes;
then measures parameters, size, STS-B dev without fine-tuning, SST-2 from 500 rows with 3 seeds (ten epochs, the mean
over tokens), and, all models in turn, the milliseconds of one sentence; beside the source itself, and TF-IDF with
logistic regression. What is there already is not done again, what was interrupted goes on. Writes frontier.json and
frontier.png to docs/, prints the table, and ends with one JSON line.
"""

import argparse
import json
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from litebert import config
from litebert.data.catalog import find_model
from litebert.data.rows import read_rows
from litebert.evaluate.embeddings import STS_B, sts_spearman
from litebert.interop.compress import compress
from litebert.interop.huggingface import WEIGHTS, load_model
from litebert.model.encoder import Albert
from litebert.model.packed import Packed, pack_lists
from litebert.text.tokenizer import load_tokenizer
from litebert.train.corpora import weighted
from litebert.train.distill import DistillSettings, distill
from litebert.train.finetune import FinetuneSettings, finetune

RECIPES = Path(__file__).parent.parent / "recipes" / "frontier"
SEEDS = (1, 2, 3)
ROUNDS, SENTENCES = 15, 20


def made(row: dict[str, Any], teacher: str, folders: dict[str, float], out: Path) -> Path:
    """Compress and teach, or take what was made before; returns the model's folder."""
    start = out / "start"
    if not (start / WEIGHTS).is_file():
        shape = {name: value for name, value in row.items() if name in ("sharing", "embedding_size", "layers")}
        compress(find_model(teacher), start, start=row.get("start", "average"), **shape)
    tree = config.merge(config.read_toml(RECIPES / "base.toml"), config.parse_assignments(row.get("set", [])))
    settings = replace(config.build(DistillSettings, tree), student=str(start), folders=folders)
    if not (out / "run" / "model").is_dir():
        distill(settings, out / "run", resume=True)
    return out / "run" / "model"


def sst2(model: Path, out: Path, data: Path) -> list[float]:
    """Accuracies on dev of fine-tuning on 500 rows, in per cent."""
    file = out / "sst2.json"
    if not file.exists():
        scores = []
        for seed in SEEDS:
            few = FinetuneSettings(
                train_rows=500,
                seed=seed,
                epochs=10,
                evaluate_every=5,
                pooling="mean",
                learning_rate=1e-4,
                probe=False,  # which came later than most rows of docs/frontier.json
            )
            files = {"train": data / "train.tsv", "dev": data / "dev.tsv"}
            tuned = out / f"sst2-{seed}"
            if not (tuned / WEIGHTS).is_file():
                finetune("classify", model=model, out=tuned, settings=few, **files)
            report = json.loads((tuned / "training" / "report.json").read_text(encoding="utf-8"))
            scores.append(100 * report["mean"])
        file.write_text(json.dumps(scores), encoding="utf-8")
    return list(json.loads(file.read_text(encoding="utf-8")))


def tf_idf(data: Path) -> list[float]:
    """Accuracies of logistic regression on words and pairs of words of 500 rows, in per cent."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from litebert.train.fit import subset

    rows, dev = ([fields for _, fields in read_rows(data / f"{name}.tsv")] for name in ("train", "dev"))
    scores = []
    for seed in SEEDS:
        chosen = [rows[i] for i in subset(len(rows), 500, seed)]
        fitted = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10, max_iter=1000))
        fitted.fit([str(row["sentence"]) for row in chosen], [row["label"] for row in chosen])
        right = fitted.predict([str(row["sentence"]) for row in dev]) == np.array([row["label"] for row in dev])
        scores.append(100 * float(right.mean()))
    return scores


@torch.inference_mode()
def milliseconds(models: dict[str, Path], data: Path) -> dict[str, float]:
    """Median time of one sentence, one at a time, all models in turn in each round."""
    sentences = [str(fields["sentence"]) for _, fields in read_rows(data / "dev.tsv")][:SENTENCES]
    loaded: dict[str, tuple[Albert, list[Packed]]] = {}
    for name, folder in models.items():
        tokenizer = load_tokenizer(folder)
        loaded[name] = load_model(folder, ()).eval().albert, [pack_lists([tokenizer.encode(s).ids]) for s in sentences]
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name, (encoder, batches) in loaded.items():
            start = time.perf_counter()
            for packed in batches:
                encoder(packed)
            times[name].append(1000 * (time.perf_counter() - start) / len(batches))
    return {name: statistics.median(values[2:]) for name, values in times.items()}


def draw(table: dict[str, dict[str, Any]], path: Path) -> None:
    """STS-B and SST-2 over megabytes and over milliseconds; a colour a model."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), layout="constrained")
    axes = figure.subplots(2, 2, sharey="row", sharex="col")
    words = f"SST-2 dev, 500 rows (TF-IDF: {table['TF-IDF']['sst2']:.1f})"
    models = {row: values for row, values in table.items() if "mb" in values}
    for line, (quality, name) in enumerate((("sts_b", "STS-B dev, no fine-tuning"), ("sst2", words))):
        for column, (cost, unit) in enumerate((("mb", "MB, bf16"), ("ms", "ms a sentence"))):
            plot = axes[line][column]
            for number, (row, values) in enumerate(models.items()):
                style = {"color": "black", "marker": "*"} if values["source"] else {"color": colormaps["tab10"](number)}
                plot.scatter(values[cost], values[quality], s=90, label=row, **style)
            plot.set(xlabel=unit if line else "", ylabel=name if column == 0 else "")
            plot.grid(color="0.93")
            plot.set_axisbelow(True)
            plot.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR[=WEIGHT]")
    parser.add_argument("--out", type=Path, default=Path("runs/frontier"))
    parser.add_argument("--only", nargs="+", help="rows; all of them where not given")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    folders = weighted(arguments.data)
    teacher = str(config.read_toml(RECIPES / "base.toml")["teacher"])
    place = Path(os.environ["LITEBERT_DATA"])
    rows = config.read_toml(RECIPES / "models.toml")
    models = {
        row: made(shape, teacher, folders, arguments.out / row.replace(" ", "-").replace(",", ""))
        for row, shape in rows.items()
        if not arguments.only or row in arguments.only
    }
    models[teacher] = find_model(teacher)
    table: dict[str, dict[str, Any]] = {}
    for row, folder in models.items():
        model = load_model(folder, ())
        parameters = sum(p.numel() for p in model.parameters())
        scores = sst2(folder, arguments.out / row.replace(" ", "-").replace(",", ""), place / "glue" / "SST-2")
        table[row] = {
            "parameters": parameters,
            "mb": 2 * parameters / 1e6,
            "sts_b": sts_spearman(model.albert, load_tokenizer(folder), place / STS_B),
            "sst2": statistics.mean(scores),
            "sst2_std": statistics.stdev(scores),
            "source": row == teacher,
        }
    for row, value in milliseconds(models, place / "glue" / "SST-2").items():
        table[row]["ms"] = value
    words = tf_idf(place / "glue" / "SST-2")
    table["TF-IDF"] = {"sst2": statistics.mean(words), "sst2_std": statistics.stdev(words)}
    print("| model | parameters | MB (bf16) | ms | STS-B dev | SST-2, 500 rows |\n|---|---|---|---|---|---|")
    for row, r in table.items():
        first = (
            f"{r['parameters'] / 1e6:.1f}M | {r['mb']:.1f} | {r['ms']:.1f} | {r['sts_b']:.1f}" if "mb" in r else "| | |"
        )
        print(f"| {row} | {first} | {r['sst2']:.1f} ± {r['sst2_std']:.1f} |")
    draw(table, arguments.docs / "frontier.png")
    (arguments.docs / "frontier.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
