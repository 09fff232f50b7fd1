"""From the files of a set to the rows of an examination: train, dev and test as JSON lines, whole or not at all.

    files -> rows of each part -> a test and dev rows where the set has none, by group -> caps -> OUT/data/SET/*.jsonl

The very files that are learnt from and judged are written, so that `litebert finetune` can be run on them too.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from litebert.data.rows import Row, write_rows
from litebert.errors import InputError
from litebert.exam.sets import HELD_OUT, SETS, ExamSet, as_distributed, lacking
from litebert.files import new_folder

DEV_SHARE = 0.1
"""Share of the training rows that the best epoch is chosen on where a set has no dev rows to spare."""

DEALT, DRAWN = 5, 6
"""Domains of random numbers, beside the number of the split: they never depend on the seed of a run."""

MOST_ELSEWHERE = 3000
"""Most rows of the test of another set, a fixed draw; those with labels that are unknown here are left out after it."""

FEWEST_TO_JUDGE = 20
"""Fewer rows may have one label by chance."""

INPUTS = ("text", "text_pair", "context", "question", "choices")


@dataclass(frozen=True, kw_only=True)
class Caps:
    """Most rows of each part, fixed draws; None: all."""

    train: int | None = None
    dev: int | None = None
    test: int | None = None


@dataclass(frozen=True, kw_only=True)
class Material:
    """The rows of a set, as files."""

    folder: Path
    rows: dict[str, int]
    """How many there are in train, dev and test."""
    available: dict[str, int]
    """How many there were before the caps."""
    others: tuple[str, ...] = ()
    """Names of further tests: files `test-NAME.jsonl`."""
    elsewhere: tuple[str, ...] = ()
    """Names of other sets whose test rows are judged too: files `test-NAME.jsonl`."""
    unknown: tuple[str, ...] = ()
    """Parts, `dev` and `test`, beside which there are texts of no label: files `unknown-PART.jsonl`."""
    server: tuple[str, ...] = ()
    """Names of GLUE's files whose questions are there: files `server-NAME.jsonl`."""
    rule: str = ""
    """The `note` of the set, in the way in which it was distributed."""
    notes: tuple[str, ...] = field(default=())

    def file(self, part: str) -> Path:
        """The file of a part: train, dev, test, test-NAME, unknown-PART, server-NAME."""
        return self.folder / f"{part}.jsonl"

    def others_files(self) -> dict[str, Path]:
        """The further tests by name, those of other sets among them."""
        return {name: self.file(f"test-{name}") for name in (*self.others, *self.elsewhere)}


