"""Equal numbers with transformers, both ways, at random weights, with padding and segments in use."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from litebert.errors import ConfigError
from litebert.interop import configs
from litebert.interop.huggingface import load_model, read_model, save_model
from litebert.interop.padded import (
    AlbertForMaskedLM,
    AlbertForMultipleChoice,
    AlbertForPreTraining,
    AlbertForQuestionAnswering,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    AlbertModel,
)
from litebert.model.config import AlbertConfig, preset
from litebert.model.heads import AlbertWithHeads
from litebert.model.packed import pack, unpack
from tests.models import OWN_BLOCK, SEQUENCES, config_of, draw_all, random_model, segments_of

transformers = pytest.importorskip("transformers", reason="the peers extra is not installed")

PLANS = pytest.mark.parametrize(
    "fields",
    [
        {},
        {"sharing": "groups=2"},
        {"sharing": "none"},
        {"sharing": "groups=2", "inner_group_num": 2},
        {"hidden_act": "gelu"},
        {"hidden_act": "relu"},
    ],
    ids=str,
)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Four rows of different lengths, padded on the right, two segments each."""
    length = max(map(len, SEQUENCES)) + 1
    ids, mask, segments = (torch.zeros(len(SEQUENCES), length, dtype=torch.int64) for _ in range(3))
    for row, sequence in enumerate(SEQUENCES):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
        segments[row, : len(sequence)] = torch.tensor(segments_of(sequence))
    segments[3, 5:12] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}


def open_theirs(name: str, folder: Path) -> Any:
    model, report = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"], report
    assert not report["mismatched_keys"], report
    return model.eval()


def their_model(name: str, config: AlbertConfig, folder: Path, **fields: Any) -> Any:
    """A model made by transformers with every parameter drawn, saved by its own code."""
    values = configs.to_hugging_face(config, []) | fields
    values = {key: value for key, value in values.items() if key not in ("architectures", "model_type")}
    model = getattr(transformers, name)(transformers.AlbertConfig(**values)).eval()
    draw_all(model, 3)
    model.save_pretrained(folder)
    return model


def compare(ours: AlbertWithHeads, theirs: Any, batch: dict[str, Tensor]) -> None:
    """Encoder, pooler and both pre-training heads at every real token."""
    real = batch["attention_mask"].bool()
    with torch.no_grad():
        expected = theirs(**batch, output_hidden_states=True)
        pooled = theirs.albert(**batch).pooler_output
        packed, index = pack(**batch)
        hidden = ours.encode(packed)
        assert_close(hidden, expected.hidden_states[-1][real], atol=1e-5, rtol=0)
        assert_close(ours.pooled(hidden, packed), pooled, atol=1e-5, rtol=0)
        scores = ours.heads["masked_lm"](hidden)
        assert_close(scores, expected.prediction_logits[real], atol=1e-5, rtol=1e-5)
        assert_close(ours.heads["sentence_order"](pooled), expected.sop_logits, atol=1e-5, rtol=0)
        assert unpack(hidden, index, *real.shape)[~real].eq(0).all()


@PLANS
def test_transformers_opens_our_folder(fields: dict[str, Any], batch: dict[str, Tensor], tmp_path: Path) -> None:
    ours = random_model(config_of(**fields))
    saved = save_model(ours, tmp_path / "model")
    assert saved.opens_in_transformers
    theirs = open_theirs("AlbertForPreTraining", saved.folder)
    compare(ours, theirs, batch)
    assert theirs.config.hidden_act == ours.config.hidden_act
    with torch.no_grad():
        automatic = transformers.AutoModel.from_pretrained(saved.folder).eval()
        assert torch.equal(automatic(**batch)[0], theirs.albert(**batch)[0])


@PLANS
def test_we_open_theirs(fields: dict[str, Any], batch: dict[str, Tensor], tmp_path: Path) -> None:
    config = config_of(**fields)
    theirs = their_model("AlbertForPreTraining", config, tmp_path)
    loaded = read_model(tmp_path)
    assert loaded.fresh == ()
    assert loaded.model.config == config
    compare(loaded.model.eval(), theirs, batch)


def test_there_and_back_is_the_same_bits(tmp_path: Path) -> None:
    ours = random_model(config_of(sharing="groups=2", hidden_dropout_prob=0.1, embedding_dropout_prob=0.1))
    theirs = open_theirs("AlbertForPreTraining", save_model(ours, tmp_path / "ours").folder)
    theirs.save_pretrained(tmp_path / "theirs")
    back = load_model(tmp_path / "theirs")
    assert back.config == ours.config
    assert all(torch.equal(a, b) for a, b in zip(back.state_dict().values(), ours.state_dict().values(), strict=True))


