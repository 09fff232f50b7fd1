"""Where sequences lie among tokens, and one attention function per kernel; nothing else knows of sequences.

Dimensions: S sequences, L longest length, T tokens, N heads, D head size. Where attention pads, the sequences lie in
bands, each a rectangle of C sequences and l columns; P places in all of them. Masks are bool, True = attend.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, library

from litebert.errors import ConfigError
from litebert.model.device import Computing
from litebert.model.packed import Bands
from litebert.model.tables import look_up

KERNELS = {
    "auto": "padded or fused, for each band whichever is faster there",
    "padded": "pads inside attention, plain matrix products: what trains fastest on a CPU when compiled",
    "fused": "pads inside attention, torch's scaled_dot_product_attention: least memory at long lengths",
    "dense": "the tokens already lie in full rows: no gathers",
    "varlen": "torch's variable-length kernel: CUDA in half precision",
}
"""Attention kernels by name; all give equal results."""

FUSED_FROM = 112
"""Columns from which on torch's kernel trains faster than plain products in half precision on a CPU; in fp32, and where
no gradients are wanted, it is always faster (`benchmarks/attention.py`)."""

RELATIVE_BUCKETS = 32
"""Rows of the table of relative positions: half for what stands before a token, half for what stands after."""

_FARTHEST = 128
"""Distance from which on all relative positions are one."""


class Layout(NamedTuple):
    """Where the sequences lie among the tokens; computed once a forward pass, used by every layer."""

    kernel: str
    bands: Bands
    """Of the padded batch; one, unless the batch itself lies in several. The first is as long as the longest may be"""
    masks: tuple[Tensor, ...] = ()
    """(C, 1, 1, l) bool a band, the keys to attend to; empty: all of them"""
    slots: Tensor | None = None
    """(P,) int64, the token in each slot of the padded batch; None: token i lies in slot i"""
    places: Tensor | None = None
    """(T,) int64, the slot of each token; goes with `slots`"""
    filled: Tensor | None = None
    """(P, 1) bool, the slots that hold a token of their own; goes with `slots`"""
    used: Tensor | None = None
    """(T, 1) bool, the tokens that are in a sequence; goes with `places`"""
    cu_seqlens: Tensor | None = None
    """(S + 1,) int32, for `varlen` alone"""
    bias: Tensor | None = None
    """(1, N, L, L), added to the scores: relative positions"""


@library.custom_op("litebert::computed_once", mutates_args=())
def _computed_once(x: Tensor) -> Tensor:
    return x.clone()


@_computed_once.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


def computed_once(x: Tensor) -> Tensor:
    """A tensor without gradient as it is. Compiled for a CPU, every kernel that reads it would compute it again."""
    if x.device.type == "cpu" and torch.compiler.is_compiling() and not torch.compiler.is_exporting():
        result: Tensor = _computed_once(x)
        return result
    return x


class Rearrange(torch.autograd.Function):
    """Rows of x (R, W) by an index (Q,) -> (Q, W), where the way back is known, and therefore a gather too.

    Autograd would add the gradient of every row of the result to its source, one number after the other and each of
    them safe from other threads; that took 13 % of a step of preset base on two cores.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, back: Tensor, valid: Tensor) -> Tensor:
        """back (R,): for each row of x the one of the result whose gradient is its own; valid (R, 1): there is one."""
        ctx.save_for_backward(back, valid)
        return x[index]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        """(Q, W) -> (R, W)."""
        back, valid = ctx.saved_tensors
        return torch.where(valid, gradient[back], 0.0), None, None, None


class HalfForward(torch.autograd.Function):
    """Torch's kernel for attention on a CPU: forward in half precision, backward in fp32.

    Its backward pass in half precision takes up to twice as long as that in fp32, and is less exact.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Query, key, value (C, N, l, D); mask is added to the scores, (C, 1, 1, l) or (C, N, l, l)."""
        out, logsumexp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, attn_mask=mask)
        ctx.save_for_backward(query, key, value, out, logsumexp, mask)
        return out  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """(C, N, l, D) -> three of them."""
        query, key, value, out, logsumexp, mask = ctx.saved_tensors
        singles = [x.float() for x in (gradient, query, key, value, out)]
        shown = None if mask is None else mask.float()
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
        first, second, third = flash(*singles, logsumexp, 0.0, False, attn_mask=shown)
        return first.to(query.dtype), second.to(key.dtype), third.to(value.dtype), None


