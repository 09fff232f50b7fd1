"""The encoder part by part: dropouts in their places, norms, segments, layers one by one, start values."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, library, nn
from torch.testing import assert_close

from litebert.errors import ConfigError
from litebert.interop.convert import convert
from litebert.interop.huggingface import load_model
from litebert.model.attention import attend_rows, packed_layout, rotary_angles
from litebert.model.config import PRESETS, preset
from litebert.model.encoder import Attention, FeedForward, Trace, activation, gelu_tanh
from litebert.model.heads import AlbertWithHeads, build_model
from litebert.model.tables import look_up
from tests.models import OWN_BLOCK, config_of, packed_batch, random_model

BLOCKS = pytest.mark.parametrize("fields", [{}, OWN_BLOCK], ids=["post_norm", "pre_norm"])


# -- arithmetic ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("gelu_new", lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))),
        ("gelu", lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5))),
        ("relu", lambda x: x.clamp(min=0)),
        ("silu", lambda x: x * torch.sigmoid(x)),
        ("tanh", lambda x: 2 * torch.sigmoid(2 * x) - 1),
    ],
)
def test_activations(name: str, formula: Callable[[Tensor], Tensor]) -> None:
    x = torch.linspace(-4, 4, 101)
    assert_close(activation(name)(x), formula(x), atol=2e-6, rtol=1e-5)


def by_hand(model: nn.Module, hidden: Tensor, attention: Attention, ffn: FeedForward, pre_norm: bool) -> Tensor:
    """One layer without positions over one sequence, from its matrices."""
    size = 8

    def attend(x: Tensor) -> Tensor:
        query, key, value = F.linear(x, attention.qkv.weight, attention.qkv.bias).chunk(3, dim=-1)
        heads = [
            torch.softmax(q @ k.T / size**0.5, -1) @ v
            for q, k, v in zip(query.split(size, -1), key.split(size, -1), value.split(size, -1), strict=True)
        ]
        return F.linear(torch.cat(heads, -1), attention.dense.weight, attention.dense.bias)

    def feed(x: Tensor) -> Tensor:
        inner = F.gelu(F.linear(x, ffn.inner.weight, ffn.inner.bias), approximate="tanh")
        return F.linear(inner, ffn.output.weight, ffn.output.bias)

    if pre_norm:
        hidden = hidden + attend(attention.norm(hidden))
        return hidden + feed(ffn.norm(hidden))
    hidden = attention.norm(hidden + attend(hidden))
    return ffn.norm(hidden + feed(hidden))


@pytest.mark.parametrize("block", ["post_norm", "pre_norm"])
def test_a_block_is_the_formula(block: str) -> None:
    model = random_model(config_of(block=block, sharing="groups=2"))
    batch = packed_batch([[2, 11, 12, 3, 13, 3]])
    encoder, embedding = model.albert.encoder, model.albert.embedding
    words = embedding.word.weight[batch.input_ids] + embedding.segment.weight[batch.token_type_ids]
    hidden = encoder.projection(embedding.norm(words + embedding.position.weight[batch.position_ids]))
    for group in (0, 0, 1, 1):
        hidden = by_hand(model, hidden, encoder.attention[group], encoder.ffn[group], block == "pre_norm")
    expected = hidden if encoder.norm is None else encoder.norm(hidden)
    assert (encoder.norm is None) == (block == "post_norm")
    assert_close(model.encode(batch), expected, atol=1e-5, rtol=1e-5)


def test_rotary_positions_have_no_table() -> None:
    assert build_model(config_of(position="rotary")).albert.embedding.position is None
    assert build_model(config_of()).albert.embedding.position is not None


@BLOCKS
def test_segments_and_positions_are_in_use(fields: dict[str, str]) -> None:
    model = random_model(config_of(**fields))
    batch = packed_batch()
    expected = model.encode(batch)
    assert not torch.allclose(model.encode(batch._replace(token_type_ids=1 - batch.token_type_ids)), expected, atol=0.1)
    assert not torch.allclose(model.encode(batch._replace(position_ids=batch.position_ids * 2)), expected, atol=0.1)


@BLOCKS
def test_layers_one_by_one(fields: dict[str, str]) -> None:
    model = random_model(config_of(sharing="deltas=2", **fields))
    batch, encoder = packed_batch(), model.albert.encoder
    trace = Trace(attentions=[])
    result = model.albert(batch, trace=trace)
    layout = packed_layout(batch.cu_seqlens, len(batch.input_ids), batch.max_length, "padded")
    angles = rotary_angles(batch.position_ids, 8, layout) if encoder.rotary else None
    hidden = encoder.projection(model.albert.embedding(*batch[:3]))
    for index in range(4):
        assert torch.equal(trace.hidden_states[index], hidden)
        hidden = encoder.layer(index, hidden, layout, angles)
    assert torch.equal(result, hidden if encoder.norm is None else encoder.norm(hidden))
    assert torch.equal(trace.hidden_states[4], result)
    assert len(trace.hidden_states) == 5
    assert trace.attentions is not None
    assert [attention.shape for attention in trace.attentions] == [(4, 4, 12, 12)] * 4
    with pytest.raises(ConfigError, match="probabilities"):
        model.albert(batch, trace=Trace(attentions=[]), attention="fused")


def test_word_vectors_instead_of_ids() -> None:
    model = random_model(config_of())
    batch = packed_batch()
    embeds = model.albert.embedding.word.weight[batch.input_ids].detach().requires_grad_()
    hidden = model.albert(batch._replace(input_ids=torch.zeros_like(batch.input_ids)), inputs_embeds=embeds)
    assert torch.equal(hidden, model.encode(batch))
    hidden[0].sum().backward()
    assert embeds.grad is not None
    assert embeds.grad[:9].any(dim=1).all(), "the first sequence's words all count"
    assert not embeds.grad[9:].any()


def test_the_path_for_exports_equals_the_original_even_at_padding(golden: Path, tmp_path: Path) -> None:
    for kind in ("shared", "groups"):
        model = load_model(convert(golden / kind, tmp_path / kind).folder).eval()
        with np.load(golden / kind / "expected.npz") as file:
            expected = {name: torch.from_numpy(file[name]) for name in file.files}
        ids = expected["input_ids"].long()
        mask, segments = expected["attention_mask"].bool(), expected["token_type_ids"].long()
        positions = torch.arange(ids.shape[1]).expand_as(ids)
        hidden = model.albert.dense(ids, mask, segments, positions)
        assert_close(hidden, expected["sequence_output"], atol=1e-5, rtol=0)
        rows, masked = torch.arange(len(ids))[:, None], expected["masked_positions"].long()
        scores = model.heads["masked_lm"](hidden[rows, masked].flatten(0, 1)).log_softmax(-1)
        assert_close(scores, expected["mlm_log_probs"], atol=1e-5, rtol=0)


class _Dense(nn.Module):
    def __init__(self, model: AlbertWithHeads) -> None:
        super().__init__()
        self.model = model

    def forward(self, *arguments: Tensor) -> Tensor:
        return self.model.albert.dense(*arguments)


@BLOCKS
def test_the_path_for_exports_exports(fields: dict[str, str]) -> None:
    def batch(rows: int, length: int) -> tuple[Tensor, ...]:
        ids = torch.randint(4, 90, (rows, length), generator=torch.Generator().manual_seed(0))
        mask = torch.arange(length) < torch.arange(length - rows + 1, length + 1)[:, None]
        return ids, mask, ids % 2, torch.arange(length).expand(rows, length).contiguous()

    model = _Dense(random_model(config_of(**fields)))
    dims = {0: torch.export.Dim("rows"), 1: torch.export.Dim("length", max=40)}
    with torch.no_grad():
        exported = torch.export.export(model, batch(3, 10), dynamic_shapes=((dims,) * 4,))
        other = batch(2, 17)
        assert_close(exported.module()(*other), model(*other))
    calls = [str(node.target) for node in exported.graph.nodes if node.op == "call_function"]
    assert calls
    assert not any("litebert" in call for call in calls), "an operator that other programs do not know"


@BLOCKS
def test_half_precision_is_close_and_the_residual_stream_keeps_its_digits(fields: dict[str, str]) -> None:
    model = random_model(config_of(**fields))
    trace = Trace()
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.albert(packed_batch(), trace=trace)
    assert_close(hidden.float(), model.encode(packed_batch()), atol=0.15, rtol=0.05)
    expected = torch.float32 if fields else torch.bfloat16
    assert {state.dtype for state in trace.hidden_states[:-1]} == {expected}


@BLOCKS
def test_checkpointing_activations_changes_no_number(fields: dict[str, str]) -> None:
    gradients = []
    for on in (False, True):
        model = random_model(config_of(hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3, **fields)).train()
        model.albert.encoder.activation_checkpointing = on
        torch.manual_seed(5)
        hidden = model.encode(packed_batch())
        (hidden * torch.linspace(0, 1, hidden.numel()).view_as(hidden)).sum().backward()
        gradients.append([hidden.detach(), *(p.grad for p in model.albert.encoder.parameters())])
    assert_close(gradients[1], gradients[0])


# -- the four dropouts ---------------------------------------------------------------------------------------------


def test_embedding_dropout() -> None:
    model = random_model(config_of(embedding_dropout_prob=1.0)).train()
    assert not model.albert.embedding(*packed_batch()[:3]).any(), "after the norm: nothing is left"
    model = random_model(config_of(embedding_dropout_prob=0.3)).train()
    batch = packed_batch([list(range(4, 40))] * 200)
    torch.manual_seed(0)
    embedded = model.albert.embedding(*batch[:3])
    assert (embedded == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    kept = model.eval().albert.embedding(*batch[:3]) / 0.7
    assert_close(embedded, torch.where(embedded == 0, 0.0, kept))


@BLOCKS
def test_hidden_dropout_is_after_both_output_projections(fields: dict[str, str]) -> None:
    model = random_model(config_of(hidden_dropout_prob=1.0, **fields)).train()
    encoder, batch = model.albert.encoder, packed_batch()
    hidden = encoder.projection(model.albert.embedding(*batch[:3]))
    if encoder.norm is not None:
        expected = encoder.norm(hidden)  # nothing reaches the residual stream
    else:
        expected = hidden
        for _ in range(4):
            expected = encoder.ffn[0].norm(encoder.attention[0].norm(expected))
    assert_close(model.encode(batch), expected)


@BLOCKS
@pytest.mark.parametrize("part", ["attention", "ffn"])
def test_hidden_dropout_drops_its_share(part: str, fields: dict[str, str]) -> None:
    model = random_model(config_of(hidden_dropout_prob=0.25, num_hidden_layers=1, **fields)).train()
    seen: list[Tensor] = []
    dropout = getattr(model.albert.encoder, part)[0].dropout
    dropout.register_forward_hook(lambda _, __, output: seen.append(output))
    torch.manual_seed(0)
    model.encode(packed_batch([list(range(4, 40))] * 100))
    assert len(seen) == 1
    assert (seen[0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)


@BLOCKS
def test_attention_dropout_is_on_the_probabilities(fields: dict[str, str]) -> None:
    model = random_model(config_of(attention_probs_dropout_prob=1.0, num_hidden_layers=1, **fields)).train()
    no_values = copy.deepcopy(model).eval()
    attention = no_values.albert.encoder.attention[0]
    with torch.no_grad():
        attention.qkv.weight[64:] = 0
        attention.qkv.bias[64:] = 0
    batch = packed_batch()
    expected = no_values.encode(batch)
    for kernel in ("padded", "fused"):
        assert_close(model.encode(batch, attention=kernel), expected, atol=1e-6, rtol=1e-5)
    model = random_model(config_of(attention_probs_dropout_prob=0.4, num_hidden_layers=1, **fields)).train()
    trace = Trace(attentions=[])
    torch.manual_seed(0)
    batch = packed_batch([list(range(4, 40))] * 30)
    model.albert(batch, trace=trace)
    assert trace.attentions is not None
    dropped = trace.attentions[0]
    assert (dropped == 0).float().mean().item() == pytest.approx(0.4, abs=0.01)
    whole = Trace(attentions=[])
    model.eval().albert(batch, trace=whole)
    assert whole.attentions is not None
    assert_close(dropped, torch.where(dropped == 0, 0.0, whole.attentions[0] / 0.6))


def test_attention_dropout_in_half_precision() -> None:
    """Whose gradients another kernel computes on a CPU, which knows no dropout."""
    rows = torch.randn(2, 8, 3, 2, 16, dtype=torch.bfloat16).requires_grad_()
    for kernel in ("padded", "fused"):
        assert attend_rows(rows, None, None, None, kernel, 0.0)[0].any()
        assert not attend_rows(rows, None, None, None, kernel, 1.0)[0].any()


def test_classifier_dropout() -> None:
    model = random_model(config_of(classifier_dropout_prob=1.0), ("classify", "sentence_order")).train()
    pooled = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    head = model.heads["classify"]
    assert torch.equal(head(pooled), head.classifier.bias.expand(5, -1)), "before the classifier"
    order = model.heads["sentence_order"]
    assert torch.equal(order(pooled), order.classifier(pooled)), "the original has none here"
    head.dropout.p = 0.2
    torch.manual_seed(0)
    dropped = head.dropout(torch.ones(100, 100))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.2, abs=0.02)


@BLOCKS
def test_answers_are_without_dropout(fields: dict[str, str]) -> None:
    names = ("hidden", "attention_probs", "embedding", "classifier")
    all_dropouts = {f"{name}_dropout_prob": 0.5 for name in names}
    plain, with_dropout = random_model(config_of(**fields)), random_model(config_of(**all_dropouts, **fields))
    assert torch.equal(plain.encode(packed_batch()), with_dropout.encode(packed_batch()))


# -- start values and copies ---------------------------------------------------------------------------------------


@BLOCKS
def test_start_values(fields: dict[str, str]) -> None:
    config = preset("mini", **{"block": "post_norm", "position": "absolute", **fields})
    model = build_model(config, ("masked_lm", "sentence_order", "classify"), generator=torch.Generator().manual_seed(0))
    small = 1 / (2 * config.num_hidden_layers) ** 0.5 if config.block == "pre_norm" else 1.0
    for name, parameter in model.named_parameters():
        if "norm.weight" in name:
            assert (parameter == 1).all(), name
        elif parameter.ndim == 1:
            assert not parameter.any(), name
        else:
            into_residual = name.endswith(("attention.0.dense.weight", "ffn.0.output.weight"))
            std = 0.02 * (small if into_residual else 1.0)
            assert parameter.abs().max() <= 2 * std * 1.0001, name
            # A normal cut at two deviations has 0.88 of the deviation.
            assert parameter.std().item() == pytest.approx(0.8796 * std, rel=0.1), name
            assert abs(parameter.mean().item()) < 0.1 * std, name


def test_start_values_are_an_argument() -> None:
    state = torch.get_rng_state()
    models = [build_model(config_of(), generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), state), "the global generator is not touched"
    one, same, other = (model.albert.encoder.projection.weight for model in models)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_model_can_be_copied_and_sent() -> None:
    model = random_model(config_of(**OWN_BLOCK))
    expected = model.heads["masked_lm"](model.encode(packed_batch()))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin.heads["masked_lm"](twin.encode(packed_batch())), expected)
        with torch.no_grad():
            twin.albert.embedding.word.weight.zero_()
        assert torch.equal(twin.heads["masked_lm"](twin.encode(packed_batch()))[0], twin.heads["masked_lm"].bias)


def test_looking_up_has_the_gradient_of_an_embedding() -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 7, (500,), generator=generator)
    weights = torch.randn(500, 5, generator=generator)
    table, other = (torch.randn(9, 5, generator=generator).requires_grad_() for _ in range(2))
    with torch.no_grad():
        other.copy_(table)
    (look_up(table, ids) * weights).sum().backward()
    (F.embedding(ids, other) * weights).sum().backward()
    assert_close(table.grad, other.grad)
    assert torch.equal(look_up(table, ids), F.embedding(ids, table))
    library.opcheck(torch.ops.litebert.table_gradient, (weights, ids, 9))


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch's own
def test_compiled_gradients_are_the_same_bits_every_time() -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 50, (20_000,), generator=generator)
    weights = torch.randn(20_000, 8, generator=generator)
    table = torch.randn(60, 8, generator=generator).requires_grad_()
    compiled = torch.compile(lambda: (look_up(table, ids) * weights).sum(), fullgraph=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first = torch.autograd.grad(compiled(), table)[0]
        assert all(torch.equal(torch.autograd.grad(compiled(), table)[0], first) for _ in range(10))
    finally:
        torch.set_num_threads(threads)
        torch._dynamo.reset()
    assert_close(first, torch.autograd.grad((F.embedding(ids, table) * weights).sum(), table)[0])


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_built(name: str) -> None:
    with torch.device("meta"):
        AlbertWithHeads(preset(name), ("masked_lm", "sentence_order", "classify"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_gelu_is_the_same_function(dtype: torch.dtype) -> None:
    x = torch.linspace(-12, 12, 4001).to(dtype).requires_grad_()
    results = []
    for function in (gelu_tanh, torch.compile(gelu_tanh)):
        y = function(x)
        (gradient,) = torch.autograd.grad(y.float().sum(), x)
        results.append((y.detach().float(), gradient.float()))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=2e-6 if dtype == torch.float32 else 0.02, rtol=1e-5)
