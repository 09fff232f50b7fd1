"""qa: the answer to a question as a span of a context, or none.

Windows advance over the context, the question whole before each; the best spans of all windows are compared, as
Devlin et al. 2019 do. Dimensions: R questions, n sequences, T tokens, P pieces of a context.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from litebert.data.examples import ExamplesBuilder, Ints, SequenceBatch, single_items, whole_in_place
from litebert.data.labelled import Columns, Labelled, first_of, label_column, text_of, there, value_of
from litebert.data.packing import split_name
from litebert.data.questions import Given, given_answers, place_of, read_squad
from litebert.data.rows import STDIN, Row
from litebert.errors import InputError
from litebert.evaluate.calibration import Decisions, expected_calibration_error
from litebert.evaluate.metrics import Bools, Doubles, Floats, Metrics
from litebert.evaluate.squad import exact_match, right_answers, squad_metrics
from litebert.tasks.imitation import Opinion, grouped_divergence
from litebert.tasks.task import (
    DIGITS,
    Answer,
    Encoded,
    ItemLoss,
    Lesson,
    Task,
    Weighting,
    Windowing,
    grouped_log_softmax,
    sequence_of,
)
from litebert.text.perturb import perturb, perturb_between
from litebert.text.tokenizer import Tokenizer

LONGEST_ANSWER = 30
"""Pieces of an answer, as in the official code of BERT and ALBERT."""
BEST = 20
"""Beginnings and ends of a window that are looked at, and spans of a question that share the probability."""
ALWAYS = 1.0
"""The threshold of models that give an answer always; no probability of none is above it."""
ALTERNATIVES = 4
"""Further spans that an answer tells, each of other words."""


class Question(NamedTuple):
    """What is read to answer."""

    question: str
    context: str


class Target(NamedTuple):
    """The right answers of a question; none: the context does not answer it."""

    answers: tuple[Given, ...]


class Span(NamedTuple):
    """A part of the context."""

    answer: str
    start: int
    end: int
    """The character after its last."""
    score: float
    """Its probability among the best spans and, where no answer may be given, none at all."""

    def to_dict(self) -> dict[str, Any]:
        """`answer`, `start`, `end`, `score`."""
        return self._asdict() | {"score": round(self.score, DIGITS)}


class QuestionAnswer(NamedTuple):
    """The answer to a question: a span of the context, or "" where there is none."""

    answer: str
    start: int | None
    end: int | None
    score: float
    """Probability of the answer, of there being none where it is empty."""
    no_answer_score: float
    """Probability that the context does not answer the question."""
    alternatives: tuple[Span, ...]
    """Other spans, the likeliest first."""

    def to_dict(self) -> dict[str, Any]:
        """`answer`, `start`, `end`, `score`, `no_answer_score`, `alternatives`."""
        scores = {name: round(getattr(self, name), DIGITS) for name in ("score", "no_answer_score")}
        return self._asdict() | scores | {"alternatives": [span.to_dict() for span in self.alternatives]}


@dataclass(frozen=True, kw_only=True)
class QaEncoded(Encoded):
    """Questions with the places of the contexts' pieces."""

    contexts: list[str]
    offsets: list[Ints]
    """For each question (P, 2): the characters [start, end) of its context's pieces."""


class QaGold(NamedTuple):
    """What is to be found."""

    keys: list[str]
    """One a question."""
    targets: list[Target]
    pieces: Ints
    """(R, 2): first and last piece of the answer; -1: none; -2: it cannot be learnt, see `unusable`."""
    unusable: int
    """Questions whose answer is not in the context, or is empty; they are not trained on."""
    moved: list[str]
    """Where the questions are whose answer stands elsewhere in the context than the file says."""


