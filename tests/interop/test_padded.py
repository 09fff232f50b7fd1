"""The padded boundary: equal to the packed model, whatever is padded where; wrong input is told in one line."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

import litebert
from litebert.errors import InputError
from litebert.interop.huggingface import read_model, save_model
from litebert.interop.padded import (
    AlbertForMaskedLM,
    AlbertForMultipleChoice,
    AlbertForPreTraining,
    AlbertForQuestionAnswering,
    AlbertForSequenceClassification,
    AlbertModel,
)
from litebert.text.tokenizer import Tokenizer
from tests.labelled import small_model
from tests.models import OWN_BLOCK, SEQUENCES, config_of, packed_batch, random_model, segments_of

BLOCKS = pytest.mark.parametrize("fields", [{}, OWN_BLOCK], ids=["post_norm", "pre_norm"])


def padded(left: bool = False) -> dict[str, Tensor]:
    length = 15
    ids, mask, segments = (torch.zeros(4, length, dtype=torch.int64) for _ in range(3))
    positions = torch.zeros(4, length, dtype=torch.int64)
    for row, sequence in enumerate(SEQUENCES):
        place = slice(length - len(sequence), None) if left else slice(len(sequence))
        ids[row, place], mask[row, place] = torch.tensor(sequence), 1
        segments[row, place] = torch.tensor(segments_of(sequence))
        positions[row, place] = torch.arange(len(sequence))
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments, "position_ids": positions}


@BLOCKS
@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("attentions", [False, True])
def test_equal_to_the_packed_model(attentions: bool, left: bool, fields: dict[str, str]) -> None:
    model = random_model(config_of(**fields))
    batch, packed = padded(left), packed_batch()
    real = batch["attention_mask"].bool()
    output = AlbertModel.wrap(model)(**batch, output_attentions=attentions, output_hidden_states=True)
    hidden = model.encode(packed)
    assert_close(output.last_hidden_state[real], hidden, atol=1e-5, rtol=1e-5)
    assert not output.last_hidden_state[~real].any()
    assert_close(output.pooler_output, model.pooled(hidden, packed), atol=1e-5, rtol=1e-5)
    assert len(output.hidden_states) == 5
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
    if attentions:
        for probabilities in output.attentions:
            assert probabilities.shape == (4, 4, 15, 15)
            assert_close(probabilities.masked_fill(~real[:, None, None], 0).sum(-1), torch.ones(4, 4, 15))
    else:
        assert output.attentions is None


def test_what_was_not_asked_for_is_none() -> None:
    output = AlbertForSequenceClassification(config_of())(torch.tensor([[2, 5, 3]]))
    assert output.logits.shape == (1, 2)
    assert output.loss is output.hidden_states is output.attentions is output.prediction_logits is None


def test_without_mask_segments_and_positions() -> None:
    model = AlbertModel.wrap(random_model(config_of()))
    ids = torch.tensor([[2, 5, 6, 3], [2, 7, 8, 3]])
    zeros = torch.zeros_like(ids)
    expected = model(ids, torch.ones_like(ids), zeros, torch.arange(4).expand(2, 4)).last_hidden_state
    assert torch.equal(model(ids).last_hidden_state, expected)
    assert torch.equal(model(ids, position_ids=torch.arange(4)[None]).last_hidden_state, expected)


def test_gradients_reach_word_vectors() -> None:
    model = AlbertForSequenceClassification.wrap(random_model(config_of(), ("classify",)))
    batch = padded()
    embeds = model.model.albert.embedding.word(batch.pop("input_ids")).detach().requires_grad_()
    for attentions in (False, True):
        embeds.grad = None
        model(inputs_embeds=embeds, output_attentions=attentions, **batch).logits[:, 0].sum().backward()
        real = batch["attention_mask"].bool()
        assert embeds.grad[real].any(dim=1).all()
        assert not embeds.grad[~real].any()


# -- losses --------------------------------------------------------------------------------------------------------


def test_pre_training_losses() -> None:
    batch = padded()
    labels = torch.full((4, 15), -100)
    labels[0, 2], labels[3, 4] = 12, 34
    model = AlbertForPreTraining.wrap(random_model(config_of()))
    order = torch.tensor([0, 1, 0, 1])
    output = model(**batch, labels=labels, sentence_order_label=order)
    chosen = output.prediction_logits[[0, 3], [2, 4]]
    expected = F.cross_entropy(chosen, torch.tensor([12, 34])) + F.cross_entropy(output.sop_logits, order)
    assert_close(output.loss, expected)
    single = AlbertForMaskedLM.wrap(model.model)(**batch, labels=labels)
    assert_close(single.loss, F.cross_entropy(chosen, torch.tensor([12, 34])))
    assert single.logits.shape == (4, 15, 100)


@pytest.mark.parametrize(
    ("fields", "labels", "expected"),
    [
        ({}, torch.tensor([0, 1, 1, 0]), F.cross_entropy),
        ({"labels": ("x",)}, torch.tensor([0.5, 1.0, -1.0, 2.0]), lambda x, y: F.mse_loss(x[:, 0], y)),
        ({}, torch.tensor([[0.0, 1.0]] * 4), F.binary_cross_entropy_with_logits),
        (
            {"problem_type": "multi_label_classification"},
            torch.tensor([[0, 1]] * 4),
            lambda x, y: F.binary_cross_entropy_with_logits(x, y.float()),
        ),
    ],
    ids=["classes", "regression", "several", "several, said"],
)
def test_classification_losses(fields: dict[str, Any], labels: Tensor, expected: Any) -> None:
    model = AlbertForSequenceClassification.wrap(random_model(config_of(**fields), ("classify",)))
    output = model(**padded(), labels=labels)
    assert_close(output.loss, expected(output.logits, labels))


def test_one_row_beside_the_ids_stands_for_all() -> None:
    model = AlbertModel(config_of()).eval()
    ids, mask = torch.tensor([[2, 5, 6, 3, 0], [2, 7, 8, 3, 0]]), torch.tensor([[1, 1, 1, 1, 0]])
    expected = model(ids, mask.expand(2, 5), torch.zeros_like(ids))
    for given in (mask, mask.float(), mask.bool()):
        assert torch.equal(model(ids, given, torch.zeros(1, 5)).last_hidden_state, expected.last_hidden_state)


def test_positions_of_choices() -> None:
    model = AlbertForMultipleChoice(config_of()).eval()
    ids = torch.arange(4, 28).view(2, 3, 4)
    positions = torch.arange(4).expand(2, 3, 4)
    assert torch.equal(model(ids, position_ids=positions).logits, model(ids).logits)
    assert not torch.equal(model(ids, position_ids=positions.flip(-1)).logits, model(ids).logits)
    with pytest.raises(InputError, match="2 dimension"):
        model(ids[0])


# -- folders -------------------------------------------------------------------------------------------------------


def test_to_a_folder_and_back(tmp_path: Path) -> None:
    model = litebert.AlbertForPreTraining(config_of(**OWN_BLOCK)).eval()
    saved = model.save_pretrained(tmp_path / "model")
    again = litebert.AlbertForPreTraining.from_pretrained(saved.folder, hidden_dropout_prob=0.5)
    assert not again.training
    assert again.config.hidden_dropout_prob == 0.5
    assert torch.equal(again(**padded()).prediction_logits, model(**padded()).prediction_logits)
    classifier = litebert.AlbertForSequenceClassification.from_pretrained(saved.folder, labels=("a", "b", "c"))
    assert classifier(**padded()).logits.shape == (4, 3)


def test_a_folder_keeps_what_belongs_to_its_task(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Its tokenizer and what was decided, also where it is written over; a model of another class has no such task."""
    folder, extra = tmp_path / "m", {"task": "qa", "decision": {"no_answer_threshold": 0.25}}
    small_model(folder, tokenizer, ("qa",))
    save_model(read_model(folder).model, folder, tokenizer, extra)
    AlbertForQuestionAnswering.from_pretrained(folder).save_pretrained(folder)
    again = read_model(folder)
    assert again.extra == extra
    assert again.tokenizer is not None
    assert again.tokenizer.fingerprint == tokenizer.fingerprint
    AlbertModel.from_pretrained(folder).save_pretrained(tmp_path / "plain")
    assert read_model(tmp_path / "plain").extra == {}
    assert read_model(tmp_path / "plain").tokenizer is not None


