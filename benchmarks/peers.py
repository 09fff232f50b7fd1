"""litebert-small beside what a user would pick at four times the size: all-MiniLM-L6-v2, fine-tuned by transformers.

    litebert data get all-MiniLM-L6-v2
    LITEBERT_DATA=... python benchmarks/peers.py [--out runs/peers] [--only sst2 clinc150-10 stsb tydiqa] [--seeds 3]

Rows, epochs and batch sizes are those of recipes/peers.toml; both read long contexts in windows of 384 tokens. Each
system takes the first seed at each of the same three rates, and the other seeds at the one that was best on the dev
rows; of every fit the best epoch on the dev rows is kept, and its marks are those of the test rows, judged by litebert
for both. What is there already is not done again, so that it may be stopped at any time. Prints a table and ends with
one JSON line.
"""

import argparse
import json
import os
import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer import OVERLAP, WINDOW, train

from litebert import config
from litebert.data.catalog import find_model
from litebert.exam.material import Material, prepare_material, read_material
from litebert.exam.sets import SETS, ExamSet
from litebert.exam.settings import BenchmarkSettings, Plan
from litebert.exam.sitting import MODEL, Sitting, sit
from litebert.files import held, write_text
from litebert.infer.judging import judge_model
from litebert.train.job import plan_steps

RECIPE = Path(__file__).parent.parent / "recipes" / "peers.toml"
RATES = (3e-5, 1e-4, 3e-4)
SYSTEMS = {
    "litebert-small, litebert": ("litebert-small", "litebert"),
    "all-MiniLM-L6-v2, transformers": ("all-MiniLM-L6-v2", "transformers"),
}


def judged(one: ExamSet, folder: Path, file: Path) -> dict[str, float]:
    """The metrics of a folder on a file of rows."""
    found = judge_model(folder, file)
    return {name: float(found[name]) for name in {*one.metrics, one.select or one.metrics[0]} if name in found}


def by_transformers(
    one: ExamSet, model: Path, material: Material, plan: Plan, work: Path, seed: int, rate: float
) -> dict[str, Any]:
    """Dev and test metrics at the best epoch."""
    epochs = plan_steps(material.rows["train"], plan.finetune)
    _, folders = train(
        one,
        model,
        material,
        work,
        seed=seed,
        rate=rate,
        epochs=epochs.total / epochs.per_epoch,
        batch_size=plan.finetune.batch_size,
        keep_epochs=True,
    )
    chosen = one.select or one.metrics[0]
    dev = {folder: judged(one, folder, material.file("dev")) for folder in folders}
    best = max(folders, key=lambda folder: dev[folder][chosen])
    return {"dev": dev[best][chosen], "metrics": judged(one, best, material.file("test"))}


def by_litebert(
    one: ExamSet, model: Path, material: Material, plan: Plan, work: Path, seed: int, rate: float
) -> dict[str, Any]:
    """The same."""
    windows: dict[str, Any] = {"length": WINDOW, "stride": WINDOW - OVERLAP} if one.task == "qa" else {}
    plan = replace(plan, finetune=replace(plan.finetune, learning_rate=rate, **windows))
    result = sit(Sitting(one=one, system=MODEL, seed=seed), material, plan, model, work / "sitting", work / "server")
    return {"dev": result["dev"][one.select or one.metrics[0]], "metrics": result["metrics"]}


def sat(system: str, one: ExamSet, material: Material, plan: Plan, out: Path, seed: int, rate: float) -> dict[str, Any]:
    """Fine-tune and judge, or take what was judged before."""
    model, by = SYSTEMS[system]
    file = out / one.name / f"{model}-{rate:g}-{seed}.json"
    if not file.exists():
        work = out / "work"
        shutil.rmtree(work, ignore_errors=True)
        way = by_litebert if by == "litebert" else by_transformers
        result = way(one, find_model(model), material, plan, work, seed, rate)
        write_text(file, json.dumps(result) + "\n")
        shutil.rmtree(work, ignore_errors=True)
    return dict(json.loads(file.read_text(encoding="utf-8")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=sorted(SETS), help="sets; those of the recipe where not given")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/peers"))
    arguments = parser.parse_args()
    with held(arguments.out) as ours:
        if not ours:
            parser.error(f"{arguments.out}: another one is at work here; wait for it, or name another --out")
        compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    """Do what is not done yet, and print it all."""
    settings = config.build(BenchmarkSettings, config.read_toml(RECIPE))
    table: dict[str, dict[str, Any]] = {}
    print("| set | system | rate | dev | test |\n|---|---|---|---|---|")
    for name in arguments.only or settings.only:
        one, plan = SETS[name], settings.plan(SETS[name])
        rows = arguments.out / "data" / name
        if rows.is_dir():
            material, _ = read_material(rows)
        else:
            material = prepare_material(one, Path(os.environ["LITEBERT_DATA"]), rows, plan.caps, {})
        scale = 1.0 if one.task == "qa" else 100.0
        for system in SYSTEMS:
            first = {rate: sat(system, one, material, plan, arguments.out, 1, rate) for rate in RATES}
            rate = max(RATES, key=lambda rate: first[rate]["dev"])
            others = [sat(system, one, material, plan, arguments.out, s, rate) for s in range(2, arguments.seeds + 1)]
            results = [first[rate], *others]
            marks = {metric: [scale * result["metrics"][metric] for result in results] for metric in one.metrics}
            table.setdefault(name, {})[system] = {"rate": rate, "marks": marks}
            shown = " / ".join(
                f"{statistics.mean(values):.1f} ± {statistics.stdev(values) if len(values) > 1 else 0:.1f}"
                for values in marks.values()
            )
            dev = statistics.mean(scale * result["dev"] for result in results)
            print(f"| {one.title} | {system} | {rate:g} | {dev:.1f} | {shown} |", flush=True)
    print(json.dumps(table))


if __name__ == "__main__":
    main()
