"""Ids exact to the original, the fast paths against the slow ones, loading, saving and what goes wrong."""

import json
import pickle
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from litebert.errors import TokenizerError
from litebert.text.normalize import Normalization
from litebert.text.tokenizer import Tokenizer, load_tokenizer
from litebert.text.unigram import SentencePieceTokenizer, is_word_start

TRICKY = [
    "",
    " ",
    "\n\t\v\f\r\x1c\x1d\x1e\x1f\x85\u2028",
    "a",
    "A\vB\x1cC\tD  E \n",
    "1,2,3,",
    "3.0, and 1,000,000.",
    "naïve café Ǆ ①",
    "ΟΔΟΣ ΟΣ Σ",
    "ＡＢＣ，１,000,",
    "½ ﬁ … ™ ²",
    "한국 \u1112\u1161\u11ab",
    "1️⃣ ❤️ 👨‍👩‍👧 🇩🇪",
    "a\x00b \x01\x7f c\u00add",
    "a\u200bb\ufeff \u2581 ▁x",
    "´a´b´",
    "lone \ud800 surrogate",
    "[CLS] <pad> [MASK] <unk>",
    "ﷺ",
    "``quoted''",
    "e\u0301\u0323 cafe\u0301",
]


class Golden(NamedTuple):
    text: str
    pieces: list[str]
    ids: list[int]


@pytest.fixture(scope="session")
def golden_lines(litebert_data: Path) -> list[Golden]:
    file = litebert_data.parent / "golden" / "tokenizer.jsonl"
    if not file.is_file():
        pytest.skip(f"{file.name} is not beside LITEBERT_DATA: it holds what the original computes")
    with file.open(encoding="utf-8") as lines:
        return [Golden(**json.loads(line)) for line in lines]


def original_preprocess(text: str, lower: bool) -> str:
    """Normalize as `preprocess_text` of the original does, step by step."""
    text = " ".join(text.strip().split())
    text = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return text.lower() if lower else text


def original_pieces(processor: Any, text: str) -> list[str]:
    """Segment as `encode_pieces` of the original does, step by step."""
    result: list[str] = []
    for piece in processor.encode(text, out_type=str):
        if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit():
            again = processor.encode(piece[:-1].replace("▁", ""), out_type=str)
            if piece[0] != "▁" and again[0][0] == "▁":
                if len(again[0]) == 1:
                    again = again[1:]
                else:
                    again[0] = again[0][1:]
            result += [*again, piece[-1]]
        else:
            result.append(piece)
    return result


def texts_with_surprises() -> st.SearchStrategy[str]:
    """Texts of words, numbers with commas, spaces of all kinds, and any character at all."""
    words = st.sampled_from(
        ["the", "Import", "naïve", "it’s", "1,", "10,000,", "2,5,", "(x)", "…", "“a”", "½", "e\u0301"]
    )
    spaces = st.sampled_from([" ", "  ", "\n", "\t", "\u00a0", "\u200b", "\v", ""])
    surprises = st.text(st.characters(exclude_categories=()), max_size=4)  # lone surrogates too
    return st.lists(st.one_of(words, spaces, surprises), max_size=12).map("".join)


def test_golden_lines_all_of_them(original: Tokenizer, golden_lines: list[Golden]) -> None:
    assert len(golden_lines) == 1530
    texts = [line.text for line in golden_lines]
    for line, encoding in zip(golden_lines, original.encode_batch(texts, special_tokens=False), strict=True):
        assert (encoding.pieces, encoding.ids) == (line.pieces, line.ids), line.text
    assert original.encode_ids(texts) == [line.ids for line in golden_lines]


def test_fast_ids_are_those_of_the_original_code(tokenizer: Tokenizer, prose: list[str]) -> None:
    assert isinstance(tokenizer, SentencePieceTokenizer)
    processor = sentencepiece.SentencePieceProcessor(model_proto=pickle_model(tokenizer))
    texts = prose + [text for text in TRICKY if "\ud800" not in text]
    for text, ids in zip(texts, tokenizer.encode_ids(texts), strict=True):
        pieces = original_pieces(processor, original_preprocess(text, lower=True))
        assert ids == [tokenizer.piece_to_id(piece) for piece in pieces], text


def pickle_model(tokenizer: SentencePieceTokenizer) -> bytes:
    model = tokenizer.__reduce__()[1][0]
    assert isinstance(model, bytes)
    return model


