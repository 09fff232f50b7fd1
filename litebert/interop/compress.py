"""Any encoder of BERT's family becomes an ALBERT: its embedding factorized, its layers put together into shared blocks.

1. Sentences are taken from real text, some of them held out.
2. The embedding is solved for at the new width (`factorize`).
3. Each block of the sharing plan starts from the source's layers that it stands for: their mean with units in one order
   or their fit on real tokens (`merge`), or one of them; `best` tries all on real text and takes the one whose sentence
   vectors are closest.
4. What else the source has is carried over: pooler, heads of tasks, tokenizer, settings of sentence-transformers; the
   masked-token head where the embedding, whose table is its matrix, is copied.
5. The result is held against its source on the held-out sentences, before anything is trained.

Dimensions: S sentences, H hidden, E embedding.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from litebert.console import log, progress
from litebert.data.sample import Sample, sample_sentences
from litebert.errors import ConfigError, InputError, ModelFolderError
from litebert.files import held, new_folder, require_empty
from litebert.interop.compressed import Closeness, CompressReport, closeness
from litebert.interop.factorize import Factorized, copied, factorize, sensitivity, sentence_vectors
from litebert.interop.huggingface import read_model, write_model
from litebert.interop.merge import Aligned, Grams, State, aligned_attention, aligned_ffn, fit, low_rank, mean, watched
from litebert.interop.sentences import LENGTHS, PROMPTS, SENTENCE_FILES
from litebert.model.config import AlbertConfig
from litebert.model.encoder import Albert
from litebert.model.heads import AlbertWithHeads, build_model
from litebert.model.packed import Packed, pack_lists
from litebert.text.tokenizer import Tokenizer, has_tokenizer, load_tokenizer

HELD_OUT, TO_SOLVE, TO_TRY = 1000, 4000, 200
"""Sentences: to compare on, to solve the embedding on, and of these to try starts on."""

TO_FIT = 32768
"""Tokens, of those to solve on, that layers are fitted on."""

_WITH_DELTAS = {"attention": ("qkv", "dense"), "ffn": ("inner", "output")}
_FEWEST = 50
_LENGTH = 128
_BATCH_TOKENS = 4096


class Text(NamedTuple):
    """Sentences as the models read them."""

    held_out: list[Packed]
    solving: list[Packed]
    trying: list[Packed]
    origin: str


class Starts(NamedTuple):
    """What the blocks of the result may start from, by part: `attention` and `ffn`."""

    aligned: Mapping[str, list[list[Aligned]]]
    """For each block the source's layers that it stands for."""
    covers: Mapping[str, list[list[int]]]
    """Their numbers."""
    grams: Sequence[Grams]
    """Of every layer of the source; empty where nothing is to be fitted."""

    def of_block(self, part: str, number: int, start: str) -> State:
        """The tensors that a block starts with."""
        layers = self.aligned[part][number]
        if start == "average":
            return mean(layers)
        if start == "fit":
            return fit(layers, [self.grams[i] for i in self.covers[part][number]])
        return layers[int(start)].state


