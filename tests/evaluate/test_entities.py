"""Entities by conlleval's rules: every scheme, broken tags, and counts against a second way to count."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litebert.evaluate.entities import Chunk, chunks, entity_metrics, parse_tag, tags_of, violations


def spans(tags: str) -> list[tuple[int, int, str]]:
    return [tuple(chunk) for chunk in chunks(tags.split())]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O O O", []),
        ("B-X I-X O", [(0, 2, "X")]),
        ("I-X I-X O I-X", [(0, 2, "X"), (3, 4, "X")]),  # IOB1, or IOB2 with its beginnings lost
        ("I-X B-X I-X", [(0, 1, "X"), (1, 3, "X")]),
        ("B-X B-X", [(0, 1, "X"), (1, 2, "X")]),
        ("B-X I-Y I-Y", [(0, 1, "X"), (1, 3, "Y")]),  # another label begins another entity
        ("S-X B-X I-X E-X S-Y", [(0, 1, "X"), (1, 4, "X"), (4, 5, "Y")]),
        ("B-X E-X I-X", [(0, 2, "X"), (2, 3, "X")]),
        ("E-X E-X", [(0, 1, "X"), (1, 2, "X")]),
        ("S-X I-X", [(0, 1, "X"), (1, 2, "X")]),
        ("B-X I-X E-Y", [(0, 2, "X"), (2, 3, "Y")]),
        ("U-X B-X L-X", [(0, 1, "X"), (1, 3, "X")]),  # BILOU
        ("B-a-b I-a-b", [(0, 2, "a-b")]),
        ("O I-X", [(1, 2, "X")]),
    ],
)
def test_chunks(tags: str, expected: list[tuple[int, int, str]]) -> None:
    assert spans(tags) == expected


@pytest.mark.parametrize("tag", ["PER", "B-", "X-PER", "-PER", "", "B PER"])
def test_what_is_no_tag(tag: str) -> None:
    assert parse_tag(tag) is None
    with pytest.raises(ValueError, match="no tag"):
        chunks([tag])


@st.composite
def sentences(draw: st.DrawFn) -> tuple[int, list[Chunk]]:
    """A sentence's length and entities that do not overlap."""
    length = draw(st.integers(0, 12))
    cuts = sorted(draw(st.sets(st.integers(0, length))))
    found = []
    for start, end in itertools.pairwise(cuts):
        if draw(st.booleans()):
            found.append(Chunk(start, end, draw(st.sampled_from("XY"))))
    return length, found


@given(sentences(), st.sampled_from(["IOB1", "IOB2", "IOBES"]))
def test_every_scheme_there_and_back(sentence: tuple[int, list[Chunk]], scheme: str) -> None:
    length, found = sentence
    tags = tags_of(found, length, scheme)  # type: ignore[arg-type]
    assert chunks(tags) == found
    assert not list(violations([tags], scheme))  # type: ignore[arg-type]


def test_violations_are_told_by_place() -> None:
    sentences_ = [["B-X", "I-X"], ["O", "I-X", "B-X"]]
    assert list(violations(sentences_, "IOB2")) == [(1, 1)]
    assert list(violations(sentences_, "IOB1")) == [(0, 0)]
    assert len(list(violations(sentences_, "IOBES"))) == 3


def test_scores_by_hand() -> None:
    gold = [[Chunk(0, 2, "X"), Chunk(3, 4, "Y")], [Chunk(0, 1, "X")], []]
    predicted = [[Chunk(0, 2, "X"), Chunk(3, 4, "X")], [Chunk(0, 2, "X")], [Chunk(5, 6, "Z")]]
    metrics = entity_metrics(gold, predicted)
    assert (metrics["precision"], metrics["recall"]) == (1 / 4, 1 / 3)
    assert metrics["f1"] == pytest.approx(2 / 7)
    assert (metrics["X_precision"], metrics["X_recall"], metrics["X_f1"]) == (1 / 3, 1 / 2, 0.4)
    assert (metrics["Y_precision"], metrics["Y_recall"], metrics["Y_f1"]) == (0, 0, 0)
    assert (metrics["Z_precision"], metrics["Z_entities"]) == (0, 0)
    assert metrics["macro_f1"] == pytest.approx(0.2), "the mean over the labels that there are"
    assert (metrics["entities"], metrics["predicted_entities"]) == (3, 4)


def test_a_label_does_not_hide_a_metric() -> None:
    metrics = entity_metrics([[Chunk(0, 1, "macro"), Chunk(1, 2, "P")]], [[Chunk(0, 1, "macro")]])
    assert metrics["macro_f1"] == 0.5
    assert (metrics["macro_entities"], metrics["P_f1"]) == (1, 0)


def test_nothing_and_everything() -> None:
    gold = [[Chunk(0, 1, "X")]]
    assert entity_metrics(gold, gold)["f1"] == 1
    assert entity_metrics(gold, [[]])["f1"] == 0
    assert entity_metrics([[]], [[]])["f1"] == 0, "as in conlleval: there was nothing to find"


@given(st.lists(st.tuples(sentences(), sentences()), max_size=5))
def test_against_sklearn_on_every_possible_span(pairs: list[tuple[tuple[int, list[Chunk]], ...]]) -> None:
    """A span of a label is a yes-or-no question: micro scores over all of them are the entity scores."""
    from sklearn.metrics import precision_recall_fscore_support

    gold, predicted = [p[0][1] for p in pairs], [p[1][1] for p in pairs]
    questions = [
        (row, Chunk(start, end, label))
        for row in range(len(pairs))
        for start in range(12)
        for end in range(start + 1, 13)
        for label in "XY"
    ]
    if not questions:
        return
    truth = [span in gold[row] for row, span in questions]
    given_ = [span in predicted[row] for row, span in questions]
    expected = precision_recall_fscore_support(truth, given_, labels=[True], average="macro", zero_division=0.0)
    metrics = entity_metrics(gold, predicted)
    assert [metrics[name] for name in ("precision", "recall", "f1")] == pytest.approx(list(expected[:3]))


def table_chunks(tags: tuple[str, ...]) -> list[Chunk]:
    """By conlleval's table: which tag after which ends an entity, and which begins one."""
    ends = {*itertools.product("ES", "BIESO"), *itertools.product("BI", "BSO")}
    begins = {*itertools.product("BIESO", "BS"), *itertools.product("ESO", "EI")}
    found, start, before, label = [], 0, "O", ""
    for at, tag in enumerate((*tags, "O")):
        now, _, kind = tag.partition("-")
        if before != "O" and ((before, now) in ends or kind != label):
            found.append(Chunk(start, at, label))
        if now != "O" and ((before, now) in begins or kind != label):
            start = at
        before, label = now, kind
    return found


def test_every_sequence_of_four_tags_by_conllevals_table() -> None:
    tags = ["O", *(f"{prefix}-{label}" for prefix in "BIES" for label in "XY")]
    for sequence in itertools.product(tags, repeat=4):
        assert chunks(sequence) == table_chunks(sequence), sequence
