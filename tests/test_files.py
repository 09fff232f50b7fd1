"""Folders that are written whole or not at all, and by one process at a time."""

from pathlib import Path

import pytest

from litebert import files
from litebert.errors import OutputError
from litebert.files import LOCK, held, new_folder, require_empty, write_text


def test_one_process_has_a_folder(tmp_path: Path) -> None:
    with held(tmp_path / "out") as first, held(tmp_path / "out") as second:
        assert (first, second) == (True, False)
        require_empty(tmp_path / "out")
    with held(tmp_path / "out") as again:
        assert again
    assert not list(tmp_path.iterdir())


def test_what_came_into_a_folder_stays(tmp_path: Path) -> None:
    with held(tmp_path / "a" / "b"):
        write_text(tmp_path / "a" / "b" / "file", "text")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


def test_folders_above_do_not_stay_behind(tmp_path: Path) -> None:
    for making in (held, new_folder, lambda path: new_folder(path, replace=False)):
        with pytest.raises(KeyError), making(tmp_path / "a" / "b" / "c"):
            raise KeyError
        assert not list(tmp_path.iterdir())


def test_a_folder_is_replaced_or_refused(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with new_folder(tmp_path / "out") as folder:
            (folder / "file").write_text(text)
    assert (tmp_path / "out" / "file").read_text() == "new"
    with pytest.raises(OutputError, match="is not empty"), new_folder(tmp_path / "out", replace=False):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "file").read_text() == "new"


def test_a_folder_is_there_all_the_time_that_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between any two steps leaves the old one or the new one."""
    (tmp_path / "out").mkdir()
    (tmp_path / "new").mkdir()
    if not files._exchanged(tmp_path / "out", tmp_path / "new"):
        pytest.skip("this system cannot exchange two names at once")
    seen: list[bool] = []
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, to: (seen.append(True), rename(self, to))[1])
    for text in ("old", "new"):
        with new_folder(tmp_path / "out") as folder:
            (folder / "file").write_text(text)
    assert (tmp_path / "out" / "file").read_text() == "new"
    assert not seen
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "out"]


def test_without_such_an_exchange_folders_are_replaced_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_exchanged", lambda one, other: False)
    for text in ("old", "new"):
        with new_folder(tmp_path / "out") as folder:
            (folder / "file").write_text(text)
    assert (tmp_path / "out" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_stands_for_its_file(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_a_folder_that_another_process_has_is_refused(tmp_path: Path) -> None:
    """Although nothing is in it yet."""
    with held(tmp_path / "out"):
        with (
            pytest.raises(OutputError, match="is being written by another process"),
            new_folder(tmp_path / "out", replace=False),
        ):
            pass
        assert [path.name for path in (tmp_path / "out").iterdir()] == [LOCK]
    with new_folder(tmp_path / "out", replace=False) as folder:
        (folder / "file").write_text("text")
        with held(tmp_path / "out") as ours:
            assert not ours
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc here, where folders cannot be made")
def test_a_place_where_no_folder_can_be_is_not_said_to_be_in_use() -> None:
    with pytest.raises(OutputError, match="/proc/litebert cannot be"), held(Path("/proc/litebert")):
        pass
