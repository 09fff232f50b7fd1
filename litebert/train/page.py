"""What the pages of runs and benchmarks share: the frame with its style, small pieces, and ways to write values."""

import time
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template

from litebert import __version__
from litebert.train import charts


def page(title: str, body: str) -> str:
    """Return a whole page, which needs nothing but itself. title: plain; body: HTML."""
    frame = Template(files("litebert.train").joinpath("page.html").read_text(encoding="utf-8"))
    return frame.substitute(
        title=escape(title),
        body=body,
        footer=f"litebert {escape(__version__)} wrote this page on {date(time.time())}.",
        left=charts.LEFT,
        right=charts.RIGHT,
        top=charts.TOP,
        bottom=charts.BOTTOM,
    )


def tile(name: str, value: str, note: str, *, bad: bool = False) -> str:
    """A figure with its name above and a remark below."""
    style = "card tile bad" if bad else "card tile"
    return f'<div class="{style}"><span>{escape(name)}</span><b>{escape(value)}</b><span>{escape(note)}</span></div>'


def table(rows: Mapping[str, str]) -> str:
    """Names and values, one a row."""
    body = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
    return f"<table>{body}</table>"


def plain(value: object) -> str:
    """Write a value as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def percent(value: float, digits: int = 1) -> str:
    """Write a share in percent."""
    return f"{100 * value:.{digits}f} %"


def duration(seconds: float) -> str:
    """Write seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def date(seconds: float) -> str:
    """Write a moment, in seconds since 1970."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
