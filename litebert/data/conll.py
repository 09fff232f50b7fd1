"""CoNLL files: a word and its columns a line, the word first and the tag last, a blank line after each sentence.

@paulwalk   O
lives       O
in          O
Milton      B-place
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from litebert.data.packing import opened
from litebert.errors import InputError

_TAG = re.compile(r"O|[A-Z]-\S+")
_COLUMNS = 2
"""Of the simplest files: a word and its tag."""


class Sentence(NamedTuple):
    """The words between two blank lines."""

    line: int
    """Of the first word, from 1."""
    words: list[str]
    tags: list[str]


def read_conll(source: str | Path) -> Iterator[Sentence]:
    """Yield the sentences of a file, plain or packed.

    Lines of documents' beginnings (-DOCSTART-) are left out, and comments before a sentence ("# id 7", as in CoNLL-U
    and MultiCoNER), which end in no tag, or have not as many columns as words have.

    Columns stand between tabs, else between spaces. Raises InputError, naming the line, where a word has no tag.
    """
    path = Path(source)
    words: list[str] = []
    tags: list[str] = []
    first, columns = 0, _COLUMNS
    empty = True
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                raise InputError(f"{path}, line {number}: not UTF-8; save the file as UTF-8") from None
            if not text or text.startswith("-DOCSTART-"):
                if words:
                    yield Sentence(first, words, tags)
                words, tags = [], []
                continue
            fields = text.split("\t") if "\t" in text else text.split(" ")
            fields = [field.strip() for field in fields if field.strip()]
            if not words and text.startswith("# ") and not (_TAG.fullmatch(fields[-1]) and len(fields) == columns):
                continue
            if len(fields) < 2:
                raise InputError(
                    f"{path}, line {number}: {text!r} is a word without a tag; give both on every line, as in 'Milton "
                    "B-place', or give JSON lines with `text` and `entities`"
                )
            first, columns, empty = first if words else number, len(fields), False
            words.append(fields[0])
            tags.append(fields[-1])
    if words:
        yield Sentence(first, words, tags)
    if empty:
        raise InputError(f"{path} is empty; give a file with tagged words")
