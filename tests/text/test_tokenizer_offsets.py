"""Every piece is found in the text as the user wrote it: `text[start:end]`, normalized, is the piece."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from litebert.text.alignment import SpanTuples
from litebert.text.interface import Encoding
from litebert.text.tokenizer import Tokenizer

SURPRISES = "".join(
    [
        '½…ﬁ™①Ǆ²ﷺ㍿ΣσςİßŁÅé´`"“”,1',
        "\u0301\u0323\u00a0\u2003\u200b\u200d\ufeff\ufe0f\u00ad\u0000\u0001\u2581 \n\t",
        "한\u1112\u1161\u11abが\u3099ｶﾞＡ１，😀👍🏽🇩🇪",
    ]
)


def groups(encoding: Encoding) -> list[list[int]]:
    """Indices of the pieces with something in them; those that share a character of the text stand together."""
    found: list[list[int]] = []
    reach = 0
    for i, (piece, (start, end)) in enumerate(zip(encoding.pieces, encoding.offsets, strict=True)):
        if piece == "▁":
            continue
        if found and start < reach:
            found[-1].append(i)
        else:
            found.append([i])
        reach = max(reach, end)
    return found


def check(tokenizer: Tokenizer, text: str, encoding: Encoding) -> None:
    """Assert all that offsets promise.

    A piece by itself: its characters, normalized, are the piece without its mark. Pieces that share a character of
    the text, because that character becomes several: all they cover, normalized, is those pieces joined.
    The one letter whose lower case depends on its neighbours, sigma, may come out in its other form.
    """

    def fold(string: str) -> str:
        return string.replace("ς", "σ")

    assert "".join(encoding.pieces).replace("▁", " ").strip() == tokenizer.normalize(text)
    for start, end in encoding.offsets:
        assert 0 <= start <= end <= len(text)
    assert sorted(start for start, _ in encoding.offsets) == [start for start, _ in encoding.offsets]
    ends = [end for piece, (_, end) in zip(encoding.pieces, encoding.offsets, strict=True) if piece != "▁"]
    assert sorted(ends) == ends
    for group in groups(encoding):
        pieces = "".join(encoding.pieces[i] for i in range(group[0], group[-1] + 1))
        start, end = encoding.offsets[group[0]][0], encoding.offsets[group[-1]][1]
        assert fold(tokenizer.normalize(text[start:end])) == fold(pieces.replace("▁", " ").strip()), (text, pieces)
        assert not text[start].isspace()
        assert not text[end - 1].isspace()
        if len(group) == 1:
            assert fold(tokenizer.normalize(text[start:end])) == fold(pieces.removeprefix("▁"))
    for piece, (start, end) in zip(encoding.pieces, encoding.offsets, strict=True):
        assert (start == end) == (piece == "▁")


def check_all(tokenizer: Tokenizer, texts: list[str]) -> None:
    for text, encoding in zip(texts, tokenizer.encode_batch(texts, special_tokens=False), strict=True):
        check(tokenizer, text, encoding)


def test_golden_texts(original: Tokenizer, litebert_data: Path) -> None:
    file = litebert_data.parent / "golden" / "tokenizer.jsonl"
    if not file.is_file():
        pytest.skip(f"{file.name} is not beside LITEBERT_DATA: it holds tricky texts")
    with file.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    check_all(original, texts)
    check_all(original, [text.upper().replace(" ", " \t\u00a0") for text in texts])


def test_prose_and_its_variations(tokenizer: Tokenizer, prose: list[str]) -> None:
    check_all(tokenizer, prose[-300:])
    for change in (str.upper, str.title, lambda text: text.replace("a", "a\u0308").replace("e", "é")):
        check_all(tokenizer, [change(text) for text in prose[-200:]])


@given(text=st.text(st.one_of(st.sampled_from(SURPRISES), st.sampled_from("abe ,."), st.characters()), max_size=25))
@example(text="e\u0301\u0301\u0301x")
@example(text="1½½,1,")
@example(text="x´y")
@example(text="▁a▁")
@example(text="\u200b…\u200b")
def test_any_text(text: str, small: Tokenizer) -> None:
    check(small, text, small.encode(text, special_tokens=False))


@pytest.mark.parametrize("keep_accents", [True, False])
@given(text=st.text(st.sampled_from(SURPRISES + "abc ÄÖ"), max_size=25))
def test_any_text_of_cased_vocabularies(text: str, keep_accents: bool, cased: dict[bool, Tokenizer]) -> None:
    check(cased[keep_accents], text, cased[keep_accents].encode(text, special_tokens=False))


@pytest.fixture(scope="module")
def cased(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Tokenizer]:
    from litebert.text.training import train_tokenizer

    return {
        keep: train_tokenizer(
            prose[:500] + prose[-3:], tmp_path_factory.mktemp("cased"), vocab_size=600, lower=False, keep_accents=keep
        )
        for keep in (True, False)
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  The   café ", [(2, 5), (8, 12)]),
        ("THE CAFÉ", [(0, 3), (4, 8)]),
        ("the cafe\u0301", [(0, 3), (4, 9)]),
        ("ｔｈｅ\u3000ｃａｆｅ", [(0, 3), (4, 8)]),
    ],
)
def test_spans_that_a_reader_expects(text: str, expected: list[tuple[int, int]], small: Tokenizer) -> None:
    encoding = small.encode(text, special_tokens=False)
    words: list[tuple[int, int]] = []
    for piece, (start, end) in zip(encoding.pieces, encoding.offsets, strict=True):
        if piece.startswith("▁"):
            words.append((start, end))
        else:
            words[-1] = (words[-1][0], end)
    assert words == expected


def test_pieces_of_one_character_span_all_of_it(small: Tokenizer) -> None:
    encoding = small.encode("a ½…", special_tokens=False)
    assert encoding.pieces[-4:] == ["2", ".", ".", "."]
    assert encoding.offsets[-4:] == [(2, 3), (3, 4), (3, 4), (3, 4)]


def test_offsets_of_a_pair_are_those_of_each_text(small: Tokenizer) -> None:
    first, second = "  The first, ½", "und  Zürich."
    pair = small.encode(first, second)
    for text, segment in ((first, 0), (second, 1)):
        alone = small.encode(text, special_tokens=False)
        rows = zip(pair.pieces, pair.offsets, pair.segment_ids, pair.special, strict=True)
        assert [(p, o) for p, o, s, special in rows if s == segment and not special] == list(
            zip(alone.pieces, alone.offsets, strict=True)
        )
    assert [o for o, special in zip(pair.offsets, pair.special, strict=True) if special] == [(0, 0)] * 3


def test_span_tuples_equal_zipped_lists() -> None:
    generator = np.random.default_rng(0)
    starts = generator.integers(0, 50, 1000)
    ends = starts + generator.integers(0, 9, 1000)
    tuples = SpanTuples(longest_start=30, longest=5)(starts, ends).tolist()
    assert tuples == list(zip(starts.tolist(), ends.tolist(), strict=True))
    assert all(type(end) is int for _, end in tuples)
