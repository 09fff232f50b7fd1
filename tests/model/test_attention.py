"""Every kernel equals plain attention over one sequence at a time; unused slots exist for no one."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from litebert.errors import ConfigError
from litebert.model.attention import (
    FUSED_FROM,
    KERNELS,
    Layout,
    attend,
    dense_layout,
    fastest,
    packed_layout,
    relations,
    rotary_angles,
    rotate,
)
from litebert.model.packed import Packed, pack_lists
from tests.models import OWN_BLOCK, SEQUENCES, config_of, packed_batch, random_model, with_unused_slots

HEADS, WIDTH = 4, 32
BLOCKS = pytest.mark.parametrize("fields", [{}, OWN_BLOCK], ids=["post_norm", "pre_norm"])


def one_at_a_time(qkv: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Attention by its definition, sequence by sequence and head by head: the slow one."""
    size = WIDTH // HEADS
    result = torch.zeros(len(qkv), WIDTH)
    for start, end in zip(cu_seqlens[:-1].tolist(), cu_seqlens[1:].tolist(), strict=True):
        for head in range(HEADS):
            query, key, value = (
                qkv[start:end, part * WIDTH + head * size : part * WIDTH + (head + 1) * size] for part in range(3)
            )
            weights = torch.softmax(query @ key.T / size**0.5, dim=-1)
            result[start:end, head * size : (head + 1) * size] = weights @ value
    return result


@pytest.mark.parametrize("kernel", ["padded", "fused"])
def test_kernels_equal_the_definition(kernel: str) -> None:
    batch = packed_batch()
    padded = with_unused_slots(batch, 40, 9, 16)
    qkv = torch.randn(40, 3 * WIDTH, generator=torch.Generator().manual_seed(1))
    found, _ = attend(qkv, packed_layout(padded.cu_seqlens, 40, 16, kernel), HEADS)
    used = len(batch.input_ids)
    assert_close(found[:used], one_at_a_time(qkv, batch.cu_seqlens)[:used], atol=1e-5, rtol=0)
    assert found.isfinite().all()


