"""Real text for tests, from what every installation of Python brings along."""

import ast
import sysconfig
from pathlib import Path


def standard_library(characters: int = 1_000_000) -> list[str]:
    """Return documents of documentation strings of the standard library, one a module, in order of their names."""
    documents: list[str] = []
    total = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
        nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
        text = "\n\n".join(doc for node in nodes if (doc := ast.get_docstring(node)))
        if len(text) > 200 and total < characters:
            documents.append(text)
            total += len(text)
    return documents
