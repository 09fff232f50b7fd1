"""Text to shards: nothing lost, nothing twice, the same bytes however it was done, and no trace of failures."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from litebert.data import journal, prepare, sources, workers
from litebert.data.duplicates import text_digest
from litebert.data.journal import Journal
from litebert.data.packing import reading
from litebert.data.prepare import PrepareReport
from litebert.data.shards import open_corpus
from litebert.data.sources import find_files, read_documents
from litebert.errors import (
    ConfigError,
    DataFolderError,
    InputError,
    LitebertError,
    OutputError,
    TokenizerError,
    UnreadableError,
)
from litebert.text.sentences import split_sentences
from litebert.text.tokenizer import load_tokenizer
from tests.processes import alive, children
from tests.tokenizers import KINDS, write_tokenizer

Run = Callable[..., PrepareReport]


@pytest.fixture(scope="module")
def tokenizer(prepared: Path) -> Path:
    return prepared / "tokenizer"


@pytest.fixture(scope="module")
def texts(prose: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all kinds of files, with duplicates within and across them, empty rows and a bad byte."""
    folder = tmp_path_factory.mktemp("texts")
    rows = [{"text": text, "id": f"library {i}"} for i, text in enumerate(prose[:60])]
    rows[10:10] = [{"text": prose[3]}, {"text": "  " + prose[4] + "\n"}, {"text": " "}]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "b.txt").write_text("\n\n".join(text.replace("\n", " ") for text in prose[60:90]) + "\n\n\n")
    (folder / "c").mkdir()
    (folder / "c" / "d.txt").write_bytes(prose[90].replace("\n", " ").encode() + b" caf\xe9.")
    (folder / "c" / "e.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in prose[50:100]))
    return folder


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks, units and shards of little text."""
    monkeypatch.setattr(sources, "CHUNK_BYTES", 10_000)
    monkeypatch.setattr(prepare, "UNIT_BYTES", 25_000)


@pytest.fixture
def run(texts: Path, tokenizer: Path, small_steps: None) -> Run:
    def prepared(out: Path, *paths: Path, **settings: object) -> PrepareReport:
        chosen = {"held_out": 0.1, "processes": 1, "shard_tokens": 30_000, **settings}
        return prepare.prepare(paths or [texts], tokenizer, out, **chosen)  # type: ignore[arg-type]

    return prepared


def fingerprint(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def left_behind(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_every_new_document_is_written_once_and_on_its_side(
    run: Run, texts: Path, tokenizer: Path, tmp_path: Path
) -> None:
    """Against a slow and plain second implementation."""
    out = tmp_path / "out"
    report = run(out)
    loaded = load_tokenizer(tokenizer)
    expected: dict[str, list[list[list[int]]]] = {"train": [], "held_out": []}
    rows, seen, duplicates = [], set(), 0
    for document in (document for file in find_files([texts]) for document in read_documents(file)):
        if document.text in seen:
            duplicates += 1
            continue
        seen.add(document.text)
        split = "held_out" if text_digest(document.text.encode()) < 0.1 * 2**64 else "train"
        spans = split_sentences(document.text)
        encoded = [loaded.encode_ids([document.text[start:end]])[0] for start, end in spans]
        expected[split].append([ids for ids in encoded if ids])
        rows.append((document.id, document.source, split))

    corpus = open_corpus(out, verify=True)
    table = parquet.read_table(out / "documents.parquet").to_pylist()
    assert [(row["id"], row["source"], row["split"]) for row in table] == rows
    for name, wanted in expected.items():
        shards = corpus.split(name).shards
        places = [row for row in table if row["split"] == name]
        for row, sentences in zip(places, wanted, strict=True):
            shard = shards[row["shard"]]
            starts = [0, *shard.sentence_ends.tolist()]
            span = range(row["first_sentence"], row["first_sentence"] + row["sentences"])
            assert [shard.tokens[starts[i] : starts[i + 1]].tolist() for i in span] == sentences
            assert span.stop in shard.document_ends
        assert corpus.split(name).num_documents == len(wanted)
    assert len(corpus.split("train").shards) > 2
    assert report.duplicates == duplicates > 10
    assert report.documents == len(seen)
    assert report.empty_documents == 1
    assert report.replaced_bytes == {"c/d.txt": 1}
    assert report.text_bytes == sum(len(text.encode()) for text in seen)
    assert "1 bytes in 1 files were not UTF-8" in report.warnings[0]


def test_counts_sources_and_entropy(run: Run, tmp_path: Path) -> None:
    report = run(tmp_path / "out")
    index = open_corpus(tmp_path / "out").index
    assert set(report.sources) == {"a", tmp_path_name(index), "c", "c/e"}
    for name in ("documents", "sentences", "tokens", "text_bytes"):
        assert sum(counts[name] for counts in report.sources.values()) == getattr(report, name)
    train, held_out = (
        Counter(i for shard in open_corpus(tmp_path / "out").split(name).shards for i in shard.tokens.tolist())
        for name in ("train", "held_out")
    )
    total = train.total()
    entropy = -sum(n / total * math.log(n / total) for n in train.values())
    assert report.unigram_entropy == pytest.approx(entropy)
    total += index["tokenizer"]["vocab_size"]
    cross = -sum(n / held_out.total() * math.log((train[i] + 1) / total) for i, n in held_out.items())
    assert index["splits"]["held_out"]["unigram_cross_entropy"] == pytest.approx(cross)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert report.disk_bytes == sum(path.stat().st_size for path in files)
    json.dumps(report.to_dict())
    assert f"{report.documents} documents" in report.summary()


def tmp_path_name(index: dict[str, dict[str, object]]) -> str:
    return next(source for source in index["sources"] if source.startswith("texts"))


def test_the_bytes_do_not_depend_on_processes_or_commits(run: Run, tmp_path: Path) -> None:
    run(tmp_path / "one")
    for processes in (2, 3):
        run(tmp_path / f"{processes}", processes=processes, commit_bytes=processes * 20_000)
        assert fingerprint(tmp_path / f"{processes}") == fingerprint(tmp_path / "one")
    assert sorted(left_behind(tmp_path)) == ["2", "3", "one"]


def test_nothing_on_disk_names_this_machine(run: Run, texts: Path, tokenizer: Path, tmp_path: Path) -> None:
    run(tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        if path.is_file():
            assert str(tmp_path.parent).encode() not in path.read_bytes()


def test_a_finished_folder_is_left_as_it_is(run: Run, texts: Path, tmp_path: Path) -> None:
    first = run(tmp_path / "out")
    before = fingerprint(tmp_path / "out")
    again = run(tmp_path / "out", processes=2)
    assert again.already_done
    assert again.megabytes_per_second == 0
    timeless = {"seconds": 0.0, "megabytes_per_second": 0.0, "already_done": False}
    assert dataclasses.replace(again, **timeless) == dataclasses.replace(first, **timeless)
    assert fingerprint(tmp_path / "out") == before
    for other in ({"held_out": 0.2}, {"text_field": "body"}, {"shard_tokens": 7}):
        with pytest.raises(DataFolderError, match=next(iter(other))):
            run(tmp_path / "out", **other)
    with pytest.raises(DataFolderError, match="another input"):
        run(tmp_path / "out", texts / "a.jsonl")
    assert fingerprint(tmp_path / "out") == before


def test_a_changed_text_of_the_same_size_is_another_input(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("One sentence. Two sentences.\n\nA second document.")
    run(tmp_path / "out", file)
    file.write_text("Two sentences. One sentence.\n\nA second document.")
    with pytest.raises(DataFolderError, match="another input"):
        run(tmp_path / "out", file)


def test_the_folder_may_lie_inside_its_input(run: Run, prose: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": prose[0]}) + "\n" + json.dumps({"text": prose[1]}))
    run(tmp_path / "out", tmp_path)
    assert run(tmp_path / "out", tmp_path).already_done


SCRIPT = """
import sys, time
from pathlib import Path
from litebert.data import journal, prepare, sources

def slowly(self, commit=journal.Journal.commit):
    commit(self)
    time.sleep(0.1)

if __name__ == "__main__":
    journal.Journal.commit = slowly
    sources.CHUNK_BYTES, prepare.UNIT_BYTES = 10_000, 25_000
    text, tokenizer, out = sys.argv[1:]
    prepare.prepare([text], tokenizer, out, held_out=0.1, processes=2, shard_tokens=30_000, commit_bytes=1)
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_killed_and_started_again_it_ends_with_the_same_bytes(
    run: Run, texts: Path, tokenizer: Path, tmp_path: Path
) -> None:
    run(tmp_path / "whole")
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    out, unfinished = tmp_path / "out", tmp_path / "out.unfinished"
    done: list[int] = []
    for _ in range(3):  # killed three times, each time further on
        process = subprocess.Popen([sys.executable, script, texts, tokenizer, out])
        limit = time.monotonic() + 60
        while len(done) < 2 or done[-1] < done[-2] + 3 * 25_000:
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.01)
            if (unfinished / "journal.json").exists():
                noted = json.loads((unfinished / "journal.json").read_text())
                done = [*done[:1], noted["progress"]["text_bytes"]] if done else [0]
        spawned = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(spawned) >= 2
        while any(map(alive, spawned)):  # they notice by themselves
            assert time.monotonic() < limit
            time.sleep(0.01)
        assert not out.exists()
        with pytest.raises(DataFolderError, match="no prepared data folder"):
            open_corpus(out)
        done = [done[-1]]
    report = run(out)
    assert report.resumed
    assert fingerprint(out) == fingerprint(tmp_path / "whole")
    assert not unfinished.exists()