def compress(
    source: str | Path,
    out: str | Path,
    *,
    embedding_size: int = 128,
    sharing: str = "all",
    layers: int | None = None,
    start: str = "best",
    texts: Sequence[Path] | None = None,
) -> CompressReport:
    """Write an ALBERT folder made of the model folder `source`; nothing is trained.

    layers: of the result, those of the source unless given. start: `average`, `fit`, the number of a layer (of those
    that a block stands for, from 0), or `best`. texts: files of prose; without them see `data.sample`.

    Raises OutputError where `out` is not empty or cannot be written; ModelFolderError and TokenizerError for a source
    that is no encoder with a tokenizer; ConfigError for sizes that cannot be; InputError for too little text.
    """
    source, out = Path(source), Path(out)
    require_empty(out)
    with held(out):  # where nothing can be written, that is said before all the computing
        pass
    loaded = read_model(source)
    if not has_tokenizer(source):
        raise ModelFolderError(
            f"{source} holds a model without a tokenizer, so no text can be tried: put its files there"
        )
    tokenizer, model = load_tokenizer(source), loaded.model.eval().requires_grad_(False)
    config = student_config(model.config, tokenizer, embedding_size, sharing, layers)
    # The matrix of the masked-token head is the embedding.
    heads = [name for name in model.heads if name != "masked_lm" or _same_embedding(model.config, config)]
    covers = covered_layers(config, len(model.config.sharing_plan.attention))
    _check_start(start, covers)
    text = read_text(sample_sentences(texts, HELD_OUT + TO_SOLVE), tokenizer, config)
    pooling = model.config.sentence_pooling
    student = build_model(config, heads, generator=torch.Generator().manual_seed(0)).eval().requires_grad_(False)
    carried = carry_over(model, student)
    embedding = _solve_embedding(model.albert, config, text, pooling)
    _load(student, embedding.tensors)
    tried = _start(student.albert, model.albert, covers, start, text, pooling)
    report = CompressReport(
        source=str(source),
        model=out,
        config=config,
        source_config=model.config,
        embedding_variance=embedding.variance_kept,
        start=tried[0],
        tried=tried[1],
        closeness=closeness(
            _vectors(model.albert, text.held_out, pooling), _vectors(student.albert, text.held_out, pooling)
        ),
        without_relative=_without_relative(model, text, pooling),
        carried=(*carried, *_sentence_files(source)),
        text=text.origin,
    )
    measured = ("dev", "calibration")  # on the source
    extra = {name: value for name, value in loaded.extra.items() if name not in measured}
    extra["compressed"] = json.loads(json.dumps(report.origin()))
    with new_folder(out, replace=False) as folder:
        note = write_model(student, folder, tokenizer, extra)
        for name in {LENGTHS, PROMPTS}.intersection(_sentence_files(source)):  # the others are written already
            shutil.copyfile(source / name, folder / name)
    return replace(report, note=note)


def student_config(
    source: AlbertConfig, tokenizer: Tokenizer, embedding_size: int, sharing: str, layers: int | None
) -> AlbertConfig:
    """The config of the result; raises ConfigError for a source or a size that cannot be."""
    if (source.block, source.position) not in (("post_norm", "absolute"), ("post_norm", "relative")):
        raise ConfigError(
            f"block {source.block!r} with position {source.position!r} is no block of BERT's: compress starts from an "
            "encoder of BERT's family"
        )
    if not 2 <= embedding_size <= source.hidden_size:
        raise ConfigError(
            f"embedding_size {embedding_size} is not from 2 to the source's width {source.hidden_size}: a factorized "
            "embedding is narrower than the encoder"
        )
    return replace(
        source,
        vocab_size=tokenizer.vocab_size,
        embedding_size=embedding_size,
        embedding_projection=True,
        num_hidden_layers=len(source.sharing_plan.attention) if layers is None else layers,
        inner_group_num=1,
        sharing=sharing,
        position="absolute",
        position_offset=0,
        type_vocab_size=max(source.type_vocab_size, 1),
        # As the second version of ALBERT: shared weights overfit little, and dropout is dear on a CPU.
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        embedding_dropout_prob=0.0,
        classifier_dropout_prob=0.1,
        pooling="first" if source.pooling == "none" else source.pooling,
        pooler_activation="tanh" if source.pooling == "none" else source.pooler_activation,
        pad_token_id=tokenizer.pad_id,
        bos_token_id=tokenizer.cls_id,
        eos_token_id=tokenizer.sep_id,
    )


def covered_layers(config: AlbertConfig, source_layers: int) -> dict[str, list[list[int]]]:
    """Which layers of the source each block of the result stands for, by part: `attention` and `ffn`.

    Layer l of N stands for the source's layers from l L / N up to (l + 1) L / N, at least for one.
    """
    plan, number = config.sharing_plan, len(config.sharing_plan.attention)
    covers = {}
    for part, blocks in (("attention", plan.attention), ("ffn", plan.ffn)):
        found: list[set[int]] = [set() for _ in range(max(blocks) + 1)]
        for layer, block in enumerate(blocks):
            found[block].update(_stands_for(layer, number, source_layers))
        covers[part] = [sorted(layers) for layers in found]
    return covers


