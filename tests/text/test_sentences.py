"""The sentence splitter: hard cases by hand, promises about spans on any text, and annotated real text."""

import json
import lzma
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litebert.text import sentences as rules
from litebert.text.sentences import split_sentences

CASES = [
    line.rstrip("\n")
    for line in Path(__file__).with_name("sentences.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]

NASTY = ".!?… \n\r\t\"'”’()[]-—aAbBI1 Mr.U.S.e.g.。？؟\u2028\x1c\x85\xa0\ud800"
texts = st.one_of(
    st.text(),
    st.text(alphabet=NASTY),
    st.lists(st.sampled_from([*NASTY, ". ", '. " ', "Mr. ", "The ", "...", " . ", '?" ', "I said "])).map("".join),
)


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


def test_there_are_a_hundred_cases() -> None:
    assert len(CASES) >= 100


@pytest.mark.parametrize("case", CASES)
def test_hard_case(case: str) -> None:
    expected = [part.strip() for part in case.split("||")]
    assert sentences(case.replace(" ||", "").replace("||", "")) == expected


@given(texts)
def test_spans_are_ordered_and_cover_everything_but_white_space(text: str) -> None:
    spans = split_sentences(text)
    place = 0
    for start, end in spans:
        assert place <= start < end <= len(text)
        assert not text[place:start].strip()
        assert text[start:end] == text[start:end].strip()
        place = end
    assert not text[place:].strip()


@given(st.lists(texts, max_size=3))
def test_a_line_break_always_ends_a_sentence(lines: list[str]) -> None:
    lines = [" ".join(line.split()) for line in lines]
    for line in sentences("\n".join(lines)):
        assert "\n" not in line


@given(st.lists(st.text(string.ascii_letters + " ,.", min_size=1), min_size=2, max_size=4))
def test_paragraphs_do_not_change_each_other(paragraphs: list[str]) -> None:
    apart = [sentence for paragraph in paragraphs for sentence in sentences(paragraph)]
    assert sentences("\n".join(paragraphs)) == apart


def test_words_of_seven_letters_may_be_taken_for_words() -> None:
    known = rules._BEFORE_NAMES | rules._BEFORE_NUMBERS | rules._EITHER
    assert max(map(len, known)) < 7


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\u2028 \t"])
def test_no_text_has_no_sentences(text: str) -> None:
    assert split_sentences(text) == []


@pytest.mark.parametrize("piece", ['He came . " ', "A. ", "... ", "\n", " ", "x", '!" I said '])
def test_long_monotonous_text_takes_linear_time(piece: str) -> None:
    text = piece * 100_000  # quadratic work on this would take hours
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


def test_annotated_text_of_many_genres(litebert_data: Path) -> None:
    """About one sentence stands on a line; line ends without a mark cannot be found and are not asked for."""
    found = right = wanted = 0
    with lzma.open(litebert_data / "corpus" / "masc.jsonl.xz", "rt", encoding="utf-8") as file:
        rows = list(file)
    for row in rows:
        lines = [line.strip() for line in json.loads(row)["text"].split("\n") if line.strip()]
        ends, asked, place = set(), set(), -1
        for line in lines:
            place += len(line) + 1
            ends.add(place)
            if line.rstrip("\"'”’)] ").endswith((".", "!", "?")):
                asked.add(place)
        spans = {end for _, end in split_sentences(" ".join(lines))} - {place}
        found += len(spans)
        right += len(spans & ends)
        wanted += len(asked - {place})
    assert right / found > 0.92
    assert right / wanted > 0.92
