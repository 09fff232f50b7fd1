"""Other programs' folders become ours, tokenizer and all; what is no ALBERT is refused in one line."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

from litebert.errors import ConfigError, ModelFolderError, OutputError, TokenizerError, UserError
from litebert.interop.convert import convert
from litebert.interop.huggingface import load_model, read_model, save_model
from litebert.interop.tensorflow import read_checkpoint
from litebert.model.config import AlbertConfig
from litebert.model.heads import AlbertWithHeads, build_model
from litebert.model.packed import pack_lists
from litebert.text.tokenizer import load_tokenizer
from litebert.text.training import train_tokenizer
from tests.bundle import write_checkpoint

CONFIG, WEIGHTS, PICKLED = "config.json", "model.safetensors", "pytorch_model.bin"
PREFIX = "model.ckpt-best"
SHAPE = AlbertConfig(
    vocab_size=300, embedding_size=8, hidden_size=16, num_hidden_layers=4, num_attention_heads=2,
    intermediate_size=32, max_position_embeddings=32, sharing="groups=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> AlbertWithHeads:
    return build_model(SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def folder(model: AlbertWithHeads, tmp_path: Path) -> Path:
    """A folder as transformers leaves it: nothing of litebert's own in it."""
    path = save_model(model, tmp_path / "source").folder
    (path / "litebert.json").unlink()
    return path


