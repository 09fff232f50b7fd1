"""An encoder's embedding at width E instead of H, solved for in closed form on real tokens.

A BERT gives y = norm(word + position + segment) at width H; an ALBERT gives M norm(word' + position' + segment') + m,
the sum and the norm at width E. So:

1. An error matters as much as the sentence's vector moves with it: the metric G is the mean of g g^T over gradients g
   of that vector with respect to y, in random directions.
2. The E - 1 directions of y that hold most of its variance under G, over real tokens, make up a basis Q. (A norm
   leaves E - 1 dimensions: the mean is gone.)
3. y is linear in the sum but for the norm's division. The directions of the sum that Q reads, made orthonormal, are
   what the tables of width E hold, laid out in the space of mean zero: so the second norm divides by nearly what the
   first one did, and at E = H by exactly that.
4. What the second norm changes is solved for: M and m by least squares on real tokens.

Dimensions: T tokens, E embedding, H hidden, V rows of a table, S sequences.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from litebert.model.attention import packed_layout
from litebert.model.encoder import Albert
from litebert.model.packed import Packed
from litebert.model.pooling import pool

_PROBES = 4
"""Random directions of each sentence's vector whose gradients are taken."""

_RIDGE = 1e-6


class Factorized(NamedTuple):
    """The tensors of an ALBERT's embedding and projection, under their names in our model."""

    tensors: dict[str, Tensor]
    variance_kept: float
    """Share of the variance of the source's embedding that is explained, on the tokens it was solved for."""


def sentence_vectors(hidden: Tensor, packed: Packed, pooling: str) -> Tensor:
    """The normalized vector of each sequence, see `pool`: (T, H) -> (S, H)."""
    return F.normalize(pool(hidden, packed, pooling), dim=-1)


def sensitivity(source: Albert, batches: Sequence[Packed], pooling: str, generator: torch.Generator) -> Tensor:
    """How much the sentences' vectors move with an error of the embedded tokens: the metric G, (H, H)."""
    total = torch.zeros(source.config.hidden_size, source.config.hidden_size)
    for packed in batches:
        with torch.no_grad():
            embedded = embed(source, packed)  # (T, H)
        embedded.requires_grad_()
        layout = packed_layout(packed.cu_seqlens, len(packed.input_ids), packed.max_length)
        vectors = sentence_vectors(_layers(source, embedded, packed, layout), packed, pooling)  # (S, H)
        for _ in range(_PROBES):
            probe = torch.randn(vectors.shape, generator=generator)
            (gradient,) = torch.autograd.grad((vectors * probe).sum(), embedded, retain_graph=True)
            total += gradient.T @ gradient
    return total / total.trace()


def embed(source: Albert, packed: Packed) -> Tensor:
    """What the layers of a model read: (T, H)."""
    embedded: Tensor = source.embedding(packed.input_ids, packed.position_ids, packed.token_type_ids)
    if source.encoder.projection is None:
        return embedded
    projected: Tensor = source.encoder.projection(embedded)
    return projected


def factorize(source: Albert, batches: Sequence[Packed], width: int, metric: Tensor) -> Factorized:
    """Solve for an embedding of `width` that gives the layers what they read now, on the tokens of `batches`."""
    embedding, projection = source.embedding, source.encoder.projection
    words, places, segments = (torch.cat([getattr(batch, name) for batch in batches]) for name in Packed._fields[:3])
    wanted = torch.cat([embed(source, batch) for batch in batches])  # (T, H)
    centre = wanted.mean(0)
    values, vectors = torch.linalg.eigh(metric.double())
    half = (vectors * values.clamp(min=values.max() * _RIDGE).sqrt()) @ vectors.T  # (H, H)
    spread = half @ _gram(wanted - centre) @ half
    basis = half @ torch.linalg.eigh(spread)[1][:, -(width - 1) :]  # (H, E - 1)
    if projection is not None:
        basis = projection.weight.double().T @ basis
    read = embedding.norm.weight.double()[:, None] * basis  # (source's E, E - 1)
    read = torch.linalg.qr(read - read.mean(0))[0]
    mean_free = torch.linalg.svd(torch.eye(width) - 1 / width)[0].double()  # (E, E), the last column is not
    turn: Tensor = read @ mean_free[:, : read.shape[1]].T  # (source's E, E)

    def narrow(table: Tensor) -> Tensor:
        table = table.double()
        return ((table - table.mean(1, keepdim=True)) @ turn).float()

    rows = source.config.position_offset
    assert embedding.position is not None
    tables = {
        "word": narrow(embedding.word.weight),
        "position": narrow(embedding.position.weight[rows:]),
        "segment": torch.zeros(1, width) if embedding.segment is None else narrow(embedding.segment.weight),
    }
    scale = tables["word"].std()
    tables = {name: table / scale for name, table in tables.items()}
    segments = segments.clamp(max=len(tables["segment"]) - 1)
    summed = tables["word"][words] + tables["position"][places] + tables["segment"][segments]  # (T, E)
    normed = F.layer_norm(summed, (width,), eps=source.config.layer_norm_eps)
    known = torch.cat((normed, torch.ones(len(normed), 1)), 1).double()  # (T, E + 1)
    gram = known.T @ known
    gram += _RIDGE * gram.diagonal().mean() * torch.eye(width + 1)
    solved = torch.linalg.solve(gram, known.T @ wanted.double())  # (E + 1, H)
    lost = (known @ solved - wanted).square().sum() / (wanted - centre).square().sum()
    tensors = {f"albert.embedding.{name}.weight": table for name, table in tables.items()} | {
        "albert.embedding.norm.weight": torch.ones(width),
        "albert.embedding.norm.bias": torch.zeros(width),
        "albert.encoder.projection.weight": solved[:-1].T.float().contiguous(),
        "albert.encoder.projection.bias": solved[-1].float(),
    }
    return Factorized(tensors, 1 - float(lost))


def copied(source: Albert) -> Factorized:
    """The embedding and projection of a source that has this width already."""
    embedding, rows, projection = source.embedding, source.config.position_offset, source.encoder.projection
    assert embedding.position is not None
    assert projection is not None
    width = source.config.embedding_size
    tensors = {
        "albert.embedding.word.weight": embedding.word.weight,
        "albert.embedding.position.weight": embedding.position.weight[rows:],
        "albert.embedding.segment.weight": torch.zeros(1, width)
        if embedding.segment is None
        else embedding.segment.weight,
        "albert.embedding.norm.weight": embedding.norm.weight,
        "albert.embedding.norm.bias": embedding.norm.bias,
        "albert.encoder.projection.weight": projection.weight,
        "albert.encoder.projection.bias": projection.bias,
    }
    return Factorized(tensors, 1.0)


def _layers(source: Albert, embedded: Tensor, packed: Packed, layout: object) -> Tensor:
    encoder = source.encoder
    projection, encoder.projection = encoder.projection, None  # what comes in is projected already
    try:
        return encoder(embedded, packed.position_ids, layout)  # type: ignore[no-any-return]
    finally:
        encoder.projection = projection


def _gram(x: Tensor) -> Tensor:
    x = x.double()
    return x.T @ x / len(x)
