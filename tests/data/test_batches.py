"""Pairs, masks and batches, on real text and real ids: every promised property by statistics or by reconstruction."""

import itertools
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from litebert.data.batches import (
    BatchStream,
    DataSettings,
    PretrainBatch,
    SpecialIds,
    StreamState,
    WindowSource,
    concatenate,
    held_out_batches,
    micro_batches,
)
from litebert.data.masking import MaskSettings, choose
from litebert.data.pairs import (
    NO_LABEL,
    Objective,
    PairSettings,
    Samples,
    Text,
    _cut,
    _cut_lengths,
    cut_blocks,
    draw_spans,
    join_texts,
    make_samples,
    read_text,
)
from litebert.data.shards import Shard, open_corpus
from litebert.errors import ConfigError
from litebert.text.tokenizer import Tokenizer
from tests.processes import alive

SETTINGS = DataSettings(batch_size=16, pairs=PairSettings(length=64))


@pytest.fixture(scope="module")
def source(prepared: Path, tokenizer: Tokenizer) -> WindowSource:
    return WindowSource({prepared: 1.0}, SpecialIds.of(tokenizer), SETTINGS, seed=5)


def samples_of(source: WindowSource, **pairs: object) -> Samples:
    """All sequences of the corpus, unmasked."""
    settings = replace(source.settings.pairs, **pairs)
    shards, blocks = source.splits[0].shards, source.blocks[0]
    rng = np.random.default_rng(3)
    return make_samples(read_text(shards, blocks), settings, source.special.cls_id, source.special.sep_id, rng)


def sequences(samples: Samples) -> list[tuple[list[int], list[int], int]]:
    """Segments A and B of every sequence, without special tokens, and its label."""
    found = []
    for (start, stop), label in zip(pairwise(samples.cu_seqlens), samples.labels, strict=True):
        ids, segments = samples.input_ids[start:stop], samples.segment_ids[start:stop]
        text = samples.text[start:stop]
        a, b = ids[text & (segments == 0)], ids[text & (segments == 1)]
        found.append((a.tolist(), b.tolist(), int(label)))
    return found


def documents(source: WindowSource) -> list[np.ndarray]:
    """The tokens of every training document."""
    found = []
    for shard in source.splits[0].shards:
        sentence_ends = np.concatenate(([0], shard.sentence_ends))
        for first, stop in pairwise(np.concatenate(([0], shard.document_ends))):
            found.append(np.asarray(shard.tokens[sentence_ends[first] : sentence_ends[stop]]))
    return found


def places(needle: list[int], text: str) -> list[int]:
    """Where a run of tokens stands in a document written by `as_text`."""
    pattern, found, at = "".join(map(chr, needle)), [], -1
    while (at := text.find(pattern, at + 1)) >= 0:
        found.append(at)
    return found


def as_text(ids: np.ndarray) -> str:
    return "".join(map(chr, ids.tolist()))


# --- pairs -------------------------------------------------------------------------------------------------------


def test_layout_is_cls_a_sep_b_sep(source: WindowSource) -> None:
    samples = samples_of(source)
    cls, sep = source.special.cls_id, source.special.sep_id
    for start, stop in islice(pairwise(samples.cu_seqlens), 500):
        ids, segments = samples.input_ids[start:stop], samples.segment_ids[start:stop]
        assert stop - start <= 64
        assert ids[0] == cls
        assert ids[-1] == sep
        special = ~samples.text[start:stop]
        assert ids[special].tolist() == [cls, sep, sep][: special.sum()]
        assert segments.tolist() == sorted(segments.tolist())
        assert (ids[segments == 0][-1], segments[-1]) == (sep, special.sum() - 2)