class Angles(NamedTuple):
    """The rotation of the queries and keys in every place, for `varlen` of every token."""

    cos: Tensor
    """(P, D / 2), for `varlen` (T, D / 2); fp32"""
    sin: Tensor
    """The same"""

    def of(self, first: int, sequences: int, length: int) -> "Angles":
        """Those of a band, (C, 1, l, D / 2), whose places begin at `first`."""
        chosen = slice(first, first + sequences * length)
        return Angles(*(x[chosen].view(sequences, 1, length, x.shape[-1]) for x in self))


def packed_layout(
    cu_seqlens: Tensor, total_tokens: int, max_length: int, kernel: str = "auto", bands: Bands = ()
) -> Layout:
    """Describe a packed batch for a kernel. All shapes follow from shapes, none from values.

    Raises ConfigError for an unknown kernel and one that does not suit the batch or its device.
    """
    sequences = cu_seqlens.shape[0] - 1
    if kernel not in KERNELS:
        raise ConfigError(f"attention {kernel!r} is unknown: use one of {', '.join(KERNELS)}")
    if kernel == "varlen":
        if cu_seqlens.device.type != "cuda":
            raise ConfigError(f"attention 'varlen' does not run on {cu_seqlens.device.type}: use 'padded'")
        return Layout(kernel, ((sequences, max_length),), cu_seqlens=cu_seqlens)
    if kernel == "dense":
        if total_tokens != sequences * max_length:
            raise ConfigError(
                f"attention 'dense' needs full rows, but {total_tokens} tokens are not {sequences} sequences "
                f"of {max_length}: use 'padded'"
            )
        return Layout(kernel, ((sequences, max_length),))
    bands = bands or ((sequences, max_length),)
    starts, ends = cu_seqlens[:-1].long(), cu_seqlens[1:].long()  # (S,), (S,)
    last = (ends - starts - 1).clamp(min=0)[:, None]  # (S, 1)
    masks, slots, filled, places, first, room = [], [], [], [], 0, 0
    for count, length in bands:
        chosen = slice(first, first + count)
        column = torch.arange(length, device=cu_seqlens.device)  # (l,)
        # Column 0 is open in a sequence of no tokens too: a softmax over nothing would be NaN.
        masks.append((column <= last[chosen])[:, None, None])  # (C, 1, 1, l)
        # Padding repeats the sequence's own last token, so that nothing of one sequence is ever read by another.
        slots.append((starts[chosen, None] + torch.minimum(column, last[chosen])).flatten())  # (C * l,)
        filled.append((column < (ends - starts)[chosen, None]).flatten())  # (C * l,)
        row = torch.arange(count, device=cu_seqlens.device)  # (C,)
        places.append(torch.stack((room + row * length, torch.full_like(row, length - 1)), 1))  # (C, 2)
        first, room = first + count, room + count * length
    token = torch.arange(total_tokens, device=cu_seqlens.device)  # (T,)
    owner = torch.searchsorted(ends, token, right=True).clamp(max=sequences - 1)  # (T,)
    # An unused slot after the last sequence gets a copy of some real token's result: finite, and read by no one.
    begin, limit = torch.cat(places)[owner].unbind(1)  # 2 x (T,)
    return Layout(
        kernel,
        bands,
        tuple(map(computed_once, masks)),
        computed_once(torch.cat(slots).clamp(max=total_tokens - 1)),
        computed_once(begin + torch.minimum(token - starts[owner], limit)),
        computed_once(torch.cat(filled)[:, None]),
        computed_once((token < ends[-1])[:, None]),
    )


def training_kernel(device: torch.device, precision: Computing, *, dropout: float, relative: bool) -> str:
    """The kernel that trains fastest, compiled, at a precision and a dropout of the probabilities, with relative
    positions or without; on a GPU what `varlen` cannot do is left to `fused`."""
    if device.type != "cuda":
        return "padded"
    with precision():
        half = torch.is_autocast_enabled("cuda")
    return "varlen" if half and not dropout and not relative else "fused"


def dense_layout(attention_mask: Tensor) -> Layout:
    """Describe a padded batch whose tokens lie in rows: attention_mask (B, L), true at real tokens."""
    rows, length = attention_mask.shape
    return Layout("dense", ((rows, length),), (attention_mask.bool()[:, None, None],))


