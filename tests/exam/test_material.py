"""From files as they are distributed to rows: nothing invented, nothing on both sides, damage named."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litebert.data.labelled import Columns
from litebert.errors import ConfigError, InputError
from litebert.exam.material import Caps, Material, deal, draw, leaked, prepare_material, read_material
from litebert.exam.sets import ALL, NO_TEST, SETS, benchmarks, lacking, sets_of
from litebert.tasks.table import TASKS
from tests.exam.public import TEXTS, complete_glue

HERE = [name for name in SETS if name not in ("qnli", "mnli", "qqp", "squad2")]
"""Sets of the made-up folder."""


def rows_of(material: Material, part: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in material.file(part).read_text(encoding="utf-8").splitlines()]


def made(name: str, public: Path, out: Path, **caps: int) -> Material:
    return prepare_material(SETS[name], public, out / name, Caps(**caps), {})


def test_every_benchmark_has_sets_and_every_set_a_benchmark() -> None:
    assert set(benchmarks()) == {"glue", "similarity", "squad", "xnli", "choice", "ner", "sentiment", "intent", ALL}
    assert benchmarks()["sentiment"][0] == "sst2"
    assert [one.name for one in sets_of(ALL)] == list(SETS)
    with pytest.raises(ConfigError, match=r"'super' is unknown; use one of glue, similarity, .*all"):
        sets_of("super")


def test_what_a_folder_lacks(public: Path) -> None:
    assert [name for name in SETS if lacking(SETS[name], public)] == ["qnli", "mnli", "qqp", "squad2"]
    assert lacking(SETS["qnli"], public) == ["glue/QNLI/train.tsv"]


def test_sets_as_everybody_downloads_them(public: Path, tmp_path: Path) -> None:
    """GLUE's own files have no labelled test, SQuAD's train is larger than its dev; the rule says which was read."""
    ours, theirs = (made(name, public, tmp_path / "ours") for name in ("sst2", "squad1"))
    folder = tmp_path / "data"
    shutil.copytree(public, folder)
    for file in ("SST-2/test_labelled.tsv", "STS-B/sts-test-labelled.tsv", "MRPC/msr_paraphrase_test.txt"):
        (folder / "glue" / file).unlink()
    mrpc = folder / "glue" / "MRPC"
    for part in ("train", "dev"):
        shutil.copy(mrpc / "msr_paraphrase_train.txt", mrpc / f"{part}.tsv")
    shutil.copy(folder / "squad" / "dev-v1.1.json", folder / "squad" / "train-v1.1.json")
    found = {name: made(name, folder, tmp_path / "theirs") for name in ("sst2", "stsb", "mrpc", "squad1")}
    assert found["sst2"].rule == found["stsb"].rule == found["mrpc"].rule == NO_TEST
    assert "labelled test of the Stanford" in ours.rule
    dev = len((public / "glue" / "SST-2" / "dev.tsv").read_text().splitlines()) - 1
    assert (found["sst2"].rows["test"], found["sst2"].rows["dev"]) == (dev, round(0.1 * ours.available["train"]))
    assert found["squad1"].rows["test"] == sum(theirs.rows.values()), "all of dev"
    assert found["squad1"].rule.startswith("the official dev is the test")
    assert theirs.rule.startswith("by articles")


@pytest.mark.parametrize("name", HERE)
def test_the_rows_are_what_our_tasks_read(name: str, public: Path, tmp_path: Path) -> None:
    one = SETS[name]
    material = made(name, public, tmp_path)
    task = TASKS[one.task]
    read = {part: task.read(material.file(part), Columns()) for part in ("train", "dev", "test")}
    assert {part: len(rows) for part, rows in read.items()} == material.rows
    assert task.labels(read["train"])
    again, values = read_material(material.folder)
    assert again == material
    assert values["rows"] == material.rows
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize("name", [name for name in HERE if SETS[name].group])
def test_no_group_stands_on_both_sides(name: str, public: Path, tmp_path: Path) -> None:
    material = made(name, public, tmp_path)
    part = {side: rows_of(material, side) for side in ("train", "dev", "test")}
    sides = [("train", "dev")] if SETS[name].test else [("train", "dev"), ("train", "test"), ("dev", "test")]
    field = "context" if SETS[name].task == "qa" else "text"
    for one, other in sides:
        assert not {row[field].lower() for row in part[one]} & {row[field].lower() for row in part[other]}
    if name == "squad1":  # ten times the number of an article is in the names of its rivers
        articles = {side: {int(row["context"].split()[2]) // 10 for row in rows} for side, rows in part.items()}
        assert sum(map(len, articles.values())) == 5
        assert len(set.union(*articles.values())) == 5


def test_labels_mean_what_the_files_say(public: Path, tmp_path: Path) -> None:
    opinions = {text: i % 2 for i, text in enumerate(TEXTS)}
    for name, names in (
        ("sst2", ("negative", "positive")),
        ("cola", ("unacceptable", "acceptable")),
        ("rte", ("not_entailment", "entailment")),
        ("wnli", ("not_entailment", "entailment")),
        ("mrpc", ("different", "paraphrase")),
        ("sms-spam", ("ham", "spam")),
        ("clinc150", ("praise", "complaint")),
        ("tweet-emotion", ("anger", "joy")),
        ("imdb", ("pos", "neg")),
    ):
        rows = rows_of(made(name, public, tmp_path), "test")
        assert rows
        assert all(row["label"] == names[opinions[row["text"]]] for row in rows), name
    stsb = rows_of(made("stsb", public, tmp_path), "test")
    assert [row["value"] for row in stsb[:3]] == [0.0, 4.6, 0.2]
    assert stsb[0]["text"] == TEXTS[0]
    assert stsb[0]["text_pair"] == TEXTS[2]


def test_choices_and_questions(public: Path, tmp_path: Path) -> None:
    copa = rows_of(made("copa", public, tmp_path), "test")
    assert copa[0]["choices"] == TEXTS[:2]
    assert [row["question"] for row in copa[:2]] == ["What was the cause of this?", "What happened as a result?"]
    assert [row["label"] for row in copa[:2]] == [0, 1]
    race = made("race", public, tmp_path)
    assert race.others == ("middle", "high")
    assert race.rows["test"] == sum(len(rows_of(race, f"test-{level}")) for level in race.others)
    few = made("race", public, tmp_path / "few", test=1)
    assert [len(rows_of(few, f"test-{level}")) for level in few.others] == [1, 1]
    assert min(len(rows_of(race, f"test-{level}")) for level in race.others) > 1
    asked = rows_of(race, "test-high")[1]
    assert (asked["id"], asked["question"], asked["label"]) == ("high0.txt-1", "Which _ ?", 1)
    dream = rows_of(made("dream", public, tmp_path), "test")
    assert dream[0]["context"] == f"M: How was it?\nW: {TEXTS[0]}"
    assert dream[0]["choices"][dream[0]["label"]] == TEXTS[0]
    arc = made("arc-easy", public, tmp_path)
    assert arc.notes[:2] == (
        "2 rows of arc_easy_train.csv have lost their choices and are left out",
        "2 rows of arc_easy_validation.csv have lost their choices and are left out",
    )
    first = rows_of(arc, "test")[0]
    assert first == {"context": "Which one, 0?", "choices": [TEXTS[0], TEXTS[1], "Tea"], "label": 0}
    tydi = made("tydiqa", public, tmp_path)
    assert tydi.notes == ("27 ids repeat, so that questions are numbered",)
    ids = [row["id"] for part in ("train", "dev", "test") for row in rows_of(tydi, part)]
    assert len(set(ids)) == len(ids) == 28


def test_a_complete_folder_of_glue(public: Path, tmp_path: Path) -> None:
    shutil.copytree(public / "glue", tmp_path / "data" / "glue")
    complete_glue(tmp_path / "data" / "glue")
    found = {one.name: made(one.name, tmp_path / "data", tmp_path / "out") for one in sets_of("glue")}
    server = [name for material in found.values() for name in material.server]
    assert sorted(server) == sorted("CoLA SST-2 MRPC STS-B MNLI-m MNLI-mm QNLI RTE WNLI AX QQP".split())  # noqa: SIM905
    for material in found.values():
        for name in material.server:
            rows = rows_of(material, f"server-{name}")
            assert [row["id"] for row in rows] == [str(i) for i in range(6)]
            assert all(row["text"] for row in rows)
    assert found["mnli"].others == ("mismatched",)
    assert rows_of(found["qnli"], "test")[1]["label"] == "not_entailment"
    assert rows_of(found["qqp"], "test")[1] == {"text": TEXTS[1], "text_pair": f"so {TEXTS[1]}", "label": "duplicate"}
    assert found["qqp"].rows["test"] == len(TEXTS)
    assert "1 lines of dev.tsv with too few fields are left out" in found["qqp"].notes


def test_other_languages_are_judged_on_the_same_premises(public: Path, tmp_path: Path) -> None:
    material = made("xnli", public, tmp_path, test=9)
    assert material.others == ("de", "zh")
    english = rows_of(material, "test")
    german = rows_of(material, "test-de")
    assert len(english) == len(german) == 9
    for one, other in zip(english, german, strict=True):
        assert one["text"].removeprefix("en") == other["text"].removeprefix("de")
        assert one["label"] == other["label"]


def test_a_model_is_judged_elsewhere_by_the_labels_it_knows(public: Path, tmp_path: Path) -> None:
    reviews = made("imdb", public, tmp_path)
    assert reviews.elsewhere == ("sst2", "tweet-sentiment")
    assert rows_of(reviews, "test-sst2")[1] == {"text": TEXTS[1], "label": "pos"}
    tweets = rows_of(reviews, "test-tweet-sentiment")
    assert [row["text"] for row in tweets] == [text for i, text in enumerate(TEXTS) if i % 3 != 1], "neutral ones"
    assert {row["label"] for row in tweets} == {"neg", "pos"}
    shutil.copytree(public / "imdb", tmp_path / "alone" / "imdb")
    assert made("imdb", tmp_path / "alone", tmp_path / "out").elsewhere == ()


def test_texts_of_no_label_stand_beside_the_parts(public: Path, tmp_path: Path) -> None:
    material = made("clinc150-10", public, tmp_path)
    assert material.unknown == ("dev", "test")
    assert rows_of(material, "unknown-test")[0]["text"] == "how far is the moon"
    assert read_material(material.folder)[0] == material


def test_caps_are_fixed_draws_and_leaks_are_counted(public: Path, tmp_path: Path) -> None:
    material = made("sst2", public, tmp_path, train=10, dev=5, test=20)
    assert material.rows == {"train": 10, "dev": 5, "test": 20}
    assert material.available == {"train": 32, "dev": 32, "test": 32}
    again = prepare_material(SETS["sst2"], public, tmp_path / "again", Caps(train=10, dev=5, test=20), {})
    assert rows_of(again, "train") == rows_of(material, "train")
    assert len(draw(10, 3)) == 3
    assert draw(3, 10) == [0, 1, 2]
    learnt = {row["text"] for part in ("train", "dev") for row in rows_of(material, part)}
    shared = sum(row["text"] in learnt for row in rows_of(material, "test"))
    assert shared > 0
    assert material.notes == (f"{shared} of 20 test rows are rows of train or dev too, as distributed",)


@given(st.lists(st.integers(0, 12), min_size=2, max_size=80), st.floats(0.05, 0.4))
def test_dealing(groups: list[int], share: float) -> None:
    rows = [{"text": f" Group  {group}"} if i % 2 else {"text": f"group {group}"} for i, group in enumerate(groups)]
    if len(set(groups)) < 2:
        with pytest.raises(InputError, match="cannot be divided"):
            deal(rows, "text", share, 0)
        return
    stay, held = deal(rows, "text", share, 0)
    assert sorted(stay + held) == list(range(len(rows)))
    assert stay
    assert held
    assert not {groups[i] for i in stay} & {groups[i] for i in held}
    assert (stay, held) == deal(rows, "text", share, 0)
    largest = max(Counter(groups).values())
    assert abs(len(held) - max(1, round(share * len(rows)))) <= largest


def test_leaks() -> None:
    train = [{"text": "a", "text_pair": "b", "label": "x"}]
    assert leaked([{"text": "a", "text_pair": "b", "label": "y"}, {"text": "a", "text_pair": "c"}], train) == 1


@pytest.mark.parametrize(
    ("name", "file", "content", "words"),
    [
        ("sst2", "glue/SST-2/train.tsv", b"", "train.tsv is empty"),
        ("sst2", "glue/SST-2/dev.tsv", b"sentence\tlabel\nfine\t1\nbad\n", r"dev.tsv, line 3: 1 fields; 2 were"),
        ("sst2", "glue/SST-2/dev.tsv", b"sentence\tlabel\nfine\t7\n", r"dev.tsv, line 2: the label '7' is none of 0"),
        ("sst2", "glue/SST-2/dev.tsv", b"sentence\tmood\nfine\t1\n", "no column 'label'"),
        ("sst2", "glue/SST-2/dev.tsv", b"sentence\tlabel\n\xff\xfe\t1\n", r"dev.tsv, line 2: not UTF-8"),
        (
            "sst2",
            "glue/SST-2/dev.tsv",
            b"sentence\tlabel\n" + 20 * b"fine\t1\n",
            "all 20 dev rows of SST-2 have the label",
        ),
        ("stsb", "glue/STS-B/sts-test-labelled.tsv", b"a\tb\tc\td\tmuch\tone\tother\n", "'much' is no number"),
        ("imdb", "imdb/test.jsonl.xz", b"\xfd7zXZ\x00 no more", "test.jsonl.xz is damaged"),
        ("tweet-emotion", "tweeteval/emotion/test_labels.txt", b"0\n1\n", "32 lines, .*test_labels.txt 2;"),
        ("tweet-emotion", "tweeteval/emotion/mapping.txt", b"0\tanger\n", "line 2: '1' is not in mapping.txt"),
        ("dream", "dream/dev.json", b'[[["a"], [{"question": "b"}], "c"]]', "dev.json is not DREAM's JSON"),
        ("dream", "dream/dev.json", b"[[", "dev.json is not JSON"),
        ("race", "RACE/dev/high/3.txt", b'{"questions": ["a"]}', "3.txt is no passage of RACE"),
        ("copa", "copa/val-en.jsonl", b'{"premise": "a"}\n', "line 1: no 'choice1'"),
        ("arc-easy", "arc/arc_easy_train.csv", b'a,b,"c\n', "arc_easy_train.csv is not valid CSV"),
        ("squad1", "squad/dev-v1.1.json", b'{"data": [{}]}', "after question 0 there is no 'paragraphs'"),
        ("tydiqa", "tydiqa/tydiqa.goldp.en.train.json", b'{"data": []}', "has no answers"),
        ("wnut17", "wnut17/emerging.dev.conll", b"word\n", "line 1"),
        ("xnli", "xnli/dev-de.tsv", b"a\tb\tneutral\n", "fewer than its English"),
    ],
)
def test_damaged_files(name: str, file: str, content: bytes, words: str, public: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    base = Path(file).parts[0]
    shutil.copytree(public / base, folder / base)
    (folder / file).write_bytes(content)
    with pytest.raises(InputError, match=words):
        prepare_material(SETS[name], folder, tmp_path / "out", Caps(), {})
    assert not (tmp_path / "out").exists()


REAL = {
    "sst2": (67349, 872, 1821), "cola": (7696, 855, 1043), "rte": (2241, 249, 277), "wnli": (571, 64, 71),
    "mrpc": (3668, 408, 1725), "stsb": (5749, 1500, 1379), "squad1": (7481, 939, 2150), "tydiqa": (2661, 296, 739),
    "xnli": (1794, 198, 498), "copa": (360, 40, 100), "dream": (6116, 2040, 2041), "arc-challenge": (986, 110, 294),
    "wnut17": (3394, 1009, 1287), "tweet-sentiment": (11056, 1228, 2000), "tweet-emotion": (3257, 374, 1421),
    "sms-spam": (4013, 446, 1115), "clinc150": (15000, 3000, 4500), "clinc150-10": (1500, 3000, 4500),
}  # fmt: skip
"""Rows of train, dev and test."""


@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str, litebert_data: Path, tmp_path: Path) -> None:
    one = SETS[name]
    if lacking(one, litebert_data):
        pytest.skip(f"LITEBERT_DATA has no {one.title}")
    material = made(name, litebert_data, tmp_path)
    assert tuple(material.rows.values()) == REAL[name]
    sides = {part: rows_of(material, part) for part in ("train", "dev", "test")}
    if one.task in ("classify", "choice"):
        for part in sides:
            shares = Counter(str(row["label"]) for row in sides[part])
            assert len(shares) > 1, "labels that were taken out are one and the same"
    if not one.test:
        assert leaked(sides["test"], [*sides["train"], *sides["dev"]]) == 0
    if one.task == "qa":
        assert not {row["context"] for row in sides["test"]} & {row["context"] for row in sides["train"]}