def test_every_piece_that_is_split_keeps_its_characters(tokenizer: Tokenizer) -> None:
    assert isinstance(tokenizer, SentencePieceTokenizer)
    split = [piece for piece in tokenizer._pieces if len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()]
    assert split
    for piece in split:
        assert "".join(tokenizer._split(piece)) == piece


@given(text=texts_with_surprises())
def test_normalization_is_the_originals(text: str) -> None:
    scalar = text.encode("utf-8", "replace").decode()
    for lower in (True, False):
        assert Normalization(lower=lower)(scalar) == original_preprocess(scalar, lower)


@given(text=texts_with_surprises(), lower=st.booleans(), keep_accents=st.booleans())
def test_lengths_add_up_to_the_normalized_text(text: str, lower: bool, keep_accents: bool) -> None:
    normalization = Normalization(lower, keep_accents)
    lengths = normalization.lengths(text)
    assert lengths.shape == (len(text),)
    assert lengths.sum() == len(normalization(text))


@pytest.mark.parametrize("lower", [True, False])
def test_quick_normalization_of_every_character(lower: bool) -> None:
    """Between letters, at their end, and by itself, as small letters may depend on their neighbours."""
    normalization = Normalization(lower=lower)
    every = map(chr, range(0x80, 0x110000))
    changing = [c for c in every if c.isspace() or c.lower() != c or unicodedata.normalize("NFKD", c) != c]
    assert len(changing) > 15_000
    for character in changing:
        for text in ("a{}b", "a{} b", "{}"):
            given = text.format(character)
            both = (normalization.quick(given).decode(), normalization(given))
            quick, full = (re.sub(" +", " ", one).strip(" ") for one in both)  # as sentencepiece does
            assert quick == full, (hex(ord(character)), text)


@given(text=texts_with_surprises())
def test_quick_normalization_gives_the_same_ids(text: str, small: Tokenizer) -> None:
    assert isinstance(small, SentencePieceTokenizer)
    quick, full = small.normalization.quick(text), small.normalization(text)
    assert small._processor.encode(quick) == small._processor.encode(full)


def test_batches_single_texts_flat_ids_and_threads_agree(tokenizer: Tokenizer, prose: list[str]) -> None:
    texts = [*TRICKY, *prose[:300], "x" * 40_000, *TRICKY]
    ids = tokenizer.encode_ids(texts)
    assert ids == tokenizer.encode_ids(texts, threads=2)
    assert ids == [encoding.ids for encoding in tokenizer.encode_batch(texts, special_tokens=False, threads=2)]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]
    flat, lengths = tokenizer.encode_flat(texts)
    assert flat.tolist() == [i for of_text in ids for i in of_text]
    assert lengths.tolist() == [len(of_text) for of_text in ids]
    assert tokenizer.encode_ids([]) == tokenizer.encode_batch([]) == []
    assert tokenizer.encode_flat([])[0].shape == (0,)


@given(texts=st.lists(texts_with_surprises(), max_size=6))
def test_fast_encodings_equal_slow_ones(texts: list[str], small: Tokenizer) -> None:
    assert isinstance(small, SentencePieceTokenizer)
    assert small.encode_batch(texts, special_tokens=False) == [small._encode_any(text) for text in texts]


def test_most_texts_take_the_fast_path(small: Tokenizer, prose: list[str]) -> None:
    assert isinstance(small, SentencePieceTokenizer)
    plain = small._aligner.select(prose).plain
    assert sum(plain) > 0.95 * len(prose)
    spans = small._aligner.spans(small._aligner.select(prose), *small.encode_flat(prose))
    assert spans is not None or not all(plain)


def test_no_character_called_plain_is_ever_composed(small: Tokenizer) -> None:
    """Every rule of the model's normalization for more than one character involves one that is not plain."""
    assert isinstance(small, SentencePieceTokenizer)
    normalizer = sentencepiece.SentencePieceNormalizer(model_proto=pickle_model(small))
    small._aligner.select(["".join(map(chr, range(0x20, 0xD800))) + "".join(map(chr, range(0xE000, 0x20000)))])
    plain = {chr(code) for code in np.flatnonzero(small._aligner._kinds >= 3).tolist()}
    assert "a" in plain
    assert "—" in plain
    results = {small.normalization(char) for char in plain}
    for rule, _ in normalizer.Decompile():
        assert len(rule) == 1 or not all(char in results for char in rule), rule


