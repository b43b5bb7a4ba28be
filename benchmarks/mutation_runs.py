"""Runs tests on changed copies of the package, for `mutation.py`: which tests, in which order, and what they say.

Tests run in forks of this process, which has imported what they need but nothing of score_jax.
"""

import ast
import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(__file__).resolve().parents[1] / ".cache" / "mutation" / "jax")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

# What tests import, so that their forks need not; no device is asked for before they are made.
import diffrax  # noqa: F401
import einops  # noqa: F401
import flax.linen  # noqa: F401
import jax.numpy  # noqa: F401
import optax  # noqa: F401
import optimistix  # noqa: F401
import pytest
import scipy.interpolate
import scipy.optimize
import scipy.stats  # noqa: F401
from mutants import Mutant

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".cache" / "mutation"
PACKAGES = ("processes", "prediction", "losses", "samplers", "guidance", "likelihood", "evaluation")
FAST = 8.0
"""Seconds up to which tests of another room are run."""
SLACK, FACTOR = 30, 5
"""Seconds, and times of the unchanged tests, after which a run is given up."""


class Found(NamedTuple):
    """What became of a mutant: "killed", "survived" or "equivalent"; by which test, in how many seconds."""

    mutant: Mutant
    verdict: str
    by: str = ""
    seconds: float = 0.0


def copied(folder: Path) -> Path:
    """A copy of what the tests need, in which files may be changed."""
    skipped = shutil.ignore_patterns("__pycache__")
    for name in ("score_jax", "configs", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def _imports(path: Path) -> set[str]:
    """The modules that a file names in its imports, whether or not they are packages' members."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tests_by_module() -> dict[str, list[str]]:
    """The files of tests of each file of `PACKAGES`, not yet in the order of their times."""
    helpers = {path.stem: _imports(path) for path in (ROOT / "tests").glob("*.py")}
    files = {str(path.relative_to(ROOT)): _imports(path) for path in (ROOT / "tests").glob("*/test_*.py")}
    for names in files.values():
        names |= set().union(*(helpers[name] for name in names & helpers.keys()))
    inside = {path: _imports(path) for path in (ROOT / "score_jax").glob("*/*.py")}
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / "score_jax" / package).glob("*.py")):
            module = f"score_jax.{package}.{path.stem}"
            users = {f"score_jax.{user.parent.name}.{user.stem}" for user, names in inside.items() if module in names}
            direct = [file for file, names in files.items() if module in names]
            through = [file for file, names in files.items() if users & names and _room(file) == package]
            near = [file for file in direct if _room(file) in PACKAGES]
            if not any(_room(file) == package for file in near):
                near += through
            found[str(path.relative_to(ROOT))] = sorted(set(near or direct))
    return found


def _room(file: str) -> str:
    return file.split("/")[1]


def _fork(copy: Path, arguments: list[str], output: Path) -> int:
    """The id of a process that runs pytest in the copy.

    Raises:
      SystemExit: the package itself has been imported here; the fork would test that one in place of the copy.
    """
    if "score_jax" in sys.modules:
        raise SystemExit("score_jax was imported before the tests of a changed copy of it: import nothing that does")
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        with output.open("w") as stream:
            for descriptor in (1, 2):
                os.dup2(stream.fileno(), descriptor)
        os.chdir(copy)
        os.environ.pop("XLA_FLAGS", None)  # conftest.py's are the tests'
        os.environ["PYTHONPATH"] = sys.path[0] = str(copy)
        code = int(pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", "-W", "ignore", *arguments]))
    finally:
        sys.stdout.flush()
        os._exit(code)


def wait(child: int, limit: float) -> int | None:
    """Its exit code; None where it had to be stopped."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _hash(files: list[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()


def measured_times(copy: Path, files: set[str]) -> dict[str, float]:
    """Seconds that each file of tests takes, once all of them have passed on the unchanged copy; kept between runs."""
    common = [*(ROOT / "score_jax").rglob("*.py"), *(ROOT / "configs").rglob("*.py"), *(ROOT / "tests").glob("*.py")]
    package, record = _hash(common), CACHE / "times.json"
    known = json.loads(record.read_text()) if record.is_file() else {}
    keys = {file: package + _hash([ROOT / file]) for file in sorted(files)}
    missing = [file for file, key in keys.items() if known.get(file, [""])[0] != key]
    if missing:
        print(f"the tests of the unchanged package: {len(missing)} files", file=sys.stderr, flush=True)
        report = copy / "unchanged.xml"
        child = _fork(copy, [f"--junitxml={report}", *missing], copy / "output.txt")
        if wait(child, 3600) != 0:
            raise SystemExit("Tests fail on the unchanged package:\n" + (copy / "output.txt").read_text()[-3000:])
        seconds = dict.fromkeys(missing, 0.0)
        for case in ElementTree.parse(report).iter("testcase"):
            seconds["/".join(case.attrib["classname"].split(".")[:3]) + ".py"] += float(case.attrib["time"])
        known |= {file: [keys[file], round(value, 2)] for file, value in seconds.items()}
        record.write_text(json.dumps(known, indent=1))
    return {file: known[file][1] for file in files}


@contextlib.contextmanager
def changed(copy: Path, mutant: Mutant) -> Iterator[None]:
    """The mutant in the copy, and after it the original; no bytecode of either is left."""
    path = copy / mutant.file
    original = path.read_text()
    for text in (mutant.source, original):
        path.write_text(text)
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()
        if text is mutant.source:
            yield


def verdict(copy: Path, mutant: Mutant, tests: list[str], usual: float) -> Found:
    """Runs the tests on the mutant until one fails."""
    began, output = time.monotonic(), copy / "output.txt"
    with changed(copy, mutant):
        code = wait(_fork(copy, ["-x", "--tb=no", "-rfE", *tests], output), SLACK + FACTOR * usual)
    seconds = round(time.monotonic() - began, 1)
    if code == 0:
        return Found(mutant, "survived", seconds=seconds)
    if code not in (None, 1, 2):
        raise SystemExit(f"pytest ended with {code} at {mutant}:\n" + output.read_text()[-3000:])
    lines = [line for line in output.read_text().splitlines() if line.startswith(("FAILED", "ERROR"))]
    by = "time" if code is None else (lines or ["collection"])[0].split(" - ")[0]
    return Found(mutant, "killed", by, seconds)


def in_order(tests: list[str], mutant: Mutant, times: dict[str, float]) -> list[str]:
    """Those of the mutant's room, the fastest first, then the fast ones of other rooms."""
    room = mutant.file.split("/")[1]
    near = [file for file in tests if _room(file) == room or times[file] < FAST] or tests
    return sorted(near, key=lambda file: (_room(file) != room, times[file]))