class QuestionAnswering(Task[Question, Target, QaEncoded, QaGold]):
    """First and last token by cross-entropy over the tokens of a window; [CLS] where it holds no answer."""

    name = "qa"
    head = "qa"
    named_outputs = False
    same_pieces = True
    decides = True
    answer_field = "answer"
    metrics = ("f1", "exact", "best_f1", "best_exact")
    shown = ("exact", "f1", "best_f1")
    places = True
    long_rows = "the best answers of their windows are compared"
    cut = "questions are longer than half a window; only their beginnings are read"
    label_names = ("answers", "answer")
    fields: ClassVar[str] = "'question' and 'context'"

    def rows(self, source: str | Path, *, labelled: bool = False) -> Iterator[tuple[str, Row]]:
        """SQuAD's JSON question by question; else rows with `question` and `context`."""
        if str(source) != STDIN and split_name(Path(source).name)[1] == ".json":
            squad = read_squad(source)
            if squad is not None:
                for number, fields in enumerate(squad, 1):
                    yield f"{source}, question {number} ({fields['id']})", fields
                return
        yield from super().rows(source, labelled=labelled)

    def columns(
        self, present: Any, wanted: Columns, source: str | Path, *, trained: Columns | None = None, label: bool = False
    ) -> Columns:
        """--text names the contexts, --text-pair the questions."""
        names = [str(name) for name in present]
        trained = trained or Columns()
        context = wanted.text or first_of(names, [n for n in (trained.text, "context", "passage", "paragraph") if n])
        question = wanted.text_pair or first_of(names, [n for n in (trained.text_pair, "question", "query") if n])
        for name, usual, option in ((context, "context", "--text"), (question, "question", "--text-pair")):
            if name is None or name not in names:
                raise InputError(f"{source} has no column {name or usual!r}; {there(names)}; name it: {option} COLUMN")
        return Columns(
            context, question, label_column(names, wanted, source, trained, self.label_names) if label else None
        )

    def input(self, fields: Mapping[str, Any], columns: Columns, where: str) -> Question:
        """Question and context."""
        assert columns.text is not None
        assert columns.text_pair is not None
        question, context = (
            text_of(value_of(fields, name, where), name, where) for name in (columns.text_pair, columns.text)
        )
        return Question(question, context)

    def target(self, fields: Mapping[str, Any], columns: Columns, where: str) -> Target:
        """The answers, in SQuAD's form or that of `datasets` ({"text": [...], "answer_start": [...]})."""
        assert columns.label is not None
        context = self.input(fields, columns, where).context
        return Target(given_answers(value_of(fields, columns.label, where), columns.label, where, context))

    def perturbed(self, name: str, given: Question, target: Target, *key: int) -> tuple[Question, Target]:
        """Question, context, and the answers in it, wherever these stand then; others stay."""
        ranges: dict[Given, tuple[int, int]] = {}
        for answer in target.answers:
            if answer.text and (start := place_of(answer, given.context)) is not None:
                ranges[answer] = start, start + len(answer.text)
        context, at = perturb_between(name, given.context, itertools.chain(*ranges.values()), *key, 1)
        moved = {answer: Given(context[at[start] : at[end]], at[start]) for answer, (start, end) in ranges.items()}
        answers = tuple(moved.get(answer, answer) for answer in target.answers)
        return Question(perturb(name, given.question, *key, 0), context), Target(answers)

    def read(self, source: str | Path, wanted: Columns, trained: Columns | None = None) -> Labelled[Question, Target]:
        """Raises InputError where all answers are empty, as in files whose answers were taken out."""
        rows = super().read(source, wanted, trained)
        answers = [given.text for target in rows.targets for given in target.answers]
        if answers and not any(answers):
            raise InputError(
                f"{source}: all {len(answers):,} answers are empty, so the file says nothing; give a labelled one"
            )
        notes = list(rows.notes)
        strange = [
            place
            for place, given, target in zip(rows.places, rows.inputs, rows.targets, strict=True)
            if any(not answer.text.strip() or answer.text not in given.context for answer in target.answers)
        ]
        if strange:
            notes.append(f"{len(strange):,} questions have an answer that is empty or not in the context: {strange[0]}")
        return replace(rows, notes=tuple(notes))

    def encode(self, inputs: Sequence[Question], tokenizer: Tokenizer, windowing: Windowing) -> QaEncoded:
        """Tokenize into windows over the context; a question takes half of a window at most."""
        if windowing.length < 8:
            raise InputError(f"a window of {windowing.length} tokens holds no question; give a larger --length")
        builder = ExamplesBuilder(tokenizer.cls_id, tokenizer.sep_id, windowing.length, tokenizer.separators)
        questions = tokenizer.encode_ids([whole_in_place(given.question) for given in inputs])
        places = {context: i for i, context in enumerate(dict.fromkeys(given.context for given in inputs))}
        contexts = tokenizer.encode_batch([whole_in_place(context) for context in places], special_tokens=False)
        tables = [np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2) for encoding in contexts]
        shortened = 0
        for given, question in zip(inputs, questions, strict=True):
            lost = builder.add_question(question, contexts[places[given.context]].ids, windowing.stride)
            shortened += lost > 0
        return QaEncoded(
            examples=builder.build(),
            contexts=[given.context for given in inputs],
            offsets=[tables[places[given.context]] for given in inputs],
            cut=shortened,
        )

    def labels(self, rows: Labelled[Question, Target]) -> tuple[str, ...]:
        """The two outputs of the head."""
        if not any(target.answers for target in rows.targets):
            raise InputError(f"{rows.source}: no question has an answer; there is nothing to learn")
        if all(
            _learnable(target, given.context) is None for given, target in zip(rows.inputs, rows.targets, strict=True)
        ):
            raise InputError(
                f"{rows.source}: no answer stands in its context; answers are learnt as places there, word for word"
            )
        return ("start", "end")

    def gold(self, rows: Labelled[Question, Target], encoded: QaEncoded, labels: Sequence[str]) -> QaGold:
        """Where in the pieces the first answer of each question that stands in its context does."""
        pieces = np.full((len(rows), 2), -1, dtype=np.int64)
        unusable, moved = 0, []
        for row, target in enumerate(rows.targets):
            if not target.answers:
                continue
            found = _learnable(target, encoded.contexts[row])
            offsets = encoded.offsets[row]
            first = end = 0
            if found is not None:
                answer, start = found
                if start != answer.start:
                    moved.append(rows.places[row])
                first = int(np.searchsorted(offsets[:, 1], start, side="right"))
                end = int(np.searchsorted(offsets[:, 0], start + len(answer.text), side="left"))
            if first < end:
                pieces[row] = first, end - 1
            else:
                pieces[row] = -2
                unusable += 1
        return QaGold(_keys(rows), rows.targets, pieces, unusable, moved)

    def describe(self, gold: QaGold, labels: Sequence[str]) -> str:
        """How many questions have an answer."""
        answered = sum(bool(target.answers) for target in gold.targets)
        return f"{answered:,} of {len(gold.targets):,} questions have an answer"

    def lesson(self, encoded: QaEncoded, gold: QaGold, labels: Sequence[str], weighting: Weighting) -> Lesson:
        """Every window learns where the answer stands in it, or that it is not there."""
        goal, usable = _in_windows(encoded, gold)
        places = torch.from_numpy(goal)

        def loss(logits: Tensor, batch: SequenceBatch) -> Tensor:
            total = len(batch.input_ids)
            begins = torch.from_numpy(batch.cu_seqlens[:-1].astype(np.int64)).to(logits.device)  # (S,)
            sequence = sequence_of(batch).to(logits.device)  # (T,)
            right = places[batch.sequences].to(logits.device) + begins[:, None]  # (S, 2)
            first, last = (
                grouped_log_softmax(logits[:total, side], sequence, len(begins)).index_select(0, right[:, side])
                for side in (0, 1)
            )
            return -(first + last) / 2

        notes = []
        if gold.unusable:
            notes.append(
                f"{gold.unusable:,} questions have an answer that is empty or not in the context; not trained on"
            )
        if gold.moved:
            notes.append(
                f"{len(gold.moved):,} answers do not stand where the file says (the first: {gold.moved[0]}); the "
                "nearest same words are taken"
            )
        return Lesson(items=single_items(encoded.examples, usable.astype(np.float64)), loss=loss, notes=tuple(notes))

    def opinions(self, encoded: QaEncoded, outputs: Floats) -> list[Floats]:
        """The logits (T, 2) of the tokens of each question's windows."""
        examples = encoded.examples
        first = np.searchsorted(examples.rows, np.arange(1, examples.num_rows))
        return np.split(outputs, examples.starts[first])

    def target_of(self, answer: Answer) -> Target:
        """The best span, or none."""
        assert isinstance(answer, QuestionAnswer)
        return Target(() if answer.start is None else (Given(answer.answer, answer.start),))

    def imitation(
        self, encoded: QaEncoded, opinions: Sequence[Opinion], lesson: Lesson, temperature: float
    ) -> ItemLoss:
        """The mean divergence of the softened distributions of first and last token over a window."""
        examples = encoded.examples
        sizes = np.bincount(examples.rows, examples.lengths, examples.num_rows).astype(np.int64)
        said = [np.zeros((size, 2), np.float32) if o is None else o for o, size in zip(opinions, sizes, strict=True)]
        table = torch.from_numpy(np.concatenate(said))  # (total, 2)

        def distance(logits: Tensor, batch: SequenceBatch) -> Tensor:
            wanted = table[torch.from_numpy(examples.token_index(batch))].to(logits.device)  # (T, 2)
            sequence, count = sequence_of(batch).to(logits.device), len(batch.sequences)
            sides = [
                grouped_divergence(logits[: len(wanted), side], wanted[:, side], sequence, count, temperature)
                for side in (0, 1)
            ]
            return (sides[0] + sides[1]) / 2

        return distance

    def primary(self, gold: QaGold, labels: Sequence[str]) -> str:
        """F1; with questions that have no answer, F1 at the best threshold."""
        return "f1" if all(target.answers for target in gold.targets) else "best_f1"

    def decide(self, gold: QaGold, metrics: Metrics) -> dict[str, Any]:
        """From which probability of none on no answer is given; 1: one is given always."""
        if all(target.answers for target in gold.targets):
            return {"no_answer_threshold": ALWAYS}
        return {"no_answer_threshold": metrics["no_answer_threshold"]}

    def answers(
        self, encoded: QaEncoded, outputs: Floats, labels: Sequence[str], decision: Mapping[str, Any]
    ) -> list[QuestionAnswer]:
        """The best span, or none where that is likelier than the threshold."""
        return self._answers(encoded, _candidates(encoded, outputs), decision)

    def _answers(
        self, encoded: QaEncoded, candidates: Iterable["Candidates"], decision: Mapping[str, Any]
    ) -> list[QuestionAnswer]:
        threshold = float(decision.get("no_answer_threshold", ALWAYS))
        result = []
        for context, found in zip(encoded.contexts, candidates, strict=True):
            shares = _shares(np.append(found.scores, found.none))
            none = float(shares[-1])
            if threshold >= ALWAYS:
                shares = _shares(found.scores)
            spans = [_span(context, *place, float(share)) for place, share in zip(found.places, shares, strict=False)]
            best = spans[:1] if none <= threshold else []
            others: dict[str, Span] = {}
            for span in spans[len(best) :]:
                if not best or span.answer != best[0].answer:
                    others.setdefault(span.answer, span)
            given = tuple(others.values())[:ALTERNATIVES]
            if best:
                result.append(QuestionAnswer(*best[0][:3], best[0].score, none, given))
            else:
                result.append(QuestionAnswer("", None, None, none, none, given))
        return result

    def decisions(self, encoded: QaEncoded, gold: QaGold, outputs: Floats) -> Decisions:
        """One of the best spans of every question, or, where some questions have no answer, none; right is the first
        one that is an exact match."""
        always = all(target.answers for target in gold.targets)
        logits = np.full((len(gold.targets), BEST + 1), -np.inf)
        right = np.full(len(gold.targets), -1, dtype=np.int64)
        for row, found in enumerate(_candidates(encoded, outputs)):
            answers = [given.text for given in gold.targets[row].answers]
            logits[row, : len(found.scores)] = found.scores
            if not always or not found.places:
                logits[row, BEST] = found.none
            if not answers:
                right[row] = BEST
                continue
            for number, place in enumerate(found.places):
                text = encoded.contexts[row][slice(*place)]
                if any(exact_match(answer, text) for answer in answers):
                    right[row] = number
                    break
        return Decisions(logits, right, np.arange(len(right)))

    def judge(
        self,
        encoded: QaEncoded,
        gold: QaGold,
        outputs: Floats,
        labels: Sequence[str],
        decision: Mapping[str, Any],
    ) -> Metrics:
        """See `squad_metrics`, the best thresholds being found on these very rows; loss is that of the windows, in
        nats; `answered` the number of different answers; `no_answer_threshold` lies between the best one for F1 and the
        next higher probability, away from both."""
        candidates = list(_candidates(encoded, outputs))
        always = self._answers(encoded, candidates, {})
        no_answer = {key: answer.no_answer_score for key, answer in zip(gold.keys, always, strict=True)}
        metrics = _squad(gold.keys, gold.targets, [answer.answer for answer in always], no_answer)
        decided = self._answers(encoded, candidates, decision) if decision else always
        texts = [answer.answer for answer in decided]
        return (
            metrics
            | _squad(gold.keys, gold.targets, texts, None)
            | {
                "answered": float(len(set(texts))),
                "no_answer_threshold": _above(metrics["best_f1_thresh"], no_answer.values()),
                "loss": _window_loss(encoded, gold, outputs),
            }
        )

    def collapsed(self, metrics: Metrics) -> bool:
        """The same answer, or none, to all questions; or answers that are never better than none at all."""
        none_at_all = 100.0 * metrics.get("NoAns_total", 0.0) / metrics["total"]
        return metrics["answered"] <= 1 or metrics["best_f1"] <= none_at_all + 1e-9

    def varied(self, gold: QaGold) -> bool:
        """Whether there are different answers."""
        return len({target.answers for target in gold.targets}) > 1

    def calibration_error(
        self,
        rows: Labelled[Question, Target],
        encoded: QaEncoded,
        outputs: Floats,
        labels: Sequence[str],
        decision: Mapping[str, Any],
        decisions: Decisions,
    ) -> float:
        """That of the answers which are given, as the threshold for none has it."""
        answers = self.answers(encoded, outputs, labels, decision)
        sure = np.array([answer.score for answer in answers], dtype=np.float64)
        return expected_calibration_error(sure, self.right_answers(rows, answers, decisions))

    def right_answers(
        self, rows: Labelled[Question, Target], answers: Sequence[QuestionAnswer], decisions: Decisions
    ) -> Bools:
        """Exact matches with one of the right answers, or with their being none."""
        texts = [right_answers([given.text for given in target.answers]) for target in rows.targets]
        return np.array([any(exact_match(t, a.answer) for t in right) for right, a in zip(texts, answers, strict=True)])

    def answer_of(self, fields: Mapping[str, Any], where: str) -> str:
        """`answer`."""
        return text_of(value_of(fields, "answer", where), "answer", where)

    def score(
        self, rows: Labelled[Question, Target], answers: Sequence[str], no_answer: Mapping[str, float] | None = None
    ) -> Metrics:
        """See `squad_metrics`."""
        return _squad(_keys(rows), rows.targets, answers, no_answer)