def test_order_pairs_are_neighbours_of_one_document_and_labelled_by_their_order(source: WindowSource) -> None:
    texts = [as_text(document) for document in documents(source)]
    checked = Counter()
    for a, b, label in sequences(samples_of(source))[::7]:
        if label == NO_LABEL:
            assert b == []
            continue
        first, second = (a, b) if label == 0 else (b, a)
        near = False
        for text in texts:
            for at in places(first, text):
                for then in places(second, text):
                    gap = then - (at + len(first))
                    near |= 0 <= gap <= 3 * max(64, len(first) + len(second))
        assert near, (a, b, label)
        checked[label] += 1
    assert min(checked[0], checked[1]) > 100


def test_half_of_the_order_pairs_are_swapped(source: WindowSource) -> None:
    labels = samples_of(source).labels
    labelled = labels[labels != NO_LABEL]
    assert len(labelled) / len(labels) > 0.8
    assert abs((labelled == 1).mean() - 0.5) < 4 * 0.5 / len(labelled) ** 0.5


def test_cuts_do_not_tell_the_order(source: WindowSource, tokenizer: Tokenizer) -> None:
    """Whether a segment begins in the middle of a word must be independent of the label."""
    found = [(a, b, label) for a, b, label in sequences(samples_of(source)) if label != NO_LABEL]
    for position in (0, 1):
        torn = {
            label: np.mean([not tokenizer.word_start_table[s[position][0]] for s in found if s[2] == label])
            for label in (0, 1)
        }
        assert abs(torn[0] - torn[1]) < 4 * 0.5 / (len(found) / 2) ** 0.5


def test_lengths_do_not_tell_the_order() -> None:
    """A sentence that fills a sequence up, or that a block is cut through, is longer than others: it must not always
    stand at the same end."""
    rng = np.random.default_rng(7)
    ends = np.cumsum(3 + rng.geometric(1 / 15, 160_000))
    shard = Shard(np.zeros(ends[-1], np.uint16), ends.astype(np.int32), np.arange(100, len(ends) + 1, 100, np.int32))
    text = read_text([shard], cut_blocks([shard], 512))
    spans = draw_spans(text, PairSettings(length=64), rng)
    a_start, a_stop, b_start, b_stop, label = spans[spans[:, 4] != NO_LABEL].T
    assert (np.where(label == 0, b_start - a_stop, a_start - b_stop) >= 0).all()
    longer_first = (a_stop - a_start) - (b_stop - b_start)
    unequal = longer_first != 0
    swapped = ((longer_first > 0) == (label == 1))[unequal]
    assert len(swapped) > 25_000
    assert abs(swapped.mean() - 0.5) < 4 * 0.5 / len(swapped) ** 0.5


@pytest.mark.parametrize("objective", ["sentence_order", "next_sentence", "none", "comparison"])
def test_sentences_longer_than_a_sequence_are_read_whole(objective: Objective) -> None:
    """As in scripts without full stops, in transcripts and in tables."""
    sizes = [5, 7, 100, 4, 3, 6, 61, 62, 63, 5, 200]
    ends = np.cumsum(sizes).tolist()
    text = Text(np.arange(ends[-1]), ends, [0, 8], [0, 1])
    settings = PairSettings(length=64, objective=objective, short=0.0)
    spans = draw_spans(text, settings, np.random.default_rng(0))
    for size, end in zip(sizes, ends, strict=True):
        if size > 62:
            inside = sorted((a, b) for a, b, c, d, label in spans.tolist() if end - size <= a and b <= end and c == d)
            assert [a for a, _ in inside] == [end - size, *(b for _, b in inside[:-1])], "one after the other"
            assert inside[-1][1] == end
            assert max(b - a for a, b in inside) - min(b - a for a, b in inside) <= 1
    lengths = spans[:, 1] - spans[:, 0] + spans[:, 3] - spans[:, 2]
    assert (lengths + np.where(spans[:, 3] > spans[:, 2], 3, 2)).max() <= 64
    labelled = spans[spans[:, 4] != NO_LABEL]
    assert (len(labelled) > 0) == (objective in ("sentence_order", "next_sentence"))


