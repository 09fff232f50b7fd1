"""Which column is what, what a label is, and what is said when it is none."""

from pathlib import Path

import pytest

from litebert.data.labelled import (
    Columns,
    find_columns,
    label_ids,
    label_name,
    label_set,
    merged,
    number_of,
)
from litebert.data.rows import write_rows
from litebert.errors import InputError
from litebert.tasks.classify import Classify
from tests.labelled import ROWS, write_csv, write_jsonl


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ("text label", ("text", None, "label")),
        ("sentence label", ("sentence", None, "label")),
        ("Label Sentence", ("Sentence", None, "Label")),
        ("index sentence1 sentence2 label", ("sentence1", "sentence2", "label")),
        ("index question sentence label", ("question", "sentence", "label")),
        ("label text text_pair", ("text", "text_pair", "label")),
        ("id text sentence category", ("text", None, "category")),
    ],
)
def test_usual_names_are_found(present: str, expected: tuple[str | None, ...]) -> None:
    assert find_columns(present.split(), Columns(), "f", label=True) == expected


def test_the_user_decides_then_the_model() -> None:
    present = ["text", "body", "title", "label"]
    assert find_columns(present, Columns(text="body"), "f") == ("body", None, None)
    assert find_columns(present, Columns(text="body", text_pair="title"), "f") == ("body", "title", None)
    trained = Columns("title", "body", "label")
    assert find_columns(present, Columns(), "f", trained=trained) == ("title", "body", None)
    assert find_columns(["text"], Columns(), "f", trained=trained) == ("text", None, None)