def _keys(rows: Labelled[Question, Target]) -> list[str]:
    """A name for each question: its id, its place where ids repeat."""
    return rows.ids if rows.ids and len(set(rows.ids)) == len(rows) else [str(row) for row in range(len(rows))]


def _learnable(target: Target, context: str) -> tuple[Given, int] | None:
    """The first answer that stands in the context, and where."""
    places = ((answer, place_of(answer, context)) for answer in target.answers if answer.text.strip())
    return next(((answer, place) for answer, place in places if place is not None), None)


def _squad(
    keys: Sequence[str], targets: Sequence[Target], answers: Sequence[str], no_answer: Mapping[str, float] | None
) -> Metrics:
    gold = {key: [given.text for given in target.answers] for key, target in zip(keys, targets, strict=True)}
    return squad_metrics(gold, dict(zip(keys, answers, strict=True)), no_answer)


def _above(threshold: float, values: Iterable[float]) -> float:
    """A threshold that divides values as the given one does, with room on both sides: halfway by their log-odds."""
    higher = min((value for value in values if value > threshold), default=1.0)
    inside = [min(max(value, 1e-12), 1 - 1e-12) for value in (threshold, higher)]
    odds = [math.log(value) - math.log1p(-value) for value in inside]
    return 1 / (1 + math.exp(-sum(odds) / 2))


