"""The objective of distillation: a student answers like its teacher, on raw text.

Four losses, each with a weight: the hidden states of matched layers (Romero et al. 2015; TinyBERT, Jiao et al. 2020),
relative to their size; the direction of the sentence vector, which is the mean over tokens; who is similar to whom
among the sentences of a batch, as a distribution (Tung and Mori 2019); and masked words, which need no teacher.
The sums of a step are divided by the numbers of its tokens and sequences, over all micro-batches and processes; the
similarities are those within a micro-batch.

Dimensions: T tokens of a packed batch, S its sequences, H student's width, G teacher's, M masked tokens.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litebert.data.batches import DataSettings, PretrainBatch, held_out_parts, micro_batches
from litebert.data.pairs import NO_LABEL
from litebert.errors import ConfigError
from litebert.model.encoder import Trace
from litebert.model.heads import AlbertWithHeads
from litebert.model.packed import Packed
from litebert.train.loop import Metrics
from litebert.train.parallel import World

PARTS = ("hidden", "sentence", "similarity", "masked_lm")


@dataclass(frozen=True, kw_only=True)
class TeachingSettings:
    """What the student is to copy: weights of the losses."""

    hidden: float = 1.0
    """Hidden states of all matched layers, the embedding among them: squared distance relative to the teacher's size,
    averaged over layers."""
    sentence: float = 1.0
    """1 minus the cosine of the mean vectors."""
    similarity: float = 1.0
    """Kullback-Leibler divergence of each sentence's similarities to the others."""
    temperature: float = 0.05
    """Of those similarities: lower ones look at the nearest sentences alone."""
    masked_lm: float = 0.0
    """Masked words; above 0 the student reads masked text while the teacher reads it whole."""

    def __post_init__(self) -> None:
        for name in PARTS:
            if getattr(self, name) < 0:
                raise ConfigError(f"teaching.{name} = {getattr(self, name):g}: expected 0 or more")
        if not any(getattr(self, name) for name in PARTS):
            raise ConfigError("all weights of [teaching] are 0; give at least one of them, such as hidden = 1")
        if self.temperature <= 0:
            raise ConfigError(f"teaching.temperature = {self.temperature:g}: expected a number above 0, such as 0.05")


class Student(nn.Module):
    """A model that is taught, and the projections to its teacher's width, thrown away in the end."""

    def __init__(self, model: AlbertWithHeads, width: int, layers: int) -> None:
        """width, layers: the teacher's; each of the student's layers follows the one at its share of the depth."""
        super().__init__()
        self.model = model
        own = model.config.num_hidden_layers
        self.matches = [(layer, round(layer * layers / own)) for layer in range(own + 1)]
        """(student's, teacher's) hidden states that are compared; 0 is the embedding."""
        same = model.config.hidden_size == width
        self.projections = nn.ModuleList(
            () if same else (nn.Linear(model.config.hidden_size, width) for _ in self.matches)
        )

    def train(self, mode: bool = True) -> "Student":
        """Stay as it will answer later, without dropout, as its teacher is; gradients need no other mode."""
        return super().train(False)

    def project(self, index: int, hidden: Tensor) -> Tensor:
        """Bring hidden states of match `index` to the teacher's width: (T, H) -> (T, G)."""
        return self.projections[index](hidden) if len(self.projections) else hidden


