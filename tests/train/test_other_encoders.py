"""A BERT and a RoBERTa go all the way: prepare, pretrain, finetune, predict, with their own tokenizers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import litebert
from litebert.cli import main
from litebert.data.shards import open_corpus
from litebert.interop.huggingface import read_model, save_model
from litebert.model.heads import build_model
from litebert.text.tokenizer import load_tokenizer
from tests.models import config_of
from tests.tokenizers import write_tokenizer

ROWS = "text,text_pair,label\n" + "".join(
    f"{text},{pair},{label}\n" for text, pair, label in (("a fine film", "well made", "good"), ("dull", "", "bad")) * 8
)
SMALL = ["--set", "loop.compile=false", "--batch-size", "4", "--length", "32", "--steps", "2"]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def call(*arguments: object) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert not stop.value.code, captured.err
        return captured.out

    return call


@pytest.fixture(scope="module", params=["wordpiece", "bytes"])
def source(request: pytest.FixtureRequest, prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as BERT's or RoBERTa's makers write it, with random weights."""
    transformers = pytest.importorskip("transformers", reason="the peers extra is not installed")
    folder = tmp_path_factory.mktemp("other") / "source"
    write_tokenizer(request.param, prose[:40], folder, pieces=800)
    tokenizer = load_tokenizer(folder)
    shape: dict[str, Any] = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
        "max_position_embeddings": 66, "vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.pad_id,
    }  # fmt: skip
    if request.param == "wordpiece":
        model = transformers.BertForMaskedLM(transformers.BertConfig(**shape))
    else:
        model = transformers.RobertaForMaskedLM(transformers.RobertaConfig(**shape, type_vocab_size=1))
    model.save_pretrained(folder)
    return folder


def test_all_the_way(source: Path, run: Callable[..., str], prose: list[str], tmp_path: Path) -> None:
    tokenizer = load_tokenizer(source)
    text = tmp_path / "text.jsonl"
    text.write_text("".join(json.dumps({"text": document}) + "\n" for document in prose[:40]))
    run("prepare", text, "--tokenizer", source, "--out", tmp_path / "data", "--processes", "1", "--held-out", "0.1")
    assert open_corpus(tmp_path / "data").fingerprint == tokenizer.fingerprint
    run("pretrain", "--data", tmp_path / "data", "--model", source, "--out", tmp_path / "run", *SMALL)
    trained = tmp_path / "run" / "model"
    loaded = read_model(trained)
    assert loaded.model.config.sharing == "none"
    special = (loaded.model.config.pad_token_id, loaded.model.config.bos_token_id, loaded.model.config.eos_token_id)
    assert special == (tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id)
    for folder in (source, trained):
        answer = litebert.load(folder).predict(["The name of the [MASK] is given."])[0]
        assert len(answer.masks) == 1
        assert len(answer.masks[0]) == 5
    (tmp_path / "rows.csv").write_text(ROWS)
    rows = ["--train", tmp_path / "rows.csv", "--dev", tmp_path / "rows.csv", "--epochs", "1"]
    run("finetune", "classify", "--model", source, *rows, "--out", tmp_path / "task")
    (tmp_path / "pairs.jsonl").write_text('{"text": "a fine film", "text_pair": "well made"}\n{"text": "dull"}\n')
    answers = [
        json.loads(line) for line in run("predict", tmp_path / "pairs.jsonl", "--model", tmp_path / "task").splitlines()
    ]
    assert [set(answer["scores"]) for answer in answers] == [{"bad", "good"}] * 2
    assert load_tokenizer(tmp_path / "task").fingerprint == tokenizer.fingerprint


def test_a_fresh_albert_with_a_vocabulary_beyond_two_bytes(
    run: Callable[..., str], prose: list[str], tmp_path: Path
) -> None:
    folder = write_tokenizer("wordpiece", prose[:20], tmp_path / "tokenizer", pieces=800, fill=66_000)
    # What is read last: a piece whose number needs more than two bytes, so that a cut-off number is seen.
    values = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = values["model"]["vocab"]
    vocabulary["function"], vocabulary["[unused65999]"] = 65_999, vocabulary.get("function", 900)
    (folder / "tokenizer.json").write_text(json.dumps(values))
    tokenizer, text = load_tokenizer(folder), tmp_path / "text.jsonl"
    text.write_text("".join(json.dumps({"text": document}) + "\n" for document in prose[:20]))
    run("prepare", text, "--tokenizer", folder, "--out", tmp_path / "data", "--processes", "1", "--held-out", "0.1")
    tokens = open_corpus(tmp_path / "data").split("train").shards[0].tokens
    assert tokens.dtype.itemsize == 4
    assert (tokens == 65_999).any()
    shape = ["--preset", "tiny", "--set", "model.hidden_size=32", "--set", "model.intermediate_size=32"]
    run("pretrain", "--data", tmp_path / "data", *shape, "--out", tmp_path / "run", *SMALL)
    config = read_model(tmp_path / "run" / "model").model.config
    assert (config.vocab_size, config.pad_token_id) == (66_000, tokenizer.pad_id)


def test_an_albert_with_another_tokenizer_opens_in_transformers(source: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(source)
    model = build_model(config_of(vocab_size=tokenizer.vocab_size), ("masked_lm",))
    folder = save_model(model, tmp_path / "albert", tokenizer).folder
    transformers = pytest.importorskip("transformers", reason="the peers extra is not installed")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert theirs("a file", "and more")["input_ids"] == tokenizer.encode("a file", "and more").ids
