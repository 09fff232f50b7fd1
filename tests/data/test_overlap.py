"""Evaluation text stays out of prepared folders: what is dropped, what is said of it, however the work was done."""

import hashlib
import json
import random
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from litebert.data import journal, overlap, prepare, sources
from litebert.data.duplicates import text_digest
from litebert.data.ngrams import NGRAM_WORDS, NgramSet
from litebert.data.overlap import OverlapFilter
from litebert.data.prepare import PrepareReport
from litebert.data.shards import open_corpus
from litebert.data.sources import find_files, read_documents
from litebert.errors import DataFolderError, InputError
from litebert.text.sentences import split_sentences
from litebert.text.tokenizer import load_tokenizer

Run = Callable[..., PrepareReport]


def ngrams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[^\W_]+", text.lower())
    return {tuple(words[i : i + NGRAM_WORDS]) for i in range(len(words) - NGRAM_WORDS + 1)}


@pytest.fixture(scope="module")
def texts(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of many paragraphs, one of them only what others have, and a duplicate."""
    folder = tmp_path_factory.mktemp("texts")
    rows = [{"text": text, "id": f"library {i}"} for i, text in enumerate(prose[:60])]
    rows[20:20] = [{"text": long_lines(prose[30])[0], "id": "alone"}, {"text": prose[5], "id": "again"}]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "b.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in prose[60:90]))
    return folder


def long_lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if ngrams(line)]


@pytest.fixture(scope="module")
def evaluation(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows in two forms; whole paragraphs, and twelve words from the midst of one in other clothes."""
    folder = tmp_path_factory.mktemp("evaluation")
    lines = [line for text in prose[3:50:9] for line in long_lines(text)[1:4]] + [long_lines(prose[30])[0]]
    (folder / "dev.tsv").write_text("text\tlabel\n" + "".join(f"Well, {line} so.\t1\n" for line in lines))
    words = re.findall(r"[^\W_]+", long_lines(prose[61])[2])[:NGRAM_WORDS]
    (folder / "test.jsonl").write_text(json.dumps({"question": " -- ".join(words).upper(), "label": 0}))
    return folder


@pytest.fixture
def run(texts: Path, evaluation: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(sources, "CHUNK_BYTES", 10_000)
    monkeypatch.setattr(prepare, "UNIT_BYTES", 25_000)
    monkeypatch.setattr(overlap, "BATCH_CHARACTERS", 6_000)

    def run(out: Path, *paths: Path, **settings: Any) -> PrepareReport:
        chosen = {"held_out": 0.1, "processes": 1, "exclude": [evaluation], **settings}
        return prepare.prepare(paths or [texts], prepared / "tokenizer", out, **chosen)

    return run


def fingerprint(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_lines_that_share_twelve_words_are_gone_and_no_others(
    run: Run, texts: Path, evaluation: Path, tmp_path: Path
) -> None:
    """Against a slow and plain second implementation."""
    report = run(tmp_path / "out")
    rows = [line.split("\t") for line in (evaluation / "dev.tsv").read_text().split("\n")]
    rows.append([json.loads((evaluation / "test.jsonl").read_text())["question"]])
    barred = set().union(*(ngrams(cell) for row in rows for cell in row))
    tokenizer = load_tokenizer(open_corpus(tmp_path / "out").tokenizer_path)
    kept: dict[str, tuple[str, str]] = {}
    gone, emptied, read = [], 0, 0
    seen = set()
    for document in (document for file in find_files([texts]) for document in read_documents(file)):
        lines = document.text.split("\n")
        dropped = [line for line in lines if ngrams(line) & barred]
        left = "\n".join(line for line in lines if line not in dropped).strip()
        gone += dropped
        read += len(left.encode()) + sum(len(line.encode()) for line in dropped)
        emptied += not left
        if left and document.text not in seen:
            side = "held_out" if text_digest(document.text.encode()) < 0.1 * 2**64 else "train"
            kept[document.id] = left, side
            seen.add(document.text)

    table = parquet.read_table(tmp_path / "out" / "documents.parquet").to_pylist()
    assert [(row["id"], row["split"]) for row in table] == [(name, side) for name, (_, side) in kept.items()]
    assert len(gone) > 15
    assert "alone" not in kept
    for side in ("train", "held_out"):
        shard = open_corpus(tmp_path / "out", verify=True).split(side).shards[0]
        starts = [0, *shard.sentence_ends.tolist()]
        for row in (row for row in table if row["split"] == side):
            first, last = row["first_sentence"], row["first_sentence"] + row["sentences"]
            ids = shard.tokens[starts[first] : starts[last]].tolist()
            text = kept[row["id"]][0]
            sentences = tokenizer.encode_ids([text[start:end] for start, end in split_sentences(text)])
            assert ids == [i for sentence in sentences for i in sentence]

    assert report.overlap is not None
    found = {name: report.overlap[name] for name in ("paragraphs", "documents", "text_bytes", "read_bytes", "share")}
    size = sum(len(line.encode()) for line in gone)
    assert found == {
        "paragraphs": len(gone),
        "documents": emptied,
        "text_bytes": size,
        "read_bytes": read,
        "share": size / read,
    }
    assert report.text_bytes == sum(len(text.encode()) for text, _ in kept.values())


def test_the_card_says_what_was_kept_and_what_was_not(run: Run, evaluation: Path, tmp_path: Path) -> None:
    report = run(tmp_path / "out")
    assert report.overlap is not None
    files = report.overlap["by_file"]
    dev, test = (f"{evaluation.name}/{name}" for name in ("dev.tsv", "test.jsonl"))
    assert set(files) == {dev, test}
    assert files[test]["paragraphs"] == 1
    assert sum(entry["paragraphs"] for entry in files.values()) == report.overlap["paragraphs"]
    for counts in report.sources.values():
        assert counts["words"] > counts["documents"] > counts["held_out_documents"]
    assert sum(counts["duplicates"] for counts in report.sources.values()) == report.duplicates == 1
    assert sum(counts["held_out_documents"] for counts in report.sources.values()) == report.held_out_documents
    index = open_corpus(tmp_path / "out").index
    assert index["overlap"] == report.overlap
    assert len(index["overlap"]["sha256"]) == 64
    page = (tmp_path / "out" / "README.md").read_text()
    shown = files[test]["example"]
    assert ngrams(shown["words"])
    for text in (page, report.summary()):
        assert f"{test}: 1, first in {shown['document']}: “{shown['words']}”" in text
        assert "with 2 of 2 excluded files" in text
    assert f"| {report.sources['a']['overlap_paragraphs']:,} paragraphs) |"[2:] in page
    assert f"{sum(counts['words'] for counts in report.sources.values()):,} words" in page
    assert "dropped by source: " in report.summary()
    assert str(tmp_path) not in page
    bare = run(tmp_path / "bare", exclude=[])
    assert bare.overlap is None
    assert "overlap" not in (tmp_path / "bare" / "README.md").read_text()
    assert "exclude" not in open_corpus(tmp_path / "bare").index["settings"]


def test_words_are_counted(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": " Two  words.\n\nAnd\tthree (more).\n"}))
    assert run(tmp_path / "out", tmp_path / "a.jsonl").sources["a"]["words"] == 5


def test_any_number_of_processes_and_interruptions_give_the_same_bytes(run: Run, tmp_path: Path) -> None:
    run(tmp_path / "whole")
    run(tmp_path / "two", processes=2)
    assert fingerprint(tmp_path / "two") == fingerprint(tmp_path / "whole")
    append = journal.Journal.append
    left = iter(range(5))

    def failing(self: journal.Journal, *arguments: Any) -> None:
        append(self, *arguments)
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal.Journal, "append", failing)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "out", commit_bytes=60_000)
    assert (tmp_path / "out.unfinished").exists()
    with pytest.raises(DataFolderError, match=r"2 files excluded \(\w{8}\) there, nothing excluded here"):
        run(tmp_path / "out", exclude=[])
    assert run(tmp_path / "out").resumed
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")
    assert not (tmp_path / "out.unfinished").exists()


def test_other_excluded_texts_are_another_folder(run: Run, evaluation: Path, tmp_path: Path) -> None:
    run(tmp_path / "out")
    assert run(tmp_path / "out").already_done
    with pytest.raises(DataFolderError, match=r"2 files excluded .* there, 1 files excluded .* here"):
        run(tmp_path / "out", exclude=[evaluation / "dev.tsv"])
    with pytest.raises(DataFolderError, match="there, nothing excluded here") as error:
        run(tmp_path / "out", exclude=[])
    assert "\n" not in str(error.value)
    run(tmp_path / "bare", exclude=[])
    with pytest.raises(DataFolderError, match="nothing excluded there, 2 files"):
        run(tmp_path / "bare")


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [("a.jsonl", b"no JSON", "no JSON"), ("a.txt", b"few words", "no text of 12 words"), ("a.gz", b"x", "damaged")],
)
def test_bad_files_leave_nothing(run: Run, tmp_path: Path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=why):
        run(tmp_path / "out", exclude=[tmp_path / name])
    with pytest.raises(InputError, match="no such file"):
        run(tmp_path / "out", exclude=[tmp_path / "none"])
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_much_overlap_is_said(run: Run, tmp_path: Path) -> None:
    """A phrase that all texts have takes much out; nothing left is an error."""
    licence = "Permission is hereby granted, free of charge, to any person obtaining a copy of this text. "
    rows = [licence + f"Text number {i} is about this." for i in range(30)]
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"text": f"Title {i}.\n{row}"}) + "\n" for i, row in enumerate(rows))
    )
    (tmp_path / "eval.txt").write_text(f"A question.\n{licence}\n")
    report = run(tmp_path / "out", tmp_path / "a.jsonl", exclude=[tmp_path / "eval.txt"])
    assert any("% of a was dropped" in warning and "licence" in warning for warning in report.warnings)
    assert "Permission is hereby granted, free of charge, to any person obtaining a" in report.summary()
    long = tmp_path / "long.txt"
    long.write_text("\n\n".join(rows))
    with pytest.raises(InputError, match=r"long\.txt is to be prepared, and excluded"):
        run(tmp_path / "none", tmp_path, exclude=[long])
    copy = tmp_path / "copy.tsv"
    copy.write_text(long.read_text())
    with pytest.raises(InputError, match=r"all text of the input \(long\.txt \.\.\.\) is among the excluded"):
        run(tmp_path / "none", long, exclude=[copy])
    assert not (tmp_path / "none").exists()