def test_unfinished_work_with_other_settings_is_refused(run: Run, tmp_path: Path) -> None:
    interrupt(run, tmp_path / "out")
    with pytest.raises(DataFolderError, match=r"held_out 0\.1 there, 0\.3 here"):
        run(tmp_path / "out", held_out=0.3)
    noted = json.loads((tmp_path / "out.unfinished" / "journal.json").read_text())
    for counts in noted["progress"]["sources"].values():
        del counts["words"]
    (tmp_path / "out.unfinished" / "journal.json").write_text(json.dumps(noted))
    with pytest.raises(DataFolderError, match="of an earlier version"):
        run(tmp_path / "out")
    (tmp_path / "out.unfinished" / "journal.json").write_text("{")
    with pytest.raises(DataFolderError, match="damaged"):
        run(tmp_path / "out")


def interrupt(run: Run, out: Path, error: type[BaseException] = KeyboardInterrupt, after: int = 5) -> None:
    """Run until `error` comes in the midst of writing."""
    append = journal.Journal.append
    left = iter(range(after))

    def failing(self: journal.Journal, *arguments: object) -> None:
        append(self, *arguments)  # type: ignore[arg-type]
        if next(left, None) is None:
            raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal.Journal, "append", failing)
        with pytest.raises(error):
            run(out, commit_bytes=60_000)


