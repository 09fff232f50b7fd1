"""The pre-training objective: masked language modelling plus sentence order.

The masked-token loss is the sum over all masked tokens of a step divided by their number, over all its micro-batches;
so is the loss of the sentence objective over its labelled sequences. How a step is divided changes nothing.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from litebert.data.batches import DataSettings, PretrainBatch, held_out_parts, micro_batches
from litebert.data.pairs import NO_LABEL
from litebert.model.attention import training_kernel
from litebert.model.heads import AlbertWithHeads
from litebert.model.packed import Bands, Packed
from litebert.model.pooling import first_tokens
from litebert.train.parallel import World

Metrics = dict[str, float]


class PretrainObjective:
    """Losses of a model with the heads `masked_lm` and, unless there is no sentence objective, `sentence_order`."""

    def __init__(
        self,
        model: AlbertWithHeads,
        settings: DataSettings,
        precision: Callable[[], AbstractContextManager[Any]],
        *,
        compiled: bool,
        order_weight: float = 1.0,
        world: World | None = None,
    ) -> None:
        """Minimize the masked-token loss plus `order_weight` times that of the sentence objective."""
        self.model, self.settings, self.precision = model, settings, precision
        self.order_weight = order_weight
        self.world = world or World()
        self.device = next(model.parameters()).device
        shape = model.config
        self.attention = training_kernel(
            self.device, precision, dropout=shape.attention_probs_dropout_prob, relative=shape.position == "relative"
        )
        self.sums = self._sums
        if compiled and model.albert.encoder.activation_checkpointing:
            model.albert.encoder.compile_layers()
        elif compiled:
            self.sums = torch.compile(self._sums, dynamic=False)

    def backward(self, batch: PretrainBatch) -> Callable[[], Metrics]:
        """Add the gradients of the mean losses of a step; returns a function that reads the metrics.

        The means are over all processes of the run, each of which computes its part of the step.
        """
        predictions, pairs = len(batch.masked_labels), int((batch.order_labels != NO_LABEL).sum())
        totals = torch.zeros(4, device=self.device)
        world, count = self.world, self.settings.micro_batches * self.world.size
        parts = micro_batches(batch, self.settings, self.model.config.pad_token_id, count)
        bands = self.settings.bands(count)
        for part in parts[world.rank :: world.size]:
            with self.precision():
                sums = self.sums(*self.tensors(part, bands))
            loss: Tensor = sums[0] / max(predictions, 1) + self.order_weight * sums[2] / max(pairs, 1)
            loss.backward()  # type: ignore[no-untyped-call]
            totals += sums.detach()
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        world.sum([*gradients, totals])

        def read() -> Metrics:
            metrics = _means(totals, predictions, pairs)
            return {"loss": metrics["mlm_loss"] + self.order_weight * metrics.get("order_loss", 0.0)} | metrics

        return read

    @torch.no_grad()
    def evaluate(self, batches: Iterable[PretrainBatch]) -> Metrics:
        """Return mean losses and accuracies over all batches."""
        self.model.eval()
        pad_id, parts = self.model.config.pad_token_id, self.settings.micro_batches * self.world.size
        totals = torch.zeros(4, device=self.device)
        predictions = pairs = 0
        for batch in batches:
            for part in held_out_parts(batch, self.settings, pad_id, parts):
                with self.precision():
                    totals += self._sums(*self.tensors(part))
            predictions += len(batch.masked_labels)
            pairs += int((batch.order_labels != NO_LABEL).sum())
        self.model.train()
        return _means(totals, predictions, pairs)

    def tensors(self, batch: PretrainBatch, bands: Bands = ()) -> tuple[Packed, Tensor, Tensor, Tensor]:
        """Move a batch, whose sequences lie in `bands`, to the model's device."""
        ids, positions, segments, cu_seqlens, masked, labels, order = (
            torch.from_numpy(values).to(self.device, non_blocking=True) for values in batch[:7]
        )
        return Packed(ids, positions, segments, cu_seqlens, self.settings.pairs.length, bands), masked, labels, order

    def _sums(self, packed: Packed, masked: Tensor, labels: Tensor, order_labels: Tensor) -> Tensor:
        """Return (4,): sum of masked-token losses, right predictions, sum of order losses, right orders."""
        at_masked, pooled = self._vectors(packed, masked)
        logits = self.model.heads["masked_lm"](at_masked).float()  # (M, V)
        sums = list(_loss_and_hits(logits, labels))
        if pooled is not None:
            sums += _loss_and_hits(self.model.heads["sentence_order"](pooled).float(), order_labels)
        else:
            sums += [sums[0].new_zeros(())] * 2
        return torch.stack(sums)

    def _vectors(self, packed: Packed, masked: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what the heads read: (M, H) at masked tokens, and the pooler's (S, H), None where no head reads it."""
        ordered = "sentence_order" in self.model.heads
        if ordered and self.model.config.pooling != "first":
            hidden = self.model.encode(packed, attention=self.attention)  # (T, H)
            return hidden[masked], self.model.pooled(hidden, packed)
        wanted = torch.cat((masked, first_tokens(packed))) if ordered else masked  # (R,)
        hidden = self.model.encode(packed, attention=self.attention, only=wanted)  # (R, H)
        at_masked = hidden[: len(masked)]
        return at_masked, self.model.albert.through_pooler(hidden[len(masked) :]) if ordered else None


def _loss_and_hits(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    loss = F.cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="sum")
    return loss, (logits.detach().argmax(-1) == labels).sum().to(loss.dtype)


def _means(totals: Tensor, predictions: int, pairs: int) -> Metrics:
    mlm_loss, mlm_hits, order_loss, order_hits = totals.tolist()
    metrics = {"mlm_loss": mlm_loss / max(predictions, 1), "mlm_accuracy": mlm_hits / max(predictions, 1)}
    if pairs:
        metrics |= {"order_loss": order_loss / pairs, "order_accuracy": order_hits / pairs}
    return metrics
