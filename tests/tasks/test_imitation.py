"""What a student learns from a teacher: every task's distance against plain arithmetic, whatever the tokenizers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from litebert.data.labelled import Columns
from litebert.tasks.imitation import divergence, grouped_divergence
from litebert.tasks.table import TASKS
from litebert.tasks.task import Windowing
from litebert.text.tokenizer import Tokenizer, load_tokenizer
from tests.tasks.test_tasks import CASES, write_rows_of
from tests.tokenizers import write_tokenizer

TEMPERATURE = 3.0


class Case:
    """A task's rows, encoded; outputs of a student in training, and of a teacher that reads the same windows."""

    def __init__(self, name: str, folder: Path, tokenizer: Tokenizer, length: int = 64) -> None:
        self.task = TASKS[name]
        self.rows = self.task.read(write_rows_of(name, folder), Columns())
        self.labels = self.task.labels(self.rows)
        self.encoded = self.task.encode(self.rows.inputs, tokenizer, Windowing(length))
        self.gold = self.task.gold(self.rows, self.encoded, self.labels)
        self.lesson = self.task.lesson(self.encoded, self.gold, self.labels, "none")
        examples, draw = self.encoded.examples, np.random.default_rng(1)
        size = (len(examples.tokens) if name in ("ner", "qa") else len(examples), len(self.labels))
        self.student, self.teacher = (draw.normal(0, 2, size).astype(np.float32) for _ in range(2))

    def distances(self, opinions: list[Any], student: Any) -> Any:
        """Of every item, in their order, computed in batches."""
        distance = self.task.imitation(self.encoded, opinions, self.lesson, TEMPERATURE)
        items, found = self.lesson.items, []
        for batch in items.batches(np.arange(len(items)), 100):
            per_token = self.task.name in ("ner", "qa")
            where = items.examples.token_index(batch) if per_token else batch.sequences
            unused = np.zeros((5 * per_token, student.shape[1]), np.float32)  # slots of a packed batch
            found.append(distance(torch.from_numpy(np.concatenate((student[where], unused))), batch))
        return torch.cat(found).numpy()


def softened(logits: Any) -> Any:
    wide = np.exp(logits.astype(np.float64) / TEMPERATURE)
    return wide / wide.sum(-1, keepdims=True)


def kl(theirs: Any, mine: Any) -> Any:
    """KL(theirs || mine) of logits, times the square of the temperature."""
    p, q = softened(theirs), softened(mine)
    return (p * np.log(p / q)).sum(-1) * TEMPERATURE**2


