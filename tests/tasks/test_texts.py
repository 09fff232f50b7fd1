"""Tasks on whole texts: weights of labels, sets of them, numbers of any unit, and what is refused."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from litebert.data.labelled import Columns
from litebert.data.rows import write_rows
from litebert.errors import InputError
from litebert.tasks.classify import Classify
from litebert.tasks.multilabel import Multilabel
from litebert.tasks.regress import Regress, Value
from litebert.tasks.task import Windowing, grouped_log_softmax, label_weights
from litebert.text.tokenizer import Tokenizer
from tests.labelled import write_jsonl


def test_log_softmax_of_groups_is_torchs_in_each() -> None:
    generator = torch.Generator().manual_seed(0)
    values = (torch.randn(20, generator=generator, dtype=torch.float64) * 100).requires_grad_()
    group = torch.randint(0, 4, (20,), generator=generator)
    weight = torch.randn(20, generator=generator, dtype=torch.float64)
    found = grouped_log_softmax(values, group, 5)
    (gradient,) = torch.autograd.grad((found * weight).sum(), values)
    for number in range(4):
        expected = values[group == number].log_softmax(0)
        torch.testing.assert_close(found[group == number], expected)
        (slow,) = torch.autograd.grad((expected * weight[group == number]).sum(), values)
        torch.testing.assert_close(gradient[group == number], slow[group == number])


@pytest.mark.parametrize(
    ("counts", "weighting", "ratio"),
    [
        ([90, 10], "auto", 3.0),  # the root of 9
        ([79, 21], "auto", 1.0),  # not skewed enough
        ([80, 20], "auto", 2.0),
        ([90, 10], "none", 1.0),
        ([90, 10], "inverse", 9.0),
        ([60, 40], "sqrt", math.sqrt(1.5)),
    ],
)
def test_weights_of_labels(counts: list[int], weighting: str, ratio: float) -> None:
    weights = label_weights(counts, weighting)  # type: ignore[arg-type]
    assert weights[1] / weights[0] == pytest.approx(ratio)
    assert np.dot(weights, counts) == pytest.approx(sum(counts)), "1 on average: the rate means the same"


def test_labels_without_rows_weigh_nothing() -> None:
    assert label_weights([8, 0, 2], "inverse") == pytest.approx([5 / 8, 0, 5 / 2])


@pytest.mark.parametrize("weighting", ["none", "auto"])
def test_the_loss_is_torchs_weighted_cross_entropy(tokenizer: Tokenizer, tmp_path: Path, weighting: str) -> None:
    task = Classify()
    rows: list[dict[str, object]] = [
        {"text": f"text {i}", "label": "rare" if i % 9 == 0 else "usual"} for i in range(27)
    ]
    read = task.read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns())
    labels = task.labels(read)
    encoded = task.encode(read.inputs, tokenizer, Windowing(16))
    gold = task.gold(read, encoded, labels)
    lesson = task.lesson(encoded, gold, labels, weighting)  # type: ignore[arg-type]
    logits = torch.randn(27, 2, generator=torch.Generator().manual_seed(0))
    batch = encoded.examples.batch(np.arange(27))
    losses = lesson.loss(logits, batch).numpy()
    total = (losses * lesson.items.weights).sum() / lesson.items.weights.sum()
    weight = torch.tensor([math.sqrt(8), 1.0]) if weighting == "auto" else None
    assert total == pytest.approx(float(F.cross_entropy(logits, torch.from_numpy(gold), weight)), rel=1e-5)
    assert task.primary(gold, labels) == "macro_f1"
    (note,) = lesson.notes
    assert "the labels are imbalanced ('usual' 24 rows, 'rare' 3): accuracy says little, 89%" in note
    assert ("a row of 'rare' counts 2.8 times one of 'usual'" in note) == (weighting == "auto")


def test_a_metric_for_every_number_of_labels() -> None:
    task = Classify()
    assert "f1" in task.possible_metrics(("a", "b"))
    assert "f1" not in task.possible_metrics(("a", "b", "c"))
    even = np.array([0, 1, 1, 0])
    assert task.primary(even, ("a", "b")) == "accuracy"


@pytest.mark.parametrize("number", [3.2e-7, -0.125, 1234.567, 7.5e8])
def test_numbers_are_said_in_whatever_unit(number: float) -> None:
    assert Value(number).to_dict() == {"value": number}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["b", "a"], ("b", "a")),
        ("b, a", ("b", "a")),
        ('["b", "a"]', ("b", "a")),
        ("a", ("a",)),
        (["a", "a"], ("a",)),
        ([], ()),
        ("", ()),
        ([1, 2], ("1", "2")),
        (3, ("3",)),
    ],
)
def test_ways_to_write_sets(tmp_path: Path, value: object, expected: tuple[str, ...]) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"text": "t", "labels": value}])
    assert Multilabel().read(path, Columns()).targets == [expected]


def test_a_set_that_is_missing_is_no_empty_one(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [{"text": "t", "labels": ["a"]}, {"text": "u", "labels": None}])
    with pytest.raises(InputError, match=r"line 2: 'labels' is null; write \[\] where"):
        Multilabel().read(path, Columns())


def test_sets_are_the_same_in_all_formats(tmp_path: Path) -> None:
    rows = [{"text": "t", "labels": ["a", "b"]}, {"text": "u", "labels": []}]
    for name in ("a.csv", "a.tsv", "a.parquet", "a.jsonl"):
        write_rows(rows, tmp_path / name)
        assert Multilabel().read(tmp_path / name, Columns()).targets == [("a", "b"), ()]


def test_rare_labels_of_sets_count_more(tokenizer: Tokenizer, tmp_path: Path) -> None:
    task = Multilabel()
    rows: list[dict[str, object]] = [
        {"text": f"t {i}", "labels": ["x"] * (i % 2) + ["y"] * (i == 0)} for i in range(20)
    ]
    read = task.read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns())
    encoded = task.encode(read.inputs, tokenizer, Windowing(16))
    gold = task.gold(read, encoded, ("x", "y"))
    logits = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    batch = encoded.examples.batch(np.arange(20))
    for weighting, weight in (("none", [1, 1]), ("auto", [1, math.sqrt(19)]), ("inverse", [1, 10])):
        lesson = task.lesson(encoded, gold, ("x", "y"), weighting)  # type: ignore[arg-type]
        target = torch.from_numpy(gold).float()
        expected = F.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor(weight).float())
        assert float(lesson.loss(logits, batch).mean()) == pytest.approx(float(expected), rel=1e-5)
        assert bool(lesson.notes) == (weighting != "none")
    plain = F.binary_cross_entropy_with_logits(logits, torch.from_numpy(gold).float())
    assert task.judge(encoded, gold, logits.numpy(), ("x", "y"), {})["loss"] == pytest.approx(float(plain), rel=1e-5)


def test_labels_of_sets_that_are_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    task = Multilabel()
    path = tmp_path / "rows.jsonl"
    for value, message in (({"a": 1}, "is an object"), ([None], "is missing"), ("[a", "is no list of labels")):
        write_jsonl(path, [{"text": "t", "labels": ["a"]}, {"text": "t", "labels": value}])
        with pytest.raises(InputError, match=f"line 2: .*{message}"):
            task.read(path, Columns())
    read = task.read(write_jsonl(path, [{"text": "t", "labels": []}]), Columns())
    with pytest.raises(InputError, match="no row has a label in 'labels'"):
        task.labels(read)
    read = task.read(write_jsonl(path, [{"text": "t", "labels": ["b"]}]), Columns())
    with pytest.raises(InputError, match="line 1: the label 'b' is not one"):
        task.gold(read, task.encode(read.inputs, tokenizer, Windowing(16)), ("a",))


@pytest.mark.parametrize("value", ["NaN", "inf", None, "", "high", True, [1.0]])
def test_what_is_no_number(tmp_path: Path, value: object) -> None:
    rows: list[dict[str, object]] = [{"text": "a", "value": 1.5}, {"text": "b", "value": value}]
    with pytest.raises(InputError, match=r"rows\.jsonl, line 2: .* in 'value' is no finite number"):
        Regress().read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns())


def test_numbers_that_are_all_the_same(tmp_path: Path) -> None:
    read = Regress().read(write_jsonl(tmp_path / "rows.jsonl", [{"text": "a", "score": 2}] * 3), Columns())
    with pytest.raises(InputError, match="every number in 'score' is 2; regress needs different ones"):
        Regress().labels(read)


def test_numbers_that_single_precision_cannot_tell_apart(tmp_path: Path) -> None:
    times = [{"text": "a", "score": 1_700_000_000 + 3600 * i} for i in range(3)]
    read = Regress().read(write_jsonl(tmp_path / "rows.jsonl", times), Columns())
    with pytest.raises(InputError, match=r"'score' lie around 1\.7e\+09 and differ by 2\.94e\+03, .* 1700003600 from"):
        Regress().labels(read)
    years = [{"text": "a", "score": 2020 + i} for i in range(3)]
    assert Regress().labels(Regress().read(write_jsonl(tmp_path / "rows.jsonl", years), Columns())) == ("value",)


def test_numbers_are_learnt_in_deviations_and_saved_in_their_unit(tokenizer: Tokenizer, tmp_path: Path) -> None:
    task = Regress()
    rows: list[dict[str, object]] = [{"text": f"text {i}", "label": 1000 + 10 * i} for i in range(10)]
    read = task.read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns())
    encoded = task.encode(read.inputs, tokenizer, Windowing(16))
    gold = task.gold(read, encoded, ("value",))
    lesson = task.lesson(encoded, gold, ("value",), "auto")
    head = torch.nn.Linear(4, 1)
    x = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        raw = head(x)
        lesson.finish(head)
        finished = head(x)
    np.testing.assert_allclose(lesson.outputs(raw.numpy()), finished.numpy(), rtol=1e-5)
    batch = encoded.examples.batch(np.arange(10))
    scaled = (gold - gold.mean()) / gold.std()
    assert lesson.loss(raw, batch).tolist() == pytest.approx((raw[:, 0].numpy() - scaled) ** 2, rel=1e-4)
    right = torch.from_numpy(scaled).float()[:, None]
    assert float(lesson.loss(right, batch).sum()) == pytest.approx(0, abs=1e-6)
    metrics = task.judge(encoded, gold, lesson.outputs(right.numpy()), ("value",), {})
    assert metrics["pearson"] == pytest.approx(1)
    assert metrics["mse"] < 0.01
