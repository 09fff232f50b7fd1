"""embed: one vector for each text, such that texts of like meaning have like vectors.

A row to answer is one text. A row to learn from is two texts with a score of how alike they are, two texts that belong
together, or one text; a row to judge by is two texts with a score.
Dimensions: R rows, n sequences (windows), S sequences of a batch, G items of a step, H width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from litebert.data.examples import Examples, Ints, Items, SequenceBatch, encode_rows
from litebert.data.labelled import (
    Columns,
    Labelled,
    find_columns,
    first_of,
    label_column,
    number_of,
    texts_of,
    value_of,
)
from litebert.errors import InputError
from litebert.evaluate.embeddings import row_vectors
from litebert.evaluate.metrics import Doubles, Floats, Metrics, correlations
from litebert.tasks.regress import NUMBER_NAMES
from litebert.tasks.task import Encoded, Lesson, Task, Weighting, Windowing
from litebert.tasks.texts import TextInput
from litebert.text.tokenizer import Tokenizer

SCALE = 20.0
"""Cosines are multiplied by this in both losses: a temperature of 0.05, as in SimCSE and sentence-transformers."""

DROPOUT = 0.1
"""What tells the two passes over one text apart, in models that have no dropout of their own."""

SPREAD = 1e-3
"""Cosines whose deviation is less than this are one answer."""

JUDGED = 32
"""Rows over which a dev set's loss is computed at a time, as many as a step has by default."""

DIGITS = 7
"""Digits of a number in a file: what fp32 holds of numbers below 1."""


class Embedding(NamedTuple):
    """The vector of a text."""

    embedding: npt.NDArray[np.float32]
    """(H,), of length 1 unless the model's settings say otherwise."""

    def to_dict(self) -> dict[str, Any]:
        """`embedding`, a list of numbers."""
        return {"embedding": [round(value, DIGITS) for value in self.embedding.tolist()]}


@dataclass(frozen=True, kw_only=True)
class EmbedEncoded(Encoded):
    """Texts, each a row of `examples`: one after the other, or first and second of each pair."""

    texts: int
    """Texts of each row of the file, 1 or 2."""

    @property
    def long_rows(self) -> int:
        """Rows with a text that did not fit into one sequence."""
        return int((self.examples.windows_per_row.reshape(-1, self.texts) > 1).any(1).sum())


class EmbedGold(NamedTuple):
    """What is to be learnt, or judged by."""

    scores: Doubles | None
    """(R,): how alike the two texts are; None: nobody says."""
    texts: Ints
    """(R, 2): equal numbers are equal texts."""


