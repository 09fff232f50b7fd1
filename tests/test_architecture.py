"""The plan of the house, asserted: imports flow one way, and asking for help costs nothing."""

import ast
import graphlib
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "litebert"

ROOMS = "errors console files config text data model interop evaluate tasks train infer exam bench commands cli".split()  # noqa: SIM905
"""Upstream first: a room may import itself and those before it. The package's own __init__ comes last."""

HEAVY = {"matplotlib", "numpy", "pyarrow", "scipy", "sentencepiece", "sklearn", "tokenizers", "torch"}
PEERS = {"transformers", "sentence_transformers", "tensorflow", "datasets", "evaluate"}
"""Only compared with: in tests, benchmarks and the room `bench`."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    """`litebert/text/sentences.py` -> `litebert.text.sentences`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str:
    """The room a module lies in; `litebert` itself is the last."""
    return [*module.split("."), "__init__"][1]


def position(module: str) -> int:
    """How far downstream a module lies."""
    return len(ROOMS) if room(module) in ("__init__", "__main__") else ROOMS.index(room(module))


def imports(path: Path, *, top_level: bool = False) -> Iterator[str]:
    """Full names of what a file imports, inside its functions too unless only `top_level` is asked for.

    What only a type checker reads is left out.
    """
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    pending: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                if full != "litebert.__version__":  # the package's own __init__ says it, and is loaded anyway
                    yield full if is_module(full) else base
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            pending.extend(node.orelse)
        elif not (top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            pending.extend(ast.iter_child_nodes(node))


def is_module(name: str) -> bool:
    """Whether a dotted name is a module of ours, not a name inside one."""
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_every_module_lies_in_a_room_of_the_plan(path: Path) -> None:
    known = (*ROOMS, "__init__", "__main__")
    assert room(module_name(path)) in known, "a new room: say in ROOMS where it stands"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_upstream_never_imports_downstream(path: Path) -> None:
    ours = (name for name in imports(path) if name.split(".")[0] == "litebert")
    against_the_stream = sorted(name for name in ours if position(name) > position(module_name(path)))
    assert not against_the_stream, f"{module_name(path)} imports what lies downstream of it"


def test_modules_form_no_circle() -> None:
    graph = {module_name(path): {name for name in imports(path) if is_module(name)} for path in MODULES}
    for name, imported in graph.items():
        imported -= {name, "litebert"}
    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, naming the circle


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_text_and_data_know_no_torch_and_nobody_knows_the_peers(path: Path) -> None:
    roots = {name.split(".")[0] for name in imports(path)}
    assert not roots & PEERS or room(module_name(path)) == "bench"
    if room(module_name(path)) in ("text", "data"):
        assert "torch" not in roots


@pytest.mark.parametrize("path", sorted([*PACKAGE.glob("*.py"), *PACKAGE.glob("commands/*.py")]), ids=module_name)
def test_the_front_door_imports_nothing_heavy(path: Path) -> None:
    roots = {module.split(".")[0] for module in imports(path, top_level=True)}
    assert not roots & HEAVY


HELP = "import sys; sys.argv = ['litebert', '--help']; from litebert.cli import main; main()"


def test_help_loads_nothing_heavy() -> None:
    command = [sys.executable, "-X", "importtime", "-c", HELP]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "pretrain" in done.stdout
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not loaded & HEAVY


def test_help_answers_in_half_a_second() -> None:
    """Seconds of the processor, not of the clock: another process may hold the core. The best of five."""
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", HELP], capture_output=True, check=True, cwd=ROOT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5


def test_no_file_knows_this_machine() -> None:
    """Neither the home folder nor the place of the checkout is written anywhere in the tree."""
    list_files = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(list_files, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git checkout: the files of the tree are not known")
    places = [f"{place}/".encode() for place in (Path.home(), ROOT) if len(place.parts) > 1]
    files = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    assert not [file.name for file in files if any(place in file.read_bytes() for place in places)]