def test_next_sentence_pairs_are_random_half_of_the_time(source: WindowSource) -> None:
    texts = [as_text(document) for document in documents(source)]
    found = sequences(samples_of(source, objective="next_sentence"))
    labels = np.array([label for *_, label in found])
    assert abs((labels[labels != NO_LABEL] == 1).mean() - 0.5) < 0.05
    together = Counter()
    for a, b, label in found[::5]:
        if label != NO_LABEL and len(a) > 12 and len(b) > 12:
            same = any(places(a, text) and places(b, text) for text in texts)
            together[label, same] += 1
    assert together[0, False] == 0
    assert together[1, True] < 0.1 * together[1, False]


def test_objective_none_has_one_segment(source: WindowSource) -> None:
    samples = samples_of(source, objective="none")
    assert not samples.segment_ids.any()
    assert (samples.labels == NO_LABEL).all()
    assert np.diff(samples.cu_seqlens).max() <= 64


def test_share_of_short_sequences(source: WindowSource) -> None:
    full = (np.diff(samples_of(source, short=0.0).cu_seqlens) > 60).mean()
    mixed = (np.diff(samples_of(source, short=0.3).cu_seqlens) > 60).mean()
    expected = full * (0.7 + 0.3 * 3 / 60)
    assert abs(mixed - expected) < 0.06
    short = np.diff(samples_of(source, short=1.0).cu_seqlens)
    assert short.mean() < 0.8 * np.diff(samples_of(source, short=0.0).cu_seqlens).mean()


def test_spread_lengths_share_the_tokens_by_octaves(source: WindowSource) -> None:
    pairs = PairSettings(length=64, objective="none", spread=True)
    samples = samples_of(source, objective="none", spread=True)
    sizes = np.diff(samples.cu_seqlens)
    assert sizes.max() <= 64
    assert 0.85 < sizes.mean() / pairs.mean_length < 1.05  # some texts end before their cut
    octaves = [sizes[(sizes >= low) & (sizes < 2 * low)].sum() / sizes.sum() for low in (8, 16, 32)]
    assert min(octaves) > 0.2
    # Either end may be cut: not every sequence begins where a sentence does.
    starts = {tuple(ids[:4]) for ids, _, _ in sequences(samples_of(source, objective="none", short=0.0))}
    begins = np.mean([tuple(ids[:4]) in starts for ids, _, _ in sequences(samples) if len(ids) < 12])
    assert begins < 0.7


def test_texts_to_compare_are_alone_alike_or_strangers(source: WindowSource) -> None:
    pairs = PairSettings(length=64, objective="comparison")
    samples = samples_of(source, objective="comparison")
    sizes = np.diff(samples.cu_seqlens)
    assert sizes.max() <= 64
    assert 0.8 < sizes.mean() / pairs.mean_length < 1.05
    assert (samples.labels == NO_LABEL).all()
    found = sequences(samples)
    assert abs(np.mean([not b for _, b, _ in found]) - pairs.single) < 4 * 0.5 / len(found) ** 0.5
    texts = [as_text(document) for document in documents(source)]
    kinds = Counter[str]()
    for a, b, _ in found[::5]:
        if len(b) < 8 or len(a) < 8:
            continue
        spots = [(x, y) for text in texts for x in places(a, text) for y in places(b, text)]
        if any(x < y + len(b) and y < x + len(a) for x, y in spots):
            kinds["overlapping"] += 1
        else:
            kinds["near" if spots else "strangers"] += 1
    shares = {kind: count / kinds.total() for kind, count in kinds.items()}
    assert 0.2 < shares["overlapping"] < 0.45
    assert 0.35 < shares["near"] < 0.65
    assert 0.08 < shares["strangers"] < 0.3


