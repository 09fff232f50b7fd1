"""Spans of a text as files hold them: lists in JSON, and CoNLL's columns."""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

from litebert.console import log
from litebert.data.conll import read_conll
from litebert.data.labelled import label_name, list_of
from litebert.data.rows import Row
from litebert.errors import InputError
from litebert.evaluate.entities import Chunk, Scheme, chunks, parse_tag, violations

Spans = tuple[Chunk, ...]
"""In characters, in their order; they do not overlap."""

SCHEMES: tuple[Scheme, ...] = ("IOB2", "IOB1", "IOBES")


def spans_of(value: object, column: str, where: str, length: int | None) -> Spans:
    """Read a list of spans; raises InputError where one is none, overlaps another, or lies not in `length` characters
    (None: not known)."""
    value = list_of(value)
    if value is None:
        raise InputError(
            f'{where}: {column!r} is no list of spans; write [{{"start": 0, "end": 5, "label": "place"}}], [] for none'
        )
    spans = sorted(_span(one, column, where) for one in value)
    for span in spans:
        if not 0 <= span.start < span.end or (length is not None and span.end > length):
            said = "" if length is None else f" of {length} characters"
            raise InputError(
                f"{where}: the span {span.start}-{span.end} ({span.label}) lies not in the text{said}; `end` is the "
                "character after the last one"
            )
    for one, other in itertools.pairwise(spans):
        if one.end > other.start:
            raise InputError(
                f"{where}: the spans {one.start}-{one.end} ({one.label}) and {other.start}-{other.end} ({other.label}) "
                "overlap; keep one of them"
            )
    return tuple(spans)


def _span(value: object, column: str, where: str) -> Chunk:
    if isinstance(value, Mapping):
        value = [value.get("start"), value.get("end"), value.get("label")]
    if isinstance(value, list | tuple) and len(value) == 3:
        start, end, label = value
        if type(start) is int and type(end) is int:  # which True is not
            return Chunk(start, end, label_name(label, column, where))
    raise InputError(
        f"{where}: {str(value)[:60]!r} in {column!r} is no span; write "
        '{"start": 0, "end": 5, "label": "place"} with numbers of characters'
    )


def conll_rows(source: str | Path) -> Iterator[tuple[str, Row]]:
    """Sentences as texts, their words between single spaces, with spans of characters."""
    sentences = list(read_conll(source))
    for sentence in sentences:
        for at, tag in enumerate(sentence.tags):
            if parse_tag(tag) is None:
                raise InputError(
                    f"{source}, line {sentence.line + at}: {tag!r} is no tag; use O, and B- and I- before a label"
                )
    tags = [sentence.tags for sentence in sentences]
    found = [(list(violations(tags, scheme)), scheme) for scheme in SCHEMES]
    broken, scheme = min(found, key=lambda pair: len(pair[0]))
    if broken:
        row, at = broken[0]
        log(
            f"note: {source}: {len(broken):,} tags break {scheme}, the scheme it mostly keeps to (the first: line "
            f"{sentences[row].line + at}, {tags[row][at]}); they are read as conlleval does"
        )
    for sentence in sentences:
        starts = list(itertools.accumulate((len(word) + 1 for word in sentence.words), initial=0))
        entities = [
            {"start": starts[first], "end": starts[end] - 1, "label": label}
            for first, end, label in chunks(sentence.tags)
        ]
        yield f"{source}, line {sentence.line}", {"text": " ".join(sentence.words), "entities": entities}