def test_interrupted_from_the_keyboard_it_goes_on(run: Run, tmp_path: Path) -> None:
    run(tmp_path / "whole")
    interrupt(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert run(tmp_path / "out").resumed
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")


def test_interrupted_before_the_first_commit_it_leaves_nothing(run: Run, tmp_path: Path) -> None:
    interrupt(run, tmp_path / "out", after=0)
    assert left_behind(tmp_path) == []


def test_killed_right_before_its_last_step_it_still_finishes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(prepare.shutil, "rmtree", lambda *_, **__: None)
        run(tmp_path / "out")
    assert (tmp_path / "out.unfinished").exists()
    assert run(tmp_path / "out").already_done
    assert not (tmp_path / "out.unfinished").exists()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "late")
    assert run(tmp_path / "late").resumed
    assert fingerprint(tmp_path / "late") == fingerprint(tmp_path / "whole")


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_two_runs_at_once_on_one_folder_are_refused(run: Run, tmp_path: Path) -> None:
    seen = []

    def second(*_: object) -> int | None:
        with pytest.raises(DataFolderError, match="another"):
            run(tmp_path / "out")
        seen.append(True)
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "_to_move", second)
        run(tmp_path / "out")
    assert seen


@pytest.mark.parametrize("held_out", [1e-9, 1 - 1e-9])
def test_no_split_stays_empty_without_need(run: Run, prose: list[str], tmp_path: Path, held_out: float) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in prose[:20]))
    run(tmp_path / "one", file, held_out=held_out)
    corpus = open_corpus(tmp_path / "one", verify=True)
    assert sorted(corpus.split(name).num_documents for name in ("train", "held_out")) == [1, 19]
    run(tmp_path / "two", file, held_out=held_out, processes=2)
    assert fingerprint(tmp_path / "two") == fingerprint(tmp_path / "one")
    assert run(tmp_path / "none", file, held_out=0).held_out_documents == 0


