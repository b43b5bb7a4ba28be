"""`pytest --covered=85`: which lines of score_jax ran, and failure where they are less than 85 % of all.

slipcover puts a call before each line, or on Python 3.12 and later asks Python to tell of each line once. A tracer,
which Python 3.11 calls at every line of every function, makes tracing a network half as slow again. The table and the
percentage are coverage.py's.
"""

import io
import sys
from collections import defaultdict
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

import coverage
import pytest
from slipcover import Slipcover

PACKAGE = Path(__file__).resolve().parents[1] / "score_jax"

_NEVER = 2**31 - 1
"""Runs of a line after which slipcover would exchange the function for one that tells no more."""


class Lines:
    """A finder of modules that has slipcover see those of score_jax, and a plugin of pytest that reports."""

    def __init__(self, at_least: float) -> None:
        self.at_least = at_least
        self.percent = 0.0
        self.table = io.StringIO()
        self._slipcover = Slipcover(d_miss_threshold=_NEVER)
        self._ran: dict[str, set[int]] = defaultdict(set)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The module as the next finder loads it, which is jaxtyping's, with its code seen by slipcover."""
        if name.partition(".")[0] != PACKAGE.name:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            plain = spec.loader.get_code
            spec.loader.get_code = lambda module: self._slipcover.instrument(plain(module))
        return spec

    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of pytest-xdist is done: its lines are among those that ran."""
        self._add(getattr(node, "workeroutput", {}).get("lines", {}))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        own = self._slipcover.get_coverage()["files"]
        lines = {str(Path(name).resolve()): seen["executed_lines"] for name, seen in own.items()}
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["lines"] = lines
            return
        self._add(lines)
        self._add({str(path): [] for path in PACKAGE.rglob("*.py")})
        report = coverage.Coverage(data_file=None, config_file=False)
        report.get_data().add_lines(self._ran)
        self.percent = report.report(file=self.table)
        if self.percent < self.at_least and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("lines that ran")
        terminalreporter.write(self.table.getvalue())
        if self.percent < self.at_least:
            terminalreporter.write_line(f"FAILED: {self.percent:.2f} % of the lines ran, not {self.at_least:g} %.")

    def _add(self, lines: dict[str, list[int]]) -> None:
        for name, numbers in lines.items():
            self._ran[name].update(numbers)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--covered", type=float, metavar="PERCENT", help="count lines, and fail where fewer ran")


def pytest_configure(config: pytest.Config) -> None:
    at_least = config.getoption("covered")
    if at_least is not None:
        lines = Lines(at_least)
        sys.meta_path.insert(0, lines)
        config.pluginmanager.register(lines)