def test_lengths_are_drawn_as_they_are_said_to_be() -> None:
    for pairs in (
        PairSettings(length=64, objective="none", spread=True),
        PairSettings(length=64, objective="comparison", single=0.3),
    ):
        assert pairs.lengths.shape == (65,)
        assert pairs.lengths.sum() == pytest.approx(1)
        assert pairs.share_longer(64) == 0
        assert pairs.share_longer(7) == pytest.approx(1)
    room, draws = 30, np.random.default_rng(1).random(100_000)
    counted = np.bincount([_cut(chance, room) for chance in draws], minlength=room + 1) / len(draws)
    assert np.abs(counted - _cut_lengths(room)).max() < 0.01


@pytest.mark.parametrize("objective", ["none", "comparison"])
def test_steps_of_drawn_lengths_have_room(prepared: Path, tokenizer: Tokenizer, objective: Objective) -> None:
    settings = DataSettings(batch_size=16, pairs=PairSettings(length=64, objective=objective, spread=True))
    spread = WindowSource({prepared: 1.0}, SpecialIds.of(tokenizer), settings, seed=5)
    batches = list(islice(BatchStream(spread), 20))
    assert np.mean([batch.num_tokens / settings.token_budget for batch in batches]) > 0.9
    for parts in (1, 3):
        bands = settings.bands(parts)
        assert [length for _, length in bands] == [64, 32, 16][: 3 if objective == "none" else 2]
        limits = np.repeat([length for _, length in bands], [count for count, _ in bands])
        for batch in batches:
            for part in micro_batches(batch, settings, tokenizer.pad_id, parts):
                assert (np.diff(part.cu_seqlens) <= limits).all()


def test_lengths_that_are_not_spread_lie_in_no_bands() -> None:
    assert SETTINGS.bands(1) == ()


def test_blocks_hold_every_sentence_once_and_never_two_documents(source: WindowSource) -> None:
    shards = source.splits[0].shards
    blocks = cut_blocks(shards, 200)
    for number, shard in enumerate(shards):
        mine = [(f, s, d) for n, f, s, d in zip(*blocks, strict=True) if n == number]
        assert [f for f, _, _ in mine] == [0, *(s for _, s, _ in mine[:-1])]
        assert mine[-1][1] == len(shard.sentence_ends)
        owner = np.searchsorted(shard.document_ends, np.arange(len(shard.sentence_ends)), side="right")
        assert all(len(set(owner[f:s])) == 1 for f, s, _ in mine)


# --- masks -------------------------------------------------------------------------------------------------------


def spans(source: WindowSource, settings: MaskSettings, seed: int = 0) -> tuple[Samples, np.ndarray]:
    samples = samples_of(source)
    starts = source.special.vocabulary.word_starts
    return samples, choose(samples, starts, settings, np.random.default_rng(seed))


@pytest.mark.parametrize("unit", ["ngram", "word", "token"])
@pytest.mark.parametrize("share", [0.15, 0.4])
def test_every_token_is_chosen_with_equal_probability(source: WindowSource, unit: str, share: float) -> None:
    counts = None
    for seed in range(20):
        samples, positions = spans(source, MaskSettings(share=share, unit=unit), seed)  # type: ignore[arg-type]
        counts = np.zeros(len(samples.input_ids)) if counts is None else counts
        counts[positions] += 1
        assert np.all(samples.text[positions])
        assert len(np.unique(positions)) == len(positions)
    rate = counts[samples.text] / 20
    error = 4 * (share * 3 / rate.size / 20) ** 0.5
    assert abs(rate.mean() - share) < error
    # The same at the start of a sequence as in its middle, and for first as for later pieces of words.
    place = np.arange(len(samples.text)) - np.repeat(samples.cu_seqlens[:-1], np.diff(samples.cu_seqlens))
    for group in (place < 8, (place >= 20) & (place < 40), source.special.vocabulary.word_starts[samples.input_ids]):
        assert abs((counts / 20)[samples.text & group].mean() - share) < 0.1 * share


