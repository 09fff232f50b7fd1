"""The objective of distillation: a student answers like its teacher, on raw text.

Six losses, each with a weight: the hidden states of matched layers (Romero et al. 2015; TinyBERT, Jiao et al. 2020),
relative to their size; relations of attention, who of a sequence's tokens asks, offers and holds the like of whom
(MiniLMv2, Wang et al. 2021); the direction of the sentence vector, which is the mean over tokens; who is similar to
whom among the sentences of a batch, as a distribution (Tung and Mori 2019); how similar two texts are, which the
student reads beside each other in one sequence and the teacher one by one (Trans-Encoder, Liu et al. 2022); and masked
words, which need no teacher. The sums of a step are divided by the numbers of its tokens and sequences, over all
micro-batches and processes; the similarities are those within a micro-batch.

Copied states show a student what its teacher makes of a text, not how it would read two: layers that are averaged into
one block lose that, and comparisons bring it back. Of two texts to compare only their similarity is learnt.

Teacher and student read the same ids, or, where their tokenizers differ, the same text (`data.aligned`): then the mean
of the teacher's tokens at a token's characters stands for the teacher's hidden state there.

Dimensions: T tokens of a packed batch, S its sequences, H student's width, G teacher's, M masked tokens, U tokens of a
teacher that reads by its own tokenizer, K of them at most for each of the student's.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litebert.data.aligned import read_beside
from litebert.data.apart import bands_apart, paired, read_apart
from litebert.data.batches import DataSettings, PretrainBatch, held_out_parts, micro_batches
from litebert.data.pairs import NO_LABEL
from litebert.errors import ConfigError
from litebert.interop.compressed import closeness
from litebert.model.attention import packed_layout, relations, training_kernel
from litebert.model.config import AlbertConfig
from litebert.model.encoder import Trace
from litebert.model.heads import AlbertWithHeads
from litebert.model.packed import Bands, Packed
from litebert.text.interface import Tokenizer
from litebert.train.loop import Metrics
from litebert.train.parallel import World

PARTS = ("hidden", "relations", "sentence", "similarity", "comparison", "masked_lm")
OPTIONAL = ("relations", "comparison", "masked_lm")
"""Those that cost much, or have no meaning everywhere, and are computed where they count."""

FEWEST_SIMILAR = 4
"""Sequences that a part of a step needs for similarities to mean anything: of two there is only one."""

CLOSE = 1000
"""Sequences, at most, among which the nearest one is looked for."""


@dataclass(frozen=True, kw_only=True)
class TeachingSettings:
    """What the student is to copy: weights of the losses."""

    hidden: float = 1.0
    """Hidden states of all matched layers, the embedding among them: squared distance relative to the teacher's size,
    averaged over layers."""
    last_layer: float = 1.0
    """What the last layer counts in that average, beside 1 for each of the others."""
    relations: float = 0.0
    """Kullback-Leibler divergence of the relations of queries, of keys and of values, last layer to last layer."""
    sentence: float = 0.0
    """1 minus the cosine of the mean vectors."""
    similarity: float = 0.0
    """Kullback-Leibler divergence of each sentence's similarities to the others."""
    temperature: float = 0.05
    """Of those similarities: lower ones look at the nearest sentences alone."""
    comparison: float = 0.0
    """Squared error of the similarity of two texts, which the student reads beside each other, to the cosine of the
    teacher's vectors of each; needs data.pairs.objective = comparison."""
    masked_lm: float = 0.0
    """Masked words; above 0 the student reads masked text while the teacher reads it whole."""

    def __post_init__(self) -> None:
        for name in PARTS:
            if getattr(self, name) < 0:
                raise ConfigError(f"teaching.{name} = {getattr(self, name):g}: expected 0 or more")
        if not any(getattr(self, name) for name in PARTS):
            raise ConfigError("all weights of [teaching] are 0; give at least one of them, such as hidden = 1")
        if self.last_layer <= 0:
            raise ConfigError(f"teaching.last_layer = {self.last_layer:g}: expected a number above 0, such as 1")
        if self.temperature <= 0:
            raise ConfigError(f"teaching.temperature = {self.temperature:g}: expected a number above 0, such as 0.05")


