"""Model folders: equal weights are equal bytes, all or nothing is written, and damage is told in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from litebert.errors import ModelFolderError, OutputError, TokenizerError
from litebert.interop import huggingface
from litebert.interop.huggingface import (
    MODEL_FILES,
    fingerprint,
    load_model,
    model_tokenizer,
    read_config,
    read_model,
    read_own,
    save_model,
)
from litebert.model.heads import AlbertWithHeads, build_model
from litebert.text.tokenizer import Tokenizer, load_tokenizer
from litebert.text.training import train_tokenizer
from tests.labelled import small_model
from tests.models import OWN_BLOCK, config_of, random_model

EVERY_KIND = pytest.mark.parametrize(
    "fields",
    [
        {},
        OWN_BLOCK,
        {"sharing": "none"},
        {"sharing": "attention"},
        {"sharing": "ffn"},
        {"sharing": "groups=2"},
        {"sharing": "cycle=3"},
        {"sharing": "deltas=2", **OWN_BLOCK},
        {"labels": ("a", "b", "c"), "problem_type": "single_label_classification", "embedding_dropout_prob": 0.25},
    ],
    ids=str,
)
CONFIG, WEIGHTS, OWN = "config.json", "model.safetensors", "litebert.json"


@pytest.fixture(scope="module")
def tokenizer(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer"
    return train_tokenizer(prose[:100], path, vocab_size=500)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(random_model(config_of()), tmp_path / "model").folder


def same(one: AlbertWithHeads, other: AlbertWithHeads) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def refused(folder: Path, kind: type[Exception] = ModelFolderError, **arguments: Any) -> str:
    with pytest.raises(kind) as error:
        load_model(folder, **arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


@EVERY_KIND
def test_saved_and_loaded(fields: dict[str, Any], tmp_path: Path) -> None:
    model = random_model(config_of(**fields), ("masked_lm", "sentence_order", "classify"))
    saved = save_model(model, tmp_path / "model", extra={"task": "classify", "steps": 3})
    loaded = read_model(saved.folder)
    assert loaded.model.config == model.config
    assert loaded.fresh == ()
    assert loaded.extra == {"task": "classify", "steps": 3}
    assert same(loaded.model, model)
    with safe_open(saved.folder / WEIGHTS, framework="pt") as file:
        stored = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118  it is no mapping
    assert stored == sum(p.numel() for p in model.parameters()), "every unique tensor once"


@EVERY_KIND
def test_equal_weights_are_equal_bytes_without_traces_of_the_place(fields: dict[str, Any], tmp_path: Path) -> None:
    content = []
    for name in ("one", "another_place"):
        saved = save_model(random_model(config_of(**fields)), tmp_path / name)
        content.append({path.name: path.read_bytes() for path in sorted(saved.folder.iterdir())})
        for data in content[-1].values():
            assert str(tmp_path).encode() not in data
    assert content[0] == content[1]
    assert set(content[0]) == {CONFIG, WEIGHTS, OWN}


def test_litebert_json_holds_what_the_others_have_no_field_for(tmp_path: Path) -> None:
    save_model(random_model(config_of()), tmp_path / "plain")
    assert read_own(tmp_path / "plain") == {
        "format_version": 1, "heads": ["masked_lm", "sentence_order"], "extra": {},
    }  # fmt: skip
    save_model(random_model(config_of(embedding_dropout_prob=0.2)), tmp_path / "dropout")
    assert read_own(tmp_path / "dropout")["embedding_dropout_prob"] == 0.2
    values = json.loads((tmp_path / "dropout" / CONFIG).read_text())
    assert values["num_hidden_groups"] == 1
    assert "sharing" not in values


def test_the_tokenizer_comes_along_and_is_bound(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = random_model(config_of(vocab_size=500))
    folder = save_model(model, tmp_path / "model", tokenizer).folder
    assert {path.name for path in folder.iterdir()} == MODEL_FILES
    assert load_tokenizer(folder).fingerprint == tokenizer.fingerprint == read_own(folder)["tokenizer_fingerprint"]
    assert same(load_model(folder), model)
    again = {path.name: path.read_bytes() for path in save_model(model, tmp_path / "b", tokenizer).folder.iterdir()}
    assert again == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_tokenizer_of_another_model(tokenizer: Tokenizer, prose: list[str], tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"500 pieces.*100"):
        save_model(random_model(config_of()), tmp_path / "model", tokenizer)
    assert not (tmp_path / "model").exists()
    folder = save_model(random_model(config_of()), tmp_path / "model").folder
    tokenizer.save(folder)
    assert "500 pieces" in refused(folder, TokenizerError)
    folder = save_model(random_model(config_of(vocab_size=500)), tmp_path / "bound", tokenizer).folder
    train_tokenizer(prose[100:200], tmp_path / "other", vocab_size=500).save(folder)
    assert "saved with" in refused(folder, TokenizerError)


# -- heads ---------------------------------------------------------------------------------------------------------


def test_a_head_that_is_not_stored_is_new_and_named(folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    loaded = read_model(folder, ("classify", "masked_lm"), generator=generator)
    assert loaded.fresh == ("classify",)
    assert list(loaded.model.heads) == ["classify", "masked_lm"]
    assert loaded.model.heads["classify"].classifier.weight.std() < 0.03
    again = load_model(folder, ("classify", "masked_lm"), generator=generator.manual_seed(0))
    assert same(loaded.model, again)
    assert list(load_model(folder, ()).heads) == []


def test_other_labels_mean_a_new_classifier(tmp_path: Path) -> None:
    model = random_model(config_of(labels=("a", "b")), ("classify",))
    folder = save_model(model, tmp_path / "model").folder
    kept = read_model(folder, overrides={"hidden_dropout_prob": 0.1})
    assert kept.fresh == ()
    assert kept.model.config.hidden_dropout_prob == 0.1
    assert same(kept.model, model)
    for labels in (("x", "y"), ("a", "b", "c")):
        other = read_model(folder, ("classify",), overrides={"labels": labels})
        assert other.fresh == ("classify",)
        assert other.model.config.labels == labels
        assert torch.equal(other.model.albert.pooler.weight, model.albert.pooler.weight)


def test_half_precision_is_read_as_fp32(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, folder / WEIGHTS, {"format": "pt"})
    model = load_model(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


# -- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 7, 100, 3000, -1])
def test_weights_cut_short(folder: Path, keep: int) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:keep])
    assert "cut short" in refused(folder)


def edit(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


@pytest.mark.parametrize(
    "name",
    [
        "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.key.bias",
        "albert.embeddings.word_embeddings.weight",
        "albert.pooler.bias",
        "predictions.bias",
        "predictions.dense.weight",
    ],
)
def test_a_tensor_is_missing(folder: Path, name: str) -> None:
    edit(folder, lambda tensors: tensors.pop(name))
    assert name.rpartition(".")[0].rpartition(".")[0] in refused(folder)


def test_a_shape_that_is_not_the_configs(folder: Path) -> None:
    edit(folder, lambda tensors: tensors.update({"albert.pooler.weight": torch.zeros(32, 31)}))
    message = refused(folder)
    assert "(32, 31)" in message
    assert "(32, 32)" in message


def test_a_decoder_of_its_own(folder: Path) -> None:
    table = load_file(folder / WEIGHTS)["albert.embeddings.word_embeddings.weight"]
    edit(folder, lambda tensors: tensors.update({"predictions.decoder.weight": table.clone()}))
    load_model(folder)
    edit(folder, lambda tensors: tensors.update({"predictions.decoder.weight": table + 1}))
    assert "ties" in refused(folder)


def test_own_names_are_checked_too(tmp_path: Path) -> None:
    folder = save_model(random_model(config_of(**OWN_BLOCK)), tmp_path / "model").folder
    edit(folder, lambda tensors: tensors.pop("albert.encoder.norm.weight"))
    assert "albert.encoder.norm.weight" in refused(folder)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "config.json"),
        ("[]", "config.json"),
        ("{}", "model_type"),
        ('{"model_type": "gpt2"}', "'gpt2'"),
        ('{"model_type": "albert", "hidden_size": 10, "num_attention_heads": 4}', "num_attention_heads"),
        ('{"model_type": "albert", "hidden_dropout_prob": "much"}', "hidden_dropout_prob"),
        ('{"model_type": "albert", "id2label": [1, 2]}', "config.json"),
        ('{"model_type": "albert", "num_hidden_layers": 12, "num_hidden_groups": 5}', "divide"),
        ('{"model_type": "litebert", "sharing": "some"}', "sharing"),
        ('{"model_type": "litebert", "unknown_key": 1}', "unknown_key"),
    ],
)
def test_a_config_that_makes_no_model(folder: Path, content: str, word: str) -> None:
    (folder / CONFIG).write_text(content)
    assert word in refused(folder)


def test_transformers_other_keys_are_ignored(folder: Path) -> None:
    values = json.loads((folder / CONFIG).read_text()) | {"net_structure_type": 0, "transformers_version": "9.9.9"}
    (folder / CONFIG).write_text(json.dumps(values | {"hidden_act": "gelu_pytorch_tanh"}))
    assert read_config(folder).hidden_act == "gelu_new"
    assert load_model(folder).config == config_of()


def test_folders_that_hold_no_model(folder: Path, tmp_path: Path) -> None:
    assert "nowhere" in refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert CONFIG in refused(tmp_path / "empty")
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    assert "litebert convert" in refused(folder)
    (folder / "pytorch_model.bin").unlink()
    assert WEIGHTS in refused(folder)


def test_a_folder_of_a_later_litebert(folder: Path) -> None:
    (folder / OWN).write_text('{"format_version": 2}')
    assert "update" in refused(folder)


# -- writing -------------------------------------------------------------------------------------------------------


def test_a_model_replaces_a_model_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    other = random_model(config_of(**OWN_BLOCK), seed=1)
    save_model(other, folder)
    assert same(load_model(folder), other)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"thesis\.tex"):
        save_model(other, folder)
    assert (folder / "thesis.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        save_model(other, tmp_path / "file")


def test_what_fails_half_way_leaves_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object, **__: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(huggingface, "save", full)
    with pytest.raises(OutputError, match="full"):
        save_model(build_model(config_of()), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_the_tokenizer_must_be_there_and_be_the_models(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = small_model(tmp_path / "model", tokenizer)
    assert model_tokenizer(folder).fingerprint == tokenizer.fingerprint
    bare = shutil.copytree(folder, tmp_path / "bare")
    for file in ("spiece.model", "tokenizer.json"):
        (bare / file).unlink()
    with pytest.raises(ModelFolderError, match="without a tokenizer"):
        model_tokenizer(bare)
    other = shutil.copytree(folder, tmp_path / "other")
    settings = json.loads((other / "tokenizer_config.json").read_text())
    settings["do_lower_case"] = not settings["do_lower_case"]
    (other / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(TokenizerError, match="not the one the model was saved with"):
        model_tokenizer(other)


def test_a_fingerprint_is_of_what_makes_the_model(tokenizer: Tokenizer, tmp_path: Path) -> None:
    folder = small_model(tmp_path / "model", tokenizer, ("embed",))
    before = fingerprint(folder)
    (folder / "SOURCE.txt").write_text("from somewhere")
    (folder / "README.md").write_text("a card")
    assert fingerprint(folder) == before
    for file in ("config.json", "spiece.model", "1_Pooling/config.json"):
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content + b" ")
        assert fingerprint(folder) != before
        (folder / file).write_bytes(content)
    assert fingerprint(folder) == before
