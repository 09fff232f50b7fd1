"""The loss of a step: compiled or not, in one part or several, the same."""

from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from litebert.data.batches import BatchStream, DataSettings, PretrainBatch, SpecialIds, WindowSource, held_out_batches
from litebert.data.pairs import PairSettings
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.model.heads import AlbertWithHeads
from litebert.model.packed import Packed
from litebert.text.tokenizer import load_tokenizer
from litebert.train.objective import PretrainObjective
from litebert.train.parallel import World
from litebert.train.teaching import Lesson, Student, TeachingObjective, TeachingSettings
from tests.models import OWN_BLOCK, config_of, random_model

SETTINGS = DataSettings(batch_size=8, pairs=PairSettings(length=32))
BLOCKS = [{}, OWN_BLOCK | {"pooling": "mean"}]


@pytest.fixture(scope="module")
def batches(prepared: Path) -> list[PretrainBatch]:
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    source = WindowSource({prepared: 1.0}, SpecialIds.of(tokenizer), SETTINGS, 1)
    return list(islice(BatchStream(source), 2))


def step(model: AlbertWithHeads, batch: PretrainBatch, **options: float) -> tuple[dict[str, float], list[Tensor]]:
    model.zero_grad()
    metrics = PretrainObjective(model, SETTINGS, nullcontext, **options).backward(batch)()
    return metrics, [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("block", BLOCKS, ids=["post_norm", "pre_norm"])
def test_compiled_it_gives_the_same_losses_and_gradients(batches: list[PretrainBatch], block: dict[str, str]) -> None:
    """With the fast forms of gelu, bias and rotation that only compiled code uses."""
    model = random_model(config_of(vocab_size=2000, num_hidden_layers=1, **block)).train()
    compiled = PretrainObjective(model, SETTINGS, nullcontext, compiled=True)
    for batch in batches:
        expected, gradients = step(model, batch, compiled=False)
        model.zero_grad()
        found = compiled.backward(batch)()
        assert found == pytest.approx(expected, abs=1e-5)
        mine = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        for one, other in zip(gradients, mine, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_the_loss_is_the_sum_of_both(batches: list[PretrainBatch]) -> None:
    model = random_model(config_of(vocab_size=2000))
    metrics, gradients = step(model, batches[0], compiled=False)
    assert metrics["loss"] == pytest.approx(metrics["mlm_loss"] + metrics["order_loss"])
    assert len(gradients) == len(list(model.parameters()))


def test_the_sentence_objective_has_its_weight(batches: list[PretrainBatch]) -> None:
    model = random_model(config_of(vocab_size=2000))
    zero, small, whole = (step(model, batches[0], compiled=False, order_weight=w) for w in (0.0, 0.1, 1.0))
    assert small[0]["loss"] == pytest.approx(small[0]["mlm_loss"] + 0.1 * small[0]["order_loss"])
    for none, tenth, one in zip(zero[1], small[1], whole[1], strict=True):
        torch.testing.assert_close(tenth, none + 0.1 * (one - none), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("teaching", [False, True], ids=["pretrain", "distill"])
def test_held_out_text_takes_no_more_room_than_a_part_of_a_step(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, teaching: bool
) -> None:
    special = SpecialIds.of(load_tokenizer(prepared / TOKENIZER_FOLDER))
    model = random_model(config_of(vocab_size=2000))
    sizes: dict[int, set[int]] = {}
    found = {}
    for parts in (1, 4):
        settings = replace(SETTINGS, micro_batches=parts)
        objective: PretrainObjective | TeachingObjective = PretrainObjective(
            model, settings, nullcontext, compiled=False
        )
        if teaching:
            student, teacher = Student(model, model.config), random_model(config_of(vocab_size=2000), seed=2)
            objective = TeachingObjective(
                student, teacher, settings, TeachingSettings(masked_lm=1), nullcontext, compiled=False, world=World()
            )
        sums = objective._sums

        def watched(read: Packed | Lesson, *rest: Tensor, sums: Any = sums, parts: int = parts) -> Tensor:
            packed = read.mine if isinstance(read, Lesson) else read
            sizes.setdefault(parts, set()).add(len(packed.input_ids))
            return sums(read, *rest)  # type: ignore[no-any-return]

        monkeypatch.setattr(objective, "_sums", watched)
        source = WindowSource({prepared: 1.0}, special, settings, 0, "held_out")
        found[parts] = objective.evaluate(held_out_batches(source, 10_000))
    assert sizes == {1: {8 * 32}, 4: {8 * 32 // 4 + 32}}
    for name in found[1].keys() - {"loss", "similarity"}:  # sentences are compared within a part
        assert found[4][name] == pytest.approx(found[1][name], rel=1e-4), name
