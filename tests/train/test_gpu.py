"""On a GPU: the same losses and gradients as on a CPU, runs that go on, and a teacher with relative positions."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from litebert.data.batches import BatchStream, SpecialIds, WindowSource
from litebert.data.shards import TOKENIZER_FOLDER
from litebert.model.device import Precision, autocast
from litebert.text.tokenizer import load_tokenizer
from litebert.train.hooks import read_metrics
from litebert.train.objective import PretrainObjective
from litebert.train.parallel import World
from litebert.train.pretrain import make_model, pretrain
from litebert.train.teaching import Student, TeachingObjective, TeachingSettings
from tests.models import config_of, random_model
from tests.runs import settings

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda")
SHAPE = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.mark.parametrize("compiled", [False, True])
def test_losses_and_gradients_are_those_of_a_cpu(prepared: Path, compiled: bool) -> None:
    wanted = settings(prepared, model=SHAPE)
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    source = WindowSource({prepared: 1.0}, SpecialIds.of(tokenizer), wanted.data, 1)
    batch = next(iter(BatchStream(source)))
    found = []
    for device, precision in ((torch.device("cpu"), "fp32"), (CUDA, "bf16")):
        model = make_model(wanted, tokenizer).to(device)
        objective = PretrainObjective(
            model, wanted.data, lambda d=device, p=precision: autocast(p, d), compiled=compiled and device == CUDA
        )
        metrics = objective.backward(batch)()
        found.append((metrics, {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}))
    (ours, gradients), (theirs, others) = found
    assert theirs["mlm_loss"] == pytest.approx(ours["mlm_loss"], rel=0.01)
    assert theirs["order_loss"] == pytest.approx(ours["order_loss"], rel=0.02)
    assert gradients.keys() == others.keys()
    for name, gradient in gradients.items():
        if gradient.norm() > 1e-3:
            assert (gradient - others[name]).norm() < 0.1 * gradient.norm(), name


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_run_learns_and_goes_on(prepared: Path, tmp_path: Path, precision: Precision) -> None:
    wanted = settings(prepared, model=SHAPE if precision == "bf16" else {"attention_probs_dropout_prob": 0.1})
    wanted = replace(wanted, loop=replace(wanted.loop, device="cuda", precision=precision))
    longer = replace(wanted, schedule=replace(wanted.schedule, name="constant", warmup=0))
    pretrain(replace(longer, loop=replace(longer.loop, steps=8)), tmp_path / "leg")
    pretrain(replace(longer, loop=replace(longer.loop, steps=12)), tmp_path / "leg", resume=True)
    lines = [line for line in read_metrics(tmp_path / "leg") if line["kind"] == "train"]
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert all(line["mlm_loss"] < 9 for line in lines)


def test_a_teacher_with_relative_positions_says_what_it_says_on_a_cpu(prepared: Path) -> None:
    wanted = settings(prepared)
    tokenizer = load_tokenizer(prepared / TOKENIZER_FOLDER)
    source = WindowSource({prepared: 1.0}, SpecialIds.of(tokenizer), wanted.data, 1)
    batch = next(iter(BatchStream(source)))
    shape = {"vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.pad_id}
    found = []
    for device, precision in ((torch.device("cpu"), "fp32"), (CUDA, "bf16")):
        teacher = random_model(config_of(**shape, position="relative")).to(device)
        student = Student(random_model(config_of(**shape), seed=2), teacher.config).to(device)
        objective = TeachingObjective(
            student,
            teacher,
            wanted.data,
            TeachingSettings(sentence=1),
            lambda d=device, p=precision: autocast(p, d),
            compiled=device == CUDA,
            world=World(),
        )
        found.append(objective.backward(batch)())
    for name in ("hidden", "sentence", "similarity", "cosine"):
        assert found[1][name] == pytest.approx(found[0][name], rel=0.05, abs=0.02), name
