"""The structure of the code: rooms import downward only, and everything stays small enough to read."""

import ast
import itertools
import json
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "score_jax"


def rooms_of(page: str) -> list[list[str]]:
    """The rooms in the table of docs/architecture.md, the first one imported by all."""
    table = page.partition("| room | holds |")[2].partition("\n\n")[0]
    return [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines()[2:]]


ROOMS = rooms_of((ROOT / "docs" / "architecture.md").read_text())
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
BESIDE_ROOMS = ("contract", "parity", "workdirs")
"""Folders of tests that are of no single room."""
ONLY_IN = {"flax": "models", "tensorflow_datasets": "data", "gradio": "app", "tensorflow": None, "torch": None}
MAX_FILE_LINES, MAX_FUNCTION_LINES = 500, 80


def imported_modules(tree: ast.AST) -> list[str]:
    """Every module that is imported anywhere, within functions too; `from a import b` counts as a.b."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            names += [f"{base}.{alias.name}" for alias in node.names]
    return names


def import_violations(room: str, tree: ast.AST) -> list[str]:
    found = []
    for name in imported_modules(tree):
        top, _, rest = name.partition(".")
        if name.startswith("."):
            found.append(f"relative import {name}")
        elif top == "score_jax":
            other = rest.split(".")[0]
            if other in LEVEL and LEVEL[other] > LEVEL[room]:
                found.append(f"{room} imports the later room {other}")
            elif other not in LEVEL and other not in ("", "__version__"):
                found.append(f"{name} is in no room")
        elif top in ONLY_IN and ONLY_IN[top] != room:
            found.append(f"{room} imports {top}")
    return found


def size_violations(source: str, tree: ast.AST) -> list[str]:
    lines = len(source.splitlines())
    found = [f"{lines} lines"] if lines > MAX_FILE_LINES else []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                found.append(f"{node.name} has {length} lines")
    return found


def violations(path: Path, source: str) -> list[str]:
    """What is wrong with a file of the package; `path` is relative to it."""
    tree = ast.parse(source)
    room = path.parts[0].removesuffix(".py")
    found = ["is named utils"] if path.stem in ("utils", "util", "helpers") else []
    if room != "__init__":
        found += [f"{room} is no room"] if room not in LEVEL else import_violations(room, tree)
    return found + size_violations(source, tree)


def test_every_file_keeps_the_rules():
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 30
    found = [
        f"{path.relative_to(PACKAGE)}: {violation}"
        for path in files
        for violation in violations(path.relative_to(PACKAGE), path.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source", "expected"),
    [
        (
            "processes/a.py",
            "from score_jax.samplers.ode import AdaptiveODE",
            "processes imports the later room samplers",
        ),
        ("processes/a.py", "from score_jax import builder", "processes imports the later room builder"),
        ("losses/a.py", "def f():\n    import score_jax.cli.main", "losses imports the later room cli"),
        ("likelihood/a.py", "from score_jax.data import loader", "likelihood imports the later room data"),
        ("cli/a.py", "from score_jax.kitchen import sink", "score_jax.kitchen.sink is in no room"),
        ("cli/a.py", "from . import main", "relative import ..main"),
        ("samplers/a.py", "from flax import linen as nn", "samplers imports flax"),
        ("data/a.py", "import tensorflow as tf", "data imports tensorflow"),
        ("convert/a.py", "def f():\n    import torch.nn", "convert imports torch"),
        ("training/a.py", "import tensorflow_datasets", "training imports tensorflow_datasets"),
        ("kitchen/a.py", "", "kitchen is no room"),
        ("models/utils.py", "", "is named utils"),
        ("models/a.py", "\n" * 501, "501 lines"),
        ("models/a.py", "def long():\n" + "    pass\n" * 80, "long has 81 lines"),
    ],
)
def test_a_violation_is_found(path: str, source: str, expected: str):
    assert violations(Path(path), source) == [expected]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/a.py", "from flax import linen as nn\nfrom score_jax.typing import Batch"),
        ("data/a.py", "def f():\n    import tensorflow_datasets as tfds"),
        ("cli/a.py", "import score_jax\nfrom score_jax import __version__, builder"),
        ("models/a.py", "def short():\n" + "    pass\n" * 79),
    ],
)
def test_what_is_allowed_passes(path: str, source: str):
    assert violations(Path(path), source) == []


def test_every_room_is_in_the_table():
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert found - {"__init__"} == set(LEVEL)


def test_folders_of_tests_mirror_the_rooms():
    folders = [path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))]
    assert len(folders) > 10
    assert not [name for name in folders if name not in LEVEL and name not in BESIDE_ROOMS]
    alone = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    assert not alone & {room for room in LEVEL if (PACKAGE / room).is_dir()}


def test_names_of_test_files_are_unique():
    """pytest imports them by their names alone."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py")]
    assert len(names) > 100
    assert not {name for name in names if names.count(name) > 1}


def test_every_name_is_defined():
    """The linter is told to pass over undefined names, since shapes in jaxtyping's strings look like them: outside of
    strings there must be none."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F821", "--output-format=json", "."]
    found = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout)
    wrong = []
    for path, findings in itertools.groupby(found, key=lambda finding: finding["filename"]):
        strings = _strings_of(Path(path))
        for finding in findings:
            place = (finding["location"]["row"], finding["location"]["column"] - 1)
            if not any(start <= place < end for start, end in strings):
                wrong.append(f"{path}:{place[0]}: {finding['message']}")
    assert not wrong


def _strings_of(path):
    """Where the strings of a file begin and end, as (line, column)."""
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    return [(token.start, token.end) for token in tokens if token.type == tokenize.STRING]