class Candidates(NamedTuple):
    """The best spans of a question, the likeliest first, by the sum of their first and last token's logits."""

    places: list[tuple[int, int]]
    """Characters [start, end) of the context."""
    scores: Doubles
    none: float
    """The score of no answer: the least that [CLS] has in any window, as one window with an answer is enough."""


def _candidates(encoded: QaEncoded, outputs: Floats) -> Iterator[Candidates]:
    """At most `BEST` spans with a text for each question."""
    examples = encoded.examples
    bounds = np.searchsorted(examples.rows, np.arange(examples.num_rows + 1))
    for row, (context, offsets) in enumerate(zip(encoded.contexts, encoded.offsets, strict=True)):
        scores: dict[tuple[int, int], float] = {}
        none = np.inf
        for sequence in range(bounds[row], bounds[row + 1]):
            start, end = int(examples.starts[sequence]), int(examples.starts[sequence + 1])
            first = start + int(examples.second[sequence])
            none = min(none, float(outputs[start].sum()))
            shift = int(examples.windows[sequence, 1])
            for score, begin, last in _window_spans(outputs[first : end - 1]):
                place = (int(offsets[shift + begin, 0]), int(offsets[shift + last, 1]))
                scores[place] = max(score, scores.get(place, -np.inf))
        ranked = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        best = list(itertools.islice((item for item in ranked if context[slice(*item[0])].strip()), BEST))
        yield Candidates([place for place, _ in best], np.array([score for _, score in best], np.float64), none)


