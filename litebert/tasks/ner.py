"""ner: named entities, or any other spans of a text that do not overlap.

Rows are texts with spans of characters; CoNLL columns become such rows. The model tags words: the first piece of each
carries its tag, as in transformers' class. Dimensions: U words, n sequences, T tokens, C tags.
"""

import functools
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from litebert.data.examples import ExamplesBuilder, Ints, SequenceBatch, single_items, whole_in_place
from litebert.data.labelled import Columns, Labelled, find_columns, text_of, unknown_label, value_of
from litebert.data.packing import split_name
from litebert.data.rows import FORMATS, STDIN, Row
from litebert.errors import InputError
from litebert.evaluate.calibration import Decisions
from litebert.evaluate.entities import Chunk, chunks, entity_metrics, parse_tag, tags_of
from litebert.evaluate.metrics import Doubles, Floats, Metrics, log_softmax
from litebert.tasks.imitation import divergence
from litebert.tasks.spans import Spans, conll_rows, spans_of
from litebert.tasks.task import DIGITS, Encoded, ItemLoss, Lesson, Task, Weighting, Windowing, sequence_of, shares
from litebert.text.perturb import perturb_between
from litebert.text.tokenizer import Tokenizer

_ALONE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts without spaces between words (Thai, Lao, Burmese, Khmer, Japanese, Chinese): there every letter is one."""
_JOINERS = "\u200c\u200d"

_TABLES = {*FORMATS, ".ndjson", ".json", ".pq"} - {".txt"}


class Entity(NamedTuple):
    """A span of a text."""

    start: int
    """Its first character."""
    end: int
    """The one after its last."""
    label: str
    score: float
    """Mean probability of the tags of its words."""
    text: str
    """`text[start:end]` of the row."""


class Entities(NamedTuple):
    """The entities of a text, in its order."""

    entities: tuple[Entity, ...]

    def to_dict(self) -> dict[str, Any]:
        """`entities` [{`start`, `end`, `label`, `score`, `text`}]."""
        return {"entities": [e._asdict() | {"score": round(e.score, DIGITS)} for e in self.entities]}


@dataclass(frozen=True, kw_only=True)
class NerEncoded(Encoded):
    """Texts with the words that are tagged."""

    texts: list[str]
    words: list[Ints]
    """For each row (U, 2): the characters [start, end) of its words."""
    pieces: list[Ints]
    """For each row (U,): the piece that each word begins in; no two words have the same."""


class NerGold(NamedTuple):
    """What is to be found."""

    tags: list[Ints]
    """For each row (U,)."""
    spans: list[Spans]
    torn: list[str]
    """Where the rows are whose entities begin or end inside a word: these are learnt as whole words."""


class WordOpinions(NamedTuple):
    """What a teacher says of the words of a row."""

    words: Ints
    """(U, 2): the characters [start, end) of its words."""
    logits: Doubles
    """(U, C)"""


class Ner(Task[str, Spans, NerEncoded, NerGold]):
    """Tags by cross-entropy over words; entities by the likeliest sequence of tags that IOB2 allows."""

    name = "ner"
    head = "ner"
    metrics = ("f1", "macro_f1", "precision", "recall")
    shown = ("f1", "precision", "recall")
    decides = True
    places = True
    long_rows = "each word is tagged in the window that shows most around it"
    label_names = ("entities", "spans", "labels", "label")

    def rows(self, source: str | Path, *, labelled: bool = False) -> Iterator[tuple[str, Row]]:
        """JSON lines and tables as they are; any other file, and a labelled .txt, is taken for CoNLL columns."""
        kind = split_name(Path(source).name)[1]
        if str(source) == STDIN or kind in _TABLES or (kind == ".txt" and not labelled):
            yield from super().rows(source)
        else:
            yield from conll_rows(source)

    def columns(
        self, present: Any, wanted: Columns, source: str | Path, *, trained: Columns | None = None, label: bool = False
    ) -> Columns:
        """Text and spans; there is no second text."""
        found = find_columns(present, wanted, source, trained=trained, label=label, label_names=self.label_names)
        return found._replace(text_pair=None)

    def input(self, fields: Mapping[str, Any], columns: Columns, where: str) -> str:
        """The text."""
        assert columns.text is not None
        return text_of(value_of(fields, columns.text, where), columns.text, where)

    def plain_input(self, row: object, where: str, trained: Columns | None) -> str:
        """A text, or a dict with one."""
        return row if isinstance(row, str) else super().plain_input(row, where, trained)

    def target(self, fields: Mapping[str, Any], columns: Columns, where: str) -> Spans:
        """Spans that lie in the text and do not overlap."""
        assert columns.label is not None
        text = self.input(fields, columns, where)
        return spans_of(value_of(fields, columns.label, where), columns.label, where, len(text))

    def perturbed(self, name: str, given: str, target: Spans, *key: int) -> tuple[str, Spans]:
        """The entities are perturbed as well, and move with the text."""
        text, at = perturb_between(name, given, [place for span in target for place in span[:2]], *key)
        return text, tuple(Chunk(at[span.start], at[span.end], span.label) for span in target)

    def input_notes(self, inputs: Sequence[str]) -> list[str]:
        """Count texts that are empty."""
        empty = sum(not text.strip() for text in inputs)
        return [f"{empty:,} rows have an empty text; they are used as they are"] if empty else []

    def encode(self, inputs: Sequence[str], tokenizer: Tokenizer, windowing: Windowing) -> NerEncoded:
        """Tokenize into windows, and find the words."""
        builder = ExamplesBuilder(tokenizer.cls_id, tokenizer.sep_id, windowing.length, tokenizer.separators)
        words, pieces = [], []
        made = tokenizer.encode_batch([whole_in_place(text) for text in inputs], special_tokens=False)
        for encoding, text in zip(made, inputs, strict=True):
            builder.add(encoding.ids, None)
            places, first = _words(text, encoding.offsets)
            words.append(places)
            pieces.append(first)
        return NerEncoded(examples=builder.build(), texts=list(inputs), words=words, pieces=pieces)

    def labels(self, rows: Labelled[str, Spans]) -> tuple[str, ...]:
        """O, and B- and I- of every label."""
        names = sorted({span.label for spans in rows.targets for span in spans})
        if not names:
            raise InputError(f"{rows.source}: no row has an entity; there is nothing to learn")
        return ("O", *(f"{prefix}-{name}" for name in names for prefix in "BI"))

    def gold(self, rows: Labelled[str, Spans], encoded: NerEncoded, labels: Sequence[str]) -> NerGold:
        """The tag of every word."""
        index = {label: i for i, label in enumerate(labels)}
        tags, torn = [], []
        for row, spans in enumerate(rows.targets):
            words = encoded.words[row]
            chunks_, inside = [], 0
            for span in spans:
                if f"B-{span.label}" not in index:
                    names = [label[2:] for label in labels if label.startswith("B-")]
                    raise unknown_label(span.label, rows.places[row], names)
                first = int(np.searchsorted(words[:, 1], span.start, side="right"))
                end = int(np.searchsorted(words[:, 0], span.end, side="left"))
                first = max(first, inside)  # a word belongs to the first entity in it
                if first < end:
                    chunks_.append(Chunk(first, end, span.label))
                    inside = end
                if first >= end or (words[first, 0], words[end - 1, 1]) != (span.start, span.end):
                    torn.append(rows.places[row])
            tags.append(np.array([index[tag] for tag in tags_of(chunks_, len(words))], dtype=np.int64))
        return NerGold(tags, rows.targets, torn)

    def describe(self, gold: NerGold, labels: Sequence[str]) -> str:
        """How many entities of which labels."""
        counts = Counter(span.label for spans in gold.spans for span in spans)
        names = sorted(counts)
        return f"{counts.total():,} entities: {shares(names, [counts[name] for name in names])}"

    def judging_notes(self, gold: NerGold, labels: Sequence[str]) -> list[str]:
        """Kinds of entities that do not occur."""
        counts = Counter(span.label for spans in gold.spans for span in spans)
        kinds = sorted({tag[1] for label in labels if (tag := parse_tag(label)) and tag[1]})
        notes = self.not_judged(kinds, [counts[kind] for kind in kinds])
        return [*notes, *([f"{_torn(gold)}; whole words are found, never these"] if gold.torn else [])]

    def lesson(self, encoded: NerEncoded, gold: NerGold, labels: Sequence[str], weighting: Weighting) -> Lesson:
        """Every window learns the tags of its words, on average; what it counts is their number."""
        examples = encoded.examples
        target = np.full(len(examples.tokens), -100, dtype=np.int64)
        weights = np.zeros(len(examples))
        for sequence, tokens, inside in _in_windows(encoded):
            target[tokens] = gold.tags[examples.rows[sequence]][inside]
            weights[sequence] = len(inside)
        goal = torch.from_numpy(target)
        words = torch.from_numpy(np.maximum(weights, 1)).float()

        def loss(logits: Tensor, batch: SequenceBatch) -> Tensor:
            where = torch.from_numpy(examples.token_index(batch))
            each = F.cross_entropy(logits[: len(where)], goal[where].to(logits.device), reduction="none")  # (T,)
            sums = each.new_zeros(len(batch.sequences)).index_add(0, sequence_of(batch).to(each.device), each)
            return sums / words[batch.sequences].to(each.device)

        notes = (f"{_torn(gold)}; they are learnt as whole words",) if gold.torn else ()
        return Lesson(items=single_items(examples, weights), loss=loss, notes=notes)

    def opinions(self, encoded: NerEncoded, outputs: Floats) -> list[WordOpinions]:
        """The words of each row, and the logits of their tags."""
        logs = _word_log_probabilities(encoded, outputs)
        return [WordOpinions(*said) for said in zip(encoded.words, logs, strict=True)]

    def imitation(
        self, encoded: NerEncoded, opinions: Sequence[WordOpinions | None], lesson: Lesson, temperature: float
    ) -> ItemLoss:
        """The mean divergence of the softened distributions of a window's words; those that are no words to the
        teacher, who has another tokenizer, are learnt from the labels alone."""
        examples = encoded.examples
        width = max((said.logits.shape[1] for said in opinions if said is not None), default=1)
        table = np.zeros((len(examples.tokens), width), dtype=np.float32)
        shares = np.zeros(len(examples.tokens), dtype=np.float32)
        for sequence, tokens, inside in _in_windows(encoded):
            row = examples.rows[sequence]
            if (said := opinions[row]) is not None:
                places = {tuple(word): i for i, word in enumerate(said.words.tolist())}
                theirs = np.array([places.get(tuple(word), -1) for word in encoded.words[row][inside].tolist()], int)
                table[tokens[theirs >= 0]] = said.logits[theirs[theirs >= 0]]
                shares[tokens[theirs >= 0]] = 1 / len(inside)
        wanted, share = torch.from_numpy(table), torch.from_numpy(shares)

        def distance(logits: Tensor, batch: SequenceBatch) -> Tensor:
            where, device = torch.from_numpy(examples.token_index(batch)), logits.device
            each = divergence(logits[: len(where)], wanted[where].to(device), temperature) * share[where].to(device)
            return each.new_zeros(len(batch.sequences)).index_add(0, sequence_of(batch).to(device), each)

        return distance

    def answers(
        self, encoded: NerEncoded, outputs: Floats, labels: Sequence[str], decision: Mapping[str, Any]
    ) -> list[Entities]:
        """The spans of the likeliest tags."""
        result = []
        allowed = _allowed(labels)
        for row, logs in enumerate(_word_log_probabilities(encoded, outputs)):
            path = best_path(logs, allowed)
            words, text = encoded.words[row], encoded.texts[row]
            found = []
            for first, end, label in chunks([labels[tag] for tag in path]):
                start, stop = int(words[first, 0]), int(words[end - 1, 1])
                score = float(np.exp(logs[range(first, end), path[first:end]]).mean())
                found.append(Entity(start, stop, label, score, text[start:stop]))
            result.append(Entities(tuple(found)))
        return result

    def judge(
        self,
        encoded: NerEncoded,
        gold: NerGold,
        outputs: Floats,
        labels: Sequence[str],
        decision: Mapping[str, Any],
    ) -> Metrics:
        """See `entity_metrics`, on spans of characters; loss is the mean over words in nats."""
        answers = self.answers(encoded, outputs, labels, decision)
        metrics = self._compare(gold.spans, [answer.entities for answer in answers])
        logs = _word_log_probabilities(encoded, outputs)
        right = [row[np.arange(len(tags)), tags] for row, tags in zip(logs, gold.tags, strict=True)]
        flat = np.concatenate([*right, np.zeros(0)])
        return metrics | {"loss": float(-flat.mean()) if len(flat) else 0.0}

    def decisions(self, encoded: NerEncoded, gold: NerGold, outputs: Floats) -> Decisions:
        """The tag of every word, each by itself."""
        logits = np.concatenate([np.zeros((0, outputs.shape[1])), *_word_log_probabilities(encoded, outputs)])
        tags = np.concatenate([np.zeros(0, dtype=np.int64), *gold.tags])
        return Decisions(logits, tags, np.repeat(np.arange(len(gold.tags)), [len(row) for row in gold.tags]))

    def _compare(self, gold: Sequence[Spans], given: Sequence[Sequence[Any]]) -> Metrics:
        return entity_metrics(gold, [[Chunk(e.start, e.end, e.label) for e in entities] for entities in given])

    def collapsed(self, metrics: Metrics) -> bool:
        """No entity at all."""
        return metrics["predicted_entities"] == 0

    def varied(self, gold: NerGold) -> bool:
        """Whether there is an entity to find."""
        return any(gold.spans)

    def answer_of(self, fields: Mapping[str, Any], where: str) -> Spans:
        """`entities`."""
        column = next((name for name in ("entities", "spans") if name in fields), "entities")
        return spans_of(value_of(fields, column, where), column, where, None)

    def check_answer(self, given: str, answer: Spans, where: str) -> None:
        """Its spans must lie in the text."""
        for span in answer:
            if span.end > len(given):
                raise InputError(
                    f"{where}: the span {span.start}-{span.end} ({span.label}) lies not in the text of {len(given)} "
                    "characters"
                )

    def score(self, rows: Labelled[str, Spans], answers: Sequence[Spans]) -> Metrics:
        """See `entity_metrics`: the borders must be the same characters."""
        return self._compare(rows.targets, answers)


def best_path(logs: Doubles, allowed: Any) -> list[int]:
    """The likeliest sequence of tags: logs (U, C), allowed (C + 1, C): may a tag follow another, or (last) begin?

    Viterbi's algorithm; where the likeliest tag of every word will do, it is not needed.
    """
    if len(logs) == 0:
        return []
    path: list[int] = logs.argmax(1).tolist()
    if allowed[-1, path[0]] and all(allowed[a, b] for a, b in itertools.pairwise(path)):
        return path
    forbidden = np.where(allowed, 0.0, -np.inf)
    best = logs[0] + forbidden[-1]  # (C,)
    before = np.zeros(logs.shape, dtype=np.int64)
    for at in range(1, len(logs)):
        through = best[:, None] + forbidden[:-1]  # (C, C)
        before[at] = through.argmax(0)
        best = through.max(0) + logs[at]
    path = [int(best.argmax())]
    for at in range(len(logs) - 1, 0, -1):
        path.append(int(before[at, path[-1]]))
    return path[::-1]


def _allowed(labels: Sequence[str]) -> Any:
    """(C + 1, C): what IOB2, or a folder's other scheme, lets follow; a folder of IOB1 may begin with I-."""
    tags = [parse_tag(label) for label in labels]
    if None in tags:
        raise InputError(
            f"the model's labels ({', '.join(labels[:6])}, …) are no tags such as B-PER, I-PER and O; litebert reads "
            "models with such tags, as `litebert finetune ner` makes them"
        )
    prefixes = {tag[0] for tag in tags if tag}
    result = np.ones((len(tags) + 1, len(tags)), dtype=np.bool_)
    if "B" not in prefixes:
        return result
    for before, after in itertools.product(range(len(tags) + 1), range(len(tags))):
        now = tags[after]
        then = tags[before] if before < len(tags) else ("O", "")
        assert now is not None
        assert then is not None
        opened = then[0] in ("B", "I") and then[1] == now[1]
        if now[0] in ("I", "E"):
            result[before, after] = opened
        elif "S" in prefixes and then[0] in ("B", "I"):
            result[before, after] = False
    return result


