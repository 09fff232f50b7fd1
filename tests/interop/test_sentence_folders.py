"""The files of sentence-transformers: theirs are read, ours are opened by them, what we do not compute is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import litebert
from litebert.errors import ModelFolderError
from litebert.infer.predictor import Predictor
from litebert.interop.convert import convert
from litebert.interop.huggingface import is_embedder, read_model, save_model
from litebert.interop.sentences import SENTENCE_FILES, SentenceSettings, has_sentences, read_sentences, write_sentences
from litebert.model.packed import pack_lists
from litebert.model.pooling import pool
from litebert.text.tokenizer import Tokenizer
from tests.models import config_of, random_model, with_unused_slots

TEXTS = ["Return the value.", "x", "", "The file is closed, and what was not written is lost. " * 2]


def embedder(tokenizer: Tokenizer, folder: Path, *heads: str, length: int = 40, **fields: Any) -> Path:
    """A random ALBERT for sentence embeddings."""
    special = {"pad_token_id": tokenizer.pad_id, "bos_token_id": tokenizer.cls_id, "eos_token_id": tokenizer.sep_id}
    config = config_of(vocab_size=tokenizer.vocab_size, **special | fields)
    save_model(random_model(config, (*heads, "embed")), folder, tokenizer, {"length": length})
    return folder


SETTINGS = pytest.mark.parametrize(
    ("pooling", "normalized"), [("mean", True), ("first", True), ("max", True), ("mean", False), ("max", False)]
)


@SETTINGS
def test_they_open_our_folder_with_equal_vectors(
    tokenizer: Tokenizer, tmp_path: Path, pooling: str, normalized: bool
) -> None:
    peer = pytest.importorskip("sentence_transformers", reason="the peers extra is not installed")
    folder = embedder(tokenizer, tmp_path / "m", sentence_pooling=pooling, sentence_normalized=normalized)
    ours = litebert.load(folder)
    assert (ours.task, ours.windowing.length) == ("embed", 40)
    theirs = peer.SentenceTransformer(str(folder), device="cpu")
    assert theirs.max_seq_length == 40
    vectors = torch.from_numpy(theirs.encode(TEXTS))
    for answer, vector in zip(ours.predict(TEXTS), vectors, strict=True):
        torch.testing.assert_close(torch.from_numpy(answer.embedding), vector, atol=1e-5, rtol=1e-5)
        assert (abs(float(vector.norm()) - 1) < 1e-5) == normalized
    theirs.save(str(tmp_path / "theirs"))
    (tmp_path / "theirs" / "spiece.model").write_bytes((folder / "spiece.model").read_bytes())
    assert read_sentences(tmp_path / "theirs") == read_sentences(folder) == SentenceSettings(pooling, normalized, 40)
    for answer, vector in zip(litebert.load(tmp_path / "theirs").predict(TEXTS), vectors, strict=True):
        torch.testing.assert_close(torch.from_numpy(answer.embedding), vector, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("how", ["first", "mean", "max"])
def test_pooling_sees_its_own_tokens_and_no_unused_slot(how: str) -> None:
    packed = pack_lists([[5, 6, 7], [8], [9, 10, 11, 12]])
    hidden = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    parts = hidden.split([3, 1, 4])
    expected = {"first": lambda x: x[0], "mean": lambda x: x.mean(0), "max": lambda x: x.amax(0)}[how]
    wanted = torch.stack([expected(part) for part in parts])
    torch.testing.assert_close(pool(hidden, packed, how), wanted)
    wide = with_unused_slots(packed, 12, 3, 4)
    torch.testing.assert_close(pool(torch.cat((hidden, torch.full((4, 3), 1e6))), wide, how), wanted)


def test_a_long_text_is_the_mean_of_its_windows_by_their_tokens(tokenizer: Tokenizer, tmp_path: Path) -> None:
    predictor = litebert.load(embedder(tokenizer, tmp_path / "m", length=16))
    encoded = predictor.encode([predictor._reader.plain_input(text, "", None) for text in TEXTS])
    assert encoded.long_rows == 1
    sequences = [encoded.examples.tokens[a:b].tolist() for a, b in zip(*_bounds(encoded.examples.starts), strict=True)]
    own = [ids for ids, row in zip(sequences, encoded.examples.rows, strict=True) if row == 3]
    with torch.no_grad():
        hidden = predictor.model.encode(pack_lists(own))
    expected = F.normalize(hidden.mean(0), dim=0)
    torch.testing.assert_close(torch.from_numpy(predictor.predict(TEXTS)[3].embedding), expected, atol=1e-6, rtol=1e-5)


def _bounds(starts: Any) -> tuple[Any, Any]:
    return starts[:-1], starts[1:]


def test_the_task_is_what_litebert_json_says_else_what_the_modules_say(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = embedder(tokenizer, tmp_path / "m", "classify")
    assert is_embedder(folder)
    assert litebert.load(folder).task == "embed"
    own = json.loads((folder / "litebert.json").read_text())
    own["extra"]["task"] = "classify"
    (folder / "litebert.json").write_text(json.dumps(own))
    assert not is_embedder(folder)
    assert litebert.load(folder).task == "classify"
    own["extra"]["task"] = "embed"
    (folder / "litebert.json").write_text(json.dumps(own))
    (folder / "modules.json").unlink()
    assert litebert.load(folder).task == "embed", "without their files, as the task says"
    (folder / "litebert.json").unlink()
    assert litebert.load(folder).task == "classify"


def test_our_own_block_keeps_its_settings_too(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """transformers cannot open it, litebert can."""
    own = {"block": "pre_norm", "position": "rotary", "sentence_pooling": "max", "sentence_normalized": False}
    loaded = read_model(embedder(tokenizer, tmp_path / "m", **own))
    assert (loaded.model.config.sentence_pooling, loaded.model.config.sentence_normalized) == ("max", False)
    assert loaded.fresh == ()


@pytest.mark.parametrize("pickled", [False, True])
def test_a_converted_folder_is_for_embeddings_too(tokenizer: Tokenizer, tmp_path: Path, pickled: bool) -> None:
    folder = embedder(tokenizer, tmp_path / "m", sentence_pooling="first", sentence_normalized=False)
    before = litebert.load(folder).predict(TEXTS[0])[0].embedding
    (folder / "litebert.json").unlink()
    if pickled:
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    convert(folder, tmp_path / "out")
    after = litebert.load(tmp_path / "out")
    assert after.windowing.length == 40
    assert (after.predict(TEXTS[0])[0].embedding == before).all()


def test_saving_again_gives_equal_bytes_and_replaces(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = embedder(tokenizer, tmp_path / "m")
    loaded = read_model(folder)
    before = {name: (folder / name).read_bytes() for name in (*SENTENCE_FILES, "model.safetensors", "litebert.json")}
    save_model(loaded.model, folder, tokenizer, loaded.extra)
    assert {name: (folder / name).read_bytes() for name in before} == before


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("modules.json", [{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "1_Pooling"},
                          {"type": "a.Dense", "path": "2_Dense"}], "modules Transformer, Pooling, Dense are not among"),
        ("modules.json", {"type": "a.Pooling"}, "no list of modules"),
        ("1_Pooling/config.json", {"pooling_mode_mean_sqrt_len_tokens": True}, "the pooling mean_sqrt_len_tokens is"),
        ("1_Pooling/config.json", {"pooling_mode": ["cls", "mean"]}, "the pooling cls with mean is not among"),
        ("config_sentence_transformers.json", {"prompts": {"q": "query: "}, "default_prompt_name": "q"},
         "the prompt 'query: ' before every text"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "the tokenizer keeps capitals"),
    ],
)  # fmt: skip
def test_what_litebert_does_not_compute_is_refused(
    tokenizer: Tokenizer, tmp_path: Path, file: str, values: Any, message: str
) -> None:
    folder = embedder(tokenizer, tmp_path / "m")
    if file == "sentence_bert_config.json":
        (folder / "tokenizer_config.json").unlink()
    (folder / file).write_text(json.dumps(values))
    with pytest.raises(ModelFolderError, match=message):
        litebert.load(folder)


def test_older_and_newer_ways_to_write_the_pooling(tmp_path: Path) -> None:
    write_sentences(tmp_path, config_of(sentence_pooling="max"), 12)
    path = tmp_path / "1_Pooling" / "config.json"
    assert read_sentences(tmp_path) == SentenceSettings("max", True, 12)
    for values, pooling in (({"pooling_mode": "cls"}, "first"), ({"pooling_mode": ["max"]}, "max"), ({}, "mean")):
        path.write_text(json.dumps(values))
        assert read_sentences(tmp_path).pooling == pooling
    (tmp_path / "modules.json").write_text(json.dumps([{"type": "a.Transformer", "path": ""}]))
    assert not has_sentences(tmp_path), "a cross encoder has no pooling"


def test_masked_words_and_other_encoders_on_demand(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = embedder(tokenizer, tmp_path / "m", "masked_lm")
    assert litebert.load(folder).task == "embed"
    filled = litebert.load(folder, task="fill-mask").predict("The [MASK] is closed.")[0]
    assert len(filled.to_dict()["masks"]) == 1
    save_model(random_model(read_model(folder, ()).model.config, ("masked_lm",)), tmp_path / "plain", tokenizer)
    plain: Predictor = litebert.load(tmp_path / "plain", task="embed")
    assert litebert.load(tmp_path / "plain").task == "fill-mask"
    assert plain.predict("x")[0].embedding.shape == (32,)