def test_real_paragraphs_are_found_in_what_others_made_of_them(litebert_data: Path, run: Run, tmp_path: Path) -> None:
    """Reviews planted among prose: each that is long enough is dropped, and hardly anything else."""
    from litebert.data.excluded import find_excluded, texts_of

    rng = random.Random(1)
    file = litebert_data / "squad" / "dev-v1.1.json"
    contexts = [text for text in texts_of(find_excluded([file], ())[0]) if len(text.split()) > 60]
    planted = rng.sample(contexts, 20)
    documents = list(read_documents(find_files([litebert_data / "corpus" / "stories.jsonl.xz"])[0]))[:100]
    rows = [{"text": f"{document.text}\n{planted[i % 20]}", "id": document.id} for i, document in enumerate(documents)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = run(tmp_path / "out", tmp_path / "a.jsonl", exclude=[file, litebert_data / "glue" / "RTE"])
    assert report.overlap is not None
    assert report.overlap["paragraphs"] == sum("\n" in row["text"] for row in rows) == 100


def test_a_batch_of_documents_is_cleaned_as_each_alone(
    evaluation: Path, prose: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from litebert.data.excluded import find_excluded, gather

    gather(find_excluded([evaluation], ()), tmp_path / "set")
    cleaner = OverlapFilter(NgramSet(tmp_path / "set"))
    documents = [sources.Document(str(i), "library", text) for i, text in enumerate(prose[:64])]
    alone = [cleaner.clean([document]) for document in documents]
    together = cleaner.clean(documents)
    assert together == ([one[0][0] for one in alone], [one[1][0] for one in alone])
    assert sum(map(bool, together[1])) > 5


def test_text_that_is_broken_into_lines_is_found(run: Run, prose: list[str], tmp_path: Path) -> None:
    exam = " ".join(long_lines(prose[30])[:4])
    (tmp_path / "exam.jsonl").write_text(json.dumps({"context": exam}))
    before, after = "These words come before it.", "And these come after it."
    wrapped = "\n".join([before, "", *textwrap.wrap(exam, 40), "", after])
    rows = [{"text": wrapped}, {"text": f"{before}\n{after}"}, {"text": " ".join(exam.split()[-6:])}]
    rows.append({"text": " ".join(exam.split()[6:12])})  # the end of a document and the next one are no text together
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = run(tmp_path / "out", tmp_path / "a.jsonl", exclude=[tmp_path / "exam.jsonl"], held_out=0)
    assert report.overlap is not None
    assert report.overlap["paragraphs"] == len(textwrap.wrap(exam, 40))
    shard = open_corpus(tmp_path / "out").split("train").shards[0]
    tokenizer = load_tokenizer(open_corpus(tmp_path / "out").tokenizer_path)
    assert tokenizer.decode(shard.tokens.tolist()).startswith(tokenizer.normalize(f"{before} {after} {before}"))