class TeachingObjective:
    """Losses of a student beside a teacher that reads the same ids."""

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
    ) -> None:
        self.student, self.data, self.teaching = student, data, teaching
        self.precision, self.world = precision, world
        self.teacher = teacher.eval().requires_grad_(False)
        self.device = next(student.parameters()).device
        self.attention = "varlen" if self.device.type == "cuda" else "padded"
        self.sums = torch.compile(self._sums, dynamic=False) if compiled else self._sums

    def backward(self, batch: PretrainBatch) -> Callable[[], Metrics]:
        """Add the gradients of the mean losses of a step; returns a function that reads the metrics."""
        world, count = self.world, self.data.micro_batches * self.world.size
        numbers = self._numbers([batch])
        weights = torch.tensor(self._weights(numbers), device=self.device)
        totals = torch.zeros(len(PARTS) + 1, device=self.device)
        parts = micro_batches(batch, self.data, self.student.model.config.pad_token_id, count)
        for part in parts[world.rank :: world.size]:
            with self.precision():
                sums = self.sums(*self._tensors(part))
            loss = (sums[: len(PARTS)] * weights).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            totals += sums.detach()
        gradients = [parameter.grad for parameter in self.student.parameters() if parameter.grad is not None]
        world.sum([*gradients, totals])
        return lambda: self._metrics(totals, numbers)

    @torch.no_grad()
    def evaluate(self, batches: Iterable[PretrainBatch]) -> Metrics:
        """Return mean losses, and how close the student's sentence vectors are, over all batches."""
        self.student.eval()
        pad_id, parts = self.student.model.config.pad_token_id, self.data.micro_batches * self.world.size
        totals, seen = torch.zeros(len(PARTS) + 1, device=self.device), []
        for batch in batches:
            for part in held_out_parts(batch, self.data, pad_id, parts):
                with self.precision():
                    totals += self._sums(*self._tensors(part))
            seen.append(batch)
        self.student.train()
        return self._metrics(totals, self._numbers(seen))

    def _numbers(self, batches: list[PretrainBatch]) -> dict[str, int]:
        """How many tokens, sequences and masked tokens there are."""
        sequences = sum(len(batch.order_labels) for batch in batches)
        return {
            "hidden": sum(batch.num_tokens for batch in batches),
            "sentence": sequences,
            "similarity": sequences,
            "masked_lm": sum(len(batch.masked_labels) for batch in batches),
        }

    def _weights(self, numbers: dict[str, int]) -> list[float]:
        return [getattr(self.teaching, name) / max(numbers[name], 1) for name in PARTS]

    def _metrics(self, totals: Tensor, numbers: dict[str, int]) -> Metrics:
        values = totals.tolist()
        means = {name: values[i] / max(numbers[name], 1) for i, name in enumerate(PARTS)}
        if not self.teaching.masked_lm:
            del means["masked_lm"]
        loss = sum(getattr(self.teaching, name) * mean for name, mean in means.items())
        return {"loss": loss, "cosine": values[-1] / max(numbers["sentence"], 1)} | means

    def _tensors(self, batch: PretrainBatch) -> tuple[Packed, Tensor, Tensor, Tensor]:
        """Move a batch to the device: the student's packed batch, the whole ids, masked positions and labels."""
        ids, positions, segments, cu_seqlens, masked, labels, _ = (
            torch.from_numpy(values).to(self.device, non_blocking=True) for values in batch
        )
        used = labels != NO_LABEL
        whole = ids.index_put((masked[used],), labels[used])
        shown = ids if self.teaching.masked_lm else whole
        return Packed(shown, positions, segments, cu_seqlens, self.data.pairs.length), whole, masked, labels

    def _sums(self, packed: Packed, whole: Tensor, masked: Tensor, labels: Tensor) -> Tensor:
        """Return (5,): sums of the four losses, and of the cosines of the sentence vectors."""
        mine, theirs = Trace(), Trace()
        with torch.no_grad():
            answer = self.teacher.albert(packed._replace(input_ids=whole), attention=self.attention, trace=theirs)
        hidden = self.student.model.albert(packed, attention=self.attention, trace=mine)  # (T, H)
        members, present = _membership(packed)  # (S, T), (S,)
        used = members.sum(0)[:, None]  # (T, 1)
        distance = hidden.new_zeros((), dtype=torch.float32)
        for index, (layer, other) in enumerate(self.student.matches):
            target = theirs.hidden_states[other].float()  # (T, G)
            error = self.student.project(index, mine.hidden_states[layer]).float() - target
            relative = error.square().sum(-1, keepdim=True) / target.square().sum(-1, keepdim=True).clamp(min=1e-6)
            distance = distance + (relative * used).sum()
        last = self.student.project(len(self.student.matches) - 1, hidden)
        ours, target = (_sentences(vectors.float(), members) for vectors in (last, answer))  # (S, G)
        cosines = (ours * target).sum(-1) * present
        logits = (ours @ ours.T, target @ target.T)  # (S, S)
        similarity = _divergence(logits[0], logits[1], present, self.teaching.temperature)
        masked_lm = hidden.new_zeros((), dtype=torch.float32)
        if self.teaching.masked_lm:
            predictions = self.student.model.heads["masked_lm"](hidden[masked]).float()  # (M, V)
            masked_lm = F.cross_entropy(predictions, labels, ignore_index=NO_LABEL, reduction="sum")
        total = cosines.sum()
        return torch.stack((distance / len(self.student.matches), present.sum() - total, similarity, masked_lm, total))


def _membership(packed: Packed) -> tuple[Tensor, Tensor]:
    """Which token is in which sequence, (S, T), and which sequences have any, (S,); both as fp32."""
    starts, ends = packed.cu_seqlens[:-1, None], packed.cu_seqlens[1:, None]  # (S, 1)
    token = torch.arange(packed.input_ids.shape[0], device=packed.cu_seqlens.device)  # (T,)
    members = (token >= starts) & (token < ends)
    return members.float(), (ends > starts)[:, 0].float()


def _sentences(hidden: Tensor, members: Tensor) -> Tensor:
    """Mean vectors of the sequences, of length 1: (T, G) -> (S, G)."""
    with torch.autocast(hidden.device.type, enabled=False):
        return F.normalize(members @ hidden, dim=-1)


def _divergence(mine: Tensor, theirs: Tensor, present: Tensor, temperature: float) -> Tensor:
    """Sum over sentences of KL(teacher's similarities || student's), each to all other sentences of the batch."""
    count = present.shape[0]
    hidden = torch.eye(count, device=present.device, dtype=torch.bool) | (present[None, :] == 0)  # (S, S)
    log_mine, log_theirs = (
        (similarities / temperature).masked_fill(hidden, -1e4).log_softmax(-1) for similarities in (mine, theirs)
    )
    terms = log_theirs.exp() * (log_theirs - log_mine)
    return (terms.sum(-1) * present).sum()