def test_interrupted_while_it_moves_a_document_it_goes_on(run: Run, prose: list[str], tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in prose[:20]))
    run(tmp_path / "whole", file, held_out=1e-9)
    restart = journal.Journal.restart

    def cut_short(self: journal.Journal, moved: int) -> None:
        restart(self, moved)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal.Journal, "restart", cut_short)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "out", file, held_out=1e-9)
    run(tmp_path / "out", file, held_out=1e-9)
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")


def test_the_share_held_out_is_what_was_asked_for(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"text": f"Number {i}."}) + "\n" for i in range(5000)))
    report = run(tmp_path / "out", file, held_out=0.1)
    assert abs(report.held_out_documents - 500) < 5 * (5000 * 0.1 * 0.9) ** 0.5
    assert "no document has two sentences" in report.warnings[0]


BAD_INPUT = {
    "an empty file": ({"a.txt": b""}, "no text in the input"),
    "only blank lines": ({"a.txt": b"\n \n\t\n"}, "no text in the input"),
    "empty rows": ({"a.jsonl": b'{"text": ""}\n{"text": null}\n'}, "no text in the input"),
    "one sentence": ({"a.txt": b"This is all there is."}, "one sentence is all the input"),
    "binary junk": ({"a.txt": bytes(range(256)) * 9}, "a.txt is no UTF-8 text"),
    "no field": ({"a.jsonl": b'{"text": "x"}\n{"body": "x"}\n'}, "a.jsonl line 2: no field 'text'"),
    "a broken row": ({"a.jsonl": b'{"text": "x"\n'}, "a.jsonl line 1: no JSON"),
    "no archive": ({"a.txt.gz": b"x"}, "a.txt.gz is damaged"),
    "no table": ({"a.parquet": b"x"}, "a.parquet is damaged"),
    "no file": ({}, "no file to read"),
}


@pytest.mark.parametrize(("files", "why"), BAD_INPUT.values(), ids=list(BAD_INPUT))
def test_bad_input_is_one_line_and_leaves_nothing(run: Run, tmp_path: Path, files: dict[str, bytes], why: str) -> None:
    (tmp_path / "in").mkdir()
    for name, content in files.items():
        (tmp_path / "in" / name).write_bytes(content)
    with pytest.raises(InputError, match=why) as error:
        run(tmp_path / "out", tmp_path / "in")
    assert "\n" not in str(error.value)
    assert left_behind(tmp_path) == ["in"]


def test_bad_input_after_much_good_leaves_nothing(run: Run, texts: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "z.jsonl").write_text("no JSON\n")
    for processes in (1, 2):
        with pytest.raises(InputError, match=r"z\.jsonl line 1"):
            run(tmp_path / "out", texts, tmp_path / "in", processes=processes, commit_bytes=1)
        assert left_behind(tmp_path) == ["in"]


def test_what_a_user_may_have_meant_otherwise_is_said(run: Run, tmp_path: Path) -> None:
    def warnings(content: str, **settings: object) -> str:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        (folder / "a.txt").write_text(content)
        (folder / "b.md").touch()
        return " ".join(run(folder / "out", folder, **settings).warnings)

    paragraphs = "One sentence here.\n\nAnother one. And one.\n\nA third. It ends."
    assert "1 files of other kinds were passed over: b.md" in warnings(paragraphs)
    assert "say --documents file" in warnings(paragraphs)
    assert "--documents" not in warnings(paragraphs, documents="blank-lines")
    whole = warnings(paragraphs, documents="file")
    assert "say --documents blank-lines" in whole
    assert "nothing is held out: that takes two documents" in whole


