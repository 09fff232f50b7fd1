"""What users do wrong: one line on stderr with a way out, exit code 2, nothing half-written; by way of the commands."""

import errno
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from litebert.cli import main
from litebert.console import log, speaks

ROWS = "text,label\n" + "".join(
    f"{text},{label}\n" for text, label in (("a fine film", "good"), ("a dull one", "bad")) * 8
)


class Result:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def complaint(self) -> str:
        """The one line for the user; notes on the way to it do not count."""
        return self.err.strip().splitlines()[-1]


@pytest.fixture
def litebert(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def run(*arguments: object) -> Result:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(int(stop.value.code or 0), captured.out, captured.err)

    return run


def test_a_hyphen_is_standard_input_or_output(
    model: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """And nothing that an option takes its value after."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a [MASK] film"}\n')
    with pytest.raises(SystemExit) as stop:
        main(["predict", "--model", str(model), "--out", "-", str(rows)])
    assert not stop.value.code
    assert json.loads(capsysbinary.readouterr().out)["text"] == "a [MASK] film"
    assert rows.read_text() == '{"text": "a [MASK] film"}\n'


def test_a_signal_leaves_nothing_half_made(model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "litebert", "predict", "--model", str(model), "--out", str(tmp_path / "out.jsonl")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 60
        while not list(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        assert [path.name.startswith(".out.jsonl.") for path in tmp_path.iterdir()] == [True]
        process.terminate()
        process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert not list(tmp_path.iterdir())


def test_only_the_first_process_of_several_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler may number processes that know nothing of each other."""
    for rank, size, expected in (("1", None, True), ("1", "1", True), ("1", "2", False), ("0", "2", True)):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        if size is not None:
            monkeypatch.setenv("WORLD_SIZE", size)
        assert speaks() == expected


def test_work_goes_on_where_nobody_reads_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        for _ in range(3):
            log("a line")


@pytest.fixture(scope="module")
def model(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-trained model, hardly trained."""
    run = tmp_path_factory.mktemp("bad") / "run"
    settings = ["--set", "loop.compile=false", "--batch-size", "4", "--length", "32", "--steps", "2"]
    with pytest.raises(SystemExit) as stop:
        main(["pretrain", "--data", str(prepared), "--preset", "tiny", "--out", str(run), *settings])
    assert not stop.value.code
    return run / "model"


@pytest.fixture
def tokenizer(prepared: Path) -> Path:
    return prepared / "tokenizer"


def refused(result: Result, *words: str) -> None:
    assert result.code == 2, result.err
    assert "Traceback" not in result.err
    assert result.complaint.startswith("litebert: ")
    for word in words:
        assert word in result.complaint, result.complaint


def untouched(folder: Path, *names: str) -> None:
    """Nothing lies in the folder but what the user put there."""
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


# --- text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.txt", b"", "empty.txt"),
        ("empty.jsonl", b"", "empty.jsonl"),
        ("one.txt", b"There is only this sentence.", "sentence"),
        ("junk.txt", random.Random(1).randbytes(20_000), "junk.txt"),
        ("junk.jsonl", random.Random(2).randbytes(20_000), "junk.jsonl"),
        ("junk.parquet", random.Random(3).randbytes(20_000), "junk.parquet"),
        ("junk.jsonl.xz", random.Random(4).randbytes(20_000), "junk.jsonl.xz"),
        ("field.jsonl", b'{"body": "some words"}\n', "text"),
        ("broken.jsonl", b'{"text": "some words"}\n{"text": \n', "2"),
    ],
)
def test_text_that_cannot_be_prepared(
    litebert: Callable[..., Result], tokenizer: Path, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    result = litebert("prepare", tmp_path / name, "--tokenizer", tokenizer, "--out", tmp_path / "data")
    refused(result, words)
    untouched(tmp_path, name)


def test_a_line_of_ten_megabytes_is_one_document(
    litebert: Callable[..., Result], tokenizer: Path, tmp_path: Path
) -> None:
    line = "This is a sentence of the line that never ends. " * 210_000
    (tmp_path / "long.txt").write_text(line)
    result = litebert("prepare", tmp_path / "long.txt", "--tokenizer", tokenizer, "--out", tmp_path / "data", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["sentences"] == 210_000


def test_missing_text(litebert: Callable[..., Result], tokenizer: Path, tmp_path: Path) -> None:
    result = litebert("prepare", tmp_path / "absent", "--tokenizer", tokenizer, "--out", tmp_path / "data")
    refused(result, "absent")
    untouched(tmp_path)
    (tmp_path / "text.txt").write_text("Some text. More of it.")
    command = ["prepare", tmp_path / "text.txt", "--tokenizer", tokenizer, "--out", tmp_path / "data"]
    refused(litebert(*command, "--exclude", tmp_path / "none"), "--exclude", "none: no such file")
    untouched(tmp_path, "text.txt")


def test_too_little_text_for_a_vocabulary(litebert: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("A few words are not enough.")
    refused(litebert("tokenizer", "train", tmp_path / "few.txt", "--out", tmp_path / "tokenizer"), "30000")
    untouched(tmp_path, "few.txt")


def test_a_vocabulary_of_an_impossible_size(litebert: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("A few words are not enough.")
    train = ["tokenizer", "train", tmp_path / "few.txt", "--out", tmp_path / "tokenizer", "--vocab-size"]
    for size in ("-1", "0", "999999999999"):
        refused(litebert(*train, size), f"vocab_size = {size}: expected a number of pieces from 1 to 1,000,000")
    untouched(tmp_path, "few.txt")


def test_no_tokenizer_there(litebert: Callable[..., Result], tmp_path: Path) -> None:
    refused(litebert("tokenizer", "encode", "--tokenizer", tmp_path))
    (tmp_path / "false.model").write_bytes(b"nothing of the kind")
    refused(litebert("tokenizer", "encode", "--tokenizer", tmp_path / "false.model"), "false.model")


# --- labelled rows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "dev", "words"),
    [
        ("", ROWS, ["train.csv"]),
        ("text,label\n", ROWS, ["train.csv"]),
        ("body,label\nwords,good\nmore,bad\n", ROWS, ["body"]),
        ("text,mark\nwords,good\nmore,bad\n", ROWS, ["mark"]),
        (ROWS, "text,label\na fine film,good\nanother,superb\n", ["dev.csv", "superb"]),
        (ROWS + "too,many,fields\n", ROWS, ["train.csv", "18"]),
        ("text,label\na,good\nb,good\n", ROWS, ["good"]),
        ("text,label\n" + "".join(f"some words,{i / 7}\n" for i in range(60)), ROWS, ["regress"]),
        ("text,label\nwords,good\nmore,\n", ROWS, ["train.csv", "3"]),
    ],
)
def test_rows_that_cannot_be_learnt(
    litebert: Callable[..., Result], model: Path, tmp_path: Path, train: str, dev: str, words: list[str]
) -> None:
    (tmp_path / "train.csv").write_text(train)
    (tmp_path / "dev.csv").write_text(dev)
    files = ["--train", tmp_path / "train.csv", "--dev", tmp_path / "dev.csv"]
    refused(litebert("finetune", "classify", "--model", model, *files, "--out", tmp_path / "out"), *words)
    untouched(tmp_path, "train.csv", "dev.csv")


CHOICE = '{"context": "a", "choices": ["b", "c"], "label": 0}\n'
QA = '{"id": "%s", "question": "Where?", "context": "In Rome.", "answers": [{"text": "Rome", "answer_start": 3}]}\n'


@pytest.mark.parametrize(
    ("task", "good", "bad", "words"),
    [
        ("multilabel", '{"text": "a", "labels": ["x"]}\n', '{"text": "a", "labels": ["y"]}\n', ["line 2", "'y'"]),
        ("multilabel", '{"text": "a", "labels": ["x"]}\n', '{"text": "a", "labels": {"x": 1}}\n', ["line 2", "object"]),
        ("regress", '{"text": "a", "value": 1}\n', '{"text": "a", "value": NaN}\n', ["line 2", "finite"]),
        (
            "ner",
            '{"text": "Rome", "entities": [[0, 4, "place"]]}\n',
            '{"text": "Rome", "entities": [[0, 4, "place"], [2, 4, "place"]]}\n',
            ["line 2", "overlap"],
        ),
        ("ner", "Rome B-place\n\n", "Oslo place\n", ["line 3", "'place'"]),
        ("ner", "Rome B-place\n\n", "Oslo B-town\n", ["line 3", "'town'"]),
        ("qa", QA % "a", QA.replace("[{", "[7, {") % "b", ["line 2", "answer"]),
        ("qa", QA % "a", '{"question": "Where?", "answers": []}\n', ["line 2", "context"]),
        ("choice", CHOICE, CHOICE.replace(', "c"', ""), ["line 2", "1 choices"]),
        ("qa", QA % "a", (QA % "b").replace("3}", '"3"}'), ["line 2", "'3'", "first character"]),
        ("multilabel", '{"text": "a", "labels": ["x"]}\n', '{"text": "a", "labels": ["\\ud800"]}\n', ["half a"]),
        ("choice", CHOICE, CHOICE.replace("0", 5000 * "9"), ["line 2", "not JSON"]),
        ("choice", CHOICE, CHOICE.replace("0", f'"{5000 * "9"}"'), ["line 2", "2 choices"]),
        ("choice", CHOICE, CHOICE.replace("0", "2"), ["line 2", "2 choices"]),
        ("choice", CHOICE, CHOICE.replace('"b"', '""'), ["line 2", "choice 0", "empty"]),
        ("regress", '{"text": "a", "value": 1}\n', '{"text": "a", "value": 1e39}\n', ["line 2", "1e+39", "too large"]),
        (
            "ner",
            '{"text": "Rome", "entities": [[0, 4, "place"]]}\n',
            '{"text": "Rome", "entities": [[false, true, "place"]]}\n',
            ["line 2", "no span"],
        ),
    ],
)  # fmt: skip
def test_rows_of_tasks_that_cannot_be_learnt(
    litebert: Callable[..., Result], model: Path, tmp_path: Path, task: str, good: str, bad: str, words: list[str]
) -> None:
    ending = "jsonl" if good.startswith("{") else "conll"
    train, dev = tmp_path / f"train.{ending}", tmp_path / f"dev.{ending}"
    train.write_text(good.replace("1}", '1}\n{"text": "b", "value": 2}') if task == "regress" else good)
    dev.write_text(good + bad)
    files = ["--train", train, "--dev", dev]
    refused(litebert("finetune", task, "--model", model, *files, "--out", tmp_path / "out"), dev.name, *words)
    untouched(tmp_path, train.name, dev.name)


def test_answers_that_are_nowhere_teach_nothing(litebert: Callable[..., Result], model: Path, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text((QA % "a").replace('"Rome"', '"Oslo"'))
    (tmp_path / "dev.jsonl").write_text(QA % "a")
    files = ["--train", tmp_path / "train.jsonl", "--dev", tmp_path / "dev.jsonl"]
    result = litebert("finetune", "qa", "--model", model, *files, "--out", tmp_path / "out")
    refused(result, "train.jsonl", "no answer stands in its context")
    untouched(tmp_path, "train.jsonl", "dev.jsonl")


def test_labels_that_no_dev_row_has_are_named(litebert: Callable[..., Result], model: Path, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(ROWS)
    (tmp_path / "dev.csv").write_text("text,label\na fine film,good\n")
    files = ["--train", tmp_path / "train.csv", "--dev", tmp_path / "dev.csv", "--epochs", "1"]
    result = litebert("finetune", "classify", "--model", model, *files, "--out", tmp_path / "out")
    assert result.code == 0
    assert "note: dev: 1 of the 2 labels has no row ('bad'): what is learnt of them is not judged" in result.err


def test_entities_that_are_all_there_draw_no_note(litebert: Callable[..., Result], model: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.conll").write_text("Rome B-place\nis O\n\nOslo B-place\nis O\n\n")
    files = ["--train", tmp_path / "rows.conll", "--dev", tmp_path / "rows.conll", "--out", tmp_path / "out"]
    result = litebert("finetune", "ner", "--model", model, *files, "--epochs", "1")
    assert result.code == 0, result.err
    assert "has no row" not in result.err


def test_an_output_may_be_a_link_to_a_folder(litebert: Callable[..., Result], model: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    files = ["--train", tmp_path / "rows.csv", "--dev", tmp_path / "rows.csv", "--out", tmp_path / "link"]
    result = litebert("finetune", "classify", "--model", model, *files, "--epochs", "1")
    assert result.code == 0, result.err
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "model.safetensors").is_file()
    untouched(tmp_path, "rows.csv", "disk", "link")


def test_standard_input_by_its_name(
    litebert: Callable[..., Result], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in (["predict", "-", "--model", model], ["predict", "--model", model, "-"]):
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b'{"text": "a [MASK] day"}')))
        result = litebert(*arguments)
        assert result.code == 0, result.err
        assert json.loads(result.out)["text"] == "a [MASK] day"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"fine\ncaf\xe9\n")))
    refused(litebert("tokenizer", "encode", "--tokenizer", model), "standard input, line 2: byte 0xe9")


def test_predictions_that_lack_rows(litebert: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "gold.jsonl").write_text(QA % "a" + QA % "b")
    (tmp_path / "given.json").write_text('{"a": "Rome"}')
    result = litebert("evaluate", "--predictions", tmp_path / "given.json", "--gold", tmp_path / "gold.jsonl")
    refused(result, "lacks predictions for 1 of 2 rows", "'b'", "line 2")


def test_numbers_as_labels_are_names(litebert: Callable[..., Result], model: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS.replace("good", "1").replace("bad", "0"))
    files = ["--train", tmp_path / "rows.csv", "--dev", tmp_path / "rows.csv", "--epochs", "1"]
    result = litebert("finetune", "classify", "--model", model, *files, "--out", tmp_path / "out")
    assert result.code == 0, result.err
    (tmp_path / "rows.jsonl").write_text('{"text": "a fine film", "label": 1}\n{"text": "a dull one", "label": 0}\n')
    result = litebert("evaluate", "--model", tmp_path / "out", "--data", tmp_path / "rows.jsonl")
    assert json.loads(result.out.splitlines()[-1])["rows"] == 2


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--tune", "0"], ["--tune 0", "1 trial or more"]),
        (["--tune", "-3"], ["-3"]),
        (["--tune", "many"], ["many"]),
        (["--tune", "2"], ["optuna", "pip install 'litebert[tune]'"]),
        (["--teacher", "nowhere"], ["nowhere is no folder"]),
        (["--unlabelled", "rows.csv"], ["--teacher DIR"]),
        (["--set", "teacher_weight=2"], ["teacher_weight = 2"]),
        (["--seed", "1" + 20 * "0"], ["seed = 1000", "below 1e+18"]),
        (["--config", "deep.toml"], ["nested too deeply"]),
        (["--teacher", 300 * "n"], ["nnn…: the name is too long for a file"]),
        (["--teacher", "t\udcff"], ["t?: the name is not UTF-8"]),
    ],
)
def test_a_fine_tuning_that_cannot_be(
    litebert: Callable[..., Result],
    model: Path,
    tmp_path: Path,
    flags: list[str],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)  # as where it is not installed
    monkeypatch.chdir(tmp_path_factory.mktemp("deep"))
    Path("deep.toml").write_text(f"a = {'[' * 5000}")
    (tmp_path / "rows.csv").write_text(ROWS)
    files = ["--train", tmp_path / "rows.csv", "--dev", tmp_path / "rows.csv", "--out", tmp_path / "out"]
    refused(litebert("finetune", "classify", "--model", model, *files, *flags), *words)
    untouched(tmp_path, "rows.csv")


def test_an_unknown_task(litebert: Callable[..., Result], model: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    files = ["--train", tmp_path / "rows.csv", "--dev", tmp_path / "rows.csv"]
    refused(litebert("finetune", "translate", "--model", model, *files, "--out", tmp_path / "out"), "classify")


# --- models ------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_no_model(litebert: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS)
    for folder in (tmp_path, tmp_path / "absent"):
        refused(litebert("predict", tmp_path / "rows.csv", "--model", folder), folder.name)


def test_a_truncated_model(litebert: Callable[..., Result], model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    (tmp_path / "rows.csv").write_text(ROWS)
    result = litebert("predict", tmp_path / "rows.csv", "--model", broken, "--out", tmp_path / "answers.csv")
    refused(result, "model.safetensors")
    untouched(tmp_path, "broken", "rows.csv")


def test_weights_that_are_no_numbers(litebert: Callable[..., Result], model: Path, tmp_path: Path) -> None:
    tensors = load_file(model / "model.safetensors")
    name, first = next(iter(tensors.items()))
    spoilt = {
        "nan": (torch.full_like(first, float("nan")), "values that are no numbers"),
        "whole": (first.int(), "int32 values"),
    }
    for folder, (tensor, words) in spoilt.items():
        shutil.copytree(model, tmp_path / folder)
        save_file(tensors | {name: tensor}, tmp_path / folder / "model.safetensors")
        refused(litebert("compress", tmp_path / folder, "--out", tmp_path / "small"), words, "copy the model again")
    untouched(tmp_path, *spoilt)


def test_folders_that_hold_a_model_in_another_way(litebert: Callable[..., Result], model: Path, tmp_path: Path) -> None:
    kinds = {
        "pickled": ("pytorch_model.bin", "litebert convert"),
        "sharded": ("model.safetensors.index.json", "in several files; save them in one"),
    }
    for name, (file, words) in kinds.items():
        shutil.copytree(model, tmp_path / name)
        (tmp_path / name / "model.safetensors").rename(tmp_path / name / file)
        refused(litebert("compress", tmp_path / name, "--out", tmp_path / "small"), words)
    shutil.copytree(model, tmp_path / "own")
    own = json.loads((model / "litebert.json").read_text())
    (tmp_path / "own" / "litebert.json").write_text(json.dumps(own | {"extra": []}))
    refused(litebert("compress", tmp_path / "own", "--out", tmp_path / "small"), "`extra` is no object")
    (tmp_path / "own" / "litebert.json").write_text(json.dumps(own))
    huge = json.loads((model / "config.json").read_text()) | {"num_hidden_layers": 10**9}
    (tmp_path / "own" / "config.json").write_text(json.dumps(huge))
    refused(litebert("plan", "--model", tmp_path / "own"), "num_hidden_layers 1000000000: expected 1000 at most")
    assert not (tmp_path / "small").exists()


def test_a_model_of_another_vocabulary(
    litebert: Callable[..., Result], model: Path, prose: list[str], tmp_path: Path
) -> None:
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in prose[:60]))
    assert not litebert(
        "tokenizer", "train", tmp_path / "text.jsonl", "--out", tmp_path / "t", "--vocab-size", 700
    ).code
    other = ["--tokenizer", tmp_path / "t", "--out", tmp_path / "data"]
    assert not litebert("prepare", tmp_path / "text.jsonl", *other).code
    result = litebert("pretrain", "--data", tmp_path / "data", "--model", model, "--out", tmp_path / "run")
    refused(result, "tokenizer")
    untouched(tmp_path, "text.jsonl", "t", "data")


def test_a_tokenizer_of_another_vocabulary_in_the_folder(
    litebert: Callable[..., Result], model: Path, prose: list[str], tmp_path: Path
) -> None:
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in prose[:60]))
    assert not litebert(
        "tokenizer", "train", tmp_path / "text.jsonl", "--out", tmp_path / "t", "--vocab-size", 700
    ).code
    mixed = tmp_path / "mixed"
    shutil.copytree(model, mixed)
    for file in (tmp_path / "t").iterdir():
        shutil.copy(file, mixed)
    (tmp_path / "rows.jsonl").write_text('{"text": "a [MASK] film"}\n')
    refused(litebert("predict", tmp_path / "rows.jsonl", "--model", mixed), "700")


@pytest.mark.parametrize("extra", [{"length": "x"}, {"columns": 5}, {"columns": {"body": "text"}}])
def test_a_record_that_somebody_has_edited(
    litebert: Callable[..., Result], model: Path, tmp_path: Path, extra: dict[str, Any]
) -> None:
    shutil.copytree(model, tmp_path / "model")
    record = tmp_path / "model" / "litebert.json"
    own = json.loads(record.read_text())
    record.write_text(json.dumps(own | {"extra": own["extra"] | extra}))
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    refused(litebert("predict", tmp_path / "rows.jsonl", "--model", tmp_path / "model"), "litebert.json is damaged")


def test_rows_that_are_nowhere(litebert: Callable[..., Result], model: Path, tmp_path: Path) -> None:
    refused(litebert("evaluate", "--model", model, "--data", tmp_path / "none"), "none: no such file or folder")
    for name in ("folder", "folder.jsonl"):
        (tmp_path / name).mkdir()
        refused(litebert("predict", tmp_path / name, "--model", model), f"{name} is a folder; name one file")


def test_a_run_of_another_command_is_not_gone_on_with(
    litebert: Callable[..., Result], model: Path, prepared: Path
) -> None:
    arguments = ["--model", model, "--teacher", model, "--data", prepared, "--out", model.parent, "--resume"]
    refused(litebert("distill", *arguments), "holds a run of another kind", "preset")


def test_a_truncated_checkpoint(litebert: Callable[..., Result], model: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(model.parent, run)
    for file in run.glob("checkpoints/*/weights.safetensors"):
        file.write_bytes(file.read_bytes()[:-1000])
    result = litebert("pretrain", "--config", run / "config.toml", "--out", run, "--resume")
    refused(result, "no checkpoint is whole")


# --- settings and places -----------------------------------------------------------------------------------------


def test_unknown_options_keys_and_values(litebert: Callable[..., Result], prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text("[optimizer]\nlerning_rate = 1.0\n")
    (tmp_path / "syntax.toml").write_text("[optimizer\n")
    pretrain = ["pretrain", "--data", prepared, "--out", tmp_path / "run"]
    refused(litebert(*pretrain, "--no-such-option", "3"), "no-such-option")
    refused(litebert(*pretrain, "--config", tmp_path / "keys.toml"), "optimizer.lerning_rate", "learning_rate")
    refused(litebert(*pretrain, "--config", tmp_path / "syntax.toml"), "syntax.toml")
    refused(litebert(*pretrain, "--config", tmp_path / "absent.toml"), "absent.toml")
    refused(litebert(*pretrain, "--set", "optimizer.name=sgd"), "sgd", "lamb")
    refused(litebert(*pretrain, "--steps", "many"), "many")
    refused(litebert(*pretrain, "--steps", "0"), "steps")
    refused(litebert(*pretrain, "--preset", "huge"), "huge", "xxlarge")
    refused(litebert(*pretrain, "--device", "abacus"), "abacus")
    refused(litebert(*pretrain, "--steps", "2.5"), "--steps 2.5: expected a whole number")
    refused(litebert(*pretrain, "--seed", "-5"), "seed = -5: expected a whole number from 0")
    refused(litebert(*pretrain, "--learning-rate", "nan"), "optimizer.learning_rate = nan: expected a finite number")
    refused(litebert(*pretrain, "--set", "optimizer.beta1=2"), "optimizer.beta1 = 2: expected a number from 0, below 1")
    refused(litebert(*pretrain, "--config", tmp_path), "cannot be read", "TOML")
    refused(litebert(*pretrain, "--branch", ""), "branch = ''")
    refused(litebert(*pretrain, "--set", "model.vocab_size=10"), "model.vocab_size = 10", "pieces: leave it out")
    refused(litebert(*pretrain[:-1], tmp_path, "--resume"), "is not empty; it holds no run to go on with")
    refused(litebert("plan", "--preset", "huge"), "huge")
    refused(litebert(*pretrain, "--set", "model.sharing=deltas=1000"), "a rank above hidden_size")
    refused(litebert("no-such-command"), "no-such-command")
    untouched(tmp_path, "keys.toml", "syntax.toml")


def test_a_place_below_a_file_cannot_be(litebert: Callable[..., Result], prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (tmp_path / "rows.csv").write_text(ROWS)
    below = tmp_path / "file" / "out"
    refused(litebert("pretrain", "--data", prepared, "--out", below), "is a file, no folder")
    tuned = [
        "finetune",
        "classify",
        "--model",
        prepared,
        "--train",
        tmp_path / "rows.csv",
        "--dev",
        tmp_path / "rows.csv",
    ]
    refused(litebert(*tuned, "--out", below))
    refused(litebert("compress", prepared, "--out", below), "is a file, no folder")
    untouched(tmp_path, "file", "rows.csv")


def test_results_are_never_overwritten(
    litebert: Callable[..., Result], prepared: Path, tokenizer: Path, model: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thing").write_text("precious")
    (tmp_path / "rows.csv").write_text(ROWS)
    (tmp_path / "text.txt").write_text("Some text. It has two sentences.")
    rows = ["--train", tmp_path / "rows.csv", "--dev", tmp_path / "rows.csv"]
    for command in (
        ["pretrain", "--data", prepared],
        ["finetune", "classify", "--model", model, *rows],
        ["prepare", tmp_path / "text.txt", "--tokenizer", tokenizer],
        ["tokenizer", "train", tmp_path / "text.txt"],
    ):
        refused(litebert(*command, "--out", tmp_path / "mine"), "mine")
    refused(litebert("convert", model, tmp_path / "mine"), "mine")
    assert (tmp_path / "mine" / "thing").read_text() == "precious"
    untouched(tmp_path / "mine", "thing")


@pytest.mark.parametrize("command", ["prepare", "pretrain", "finetune", "predict", "tokenizer", "convert"])
def test_a_full_disk(
    litebert: Callable[..., Result],
    prepared: Path,
    tokenizer: Path,
    model: Path,
    prose: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    """Every file is synced before it gets its name: there the disk says that it is full."""
    (tmp_path / "rows.csv").write_text(ROWS)
    (tmp_path / "masked.csv").write_text("text\na [MASK] film\n")
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in prose[:60]))
    out = tmp_path / "place" / "out"
    out.parent.mkdir()
    rows = ["--train", tmp_path / "rows.csv", "--dev", tmp_path / "rows.csv", "--epochs", "1"]
    small = ["--set", "loop.compile=false", "--batch-size", "4", "--length", "32", "--steps", "2"]
    commands: dict[str, list[Any]] = {
        "prepare": ["prepare", tmp_path / "text.jsonl", "--tokenizer", tokenizer, "--out", out],
        "pretrain": ["pretrain", "--data", prepared, "--preset", "tiny", "--out", out, *small],
        "finetune": ["finetune", "classify", "--model", model, "--out", out, *rows],
        "predict": ["predict", tmp_path / "masked.csv", "--model", model, "--out", out.with_suffix(".csv")],
        "tokenizer": ["tokenizer", "train", tmp_path / "text.jsonl", "--out", out, "--vocab-size", 700],
        "convert": ["convert", model, out],
    }

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        refused(litebert(*commands[command]), "disk is full")
    untouched(out.parent, *([out.name + ".unfinished"] if command == "prepare" and any(out.parent.iterdir()) else []))
    assert litebert(*commands[command]).code == 0, "the same command works once there is room"


def test_a_checkpoint_that_finds_no_room_leaves_the_one_before(
    litebert: Callable[..., Result], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(model.parent, run)
    shutil.rmtree(run / "model")
    shutil.rmtree(run / "checkpoints")
    again = ["pretrain", "--config", run / "config.toml", "--out", run, "--resume", "--checkpoint-every", "1"]
    real = os.fsync

    def filling(descriptor: int) -> None:
        if "step-2" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):  # the first checkpoint fits
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", filling)
        refused(litebert(*again), "disk is full")
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-0", "step-1"]
    assert litebert(*again).code == 0
