"""The parts of the demo that need no training: its text, its question, its picture."""

import math
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "examples" / "demo"))

import baseline
import prose
import questions
from prose import Module

DOCSTRING = """
    Return the shortest path between two nodes of a :class:`~networkx.Graph`.

    The *first* path is taken; see :func:`~a.b.all_paths` and ``nodes`` for
    the others [1]_.

    Parameters
    ----------
    graph : Graph
        The graph that holds the nodes, which may be directed or not.
    cutoff : int, optional (default: 3)
        length

    - The length of a path is the number of its edges.
    - no sentence

    .. note::
        This function is slow for a large graph with many nodes.

    .. math::
        The sum of the weights is what is minimized here.

    Here is an example of how this is done in practice::

        This is the code of the example and it is not prose.

    >>> This is the answer to the question that was asked here.
    The answer is 3 and it is printed by the interpreter.

    ======  =======================================
    a       The table is not a part of the prose here.
    """


def test_prose_is_found_and_everything_else_left_out() -> None:
    assert list(prose.paragraphs(DOCSTRING)) == [
        "Return the shortest path between two nodes of a Graph.",
        "The first path is taken; see all_paths and nodes for the others.",
        "The graph that holds the nodes, which may be directed or not.",
        "The length of a path is the number of its edges.",
        "This function is slow for a large graph with many nodes.",
    ]


def test_docstrings_are_read_without_running_the_code() -> None:
    source = 'raise SystemExit\ndef f():\n    """First."""\nadd_doc(f, """a\nb\nc""")\nx = "no"\n'
    assert list(prose.docstrings(source)) == ["First.", "a\nb\nc"]


def some_modules() -> list[Module]:
    """A hundred files a package: in each a sentence of its own and two that would give the answer away."""
    tail = "is one of many that are as long as a sentence has to be"
    modules = []
    for subject, package in enumerate(questions.SUBJECTS):
        for number in range(100):
            word = "".join("abcdefghij"[int(digit)] for digit in f"{subject}{number:03}")
            lines = [
                f"{word.title()} {tail} {word}.",
                f"The {word} of numpy {tail}.",
                f"The my_{word} {tail}.",
            ]
            modules.append(Module(package, f"file{number}.py", lines))
    return modules


def test_the_splits_share_no_file_and_no_sentence() -> None:
    modules = some_modules()
    place = {line: questions.split_of(module) for module in modules for line in module.paragraphs}
    rows = questions.label(modules)
    assert all(place[text] == split for split, pairs in rows.items() for text, _ in pairs)
    texts = [text for pairs in rows.values() for text, _ in pairs]
    assert len(texts) == len(set(texts)) > 500


def test_the_question_is_fair() -> None:
    texts = [text for pairs in questions.label(some_modules()).values() for text, _ in pairs]
    assert not [text for text in texts if "numpy" in text or "_" in text]


def test_labels_do_not_depend_on_the_run() -> None:
    assert questions.label(some_modules()) == questions.label(some_modules())
    assert questions.label(some_modules()) != questions.label(some_modules(), seed=1)


def test_the_baseline_learns() -> None:
    rows = {split: [(f"the {w} of it", w) for w in ("cat", "dog")] * 3 for split in ("train", "dev", "test")}
    assert baseline.accuracy(rows) == 1.0


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    import picture

    metrics: picture.Metrics = [
        {"kind": kind, "tokens": 1000.0 * step, "mlm_loss": 3 + math.exp(-step), "mlm_accuracy": 0.3}
        for step in range(5)
        for kind in ("train", "held_out")
    ]
    picture.draw(metrics, 4.0, {"ours": 0.7, "theirs": 0.6}, 100, tmp_path / "curves.png")
    picture.compare({"ours": 0.7, "theirs": 0.6}, 100, tmp_path / "bars.png")
    for name in ("curves", "bars"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