def test_special_pieces_segments_and_lists(small: Tokenizer) -> None:
    encoding = small.encode("The first text.", "And a second,")
    separators = [at for at, i in enumerate(encoding.ids) if i == small.sep_id]
    assert encoding.ids[0] == small.cls_id
    assert separators == [encoding.segment_ids.index(1) - 1, len(encoding.ids) - 1]
    assert encoding.special == [at in (0, *separators) for at in range(len(encoding.ids))]
    assert sorted(encoding.segment_ids) == encoding.segment_ids
    assert all(type(column) is list and len(column) == len(encoding.ids) for column in encoding)
    assert all(type(value) is int for value in (*encoding.ids, *encoding.segment_ids))
    assert all(type(value) is bool for value in (*encoding.word_starts, *encoding.special))
    assert encoding.word_starts == small.word_start_table[encoding.ids].tolist()
    bare = small.encode("The first text.", "And a second,", special_tokens=False)
    assert bare.ids == [i for i, special in zip(encoding.ids, encoding.special, strict=True) if not special]
    assert small.encode("").pieces == ["[CLS]", "[SEP]"]
    assert small.encode("", "").segment_ids == [0, 0, 1]
    assert not small.special_ids.intersection(small.encode("[CLS] [SEP] [MASK] <pad>", special_tokens=False).ids) - {
        small.unk_id
    }


@pytest.mark.parametrize(
    ("piece", "starts"),
    [
        *((piece, True) for piece in ("▁the", "▁", ",", "'", "'s", "5%", "é", "<unk>", "£", "–")),
        *((piece, False) for piece in ("ing", "ING", "...", "st.")),
    ],
)
def test_word_starts_as_in_the_original(piece: str, starts: bool) -> None:
    assert is_word_start(piece) is starts


def test_tables_of_the_vocabulary(tokenizer: Tokenizer) -> None:
    assert tokenizer.word_start_table.shape == (tokenizer.vocab_size,)
    assert tokenizer.word_start_table.dtype == bool
    names = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
    assert [tokenizer.piece_to_id(name) for name in names] == [0, 1, 2, 3, 4]
    assert tokenizer.special_ids == {0, 1, 2, 3, 4}
    assert tokenizer.word_start_table[list(tokenizer.special_ids)].all()
    assert [tokenizer.id_to_piece(i) for i in range(5, 13)] == ["(", ")", '"', "-", ".", "–", "£", "€"]
    assert tokenizer.piece_to_id("no such piece") == tokenizer.unk_id
    for i in (-1, tokenizer.vocab_size):
        with pytest.raises(TokenizerError, match="no piece has number"):
            tokenizer.id_to_piece(i)
        with pytest.raises(TokenizerError, match="no piece has number"):
            tokenizer.decode([i])


def test_decoding_gives_the_normalized_text(tokenizer: Tokenizer, prose: list[str]) -> None:
    for text in prose[-50:]:
        if tokenizer.unk_id not in (encoding := tokenizer.encode(text)).ids:
            assert tokenizer.decode(encoding.ids) == tokenizer.normalize(text)
    assert tokenizer.decode([tokenizer.cls_id, tokenizer.mask_id, tokenizer.sep_id]) == ""


def test_saved_and_pickled_tokenizers_are_the_same(small: Tokenizer, tmp_path: Path, prose: list[str]) -> None:
    for name in ("one", "two"):
        small.save(tmp_path / name)
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert files == ["spiece.model", "tokenizer.json", "tokenizer_config.json"]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
        assert str(tmp_path).encode() not in (tmp_path / "one" / file).read_bytes()
    for other in (load_tokenizer(tmp_path / "one"), pickle.loads(pickle.dumps(small))):
        assert other.fingerprint == small.fingerprint
        assert other.encode_ids(prose[:20]) == small.encode_ids(prose[:20])
    bare = load_tokenizer(tmp_path / "one" / "spiece.model")
    assert bare.lower
    assert bare.fingerprint == small.fingerprint


