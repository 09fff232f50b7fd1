"""What a user gets who installs litebert: the model is inside, and answers from anywhere, without a network."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ANSWER = """
import litebert, pathlib, sys
assert pathlib.Path(litebert.__file__).is_relative_to(sys.argv[1]), litebert.__file__
texts = ["A man plays the guitar.", "Somebody makes music.", "The bank raised its interest rates."]
one, same, other = (answer.embedding for answer in litebert.load("litebert-small").predict(texts))
dot = lambda a, b: sum(x * y for x, y in zip(a, b))
print(len(one), dot(one, one), dot(one, same) > dot(one, other) + 0.1)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a wheel of this tree installs."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("litebert", "models"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("litebert-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_it_answers_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LITEBERT")}
    environment |= {"PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-P", "-c", ANSWER, str(installed)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    width, length, ordered = done.stdout.split()
    assert (width, ordered) == ("384", "True")
    assert float(length) == pytest.approx(1, abs=1e-4)


def test_everything_that_is_read_at_run_time_is_inside(installed: Path) -> None:
    def data(root: Path) -> set[Path]:
        files = (path for path in root.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
        return {path.relative_to(root) for path in files}

    small = Path("models") / "litebert-small"
    models = {small / path for path in data(ROOT / small)}
    assert data(installed / "litebert") == data(ROOT / "litebert") | models
