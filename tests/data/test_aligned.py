"""Two tokenizers read one text: what the second says stands at the right characters of the first."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from litebert.data.aligned import MOST_TOKENS, AlignedSource, keep_text, read_beside, room_beside
from litebert.data.batches import BatchStream, DataSettings, PretrainBatch, micro_batches
from litebert.data.pairs import PairSettings
from litebert.errors import ConfigError, TokenizerError
from litebert.text.interface import Tokenizer
from litebert.text.tokenizer import load_tokenizer
from litebert.text.training import train_tokenizer
from litebert.text.utf8 import Utf8Tokenizer

SETTINGS = DataSettings(batch_size=8, pairs=PairSettings(length=32, objective="none", short=0.3))


@pytest.fixture(scope="module")
def kept(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    text = folder / "library.jsonl"
    documents = [*prose[:60], "Ünïcödé ½ ﬁne 数学 – naïve café.\nA second line; 𝄞 here. " * 20]
    text.write_text("".join(json.dumps({"text": document}) + "\n" for document in documents), encoding="utf-8")
    keep_text([text], folder / "text", held_out=0.1)
    return folder / "text"


@pytest.fixture(scope="module")
def mine(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(prose[:80], tmp_path_factory.mktemp("mine"), vocab_size=600)


@pytest.fixture(scope="module")
def theirs(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_tokenizer(prose[:80], tmp_path_factory.mktemp("theirs"), vocab_size=3000)


def first_batch(kept: Path, tokenizer: Tokenizer, **settings: object) -> PretrainBatch:
    return next(iter(BatchStream(AlignedSource({kept: 1.0}, tokenizer, SETTINGS, 1))))


def test_bytes_are_the_text() -> None:
    tokenizer = Utf8Tokenizer()
    text = "½ naïve 数"
    (ids,) = tokenizer.encode_ids([text])
    assert tokenizer.decode(ids) == text == tokenizer.normalize(text)
    encoding = tokenizer.encode(text)
    assert encoding.ids == ids
    assert "".join(text[slice(*span)] for span in dict.fromkeys(encoding.offsets)) == text
    with pytest.raises(TokenizerError, match="neither pairs nor special"):
        tokenizer.encode(text, text)
    with pytest.raises(TokenizerError, match="no masked piece"):
        tokenizer.encode_masked(text, "½")


def test_windows_are_functions_of_their_number(kept: Path, mine: Tokenizer) -> None:
    source = AlignedSource({kept: 1.0}, mine, SETTINGS, 1)
    (a, masked), (b, other) = source.window(0), pickle.loads(pickle.dumps(source)).window(0)
    assert np.array_equal(a.input_ids, b.input_ids)
    assert np.array_equal(masked.input_ids, other.input_ids)
    assert a.texts.tolist() == b.texts.tolist()  # type: ignore[union-attr]
    assert np.diff(a.cu_seqlens).max() <= SETTINGS.pairs.length
    with pytest.raises(ConfigError, match="objective=none"):
        AlignedSource({kept: 1.0}, mine, DataSettings(), 1)


def test_all_of_the_text_is_read(kept: Path, mine: Tokenizer) -> None:
    """Every sentence's tokens are there once an epoch, and each lies where its sequence's text says so."""
    source = AlignedSource({kept: 1.0}, mine, DataSettings(pairs=PairSettings(length=512, objective="none")), 1)
    windows = [source.window(n)[0] for n in range(int(np.ceil(source.windows_per_epoch())))]
    raw = b"".join(np.asarray(shard.tokens).tobytes() for shard in source.splits[0].shards)
    letters = sum(character.isalnum() for character in raw.decode())
    found = sum(character.isalnum() for window in windows for text in window.texts for character in text)
    assert 0.97 * letters < found <= letters  # a sentence of more than 512 tokens is cut
    for window in windows:
        for number, text in enumerate(window.texts[:50]):
            span = slice(*window.cu_seqlens[number : number + 2])
            ids, offsets = window.input_ids[span], window.offsets[span]
            assert (ids[0], ids[-1]) == (mine.cls_id, mine.sep_id)
            for i, (start, end) in zip(ids[1:-1].tolist(), offsets[1:-1].tolist(), strict=True):
                piece = mine.id_to_piece(i).replace("▁", "").strip()
                if i != mine.unk_id:
                    assert mine.normalize(text[start:end]).replace(" ", "") in (piece, mine.normalize(piece))


def test_sentences_that_become_no_token(mine: Tokenizer, prose: list[str], tmp_path: Path) -> None:
    """As a line of a mark that tells the direction of writing."""
    rows = [{"text": f"\u200e\n{text[:400]}\n\u200e\n\u200e\n{text[400:800]}\n\u200e"} for text in prose[:20]]
    (tmp_path / "marks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    keep_text([tmp_path / "marks.jsonl"], tmp_path / "kept", held_out=0.1)
    settings = DataSettings(pairs=PairSettings(length=16, objective="none"))
    samples, _ = AlignedSource({tmp_path / "kept": 1.0}, mine, settings, 1).window(0)
    assert np.diff(samples.cu_seqlens).min() > 2
    assert len(samples.labels) > 100


@pytest.mark.parametrize("parts", [1, 3])
def test_matches_share_characters(kept: Path, mine: Tokenizer, theirs: Tokenizer, parts: int) -> None:
    for part in micro_batches(first_batch(kept, mine), SETTINGS, mine.pad_id, parts):
        beside = read_beside(part, theirs, theirs.pad_id, 64)
        assert np.diff(beside.cu_seqlens).max() <= 64
        for number, text in enumerate(part.texts):
            begin, end = part.cu_seqlens[number : number + 2].tolist()
            first, last = beside.cu_seqlens[number : number + 2].tolist()
            other = theirs.encode(text)
            assert beside.input_ids[first:last].tolist() == other.ids
            assert beside.position_ids[first:last].tolist() == list(range(last - first))
            assert matched(beside, begin) == [first]
            assert matched(beside, end - 1) == [last - 1]
            for token in range(begin + 1, end - 1):
                start, stop = part.offsets[token].tolist()
                expected = [
                    first + k
                    for k, (a, b) in enumerate(other.offsets)
                    if a < stop and b > start and a < b and start < stop
                ]
                assert matched(beside, token) == expected[:MOST_TOKENS]


def matched(beside: object, token: int) -> list[int]:
    shares = beside.shares[token]  # type: ignore[attr-defined]
    assert shares.sum() == pytest.approx(1) or not shares.any()
    return beside.matches[token][shares > 0].tolist()  # type: ignore[attr-defined, no-any-return]


def test_the_same_tokenizer_matches_itself(kept: Path, mine: Tokenizer) -> None:
    (part,) = micro_batches(first_batch(kept, mine), SETTINGS, mine.pad_id, 1)
    beside = read_beside(part, mine, mine.pad_id, SETTINGS.pairs.length)
    whole = part.input_ids.copy()
    whole[part.masked_positions[part.masked_labels >= 0]] = part.masked_labels[part.masked_labels >= 0]
    pairs = list(
        zip(np.split(whole, part.cu_seqlens[1:]), np.split(beside.input_ids, beside.cu_seqlens[1:]), strict=True)
    )
    same = [np.array_equal(*pair) for pair in pairs[: len(part.texts)]]
    assert np.mean(same) > 0.5  # a text that is cut within a word has other tokens there
    assert len(beside.input_ids) == room_beside(len(part.input_ids))


def test_long_texts_are_cut_and_the_room_grows(kept: Path, mine: Tokenizer) -> None:
    (part,) = micro_batches(first_batch(kept, mine), SETTINGS, mine.pad_id, 1)
    beside = read_beside(part, mine, mine.pad_id, 8)
    assert np.diff(beside.cu_seqlens).max() == 8
    beside = read_beside(part, Letters(), 0, 512)
    assert len(beside.input_ids) in (2 * room_beside(len(part.input_ids)), 4 * room_beside(len(part.input_ids)))
    assert beside.cu_seqlens[-1] > room_beside(len(part.input_ids))


class Letters(Utf8Tokenizer):
    """A teacher of bytes, which has many more tokens."""

    def encode_batch(self, texts, **settings):  # type: ignore[no-untyped-def]
        return [self.encode(text, special_tokens=False) for text in texts]


def test_it_is_found_again(kept: Path) -> None:
    assert isinstance(load_tokenizer(kept / "tokenizer"), Utf8Tokenizer)
