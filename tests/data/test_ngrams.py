"""Numbers of n-grams against plain slicing of lists, and the mapped set of them against Python's own."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litebert.data import ngrams
from litebert.data.ngrams import NgramHasher, NgramSet, normal, write_ngrams


@pytest.fixture(scope="module")
def hasher() -> NgramHasher:
    return NgramHasher(3)


def plain(text: str, words: int = 3) -> list[tuple[int, tuple[str, ...]]]:
    """Line and words of every n-gram."""
    found = []
    for number, line in enumerate(normal(text).split("\n")):
        spelled = [re.sub(".", lambda c: c[0].lower()[0], word) for word in re.findall(r"[^\W_]+", line)]
        found += [(number, tuple(spelled[i : i + words])) for i in range(len(spelled) - words + 1)]
    return found


texts = st.text(st.one_of(st.sampled_from("aAb1 \n_-.'é"), st.characters(codec="utf-8")), max_size=60)


@given(texts)
def test_n_grams_are_those_of_plain_slicing(hasher: NgramHasher, text: str) -> None:
    expected = plain(text)
    text = normal(text)
    found = hasher.ngrams(text)
    assert found.lines.tolist() == [line for line, _ in expected]
    spans = [text[start:end] for start, end in zip(found.starts.tolist(), found.ends.tolist(), strict=True)]
    assert [words for span in spans for _, words in plain(span)] == [words for _, words in expected]
    known: dict[tuple[str, ...], int] = {}
    for number, (_, words) in zip(found.numbers.tolist(), expected, strict=True):
        assert known.setdefault(words, number) == number
    assert len(set(known.values())) == len(known)


@given(st.lists(st.sampled_from(["one", "Two", "three\nx", "\n", "y,", ""]), max_size=60))
def test_blocks_change_nothing(hasher: NgramHasher, words: list[str]) -> None:
    text = " ".join(words)
    whole = hasher.ngrams(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams, "BLOCK_CHARACTERS", 9)
        parts = hasher.ngrams(text)
    for one, other in zip(whole, parts, strict=True):
        assert one.tolist() == other.tolist()


def test_case_punctuation_and_spelling_of_letters_do_not_count(hasher: NgramHasher) -> None:
    same = ["It's a café", "IT S A CAFÉ", "(it) s — a_cafe\u0301!", "ｉｔ’s \t a café"]
    numbers = [hasher.ngrams(normal(text)).numbers.tolist() for text in same]
    assert all(row == numbers[0] for row in numbers)
    other = ["its a café", "its s a cafe", "s it a café", "it s, an café"]
    assert not {n for text in other for n in hasher.ngrams(normal(text)).numbers.tolist()} & set(numbers[0])


def test_numbers_are_the_same_on_every_machine_and_spread_evenly() -> None:
    assert NgramHasher().ngrams("a b c d e f g h i j k l").numbers.tolist() == [0x7A1507FC8BF2CC01]
    numbers = NgramHasher(2).ngrams(" ".join(map(str, range(40_001)))).numbers
    assert len(np.unique(numbers)) == 40_000
    for bits in (numbers >> np.uint64(60), numbers & np.uint64(15)):
        assert abs(np.bincount(bits.astype(int), minlength=16) - 2500).max() < 5 * 2500**0.5


def write(folder: Path, owners: list[list[int]], **facts: Any) -> NgramSet:
    folder.mkdir(exist_ok=True)
    spool = folder / "spool"
    np.array([number for numbers in owners for number in numbers], "<u8").tofile(spool)
    said = write_ngrams(folder, spool, [len(numbers) for numbers in owners], facts)
    assert said["ngrams"] == len({number for numbers in owners for number in numbers})
    return NgramSet(folder)


numbers = st.one_of(st.integers(0, 20), st.integers(0, 2**64 - 1), st.integers(2**64 - 20, 2**64 - 1))


@given(st.lists(st.lists(numbers), min_size=1).filter(any), st.lists(numbers))
def test_the_set_knows_what_a_dict_knows(
    tmp_path_factory: pytest.TempPathFactory, owners: list[list[int]], asked: list[int]
) -> None:
    first: dict[int, int] = {}
    for owner, given_numbers in enumerate(owners):
        for number in given_numbers:
            first.setdefault(number, owner)
    asked += owners[-1][:3]
    with_set = write(tmp_path_factory.mktemp("set"), owners)
    places, found = with_set.find(np.array(asked, np.uint64))
    assert places.tolist() == [place for place, number in enumerate(asked) if number in first]
    assert found.tolist() == [first[number] for number in asked if number in first]


def test_most_of_what_is_absent_is_known_from_the_filter(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    inside, outside = rng.integers(0, 2**64, (2, 100_000), np.uint64)
    known = write(tmp_path / "set", [inside.tolist()], name="made up")
    assert known.facts["name"] == "made up"
    assert known.find(inside)[0].tolist() == list(range(100_000))
    assert not len(known.find(outside)[0])
    set_bits = np.unpackbits(np.fromfile(tmp_path / "set" / "filter", np.uint8)).mean()
    assert 1 / 40 < set_bits < 1 / 16
