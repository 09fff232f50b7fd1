"""What the user sees while work goes on: log lines and progress, always on stderr, never on stdout."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

QUIET_SECONDS = 2.0
"""Work shorter than this shows nothing."""

LINE_SECONDS = 10.0
"""Where stderr is no terminal, progress is a plain line at most this often."""


def speaks() -> bool:
    """Tell whether people should read this process's words: of several that share a run, the first one's."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def log(message: str) -> None:
    """Write one line to stderr. Where nobody reads that any more, work goes on in silence."""
    if not speaks():
        return
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


class Advance(Protocol):
    """Reports that `amount` more units are done; `note` is a short text shown beside the bar."""

    def __call__(self, amount: float = 1, note: str = "") -> None: ...  # noqa: D102


@contextmanager
def progress(label: str, total: float | None = None, unit: str = "") -> Iterator[Advance]:
    """Show how far a piece of work is: a bar on a terminal, plain lines in a log, nothing if it is short.

    `total` is the number of units to be done, None where that is unknown.
    """
    with (_terminal if speaks() and sys.stderr.isatty() else _lines)(label, total, unit) as advance:
        yield advance


@contextmanager
def _terminal(label: str, total: float | None, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total, state="")
        done = 0.0

        def advance(amount: float = 1, note: str = "") -> None:
            nonlocal done
            done += amount
            bar.update(task, completed=done, state=note or _state(done, total, unit))

        yield advance


@contextmanager
def _lines(label: str, total: float | None, unit: str) -> Iterator[Advance]:
    start = last = time.monotonic()
    done = 0.0

    def advance(amount: float = 1, note: str = "") -> None:
        nonlocal done, last
        done += amount
        now = time.monotonic()
        if now - start > QUIET_SECONDS and now - last > LINE_SECONDS:
            last = now
            log(f"{label}: {note or _state(done, total, unit)}")

    yield advance


def _state(done: float, total: float | None, unit: str) -> str:
    of = f"/{total:,.0f}" if total else ""
    return f"{done:,.0f}{of} {unit}".rstrip()