def rotary_angles(position_ids: Tensor, head_size: int, layout: Layout) -> Angles:
    """Angles of rotary positions (Su et al. 2021, base 10000); position_ids (T,)."""
    pair = torch.arange(0, head_size, 2, device=position_ids.device, dtype=torch.float32)  # (D / 2,)
    if layout.slots is not None:
        position_ids = position_ids[layout.slots]  # (P,)
    angles = position_ids[:, None].float() * 10000.0 ** (-pair / head_size)  # (P, D / 2), for `varlen` (T, D / 2)
    return Angles(computed_once(angles.cos()), computed_once(angles.sin()))


def rotate(x: Tensor, angles: Angles | None) -> Tensor:
    """Turn queries or keys by their positions: pairs are number i of the first half with i of the second.

    The angles (..., D / 2) are of any shape that x (..., D) broadcasts with. Shapes stay.
    """
    if angles is None:
        return x
    a, b = x.view(*x.shape[:-1], 2, x.shape[-1] // 2).unbind(-2)
    turned = (a * angles.cos - b * angles.sin, b * angles.cos + a * angles.sin)
    return torch.stack(turned, -2).flatten(-2).to(x.dtype)


def relative_bias(table: Tensor, layout: Layout) -> Tensor:
    """What each head adds to its scores for the distance of two tokens: table (32, N) -> (1, N, L, L).

    Distances below 8 have a bucket each, farther ones share theirs by their logarithm, up to 128 (T5, as MPNet has
    it). Raises ConfigError for a kernel that takes no bias.
    """
    if layout.kernel == "varlen":
        raise ConfigError("attention 'varlen' takes no relative positions: use 'fused'")
    place = torch.arange(layout.bands[0][1], device=table.device)  # (L,)
    distance = place[None, :] - place[:, None]  # (L, L) key minus query
    half, size = RELATIVE_BUCKETS // 2, distance.abs()
    exact = half // 2
    log = torch.log(size.clamp(min=1).float() / exact) / math.log(_FARTHEST / exact) * (half - exact)
    far = (exact + log.long()).clamp(max=half - 1)
    bucket = torch.where(size < exact, size, far) + half * (distance > 0)  # (L, L)
    bias = look_up(table, bucket.flatten())  # (L * L, N)
    return bias.view(*bucket.shape, -1).permute(2, 0, 1)[None]  # (1, N, L, L)


def attend(
    qkv: Tensor, layout: Layout, heads: int, angles: Angles | None = None, dropout: float = 0.0
) -> tuple[Tensor, Tensor | None]:
    """Attention of every token over its own sequence: (T, 3H) -> (T, H).

    Also returns the probabilities (S, N, L, L) as applied, after dropout, where the kernel computes them and the
    sequences lie in one band.
    """
    if layout.kernel == "varlen":
        return _attend_varlen(qkv, layout, heads, angles, dropout), None
    if layout.slots is not None:
        # Copies of a sequence's last token fill its row: nobody attends to them or reads their results.
        qkv = _rearrange(qkv, layout.slots, layout.places, layout.used)  # (P, 3H)
    results, probabilities, first = [], None, 0
    parts = qkv.split_with_sizes([sequences * length for sequences, length in layout.bands])
    for band, (sequences, length) in enumerate(layout.bands):
        rows = parts[band].view(sequences, length, 3, heads, -1)  # (C, l, 3, N, D)
        turned = None if angles is None else angles.of(first, sequences, length)
        mask = layout.masks[band] if layout.masks else None
        bias = None if layout.bias is None else layout.bias[:, :, :length, :length]
        kernel = fastest(qkv, length, bias, dropout) if layout.kernel == "auto" else layout.kernel
        result, probabilities = attend_rows(rows, mask, bias, turned, kernel, dropout)
        results.append(result)
        first += sequences * length
    out = results[0] if len(results) == 1 else torch.cat(results)  # (P, H)
    if layout.places is not None:
        out = _rearrange(out, layout.places, layout.slots, layout.filled)  # (T, H)
    return out, probabilities if len(results) == 1 else None


def fastest(qkv: Tensor, length: int, bias: Tensor | None, dropout: float) -> str:
    """The kernel of a band of some length; on a CPU torch's has neither dropout nor a gradient of the bias."""
    if qkv.device.type != "cpu":
        return "fused"
    if dropout or (bias is not None and bias.requires_grad):
        return "padded"
    return "padded" if _half_on_cpu(qkv) and length < FUSED_FROM else "fused"


def _half_on_cpu(x: Tensor) -> bool:
    """Whether there will be gradients in half precision on a CPU."""
    return x.requires_grad and x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16)


