"""Shards on disk: what is appended is read back, an interrupted writer continues, damage is noticed."""

import json
import os
import pickle
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litebert.data.shards import CorpusSplit, ShardCounts, SplitWriter, open_corpus, token_type
from litebert.errors import DataFolderError

Documents = list[list[list[int]]]
"""Documents of sentences of ids."""

documents = st.lists(
    st.lists(st.lists(st.integers(0, 29_999), min_size=1, max_size=5), min_size=1, max_size=4), max_size=8
)


@pytest.fixture(autouse=True, scope="module")
def _no_sync() -> Iterator[None]:
    """Waiting for the disk thousands of times is not what is tested here."""
    patch = pytest.MonkeyPatch()
    patch.setattr(os, "fsync", lambda descriptor: None)
    yield
    patch.undo()


def append(writer: SplitWriter, batch: Documents) -> None:
    sentences = [sentence for document in batch for sentence in document]
    ids = np.array([i for sentence in sentences for i in sentence], np.uint16)
    lengths = np.array([len(sentence) for sentence in sentences], np.int64)
    writer.append(ids, lengths, np.array([len(document) for document in batch], np.int64))


def read(folder: Path, counts: list[ShardCounts]) -> Documents:
    """By hand from the bytes, not with the reader."""
    found = []
    for number in range(len(counts)):
        ids = np.fromfile(folder / f"train-{number:05d}.tokens", "<u2").tolist()
        ends = np.fromfile(folder / f"train-{number:05d}.sentences", "<i4").tolist()
        sentences = [ids[start:end] for start, end in pairwise([0, *ends])]
        ends = np.fromfile(folder / f"train-{number:05d}.documents", "<i4").tolist()
        found += [sentences[start:end] for start, end in pairwise([0, *ends])]
    return found


def texts(split: CorpusSplit) -> Documents:
    """With the reader."""
    found = []
    for shard in split.shards:
        starts = [0, *shard.sentence_ends.tolist()]
        sentences = [shard.tokens[start:end].tolist() for start, end in pairwise(starts)]
        found += [sentences[start:end] for start, end in pairwise([0, *shard.document_ends.tolist()])]
    return found


@settings(max_examples=40)
@given(st.lists(documents.filter(bool), max_size=5), st.integers(1, 30))
def test_what_is_appended_is_read(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Documents], size: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    writer = SplitWriter(folder, "train", "uint16", shard_tokens=size)
    for batch in batches:
        append(writer, batch)
    writer.close()
    assert read(folder, writer.counts) == [document for batch in batches for document in batch]
    assert all(counts.tokens >= size for counts in writer.counts[:-1])
    shutil.rmtree(folder)


@settings(max_examples=40)
@given(st.lists(documents.filter(bool), min_size=1, max_size=6), st.integers(1, 30), st.data())
def test_an_interrupted_writer_ends_with_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Documents], size: int, data: st.DataObject
) -> None:
    whole, broken = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("broken")
    writer = SplitWriter(whole, "train", "uint16", shard_tokens=size)
    for batch in batches:
        append(writer, batch)
    writer.close()
    noted = data.draw(st.integers(0, len(batches)))
    writer = SplitWriter(broken, "train", "uint16", shard_tokens=size)
    for batch in batches[:noted]:
        append(writer, batch)
    writer.flush()
    counts = list(writer.counts)
    for batch in batches[noted:]:
        append(writer, batch)
    writer.discard()
    writer = SplitWriter(broken, "train", "uint16", counts, shard_tokens=size)
    for batch in batches[noted:]:
        append(writer, batch)
    writer.close()
    names = {path.name for path in whole.iterdir()}
    assert names == {path.name for path in broken.iterdir()}
    assert all((whole / name).read_bytes() == (broken / name).read_bytes() for name in names)
    shutil.rmtree(whole)
    shutil.rmtree(broken)


def test_a_writer_does_not_go_on_from_files_that_are_too_short(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path, "train", "uint16")
    append(writer, [[[1, 2], [3]]])
    writer.close()
    (tmp_path / "train-00000.tokens").write_bytes(b"\0\0")
    with pytest.raises(DataFolderError, match="shorter"):
        SplitWriter(tmp_path, "train", "uint16", writer.counts)


@pytest.mark.parametrize(
    ("vocab_size", "name"), [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "uint32")]
)
def test_token_type_holds_every_id(vocab_size: int, name: str) -> None:
    assert token_type(vocab_size) == name
    assert np.iinfo(name).max >= vocab_size - 1


def test_a_corpus_is_pickled_as_its_path_and_maps_its_files(prepared: Path) -> None:
    corpus = open_corpus(prepared, verify=True)
    data = pickle.dumps(corpus)
    assert len(data) < 500
    again = pickle.loads(data)
    assert again.fingerprint == corpus.fingerprint
    split = again.split("train")
    assert isinstance(split.shards[0].tokens, np.memmap)
    assert split.num_tokens == corpus.index["splits"]["train"]["tokens"]
    assert split.num_documents == len(texts(split))
    assert split.num_sentences == sum(map(len, texts(split)))
    with pytest.raises(ValueError, match="read-only"):
        split.shards[0].tokens[0] = 1
    with pytest.raises(DataFolderError, match="held_out"):
        corpus.split("test")


@pytest.fixture
def copy(prepared: Path, tmp_path: Path) -> Path:
    return shutil.copytree(prepared, tmp_path / "copy")


def test_no_folder_or_another_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "nothing", tmp_path, tmp_path / "file"):
        with pytest.raises(DataFolderError, match="no prepared data folder"):
            open_corpus(path)


@pytest.mark.parametrize("name", ["train-00000.tokens", "held_out-00000.documents"])
def test_a_cut_or_missing_file_is_noticed_always(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-2])
    with pytest.raises(DataFolderError, match=name):
        open_corpus(copy)
    (copy / name).unlink()
    with pytest.raises(DataFolderError, match=name):
        open_corpus(copy)


@pytest.mark.parametrize("name", ["train-00000.tokens", "held_out-00000.documents", "documents.parquet"])
def test_a_changed_byte_is_noticed_on_request(copy: Path, name: str) -> None:
    file = copy / name
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    file.write_bytes(content)
    open_corpus(copy)
    with pytest.raises(DataFolderError, match="SHA-256"):
        open_corpus(copy, verify=True)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format_version": 1}', '{"format_version": 99}'])
def test_a_damaged_index_is_one_clear_line(copy: Path, content: str) -> None:
    (copy / "index.json").write_text(content)
    with pytest.raises(DataFolderError, match="prepare the text again") as error:
        open_corpus(copy)
    assert "\n" not in str(error.value)


def test_an_index_with_a_wrong_entry_is_damaged(copy: Path) -> None:
    index = json.loads((copy / "index.json").read_text())
    index["dtype"] = "float8"
    (copy / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataFolderError, match="damaged"):
        open_corpus(copy)