def test_words_are_masked_whole(source: WindowSource) -> None:
    samples, positions = spans(source, MaskSettings())
    chosen = np.zeros(len(samples.input_ids), dtype=bool)
    chosen[positions] = True
    inside = ~source.special.vocabulary.word_starts[samples.input_ids] & samples.text
    inside[1:] &= samples.text[:-1]  # the first token of a segment begins a word whatever it is
    inside[0] = False
    later = np.flatnonzero(inside)
    assert len(later) > 1000
    assert (chosen[later] == chosen[later - 1]).all()
    torn = spans(source, MaskSettings(unit="token"))[1]
    chosen[:] = False
    chosen[torn] = True
    assert (chosen[later] != chosen[later - 1]).mean() > 0.1


def test_ngrams_have_probability_proportional_to_1_over_n(source: WindowSource) -> None:
    """Counted where a span is not touched by another one, at a share so small that this hardly ever happens."""
    lengths: Counter[int] = Counter()
    starts = source.special.vocabulary.word_starts
    for seed in range(40):
        samples, positions = spans(source, MaskSettings(share=0.01), seed)
        text_before = np.concatenate(([False], samples.text[:-1]))
        begins = starts[samples.input_ids] | ~text_before
        for run in np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1):
            lengths[int(begins[run].sum())] += 1
    total = sum(lengths[n] for n in (1, 2, 3))
    assert total > 3000
    assert sum(lengths.values()) - total < 0.03 * total
    for n, expected in ((1, 6 / 11), (2, 3 / 11), (3, 2 / 11)):
        assert abs(lengths[n] / total - expected) < 0.03, lengths


def test_80_10_10_and_replacements_from_the_vocabulary(source: WindowSource, tokenizer: Tokenizer) -> None:
    kept = masked = replaced = 0
    drawn: Counter[int] = Counter()
    for number in range(30):
        samples, hidden = source.window(number)
        shown, true = hidden.input_ids[hidden.positions], samples.input_ids[hidden.positions]
        assert (true == hidden.targets).all()
        untouched = np.ones(len(shown_all := hidden.input_ids), dtype=bool)
        untouched[hidden.positions] = False
        assert (shown_all[untouched] == samples.input_ids[untouched]).all()
        kept += int((shown == true).sum())
        masked += int((shown == tokenizer.mask_id).sum())
        other = (shown != true) & (shown != tokenizer.mask_id)
        replaced += int(other.sum())
        drawn.update(shown[other].tolist())
    total = kept + masked + replaced
    assert abs(masked / total - 0.8) < 0.01
    assert abs(kept / total - 0.1) < 0.01
    assert abs(replaced / total - 0.1) < 0.01
    assert not set(drawn) & tokenizer.special_ids
    expected = replaced / (tokenizer.vocab_size - len(tokenizer.special_ids))
    assert len(drawn) > 0.9 * (1 - np.exp(-expected)) * tokenizer.vocab_size
    assert max(drawn.values()) < expected + 8 * expected**0.5 + 8


# --- the stream --------------------------------------------------------------------------------------------------


def equal(one: PretrainBatch, other: PretrainBatch) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_steps_fill_their_budget_and_fit(source: WindowSource) -> None:
    for batch in islice(BatchStream(source), 30):
        sizes = np.diff(batch.cu_seqlens)
        assert batch.num_tokens <= SETTINGS.token_budget
        assert len(sizes) <= SETTINGS.sequence_slots
        assert batch.num_tokens > SETTINGS.token_budget - 64 or len(sizes) == SETTINGS.sequence_slots
        assert (batch.position_ids == np.concatenate([np.arange(n) for n in sizes])).all()
        assert (batch.masked_labels >= 0).all()