def prepare_material(one: ExamSet, data: Path, out: Path, caps: Caps, about: Mapping[str, Any]) -> Material:
    """Read a set from a data folder and write its rows to the folder `out`, with `set.json` beside them.

    about: what `set.json` says besides. Raises InputError for damaged files.
    """
    one, base = as_distributed(one, data), data / one.folder
    rows, places, notes = _divided(one, base)
    available = {name: len(found) for name, found in rows.items()}
    most = _caps(one, caps)
    drawn = {name: draw(len(found), most[name]) for name, found in rows.items()}
    others = _others(one, base, places, drawn["test"], most["test"])
    rows = {name: [rows[name][i] for i in index] for name, index in drawn.items()}
    if shared := leaked(rows["test"], [*rows["train"], *rows["dev"]]):
        notes.append(f"{shared:,} of {len(rows['test']):,} test rows are rows of train or dev too, as distributed")
    elsewhere = _elsewhere(one, data)
    notes += [
        f"not tried on {SETS[name].title}, which was not there" for name in one.elsewhere if name not in elsewhere
    ]
    unknown = {part: one.read(_paths(base, files)).rows for part, files in one.unknown.items() if _there(base, files)}
    if len(unknown) < len(one.unknown):
        notes.append("texts of none of its labels were not there")
    server, missed = _server(one, base)
    notes += missed
    with new_folder(out) as folder:
        more = {f"test-{name}": found for name, found in (others | elsewhere).items()}
        more |= {f"unknown-{part}": found for part, found in unknown.items()}
        more |= {f"server-{name}": found for name, found in server.items()}
        for name, found in (rows | more).items():
            write_rows(map(_clean, found), folder / f"{name}.jsonl")
        material = Material(
            folder=out,
            rows={name: len(rows[name]) for name in ("train", "dev", "test")},
            available=available,
            others=tuple(others),
            elsewhere=tuple(elsewhere),
            unknown=tuple(unknown),
            server=tuple(server),
            rule=one.note,
            notes=tuple(dict.fromkeys(notes)),
        )
        values = {name: value for name, value in vars(material).items() if name != "folder"}
        (folder / "set.json").write_text(json.dumps(dict(about) | values, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return material


def _divided(one: ExamSet, base: Path) -> tuple[dict[str, list[Row]], list[int] | None, list[str]]:
    """The rows of train, dev and test; where in the training file the test rows stood, None where there is a test of
    its own; and what is to be known of the files."""
    parts = {name: one.read([base / file for file in files]) for name, files in _read_alike(one).items()}
    if one.read_test is not None:
        parts["test"] = one.read_test([base / file for file in one.test])
    rows = {name: part.rows for name, part in parts.items()}
    for name, found in rows.items():
        if not found:
            raise InputError(f"{base}: {one.title} has no {name} rows; bring its files anew")
    places: list[int] | None = None
    if "test" not in rows:
        kept, places = deal(rows["train"], one.group, HELD_OUT, 0)
        rows["train"], rows["test"] = [rows["train"][i] for i in kept], [rows["train"][i] for i in places]
    if "dev" not in rows:
        kept, chosen = deal(rows["train"], one.group, DEV_SHARE, 1)
        rows["train"], rows["dev"] = [rows["train"][i] for i in kept], [rows["train"][i] for i in chosen]
    _check_labels(one, base, rows)
    notes = [note for part in parts.values() for note in part.notes]
    return {name: rows[name] for name in ("train", "dev", "test")}, places, notes


def _check_labels(one: ExamSet, base: Path, rows: Mapping[str, Sequence[Row]]) -> None:
    """Refuse a part whose labels were taken out, the same one standing for all of them."""
    kinds = {part: {row["label"] for row in found if "label" in row} for part, found in rows.items()}
    for part in ("dev", "test"):
        if len(kinds[part]) == 1 < len(kinds["train"]) and len(rows[part]) >= FEWEST_TO_JUDGE:
            raise InputError(
                f"{base}: all {len(rows[part]):,} {part} rows of {one.title} have the label {kinds[part].pop()!r}, as "
                "where labels were taken out; bring files with labels"
            )


def read_material(folder: Path) -> tuple[Material, dict[str, Any]]:
    """Return what `prepare_material` wrote, and all that `set.json` says."""
    try:
        values = json.loads((folder / "set.json").read_text(encoding="utf-8"))
        material = Material(
            folder=folder,
            rows=values["rows"],
            available=values["available"],
            others=tuple(values["others"]),
            elsewhere=tuple(values.get("elsewhere", ())),
            unknown=tuple(values.get("unknown", ())),
            server=tuple(values["server"]),
            rule=values.get("rule", ""),
            notes=tuple(values["notes"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'set.json'} is damaged ({error!r}); remove {folder}, it is made again") from None
    return material, values


def deal(rows: Sequence[Row], group: str | None, share: float, number: int) -> tuple[list[int], list[int]]:
    """Divide rows into those that stay and about a `share` that are held out; both in their order.

    group: a field that no two rows of different sides have in common, compared without regard to case and space.
    number: of the split, its randomness; the same for the same rows.
    """
    if group and any(group not in row for row in rows):
        raise InputError(f"some rows have no {group!r}, by which they are to be divided; bring the whole files")
    keys = [_key(row[group]) if group else str(i) for i, row in enumerate(rows)]
    members: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        members.setdefault(key, []).append(i)
    if len(members) < 2:
        raise InputError(f"{len(rows)} rows cannot be divided by {group or 'row'}; bring the whole files")
    names = list(members)
    wanted = max(1, round(share * len(rows)))
    held: list[int] = []
    for place in np.random.default_rng([DEALT, number]).permutation(len(names)).tolist():
        group_rows = members[names[place]]
        if len(held) >= wanted:
            break
        # A large group that would overshoot by more than it lacks is passed over for the next.
        if not held or len(held) + len(group_rows) - wanted <= wanted - len(held):
            held += group_rows
    outside = set(held)
    stay = [i for i in range(len(rows)) if i not in outside]
    if not stay:
        raise InputError(f"{len(rows)} rows cannot be divided by {group}; bring the whole files")
    return stay, sorted(held)


def draw(count: int, most: int | None) -> list[int]:
    """At most `most` of `count` rows, always the same, in their order."""
    if most is None or most >= count:
        return list(range(count))
    return sorted(np.random.default_rng([DRAWN, count]).permutation(count)[:most].tolist())


def leaked(test: Iterable[Row], train: Iterable[Row]) -> int:
    """How many test rows have the same inputs as a training row."""
    seen = {_inputs(row) for row in train}
    return sum(_inputs(row) in seen for row in test)


def _inputs(row: Row) -> str:
    return json.dumps([row.get(name) for name in INPUTS], ensure_ascii=False)


def _key(value: object) -> str:
    return " ".join(str(value).lower().split())


def _clean(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "title"}


def _read_alike(one: ExamSet) -> dict[str, tuple[str, ...]]:
    return {name: files for name, files in one.part_files().items() if name != "test" or one.read_test is None}


def _caps(one: ExamSet, caps: Caps) -> dict[str, int | None]:
    return {"train": caps.train, "dev": caps.dev, "test": caps.test or one.test_rows}


def _others(
    one: ExamSet, base: Path, places: Sequence[int] | None, drawn: Sequence[int], most: int | None
) -> dict[str, list[Row]]:
    """The further tests that are there, each of as many rows at most as the set's own."""
    found: dict[str, list[Row]] = {}
    for name, files in one.others.items():
        if not _there(base, files):
            continue
        rows = one.read(_paths(base, files)).rows
        if one.aligned:
            assert places is not None
            if len(rows) <= max(places):
                raise InputError(f"{base / files[0]} has {len(rows):,} rows, fewer than its English; bring it anew")
            rows = [rows[places[i]] for i in drawn]
        else:
            rows = [rows[i] for i in draw(len(rows), most)]
        found[name] = rows
    return found


def _elsewhere(one: ExamSet, data: Path) -> dict[str, list[Row]]:
    """The test rows of other sets that are there, with the labels that they have here."""
    found: dict[str, list[Row]] = {}
    for name, labels in one.elsewhere.items():
        if not lacking(SETS[name], data):
            other = as_distributed(SETS[name], data)
            rows = _divided(other, data / other.folder)[0]["test"]
            drawn = (rows[i] for i in draw(len(rows), other.test_rows or MOST_ELSEWHERE))
            found[name] = [row | {"label": labels[row["label"]]} for row in drawn if row["label"] in labels]
    return {name: rows for name, rows in found.items() if rows}


def _paths(base: Path, files: Sequence[str]) -> list[Path]:
    return [base / file for file in files]


def _there(base: Path, files: Sequence[str]) -> bool:
    return all(path.exists() for path in _paths(base, files))


def _server(one: ExamSet, base: Path) -> tuple[dict[str, list[Row]], list[str]]:
    """The rows that GLUE's server asks for, of the files that are there, and what is to be known of these."""
    found: dict[str, list[Row]] = {}
    notes: list[str] = []
    for name, candidates in one.server.items():
        path = next((base / file for file in candidates if (base / file).is_file()), None)
        if path is not None and one.read_unlabelled is not None:
            part = one.read_unlabelled([path])
            found[name] = part.rows
            notes += [f"{path.name}: {note}" for note in part.notes]
    return found, notes
