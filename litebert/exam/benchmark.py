"""A benchmark from its name to its table: sets are looked for, sat one by one, and the table grows with each result.

OUT holds `config.toml`, `data/SET/` (the rows), `results/SET/SYSTEM-SEED.json` (one a sitting, whole or not there),
`server/seed-N/` (files for GLUE's server), and `results.md`, `results.json` and `results.html`. The same command goes
on where it stopped; another benchmark of the same model may be put into the same OUT. It may be given in several
processes at once, one for each core: each takes what none has taken yet.
"""

import json
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from litebert import __version__, config
from litebert.console import log
from litebert.data.catalog import VARIABLE, places
from litebert.errors import ConfigError, DataFolderError, InputError, OutputError, Stopped, UserError
from litebert.exam.material import Material, prepare_material, read_material
from litebert.exam.page import write_page
from litebert.exam.sets import SETS, ExamSet, lacking, sets_of
from litebert.exam.settings import BenchmarkSettings, Plan
from litebert.exam.sitting import BASELINES, MODEL, TWIN, Sitting, sit
from litebert.exam.table import Table, read_result, read_table
from litebert.files import held, require_empty, write_text
from litebert.interop.huggingface import fingerprint, read_config
from litebert.model.plan import plan as cost_of

CONFIG = "config.toml"
WORK = "work"
"""Folder of what is being sat, one for each sitting."""

Plans = Mapping[str, Plan]


def benchmark(
    name: str, *, model: Path, out: Path, data: Path | None = None, settings: BenchmarkSettings | None = None
) -> Table:
    """Fine-tune and judge a model on the sets of a benchmark that the data folder has; writes the table to `out`.

    data: None: the places where public data are kept. Raises ConfigError for an unknown benchmark or setting,
    DataFolderError where none of its sets is there, InputError for damaged files, OutputError for an `out` that is
    another model's, another recipe's or none of a benchmark, and Stopped at a signal.
    """
    settings = settings or BenchmarkSettings()
    wanted = [one for one in sets_of(name) if not settings.only or one.name in settings.only]
    plans = {one.name: settings.plan(one) for one in wanted}
    with held(out, wait=True):  # as more than one process may make this table
        about = _about(model, out)
        _check_plans(out, plans)
        found, lacks = find_sets(wanted, out, [data] if data else places())
        if not found:
            where = str(data) if data else " and ".join(map(str, places()))
            said = f"{where} has none of the sets of {name} ({', '.join(one.folder for one in wanted)})"
            if not wanted:
                names = ", ".join(one.name for one in sets_of(name))
                raise ConfigError(f"`only` chooses no set of {name}; it has {names}")
            raise DataFolderError(f"{said}; name a folder that has some with --data, or in ${VARIABLE}")
        for said in lacks.values():
            log(f"note: {said}")
        about["lacks"] = {k: v for k, v in about.get("lacks", {}).items() if k not in plans} | lacks
        for left in (out / "data").glob(".*.partial"):  # by a kill
            shutil.rmtree(left)
        new = not (out / CONFIG).exists()
        try:
            write_text(out / CONFIG, config.dump(about | {"benchmark": name, "settings": asdict(settings)}))
            materials = {name: _material(SETS[name], folder, out, plans[name]) for name, folder in found.items()}
        except UserError:
            if new:
                shutil.rmtree(out, ignore_errors=True)
            raise
    _sit_all(sittings([SETS[name] for name in found], settings), materials, plans, model, out)
    return publish(out)


def sittings(sets: Sequence[ExamSet], settings: BenchmarkSettings) -> list[Sitting]:
    """All that is to be sat, in an order in which a table of all sets is there early: the first seed of every set
    before the second one of any."""
    result = [Sitting(one=one, system=one.baseline, seed=0) for one in sets if settings.baseline]
    result = [sitting for sitting in result if sitting.system != "none"]
    for seed in range(settings.seed, settings.seed + settings.seeds):
        result += [Sitting(one=one, system=MODEL, seed=seed) for one in sets]
        if seed == settings.seed:
            result += [Sitting(one=one, system=TWIN, seed=seed) for one in sets if one.name in settings.twin]
    return result


def find_sets(
    wanted: Sequence[ExamSet], out: Path, folders: Sequence[Path]
) -> tuple[dict[str, Path | None], dict[str, str]]:
    """In which folders sets are, None where their rows are in `out` already; and what is to be said of the others."""
    found: dict[str, Path | None] = {}
    lacks: dict[str, str] = {}
    for one in wanted:
        if (out / "data" / one.name).is_dir():
            found[one.name] = None
            continue
        missing = {folder: lacking(one, folder) for folder in folders}
        place = next((folder for folder in folders if not missing[folder]), None)
        if place is not None:
            found[one.name] = place
        else:
            files = min(missing.values(), key=len)
            lacks[one.name] = f"{one.title} is left out: there is no {', '.join(files)}"
    return found, lacks


def publish(out: Path) -> Table:
    """Write the table of all results that a folder has, in all its forms."""
    with held(out, wait=True):
        table = read_table(out)
        write_text(out / "results.json", json.dumps(table.to_dict(), indent=2, ensure_ascii=False) + "\n")
        write_text(out / "results.md", table.markdown())
        write_page(table, out / "results.html")
    return table