def _shares(scores: Doubles) -> Doubles:
    shares = np.exp(scores - scores.max(initial=-np.inf))
    return shares / shares.sum()  # type: ignore[no-any-return]


def _window_spans(logits: Floats) -> Iterator[tuple[float, int, int]]:
    """Yield (score, first, last) of the spans between the best beginnings and ends of a window's context (P, 2)."""
    wide = logits.astype(np.float64)
    firsts, lasts = (np.argsort(-wide[:, side], kind="stable")[:BEST] for side in (0, 1))
    for first in firsts.tolist():
        for last in lasts.tolist():
            if first <= last < first + LONGEST_ANSWER:
                yield float(wide[first, 0] + wide[last, 1]), first, last


def _span(context: str, start: int, end: int, score: float) -> Span:
    """A span without the white space at its ends."""
    text = context[start:end]
    start += len(text) - len(text.lstrip())
    text = text.strip()
    return Span(text, start, start + len(text), score)


def _in_windows(encoded: QaEncoded, gold: QaGold) -> tuple[Ints, Any]:
    """First and last token (n, 2) of each window's answer, counted in the window, 0 ([CLS]) where it is not whole
    in it; and (n,) which windows can be learnt from."""
    examples = encoded.examples
    pieces = gold.pieces[examples.rows]  # (n, 2)
    begin = examples.windows[:, 1]
    size = examples.lengths - examples.second - 1
    inside = (pieces[:, 0] >= begin) & (pieces[:, 1] < begin + size)
    places = np.where(inside[:, None], pieces - begin[:, None] + examples.second[:, None], 0)
    return places, pieces[:, 0] > -2


def _window_loss(encoded: QaEncoded, gold: QaGold, outputs: Floats) -> float:
    """Mean over windows of the negative log-likelihood of first and last token, in nats."""
    places, usable = _in_windows(encoded, gold)
    if not usable.any():
        return 0.0
    starts = encoded.examples.starts
    wide = outputs.astype(np.float64)
    top = np.maximum.reduceat(wide, starts[:-1])  # (n, 2)
    shifted = wide - np.repeat(top, np.diff(starts), axis=0)
    sums = np.log(np.add.reduceat(np.exp(shifted), starts[:-1]))
    right = np.stack([shifted[starts[:-1] + places[:, side], side] for side in (0, 1)], 1)
    return float((sums - right)[usable].mean())