@functools.cache
def _word() -> re.Pattern[str]:
    """Letters and digits, one letter of a script without spaces, or any other character, each with its marks.

    Marks are accents, vowel signs and the like, which are no letters to Python.
    """
    marks = "".join(letter for letter in map(chr, range(0x300, 0x20000)) if unicodedata.category(letter)[0] == "M")
    marks += _JOINERS
    return re.compile(rf"[{_ALONE}][{marks}]*|(?:[^\W{_ALONE}][{marks}]*)+|[^\w\s][{marks}]*")


def _words(text: str, offsets: Sequence[tuple[int, int]]) -> tuple[Ints, Ints]:
    """The words of a text (U, 2) and the piece (U,) that each begins in; words in one piece are one."""
    starts = np.array([start for start, _ in offsets], dtype=np.int64)
    ends = np.array([end for _, end in offsets], dtype=np.int64)
    found: list[list[int]] = []
    for match in _word().finditer(text):
        piece = int(np.searchsorted(ends, match.start(), side="right"))
        if piece == len(ends) or starts[piece] >= match.end():
            continue  # the tokenizer drops it: a control character
        if found and found[-1][2] == piece:
            found[-1][1] = match.end()
        else:
            found.append([match.start(), match.end(), piece])
    table = np.array(found, dtype=np.int64).reshape(-1, 3)
    return table[:, :2], table[:, 2]