def test_segments_count_on_both_sides(batch: dict[str, Tensor], tmp_path: Path) -> None:
    ours = random_model(config_of())
    theirs = open_theirs("AlbertModel", save_model(ours, tmp_path / "model").folder)
    with torch.no_grad():
        expected = theirs(**batch).last_hidden_state
        without = theirs(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        found = AlbertModel.wrap(ours)(**batch).last_hidden_state
    real = batch["attention_mask"].bool()
    assert not torch.allclose(expected[real], without[real], atol=0.1), "transformers dropped the segments"
    assert_close(found[real], expected[real], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "theirs"), [("masked_lm", "AlbertForMaskedLM"), ("classify", "AlbertForSequenceClassification")]
)
def test_other_heads(name: str, theirs: str, batch: dict[str, Tensor], tmp_path: Path) -> None:
    config = config_of(labels=("bad", "good", "fair"), problem_type="single_label_classification")
    ours = random_model(config, (name,))
    model = open_theirs(theirs, save_model(ours, tmp_path / "model").folder)
    padded = (AlbertForMaskedLM if name == "masked_lm" else AlbertForSequenceClassification).wrap(ours)
    real = batch["attention_mask"].bool() if name == "masked_lm" else ...
    with torch.no_grad():
        found, expected = padded(**batch).logits, model(**batch).logits
        assert_close(found[real], expected[real], atol=1e-5, rtol=1e-5)
    assert model.config.id2label == {0: "bad", 1: "good", 2: "fair"}
    assert model.config.problem_type == "single_label_classification"
    model.save_pretrained(tmp_path / "back")
    loaded = read_model(tmp_path / "back")
    assert (list(loaded.model.heads), loaded.model.config) == ([name], config)
    # Their masked language model has no pooler; ours says that it drew a new one.
    assert loaded.fresh == (("pooler",) if name == "masked_lm" else ())


def targets(name: str, real: Tensor) -> dict[str, Tensor]:
    """What each task's class calls its targets."""
    generator = torch.Generator().manual_seed(1)
    if name == "ner":
        return {"labels": torch.randint(0, 3, real.shape, generator=generator).masked_fill(~real, -100)}
    if name == "qa":
        return {"start_positions": torch.tensor([1, 0, 2, 99]), "end_positions": torch.tensor([3, 0, 2, 5])}
    return {"labels": torch.tensor([1, 0])}


@pytest.mark.parametrize(
    ("name", "ours_class"),
    [("ner", AlbertForTokenClassification), ("qa", AlbertForQuestionAnswering), ("choice", AlbertForMultipleChoice)],
)
@pytest.mark.parametrize("fields", [{}, {"sharing": "groups=2"}], ids=str)
def test_heads_of_tasks_there_and_back(
    name: str, ours_class: Any, fields: dict[str, Any], batch: dict[str, Tensor], tmp_path: Path
) -> None:
    labels = ("start", "end") if name == "qa" else ("O", "B-X", "I-X")
    ours = random_model(config_of(labels=labels, **fields), (name,))
    saved = save_model(ours, tmp_path / "model")
    model = open_theirs(ours_class.__name__, saved.folder)
    real = batch["attention_mask"].bool()
    if name == "qa":  # padding takes part in their softmax, not in ours: a batch without any
        batch = {key: value[:, :2] for key, value in batch.items()}
        real = real[:, :2]
    if name == "choice":
        batch = {key: value.unflatten(0, (2, 2)) for key, value in batch.items()}
    with torch.no_grad():
        found = ours_class.wrap(ours)(**batch, **targets(name, real))
        expected = model(**batch, **targets(name, real))
    assert_close(found.loss, expected.loss, atol=1e-5, rtol=1e-5)
    if name == "qa":
        assert_close(found.start_logits[real], expected.start_logits[real], atol=1e-5, rtol=1e-5)
        assert_close(found.end_logits[real], expected.end_logits[real], atol=1e-5, rtol=1e-5)
    else:
        where = real if name == "ner" else ...
        assert_close(found.logits[where], expected.logits[where], atol=1e-5, rtol=1e-5)
    model.save_pretrained(tmp_path / "back")
    loaded = read_model(tmp_path / "back")
    assert list(loaded.model.heads) == [name]
    assert loaded.model.config == ours.config
    theirs, head = loaded.model.heads[name].state_dict(), ours.heads[name].state_dict()
    assert all(torch.equal(theirs[key], head[key]) for key in head)


