"""Sequences: nothing is cut, windows overlap, and a packed batch is what a list of sequences would be."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from litebert.data.examples import ExamplesBuilder, Items, encode_rows, pair_windows, windows, within_budget
from litebert.text.tokenizer import Tokenizer
from tests.labelled import ROWS

TEXTS = [row["text"] for row in ROWS]


@given(st.integers(0, 300), st.integers(1, 60), st.integers(0, 59))
def test_windows_cover_every_token(length: int, size: int, overlap: int) -> None:
    made = windows(length, size, min(overlap, size - 1))
    assert made[0].start == 0
    assert made[-1].end == length
    assert all(window.end - window.start == min(size, length) for window in made)
    for one, other in itertools.pairwise(made):
        assert one.start < other.start <= one.end - min(overlap, size - 1)


@given(st.integers(0, 200), st.integers(0, 200), st.integers(4, 60))
def test_pairs_fit_and_every_token_of_both_is_read(first: int, second: int, room: int) -> None:
    made = pair_windows(first, second, room)
    assert all(a.end - a.start + b.end - b.start <= room for a, b in made)
    assert {i for a, _ in made for i in range(a.start, a.end)} == set(range(first))
    assert {i for _, b in made for i in range(b.start, b.end)} == set(range(second))
    if first + second <= room:
        assert len(made) == 1


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 60))
def test_groups_keep_order_and_budget(lengths: list[int], budget: int) -> None:
    groups = [lengths[group] for group in within_budget(np.array(lengths, dtype=np.int64), budget)]
    assert [length for group in groups for length in group] == lengths
    assert all(sum(group) <= budget or len(group) == 1 for group in groups)


def test_sequences_are_those_of_the_tokenizer(tokenizer: Tokenizer) -> None:
    pairs = [*TEXTS[1:], None]
    examples = encode_rows(tokenizer, TEXTS, pairs, 512)
    assert examples.rows.tolist() == list(range(len(TEXTS)))
    assert examples.long_rows == 0
    batch = examples.batch(np.arange(len(TEXTS)))
    for i, (text, pair) in enumerate(zip(TEXTS, pairs, strict=True)):
        here = slice(batch.cu_seqlens[i], batch.cu_seqlens[i + 1])
        encoding = tokenizer.encode(text, pair)
        assert batch.input_ids[here].tolist() == encoding.ids
        assert batch.token_type_ids[here].tolist() == encoding.segment_ids
        assert batch.position_ids[here].tolist() == list(range(len(encoding.ids)))
    assert batch.max_length == examples.lengths.max()


def test_a_batch_is_what_pack_lists_makes(tokenizer: Tokenizer) -> None:
    from litebert.model.packed import pack_lists

    order = np.array([5, 0, 9])
    batch = encode_rows(tokenizer, TEXTS, None, 512).batch(order)
    packed = pack_lists([tokenizer.encode(TEXTS[i]).ids for i in order])
    for ours, theirs in zip(batch[:4], packed[:4], strict=True):
        assert ours.tolist() == theirs.tolist()
    assert batch.max_length == packed.max_length


def test_long_texts_become_windows_and_lose_nothing(tokenizer: Tokenizer) -> None:
    text = " ".join(TEXTS)
    ids = tokenizer.encode_ids([text])[0]
    examples = encode_rows(tokenizer, ["short", text, "short"], None, 32)
    assert examples.long_rows == 1
    assert examples.windows_per_row.tolist()[0] == 1
    assert examples.lengths.max() == 32
    read: dict[int, int] = {}
    for i in np.flatnonzero(examples.rows == 1):
        batch = examples.batch(np.array([i]))
        assert (batch.input_ids[0], batch.input_ids[-1]) == (tokenizer.cls_id, tokenizer.sep_id)
        begin = int(examples.windows[i, 0])
        read |= {begin + j: int(token) for j, token in enumerate(batch.input_ids[1:-1])}
    assert [read[i] for i in range(len(ids))] == ids


def test_items_keep_what_belongs_together(tokenizer: Tokenizer) -> None:
    texts = [" ".join(TEXTS), *TEXTS]
    examples = encode_rows(tokenizer, texts, None, 40)
    bounds = np.concatenate(([0], np.cumsum(examples.windows_per_row)))
    number = np.arange(len(texts))
    items = Items(
        examples=examples, groups=np.stack((bounds[:-1], bounds[1:]), 1), weights=number.astype(float), rows=number
    )
    order = np.array([3, 0, 5, 1])
    batches = list(items.batches(order, 60))
    rows = [list(dict.fromkeys(examples.rows[batch.sequences].tolist())) for batch in batches]
    assert [row for of_batch in rows for row in of_batch] == order.tolist(), "no row is divided"
    assert len(batches) > 1
    expected = [examples.lengths[examples.rows == row].max() for row in range(len(texts))]
    assert items.longest.tolist() == expected
    some = items.of_rows(np.array([0, 3, 8]))
    assert some.longest.tolist() == [expected[row] for row in (0, 3, 8)]
    assert (len(some), some.weights.tolist()) == (3, [0, 3, 8])
    assert [examples.rows[batch.sequences[0]] for batch in some.batches(np.arange(3), 1)] == [0, 3, 8]


def test_a_question_stands_whole_before_every_window(tokenizer: Tokenizer) -> None:
    builder = ExamplesBuilder(tokenizer.cls_id, tokenizer.sep_id, 32)
    question, context = list(range(100, 106)), list(range(200, 260))
    assert builder.add_question(question, context, stride=10) == 0
    assert builder.add_question(list(range(100, 150)), context, None) == 50 - 14, "half of the room"
    assert builder.add_question(list(range(100, 120)), [7, 8], None) == 0, "there is room for all of it"
    assert builder.add_question(list(range(100, 150)), [7, 8], None) == 50 - 27, "all but the two of the context"
    assert builder.add_question(question, [], 10) == 0
    examples = builder.build()
    seen = set[int]()
    for i in np.flatnonzero(examples.rows == 0):
        ids = examples.batch(np.array([i])).input_ids.tolist()
        assert ids[1:7] == question
        assert ids[8:-1] == context[examples.windows[i, 1] :][: len(ids) - 9]
        seen |= set(ids[8:-1])
    assert seen == set(context)
    assert examples.windows[:4, 1].tolist() == [0, 10, 20, 30]


def test_halves_of_surrogate_pairs_do_no_harm(tokenizer: Tokenizer) -> None:
    examples = encode_rows(tokenizer, ["a \ud800 b", ""], ["\udc00", None], 16)
    assert examples.lengths.tolist()[1] == 2
