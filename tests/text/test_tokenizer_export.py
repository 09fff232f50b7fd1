"""`tokenizer.json` and its config give other libraries our ids; where they cannot, the reason is known."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from litebert.text.tokenizer import Tokenizer, load_tokenizer
from litebert.text.training import train_tokenizer

TRICKY = [
    "",
    "  many   spaces\t and\vtabs\x1c\n",
    "3.0 and 1.000.000; in 1990",
    "``quoted'' naïve café Ǆ ① ½ ﬁ … ™",
    "ＡＢＣ， １ 한국 \u1112\u1161\u11ab が\u3099",
    "ΟΔΟΣ ΟΣ Σ",
    "1️⃣ ❤️ 👨‍👩‍👧",
    "\u200ba\u200bb\u200b ´c´",
    "a\x01b\u00ad ▁c▁",
    "cafe\u0301",
]

NUMBER_AND_COMMA = re.compile(r"\d,")
"""Here the format can only come close: see the module under test."""


@pytest.fixture(scope="module")
def texts(prose: list[str]) -> list[str]:
    return [*TRICKY, *(text for text in prose if not NUMBER_AND_COMMA.search(text))]


@pytest.fixture(scope="module")
def opened(small_folder: Path) -> Any:
    return tokenizers.Tokenizer.from_file(str(small_folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def opened_ids(opened: Any) -> Callable[[str], list[int]]:
    """Encode without showing the whole vocabulary where a test reports its arguments."""
    return lambda text: opened.encode(text).ids


def test_tokenizers_gives_equal_ids(small: Tokenizer, opened: Any, texts: list[str]) -> None:
    pairs = zip(small.encode_batch(texts), opened.encode_batch(texts), strict=True)
    different = [ours.pieces for ours, theirs in pairs if ours.ids != theirs.ids]
    # Equally good segmentations may be decided otherwise: 64 bits there, 32 in sentencepiece.
    assert len(different) <= len(texts) // 1000, different


@given(text=st.text(st.sampled_from("ab,.é É½…Σ\u0301\u00a0\n\u200b\u2581“😀한"), max_size=20))
def test_tokenizers_gives_equal_ids_on_any_text(
    text: str, small: Tokenizer, opened_ids: Callable[[str], list[int]]
) -> None:
    assert opened_ids(text) == small.encode(text).ids


def test_no_piece_ends_in_a_number_and_a_comma(small: Tokenizer, opened: Any, prose: list[str]) -> None:
    numbered = [text for text in prose if NUMBER_AND_COMMA.search(text)]
    assert len(numbered) > 100
    for encoding in opened.encode_batch(numbered):
        assert not any(NUMBER_AND_COMMA.search(token[-2:]) for token in encoding.tokens)
        assert "," in encoding.tokens


def test_pairs_segments_and_special_pieces(small: Tokenizer, opened: Any) -> None:
    ours, theirs = small.encode("One text,", "and more"), opened.encode("One text,", "and more")
    assert (theirs.ids, theirs.type_ids) == (ours.ids, ours.segment_ids)
    assert theirs.special_tokens_mask == [int(special) for special in ours.special]
    assert opened.decode(ours.ids) == "one text, and more"


def test_what_follows_a_mask_without_a_space_has_no_word_mark(opened: Any) -> None:
    tokens = opened.encode("The [MASK] is[MASK]ing, [MASK].", add_special_tokens=False).tokens
    assert tokens[0] == "▁the"
    masks = [i for i, token in enumerate(tokens) if token.strip() == "[MASK]"]
    assert len(masks) == 3
    assert tokens[masks[0] + 1].startswith("▁is")
    assert not tokens[masks[1] + 1].startswith("▁")
    assert tokens[masks[2] + 1 :] == ["."]


def test_special_pieces_in_a_text_are_the_known_difference(small: Tokenizer, opened: Any) -> None:
    assert small.sep_id in opened.encode("a [SEP] b", add_special_tokens=False).ids
    assert small.sep_id not in small.encode("a [SEP] b", special_tokens=False).ids


@pytest.mark.parametrize("with_model", [True, False])
def test_transformers_opens_the_folder_as_it_is(
    with_model: bool, small: Tokenizer, texts: list[str], tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers comes with the extra [peers]")
    small.save(tmp_path)
    if with_model:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "albert"}))
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    for text in texts[:300]:
        ours, output = small.encode(text, "It, too."), theirs(text, "It, too.")
        assert (output["input_ids"], output["token_type_ids"]) == (ours.ids, ours.segment_ids)
    ids = (theirs.pad_token_id, theirs.unk_token_id, theirs.cls_token_id, theirs.sep_token_id, theirs.mask_token_id)
    assert ids == (small.pad_id, small.unk_id, small.cls_id, small.sep_id, small.mask_id)
    assert len(theirs) == small.vocab_size
    assert theirs.model_max_length == 512


@pytest.mark.parametrize("keep_accents", [True, False])
def test_cased_vocabularies(keep_accents: bool, prose: list[str], texts: list[str], tmp_path: Path) -> None:
    accented = [text.replace(",", "") for text in prose[-200:]]
    ours = train_tokenizer(accented, tmp_path, vocab_size=400, lower=False, keep_accents=keep_accents)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).fingerprint == ours.fingerprint
    for text in [*accented, *texts[:200]]:
        assert theirs.encode(text).ids == ours.encode(text).ids, text


def test_original_vocabulary_on_real_text(original: Tokenizer, prose: list[str], tmp_path: Path) -> None:
    original.save(tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    texts = [*TRICKY, *prose]
    pairs = zip(original.encode_batch(texts), theirs.encode_batch(texts), strict=True)
    assert sum(ours.ids != other.ids for ours, other in pairs) <= len(texts) // 1000