def _torn(gold: NerGold) -> str:
    return f"{len(gold.torn):,} entities begin or end inside a word (the first: {gold.torn[0]})"


def _in_windows(encoded: NerEncoded) -> Iterator[tuple[int, Ints, Ints]]:
    """Yield for every sequence: it, its tokens that carry words (among all tokens), and these words of its row."""
    examples = encoded.examples
    for sequence in range(len(examples)):
        pieces = encoded.pieces[examples.rows[sequence]]
        begin = int(examples.windows[sequence, 0])
        first, end = np.searchsorted(pieces, (begin, begin + int(examples.lengths[sequence]) - 2))
        words = np.arange(first, end)
        yield sequence, examples.starts[sequence] + 1 + pieces[words] - begin, words


def _word_log_probabilities(encoded: NerEncoded, outputs: Floats) -> list[Doubles]:
    """For each row (U, C): log-probabilities of the tags, each word read in the window with most around it."""
    logits = outputs.astype(np.float64)
    result = [np.zeros((len(words), outputs.shape[1])) for words in encoded.words]
    room = [np.full(len(words), -1, dtype=np.int64) for words in encoded.words]
    examples = encoded.examples
    for sequence, tokens, words in _in_windows(encoded):
        row = examples.rows[sequence]
        around = np.minimum(tokens - examples.starts[sequence], examples.starts[sequence + 1] - 1 - tokens)
        better = around > room[row][words]
        room[row][words[better]] = around[better]
        result[row][words[better]] = logits[tokens[better]]
    return [log_softmax(values) for values in result]
