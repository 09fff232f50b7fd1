"""Real English that every such machine has: the documentation inside the installed Python packages.

1. `find_modules`   the source files of the standard library and of the packages litebert needs
2. `docstrings`     the documentation strings of one file, found by parsing it, never by running it
3. `paragraphs`     a string without its code examples, tables, formulas and markup
4. `gather`         all of it: one `Module` a file, no paragraph twice
"""

import ast
import inspect
import json
import re
import sysconfig
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

PACKAGES = (
    "standard library",
    "matplotlib",
    "networkx",
    "numpy",
    "scipy",
    "sklearn",
    "sympy",
    "torch",
)
"""Where the text comes from: only what `make demo` installs, so that every machine reads about the same."""

SKIPPED = {"test", "tests", "testing", "site-packages", "_vendor", "externals", "lib2to3", "turtledemo"}
FUNCTION_WORD = re.compile(r"\b(?:the|an?|of|to|is|are|in|and|for|that|be|it|this|with|or|if)\b", re.I)

BULLET = re.compile(r"^(?:[-*+•]|\(?\d{1,2}[.)])\s+")
UNDERLINE = re.compile(r"([=\-~^*+#`])\1{2,}\s*")
FIELD = re.compile(r"^\*{0,2}`{0,2}[A-Za-z_][\w.]*`{0,2}(?: ?\([^)]*\))? ?: ")
"""`name: text`, `name (type): text`, `name : type`: how parameters are documented."""
DIRECTIVE = re.compile(r"\.\. ([\w-]+)::")
PROSE_DIRECTIVES = {"note", "warning", "tip", "important", "seealso", "versionadded", "versionchanged"}
NOT_PROSE = re.compile(r">>>|\\|[{}|]|%\(|==|->|::|https?:|\w\(\w*[=,]|[^\x00-\x7f‘’“”–—]")
SENTENCE_START = re.compile(r"[\"'“‘(]?[A-Z]")

MARKUP = (
    (re.compile(r":[\w:]+:`~?(?:[\w.]*\.)?([^`<]+?)(?: <[^>]*>)?`"), r"\1"),  # :func:`~a.b.c` -> c
    (re.compile(r"``([^`]*)``"), r"\1"),
    (re.compile(r"`~?([^`<]*?)(?: ?<[^>]*>)?`_{0,2}"), r"\1"),
    (re.compile(r"\s?\[[\w#]+\]_"), ""),  # footnotes and citations
    (re.compile(r"\*{1,2}([^*\s](?:[^*]*[^*\s])?)\*{1,2}"), r"\1"),
    (re.compile(r"\s+"), " "),
)


class Module(NamedTuple):
    """The prose of one source file."""

    package: str
    path: str
    """Relative to the package's folder: `stats/_kde.py`."""
    paragraphs: list[str]


def find_modules() -> list[tuple[str, Path, Path]]:
    """Every (package, its folder, source file) to read, in a fixed order."""
    places = sysconfig.get_paths()
    found = []
    for package in PACKAGES:
        is_site = package != "standard library"
        folder = Path(places["purelib"], package) if is_site else Path(places["stdlib"])
        for path in sorted(folder.rglob("*.py")):
            if not SKIPPED & set(path.relative_to(folder).parts):
                found.append((package, folder, path))
    return found


def docstrings(source: str) -> Iterator[str]:
    """The documentation in a source file: docstrings, and the long strings that document C modules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's invalid escapes
        tree = ast.parse(source)
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if text := ast.get_docstring(node):
                yield text
            pending += reversed(node.body)
        elif isinstance(node, ast.If | ast.Try | ast.With):
            pending += reversed(node.body)
        elif isinstance(node, ast.Expr | ast.Assign) and not isinstance(node.value, ast.Constant):
            yield from _long_strings(node.value)  # handed to a function or kept in a table


def _long_strings(expression: ast.expr) -> Iterator[str]:
    for node in ast.walk(expression):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count("\n") >= 2:
            yield node.value


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of prose in a documentation string, one line each, without markup."""
    for run in _runs(inspect.cleandoc(text)):
        line = run
        for pattern, replacement in MARKUP:
            line = pattern.sub(replacement, line)
        line = line.strip()
        if _is_prose(line):
            yield line


def _runs(text: str) -> Iterator[str]:
    """Lines that belong together: cut at blank lines, at bullets and wherever the indentation changes."""
    run: list[str] = []
    run_indent = 0
    in_example = False
    literal_indent: int | None = None  # inside a literal block: everything deeper than this is code
    for line in [*text.splitlines(), ""]:
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if literal_indent is not None and stripped and indent <= literal_indent:
            literal_indent = None
        if literal_indent is not None:
            continue
        directive = DIRECTIVE.match(stripped)
        is_code = stripped.startswith((">>>", "...", "$ ")) or UNDERLINE.fullmatch(stripped) is not None
        starts_new = not stripped or is_code or directive or BULLET.match(stripped) or FIELD.match(stripped)
        if run and (starts_new or indent != run_indent):
            yield " ".join(run)
            run = []
        if directive:
            if directive[1] not in PROSE_DIRECTIVES:
                literal_indent = indent
            continue
        if stripped.endswith("::"):
            literal_indent = indent
        in_example = bool(stripped) and (in_example or stripped.startswith(">>>"))  # with its output
        if not stripped or is_code or in_example:
            continue
        if not run:
            stripped = FIELD.sub("", BULLET.sub("", stripped))
        run.append(stripped)
        run_indent = indent if len(run) > 1 or not BULLET.match(line.strip()) else indent + 2


def _is_prose(line: str) -> bool:
    """Whether a line reads as English sentences, not as code, a formula, a heading or a table."""
    words = line.split()
    if len(words) < 5 or not SENTENCE_START.match(line) or line[-1] not in ".!?" or NOT_PROSE.search(line):
        return False
    letters = sum(character.isalpha() or character == " " for character in line)
    known = len(FUNCTION_WORD.findall(line))
    return letters >= 0.9 * len(line) and known >= max(1, len(words) // 10)


def _read(module: tuple[str, Path, Path]) -> Module:
    package, folder, path = module
    try:
        found = [line for text in docstrings(path.read_text("utf-8")) for line in paragraphs(text)]
    except (SyntaxError, UnicodeDecodeError, RecursionError):  # templates and files kept broken on purpose
        found = []
    return Module(package, path.relative_to(folder).as_posix(), found)


def gather(processes: int = 2) -> list[Module]:
    """The prose of this machine, module by module; a paragraph that comes again, anywhere, is dropped."""
    with ProcessPoolExecutor(processes) as pool:
        modules = list(pool.map(_read, find_modules(), chunksize=64))
    seen: set[str] = set()
    unique = []
    for module in modules:
        fresh = [line for line in dict.fromkeys(module.paragraphs) if line not in seen]
        seen.update(fresh)
        if fresh:
            unique.append(module._replace(paragraphs=fresh))
    return unique


def write_text(modules: list[Module], folder: Path) -> int:
    """Write a file of JSON lines a package, in it a document a module; returns the bytes of text."""
    folder.mkdir(parents=True, exist_ok=True)
    size = 0
    for package in PACKAGES:
        with (folder / f"{package.replace(' ', '-')}.jsonl").open("w", encoding="utf-8") as file:
            for module in modules:
                if module.package == package:
                    text = "\n".join(module.paragraphs)
                    file.write(json.dumps({"id": module.path, "text": text}, ensure_ascii=False) + "\n")
                    size += len(text.encode())
    return size
