"""The boundary to the Hugging Face world: padded tensors in, padded outputs out, their names of fields.

Dimensions: B rows, L length, E embedding, H hidden, N heads, V vocabulary, C labels. Inside everything is packed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litebert.console import log
from litebert.data.catalog import find_model
from litebert.errors import InputError
from litebert.interop.huggingface import SavedModel, read_model, save_model
from litebert.model.config import AlbertConfig
from litebert.model.encoder import Trace
from litebert.model.heads import AlbertWithHeads, build_model
from litebert.model.packed import pack, unpack
from litebert.text.tokenizer import Tokenizer


@dataclass(kw_only=True)
class AlbertOutput:
    """What a model returns; fields that a class or a call does not fill are None."""

    last_hidden_state: Tensor
    """(B, L, H), zeros at padding"""
    pooler_output: Tensor | None
    """(B, H): the first real token of each row through the pooler; None where there is none"""
    loss: Tensor | None = None
    """(): where labels were given"""
    logits: Tensor | None = None
    """(B, L, V) of a masked language model, (B, C) of a classifier, (B, L, C) of one of tokens, (B, N) of N choices"""
    prediction_logits: Tensor | None = None
    """(B, L, V), AlbertForPreTraining"""
    sop_logits: Tensor | None = None
    """(B, 2), AlbertForPreTraining; class 0 = original order"""
    start_logits: Tensor | None = None
    """(B, L), AlbertForQuestionAnswering: the first token of the answer"""
    end_logits: Tensor | None = None
    """(B, L), AlbertForQuestionAnswering: its last token"""
    hidden_states: tuple[Tensor, ...] | None = None
    """(B, L, H) each: the projected embedding and every layer's output"""
    attentions: tuple[Tensor, ...] | None = None
    """(B, N, L, L) each"""


class AlbertModel(nn.Module):
    """The encoder with its pooler, for padded batches. Dropout acts in train(), as everywhere in torch."""

    heads: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: AlbertConfig, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.model = build_model(config, self.heads, generator=generator)
        self.tokenizer: Tokenizer | None = None
        """That of the folder it was loaded from."""
        self.extra: dict[str, Any] = {}
        """What the folder keeps of the task beside the weights: columns, length, thresholds."""

    @property
    def config(self) -> AlbertConfig:
        """The model's config."""
        return self.model.config

    @classmethod
    def from_pretrained(cls, folder: str | Path, **overrides: Any) -> Self:
        """Load a model folder, ours or one of transformers, or a model by its name, with config fields replaced; ready
        to answer.

        A head, or a pooler, that the folder lacks starts with random weights, and that is said. Raises
        ModelFolderError, TokenizerError.
        """
        loaded = read_model(find_model(folder), cls.heads, overrides=overrides)
        if loaded.fresh:
            log(f"note: {folder} has no {', no '.join(loaded.fresh)}: new random weights, which say nothing untrained")
        padded = cls.wrap(loaded.model).eval()
        padded.tokenizer = loaded.tokenizer
        padded.extra = loaded.extra if cls.heads and not loaded.fresh else {}
        return padded

    @classmethod
    def wrap(cls, model: AlbertWithHeads) -> Self:
        """Put a packed model, which must have this class's heads, behind this boundary; weights are shared."""
        padded = cls.__new__(cls)
        nn.Module.__init__(padded)
        padded.model, padded.tokenizer, padded.extra = model, None, {}
        return padded

    def save_pretrained(self, folder: str | Path, tokenizer: Tokenizer | None = None) -> SavedModel:
        """Write a model folder, with the tokenizer that it was loaded with unless another is given, and with what its
        task keeps beside the weights; see `huggingface.save_model`."""
        return save_model(self.model, folder, tokenizer or self.tokenizer, self.extra)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> AlbertOutput:
        """Encode ids (B, L) or word vectors (B, L, E); masks, segments and positions are (B, L).

        Without them: no padding, segment 0, positions from 0. One row, (1, L), stands for all. Raises InputError for
        what the model cannot take.
        """
        ids = _input_ids(self.config, input_ids, inputs_embeds)  # (B, L)
        token_type_ids = _beside(ids, "token_type_ids", token_type_ids, max(self.config.type_vocab_size, 1))
        position_ids = _beside(ids, "position_ids", position_ids, self.config.max_position_embeddings)
        given = _beside(ids, "attention_mask", attention_mask, 2)
        mask = torch.ones_like(ids, dtype=torch.bool) if given is None else given.bool()  # (B, L)
        trace = (
            Trace(attentions=[] if output_attentions else None) if output_hidden_states or output_attentions else None
        )
        if position_ids is None and self.config.position_offset and input_ids is not None:
            real = ids != self.config.pad_token_id  # these families count what is no padding, wherever it lies
            position_ids = (real.cumsum(1) * real) - 1
        packed, index = pack(ids, mask, token_type_ids, position_ids)
        albert = self.model.albert
        if output_attentions:  # in rows as they are given, so that probabilities have their columns
            positions = torch.arange(ids.shape[1], device=ids.device) if position_ids is None else position_ids
            segments = torch.zeros_like(ids) if token_type_ids is None else token_type_ids
            positions = positions.expand_as(ids)
            rows = albert.dense(ids, mask, segments, positions, inputs_embeds=inputs_embeds, trace=trace)
            hidden = rows.flatten(0, 1)[index]  # (T, H)
        else:
            embeds = None if inputs_embeds is None else inputs_embeds.flatten(0, 1)[index]  # (T, E)
            hidden = albert(packed, inputs_embeds=embeds, trace=trace)  # (T, H)

        def rows_of(tokens: Tensor) -> Tensor:
            tokens = tokens[index] if output_attentions else tokens
            return unpack(tokens, index, *ids.shape)  # (B, L, H)

        return AlbertOutput(
            last_hidden_state=unpack(hidden, index, *ids.shape),
            pooler_output=None if albert.pooler is None else albert.pooled(hidden, packed),
            hidden_states=tuple(map(rows_of, trace.hidden_states)) if trace and output_hidden_states else None,
            attentions=tuple(trace.attentions) if trace and trace.attentions is not None else None,
        )


