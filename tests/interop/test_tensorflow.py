"""The original's checkpoints: read without TensorFlow, computed to the same numbers, refused in one line if damaged."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from litebert.errors import ModelFolderError
from litebert.interop.convert import convert
from litebert.interop.crc32c import crc32c
from litebert.interop.huggingface import load_model
from litebert.interop.tensorflow import find_checkpoint, read_checkpoint, read_index
from litebert.model.packed import pack, unpack
from tests.bundle import write_checkpoint
from tests.interop.test_convert import refused
from tests.interop.test_crc32c import bit_by_bit

NAME = "model.ckpt-best"
INDEX, DATA = f"{NAME}.index", f"{NAME}.data-00000-of-00001"
KINDS = ("shared", "groups")


@pytest.fixture
def checkpoint(golden: Path, tmp_path: Path) -> Path:
    """A copy of a checkpoint to damage; returns its prefix."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(golden / "shared", folder)
    return folder / NAME


@pytest.mark.parametrize("kind", KINDS)
def test_the_original_code_computes_the_same(kind: str, golden: Path, tmp_path: Path) -> None:
    folder = golden / kind
    model = load_model(convert(folder, tmp_path / "model").folder).eval()
    with np.load(folder / "expected.npz") as file:
        expected = {name: torch.from_numpy(file[name]) for name in file.files}
    ids, mask, segments = (expected[name].long() for name in ("input_ids", "attention_mask", "token_type_ids"))
    real = mask.bool()
    assert not real.all(), "padding must be in use"
    assert segments.any(), "segments must be in use"
    packed, index = pack(ids, mask, segments)
    with torch.no_grad():
        embedded = model.albert.embedding(packed.input_ids, packed.position_ids, packed.token_type_ids)
        hidden = model.encode(packed)
        pooled = model.pooled(hidden, packed)
        rows, positions = torch.arange(len(ids))[:, None], expected["masked_positions"].long()
        masked = unpack(hidden, index, *ids.shape)[rows, positions].flatten(0, 1)
        masked_lm = model.heads["masked_lm"](masked).log_softmax(-1)
        meant = real[rows, positions].flatten()  # the original also predicts at padding, where nothing is meant
        sentence_order = model.heads["sentence_order"](pooled).log_softmax(-1)
    found = {
        "embedding_output": (embedded, expected["embedding_output"][real]),
        "sequence_output": (hidden, expected["sequence_output"][real]),
        "pooled_output": (pooled, expected["pooled_output"]),
        "mlm_log_probs": (masked_lm[meant], expected["mlm_log_probs"][meant]),
        "sop_log_probs": (sentence_order, expected["sop_log_probs"]),
    }
    for name, (ours, theirs) in found.items():
        assert_close(ours, theirs, atol=1e-5, rtol=0.0, msg=f"{name} is off by {(ours - theirs).abs().max():.1e}")


def test_biases_are_not_zero_so_that_equal_numbers_mean_something(golden: Path) -> None:
    tensors = read_checkpoint(golden / "groups" / NAME)
    assert all(tensor.any() for name, tensor in tensors.items() if name.endswith(("bias", "beta")))
    assert {name.split("/")[3] for name in tensors if "/group_" in name} == {"group_0", "group_1", "group_2"}


def test_only_what_is_wanted_is_read(golden: Path) -> None:
    tensors = read_checkpoint(golden / "shared" / NAME, lambda name: name.startswith("bert/pooler/"))
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        "bert/pooler/dense/bias": (48,),
        "bert/pooler/dense/kernel": (48, 48),
    }


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of RFC 3720's polynomial
    assert crc32c(b"") == 0
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    long = np.random.default_rng(0).integers(0, 256, 9001, dtype=np.uint8).tobytes()
    assert crc32c(long) == bit_by_bit(long)


# -- tables and tensors of other kinds ----------------------------------------------------------------------------


def test_several_blocks_shared_key_prefixes_and_other_types(tmp_path: Path) -> None:
    values = np.linspace(-2, 2, 8, dtype=np.float32)
    stored = {
        "a/half": (19, values.astype("<f2").tobytes(), (8,)),
        "a/halves": (14, (values.view("<u4") >> 16).astype("<u2").tobytes(), (2, 4)),  # bfloat16
        "b": (2, values.astype("<f8").tobytes(), (4, 2)),
        "global_step": (9, np.array(7, "<i8").tobytes(), ()),
    }
    tensors = read_checkpoint(write_checkpoint(tmp_path / "made", stored, blocks=3))
    assert list(tensors) == sorted(stored)
    assert_close(tensors["a/half"], torch.from_numpy(values).half().float(), rtol=0, atol=0)
    assert_close(tensors["a/halves"], torch.from_numpy(values).view(2, 4), rtol=2**-7, atol=0)
    assert_close(tensors["b"], torch.from_numpy(values).view(4, 2), rtol=0, atol=0)
    assert tensors["global_step"].item() == 7