def check_lesson(teaching: TeachingSettings, data: DataSettings, *, one_tokenizer: bool) -> None:
    """Raise ConfigError where a loss is impossible with the data, or with two tokenizers."""
    compares, related = f"teaching.comparison = {teaching.comparison:g}", f"teaching.relations = {teaching.relations:g}"
    if teaching.relations and not one_tokenizer:
        raise ConfigError(
            f"{related}: attention is copied only where student and teacher have one tokenizer; set it to 0"
        )
    if not teaching.comparison:
        return
    if not one_tokenizer:
        raise ConfigError(
            f"{compares}: texts are compared only where student and teacher have one tokenizer; set it to 0"
        )
    if data.pairs.objective != "comparison":
        raise ConfigError(
            f"{compares} needs pairs, but data.pairs.objective is {data.pairs.objective!r}; set it to comparison"
        )
    if teaching.relations:
        raise ConfigError(
            f"{compares}, {related}: the teacher reads two texts one by one, each without the other; set one "
            "of them to 0"
        )


def check_shapes(teaching: TeachingSettings, student: AlbertConfig, teacher: AlbertConfig) -> None:
    """Raise ConfigError where a loss is impossible between models of these shapes."""
    width, heads = teacher.hidden_size, student.num_attention_heads
    if teaching.relations and width % heads:
        raise ConfigError(
            f"teaching.relations = {teaching.relations:g}: the teacher's width of {width} cannot be divided among the "
            f"student's {heads} heads; set it to 0"
        )


class Student(nn.Module):
    """A model that is taught, and what it answers its teacher by, thrown away in the end: projections to the teacher's
    width, and how similar it says that two texts are."""

    def __init__(
        self,
        model: AlbertWithHeads,
        teacher: AlbertConfig,
        *,
        compares: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        """Each of the student's layers follows the teacher's at its share of the depth.

        generator: of the projections' first weights, which all processes of a run must have alike.
        """
        super().__init__()
        self.model = model
        own, theirs = model.config.num_hidden_layers, teacher.num_hidden_layers
        self.matches = [(layer, round(layer * theirs / own)) for layer in range(own + 1)]
        """(student's, teacher's) hidden states that are compared; 0 is the embedding."""
        width, wanted = model.config.hidden_size, teacher.hidden_size
        self.projections = nn.ModuleList(() if width == wanted else (nn.Linear(width, wanted) for _ in self.matches))
        for parameter in self.projections.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5, generator=generator)  # as nn.Linear does
        self.comparison = nn.Linear(width, 1) if compares else None
        if self.comparison is not None:
            nn.init.zeros_(self.comparison.weight)
            nn.init.zeros_(self.comparison.bias)

    def train(self, mode: bool = True) -> "Student":
        """Stay as it will answer later, without dropout, as its teacher is; gradients need no other mode."""
        return super().train(False)

    def project(self, index: int, hidden: Tensor) -> Tensor:
        """Bring hidden states of match `index` to the teacher's width: (T, H) -> (T, G)."""
        return self.projections[index](hidden) if len(self.projections) else hidden


class Lesson(NamedTuple):
    """A batch as both read it."""

    mine: Packed
    theirs: Packed
    masked: Tensor
    """(M,)"""
    labels: Tensor
    """(M,)"""
    matches: Tensor | None = None
    """(T, K) tokens of the teacher at each of the student's; None: token by token the same"""
    shares: Tensor | None = None
    """(T, K) what each of them counts"""
    first: Tensor | None = None
    """(S,) which of the teacher's sequences is a sequence, or its first segment; None: sequence by sequence the same"""
    second: Tensor | None = None
    """(S,) which is its second segment"""
    paired: Tensor | None = None
    """(S,) bool: whether it has one"""