class AlbertForMaskedLM(AlbertModel):
    """The masked language model: scores of every piece at every place."""

    heads = ("masked_lm",)

    def forward(self, *args: Any, labels: Tensor | None = None, **kwargs: Any) -> AlbertOutput:
        """As AlbertModel; labels (B, L) are ids to be found, -100 where there is nothing to find."""
        output = super().forward(*args, **kwargs)
        output.logits = self.model.heads["masked_lm"](output.last_hidden_state)  # (B, L, V)
        if labels is not None:
            output.loss = F.cross_entropy(output.logits.flatten(0, 1).float(), labels.flatten())
        return output


class AlbertForPreTraining(AlbertModel):
    """The masked language model and the sentence order."""

    heads = ("masked_lm", "sentence_order")

    def forward(
        self,
        *args: Any,
        labels: Tensor | None = None,
        sentence_order_label: Tensor | None = None,
        **kwargs: Any,
    ) -> AlbertOutput:
        """As AlbertModel; labels (B, L) as in AlbertForMaskedLM, sentence_order_label (B,): 0 original, 1 swapped."""
        output = super().forward(*args, **kwargs)
        predictions: Tensor = self.model.heads["masked_lm"](output.last_hidden_state)  # (B, L, V)
        order: Tensor = self.model.heads["sentence_order"](output.pooler_output)  # (B, 2)
        output.prediction_logits, output.sop_logits = predictions, order
        if labels is not None and sentence_order_label is not None:
            output.loss = F.cross_entropy(predictions.flatten(0, 1).float(), labels.flatten()) + F.cross_entropy(
                order.float(), sentence_order_label.flatten()
            )
        return output


class AlbertForSequenceClassification(AlbertModel):
    """A classifier (or a regression) of whole texts or pairs."""

    heads = ("classify",)

    def forward(self, *args: Any, labels: Tensor | None = None, **kwargs: Any) -> AlbertOutput:
        """As AlbertModel; labels (B,) classes, (B, C) of 0 and 1 for several at once, or (B,) numbers to regress.

        The config's problem_type decides; without one: one label is a regression, whole numbers are classes.
        """
        output = super().forward(*args, **kwargs)
        logits: Tensor = self.model.heads["classify"](output.pooler_output)  # (B, C)
        output.logits = logits
        if labels is not None:
            output.loss = _classification_loss(self.config, logits.float(), labels)
        return output


class AlbertForTokenClassification(AlbertModel):
    """A classifier of tokens."""

    heads = ("ner",)

    def forward(self, *args: Any, labels: Tensor | None = None, **kwargs: Any) -> AlbertOutput:
        """As AlbertModel; labels (B, L) classes, -100 where there is nothing to find."""
        output = super().forward(*args, **kwargs)
        output.logits = self.model.heads["ner"](output.last_hidden_state)  # (B, L, C)
        if labels is not None:
            output.loss = F.cross_entropy(output.logits.flatten(0, 1).float(), labels.flatten())
        return output


