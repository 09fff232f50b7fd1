"""A few thousand sentences of ordinary prose, to look at a model with.

They come from the user's files, else from the public corpus where $LITEBERT_DATA has one, else from what every
installation of Python brings along: the documentation strings of its standard library.
"""

import ast
import os
import sysconfig
from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import NamedTuple

from litebert.data.catalog import VARIABLE
from litebert.data.sources import find_files, read_documents
from litebert.text.sentences import split_sentences

_SHORTEST, _LONGEST = 20, 300
"""Characters of a sentence that is taken."""


class Sample(NamedTuple):
    """Sentences, each only once, and where they come from."""

    sentences: list[str]
    origin: str


def sample_sentences(files: Sequence[Path] | None, count: int) -> Sample:
    """Return at most `count` sentences, in turn from all the files; always the same for the same files.

    Raises InputError for files that cannot be read.
    """
    corpus = Path(os.environ.get(VARIABLE) or "-") / "corpus"
    if files:
        origin = ", ".join(map(str, files))
    elif corpus.is_dir():
        files, origin = [corpus], str(corpus)
    else:
        return Sample(_distinct(_sentences(_standard_library()), count), "the documentation of Python's library")
    sources = find_files(files)
    quota = max(2 * count // len(sources), 100)  # files of few sentences leave room for the others
    each = [list(islice(_sentences(doc.text for doc in read_documents(file)), quota)) for file in sources]
    in_turn = (sentence for row in zip_longest(*each) for sentence in row if sentence is not None)
    return Sample(_distinct(in_turn, count), origin)


def _distinct(sentences: Iterator[str], count: int) -> list[str]:
    return list(islice(dict.fromkeys(sentences), count))


def _sentences(texts: Iterator[str]) -> Iterator[str]:
    for text in texts:
        for start, end in split_sentences(text):
            if _SHORTEST <= end - start <= _LONGEST:
                yield " ".join(text[start:end].split())


def _standard_library() -> Iterator[str]:
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
        nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
        for node in nodes:
            yield from (" ".join(part.split()) for part in (ast.get_docstring(node) or "").split("\n\n"))