def test_new_weights_are_told(tmp_path: Path, tokenizer: Tokenizer, capsys: pytest.CaptureFixture[str]) -> None:
    folder = small_model(tmp_path / "m", tokenizer, ("qa",))
    AlbertForQuestionAnswering.from_pretrained(folder)
    assert capsys.readouterr().err == ""
    AlbertForSequenceClassification.from_pretrained(folder)
    assert "has no classify: new random weights" in capsys.readouterr().err


# -- wrong input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({}, "input_ids"),
        ({"input_ids": torch.ones(1, 2, dtype=torch.int64), "inputs_embeds": torch.ones(1, 2, 12)}, "not both"),
        ({"input_ids": torch.ones(3, dtype=torch.int64)}, "dimension"),
        ({"input_ids": torch.full((1, 3), 100)}, "0 to 99"),
        ({"input_ids": torch.full((1, 3), -1)}, "input_ids"),
        ({"input_ids": torch.ones(1, 41, dtype=torch.int64)}, "40 positions"),
        (
            {"input_ids": torch.ones(1, 3, dtype=torch.int64), "token_type_ids": torch.full((1, 3), 2)},
            "token_type_ids",
        ),
        (
            {"input_ids": torch.ones(1, 3, dtype=torch.int64), "position_ids": torch.tensor([[0, 1, 40]])},
            "position_ids",
        ),
        ({"input_ids": torch.ones(3, 6, dtype=torch.int64), "attention_mask": torch.ones(3, 5)}, r"\(3, 5\).*\(3, 6\)"),
        ({"input_ids": torch.ones(3, 6, dtype=torch.int64), "token_type_ids": torch.ones(2, 6)}, "give one for each"),
        ({"input_ids": torch.ones(1, 2, dtype=torch.int64), "attention_mask": torch.tensor([[0.0, -3e38]])}, "0 to 1"),
        ({"input_ids": torch.ones(1, 2, dtype=torch.int64), "attention_mask": torch.tensor([[0, 2]])}, "0 to 1"),
    ],
)
def test_input_that_the_model_cannot_take(arguments: dict[str, Tensor], word: str) -> None:
    with pytest.raises(InputError, match=word) as error:
        AlbertModel(config_of())(**arguments)
    assert "\n" not in str(error.value)
