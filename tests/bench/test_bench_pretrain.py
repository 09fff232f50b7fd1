"""The race of pre-training: both sides read the same text, and the table says what was measured."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from litebert.bench.pretrain import bench_pretrain, padded, real_text, synthetic_text
from litebert.bench.race import matrix_ceiling
from litebert.data.batches import DataSettings
from litebert.data.pairs import NO_LABEL, PairSettings
from litebert.errors import ConfigError
from litebert.interop.huggingface import save_model
from litebert.model.config import preset
from litebert.model.heads import build_model

SETTINGS = DataSettings(batch_size=4, pairs=PairSettings(length=32))


def test_both_sides_read_the_same_synthetic_text() -> None:
    text = synthetic_text(preset("tiny"), SETTINGS)
    packed, rows = next(text.packed), next(text.padded)
    assert rows["attention_mask"].all()
    assert np.array_equal(rows["input_ids"].ravel(), packed.input_ids)
    assert np.array_equal(np.flatnonzero(rows["labels"].ravel() != NO_LABEL), packed.masked_positions)
    assert len(packed.masked_positions) == round(0.15 * packed.num_tokens)


def test_real_text_is_laid_out_in_rows(prepared: Path) -> None:
    text, fill = real_text(prepared, SETTINGS)
    rows = next(text.padded)
    batch = next(text.packed)
    count = int(batch.cu_seqlens[1])
    assert np.array_equal(rows["input_ids"][0][:count], batch.input_ids[:count])
    assert rows["attention_mask"][0].sum() == count
    assert rows["attention_mask"].shape == (4, 32)
    assert 0.5 < fill < 1
    whole = padded(batch, 32)
    assert whole["attention_mask"].sum() == batch.num_tokens
    assert (whole["labels"] != NO_LABEL).sum() == len(batch.masked_positions)


def test_the_table_has_a_line_for_each_system_and_text(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")

    def not_compiled(function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        return function

    monkeypatch.setattr(torch, "compile", not_compiled)
    result = bench_pretrain(
        model="tiny", length=32, batch_size=4, data=prepared, rounds=1, steps=1, device="cpu", eager=True
    )
    systems = ["litebert", "transformers, compiled", "transformers, eager"]
    expected = [(text, system) for text in ("full length", "real text") for system in systems]
    assert [(speed.text, speed.system) for speed in result.speeds] == expected
    for speed in result.speeds:
        assert speed.tokens_per_second > 0
        assert speed.ceiling_share == pytest.approx(speed.flops_per_second / result.ceiling)
    assert 0 < result.data_share < 1
    assert json.loads(json.dumps(result.to_dict()))["model"] == "tiny"
    assert result.summary().count("transformers, compiled") == 2


@pytest.mark.parametrize("kind", ["BertConfig", "MPNetConfig", "AlbertConfig"])
def test_folders_are_raced_beside_the_class_of_their_kind(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transformers = pytest.importorskip("transformers")
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    theirs = getattr(transformers, kind)(vocab_size=500, **shape)
    transformers.AutoModel.from_config(theirs).save_pretrained(tmp_path / "model")
    folder = tmp_path / "model"
    result = bench_pretrain(
        model=folder, length=16, batch_size=2, data=None, rounds=1, steps=1, device="cpu", eager=False
    )
    assert [speed.system for speed in result.speeds] == ["litebert", "transformers, compiled"]
    assert result.model == str(folder)


def test_a_folder_is_raced_on_text_of_its_own_tokenizer(prepared: Path, tmp_path: Path) -> None:
    save_model(build_model(preset("tiny", vocab_size=300)), tmp_path / "model")
    with pytest.raises(ConfigError, match=r"prepared with a vocabulary of 2,000 pieces, .* has 300; prepare it again"):
        bench_pretrain(
            model=tmp_path / "model",
            length=16,
            batch_size=2,
            data=prepared,
            rounds=1,
            steps=1,
            device="cpu",
            eager=False,
        )


def test_the_ceiling_is_a_speed() -> None:
    assert matrix_ceiling([(64, 64, 64)], torch.float32, torch.device("cpu")) > 1e6


def test_values_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected 1 or more"):
        bench_pretrain(model="tiny", length=32, batch_size=4, data=None, rounds=0, steps=1, device="cpu", eager=False)


def test_the_stream_is_that_of_training(prepared: Path) -> None:
    text, _ = real_text(prepared, SETTINGS)
    other, _ = real_text(prepared, SETTINGS)
    for one, two in zip(islice(text.packed, 3), islice(other.packed, 3), strict=True):
        assert np.array_equal(one.input_ids, two.input_ids)