def attend_rows(
    rows: Tensor, mask: Tensor | None, bias: Tensor | None, angles: Angles | None, kernel: str, dropout: float
) -> tuple[Tensor, Tensor | None]:
    """Attention within the rows of one band: (C, l, 3, N, D) -> (C * l, H), and its probabilities (C, N, l, l)."""
    query, key, value = rows.transpose(1, 3).unbind(2)  # 3 x (C, N, l, D)
    query, key = rotate(query, angles), rotate(key, angles)
    probabilities = None
    if kernel == "fused":
        shown = mask if bias is None else _masked_bias(mask, bias, query.dtype)
        if _half_on_cpu(query) and not dropout and not (bias is not None and bias.requires_grad):
            if shown is not None and shown.dtype == torch.bool:
                shown = torch.where(shown, 0.0, -math.inf).to(query.dtype)
            out = HalfForward.apply(query, key, value, shown)  # type: ignore[no-untyped-call]
        else:
            out = F.scaled_dot_product_attention(query, key, value, attn_mask=shown, dropout_p=dropout)
    else:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)  # (C, N, l, l)
        if bias is not None:
            scores = scores + bias
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        probabilities = F.dropout(scores.softmax(-1, dtype=torch.float32).to(value.dtype), dropout)
        out = probabilities @ value  # (C, N, l, D)
    return out.transpose(1, 2).reshape(rows.shape[0] * rows.shape[1], -1), probabilities


def relations(qkv: Tensor, layout: Layout, heads: int) -> Tensor:
    """How alike the queries of a sequence's tokens are, its keys and its values: (T, 3H) -> (S, R, 3, L, L).

    Each vector is divided among R `heads`, any number that divides H, so that models of other widths can be compared;
    a row holds the logarithms of a softmax (Wang et al. 2021, MiniLMv2). The layout is one of `padded`, with one band.
    """
    [(sequences, length)], [mask] = layout.bands, layout.masks
    rows = _rearrange(qkv, layout.slots, layout.places, layout.used)  # type: ignore[arg-type] # (S * L, 3H)
    x = rows.view(sequences, length, 3, heads, -1).transpose(1, 3)  # (S, R, 3, L, D)
    scores = ((x * x.shape[-1] ** -0.5) @ x.transpose(-2, -1)).float()  # (S, R, 3, L, L)
    masked: Tensor = scores.masked_fill(~mask[:, None], torch.finfo(scores.dtype).min)
    return masked.log_softmax(-1)


def _rearrange(x: Tensor, index: Tensor, back: Tensor | None, valid: Tensor | None) -> Tensor:
    return Rearrange.apply(x, index, back, valid)  # type: ignore[no-any-return, no-untyped-call]


def _masked_bias(mask: Tensor | None, bias: Tensor, dtype: torch.dtype) -> Tensor:
    """The bias (1, N, l, l), the lowest number at keys that are not to be attended to, (C, N, l, l)."""
    bias = bias.to(dtype)
    return bias if mask is None else torch.where(mask, bias, torch.finfo(dtype).min)


def _attend_varlen(qkv: Tensor, layout: Layout, heads: int, angles: Angles | None, dropout: float) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    if dropout:
        raise ConfigError("attention 'varlen' has no dropout: set attention_probs_dropout_prob 0 or use 'fused'")
    if qkv.dtype not in (torch.bfloat16, torch.float16):
        raise ConfigError(f"attention 'varlen' does not compute in {qkv.dtype}: use precision bf16 or 'fused'")
    cu, longest = layout.cu_seqlens, layout.bands[0][1]
    assert cu is not None
    # The kernel leaves unused slots as they come from memory, in both directions: there they become zeros.
    used = (torch.arange(qkv.shape[0], device=qkv.device) < cu[-1])[:, None]  # (T, 1)
    qkv = torch.where(used, qkv, 0.0)
    query, key, value = qkv.view(qkv.shape[0], 3, heads, -1).unbind(1)  # 3 x (T, N, D)
    turned = None if angles is None else Angles(angles.cos[:, None], angles.sin[:, None])  # (T, 1, D / 2)
    query, key = rotate(query, turned), rotate(key, turned)
    out = varlen_attn(query, key, value, cu, cu, longest, longest)  # (T, N, D)
    assert isinstance(out, Tensor)
    return torch.where(used, out.flatten(1), 0.0)  # (T, H)