class Embed(Task[TextInput, float | None, EmbedEncoded, EmbedGold]):
    """Sentence embeddings by a loss on the cosines of a step's pairs.

    With scores: CoSENT (Huang et al. 2024), which asks for the right order of cosines. Without: in-batch negatives
    (Henderson et al. 2017), where each first text has to find its second one among those of the step; of single texts
    both are the same text under different dropout (SimCSE, Gao et al. 2021).
    """

    name = "embed"
    head = "embed"
    metrics = ("spearman", "pearson")
    shown = ("pearson",)
    long_rows: ClassVar[str] = "the vectors of their windows are averaged, each counting by its tokens"
    label_names = NUMBER_NAMES

    def columns(
        self, present: Any, wanted: Columns, source: str | Path, *, trained: Columns | None = None, label: bool = False
    ) -> Columns:
        """To answer: the text alone. To learn: a second text and a score where there are any."""
        names = [str(name) for name in present]
        if not label:
            if wanted.text_pair is not None:
                raise InputError(f"--text-pair {wanted.text_pair}: embed answers one text a row; name it with --text")
            known = None if trained is None else Columns(trained.text)
            return Columns(find_columns(names, Columns(wanted.text), source, trained=known).text)
        known = trained if trained is not None and trained.text_pair is not None else None
        found = find_columns(names, Columns(wanted.text, wanted.text_pair), source, trained=known)
        if found.text_pair is None:
            if wanted.label is not None:
                raise InputError(
                    f"{source}: a score ({wanted.label!r}) is that of two texts; name the second: --text-pair COLUMN"
                )
            return found
        usual = first_of(names, [name for name in (trained and trained.label, *self.label_names) if name])
        if wanted.label is None and usual is None:
            return found
        return found._replace(label=label_column(names, wanted, source, trained, self.label_names))

    def input(self, fields: Mapping[str, Any], columns: Columns, where: str) -> TextInput:
        """A text, or two."""
        return TextInput(*texts_of(fields, columns, where))

    def plain_input(self, row: object, where: str, trained: Columns | None) -> TextInput:
        """A text, or a dict with `text` or the column of the training."""
        return TextInput(row) if isinstance(row, str) else super().plain_input(row, where, trained)

    def target(self, fields: Mapping[str, Any], columns: Columns, where: str) -> float | None:
        """The score, a finite number; None where there is no such column."""
        if columns.label is None:
            return None
        try:
            return number_of(value_of(fields, columns.label, where), columns.label, where)
        except InputError as error:
            raise InputError(f"{error}; without such a column pairs count as belonging together") from None

    def read(
        self, source: str | Path, wanted: Columns, trained: Columns | None = None
    ) -> Labelled[TextInput, float | None]:
        """Read a whole file to learn or judge from; an empty text is refused, it has nothing to be alike to."""
        rows = super().read(source, wanted, trained)
        for where, given in zip(rows.places, rows.inputs, strict=True):
            for column, text in zip(rows.columns[:2], given, strict=True):
                if column is not None and not (text or "").strip():
                    raise InputError(f"{where}: the text in {column!r} is empty; correct that row or remove it")
        if rows.columns.text_pair is None:
            rows = replace(rows, inputs=[TextInput(given.text, given.text) for given in rows.inputs])
        return rows

    def encode(self, inputs: Sequence[TextInput], tokenizer: Tokenizer, windowing: Windowing) -> EmbedEncoded:
        """Tokenize every text by itself, in windows."""
        pairs = any(given.text_pair is not None for given in inputs)
        texts = [text for given in inputs for text in given[: 1 + pairs]]
        return EmbedEncoded(
            examples=encode_rows(tokenizer, [text or "" for text in texts], None, windowing.length), texts=1 + pairs
        )

    def answers(
        self, encoded: EmbedEncoded, outputs: Floats, labels: Sequence[str], decision: Mapping[str, Any]
    ) -> list[Embedding]:
        """The vector; decision: `normalized`, true unless given."""
        vectors = row_vectors(encoded.examples, outputs, normalized=decision.get("normalized", True))
        return [Embedding(vector) for vector in vectors]

    # --- learning ---

    def labels(self, rows: Labelled[TextInput, float | None]) -> tuple[str, ...]:
        """One output, a vector; refuses rows of which nothing can be learnt."""
        _check_scores(rows)
        if len(rows) < 2:
            raise InputError(f"{rows.source} has one row; embed learns from how rows differ: give two or more")
        return ("embedding",)

    def gold(self, rows: Labelled[TextInput, float | None], encoded: EmbedEncoded, labels: Sequence[str]) -> EmbedGold:
        """Scores, and which texts are equal."""
        numbers: dict[str | None, int] = {}
        pairs = [(given.text, given.text_pair or given.text) for given in rows.inputs]
        texts = [[numbers.setdefault(text, len(numbers)) for text in pair] for pair in pairs]
        scores = None if rows.columns.label is None else np.array(rows.targets, dtype=np.float64)
        return EmbedGold(scores, np.array(texts, dtype=np.int64).reshape(-1, 2))

    def describe(self, gold: EmbedGold, labels: Sequence[str]) -> str:
        """What is said of the pairs."""
        if gold.scores is not None:
            return f"scores from {gold.scores.min():g} to {gold.scores.max():g}, mean {gold.scores.mean():.4g}"
        return "single texts, each beside itself" if _alone(gold) else "pairs that belong together"

    def check_judged(self, rows: Labelled[TextInput, float | None]) -> None:
        """Two texts and a score are what a judgement needs."""
        if rows.columns.text_pair is None or rows.columns.label is None:
            lacking = "second texts" if rows.columns.text_pair is None else "scores"
            raise InputError(
                f"{rows.source} has no column of {lacking}; embed is judged by pairs with scores: give columns such as "
                "sentence1, sentence2, score"
            )
        _check_scores(rows)

    def lesson(self, encoded: EmbedEncoded, gold: EmbedGold, labels: Sequence[str], weighting: Weighting) -> Lesson:
        """The loss of a step's pairs together; vectors of windows are averaged, as when answering."""
        examples = encoded.examples
        scores = None if gold.scores is None else torch.from_numpy(gold.scores).float()  # (R,)
        texts = torch.from_numpy(gold.texts)  # (R, 2)
        alone = scores is None and _alone(gold)

        def loss(outputs: Tensor, batch: SequenceBatch) -> Tensor:
            rows, first, second = _pairs(examples, batch, outputs)  # (G,), (G, H), (G, H)
            if scores is None:
                return in_batch_negatives(first, second, texts[rows].to(outputs.device))
            value = cosent((first * second).sum(-1), scores[rows].to(outputs.device))
            return value.expand(len(rows))

        groups = np.searchsorted(examples.rows, np.arange(0, examples.num_rows, 2)[:, None] + (0, 2))
        items = Items(examples=examples, groups=groups, weights=np.ones(len(groups)), rows=np.arange(len(groups)))
        return Lesson(items=items, loss=loss, joint=True, dropout=DROPOUT if alone else 0.0)

    # --- judging ---

    def judge(
        self,
        encoded: EmbedEncoded,
        gold: EmbedGold,
        outputs: Floats,
        labels: Sequence[str],
        decision: Mapping[str, Any],
    ) -> Metrics:
        """Correlations of cosines with scores; `spread`, the cosines' deviation; CoSENT's loss over JUDGED rows."""
        assert gold.scores is not None
        vectors = row_vectors(encoded.examples, outputs).astype(np.float64)
        cosines = (vectors[0::2] * vectors[1::2]).sum(1)  # (R,)
        losses = [
            float(cosent(torch.from_numpy(cosines[i : i + JUDGED]), torch.from_numpy(gold.scores[i : i + JUDGED])))
            for i in range(0, len(cosines), JUDGED)
        ]
        return correlations(gold.scores, cosines) | {"spread": float(cosines.std()), "loss": float(np.mean(losses))}

    def collapsed(self, metrics: Metrics) -> bool:
        """Nearly the same cosine for all pairs."""
        return metrics["spread"] < SPREAD

    # --- answers of any system ---

    def answer_of(self, fields: Mapping[str, Any], where: str) -> float:
        """`similarity`, or `value`, of the two texts; vectors are not judged."""
        column = "value" if "similarity" not in fields and "value" in fields else "similarity"
        if column not in fields:
            raise InputError(
                f"{where}: no `similarity` of the two texts; vectors are not scored: write one number a pair, or judge "
                "the model: evaluate --model DIR --data FILE"
            )
        return number_of(value_of(fields, column, where), column, where)

    def score(self, rows: Labelled[TextInput, float | None], answers: Sequence[float]) -> Metrics:
        """Correlations of similarities, one number a pair, with the scores."""
        self.check_judged(rows)
        return correlations(np.array(rows.targets, dtype=np.float64), np.array(answers, dtype=np.float64))


