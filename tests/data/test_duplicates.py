"""The compact set of digests against Python's own set."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from litebert.data.duplicates import DigestSet, text_digest

digests = st.one_of(st.integers(0, 20), st.integers(0, 2**64 - 1))


@given(st.lists(st.lists(digests)))
def test_the_same_are_new_as_in_a_set(batches: list[list[int]]) -> None:
    compact, plain = DigestSet(), set[int]()
    for batch in batches:
        expected = []
        for digest in batch:
            expected.append(digest not in plain)
            plain.add(digest)
        assert compact.add(np.array(batch, np.uint64)).tolist() == expected
        assert len(compact) == len(plain)
    if plain:
        assert (compact.smallest(), compact.largest()) == (min(plain), max(plain))


@given(st.lists(digests), st.lists(digests))
def test_a_restored_set_knows_what_the_first_knew(before: list[int], after: list[int]) -> None:
    first = DigestSet()
    first.add(np.array(before, np.uint64))
    second = DigestSet(np.array(before, np.uint64))
    batch = np.array(after, np.uint64)
    assert first.add(batch).tolist() == second.add(batch).tolist()


def test_a_digest_takes_eight_bytes() -> None:
    compact = DigestSet()
    rng = np.random.default_rng(1)
    for _ in range(100):
        compact.add(rng.integers(0, 2**64, 1000, np.uint64))
    assert sum(run.nbytes for run in compact._runs) == 8 * len(compact) == 800_000
    assert len(compact._runs) <= 17


def test_digests_are_the_same_on_every_machine_and_spread_evenly() -> None:
    assert text_digest(b"ALBERT") == 0xC2E52E7519752FB8
    spread = np.array([text_digest(str(i).encode()) for i in range(20_000)], np.float64) / 2**64
    assert abs(np.histogram(spread, 10, (0, 1))[0] - 2000).max() < 5 * 2000**0.5