def _about(model: Path, out: Path) -> dict[str, Any]:
    """What config.toml says of the model; raises OutputError where `out` is that of another one."""
    shape = read_config(model)
    identity = fingerprint(model)
    costs = cost_of(shape, length=8, batch_size=1).parameters
    known: dict[str, Any] = {}
    if (out / CONFIG).is_file():
        known = config.read_toml(out / CONFIG)
        if "model_sha256" not in known:
            raise OutputError(f"{out} is no folder of a benchmark; choose another folder")
        if known["model_sha256"] != identity:
            raise OutputError(
                f"{out} holds the benchmark of another model ({known.get('model', '?')}); choose another folder"
            )
    else:
        require_empty(out)
    return {
        "litebert": __version__,
        "model": str(model),
        "model_sha256": identity,
        "parameters": costs.embedding + costs.encoder,
        "width": shape.hidden_size,
        "layers": shape.num_hidden_layers,
        "lacks": known.get("lacks", {}),
    }


def _check_plans(out: Path, plans: Plans) -> None:
    """Refuse to put results of two recipes side by side; what nothing was learnt from yet is made anew."""
    for name, plan in plans.items():
        rows, results = out / "data" / name, out / "results" / name
        if not rows.is_dir():
            continue
        try:
            _check_plan(rows, plan)
        except OutputError:
            learnt = (path.stem for path in results.glob("*-*.json"))
            if any(not stem.startswith(tuple(BASELINES)) for stem in learnt) or _in_progress(out / WORK / name):
                raise
            shutil.rmtree(rows)
            shutil.rmtree(results, ignore_errors=True)


def _check_plan(rows: Path, plan: Plan) -> None:
    """Raise OutputError where the rows of a set in OUT are there for another recipe."""
    before = read_material(rows)[1].get("plan", {})
    now = json.loads(json.dumps(plan.to_dict()))
    for setting in sorted(before.keys() | now.keys()):
        if before.get(setting) != now.get(setting):
            raise OutputError(
                f"{rows} is there for results with {setting} = {before.get(setting)}, and it is to be "
                f"{now.get(setting)} now; give the same recipe, or choose another folder"
            )


def _in_progress(work: Path) -> bool:
    """Whether another process is at a sitting of a set; what a kill left behind counts as nothing."""
    for place in work.iterdir() if work.is_dir() else ():
        with held(place) as ours:
            if not ours:
                return True
    return False


def _material(one: ExamSet, folder: Path | None, out: Path, plan: Plan) -> Material:
    place = out / "data" / one.name
    if folder is None:
        return read_material(place)[0]
    material = prepare_material(one, folder, place, plan.caps, {"plan": plan.to_dict()})
    rows = ", ".join(f"{part} {count:,}" for part, count in material.rows.items())
    log(f"{one.title}: {rows} rows" + "".join(f"; {note}" for note in material.notes))
    return material


def _sit_all(
    wanted: Sequence[Sitting], materials: Mapping[str, Material], plans: Plans, model: Path, out: Path
) -> None:
    results = out / "results"
    before = [sitting for sitting in wanted if read_result(results / sitting.file) is not None]
    log(f"{len(wanted):,} sittings" + (f", {len(before):,} of them done before" if before else ""))
    elsewhere: list[Sitting] = []
    failed: list[str] = []
    with stopping(out), removed_if_empty(out / WORK):
        for number, sitting in enumerate(wanted, 1):
            one, file = sitting.one, results / sitting.file
            rows, plan = materials[one.name].folder, plans[one.name]
            place = out / WORK / sitting.file.with_suffix("")
            with removed_if_empty(place.parent), removed_if_empty(place), held(place) as ours:
                if not ours:
                    elsewhere.append(sitting)
                elif read_result(file) is None:
                    log(f"[{number}/{len(wanted)}] {sitting}")
                    _check_plan(rows, plan)
                    server = out / "server" / f"seed-{sitting.seed}"
                    try:
                        result = sit(sitting, materials[one.name], plan, model, place / "task", server)
                    except InputError as error:  # these rows are nothing for the task; the other sets may be
                        log(f"warning: {sitting}: {error}")
                        failed.append(f"{sitting} ({error})")
                        continue
                    with held(out, wait=True):  # from a process that would make the rows anew
                        _check_plan(rows, plan)
                        write_text(file, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
                    publish(out)
    if elsewhere:
        log(f"note: another process is at {len(elsewhere):,} more: {', '.join(map(str, elsewhere))}")
    if failed:
        raise InputError(f"{len(failed):,} of {len(wanted):,} sittings came to nothing, the first: {failed[0]}")


@contextmanager
def removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove a folder in the end, unless another process has something in it."""
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def stopping(out: Path) -> Iterator[None]:
    """Turn SIGTERM and Ctrl-C into `Stopped`: what is finished is kept."""

    def stop(number: int, frame: object) -> None:
        raise Stopped(f"stopped; what was finished is in {out}, and the same command goes on from there", number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