def test_settings_out_of_range_are_refused(run: Run, tokenizer: Path, texts: Path, tmp_path: Path) -> None:
    bad = (
        {"held_out": 1.0},
        {"held_out": -0.1},
        {"processes": -1},
        {"processes": 10**5},
        {"documents": "line"},
        {"shard_tokens": 0},
    )
    for settings in bad:
        with pytest.raises(ConfigError, match=str(*settings.values())):
            run(tmp_path / "out", **settings)
    with pytest.raises(TokenizerError):
        prepare.prepare([texts], tmp_path / "none", tmp_path / "out")
    assert left_behind(tmp_path) == []


def test_a_folder_with_something_else_is_not_touched(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        run(tmp_path / "out")
    with pytest.raises(OutputError, match=r"thesis\.txt is a file, no folder; choose another place"):
        run(tmp_path / "out" / "thesis.txt")
    with pytest.raises(OutputError):
        run(tmp_path / "out" / "thesis.txt" / "below")
    assert left_behind(tmp_path / "out") == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    run(tmp_path / "empty")
    assert open_corpus(tmp_path / "empty").index["counts"]["documents"]


def test_other_files_where_the_work_would_lie_are_left_alone(run: Run, tmp_path: Path) -> None:
    work = tmp_path / "out.unfinished"
    (work / "data").mkdir(parents=True)
    (work / "data" / "results.csv").write_text("mine")
    with pytest.raises(DataFolderError, match=r"out\.unfinished is needed for unfinished work, but holds data:"):
        run(tmp_path / "out")
    assert (work / "data" / "results.csv").read_text() == "mine"
    (work / "data" / "results.csv").rename(work / "results.csv")
    with pytest.raises(DataFolderError, match=r"but holds results\.csv"):
        run(tmp_path / "out")
    (work / "results.csv").rename(tmp_path / "results.csv")
    run(tmp_path / "out")
    assert not work.exists()


def test_a_file_that_cannot_be_read_for_now_costs_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "whole")
    commits = 0
    commit = Journal.commit

    def stale(journal: Journal) -> None:
        nonlocal commits
        commit(journal)
        commits += 1
        if commits == 2:
            with reading(tmp_path / "b.jsonl", "jsonl"):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "commit", stale)
        with pytest.raises(UnreadableError, match=r"b\.jsonl: cannot be read"):
            run(tmp_path / "out", commit_bytes=60_000)
    assert run(tmp_path / "out").resumed
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")