class TeachingObjective:
    """Losses of a student beside its teacher."""

    def __init__(
        self,
        student: Student,
        teacher: AlbertWithHeads,
        data: DataSettings,
        teaching: TeachingSettings,
        precision: Callable[[], AbstractContextManager[Any]],
        *,
        compiled: bool,
        world: World,
        reader: Tokenizer | None = None,
    ) -> None:
        """reader: the teacher's tokenizer, where it is not the student's. Raises ConfigError where a loss is impossible
        with it, or with the data."""
        check_lesson(teaching, data, one_tokenizer=reader is None)
        parts = data.micro_batches * world.size
        if teaching.similarity and data.sequence_slots // parts < FEWEST_SIMILAR:
            raise ConfigError(
                f"teaching.similarity = {teaching.similarity:g} compares the sentences of a part of a step, and of "
                f"{parts} parts each has fewer than {FEWEST_SIMILAR}: raise data.batch_size or lower data.micro_batches"
            )
        self.reader = reader
        self.student, self.data, self.teaching = student, data, teaching
        self.precision, self.world = precision, world
        self.teacher = teacher.eval().requires_grad_(False)
        self.device = next(student.parameters()).device
        self.attention, self.teachers_attention = (
            training_kernel(self.device, precision, dropout=0.0, relative=model.config.position == "relative")
            for model in (student.model, teacher)
        )
        self.sums = torch.compile(self._sums, dynamic=False) if compiled else self._sums

    def backward(self, batch: PretrainBatch) -> Callable[[], Metrics]:
        """Add the gradients of the mean losses of a step; returns a function that reads the metrics."""
        world, count = self.world, self.data.micro_batches * self.world.size
        numbers = self._numbers([batch])
        weights = torch.tensor(self._weights(numbers), device=self.device)
        totals = torch.zeros(len(PARTS) + 1, device=self.device)
        parts = micro_batches(batch, self.data, self.student.model.config.pad_token_id, count)
        bands = self.data.bands(count)
        for part in parts[world.rank :: world.size]:
            with self.precision():
                sums = self.sums(self._lesson(part, bands))
            loss = (sums[: len(PARTS)] * weights).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            totals += sums.detach()
        gradients = [parameter.grad for parameter in self.student.parameters() if parameter.grad is not None]
        world.sum([*gradients, totals])
        return lambda: self._metrics(totals, numbers)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[PretrainBatch]) -> Metrics:
        """Return mean losses over all batches, and how close the student's sentence vectors are: `cosine` to the
        teacher's, `unrelated` (the teacher's cosine of different sequences) and `nearest` (how often the teacher's
        vector of the same sequence is the nearest), both among the first thousand sequences."""
        self.student.eval()
        pad_id, parts = self.student.model.config.pad_token_id, self.data.micro_batches * self.world.size
        totals, seen = torch.zeros(len(PARTS) + 1, device=self.device), []
        vectors: list[tuple[Tensor, Tensor]] = []
        for batch in batches:
            for part in held_out_parts(batch, self.data, pad_id, parts):
                with self.precision():
                    totals += self._sums(self._lesson(part), vectors)
            seen.append(batch)
        self.student.train()
        found = self._metrics(totals, self._numbers(seen))
        if sum(len(theirs) for _, theirs in vectors) > 1:
            ours, theirs = (torch.cat(some)[:CLOSE] for some in zip(*vectors, strict=True))
            close = closeness(theirs, ours)
            found |= {"unrelated": close.unrelated, "nearest": close.nearest}
        return found

    def _numbers(self, batches: list[PretrainBatch]) -> dict[str, int]:
        """How many tokens, sequences and masked tokens there are."""
        tokens = sum(batch.num_tokens for batch in batches)
        sequences = sum(len(batch.order_labels) for batch in batches)
        pairs = 0
        if self.teaching.comparison:
            pairs = sum(int(paired(batch).sum()) for batch in batches)
            tokens -= sum(int(np.diff(batch.cu_seqlens)[paired(batch)].sum()) for batch in batches)
        return {
            "hidden": tokens,
            "relations": tokens,
            "sentence": sequences - pairs,
            "similarity": sequences - pairs,
            "comparison": pairs,
            "masked_lm": sum(len(batch.masked_labels) for batch in batches),
        }

    def _weights(self, numbers: dict[str, int]) -> list[float]:
        return [getattr(self.teaching, name) / max(numbers[name], 1) for name in PARTS]

    def _metrics(self, totals: Tensor, numbers: dict[str, int]) -> Metrics:
        values = totals.tolist()
        means = {name: values[i] / max(numbers[name], 1) for i, name in enumerate(PARTS)}
        for name in OPTIONAL:
            if not getattr(self.teaching, name):
                del means[name]
        loss = sum(getattr(self.teaching, name) * mean for name, mean in means.items())
        return {"loss": loss, "cosine": values[-1] / max(numbers["sentence"], 1)} | means

    def _shares(self) -> list[float]:
        """What each of the matched layers counts; their sum is 1."""
        weights = [*(1.0 for _ in self.student.matches[1:]), self.teaching.last_layer]
        return [weight / sum(weights) for weight in weights]

    def _lesson(self, batch: PretrainBatch, bands: Bands = ()) -> Lesson:
        """Move a padded batch to the device, and encode it for a teacher that has its own tokenizer."""
        ids, positions, segments, cu_seqlens, masked, labels, _ = map(self._there, batch[:7])
        unmasked = batch.input_ids.copy()
        known = batch.masked_labels != NO_LABEL
        unmasked[batch.masked_positions[known]] = batch.masked_labels[known]
        whole = self._there(unmasked)
        length = self.data.pairs.length
        mine = Packed(ids if self.teaching.masked_lm else whole, positions, segments, cu_seqlens, length, bands)
        config = self.teacher.config
        if self.teaching.comparison:
            apart = read_apart(batch._replace(input_ids=unmasked), config.pad_token_id)
            ids, positions, cu_seqlens, matches, first, second, pairs = map(self._there, apart)
            theirs = Packed(ids, positions, torch.zeros_like(ids), cu_seqlens, length, bands_apart(bands))
            matches = matches[:, None]
            return Lesson(mine, theirs, masked, labels, matches, torch.ones_like(matches), first, second, pairs)
        if self.reader is None:
            return Lesson(mine, mine._replace(input_ids=whole), masked, labels)
        length = min(config.max_position_embeddings, 2 * length)
        ids, positions, cu_seqlens, matches, shares = map(
            self._there, read_beside(batch, self.reader, config.pad_token_id, length)
        )
        theirs = Packed(ids, positions, torch.zeros_like(ids), cu_seqlens, length)
        return Lesson(mine, theirs, masked, labels, matches, shares)

    def _there(self, values: Any) -> Tensor:
        return torch.from_numpy(values).to(self.device, non_blocking=True)

    def _sums(self, lesson: Lesson, vectors: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        """Return (7,): sums of the six losses, and of the cosines of the sentence vectors.

        vectors: takes the student's, in the teacher's space, and the teacher's (N, G), of the sequences of one text.
        """
        packed = lesson.mine
        mine, theirs = Trace(qkv=[]), Trace(qkv=[])
        with torch.no_grad():
            answer = self.teacher.albert(lesson.theirs, attention=self.teachers_attention, trace=theirs)  # (U, G)
        hidden = self.student.model.albert(packed, attention=self.attention, trace=mine)  # (T, H)
        members, present = _membership(packed)  # (S, T), (S,)
        if lesson.paired is not None:  # of which only the similarity is learnt
            present = present * ~lesson.paired
        used = (members * present[:, None]).sum(0)[:, None]  # (T, 1)
        if lesson.shares is not None:
            used = used * (lesson.shares.sum(1, keepdim=True) > 0)
        distance, shares = hidden.new_zeros((), dtype=torch.float32), self._shares()
        for index, (layer, other) in enumerate(self.student.matches):
            target = _at(theirs.hidden_states[other].float(), lesson)  # (T, G)
            error = self.student.project(index, mine.hidden_states[layer]).float() - target
            relative = error.square().sum(-1, keepdim=True) / target.square().sum(-1, keepdim=True).clamp(min=1e-6)
            distance = distance + shares[index] * (relative * used).sum()
        last = self.student.project(len(self.student.matches) - 1, hidden)
        known = _sentences(answer, members if lesson.matches is None else _membership(lesson.theirs)[0])
        target = known if lesson.first is None else known[lesson.first]  # (S, G)
        answered = _sentences(last, members)  # (S, G)
        if vectors is not None and sum(len(theirs) for _, theirs in vectors) < CLOSE:
            vectors.append((answered[present > 0].float().cpu(), target[present > 0].float().cpu()))
        cosines = (answered * target).sum(-1) * present
        ours = _sentences(hidden, members)  # (S, H)
        similarity = divergence(ours, target, present, self.teaching.temperature)
        related = compared = masked_lm = hidden.new_zeros((), dtype=torch.float32)
        if self.teaching.relations:
            related = self._relations(packed, mine, theirs)
        if lesson.second is not None and lesson.paired is not None and self.student.comparison is not None:
            with torch.autocast(hidden.device.type, enabled=False):
                said = self.student.comparison(_means(hidden, members))[:, 0]  # (S,)
            right = (target * known[lesson.second]).sum(-1)
            compared = ((said - right).square() * lesson.paired).sum()
        if self.teaching.masked_lm:
            predictions = self.student.model.heads["masked_lm"](hidden[lesson.masked]).float()  # (M, V)
            masked_lm = F.cross_entropy(predictions, lesson.labels, ignore_index=NO_LABEL, reduction="sum")
        total = cosines.sum()
        return torch.stack((distance, related, present.sum() - total, similarity, compared, masked_lm, total))

    def _relations(self, packed: Packed, mine: Trace, theirs: Trace) -> Tensor:
        """Sum over tokens of KL(teacher's relations || student's), the mean over queries, keys, values and heads."""
        heads = self.student.model.config.num_attention_heads
        layout = packed_layout(packed.cu_seqlens, packed.input_ids.shape[0], packed.max_length)
        log_mine, log_theirs = (relations((trace.qkv or [])[-1], layout, heads) for trace in (mine, theirs))
        terms = (log_theirs.exp() * (log_theirs - log_mine)).sum(-1).mean((1, 2))  # (S, L)
        assert layout.filled is not None
        return (terms * layout.filled.view(terms.shape)).sum()


def _membership(packed: Packed) -> tuple[Tensor, Tensor]:
    """Which token is in which sequence, (S, T), and which sequences have any, (S,); both as fp32."""
    starts, ends = packed.cu_seqlens[:-1, None], packed.cu_seqlens[1:, None]  # (S, 1)
    token = torch.arange(packed.input_ids.shape[0], device=packed.cu_seqlens.device)  # (T,)
    members = (token >= starts) & (token < ends)
    return members.float(), (ends > starts)[:, 0].float()


def _at(target: Tensor, lesson: Lesson) -> Tensor:
    """What the teacher says at each of the student's tokens: (U, G) -> (T, G)."""
    if lesson.matches is None or lesson.shares is None:
        return target
    return (target[lesson.matches] * lesson.shares[:, :, None]).sum(1)


def _means(hidden: Tensor, members: Tensor) -> Tensor:
    """Mean vectors of the sequences: (T, G) -> (S, G), in fp32."""
    with torch.autocast(hidden.device.type, enabled=False):
        return (members @ hidden.float()) / members.sum(1, keepdim=True).clamp(min=1)


def _sentences(hidden: Tensor, members: Tensor) -> Tensor:
    """The same, of length 1."""
    return F.normalize(_means(hidden, members), dim=-1)


def divergence(mine: Tensor, theirs: Tensor, present: Tensor, temperature: float) -> Tensor:
    """Sum over sentences of KL(teacher's similarities || student's), each to all other sentences of the batch.

    mine (S, H), theirs (S, G): sentence vectors. Computed in fp32: a low temperature makes much of the last digits.
    """
    count = present.shape[0]
    hidden = torch.eye(count, device=present.device, dtype=torch.bool) | (present[None, :] == 0)  # (S, S)
    with torch.autocast(mine.device.type, enabled=False):
        similarities = (mine @ mine.T, theirs @ theirs.T)  # (S, S)
    log_mine, log_theirs = ((values / temperature).masked_fill(hidden, -1e4).log_softmax(-1) for values in similarities)
    terms = log_theirs.exp() * (log_theirs - log_mine)
    return (terms.sum(-1) * present).sum()