def test_padding_takes_no_part_in_the_softmax_of_answers(batch: dict[str, Tensor]) -> None:
    model = AlbertForQuestionAnswering(config_of()).eval()
    places = {"start_positions": torch.tensor([1]), "end_positions": torch.tensor([1])}
    row = {key: value[2:3] for key, value in batch.items()}
    alone = {key: value[:, :4] for key, value in row.items()}
    assert not row["attention_mask"][:, 4:].any()
    assert_close(model(**row, **places).loss, model(**alone, **places).loss)


def test_a_bare_encoder_of_theirs(batch: dict[str, Tensor], tmp_path: Path) -> None:
    theirs = their_model("AlbertModel", config_of(), tmp_path)
    loaded = read_model(tmp_path)
    assert loaded.fresh == ()
    assert list(loaded.model.heads) == []
    with torch.no_grad():
        found = AlbertModel.wrap(loaded.model)(**batch)
        expected = theirs(**batch)
    assert_close(found.pooler_output, expected.pooler_output, atol=1e-5, rtol=0)


def test_the_boundary_gives_what_theirs_gives(batch: dict[str, Tensor], tmp_path: Path) -> None:
    ours = AlbertForPreTraining.wrap(random_model(config_of(sharing="groups=2", inner_group_num=2)))
    theirs = open_theirs("AlbertForPreTraining", ours.save_pretrained(tmp_path / "model").folder)
    theirs.set_attn_implementation("eager")  # the one that returns probabilities
    real = batch["attention_mask"].bool()
    generator = torch.Generator().manual_seed(0)
    positions = torch.randint(0, 40, real.shape, generator=generator)
    labels = torch.randint(0, 100, real.shape, generator=generator)
    labels[~real] = -100
    order = torch.tensor([0, 1, 1, 0])
    wanted = {"output_hidden_states": True, "output_attentions": True, "position_ids": positions}
    with torch.no_grad():
        found = ours(**batch, **wanted, labels=labels, sentence_order_label=order)
        expected = theirs(**batch, **wanted, labels=labels, sentence_order_label=order)
        embeds = theirs.albert.embeddings.word_embeddings(batch["input_ids"])
        rest = {name: batch[name] for name in ("attention_mask", "token_type_ids")}
        by_vectors = ours(inputs_embeds=embeds, **rest, **wanted)
    assert_close(found.loss, expected.loss, atol=1e-5, rtol=1e-5)
    assert_close(found.sop_logits, expected.sop_logits, atol=1e-5, rtol=0)
    for one in (found, by_vectors):
        assert_close(one.prediction_logits[real], expected.prediction_logits[real], atol=1e-5, rtol=1e-5)
        assert len(one.hidden_states) == len(expected.hidden_states) == 9
        assert len(one.attentions) == len(expected.attentions) == 8
        for ours_, theirs_ in zip(one.hidden_states, expected.hidden_states, strict=True):
            assert_close(ours_[real], theirs_[real], atol=1e-5, rtol=0)
        for ours_, theirs_ in zip(one.attentions, expected.attentions, strict=True):
            assert_close(ours_.transpose(1, 2)[real], theirs_.transpose(1, 2)[real], atol=1e-5, rtol=0)


@pytest.mark.parametrize("fields", [OWN_BLOCK, {"sharing": "cycle=2"}, {"sharing": "deltas=2"}], ids=str)
def test_transformers_refuses_what_it_cannot_compute(fields: dict[str, str], tmp_path: Path) -> None:
    saved = save_model(random_model(config_of(**fields)), tmp_path / "model")
    assert not saved.opens_in_transformers
    assert "transformers cannot open" in saved.note
    with pytest.raises(ValueError, match="litebert"):
        transformers.AutoModel.from_pretrained(saved.folder)


@pytest.mark.parametrize("name", ["base", "large", "xlarge", "xxlarge"])
def test_presets_are_the_models_of_transformers(name: str) -> None:
    values = configs.to_hugging_face(preset(name), ["masked_lm", "sentence_order"])
    with torch.device("meta"):
        theirs = transformers.AlbertForPreTraining(transformers.AlbertConfig(**values))
        ours = AlbertWithHeads(preset(name), ("masked_lm", "sentence_order"))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_two_heads_of_one_name_are_not_saved(tmp_path: Path) -> None:
    model = random_model(config_of(), ("classify", "ner"))
    with pytest.raises(ConfigError, match="the heads classify and ner have the same name"):
        save_model(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()