class AlbertForQuestionAnswering(AlbertModel):
    """Where in a context the answer to a question stands."""

    heads = ("qa",)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *args: Any,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **kwargs: Any,
    ) -> AlbertOutput:
        """As AlbertModel; the positions (B,) are those of the answer's first and last token, others are ignored."""
        output = super().forward(input_ids, attention_mask, *args, **kwargs)
        logits: Tensor = self.model.heads["qa"](output.last_hidden_state).float()  # (B, L, 2)
        if attention_mask is not None:  # no answer begins or ends in padding
            logits = logits.masked_fill(~attention_mask.bool()[..., None], torch.finfo(logits.dtype).min)
        output.start_logits, output.end_logits = start, end = logits.unbind(-1)
        if start_positions is not None and end_positions is not None:
            length = logits.shape[1]
            first, last = (places.clamp(0, length) for places in (start_positions, end_positions))
            output.loss = F.cross_entropy(start, first, ignore_index=length) / 2
            output.loss = output.loss + F.cross_entropy(end, last, ignore_index=length) / 2
        return output


class AlbertForMultipleChoice(AlbertModel):
    """Which of several choices fits."""

    heads = ("choice",)

    def forward(  # type: ignore[override]  # three dimensions, so that word vectors cannot stand in for ids
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **kwargs: Any,
    ) -> AlbertOutput:
        """As AlbertModel with tensors (B, N, L) for N choices; its other outputs have B x N rows. labels (B,)."""
        if input_ids.ndim != 3:
            raise InputError(f"the ids have {input_ids.ndim} dimension(s), not (rows, choices, length)")
        rows, choices = input_ids.shape[:2]
        beside = (attention_mask, token_type_ids, position_ids)
        mask, segments, positions = (None if x is None else x.flatten(0, -2) for x in beside)
        output = super().forward(input_ids.flatten(0, 1), mask, segments, positions, **kwargs)
        logits: Tensor = self.model.heads["choice"](output.pooler_output)  # (B N, 1)
        output.logits = logits.view(rows, choices)
        if labels is not None:
            output.loss = F.cross_entropy(output.logits.float(), labels)
        return output


def _classification_loss(config: AlbertConfig, logits: Tensor, labels: Tensor) -> Tensor:
    problem = config.problem_type
    if problem is None:
        single = "multi_label_classification" if labels.is_floating_point() else "single_label_classification"
        problem = "regression" if config.num_labels == 1 else single
    if problem == "regression":
        return F.mse_loss(logits, labels.float().view_as(logits))
    if problem == "multi_label_classification":
        return F.binary_cross_entropy_with_logits(logits, labels.float())
    return F.cross_entropy(logits, labels.flatten())


def _input_ids(config: AlbertConfig, input_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
    """Check what comes in and return ids (B, L); zeros stand in where word vectors were given."""
    if (input_ids is None) == (inputs_embeds is None):
        raise InputError("give either input_ids or inputs_embeds, and not both")
    if input_ids is None:
        assert inputs_embeds is not None
        input_ids = torch.zeros(inputs_embeds.shape[:2], dtype=torch.int64, device=inputs_embeds.device)
    if input_ids.ndim != 2:
        raise InputError(f"the ids have {input_ids.ndim} dimension(s), not (rows, length): add the missing one")
    if input_ids.shape[1] > config.max_position_embeddings:
        raise InputError(
            f"{input_ids.shape[1]} tokens are more than the model's {config.max_position_embeddings} positions: "
            "cut the text or take it in windows"
        )
    _check_range("input_ids", input_ids, config.vocab_size)
    return input_ids


def _beside(ids: Tensor, name: str, values: Tensor | None, size: int) -> Tensor | None:
    """Check what stands beside ids (B, L), whole numbers below `size`, and return it as (B, L)."""
    if values is None:
        return None
    if values.shape not in (ids.shape, (1, ids.shape[1]), ids.shape[1:]):
        raise InputError(f"{name} is {tuple(values.shape)}, and the ids are {tuple(ids.shape)}: give one for each")
    if values.is_floating_point() and not bool((values == values.round()).all() and (values.abs() < size).all()):
        raise InputError(f"{name} holds other numbers than whole ones from 0 to {size - 1}: give these")
    _check_range(name, values, size)
    return values.to(ids.dtype).expand_as(ids)


def _check_range(name: str, values: Tensor | None, size: int) -> None:
    if values is not None and values.numel() and not 0 <= int(values.min()) <= int(values.max()) < size:
        raise InputError(
            f"{name} goes from {int(values.min())} to {int(values.max())}, but the model knows 0 to {size - 1}: "
            "use the model's own tokenizer"
        )
