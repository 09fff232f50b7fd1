"""Tokenizers by their tokenizer.json: ids equal to transformers', offsets and words as for ALBERT's own."""

import json
import pickle
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litebert.data.catalog import find_model
from litebert.errors import ModelFolderError, TokenizerError
from litebert.text.fast import FastTokenizer
from litebert.text.tokenizer import Tokenizer, load_tokenizer
from tests.prose import standard_library
from tests.text.test_tokenizer import TRICKY
from tests.tokenizers import KINDS, write_tokenizer

MORE = ["tokenization of unaffordable things", "don't stop", "日本語 text", "a [MASK] film <mask>", "e\u0301le\u0300ve"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    texts = [part for document in standard_library(300_000) for part in document.split("\n\n")]
    root = tmp_path_factory.mktemp("fast")
    return {kind: write_tokenizer(kind, texts, root / kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Path:
    return folders[request.param]


@pytest.fixture
def tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


@pytest.fixture
def wordpiece(folders: dict[str, Path]) -> Tokenizer:
    return load_tokenizer(folders["wordpiece"])


def automatic(folder: Path) -> Callable[..., Any]:
    transformers = pytest.importorskip("transformers", reason="the peers extra is not installed")
    theirs = transformers.AutoTokenizer.from_pretrained(folder, split_special_tokens=True)

    def encode(*texts: str) -> Any:
        return theirs(*(text.replace("\ud800", "\ufffd") for text in texts), return_token_type_ids=True)

    return encode


def marks_off(piece: str, kind: str) -> str:
    return piece.removeprefix("##") if kind == "wordpiece" else piece.replace("▁", "")


def test_ids_are_those_of_transformers(folder: Path, tokenizer: Tokenizer, prose: list[str]) -> None:
    theirs = automatic(folder)
    texts = [*TRICKY, *MORE, *prose[:200]]
    for text, pair in pairwise(texts):
        one, two = tokenizer.encode(text), tokenizer.encode(text, pair)
        expected = theirs(text)
        assert one.ids == expected["input_ids"], text
        assert theirs(text, pair)["input_ids"] == two.ids
        if tokenizer.separators == 1:
            assert theirs(text, pair)["token_type_ids"] == two.segment_ids
    bare = tokenizer.encode_ids(texts)
    assert bare == [tokenizer.encode(text, special_tokens=False).ids for text in texts]
    assert bare == tokenizer.encode_ids(texts, threads=2)
    flat, lengths = tokenizer.encode_flat(texts)
    assert flat.tolist() == [i for ids in bare for i in ids]
    assert lengths.tolist() == [len(ids) for ids in bare]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_a_saved_copy_is_the_same_to_us_and_to_transformers(
    folder: Path, tokenizer: Tokenizer, prose: list[str], tmp_path: Path
) -> None:
    tokenizer.save(tmp_path / "one")
    again = load_tokenizer(tmp_path / "one")
    assert isinstance(again, FastTokenizer)
    assert again.fingerprint == tokenizer.fingerprint
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    again.save(tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    theirs, texts = automatic(tmp_path / "one"), [*TRICKY, *MORE, *prose[:50]]
    assert [theirs(text)["input_ids"] for text in texts] == [tokenizer.encode(text).ids for text in texts]
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.fingerprint == tokenizer.fingerprint
    assert copy.encode_batch(texts) == tokenizer.encode_batch(texts)


def test_the_golden_texts_with_the_public_vocabularies(litebert_data: Path, tmp_path: Path) -> None:
    file = litebert_data.parent / "golden" / "tokenizer.jsonl"
    if not file.is_file():
        pytest.skip(f"{file.name} is not beside LITEBERT_DATA: its texts are compared")
    texts = [json.loads(line)["text"] for line in file.read_text(encoding="utf-8").splitlines()]
    compared = 0
    for name in ("all-MiniLM-L6-v2", "all-mpnet-base-v2"):
        try:
            source = find_model(name)
        except ModelFolderError:
            continue
        ours = load_tokenizer(source)
        ours.save(tmp_path / name)
        for folder in (source, tmp_path / name):
            theirs = automatic(folder)
            for text, pair in pairwise(texts):
                expected, found = theirs(text), ours.encode(text)
                assert found.ids == expected["input_ids"], text
                assert found.segment_ids == expected["token_type_ids"]
                pair = pair or "an empty second text counts as none there"
                expected, found = theirs(text, pair), ours.encode(text, pair)
                assert found.ids == expected["input_ids"], (text, pair)
                if ours.separators == 1:
                    assert found.segment_ids == expected["token_type_ids"]
        compared += len(texts)
    if not compared:
        pytest.skip("no public model in the cache: litebert data get all-MiniLM-L6-v2")


@pytest.mark.parametrize("kind", ["wordpiece", "metaspace"])
@given(
    text=st.text(st.sampled_from("aeéÉ日ß ½\u0301\t\n.,'-Ａ#[]\u200b\x00😀s"), max_size=30)
    | st.sampled_from(TRICKY + MORE)
)
def test_every_piece_is_found_in_the_text(kind: str, folders: dict[str, Path], text: str) -> None:
    tokenizer = loaded(folders[kind])
    encoding = tokenizer.encode(text, special_tokens=False)
    last = 0
    for piece, (start, end) in zip(encoding.pieces, encoding.offsets, strict=True):
        assert 0 <= start <= end <= len(text)
        assert end >= last, "pieces come in the order of the text"
        last = end
        surface = tokenizer.normalize(text[start:end])
        bare = marks_off(piece, kind).strip()  # white space that is a piece has an empty span, too
        assert surface.replace(" ", "") == bare or bare in surface, (piece, text[start:end])


def loaded(folder: Path, cache: dict[Path, Tokenizer] = {}) -> Tokenizer:  # noqa: B006  one for all examples
    return cache.setdefault(folder, load_tokenizer(folder))


def test_offsets_of_bytes_span_whole_characters_without_the_space(folders: dict[str, Path]) -> None:
    tokenizer = load_tokenizer(folders["bytes"])
    text = "The naïve 日 way  out"
    encoding = tokenizer.encode(text, special_tokens=False)
    for piece, (start, end) in zip(encoding.pieces, encoding.offsets, strict=True):
        shown = piece.replace("Ġ", "")
        if shown.isascii():
            assert text[start:end] == shown
        else:
            assert text[start:end], "a part of a character stands for all of it"
    covered = {i for start, end in encoding.offsets for i in range(start, end)}
    assert covered == {i for i, char in enumerate(text) if char != " "}
    assert tokenizer.decode(encoding.ids) == "The naïve 日 way out"


def test_words_begin_where_words_begin(tokenizer: Tokenizer) -> None:
    text = "The documentation describes internationalization, unbelievably."
    encoding = tokenizer.encode(text, special_tokens=False)
    starts = [
        text[start:end] for (start, end), begins in zip(encoding.offsets, encoding.word_starts, strict=True) if begins
    ]
    words = ["The", "documentation", "describes", "internationalization", "unbelievably"]
    begun = [word for word in words if any(word.lower().startswith(start.lower()) for start in starts if start)]
    assert begun == words
    inside = sum(not begins for begins in encoding.word_starts)
    assert inside >= 3, "long words have several pieces, of which only the first begins one"
    assert tokenizer.word_start_table.shape == (tokenizer.vocab_size,)
    assert tokenizer.word_start_table[sorted(tokenizer.special_ids)].all()
    table = np.flatnonzero(~tokenizer.word_start_table)
    assert len(table) > 50


def test_special_pieces_are_where_the_files_say(tokenizer: Tokenizer, folder: Path) -> None:
    values = json.loads((folder / "tokenizer_config.json").read_text())
    for role in ("pad", "unk", "cls", "sep", "mask"):
        number = getattr(tokenizer, f"{role}_id")
        assert tokenizer.id_to_piece(number) == values[f"{role}_token"]
        assert tokenizer.piece_to_id(values[f"{role}_token"]) == number
        assert number in tokenizer.special_ids
    assert tokenizer.pad_id == 1, "not what ALBERT's vocabulary has there"
    encoding = tokenizer.encode("one", "two")
    assert encoding.special.count(True) == 3 + (tokenizer.separators - 1)
    assert encoding.segment_ids == sorted(encoding.segment_ids)
    assert tokenizer.piece_to_id("no such piece") == tokenizer.unk_id
    with pytest.raises(TokenizerError, match="no piece has number"):
        tokenizer.id_to_piece(tokenizer.vocab_size)


def test_special_pieces_spelled_out_are_text(wordpiece: Tokenizer) -> None:
    spelled = wordpiece.encode("[CLS] x [SEP] [MASK]", special_tokens=False)
    assert not {wordpiece.cls_id, wordpiece.sep_id, wordpiece.mask_id} & set(spelled.ids)


@pytest.mark.parametrize("text", ["a [MASK] film", "[MASK]", "the [MASK][MASK] way", "the file[MASK].", "[MASK] is it"])
def test_masks(text: str, tokenizer: Tokenizer, folder: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the peers extra is not installed")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    expected = theirs(text.replace("[MASK]", theirs.mask_token), add_special_tokens=False)["input_ids"]
    ids = tokenizer.encode_masked(text, "[MASK]")
    assert ids == expected
    assert ids.count(tokenizer.mask_id) == text.count("[MASK]")
    around = tokenizer.encode_masked("[CLS] [MASK]", "[MASK]")
    assert tokenizer.cls_id not in around, "other special pieces stay text"


def test_decoding(wordpiece: Tokenizer, tokenizer: Tokenizer) -> None:
    text = "the name of the file"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.decode([tokenizer.cls_id, tokenizer.pad_id]) == ""
    assert wordpiece.decode([*wordpiece.encode_ids(["the"])[0], wordpiece.unk_id]) == "the ⁇"


def test_an_unknown_word_keeps_its_surface(wordpiece: Tokenizer) -> None:
    encoding = wordpiece.encode("the Ж☃Ж end", special_tokens=False)
    unknown = [i for i, number in enumerate(encoding.ids) if number == wordpiece.unk_id]
    assert unknown
    assert all(encoding.pieces[i] in ("ж", "☃", "ж☃ж") for i in unknown)
    assert "the Ж☃Ж end"[slice(*encoding.offsets[unknown[0]])].lower() == encoding.pieces[unknown[0]]


# --- what goes wrong -----------------------------------------------------------------------------------------------


def change(folder: Path, to: Path, **changes: Any) -> Path:
    """Copy a tokenizer with parts of its tokenizer.json replaced."""
    to.mkdir()
    values = json.loads((folder / "tokenizer.json").read_text())
    (to / "tokenizer.json").write_text(json.dumps(values | changes))
    (to / "tokenizer_config.json").write_bytes((folder / "tokenizer_config.json").read_bytes())
    return to


def refused(path: Path) -> str:
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_used_is_refused_in_one_line(folders: dict[str, Path], tmp_path: Path) -> None:
    source = folders["wordpiece"]
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "vocab.txt").write_text("[PAD]\n[UNK]\n")
    assert "AutoTokenizer" in refused(slow), "a vocabulary without a tokenizer.json gives no offsets"
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    model = {"type": "WordLevel", "vocab": words, "unk_token": "[UNK]"}
    assert "a word begins" in refused(change(source, tmp_path / "words", model=model, decoder=None, added_tokens=[]))
    assert "[MASK]" in refused(change(source, tmp_path / "mask", added_tokens=[], model={
        "type": "WordPiece", "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}, "unk_token": "[UNK]",
        "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
    }))  # fmt: skip
    broken = change(source, tmp_path / "broken")
    (broken / "tokenizer.json").write_text('{"version": "1.0"')
    assert "JSON" in refused(broken)
    assert "tokenizers" in refused(change(source, tmp_path / "kind", model={"type": "Unheard"}))
    template = {"type": "BertProcessing", "sep": ["[CLS]", 0], "cls": ["[SEP]", 2]}
    assert "[SEP]" in refused(change(source, tmp_path / "order", post_processor=template))


def test_without_a_config_the_usual_names_are_tried(folders: dict[str, Path], tmp_path: Path) -> None:
    for kind, folder in folders.items():
        bare = change(folder, tmp_path / kind)
        (bare / "tokenizer_config.json").unlink()
        assert load_tokenizer(bare).fingerprint == load_tokenizer(folder).fingerprint
        assert load_tokenizer(bare / "tokenizer.json").fingerprint == load_tokenizer(folder).fingerprint