@pytest.fixture(scope="module")
def vocabulary(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer's folder, as many pieces as the original's test model has."""
    path = tmp_path_factory.mktemp("vocabulary") / "tokenizer"
    train_tokenizer(prose[:25], path, vocab_size=1000)
    return path


def pickle_weights(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict) -> None:
    """Replace a folder's safetensors by the older format."""
    torch.save(change(load_file(folder / WEIGHTS)), folder / PICKLED)
    (folder / WEIGHTS).unlink()


def refused(source: Path, out: Path, kind: type[UserError] = ModelFolderError) -> str:
    """The one line that converting `source` ends with; nothing is written."""
    with pytest.raises(kind) as error:
        convert(source, out)
    message = str(error.value)
    assert "\n" not in message
    assert not out.exists()
    assert not list(out.parent.glob(".*partial"))
    return message


# -- Hugging Face --------------------------------------------------------------------------------------------------


def test_safetensors(model: AlbertWithHeads, folder: Path, tmp_path: Path) -> None:
    saved = convert(folder, tmp_path / "out")
    assert (saved.folder, saved.opens_in_transformers, saved.note) == (tmp_path / "out", True, "")
    loaded = read_model(saved.folder)
    assert loaded.fresh == ()
    assert loaded.model.config == SHAPE
    assert_close(loaded.model.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_the_older_format_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    convert(folder, tmp_path / "from_safetensors")

    def as_transformers_saves_it(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        table = tensors["albert.embeddings.word_embeddings.weight"]
        tied = {"predictions.decoder.weight": table, "predictions.decoder.bias": tensors["predictions.bias"]}
        return tensors | tied | {"albert.embeddings.position_ids": torch.arange(32)[None]}

    pickle_weights(folder, as_transformers_saves_it)
    convert(folder, tmp_path / "from_pickle")
    for name in (CONFIG, WEIGHTS, "litebert.json"):
        one, other = (tmp_path / way / name for way in ("from_safetensors", "from_pickle"))
        assert one.read_bytes() == other.read_bytes(), name


def test_a_bare_encoder_in_half_precision(model: AlbertWithHeads, folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    bare = {name.removeprefix("albert."): tensor.half() for name, tensor in tensors.items() if "albert." in name}
    save_file(bare, folder / WEIGHTS)
    found = load_model(convert(folder, tmp_path / "out").folder)
    assert list(found.heads) == []
    assert_close(found.albert.state_dict(), model.albert.state_dict(), rtol=1e-3, atol=1e-4)


def test_a_source_without_pooler_converts_to_the_same_bytes_twice(folder: Path, tmp_path: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({name: tensor for name, tensor in tensors.items() if "pooler" not in name}, folder / WEIGHTS)
    first, second = (convert(folder, tmp_path / name).folder for name in ("first", "second"))
    assert (first / WEIGHTS).read_bytes() == (second / WEIGHTS).read_bytes()


def test_a_folder_of_our_own_kind(tmp_path: Path) -> None:
    config = AlbertConfig.from_dict(SHAPE.to_dict() | {"block": "pre_norm", "position": "rotary"})
    source = save_model(build_model(config), tmp_path / "source", extra={"steps": 3}).folder
    saved = convert(source, tmp_path / "out")
    assert "transformers cannot open" in saved.note
    assert read_model(saved.folder).extra == {"steps": 3}
    assert (saved.folder / WEIGHTS).read_bytes() == (source / WEIGHTS).read_bytes()


class _Harmful:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return os.mkdir, (self.trace,)


def test_code_in_a_pickle_does_not_run(folder: Path, tmp_path: Path) -> None:
    torch.save({"albert.pooler.weight": _Harmful(tmp_path / "trace")}, folder / PICKLED)
    (folder / WEIGHTS).unlink()
    assert PICKLED in refused(folder, tmp_path / "out")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("keep", [0, 1, 100, 5000, -1])
@pytest.mark.parametrize("name", [WEIGHTS, PICKLED])
def test_weights_cut_short(name: str, keep: int, folder: Path, tmp_path: Path) -> None:
    if name == PICKLED:
        pickle_weights(folder)
    (folder / name).write_bytes((folder / name).read_bytes()[:keep])
    assert name in refused(folder, tmp_path / "out")


def test_a_pickle_of_something_else(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).unlink()
    for content in ([1, 2], {"epoch": 3}):
        torch.save(content, folder / PICKLED)
        assert PICKLED in refused(folder, tmp_path / "out")
    (folder / PICKLED).write_text("version https://git-lfs.github.com/spec/v1\n")
    assert PICKLED in refused(folder, tmp_path / "out")


def test_other_folders(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "nowhere" in refused(tmp_path / "nowhere", out)
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(tmp_path / "empty", out)
    (tmp_path / "file.txt").write_text("no model")
    assert "file.txt" in refused(tmp_path / "file.txt", out)
    values = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(values | {"model_type": "gpt2"}))
    assert "'gpt2'" in refused(folder, out)
    (folder / WEIGHTS).unlink()
    assert WEIGHTS in refused(folder, out)


def test_an_output_that_is_not_empty_stays_as_it_is(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    convert(folder, out)  # empty is well
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(OutputError, match="not empty"):
        convert(folder, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(OutputError):
        convert(folder, folder)


# -- TensorFlow; the numbers are compared in test_tensorflow.py ----------------------------------------------------


def test_a_folder_and_a_prefix_are_the_same(golden: Path, tmp_path: Path) -> None:
    for name, source in (("folder", golden / "shared"), ("prefix", golden / "shared" / PREFIX)):
        saved = convert(source, tmp_path / name)
        assert saved.opens_in_transformers
        assert json.loads((saved.folder / CONFIG).read_text())["hidden_act"] == "gelu_new"  # theirs is the tanh form
    assert (tmp_path / "folder" / WEIGHTS).read_bytes() == (tmp_path / "prefix" / WEIGHTS).read_bytes()


@pytest.mark.parametrize("name", ["spiece.model", "30k-clean.model"])
def test_the_vocabulary_comes_along(name: str, golden: Path, vocabulary: Path, tmp_path: Path) -> None:
    shutil.copytree(golden / "shared", tmp_path / "source")
    shutil.copy(vocabulary / "spiece.model", tmp_path / "source" / name)
    out = convert(tmp_path / "source" / PREFIX, tmp_path / "out").folder
    tokenizer = load_tokenizer(out)
    assert tokenizer.lower
    assert tokenizer.fingerprint == load_tokenizer(vocabulary / "spiece.model").fingerprint
    assert (out / "tokenizer.json").is_file()
    assert load_model(out).config.vocab_size == tokenizer.vocab_size


def test_a_vocabulary_of_another_size(folder: Path, vocabulary: Path, tmp_path: Path) -> None:
    shutil.copy(vocabulary / "spiece.model", folder)
    message = refused(folder, tmp_path / "out", TokenizerError)
    assert "1000 pieces" in message
    assert "300" in message


def test_values_that_are_no_numbers_in_the_older_format(folder: Path, tmp_path: Path) -> None:
    def broken(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        name = next(name for name in tensors if name.endswith("ffn.weight"))
        return tensors | {name: torch.full_like(tensors[name], torch.nan)}

    pickle_weights(folder, broken)
    assert "no numbers" in refused(folder, tmp_path / "out")


def test_weights_in_several_files(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).rename(folder / "model-00001-of-00002.safetensors")
    (folder / f"{WEIGHTS}.index.json").write_text("{}")
    assert "its weights are in several files; save them in one" in refused(folder, tmp_path / "out")


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_fine_tuned_model_with_optimizer_slots(
    golden: Path, tmp_path: Path, outputs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A classifier; one output is a number, as the original code has it for STS-B."""
    tensors = {
        name: tensor for name, tensor in read_checkpoint(golden / "shared" / PREFIX).items() if "cls/" not in name
    }
    weights, bias = (
        torch.randn(outputs, 48, generator=torch.Generator().manual_seed(0)),
        torch.arange(1.0, 1.0 + outputs),
    )
    tensors |= {"output_weights": weights, "output_bias": bias}
    tensors |= {f"{name}/adam_{moment}": tensor for name, tensor in tensors.items() for moment in "mv"}
    stored = {f"module/{name}": (1, tensor.numpy().tobytes(), tuple(tensor.shape)) for name, tensor in tensors.items()}
    write_checkpoint(tmp_path / "model.ckpt-9", stored | {"global_step": (9, bytes(8), ())}, blocks=4)
    shutil.copy(golden / "shared" / "albert_config.json", tmp_path)
    found = read_model(convert(tmp_path, tmp_path / "out").folder)
    assert "left out" not in capsys.readouterr().err
    assert found.fresh == ()
    assert list(found.model.heads) == ["classify"]
    assert found.model.config.num_labels == outputs
    assert found.model.config.problem_type == ("regression" if outputs == 1 else "single_label_classification")
    assert_close(found.model.state_dict()["heads.classify.classifier.weight"], weights, rtol=0, atol=0)
    assert_close(found.model.state_dict()["heads.classify.classifier.bias"], bias, rtol=0, atol=0)


def test_variables_of_heads_that_are_not_read(golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the original code has them for SQuAD 2."""
    tensors = read_checkpoint(golden / "shared" / PREFIX) | {"start_logits/output_weights": torch.ones(1, 48)}
    stored = {name: (1, tensor.numpy().tobytes(), tuple(tensor.shape)) for name, tensor in tensors.items()}
    write_checkpoint(tmp_path / "model.ckpt-9", stored, blocks=4)
    shutil.copy(golden / "shared" / "albert_config.json", tmp_path)
    convert(tmp_path, tmp_path / "out")
    assert "does not read, which are left out (start_logits/output_weights)" in capsys.readouterr().err


def test_weights_in_half_the_bytes_compute_as_before(folder: Path, tmp_path: Path) -> None:
    convert(folder, tmp_path / "whole")
    convert(folder, tmp_path / "half", precision="bf16")
    whole, half = (load_file(tmp_path / name / WEIGHTS) for name in ("whole", "half"))
    assert all(torch.equal(tensor.bfloat16(), half[name]) for name, tensor in whole.items())
    ours = load_model(tmp_path / "half")
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    peers = pytest.importorskip("transformers")
    theirs = peers.AutoModel.from_pretrained(tmp_path / "half").eval()
    ids = torch.arange(5, 17)[None]
    with torch.no_grad():
        expected = theirs(input_ids=ids).last_hidden_state[0]
        found = ours.eval().albert(pack_lists(ids.tolist()))
    assert_close(found, expected, atol=1e-5, rtol=0)
    with pytest.raises(ConfigError, match="fp32 or bf16"):
        convert(folder, tmp_path / "other", precision="int3")