@pytest.mark.parametrize("good_writes", [0, 1, 30, 60])
def test_a_full_disk_is_one_line_and_damages_nothing(
    run: Run, tmp_path: Path, good_writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "whole")
    left = iter(range(good_writes))
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="disk is full") as error:
            run(tmp_path / "out", commit_bytes=60_000)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "out.unfinished").exists() == (good_writes > 1)
    assert run(tmp_path / "out").resumed == (good_writes > 1)
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="limits file sizes the POSIX way")
def test_a_file_that_may_not_grow_is_one_line(run: Run, tmp_path: Path) -> None:
    """The kernel itself refuses."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written") as error:
            run(tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    assert left_behind(tmp_path) == []


def test_a_worker_that_dies_is_said_and_the_work_goes_on_later(run: Run, texts: Path, tmp_path: Path) -> None:
    run(tmp_path / "whole")
    append = journal.Journal.append
    victims = []

    def killing(self: journal.Journal, *arguments: object) -> None:
        append(self, *arguments)  # type: ignore[arg-type]
        self.commit()
        if not victims:
            victims.extend(children(os.getpid()))
            for pid in victims:
                with contextlib.suppress(FileNotFoundError):  # the listing's own process
                    if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text():
                        os.kill(pid, signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal.Journal, "append", killing)
        with pytest.raises(LitebertError, match="a worker process died"):
            run(tmp_path / "out", processes=2)
    assert run(tmp_path / "out", processes=2).resumed
    assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")


def test_a_fault_of_ours_in_a_worker_comes_with_its_traceback(tokenizer: Path) -> None:
    unit = [workers.Piece(0, 0, None, None)]  # type: ignore[arg-type]
    with pytest.raises(LitebertError, match="AttributeError"):
        list(workers.encode_units([unit], workers.Means(tokenizer, sources.ReadOptions()), 2))


def test_the_first_mistake_of_the_input_is_the_one_that_is_told(tokenizer: Path, tmp_path: Path) -> None:
    """Whichever worker comes upon one first, and though the next file cannot even be read."""
    (tmp_path / "a.jsonl").touch()
    (file,) = sources.find_files([tmp_path])
    good = b"".join(json.dumps({"text": "The whale was seen. " * 50}).encode() + b"\n" for _ in range(3000))
    late, early = (
        [workers.Piece(0, number, file, sources.Chunk(first, payload, 0))]
        for number, first, payload in ((0, 0, good + b"{\n"), (1, 3001, b"[\n"))
    )

    def unreadable() -> Iterator[workers.Unit]:
        yield late
        raise InputError("the second file is damaged")

    means = workers.Means(tokenizer, sources.ReadOptions())
    for units in (iter([late, early]), unreadable()):
        with pytest.raises(InputError, match="line 3001"):
            list(workers.encode_units(units, means, 2))


def test_a_link_to_an_empty_folder_stands_for_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    run(tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert open_corpus(tmp_path / "disk").split("train").shards
    assert sorted(left_behind(tmp_path)) == ["disk", "out"]


def test_a_long_document_stays_one(run: Run, tmp_path: Path) -> None:
    text = "The whale was seen again. " * 30_000
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}) + "\n" + json.dumps({"text": "x " * 1_000_000}))
    report = run(tmp_path / "out", tmp_path / "a.jsonl")
    table = parquet.read_table(tmp_path / "out" / "documents.parquet").to_pylist()
    assert [row["sentences"] for row in table] == [30_000, 1]
    assert report.documents == 2


def test_control_characters_alone_are_no_sentence(run: Run, tmp_path: Path) -> None:
    rows = [{"text": "\x01\x02"}, {"text": "Some text.\n\x01\nMore text."}, {"text": "And more. Much more."}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = run(tmp_path / "out", tmp_path / "a.jsonl")
    assert (report.documents, report.sentences, report.empty_documents) == (2, 4, 1)
    for name in ("train", "held_out"):
        for shard in open_corpus(tmp_path / "out").split(name).shards:
            assert all(a < b for a, b in pairwise([0, *shard.sentence_ends.tolist()]))
            assert all(a < b for a, b in pairwise([0, *shard.document_ends.tolist()]))


def test_report_of_the_real_corpus(litebert_data: Path, tmp_path: Path) -> None:
    """One small file with the original vocabulary: the promised size on disk."""
    model = litebert_data / "vocab" / "30k-clean.model"
    report = prepare.prepare([litebert_data / "corpus" / "stories.jsonl.xz"], model, tmp_path / "out", processes=1)
    tokenizer = sum(path.stat().st_size for path in (tmp_path / "out" / "tokenizer").iterdir())
    assert (report.disk_bytes - tokenizer) / report.text_bytes < 0.6
    tokens = open_corpus(tmp_path / "out", verify=True).split("train").shards[0].tokens
    assert tokens.dtype == np.uint16


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_are_encoded_as_they_stand_in_the_text(prose: list[str], tmp_path: Path, kind: str) -> None:
    """Byte-level BPE has other pieces where no space stands before a word."""
    folder = write_tokenizer(kind, prose[:40], tmp_path / "tokenizer")
    document = "The file is open. We read it now. Then the module closes."
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": document}) + "\n")
    prepare.prepare([tmp_path / "a.jsonl"], folder, tmp_path / "out", held_out=0)
    (shard,) = open_corpus(tmp_path / "out").split("train").shards
    assert len(shard.sentence_ends) == 3
    (whole,) = load_tokenizer(folder).encode_ids([document])
    assert shard.tokens.tolist() == whole


def test_a_vocabulary_of_another_language_is_told(run: Run, tmp_path: Path) -> None:
    text = tmp_path / "a.jsonl"
    text.write_text("".join(json.dumps({"text": f"数学 {i} と言語。 二つ目の文。"}) + "\n" for i in range(9)))
    report = run(tmp_path / "out", text)
    counts = open_corpus(tmp_path / "out").index["counts"]
    (told,) = [warning for warning in report.warnings if "none of the vocabulary's pieces" in warning]
    assert told.startswith(f"{counts['unknown'] / counts['tokens']:.1%} of the tokens")
    assert counts["unknown"] > 10
