"""Perturbed texts: what they come to, and what holds for any text and seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litebert.text.perturb import PERTURBATIONS, negations, paraphrase, perturb, synonym, typos
from litebert.text.variants import KEYBOARD, NEGATION, OPENINGS, PHRASES, spellings, synonyms

WORDS = st.sampled_from(
    [
        *("the", "a", "an", "is", "not", "never", "don't", "isn’t", "note", "knot", "nine", "nothing", "Nobody", "NOT"),
        *("color", "Colour", "THEATER", "organisation's", "huge", "enormous", "often", "children", "@color", "movie"),
        *("www.color.com", "there is", "There are", "some people who", "can", "I am", "i'm", "I’m", "please tell"),
        *(
            "Could you",
            "despite",
            "cannot",
            "without",
            "none",
            "nor",
            "noon",
            "note.",
            "didn't,",
            "n't",
            "\n",
            "?!",
            "é",
        ),
        *("naïve", "ß", "ı", "K", "日本"),
    ]
)
SENTENCES = st.lists(WORDS, max_size=30).map(" ".join)
TEXTS = st.one_of(SENTENCES, st.text())
NAMES = st.sampled_from(sorted(PERTURBATIONS))


@given(NAMES, TEXTS, st.integers(0, 3), st.integers(0, 99))
def test_what_holds_for_any_text(name: str, text: str, seed: int, row: int) -> None:
    made = perturb(name, text, seed, row)
    assert made == perturb(name, text, seed, row), "a function of text and seed"
    assert bool(made.strip()) == bool(text.strip())
    assert negations(made) == negations(text), made


@given(SENTENCES, st.integers(0, 999))
def test_heavy_typing_keeps_negations(text: str, seed: int) -> None:
    made = typos(text, np.random.default_rng(seed), rate=1.0)
    assert negations(made) == negations(text), made
    assert made.split()[:1] == [] or made.split()[0][0] == text.split()[0][0], "the first letter stays"
    assert len(made.split()) == len(text.split())


@given(SENTENCES)
def test_spellings_are_inverse(text: str) -> None:
    there = perturb("british", text, 1)
    here = perturb("american", there, 1)
    assert here == perturb("american", text, 1), "nothing is lost on the way"
    assert perturb("british", here, 1) == there
    assert perturb("british", there, 1) == there


def test_tables_of_spellings_are_inverse() -> None:
    to_british, to_american = spellings()
    assert len(to_british) == len(to_american) > 1200
    assert not set(to_british) & set(to_american), "no word is on both sides"
    for word, other in to_british.items():
        assert to_american[other] == word
        assert word.islower()
        assert (word + other).isalpha()
        for one, there in ((word, "british"), (word.capitalize(), "british"), (word.upper(), "british")):
            made = perturb(there, one, 1)
            assert made.lower() == other
            assert perturb("american", made, 1) == one


def test_no_entry_touches_a_negation() -> None:
    tables = (*spellings(), synonyms(), PHRASES, OPENINGS)
    for table in tables:
        for one, other in table.items():
            assert not NEGATION.search(f"{one} {other}"), one
            assert one != other


def test_synonyms_are_words_of_one_letter_case() -> None:
    for word, other in synonyms().items():
        assert (word + other).isalpha()
        assert (word + other).islower()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("lower", "The END", "the end"),
        ("upper", "The end", "THE END"),
        ("british", "Color, behavior and ORGANIZATION!", "Colour, behaviour and ORGANISATION!"),
        ("british", "the organization's theater", "the organisation's theatre"),
        ("american", "A grey-coloured Theatre", "A gray-colored Theater"),
        ("british", "www.color.com, #color, @center, color2, eColor", "www.color.com, #color, @center, color2, eColor"),
        ("british", "humoral story of a practice check", "humoral story of a practice check"),
        ("synonyms", "The movie was huge fun.", "The film was enormous fun."),
        ("synonyms", "a huge movie, an entire day", "a huge film, an entire day"),
        ("synonyms", "Movie was not boring", "Movie was not tedious"),
        ("paraphrase", "I'm sure they’re here.", "I am sure they are here."),
        ("paraphrase", "I am sure. As I am, I will.", "I'm sure. As I am, I will."),
        ("paraphrase", "i am sure", "i'm sure"),
        ("paraphrase", "I AM SURE", "I'M SURE"),
        ("paraphrase", "There is a man who can sing.", "A man can sing."),
        ("paraphrase", "there are people who are kind", "people are kind"),
        ("paraphrase", "There is nobody who can sing", "Nobody can sing"),
        ("paraphrase", "There's no way. There is hope.", "There is no way. There's hope."),
        ("paraphrase", "please set a timer", "could you please set a timer"),
        ("paraphrase", "Could you please set a timer", "Can you please set a timer"),
        ("paraphrase", "Please don't go", "Please don't go"),
        ("paraphrase", "Would you believe it?", "Would you believe it?"),
        ("paraphrase", "He isn't able to, she is able to.", "He isn't able to, she can."),
        ("paraphrase", "i'd like to pay, and not for example to owe", "i want to pay, and not for instance to owe"),
    ],
)  # fmt: skip
def test_by_hand(name: str, text: str, expected: str) -> None:
    assert perturb(name, text, 1, 7) == expected


def test_negations_are_counted() -> None:
    assert negations("I do not know; she doesn't, he didn’t, they did n't and CANNOT.") == 5
    assert negations("a note on knots, noon and nothingness") == 0


def test_the_rate_of_typos() -> None:
    """Statistics of many words: a tenth of those of four letters or more, by all three ways."""
    text = " ".join(["wonderful", "cat", "doesn't", "never"] * 4000)
    words, made = text.split(), perturb("typos", text, 1).split()
    changed = [(a, b) for a, b in zip(words, made, strict=True) if a != b]
    assert {a for a, _ in changed} == {"wonderful"}
    assert len(changed) / 4000 == pytest.approx(0.1, abs=0.02)
    dropped = sum(len(b) < len(a) for a, b in changed)
    exchanged = sum(sorted(a) == sorted(b) for a, b in changed)
    replaced = len(changed) - dropped - exchanged
    assert min(dropped, exchanged, replaced) / len(changed) > 0.25
    for a, b in changed:
        if len(a) == len(b) and sorted(a) != sorted(b):
            (old, new), = [(x, y) for x, y in zip(a, b, strict=True) if x != y]  # fmt: skip
            assert new in KEYBOARD[old]


def test_rates_and_seeds() -> None:
    text = "the movie is huge, often. " * 200
    half = synonym(text, np.random.default_rng(1), rate=0.5)
    assert half.count("film") / 200 == pytest.approx(0.5, abs=0.15)
    assert synonym(text, np.random.default_rng(1), rate=0.0) == text
    assert perturb("typos", text, 1, 2) != perturb("typos", text, 1, 3) != perturb("typos", text, 2, 3)
    many = "I'm here. " * 200
    assert paraphrase(many, np.random.default_rng(1), rate=0.5).count("I am") == pytest.approx(100, abs=25)


def test_keys_touch_each_other() -> None:
    assert sorted(KEYBOARD) == sorted("abcdefghijklmnopqrstuvwxyz")
    assert all(one in KEYBOARD[other] for one, others in KEYBOARD.items() for other in others)