def test_an_epoch_reads_every_block_once_and_differs_from_the_next(source: WindowSource) -> None:
    windows = int(np.ceil(source.windows_per_epoch()))
    for epoch in range(2):
        read = Counter()
        for number in range(epoch * windows, (epoch + 1) * windows):
            for blocks in source._window_blocks(number):
                read.update(zip(blocks.shard.tolist(), blocks.first.tolist(), strict=True))
        assert set(read.values()) == {1}
        assert len(read) == len(source.blocks[0].first)
    orders = [source._order(0, epoch).tolist() for epoch in range(3)]
    blocks = list(range(len(source.blocks[0].first)))
    assert all(sorted(order) == blocks for order in orders)
    assert blocks not in orders
    assert orders[0] != orders[1] != orders[2]


def test_equal_blocks_are_cut_and_masked_otherwise_in_another_window(
    source: WindowSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = source._window_blocks(0)
    monkeypatch.setattr(WindowSource, "_window_blocks", lambda self, number: blocks)
    (first, masked), (again, otherwise) = source.window(0), source.window(1)
    assert first.cu_seqlens.tolist() != again.cu_seqlens.tolist()
    assert masked.input_ids.tolist() != otherwise.input_ids.tolist()
    assert source.window(0)[1].input_ids.tolist() == masked.input_ids.tolist()


def test_texts_of_several_folders_keep_their_sentences_and_documents() -> None:
    one = Text(np.arange(6), [2, 4, 6], [0, 2], [0, 1])
    other = Text(np.arange(10, 15), [1, 5], [0, 1], [0, 3])
    both = join_texts([one, other])
    assert both.tokens.tolist() == [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14]
    assert (both.ends, both.first) == ([2, 4, 6, 7, 11], [0, 2, 3, 4])
    assert len(set(both.document)) == 4
    assert join_texts([one]) is one


def test_skipped_windows_are_left_out(source: WindowSource) -> None:
    whole = list(islice(BatchStream(source, StreamState(1, 0)), 5))
    assert all(map(equal, whole, islice(BatchStream(source, skipped=frozenset({0})), 5)))


def test_the_stream_goes_on_from_its_state_bit_by_bit(source: WindowSource) -> None:
    whole = list(islice(BatchStream(source), 25))
    stream = BatchStream(source)
    for _ in islice(stream, 10):
        pass
    later = list(islice(BatchStream(source, stream.state), 15))
    assert all(equal(a, b) for a, b in zip(whole[10:], later, strict=True))
    assert stream.state != StreamState()


def test_any_number_of_workers_gives_the_same(prepared: Path, tokenizer: Tokenizer, source: WindowSource) -> None:
    alone = list(islice(BatchStream(source), 12))
    helped = WindowSource({prepared: 1.0}, SpecialIds.of(tokenizer), replace(SETTINGS, workers=2), seed=5)
    stream = iter(BatchStream(helped))
    assert all(equal(a, b) for a, b in zip(alone, islice(stream, 12), strict=True))
    stream.close()  # type: ignore[attr-defined]


WORKERS = """
import multiprocessing, sys, time
from pathlib import Path
from litebert.data.batches import BatchStream, DataSettings, SpecialIds, WindowSource
from litebert.text.tokenizer import load_tokenizer

if __name__ == "__main__":
    tokenizer = load_tokenizer(Path(sys.argv[1]) / "tokenizer")
    settings = DataSettings(batch_size=16, workers=2)
    source = WindowSource({Path(sys.argv[1]): 1.0}, SpecialIds.of(tokenizer), settings, seed=5)
    for batch in BatchStream(source):
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        time.sleep(600)
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_workers_end_with_a_run_that_is_killed(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(WORKERS)
    process = subprocess.Popen([sys.executable, tmp_path / "run.py", prepared], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    workers = [int(pid) for pid in process.stdout.readline().split()]
    process.kill()
    process.communicate()
    limit = time.monotonic() + 60
    while any(map(alive, workers)):
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert len(workers) == 2


def test_seeds_differ(prepared: Path, tokenizer: Tokenizer, source: WindowSource) -> None:
    other = WindowSource({prepared: 1.0}, SpecialIds.of(tokenizer), SETTINGS, seed=6)
    assert not equal(next(iter(BatchStream(source))), next(iter(BatchStream(other))))


def test_weights_of_folders(prepared: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    link = tmp_path / "twin"
    link.symlink_to(prepared)
    both = WindowSource({prepared: 3.0, link: 1.0}, SpecialIds.of(tokenizer), SETTINGS, seed=5)
    taken = np.array([[len(b.first) for b in both._window_blocks(n)] for n in range(10)]).sum(axis=0)
    assert abs(taken[0] / taken.sum() - 0.75) < 0.01
    orders = [[both._order(folder, epoch).tolist() for epoch in range(2)] for folder in range(2)]
    assert orders[0][0] != orders[0][1] != orders[1][1]
    read = Counter()  # the first epoch of the heavier folder, whatever windows it ends in
    for number in itertools.count():
        chosen = both._window_blocks(number)[0]
        read.update(list(zip(chosen.shard.tolist(), chosen.first.tolist(), strict=True)))
        if read.total() >= len(both.blocks[0].first):
            break
    assert len(read) == len(both.blocks[0].first)


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_micro_batches_divide_a_step(source: WindowSource, parts: int) -> None:
    shapes = set()
    for batch in islice(BatchStream(source), 20):
        divided = micro_batches(batch, SETTINGS, 0, parts)
        shapes |= {tuple(values.shape for values in part[:7]) for part in divided}
        back = concatenate([unpadded(part) for part in divided])
        assert sorted(rows(back)) == sorted(rows(batch))
    assert len(shapes) == 1  # compiled once


def unpadded(batch: PretrainBatch) -> PretrainBatch:
    count, used = batch.num_tokens, int((np.diff(batch.cu_seqlens) > 0).sum())
    some = batch.masked_labels != NO_LABEL
    return PretrainBatch(
        *(values[:count] for values in batch[:3]),
        batch.cu_seqlens[: used + 1],
        batch.masked_positions[some],
        batch.masked_labels[some],
        batch.order_labels[:used],
    )


def rows(batch: PretrainBatch) -> list[tuple[object, ...]]:
    """Every sequence with all that belongs to it."""
    found = []
    for i, (start, stop) in enumerate(pairwise(batch.cu_seqlens.tolist())):
        mine = (batch.masked_positions >= start) & (batch.masked_positions < stop)
        found.append(
            (
                tuple(batch.input_ids[start:stop].tolist()),
                tuple(batch.token_type_ids[start:stop].tolist()),
                tuple((batch.masked_positions[mine] - start).tolist()),
                tuple(batch.masked_labels[mine].tolist()),
                int(batch.order_labels[i]),
            )
        )
    return found


def test_held_out_batches_are_the_same_each_time(prepared: Path, tokenizer: Tokenizer) -> None:
    source = WindowSource({prepared: 1.0}, SpecialIds.of(tokenizer), SETTINGS, 0, "held_out")
    one, two = (list(held_out_batches(source, 5000)) for _ in range(2))
    assert all(equal(a, b) for a, b in zip(one, two, strict=True))
    assert sum(batch.num_tokens for batch in one) >= 5000


def test_settings_that_cannot_work_are_refused() -> None:
    for wrong in (
        lambda: PairSettings(length=4),
        lambda: PairSettings(spread=True),
        lambda: MaskSettings(share=1.5),
        lambda: MaskSettings(keep=0.7, replace=0.7),
        lambda: DataSettings(batch_size=0),
        lambda: DataSettings(batch_size=2, micro_batches=3),
    ):
        with pytest.raises(ConfigError):
            wrong()


def test_corpus_is_what_the_stream_says(prepared: Path) -> None:
    corpus = open_corpus(prepared, verify=True)
    assert corpus.split("train").num_tokens > 50_000