def test_settings_of_a_folder_are_part_of_the_fingerprint(small_folder: Path, small: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes((small_folder / "spiece.model").read_bytes())
    assert load_tokenizer(tmp_path).fingerprint == small.fingerprint
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "keep_accents": true}')
    cased = load_tokenizer(str(tmp_path))
    assert not cased.lower
    assert cased.fingerprint != small.fingerprint
    assert cased.encode("Über", special_tokens=False).pieces[-1] != small.encode("Über").pieces[-1]
    assert cased.normalize("  Über  uns ") == "Über uns"
    cased.save(tmp_path / "again")
    assert load_tokenizer(tmp_path / "again").fingerprint == cased.fingerprint


def bad_places(folder: Path, good: bytes) -> Iterator[tuple[Path, str]]:
    yield folder / "missing", "no such file or folder"
    (folder / "empty").mkdir()
    yield folder / "empty", "neither spiece.model nor tokenizer.json"
    for name, content in {
        "junk": b"\x00\xff" * 500,
        "text": b"This is a text file, and no model.\n",
        "nothing": b"",
        "half": good[: len(good) // 2],
    }.items():
        (folder / f"{name}.model").write_bytes(content)
        yield folder / f"{name}.model", "no sentencepiece model, or a damaged one"
    (folder / "config").mkdir()
    (folder / "config" / "spiece.model").write_bytes(good)
    (folder / "config" / "tokenizer_config.json").write_text("[1, 2")
    yield folder / "config", "no readable JSON object"
    (folder / "kind").mkdir()
    (folder / "kind" / "spiece.model").write_bytes(good)
    (folder / "kind" / "tokenizer_config.json").write_text('{"do_lower_case": "yes"}')
    yield folder / "kind", "must be true or false"


def test_bad_places_are_one_line_with_a_way_out(small_folder: Path, tmp_path: Path) -> None:
    for place, reason in bad_places(tmp_path, (small_folder / "spiece.model").read_bytes()):
        with pytest.raises(TokenizerError, match=reason) as caught:
            load_tokenizer(place)
        assert str(caught.value).startswith(str(place))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "lacks <pad> .CLS. .SEP. .MASK."),
        ({"model_type": "bpe"}, "a BPE model"),
        ({"byte_fallback": True, "vocab_size": 400}, "byte_fallback"),
        ({"add_dummy_prefix": False}, "add_dummy_prefix=false"),
    ],
)
def test_models_of_another_kind_are_refused(
    settings: dict[str, Any], reason: str, prose: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "other.model"
    with file.open("wb") as writer:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(prose[:300]), model_writer=writer, minloglevel=2, **{"vocab_size": 200, **settings}
        )
    with pytest.raises(TokenizerError, match=reason) as caught:
        load_tokenizer(file)
    assert "litebert tokenizer train" in str(caught.value)


def test_a_vocabulary_without_a_comma_or_with_other_rules_is_still_exact(prose: list[str], tmp_path: Path) -> None:
    """Where the fast path's conditions do not hold, the slow one takes over."""
    words = [text.replace(",", " ") for text in prose[:300]]
    with (tmp_path / "rules.tsv").open("w") as rules:
        rules.write("61 62\t78\n")  # "ab" becomes "x"
    for name, settings in {"comma": {}, "rules": {"normalization_rule_tsv": str(tmp_path / "rules.tsv")}}.items():
        file = tmp_path / f"{name}.model"
        with file.open("wb") as writer:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(words), model_writer=writer, minloglevel=2, vocab_size=300,
                pad_id=3, bos_id=-1, eos_id=-1, control_symbols=["[CLS]", "[SEP]", "[MASK]"], **settings,
            )  # fmt: skip
        other = load_tokenizer(file)
        assert isinstance(other, SentencePieceTokenizer)
        assert not other._aligner.usable
        processor = sentencepiece.SentencePieceProcessor(model_file=str(file))
        for text in ["A table, 1,2,3, x³, ", *prose[-3:]]:
            encoding = other.encode(text, special_tokens=False)
            assert encoding.pieces == original_pieces(processor, original_preprocess(text, lower=True))
            assert encoding.ids == other.encode_ids([text])[0] == other.encode_flat([text])[0].tolist()


def test_a_long_line_is_no_trouble(small: Tokenizer) -> None:
    line = "A line of ten megabytes, without an end, 1,000, times.  " * (10_000_000 // 56)
    encoding = small.encode(line)
    assert encoding.offsets[-2] == (len(line) - 3, len(line) - 2)
