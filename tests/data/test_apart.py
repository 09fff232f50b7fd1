"""The segments of pairs, each by itself."""

from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from litebert.data.apart import bands_apart, paired, read_apart
from litebert.data.batches import BatchStream, DataSettings, SpecialIds, WindowSource, micro_batches
from litebert.data.pairs import PairSettings
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.text.tokenizer import load_tokenizer


@pytest.mark.parametrize("single", [0.0, 0.4, 1.0])
def test_every_segment_is_a_sequence_of_its_own(prepared: Path, single: float) -> None:
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    pairs = PairSettings(length=64, objective="comparison", single=single)
    settings = DataSettings(batch_size=8, pairs=pairs)
    source = WindowSource({prepared: 1.0}, SpecialIds.of(tokenizer), settings, seed=5)
    assert len(settings.bands(1)) > 1
    for batch in islice(BatchStream(source), 12):
        (padded,) = micro_batches(batch, settings, tokenizer.pad_id, 1)
        apart = read_apart(padded, tokenizer.pad_id)
        total, sequences = len(padded.input_ids), len(padded.cu_seqlens) - 1
        assert (len(apart.input_ids), len(apart.cu_seqlens)) == (total + sequences, 2 * sequences + 1)
        read = [apart.input_ids[start:end].tolist() for start, end in pairwise(apart.cu_seqlens)]
        has_second = paired(padded)
        assert has_second[: len(batch.order_labels)].mean() == pytest.approx(1 - single, abs=0.35)
        assert (apart.paired == has_second).all()
        expected = []
        for number, (start, end) in enumerate(pairwise(padded.cu_seqlens.tolist())):
            if start == end:
                assert not has_second[number]
                continue
            ids, segments = padded.input_ids[start:end], padded.token_type_ids[start:end]
            assert read[apart.first[number]] == ids[segments == 0].tolist()
            expected.append(ids[segments == 0].tolist())
            assert has_second[number] == (segments == 1).any()
            if has_second[number]:
                assert read[apart.second[number]] == [tokenizer.cls_id, *ids[segments == 1].tolist()]
                expected.append([tokenizer.cls_id, *ids[segments == 1].tolist()])
        sizes = np.diff(apart.cu_seqlens)
        assert (sizes == np.sort(sizes)[::-1]).all()
        assert sorted(ids for ids in read if ids) == sorted(expected)
        limits = [length for count, length in bands_apart(settings.bands(1)) for _ in range(count)]
        assert (sizes <= limits).all()
        used = padded.num_tokens
        assert (apart.input_ids[apart.matches[:used]] == padded.input_ids[:used]).all()
        places = [np.arange(end - start) for start, end in pairwise(apart.cu_seqlens)]
        assert (apart.position_ids[: apart.cu_seqlens[-1]] == np.concatenate(places)).all()
