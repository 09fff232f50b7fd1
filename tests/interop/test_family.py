"""Encoders of BERT's family: equal to transformers at random weights, with padding and segments in use."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

from litebert.errors import ConfigError, ModelFolderError
from litebert.interop.configs import read_json
from litebert.interop.convert import convert
from litebert.interop.family import FAMILIES, family_names
from litebert.interop.huggingface import load_model, read_config, read_model, save_model
from litebert.interop.padded import (
    AlbertForMaskedLM,
    AlbertForMultipleChoice,
    AlbertForQuestionAnswering,
    AlbertForSequenceClassification,
    AlbertForTokenClassification,
    AlbertModel,
)
from litebert.model.attention import Layout
from litebert.model.encoder import Trace
from litebert.model.heads import build_model
from litebert.model.packed import pack
from litebert.model.plan import plan
from tests.models import draw_all

transformers = pytest.importorskip("transformers", reason="the peers extra is not installed")

SHAPE: dict[str, Any] = {
    "vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 42, "num_labels": 3,
}  # fmt: skip
DISTILBERT = {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48}
KINDS: dict[str, dict[str, Any]] = {
    "bert": {"class": "Bert"},
    "distilbert": {"class": "DistilBert"} | DISTILBERT,
    "electra": {"class": "Electra", "embedding_size": 16},
    "electra-wide": {"class": "Electra", "embedding_size": 32},
    "roberta": {"class": "Roberta", "type_vocab_size": 1},
    "roberta-segments": {"class": "Roberta", "type_vocab_size": 2, "layer_norm_eps": 1e-5},
    "xlm-roberta": {"class": "XLMRoberta", "type_vocab_size": 1},
    "mpnet": {"class": "MPNet"},
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
POOLED = {"bert", "roberta", "roberta-segments", "xlm-roberta", "mpnet"}
LENGTHS = [40, 3, 17, 1]
"""Sequences that reach the last position, and distances that share a bucket."""


def make(kind: str, end: str, folder: Path, **fields: Any) -> Any:
    """A model made by transformers with every parameter drawn, saved by its own code."""
    values = SHAPE | KINDS[kind] | fields
    name = values.pop("class")
    if name == "DistilBert":
        shared = ("vocab_size", "max_position_embeddings", "num_labels")
        values = {key: value for key, value in values.items() if key in shared or key not in SHAPE}
    config = getattr(transformers, f"{name}Config")(**values)
    model = getattr(transformers, f"{name}{end}")(config).eval()
    draw_all(model, 3)
    model.save_pretrained(folder)
    return model


def batch_of(kind: str) -> dict[str, Tensor]:
    """Padded rows; two segments where the kind has them."""
    pad = 1 if read_pad(kind) else 0
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, 100, (len(LENGTHS), max(LENGTHS)), generator=generator)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    batch = {"input_ids": ids.masked_fill(~mask, pad), "attention_mask": mask.long()}
    if kind in ("bert", "electra", "electra-wide", "roberta-segments"):
        batch["token_type_ids"] = (torch.arange(max(LENGTHS)) > 7).long().expand_as(ids).contiguous()
    return batch


def read_pad(kind: str) -> bool:
    return kind.startswith(("roberta", "xlm", "mpnet"))


@EVERY_KIND
def test_hidden_states_are_those_of_transformers(kind: str, tmp_path: Path) -> None:
    theirs, batch = make(kind, "Model", tmp_path), batch_of(kind)
    loaded = read_model(tmp_path)
    assert loaded.fresh == ()
    assert (loaded.model.albert.pooler is not None) == (kind in POOLED)
    ours, real = AlbertModel.wrap(loaded.model.eval()), batch["attention_mask"].bool()
    with torch.no_grad():
        expected = theirs(**batch, output_hidden_states=True)
        found = ours(**batch, output_hidden_states=True)
    assert len(found.hidden_states) == len(expected.hidden_states) == 4
    for one, other in zip(found.hidden_states, expected.hidden_states, strict=True):
        assert_close(one[real], other[real], atol=1e-5, rtol=0)
    assert_close(found.last_hidden_state[real], expected.last_hidden_state[real], atol=1e-5, rtol=0)
    if kind in POOLED:
        assert_close(found.pooler_output, expected.pooler_output, atol=1e-5, rtol=0)
    else:
        assert found.pooler_output is None


@EVERY_KIND
def test_padding_may_lie_before_the_text(kind: str, tmp_path: Path) -> None:
    """Some families count positions from the first token that is no padding."""
    theirs, batch = make(kind, "Model", tmp_path), {name: rows.flip(1) for name, rows in batch_of(kind).items()}
    ours, real = AlbertModel.wrap(load_model(tmp_path).eval()), batch["attention_mask"].bool()
    with torch.no_grad():
        expected, found = (model(**batch).last_hidden_state for model in (theirs, ours))
    assert_close(found[real], expected[real], atol=1e-5, rtol=0)


@EVERY_KIND
def test_every_tensor_has_its_place(kind: str, tmp_path: Path) -> None:
    theirs = make(kind, "Model", tmp_path)
    model = load_model(tmp_path)
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in theirs.parameters())
    names = {row.outside for row in family_names(model.config, read_json(tmp_path / "config.json"))}
    assert set(load_file(tmp_path / "model.safetensors")) <= names
    costs = plan(model.config, length=32, batch_size=2)
    assert costs.parameters.embedding == sum(p.numel() for p in model.albert.embedding.parameters())


@EVERY_KIND
@pytest.mark.parametrize(
    ("end", "wrapper"),
    [
        ("ForMaskedLM", AlbertForMaskedLM),
        ("ForSequenceClassification", AlbertForSequenceClassification),
        ("ForTokenClassification", AlbertForTokenClassification),
        ("ForQuestionAnswering", AlbertForQuestionAnswering),
        ("ForMultipleChoice", AlbertForMultipleChoice),
    ],
)
def test_heads_are_those_of_transformers(kind: str, end: str, wrapper: type[AlbertModel], tmp_path: Path) -> None:
    theirs, batch = make(kind, end, tmp_path, num_labels=2 if end == "ForQuestionAnswering" else 3), batch_of(kind)
    loaded = read_model(tmp_path)
    assert (loaded.fresh, tuple(loaded.model.heads)) == ((), wrapper.heads)
    of_tokens = end in ("ForMaskedLM", "ForTokenClassification", "ForQuestionAnswering")
    assert (loaded.model.albert.pooler is None) == of_tokens, "their models that read tokens have no pooler"
    if end == "ForMultipleChoice":
        batch = {name: values.unflatten(0, (2, 2)) for name, values in batch.items()}
    with torch.no_grad():
        ours, answer = wrapper.wrap(loaded.model.eval())(**batch), theirs(**batch)
    real = batch["attention_mask"].bool() if of_tokens else ...
    for name in ("start_logits", "end_logits") if end == "ForQuestionAnswering" else ("logits",):
        found, expected = getattr(ours, name)[real], getattr(answer, name)[real]
        assert_close(found, expected, atol=1e-5, rtol=1e-5)
    if end in ("ForSequenceClassification", "ForTokenClassification"):
        assert loaded.model.config.labels == ("LABEL_0", "LABEL_1", "LABEL_2")


@EVERY_KIND
def test_all_kernels_agree(kind: str, tmp_path: Path) -> None:
    make(kind, "Model", tmp_path)
    model, batch = load_model(tmp_path).eval(), batch_of(kind)
    packed, index = pack(**batch)
    with torch.no_grad():
        slow = model.albert(packed, attention="padded")
        assert_close(model.albert(packed, attention="fused"), slow, atol=1e-5, rtol=0)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        segments = batch.get("token_type_ids", torch.zeros_like(ids))
        rows = model.albert.dense(ids, mask, segments, torch.arange(ids.shape[1]).expand_as(ids))
        assert_close(rows.flatten(0, 1)[index], slow, atol=1e-5, rtol=0)


@EVERY_KIND
def test_gradients_reach_every_parameter(kind: str, tmp_path: Path) -> None:
    make(kind, "ForMaskedLM", tmp_path)
    model = load_model(tmp_path)
    packed, _ = pack(**batch_of(kind))
    model.heads["masked_lm"](model.encode(packed)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@EVERY_KIND
def test_kept_in_our_own_format(kind: str, tmp_path: Path) -> None:
    make(kind, "Model", tmp_path / "theirs")
    model = load_model(tmp_path / "theirs").eval()
    saved = save_model(model, tmp_path / "ours")
    assert not saved.opens_in_transformers
    again = load_model(tmp_path / "ours").eval()
    assert again.config == model.config
    packed, _ = pack(**batch_of(kind))
    with torch.no_grad():
        assert torch.equal(again.encode(packed), model.encode(packed))


def test_a_second_text_counts_as_the_first_where_there_is_one_segment(tmp_path: Path) -> None:
    make("roberta", "Model", tmp_path)
    model = load_model(tmp_path).eval()
    packed, _ = pack(**batch_of("roberta"))
    with torch.no_grad():
        pair = model.encode(packed._replace(token_type_ids=torch.ones_like(packed.token_type_ids)))
        assert torch.equal(pair, model.encode(packed))


def test_a_head_that_reads_a_pooler_gets_one(tmp_path: Path) -> None:
    make("distilbert", "Model", tmp_path)
    loaded = read_model(tmp_path, ("classify",), overrides={"labels": ("a", "b")})
    assert loaded.fresh == ("pooler", "classify")
    assert loaded.model.config.pooling == "first"
    packed, _ = pack(**batch_of("distilbert"))
    assert loaded.model.heads["classify"](loaded.model.pooled(loaded.model.encode(packed), packed)).shape == (4, 2)
    bare = load_model(tmp_path)
    with pytest.raises(ConfigError, match="no pooler"):
        bare.pooled(torch.zeros(61, 32), packed)
    scratch = build_model(read_config(tmp_path), ("classify",))
    assert scratch.albert.pooler is not None


def test_relative_positions_matter_and_have_their_buckets(tmp_path: Path) -> None:
    make("mpnet", "Model", tmp_path, max_position_embeddings=302)
    model = load_model(tmp_path).eval()
    ids = torch.randint(5, 100, (1, 300), generator=torch.Generator().manual_seed(0))
    packed, _ = pack(ids)
    theirs = transformers.MPNetModel.from_pretrained(tmp_path).eval()
    trace = Trace()
    with torch.no_grad():
        found = model.albert(packed, trace=trace)
        assert_close(found, theirs(ids).last_hidden_state[0], atol=1e-5, rtol=0)
        model.albert.encoder.relative.weight.zero_()
        assert not torch.allclose(model.encode(packed), found, atol=1e-2)
    assert model.config.max_position_embeddings == 300
    with pytest.raises(ConfigError, match="fused"):
        model.albert.encoder(torch.zeros(300, 32), torch.zeros(300), Layout("varlen", ((1, 300),)))


def test_old_names_of_norms(tmp_path: Path) -> None:
    theirs, batch = make("bert", "ForMaskedLM", tmp_path), batch_of("bert")
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    tensors = load_file(tmp_path / "model.safetensors")
    for new, before in old.items():
        tensors = {name.replace(new, before): tensor for name, tensor in tensors.items()}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    loaded = read_model(tmp_path)
    assert loaded.fresh == ()
    with torch.no_grad():
        found = AlbertForMaskedLM.wrap(loaded.model.eval())(**batch).logits
        assert_close(found[batch["attention_mask"].bool()], theirs(**batch).logits[batch["attention_mask"].bool()],
                     atol=1e-5, rtol=1e-5)  # fmt: skip


def test_a_decoder_of_its_own_is_no_head_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make("bert", "ForMaskedLM", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["cls.predictions.decoder.weight"] = torch.ones(100, 32)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    assert list(load_model(tmp_path).heads) == []
    assert read_model(tmp_path, ("masked_lm",)).fresh == ("masked_lm",)
    convert(tmp_path, tmp_path / "converted")
    assert "has a head that litebert does not read, which is left out (cls." in capsys.readouterr().err


def test_heads_that_are_read_are_not_said_to_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make("bert", "ForMaskedLM", tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "converted")
    assert "left out" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "end", "changes"),
    [
        ("electra", "ForMultipleChoice", {"summary_activation": "tanh"}),
        ("electra", "ForMultipleChoice", {"summary_use_proj": False}),
        ("roberta", "ForMaskedLM", {"hidden_act": "relu"}),
    ],
)
def test_heads_that_compute_something_else_are_refused(
    kind: str, end: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    make(kind, end, tmp_path, **changes)
    with pytest.raises(ModelFolderError, match=next(iter(changes))):
        load_model(tmp_path)


def test_a_classifier_is_what_the_class_says(tmp_path: Path) -> None:
    """Names do not tell: of texts, of tokens, of choices, or of something else, which is left out."""
    make("bert", "ForTokenClassification", tmp_path)
    values = read_json(tmp_path / "config.json")
    for name, heads in (
        ("BertForTokenClassification", ["ner"]),
        ("BertForSequenceClassification", ["classify"]),
        ("BertForNextSentencePrediction", []),
    ):
        (tmp_path / "config.json").write_text(json.dumps(values | {"architectures": [name]}))
        assert list(load_model(tmp_path).heads) == heads


def test_a_pickled_checkpoint_is_refused_with_the_way_out_which_works(tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    theirs, batch = make("roberta", "Model", folder), batch_of("roberta")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(ModelFolderError, match="litebert convert") as error:
        load_model(folder)
    assert "\n" not in str(error.value)
    convert(folder, tmp_path / "converted")
    with torch.no_grad():
        found = AlbertModel.wrap(load_model(tmp_path / "converted").eval())(**batch).last_hidden_state
        real = batch["attention_mask"].bool()
        assert_close(found[real], theirs(**batch).last_hidden_state[real], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "gpt2"}, ["gpt2", "albert", "mpnet"]),
        ({"model_type": None}, ["None", "albert"]),
        ({"position_embedding_type": "relative_key"}, ["relative_key"]),
        ({"is_decoder": True}, ["is_decoder"]),
        ({"hidden_act": "mish"}, ["mish"]),
        ({"num_attention_heads": 5}, ["num_attention_heads 5"]),
        ({"num_hidden_layers": 4}, ["encoder.layer.3."]),
        ({"vocab_size": 101}, ["(100, 32)", "(101, 32)"]),
    ],
)
def test_what_is_no_model_of_ours(changes: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    make("bert", "Model", tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelFolderError) as error:
        load_model(tmp_path)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_every_family_is_tested() -> None:
    assert {kind.partition("-")[0] if kind != "xlm-roberta" else kind for kind in KINDS} == set(FAMILIES)