def _stands_for(layer: int, number: int, source_layers: int) -> range:
    first = layer * source_layers // number
    return range(first, max((layer + 1) * source_layers // number, first + 1))


def read_text(sample: Sample, tokenizer: Tokenizer, config: AlbertConfig) -> Text:
    """Divide sentences into those held out, every fifth, those to choose a start by, and those to solve on, and encode
    them."""
    if len(sample.sentences) < _FEWEST:
        raise InputError(
            f"{sample.origin} holds {len(sample.sentences)} sentences, too few to solve on: give at least {_FEWEST}"
        )
    held_out = sample.sentences[::5]
    solving = [sentence for i, sentence in enumerate(sample.sentences) if i % 5]
    few = min(TO_TRY, len(solving) // 5)
    room = min(_LENGTH, config.max_position_embeddings) - 2

    def encode(sentences: Sequence[str]) -> list[Packed]:
        ids = [[tokenizer.cls_id, *of_text[:room], tokenizer.sep_id] for of_text in tokenizer.encode_ids(sentences)]
        size = max(_BATCH_TOKENS // (max(map(len, ids), default=1)), 1)
        return [pack_lists(ids[i : i + size]) for i in range(0, len(ids), size)]

    return Text(encode(held_out), encode(solving[few:]), encode(solving[:few]), sample.origin)


def carry_over(source: AlbertWithHeads, student: AlbertWithHeads) -> tuple[str, ...]:
    """Copy pooler and heads, which stand on vectors of the same width; returns their names."""
    state = {
        name: tensor
        for name, tensor in source.state_dict().items()
        if name.startswith("albert.pooler.") or name.partition(".")[2].partition(".")[0] in student.heads
    }
    if "masked_lm" in student.heads:
        bias = "heads.masked_lm.bias"
        state[bias] = state[bias][: student.config.vocab_size]  # spare rows have no piece
    _load(student, state)
    heads = [name for name, head in student.heads.items() if any(True for _ in head.parameters())]
    return (*(["pooler"] if source.albert.pooler is not None else []), *heads)


def _solve_embedding(source: Albert, config: AlbertConfig, text: Text, pooling: str) -> Factorized:
    if _same_embedding(source.config, config):
        solved = copied(source)
    else:
        metric = sensitivity(source, text.trying, pooling, torch.Generator().manual_seed(0))
        solved = factorize(source, text.solving, config.embedding_size, metric)
    word = "albert.embedding.word.weight"
    solved.tensors[word] = solved.tensors[word][: config.vocab_size]  # spare rows have no piece
    return solved


def _same_embedding(source: AlbertConfig, config: AlbertConfig) -> bool:
    """Whether the source's embedding is copied as it is: it is factorized already, at this width."""
    return source.embedding_projection and source.embedding_size == config.embedding_size


def _start(
    student: Albert, source: Albert, covers: Mapping[str, list[list[int]]], start: str, text: Text, pooling: str
) -> tuple[str, dict[str, float]]:
    """Fill the blocks; returns the start that was taken and the cosine of each that was tried."""
    aligned = {
        "attention": [aligned_attention(_blocks(source, "attention", layers)) for layers in covers["attention"]],
        "ffn": [aligned_ffn(_blocks(source, "ffn", layers)) for layers in covers["ffn"]],
    }
    names = [start]
    if start == "best":
        fewest = min(len(layers) for blocks in covers.values() for layers in blocks)
        only_one = all(len(layers) == 1 for blocks in covers.values() for layers in blocks)
        names = ["average"] if only_one else ["average", "fit", *map(str, range(fewest))]
    starts = Starts(aligned, covers, _grams(source, text) if "fit" in names else [])
    if len(names) == 1:
        _fill(student, starts, names[0])
        return names[0], {}
    wanted = _vectors(source, text.trying, pooling)
    tried = {}
    with progress("trying starts", len(names), "starts") as advance:
        for name in names:
            _fill(student, starts, name)
            tried[name] = float((_vectors(student, text.trying, pooling) * wanted).sum(-1).mean())
            advance()
    best = max(tried, key=lambda name: tried[name])
    log(
        "starts, by the cosine of sentence vectors to the source's: "
        + ", ".join(f"{n} {c:.3f}" for n, c in tried.items())
    )
    _fill(student, starts, best)
    return best, tried


@torch.no_grad()
def _grams(source: Albert, text: Text) -> list[dict[str, Tensor]]:
    """What the layers of the source read on some of the sentences, as `fit` wants it."""
    read = 0
    with watched(source.encoder) as grams:
        for packed in text.solving:
            if read >= TO_FIT:
                break
            source(packed)
            read += len(packed.input_ids)
    return grams


def _fill(student: Albert, starts: Starts, start: str) -> None:
    encoder, (aligned, covers, _) = student.encoder, starts
    for part, blocks in (("attention", encoder.attention), ("ffn", encoder.ffn)):
        for number, block in enumerate(blocks):
            block.load_state_dict(starts.of_block(part, number, start))
    if encoder.deltas is None:
        return
    number = len(encoder.plan.attention)
    for layer, delta in enumerate(encoder.deltas):
        for part, names in _WITH_DELTAS.items():
            layers = covers[part][0]
            own = mean([aligned[part][0][layers.index(i)] for i in _stands_for(layer, number, layers[-1] + 1)])
            shared = getattr(encoder, part)[0]
            for name in names:
                difference = own[f"{name}.weight"] - getattr(shared, name).weight
                down, up = low_rank(difference, encoder.plan.delta_rank)
                delta[name].down.weight.copy_(down)  # type: ignore[index]
                delta[name].up.weight.copy_(up)  # type: ignore[index]


def _check_start(start: str, covers: Mapping[str, list[list[int]]]) -> None:
    fewest = min(len(layers) for blocks in covers.values() for layers in blocks)
    if start not in ("best", "average", "fit") and not (start.isascii() and start.isdigit() and int(start) < fewest):
        raise ConfigError(
            f"start {start!r} is unknown: use best, average, fit, or the number of a layer that every block stands "
            f"for, from 0 to {fewest - 1}"
        )


def _blocks(source: Albert, part: str, layers: Sequence[int]) -> list[Any]:
    """The blocks of some layers of the source, each with its layer's own deltas in its weights."""
    encoder, blocks = source.encoder, []
    for layer in layers:
        block = getattr(encoder, part)[getattr(encoder.plan, part)[layer]]
        if encoder.deltas is not None:
            block = deepcopy(block)
            for name in _WITH_DELTAS[part]:
                delta = encoder.deltas[layer][name]  # type: ignore[index]
                getattr(block, name).weight += delta.up.weight @ delta.down.weight
        blocks.append(block)
    return blocks


def _load(model: AlbertWithHeads, tensors: Mapping[str, Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        parameters[name].copy_(tensor)


@torch.no_grad()
def _vectors(albert: Albert, batches: Sequence[Packed], pooling: str) -> Tensor:
    """The normalized vector of every sentence, (S, H)."""
    return torch.cat([sentence_vectors(albert(packed), packed, pooling) for packed in batches])


def _without_relative(source: AlbertWithHeads, text: Text, pooling: str) -> Closeness | None:
    """How close the source itself stays without its relative positions, which an ALBERT lacks."""
    table = source.albert.encoder.relative
    if table is None:
        return None
    wanted, kept = _vectors(source.albert, text.held_out, pooling), table.weight.clone()
    table.weight.zero_()
    found = closeness(wanted, _vectors(source.albert, text.held_out, pooling))
    table.weight.copy_(kept)
    return found


def _sentence_files(source: Path) -> list[str]:
    return [name for name in SENTENCE_FILES if (source / name).is_file()]
