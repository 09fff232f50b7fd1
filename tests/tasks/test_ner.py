"""Spans to tags and back through windows, every scheme of columns, the likeliest path, and what is refused."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litebert.data.labelled import Columns
from litebert.errors import InputError
from litebert.evaluate.entities import Chunk, tags_of
from litebert.interop.huggingface import save_model
from litebert.model.heads import build_model
from litebert.tasks.ner import Ner, NerEncoded, _allowed, _word_log_probabilities, _words, best_path
from litebert.tasks.task import Windowing
from litebert.text.tokenizer import Tokenizer
from tests.labelled import write_jsonl
from tests.models import config_of
from tests.tasks.rows import conll, ner_rows

ODD = [
    "Anna   lives\tin Zürich, near Saint-Étienne!",
    "東京 is Tokyo; ½ of it",
    "e\u0301te\u0301 in Rome\x00 now",
    "a\ud800b Anna 🙂🙂 Rome",
    "",
    " ",
    "U.S.-based IBM's don't",
    "ﬁne ﬁlm" * 30,
]


def perfect(encoded: NerEncoded, tags: list[np.ndarray], classes: int) -> np.ndarray:
    """Outputs that say the given tags in every window."""
    outputs = np.zeros((len(encoded.examples.tokens), classes), dtype=np.float32)
    examples = encoded.examples
    for sequence in range(len(examples)):
        row, begin = examples.rows[sequence], examples.windows[sequence, 0]
        for piece, tag in zip(encoded.pieces[row], tags[row], strict=True):
            if 0 <= piece - begin < examples.lengths[sequence] - 2:
                outputs[examples.starts[sequence] + 1 + piece - begin, tag] = 9.0
    return outputs


@pytest.mark.parametrize("length", [8, 16, 64])
def test_spans_come_back_from_their_tags_through_windows(tokenizer: Tokenizer, tmp_path: Path, length: int) -> None:
    rows = ner_rows()
    shift = len(rows[1]["text"]) + 1
    rows.append(  # a long text: two sentences, many times
        {
            "text": " ".join(rows[i % 2]["text"] for i in range(12)),
            "entities": [
                {**s, "start": s["start"] + at, "end": s["end"] + at}
                for i in range(12)
                for at in [sum(len(rows[j % 2]["text"]) + 1 for j in range(i))]
                for s in rows[i % 2]["entities"]
            ],
        }
    )
    assert shift
    task = Ner()
    read = task.read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns())
    labels = task.labels(read)
    assert labels == ("O", "B-person", "I-person", "B-place", "I-place")
    encoded = task.encode(read.inputs, tokenizer, Windowing(length))
    gold = task.gold(read, encoded, labels)
    assert gold.torn == []
    answers = task.answers(encoded, perfect(encoded, gold.tags, 5), labels, {})
    for row, answer in zip(rows, answers, strict=True):
        found = [{"start": e.start, "end": e.end, "label": e.label} for e in answer.entities]
        assert found == row["entities"]
        assert all(row["text"][e.start : e.end] == e.text for e in answer.entities)
        assert all(e.score > 0.9 for e in answer.entities)
    metrics = task.judge(encoded, gold, perfect(encoded, gold.tags, 5), labels, {})
    assert (metrics["f1"], metrics["person_f1"], metrics["place_recall"]) == (1, 1, 1)
    assert metrics["loss"] < 0.01
    assert (encoded.long_rows > 0) == (length < 64 or encoded.examples.windows_per_row[-1] > 1)


def test_every_window_learns_its_words(tokenizer: Tokenizer, tmp_path: Path) -> None:
    import torch

    task = Ner()
    read = task.read(write_jsonl(tmp_path / "rows.jsonl", ner_rows()), Columns())
    labels = task.labels(read)
    encoded = task.encode(read.inputs, tokenizer, Windowing(12))
    gold = task.gold(read, encoded, labels)
    lesson = task.lesson(encoded, gold, labels, "auto")
    generator = np.random.default_rng(0)
    outputs = generator.normal(size=(len(encoded.examples.tokens), 5)).astype(np.float32)
    index = np.array([3, 0, 7])
    batch = encoded.examples.batch(index)
    logits = torch.from_numpy(outputs[encoded.examples.token_index(batch)])
    padded = torch.cat((logits, torch.full((5, 5), 99.0)))  # unused slots, as the packed batch has them
    logs = logits.log_softmax(-1).numpy()
    expected, at = 0.0, 0
    for sequence in index:
        row, begin = encoded.examples.rows[sequence], encoded.examples.windows[sequence, 0]
        size = int(encoded.examples.lengths[sequence])
        words = [(p - begin, t) for p, t in zip(encoded.pieces[row], gold.tags[row], strict=True)]
        inside = [(p, t) for p, t in words if 0 <= p < size - 2]
        assert lesson.items.weights[sequence] == len(inside) > 0
        expected -= sum(logs[at + 1 + p, t] for p, t in inside)
        at += size
    losses = lesson.loss(padded, batch).numpy()
    assert (losses * lesson.items.weights[index]).sum() == pytest.approx(expected, rel=1e-5)


def test_words_of_odd_texts(tokenizer: Tokenizer) -> None:
    encoded = Ner().encode(ODD, tokenizer, Windowing(16))
    for text, words, pieces in zip(ODD, encoded.words, encoded.pieces, strict=True):
        assert len(set(pieces.tolist())) == len(pieces)
        assert pieces.tolist() == sorted(pieces.tolist())
        for (start, end), after in itertools.zip_longest(words.tolist(), words.tolist()[1:]):
            assert 0 <= start < end <= len(text)
            assert text[start:end] == text[start:end].strip()
            assert after is None or end <= after[0]
    shown = [ODD[0][start:end] for start, end in encoded.words[0].tolist()]
    assert shown == ["Anna", "lives", "in", "Zürich", ",", "near", "Saint", "-", "Étienne", "!"]
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(len(encoded.examples.tokens), 3)).astype(np.float32)
    for text, answer in zip(ODD, Ner().answers(encoded, outputs, ("O", "B-X", "I-X"), {}), strict=True):
        assert all(text[e.start : e.end] == e.text != "" for e in answer.entities)


def test_a_word_is_read_where_most_stands_around_it(tokenizer: Tokenizer) -> None:
    encoded = Ner().encode(["one two three four five six seven eight nine ten eleven twelve"], tokenizer, Windowing(10))
    examples = encoded.examples
    assert len(examples) > 1
    outputs = np.zeros((len(examples.tokens), 2), dtype=np.float32)
    for sequence in range(len(examples)):  # every token says how far it is from the nearer end
        size = int(examples.lengths[sequence])
        room = np.minimum(np.arange(size), size - 1 - np.arange(size))
        outputs[examples.starts[sequence] : examples.starts[sequence + 1], 0] = room
    logs = _word_log_probabilities(encoded, outputs)[0]
    seen = logs[:, 0] - logs[:, 1]
    for piece, room in zip(encoded.pieces[0], seen, strict=True):
        best = max(
            min(piece - begin + 1, size - 2 - (piece - begin))
            for begin, size in zip(examples.windows[:, 0], examples.lengths, strict=True)
            if 0 <= piece - begin < size - 2
        )
        assert room == pytest.approx(best)


@given(st.lists(st.lists(st.floats(-3, 3), min_size=5, max_size=5), min_size=1, max_size=5))
def test_the_likeliest_path_by_brute_force(values: list[list[float]]) -> None:
    labels = ("O", "B-X", "I-X", "B-Y", "I-Y")
    logs, allowed = np.array(values), _allowed(labels)

    def valid(path: tuple[int, ...]) -> bool:
        return bool(allowed[-1, path[0]]) and all(allowed[a, b] for a, b in itertools.pairwise(path))

    path = best_path(logs, allowed)
    assert valid(tuple(path))
    score = logs[np.arange(len(path)), path].sum()
    every = itertools.product(range(5), repeat=len(logs))
    assert score == pytest.approx(max(logs[np.arange(len(p)), p].sum() for p in every if valid(p)))


@pytest.mark.parametrize(
    ("labels", "follows", "never"),
    [
        ("O B-X I-X B-Y I-Y", ["B-X I-X", "I-X B-X", "O B-Y"], ["O I-X", "B-X I-Y"]),
        ("O B-X I-X E-X S-X", ["B-X E-X", "S-X S-X"], ["B-X O", "S-X E-X", "I-X S-X"]),
        ("O I-X I-Y", ["O I-X", "I-X I-Y"], []),
    ],
    ids=["IOB2", "IOBES", "IO"],
)
def test_what_may_follow(labels: str, follows: list[str], never: list[str]) -> None:
    names = labels.split()
    allowed = _allowed(names)

    def follow(pair: str) -> bool:
        before, after = pair.split()
        return bool(allowed[names.index(before), names.index(after)])

    assert all(map(follow, follows))
    assert not any(map(follow, never))


def test_comments_are_no_words_and_number_signs_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.conll"
    path.write_text("# id 7\tdomain=en\n# text = a b\nAnna B-P\n# O\n\n# sent_id = 2\n# O\n#one O\n")
    assert Ner().read(path, Columns()).inputs == ["Anna #", "# #one"]
    path.write_text("Anna B-P\n# text\n")
    with pytest.raises(InputError, match="line 2: 'text' is no tag"):
        Ner().read(path, Columns())


@pytest.mark.parametrize("name", ["rows.conll", "rows.txt", "rows.bio.gz"])
def test_columns_are_read_as_spans(tmp_path: Path, name: str) -> None:
    rows = [row for row in ner_rows() if row["text"].endswith("home") or row["text"].endswith("cat")]
    text = "-DOCSTART- -X- O\n\n" + conll(rows).replace("\t", " NN ")
    if name.endswith(".gz"):
        import gzip

        (tmp_path / name).write_bytes(gzip.compress(text.encode()))
    else:
        (tmp_path / name).write_text(text)
    read = Ner().read(tmp_path / name, Columns())
    assert read.inputs == [row["text"] for row in rows]
    for spans, row in zip(read.targets, rows, strict=True):
        assert [span._asdict() for span in spans] == row["entities"]
    assert read.places[0] == f"{tmp_path / name}, line 3"


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "IOBES"])
def test_every_scheme_gives_the_same_spans(tmp_path: Path, scheme: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["a", "bb", "c", "dd", "e", "f"]
    spans = [Chunk(0, 2, "X"), Chunk(2, 3, "X"), Chunk(4, 5, "Y")]
    tags = tags_of(spans, 6, scheme)  # type: ignore[arg-type]
    path = tmp_path / "rows.conll"
    path.write_text("".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True)))
    read = Ner().read(path, Columns())
    assert read.targets == [(Chunk(0, 4, "X"), Chunk(5, 6, "X"), Chunk(10, 11, "Y"))]
    assert "break" not in capsys.readouterr().err


def test_comments_before_a_sentence(tmp_path: Path) -> None:
    """Whatever their last word looks like, unless they have as many columns as words do."""
    path = tmp_path / "rows.conll"
    path.write_text("# vitamin O\na B-X\n\n# id 7\n# text ends in B-ORG\nb O\n\n# O\nc O\n")
    assert Ner().read(path, Columns()).inputs == ["a", "b", "# c"]


def test_broken_tags_are_counted_and_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.conll"
    path.write_text("a B-X\nb I-X\nc O\n\nd O\ne I-X\n")
    read = Ner().read(path, Columns())
    assert read.targets == [(Chunk(0, 3, "X"),), (Chunk(2, 3, "X"),)]
    said = capsys.readouterr().err
    assert "1 tags break IOB" in said
    assert "line" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Rome B-place\nOslo\n", r"rows\.conll, line 2: 'Oslo' is a word without a tag"),
        ("Rome B-place\nOslo place\n", r"rows\.conll, line 2: 'place' is no tag; use O, and B- and I-"),
        ("", "is empty"),
    ],
)
def test_columns_that_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "rows.conll").write_text(content)
    with pytest.raises(InputError, match=message):
        Ner().read(tmp_path / "rows.conll", Columns())


@pytest.mark.parametrize(
    ("entities", "message"),
    [
        ([[0, 5, "a"], [3, 6, "b"]], r"line 2: the spans 0-5 \(a\) and 3-6 \(b\) overlap"),
        ([{"start": 3, "end": 60, "label": "a"}], "line 2: the span 3-60 .* lies not in the text of 10 characters"),
        ([{"start": 3, "end": 3, "label": "a"}], "line 2: the span 3-3"),
        ([{"start": 3, "end": 5}], "line 2: the label .* is missing"),
        ([{"start": "3", "end": 5, "label": "a"}], "line 2: .* is no span"),
        ("place", "line 2: 'entities' is no list of spans"),
        (None, "line 2: 'entities' is no list of spans"),
    ],
)  # fmt: skip
def test_spans_that_are_refused(tmp_path: Path, entities: object, message: str) -> None:
    rows: list[dict[str, object]] = [{"text": "fine", "entities": []}, {"text": "ten signs.", "entities": entities}]
    with pytest.raises(InputError, match=message):
        Ner().read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns())


def test_labels_unknown_and_absent(tokenizer: Tokenizer, tmp_path: Path) -> None:
    task = Ner()
    rows: list[dict[str, object]] = [{"text": "fine", "entities": [[0, 4, "mood"]]}]
    read = task.read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns())
    encoded = task.encode(read.inputs, tokenizer, Windowing(16))
    with pytest.raises(InputError, match=r"rows\.jsonl, line 1: the label 'mood' is not one .* \('place'\)"):
        task.gold(read, encoded, ("O", "B-place", "I-place"))
    rows = [{"text": "fine", "entities": []}]
    with pytest.raises(InputError, match="no row has an entity"):
        task.labels(task.read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns()))


def test_entities_inside_words_are_counted_and_learnt_as_words(tokenizer: Tokenizer, tmp_path: Path) -> None:
    task = Ner()
    rows: list[dict[str, object]] = [{"text": "the Romans came", "entities": [[4, 8, "X"]]}]
    read = task.read(write_jsonl(tmp_path / "rows.jsonl", rows), Columns())
    encoded = task.encode(read.inputs, tokenizer, Windowing(16))
    gold = task.gold(read, encoded, ("O", "B-X", "I-X"))
    assert len(gold.torn) == 1
    assert gold.tags[0].tolist() == [0, 1, 0]
    lesson = task.lesson(encoded, gold, ("O", "B-X", "I-X"), "auto")
    (note,) = lesson.notes
    assert note.startswith("1 entities begin or end inside a word (the first: ")
    assert note.endswith("line 1); they are learnt as whole words")


def test_a_model_with_other_labels_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    import litebert

    shape = {"vocab_size": tokenizer.vocab_size, "labels": ("LABEL_0", "LABEL_1")}
    folder = save_model(build_model(config_of(**shape), ("ner",)), tmp_path / "model", tokenizer).folder
    with pytest.raises(InputError, match="are no tags such as B-PER"):
        litebert.load(folder).predict("Anna lives in Rome")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("مُحَمَّد", ["مُحَمَّد"]),
        ("cafe\u0301 noir", ["cafe\u0301", "noir"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("ภาษาไทย", ["ภ", "า", "ษ", "า", "ไ", "ท", "ย"]),
        ("ខ្មែរ", ["ខ្", "មែ", "រ"]),
        ("don't, e-mail 3.5", ["don", "'", "t", ",", "e", "-", "mail", "3", ".", "5"]),
        ("\u0301a ❤\ufe0f", ["\u0301", "a", "❤\ufe0f"]),
    ],
)
def test_words_keep_their_marks(text: str, expected: list[str]) -> None:
    offsets = [(i, i + 1) for i in range(len(text))]
    words, pieces = _words(text, offsets)
    assert [text[start:end] for start, end in words] == expected
    assert pieces.tolist() == [start for start, _ in words]
