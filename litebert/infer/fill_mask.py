"""A pre-trained model without a task: which pieces stand at the masks, and do two texts follow each other?

Dimensions: n sequences (windows), S sequences of a batch, T its tokens, M masks, H hidden, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from litebert.data.examples import Examples, ExamplesBuilder, SequenceBatch, whole_in_place
from litebert.model.device import Computing
from litebert.model.heads import AlbertWithHeads
from litebert.model.outputs import MAX_TOKENS, to_packed
from litebert.tasks.task import DIGITS
from litebert.text.tokenizer import Tokenizer

MASK = "[MASK]"

TOP = 5
"""Candidates of a mask."""


class Candidate(NamedTuple):
    """A piece that may stand at a mask."""

    piece: str
    """As in the vocabulary: "▁" marks the beginning of a word."""
    score: float
    """Its probability among all pieces."""


class Completion(NamedTuple):
    """What a pre-trained model makes of a text with masks, or of two texts."""

    masks: list[list[Candidate]]
    """For each mask, in the order of the text, the likeliest pieces, the best first."""
    order_score: float | None
    """Probability that the second text follows the first; None without a second text."""

    def to_dict(self) -> dict[str, Any]:
        """`masks` [[{`piece`, `score`}]], and `order_score` where there is one."""
        masks = [
            [{"piece": candidate.piece, "score": round(candidate.score, DIGITS)} for candidate in mask]
            for mask in self.masks
        ]
        order = {} if self.order_score is None else {"order_score": round(self.order_score, DIGITS)}
        return {"masks": masks} | order


class _Place(NamedTuple):
    """Where a mask is looked at."""

    sequence: int
    """Which of the examples."""
    token: int
    """Counted within the sequence."""
    centrality: int
    """Tokens to the nearer end of its window: of several windows the one with most context answers."""


def encode_masked(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text whose `[MASK]` each become the mask's id, without special pieces at the ends."""
    text = whole_in_place(text)
    return tokenizer.encode_masked(text, MASK) if MASK in text else tokenizer.encode_ids([text])[0]


def complete(
    model: AlbertWithHeads,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    pairs: Sequence[str | None],
    *,
    max_length: int,
    precision: Computing,
) -> list[Completion]:
    """Answer each text, or pair of texts. The order of a pair that is read in windows is their mean."""
    builder = ExamplesBuilder(tokenizer.cls_id, tokenizer.sep_id, max_length, tokenizer.separators)
    masks: list[list[tuple[int, int]]] = []  # for each row (segment, token of that text)
    for text, pair in zip(texts, pairs, strict=True):
        first = encode_masked(tokenizer, text)
        second = None if pair is None else encode_masked(tokenizer, pair)
        builder.add(first, second)
        found = [(0, i) for i, token in enumerate(first) if token == tokenizer.mask_id]
        found += [(1, i) for i, token in enumerate(second or []) if token == tokenizer.mask_id]
        masks.append(found)
    examples = builder.build()
    places = _best_places(examples, masks, tokenizer.separators)
    candidates, order = _run(model, tokenizer, examples, places, precision)
    means = np.bincount(examples.rows, order, examples.num_rows) / examples.windows_per_row
    return [
        Completion(
            [candidates[row, mask] for mask in range(len(masks[row]))],
            float(means[row]) if pairs[row] is not None and "sentence_order" in model.heads else None,
        )
        for row in range(len(texts))
    ]


def _best_places(
    examples: Examples, masks: list[list[tuple[int, int]]], separators: int
) -> dict[tuple[int, int], _Place]:
    """For each (row, mask) the window that has most context around it."""
    best: dict[tuple[int, int], _Place] = {}
    for sequence in range(len(examples)):
        row, second = int(examples.rows[sequence]), int(examples.second[sequence])
        length = int(examples.lengths[sequence])
        # Where the tokens of the two texts lie in this sequence: [CLS] first [SEP] second [SEP].
        spans = ((1, second - (separators if second < length else 1)), (second, length - 1))
        for mask, (segment, token) in enumerate(masks[row]):
            begin, end = spans[segment]
            at = begin + token - int(examples.windows[sequence, segment])
            if begin <= at < end:
                place = _Place(sequence, at, min(at - begin, end - 1 - at))
                if (row, mask) not in best or place.centrality > best[row, mask].centrality:
                    best[row, mask] = place
    return best


@torch.inference_mode()
def _run(
    model: AlbertWithHeads,
    tokenizer: Tokenizer,
    examples: Examples,
    places: dict[tuple[int, int], _Place],
    precision: Computing,
) -> tuple[dict[tuple[int, int], list[Candidate]], np.ndarray]:
    """Return the candidates of each (row, mask), and for each sequence (n,) the probability of the given
    order."""
    model.eval()
    device = next(model.parameters()).device
    wanted: dict[int, list[tuple[tuple[int, int], int]]] = {}
    for key, place in places.items():
        wanted.setdefault(place.sequence, []).append((key, place.token))
    candidates: dict[tuple[int, int], list[Candidate]] = {}
    order = np.zeros(len(examples))
    for batch in examples.batches(examples.by_length(), MAX_TOKENS):
        packed = to_packed(batch, device)
        keys, tokens = _masks_of(batch, wanted)
        with precision():
            hidden = model.encode(packed)  # (T, H)
            if keys:
                logits = model.heads["masked_lm"](hidden[torch.tensor(tokens, device=device)]).float()  # (M, V)
                candidates |= zip(keys, _likeliest(logits, tokenizer), strict=True)
            if "sentence_order" in model.heads:
                scores = model.heads["sentence_order"](model.pooled(hidden, packed)).float()  # (S, 2)
                order[batch.sequences] = scores.softmax(-1)[:, 0].cpu().numpy()
    return candidates, order


def _masks_of(
    batch: SequenceBatch, wanted: dict[int, list[tuple[tuple[int, int], int]]]
) -> tuple[list[tuple[int, int]], list[int]]:
    """The (row, mask) keys that a batch answers, and their tokens, counted within the batch."""
    keys: list[tuple[int, int]] = []
    tokens: list[int] = []
    for start, sequence in zip(batch.cu_seqlens.tolist(), batch.sequences.tolist(), strict=False):
        for key, token in wanted.get(sequence, ()):
            keys.append(key)
            tokens.append(start + token)
    return keys, tokens


def _likeliest(logits: torch.Tensor, tokenizer: Tokenizer) -> list[list[Candidate]]:
    """The best pieces of each row of logits (M, V); special pieces are no answer, but keep their
    probability."""
    probabilities = logits.softmax(-1)
    probabilities[:, sorted(tokenizer.special_ids)] = -1.0
    probabilities[:, tokenizer.vocab_size :] = -1.0  # spare rows of the table
    best = probabilities.topk(min(TOP, tokenizer.vocab_size - len(tokenizer.special_ids)))
    return [
        [Candidate(tokenizer.id_to_piece(i), p) for i, p in zip(ids, values, strict=True)]
        for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