def test_text_and_sliced_tensors_are_refused_only_when_wanted(tmp_path: Path) -> None:
    stored = {"text": (7, b"\x01\x01x", (1,)), "weights": (1, np.ones(1, "<f4").tobytes(), (1,))}
    prefix = write_checkpoint(tmp_path / "made", stored)
    assert read_checkpoint(prefix, lambda name: name == "weights")["weights"].item() == 1
    with pytest.raises(ModelFolderError, match="text"):
        read_checkpoint(prefix)
    sliced = write_checkpoint(tmp_path / "sliced", stored, extra=b"\x3a\x02\x0a\x00")
    with pytest.raises(ModelFolderError, match="weights"):
        read_checkpoint(sliced, lambda name: name == "weights")


def test_a_compressed_or_big_endian_index_is_refused(tmp_path: Path) -> None:
    stored = {"weights": (1, np.ones(1, "<f4").tobytes(), (1,))}
    with pytest.raises(ModelFolderError, match="compressed"):
        read_index(write_checkpoint(tmp_path / "snappy", stored, compression=1))
    with pytest.raises(ModelFolderError, match="big-endian"):
        read_index(write_checkpoint(tmp_path / "big", stored, header=b"\x08\x01\x10\x01"))


# -- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [INDEX, DATA, "albert_config.json"])
def test_missing_files(missing: str, checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint.parent / missing).unlink()
    message = refused(checkpoint, tmp_path / "out")
    assert {INDEX: INDEX, DATA: "data-00000", "albert_config.json": "albert_config.json"}[missing] in message


@pytest.mark.parametrize("keep", [0, 1, 47, 48, 400, 1454])
def test_an_index_cut_short(keep: int, checkpoint: Path, tmp_path: Path) -> None:
    path = checkpoint.parent / INDEX
    path.write_bytes(path.read_bytes()[:keep])
    assert INDEX in refused(checkpoint, tmp_path / "out")


@pytest.mark.parametrize("keep", [0, 100, 164_519])
def test_numbers_cut_short(keep: int, checkpoint: Path, tmp_path: Path) -> None:
    path = checkpoint.parent / DATA
    path.write_bytes(path.read_bytes()[:keep])
    assert "cut short" in refused(checkpoint, tmp_path / "out")


@pytest.mark.parametrize("place", [0, 5000, 164_519])
def test_one_wrong_byte_among_the_numbers(place: int, checkpoint: Path, tmp_path: Path) -> None:
    path = checkpoint.parent / DATA
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    assert "checksum" in refused(checkpoint, tmp_path / "out")


def test_every_wrong_byte_in_the_index_is_found_or_harmless(checkpoint: Path) -> None:
    path = checkpoint.parent / INDEX
    whole, entries = path.read_bytes(), read_index(checkpoint)
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            found, message = read_index(checkpoint), ""
        except ModelFolderError as error:
            found, message = {}, str(error)
        # Harmless: nothing reads the footer's filling.
        assert found == entries or (INDEX in message and "\n" not in message)


def test_junk_for_an_index(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint.parent / INDEX).write_bytes(np.random.default_rng(0).bytes(4096))
    assert INDEX in refused(checkpoint, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "albert_config.json"),
        ("[1]", "albert_config.json"),
        ('{"vocab_size": "many"}', "vocab_size"),
        ('{"hidden_dropout_prob": "none"}', "albert_config.json"),
        ('{"vocab_size": 1000}', "embedding"),
    ],
)
def test_a_config_that_is_wrong(content: str, word: str, checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint.parent / "albert_config.json").write_text(content)
    assert word in refused(checkpoint, tmp_path / "out")


# -- which checkpoint ----------------------------------------------------------------------------------------------


def test_a_folder_of_several_needs_a_prefix_or_its_state_file(checkpoint: Path) -> None:
    folder = checkpoint.parent
    for ending in (".index", ".data-00000-of-00001"):
        shutil.copy(folder / f"{NAME}{ending}", folder / f"model.ckpt-5{ending}")
    with pytest.raises(ModelFolderError, match=r"model\.ckpt-5, model\.ckpt-best; name a prefix"):
        find_checkpoint(folder)
    (folder / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model.ckpt-5"\n')
    assert find_checkpoint(folder) == folder / "model.ckpt-5"
    assert find_checkpoint(checkpoint) == checkpoint
    assert find_checkpoint(folder / INDEX) == checkpoint