@pytest.mark.parametrize("kernel", ["padded", "fused"])
@pytest.mark.parametrize("fields", [{}, OWN_BLOCK, {"position": "relative"}])
def test_bands_change_no_answer_and_no_gradient(kernel: str, fields: dict[str, str]) -> None:
    """Sequences by falling length, empty ones last, in one rectangle and in three."""
    model = random_model(config_of(**fields))
    lengths = [12, 9, 7, 4, 4, 2, 0, 0]
    batch = pack_lists([[5 + i + j for j in range(length)] for i, length in enumerate(lengths)])
    banded = batch._replace(bands=((2, 12), (3, 8), (3, 4)))
    assert sum(count * length for count, length in banded.bands) == 60
    results = []
    for one in (batch, banded):
        model.zero_grad()
        hidden = model.albert(one, attention=kernel)
        hidden.square().sum().backward()
        results.append((hidden.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    (plain, gradients), (found, others) = results
    assert_close(found, plain, atol=1e-5, rtol=1e-5)
    for name, gradient in gradients.items():
        assert_close(others[name], gradient, atol=1e-3, rtol=1e-4)


def test_relations_are_those_of_each_sequence_by_itself() -> None:
    batch = packed_batch()
    padded = with_unused_slots(batch, 40, 9, 16)
    qkv = torch.randn(40, 3 * WIDTH, generator=torch.Generator().manual_seed(1))
    found = relations(qkv, packed_layout(padded.cu_seqlens, 40, 16), 2)  # (S, 2, 3, L, L)
    assert found.shape == (9, 2, 3, 16, 16)
    for number, (start, end) in enumerate(
        zip(batch.cu_seqlens[:-1].tolist(), batch.cu_seqlens[1:].tolist(), strict=True)
    ):
        size = end - start
        for part in range(3):
            for head in range(2):
                columns = slice(part * WIDTH + head * WIDTH // 2, part * WIDTH + (head + 1) * WIDTH // 2)
                x = qkv[start:end, columns]
                expected = torch.log_softmax(x @ x.T / (WIDTH // 2) ** 0.5, dim=-1)
                assert_close(found[number, head, part, :size, :size], expected, atol=1e-5, rtol=0)


def test_full_rows_need_no_gathers() -> None:
    cu_seqlens = torch.arange(4, dtype=torch.int32) * 5
    qkv = torch.randn(15, 3 * WIDTH, generator=torch.Generator().manual_seed(1))
    layout = packed_layout(cu_seqlens, 15, 5, "dense")
    assert layout.slots is None
    assert_close(attend(qkv, layout, HEADS)[0], one_at_a_time(qkv, cu_seqlens), atol=1e-5, rtol=0)
    with pytest.raises(ConfigError, match="full rows"):
        packed_layout(cu_seqlens, 16, 5, "dense")


def test_masked_rows() -> None:
    mask = torch.tensor([[True, True, True, False], [True, True, True, True]])
    qkv = torch.randn(8, 3 * WIDTH, generator=torch.Generator().manual_seed(1))
    found, _ = attend(qkv, dense_layout(mask), HEADS)
    expected = one_at_a_time(qkv[mask.flatten()], torch.tensor([0, 3, 7]))
    assert_close(found[mask.flatten()], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("half", "tolerance"), [(False, 1e-6), (True, 2e-2)])
def test_the_faster_kernel_has_the_gradients_of_the_plain_one(half: bool, tolerance: float) -> None:
    """In bands on both sides of the length from which on it is another one."""
    lengths = [FUSED_FROM + 8, FUSED_FROM, 3, 1]
    bands = ((2, FUSED_FROM + 8), (2, 8))
    cu = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    total, generator = int(cu[-1]), torch.Generator().manual_seed(5)
    qkv = torch.randn(total, 3 * WIDTH, generator=generator)
    weights = torch.randn(total, WIDTH, generator=generator)
    found = {}
    for kernel in ("auto", "padded"):
        x = (qkv.bfloat16() if half else qkv).clone().requires_grad_()
        out, _ = attend(x, packed_layout(cu, total, FUSED_FROM + 8, kernel, bands), HEADS)
        (out * weights).sum().backward()
        assert x.grad is not None
        found[kernel] = out.float(), x.grad.float()
    assert_close(found["auto"], found["padded"], atol=tolerance, rtol=tolerance)


def test_which_kernel_is_the_faster_one() -> None:
    fp32, half = torch.zeros(2), torch.zeros(2, dtype=torch.bfloat16, requires_grad=True)
    bias = torch.zeros(2, requires_grad=True)
    assert fastest(fp32, 16, None, 0.0) == fastest(half.detach(), 16, bias.detach(), 0.0) == "fused"
    assert fastest(half, FUSED_FROM - 1, None, 0.0) == "padded"
    assert fastest(half, FUSED_FROM, None, 0.0) == "fused"
    assert fastest(half, FUSED_FROM, None, 0.1) == fastest(half, FUSED_FROM, bias, 0.0) == "padded"


def test_probabilities_are_those_applied() -> None:
    batch = packed_batch()
    qkv = torch.randn(len(batch.input_ids), 3 * WIDTH, generator=torch.Generator().manual_seed(1))
    layout = packed_layout(batch.cu_seqlens, len(qkv), batch.max_length, "padded")
    _, probabilities = attend(qkv, layout, HEADS)
    assert probabilities is not None
    assert probabilities.shape == (4, HEADS, 12, 12)
    assert_close(probabilities.sum(-1), torch.ones(4, HEADS, 12))
    for row, ids in enumerate(SEQUENCES):
        assert not probabilities[row, :, :, len(ids) :].any(), "padding is attended to"


@BLOCKS
def test_the_whole_model_by_every_kernel(fields: dict[str, str]) -> None:
    model = random_model(config_of(**fields))
    batch = packed_batch()
    alone = [model.encode(packed_batch([ids])) for ids in SEQUENCES]
    for kernel in ("auto", "padded", "fused"):
        assert_close(model.encode(batch, attention=kernel), torch.cat(alone), atol=1e-5, rtol=1e-5)
    assert_close(model.encode(packed_batch(SEQUENCES[:1]), attention="dense"), alone[0], atol=1e-5, rtol=1e-5)


@BLOCKS
@pytest.mark.parametrize("kernel", ["padded", "fused"])
def test_unused_slots_influence_nothing(kernel: str, fields: dict[str, str]) -> None:
    model = random_model(config_of(**fields)).train()  # without dropout
    batch = packed_batch()
    used = len(batch.input_ids)
    gradients = []
    for packed in (batch, with_unused_slots(batch, 50, 11, 16), with_unused_slots(batch, 33, 4, 12)):
        model.zero_grad()
        hidden = model.encode(packed, attention=kernel)
        assert hidden.isfinite().all()
        pooled = model.pooled(hidden, packed)
        assert pooled.isfinite().all()
        loss = model.heads["masked_lm"](hidden[:used]).logsumexp(-1).sum() + pooled[:4].square().sum()
        loss.backward()
        gradients.append([loss.detach(), hidden[:used].detach(), *(p.grad for p in model.albert.parameters())])
    for found in gradients[1:]:
        assert_close(found, gradients[0], atol=1e-4, rtol=1e-4)


def test_nothing_is_read_across_sequences() -> None:
    model = random_model(config_of(**OWN_BLOCK))
    batch = packed_batch()
    embeds = torch.randn(len(batch.input_ids), 12, generator=torch.Generator().manual_seed(1))
    clean = model.albert(batch, inputs_embeds=embeds)
    embeds[9:11] = float("nan")  # the second sequence
    hidden = model.albert(batch, inputs_embeds=embeds)
    assert hidden[9:11].isnan().all()
    assert torch.equal(hidden[:9], clean[:9])
    assert torch.equal(hidden[11:], clean[11:])


def test_one_compilation_serves_every_batch() -> None:
    from torch._dynamo.testing import CompileCounter

    model = random_model(config_of(**OWN_BLOCK))
    counter = CompileCounter()
    compiled = torch.compile(lambda packed: model.pooled(model.encode(packed), packed), backend=counter, fullgraph=True)
    for count in (4, 2, 3, 1):
        packed = with_unused_slots(packed_batch(SEQUENCES[:count]), 48, 6, 12)
        assert_close(compiled(packed), model.pooled(model.encode(packed), packed))
    assert counter.frame_count == 1
    torch._dynamo.reset()


# -- rotary positions ----------------------------------------------------------------------------------------------


def test_rotation_is_multiplication_by_a_complex_number() -> None:
    positions = torch.tensor([0, 1, 5, 39])
    x = torch.randn(4, 1, 8, generator=torch.Generator().manual_seed(1))
    layout = Layout("varlen", ((4, 1),))
    turned = rotate(x[:, 0], rotary_angles(positions, 8, layout))
    frequency = torch.tensor([10000.0 ** (-pair / 4) for pair in range(4)])
    factor = torch.polar(torch.ones(4, 4), positions[:, None] * frequency)
    expected = torch.complex(x[:, 0, :4], x[:, 0, 4:]) * factor
    assert_close(turned, torch.cat((expected.real, expected.imag), dim=-1), atol=1e-5, rtol=1e-5)
    assert rotate(x, None) is x


def test_angles_follow_their_tokens_into_every_layout() -> None:
    batch = packed_batch()
    flat = rotary_angles(batch.position_ids, 8, Layout("varlen", ((4, 12),)))
    layout = packed_layout(batch.cu_seqlens, len(batch.input_ids), 12)
    padded = rotary_angles(batch.position_ids, 8, layout)
    assert layout.places is not None
    for one, other in zip(flat, padded, strict=True):
        assert torch.equal(one, other[layout.places])


def test_rotary_positions_see_distances_alone() -> None:
    model = random_model(config_of(**OWN_BLOCK))
    batch = packed_batch()
    moved = batch._replace(position_ids=batch.position_ids + 17)
    assert_close(model.encode(moved), model.encode(batch), atol=1e-4, rtol=1e-4)
    swapped = batch._replace(position_ids=batch.position_ids.flip(0))
    assert not torch.allclose(model.encode(swapped), model.encode(batch), atol=1e-2)


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "word"), [("varlen", "cpu"), ("flash", "padded"), ("dense", "full rows")])
def test_kernels_that_do_not_suit(kernel: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word) as error:
        random_model(config_of()).encode(packed_batch(), attention=kernel)
    assert "\n" not in str(error.value)


@pytest.mark.gpu
@BLOCKS
def test_varlen_on_cuda(fields: dict[str, str]) -> None:
    model = random_model(config_of(**fields)).cuda().bfloat16()
    batch = with_unused_slots(packed_batch(), 50, 11, 16)
    cuda = Packed(*(part.cuda() for part in batch[:4]), 16)
    found, expected = (model.encode(cuda, attention=kernel).float() for kernel in ("varlen", "padded"))
    assert found.isfinite().all()
    used = int(batch.cu_seqlens[-1])
    assert_close(found[:used], expected[:used], atol=0.1, rtol=0.1)


def test_every_kernel_is_described() -> None:
    described: dict[str, str] = KERNELS
    assert set(described) == {"auto", "padded", "fused", "dense", "varlen"}