@pytest.mark.parametrize(
    ("present", "wanted", "message"),
    [
        ("a b", Columns(), "f has no column 'text'.* its columns are 'a', 'b'; .*--text COLUMN"),
        ("text b", Columns(), "no column 'label'; its columns are 'text', 'b'; .*--label COLUMN"),
        ("text label", Columns(text="body"), r"no column 'body' \(--text\); its columns are 'text', 'label'"),
        ("text label", Columns(text_pair="b"), r"no column 'b' \(--text-pair\)"),
        ("text label", Columns(label="b"), r"no column 'b' \(--label\)"),
        ("text;label", Columns(), "separated by commas"),
    ],
)
def test_a_missing_column_names_those_there(present: str, wanted: Columns, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_columns(present.split(), wanted, "f", label=True)


@pytest.mark.parametrize("column", ["text", "title"])
def test_labels_are_not_what_is_read(column: str) -> None:
    with pytest.raises(InputError, match=f"f: the column '{column}' cannot hold both texts and labels; name two"):
        find_columns(["text", "title", "label"], Columns("text", "title", column), "f", label=True)


def test_single_texts_and_pairs_are_not_taken_for_each_other() -> None:
    task, pairs = Classify(), Columns("premise", "hypothesis", "label")
    for present in (["text"], ["text", "label"]):
        with pytest.raises(InputError, match="no column 'hypothesis', and the model was trained on pairs"):
            task.columns(present, Columns(), "f", trained=pairs)
    assert task.columns(["premise", "hypothesis"], Columns("premise"), "f", trained=pairs)[:2] == pairs[:2]
    assert task.columns(["sentence1", "sentence2"], Columns(), "f", trained=pairs)[:2] == ("sentence1", "sentence2")
    single = Columns("review", None, "label")
    with pytest.raises(InputError, match=r"two columns of texts, 'text' and 'text_pair', .* trained on single ones"):
        task.columns(["text", "text_pair"], Columns(), "f", trained=single)
    assert task.columns(["text", "text_pair"], Columns("text"), "f", trained=single)[:2] == ("text", None)
    assert task.columns(["text", "text_pair"], Columns("text", "text_pair"), "f", trained=single).text_pair
    with pytest.raises(InputError, match="row 1 has no column 'hypothesis'"):
        task.plain_input("alone", "row 1", pairs)


@pytest.mark.parametrize("written", ["2020_01", "\u0661\u0662"])
def test_what_python_alone_takes_for_a_number(written: str) -> None:
    with pytest.raises(InputError, match="no finite number"):
        number_of(written, "score", "row 1")


def test_the_second_column_of_a_trained_pair_is_needed() -> None:
    with pytest.raises(InputError, match=r"no column 'b'; .*--text-pair"):
        find_columns(["a"], Columns(), "f", trained=Columns("a", "b"))


def test_equal_labels_in_all_formats(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": "a", "label": 1}, {"text": "b", "label": 0}, {"text": "c", "label": 1}]
    write_jsonl(tmp_path / "a.jsonl", rows)
    for name in ("a.csv", "a.tsv", "a.parquet"):
        write_rows(rows, tmp_path / name)
    for path in tmp_path.iterdir():
        read = Classify().read(path, Columns())
        assert read.targets == ["1", "0", "1"]
        assert Classify().labels(read) == ("0", "1")
        assert label_ids(read, ("0", "1")) == [1, 0, 1]


def test_labels_are_sorted_numbers_by_size() -> None:
    def labels(values: list[str]) -> tuple[str, ...]:
        return label_set(values, "f", "label")

    assert labels(["10", "9", "1", "10"]) == ("1", "9", "10")
    assert labels(["b", "10", "a", "9"]) == ("10", "9", "a", "b")
    assert labels([str(i) for i in range(150)] * 2)[-1] == "149"


@pytest.mark.parametrize("value", [None, "", "  ", float("nan"), "NaN", "nan"])
def test_a_missing_label(value: object) -> None:
    with pytest.raises(InputError, match=r"f, line 3: the label \('y'\) is missing"):
        label_name(value, "y", "f, line 3")


@pytest.mark.parametrize(("value", "name"), [(1, "1"), (" a ", "a"), (True, "true"), (1.5, "1.5"), (0, "0")])
def test_labels_are_kept_as_written(value: object, name: str) -> None:
    assert label_name(value, "y", "here") == name


def test_a_list_is_no_label() -> None:
    with pytest.raises(InputError, match="is a list; a label is one"):
        label_name(["a", "b"], "y", "here")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 5, "every label in 'label' is 'a'; classify needs rows of two"),
        ([str(i / 7) for i in range(40)], "looks like regression.*finetune regress"),
        ([f"id-{i}" for i in range(60)], "60 different labels in 60 rows.*--label COLUMN"),
    ],
)
def test_columns_that_hold_no_classes(labels: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        label_set(labels, "f", "label")


def test_a_label_unseen_in_training_is_named_with_its_row(tmp_path: Path) -> None:
    rows = Classify().read(write_csv(tmp_path / "dev.csv", [*ROWS, {"text": "x", "label": "so-so"}]), Columns())
    with pytest.raises(InputError, match=rf"dev\.csv, line {len(ROWS) + 2}: the label 'so-so' .*'bad', 'good'"):
        label_ids(rows, ("bad", "good"))


def test_texts_may_be_empty_and_are_counted(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"text": "", "text_pair": "b", "label": 1},
        {"text": None, "text_pair": None, "label": 0},
        {"text": 12, "text_pair": "", "label": 0},
    ]
    read = Classify().read(write_jsonl(tmp_path / "a.jsonl", rows), Columns())
    assert read.inputs == [("", "b"), ("", None), ("12", None)]
    assert read.notes == ("2 rows have an empty text; they are used as they are",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"label": 1}, "line 2: no field 'text'"),
        ({"text": ["a"], "label": 1}, "line 2: 'text' is no text but a list"),
        ({"text": "a"}, "line 2: no field 'label'"),
    ],
)
def test_ragged_rows(tmp_path: Path, row: dict[str, object], message: str) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "a", "label": 0}, row])
    with pytest.raises(InputError, match=message):
        Classify().read(path, Columns())


def test_a_header_alone_is_no_data(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n")
    with pytest.raises(InputError, match="has no rows"):
        Classify().read(path, Columns())


def test_results_join_their_rows() -> None:
    assert merged({"text": "a", "id": 3}, {"label": "x"}) == {"text": "a", "id": 3, "label": "x"}
    row = {"label": "gold", "input_label": "older"}
    assert merged(row, {"label": "x"}) == {"input_label": "gold", "input_input_label": "older", "label": "x"}