def cosent(cosines: Tensor, scores: Tensor) -> Tensor:
    """CoSENT's loss (Huang et al. 2024): log(1 + sum of exp(SCALE (c_i - c_j)) over all i, j with score i < score j).

    cosines, scores: (G,). Gives one number.
    """
    scaled = SCALE * cosines
    differences = scaled[:, None] - scaled[None, :]  # (G, G)
    wrong = differences[scores[:, None] < scores[None, :]]
    return torch.logsumexp(torch.cat((scaled.new_zeros(1), wrong)), 0)


def in_batch_negatives(first: Tensor, second: Tensor, texts: Tensor) -> Tensor:
    """For each first text the cross-entropy of its second one among all of the step (Henderson et al. 2017).

    first, second: (G, H), of length 1; texts: (G, 2), equal numbers are equal texts. What stands beside the same first
    text anywhere in the step, and that text itself, is no negative. Gives (G,).
    """
    firsts, seconds = texts[:, 0], texts[:, 1]  # (G,)
    beside = (firsts[:, None] == firsts).float() @ (seconds[:, None] == seconds).float()  # (G, G)
    own = (beside > 0) | (firsts[:, None] == seconds)  # (G, G)
    wanted = torch.arange(len(texts), device=first.device)
    logits = (SCALE * first @ second.T).masked_fill(own & (wanted != wanted[:, None]), float("-inf"))  # (G, G)
    return F.cross_entropy(logits, wanted, reduction="none")


def _pairs(examples: Examples, batch: SequenceBatch, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row, first and second vector of each pair of a batch: (G,), (G, H), (G, H), of length 1."""
    text, place = torch.unique_consecutive(torch.from_numpy(examples.rows[batch.sequences]), return_inverse=True)
    lengths = torch.from_numpy(examples.lengths[batch.sequences]).to(outputs)
    sums = outputs.new_zeros(len(text), outputs.shape[1])
    vectors = F.normalize(sums.index_add(0, place.to(outputs.device), outputs * lengths[:, None]), dim=-1)
    return text[0::2] // 2, vectors[0::2], vectors[1::2]


def _alone(gold: EmbedGold) -> bool:
    return bool((gold.texts[:, 0] == gold.texts[:, 1]).all())


def _check_scores(rows: Labelled[TextInput, float | None]) -> None:
    if rows.columns.label is not None and len(set(rows.targets)) == 1:
        raise InputError(
            f"{rows.source}: every score in {rows.columns.label!r} is {rows.targets[0]:g}, from {rows.places[0]} on; "
            "embed needs different ones (pairs that belong together are learnt from without that column)"
        )