def expected(case: Case) -> list[float]:
    """The distance of every item, slowly."""
    examples, mine, theirs = case.encoded.examples, case.student, case.teacher
    parts = [slice(*pair) for pair in zip(examples.starts[:-1], examples.starts[1:], strict=True)]
    match case.task.name:
        case "classify":
            return [kl(theirs[i], mine[i]) for i in range(len(examples))]
        case "multilabel":
            p, q = (1 / (1 + np.exp(-x.astype(np.float64) / TEMPERATURE)) for x in (theirs, mine))
            return ((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean(1) * TEMPERATURE**2).tolist()
        case "regress":
            wanted = (theirs[:, 0] - case.gold.mean()) / case.gold.std()
            return ((mine[:, 0] - wanted) ** 2).tolist()
        case "choice":
            bounds = zip(case.encoded.bounds[:-1], case.encoded.bounds[1:], strict=True)
            return [kl(theirs[a:b, 0], mine[a:b, 0]) for a, b in bounds]
        case "qa":
            return [(kl(theirs[p, 0], mine[p, 0]) + kl(theirs[p, 1], mine[p, 1])) / 2 for p in parts]
        case _:
            tokens = [1 + case.encoded.pieces[i] + part.start for i, part in enumerate(parts)]
            return [kl(theirs[at], mine[at]).mean() for at in tokens]


@pytest.mark.parametrize("name", CASES)
def test_distances_are_those_of_plain_arithmetic(name: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    case = Case(name, tmp_path, tokenizer)
    assert not case.encoded.long_rows or name == "qa"
    opinions = case.task.opinions(case.encoded, case.teacher)
    assert len(opinions) == len(case.rows)
    np.testing.assert_allclose(case.distances(opinions, case.student), expected(case), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_who_agrees_has_nothing_to_learn(name: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    case = Case(name, tmp_path, tokenizer)
    opinions = case.task.opinions(case.encoded, case.teacher)
    same = case.teacher
    if name == "regress":  # the head in training counts in deviations from the mean
        same = ((same - case.lesson.shift) / case.lesson.scale).astype(np.float32)
    assert abs(case.distances(opinions, same)).max() < 1e-5
    assert (case.distances(opinions, case.student) > 0).all()


@pytest.mark.parametrize("name", [name for name in CASES if not TASKS[name].same_pieces])
def test_a_teacher_with_other_pieces_and_windows(
    name: str, tokenizer: Tokenizer, prose: list[str], tmp_path: Path
) -> None:
    """The same outputs for the same words and rows, by another tokenizer: the same distances."""
    other = load_tokenizer(write_tokenizer("bytes", prose[:20], tmp_path / "other", pieces=600))
    case = Case(name, tmp_path, tokenizer)
    theirs = case.task.encode(case.rows.inputs, other, Windowing(28))
    assert theirs.long_rows
    said = case.task.opinions(case.encoded, case.teacher)
    if name == "ner":
        assert all(np.array_equal(*pair) for pair in zip(theirs.words, case.encoded.words, strict=True))
        outputs = np.zeros((len(theirs.examples.tokens), case.teacher.shape[1]), np.float32)
        from litebert.tasks.ner import _in_windows

        for sequence, tokens, words in _in_windows(theirs):
            outputs[tokens] = said[theirs.examples.rows[sequence]].logits[words]
    else:
        flat = np.concatenate([np.reshape(one, (-1, case.teacher.shape[1])) for one in said])
        outputs = flat[theirs.examples.rows]
    opinions = case.task.opinions(theirs, outputs)
    np.testing.assert_allclose(case.distances(opinions, case.student), expected(case), rtol=1e-3, atol=1e-4)


def test_words_that_the_teacher_does_not_know_are_left_out(tokenizer: Tokenizer, tmp_path: Path) -> None:
    case = Case("ner", tmp_path, tokenizer)
    opinions = case.task.opinions(case.encoded, case.teacher)
    whole = case.distances(opinions, case.student)
    lone = [said._replace(words=said.words[:1], logits=said.logits[:1]) for said in opinions]
    first = np.array([examples[0] for examples in case.encoded.pieces]) + 1 + case.encoded.examples.starts[:-1]
    words = np.array([len(words) for words in case.encoded.words])
    np.testing.assert_allclose(
        case.distances(lone, case.student), kl(case.teacher[first], case.student[first]) / words, rtol=1e-4, atol=1e-5
    )
    assert (case.distances(lone, case.student) < whole).any()


@pytest.mark.parametrize("name", CASES)
def test_rows_that_were_not_asked_change_no_other(name: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    case = Case(name, tmp_path, tokenizer, length=24)
    opinions = case.task.opinions(case.encoded, case.teacher)
    some = [said if i % 3 else None for i, said in enumerate(opinions)]
    asked = case.lesson.items.rows % 3 > 0
    whole, part = (case.distances(said, case.student) for said in (opinions, some))
    np.testing.assert_array_equal(whole[asked], part[asked])


def test_divergence_is_torchs_own_and_softness_keeps_the_gradients() -> None:
    generator = torch.Generator().manual_seed(1)
    mine, theirs = (torch.randn(7, 5, generator=generator, dtype=torch.float64) * 0.1 for _ in range(2))
    for temperature in (1.0, 4.0):
        student = mine.clone().requires_grad_()
        found = divergence(student, theirs, temperature)
        logs = [(logits / temperature).log_softmax(-1) for logits in (mine, theirs)]
        slow = torch.nn.functional.kl_div(*logs, reduction="none", log_target=True).sum(-1) * temperature**2
        torch.testing.assert_close(found, slow)
        group = torch.arange(7).repeat_interleave(5)
        torch.testing.assert_close(grouped_divergence(mine.flatten(), theirs.flatten(), group, 7, temperature), slow)
        (gradient,) = torch.autograd.grad(found.sum(), student)
        # At any temperature about the difference of the logits, centred, over their number (Hinton et al. 2015, eq. 4).
        difference = mine - theirs
        centred = (difference - difference.mean(-1, keepdim=True)) / 5
        torch.testing.assert_close(gradient, centred, atol=0.01, rtol=0)
