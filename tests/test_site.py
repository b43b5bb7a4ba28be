"""The documentation site: it builds without a warning, and its tables of names and commands are true."""

import inspect
import os
import pydoc
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from score_jax.builder.network_tables import AUTOENCODERS, NETWORKS
from score_jax.builder.options import keys_of
from score_jax.builder.processes import PROCESSES
from score_jax.builder.run_options import SECTIONS
from score_jax.builder.sections import METHODS
from score_jax.cli.config_files import path_of
from score_jax.cli.main import VERBS
from score_jax.evaluation.protocols import PROTOCOLS
from score_jax.jobs.convert import RELEASES
from score_jax.prediction.preconditioning import PRECONDITIONINGS
from tiny import ROOT

DOCS = ROOT / "docs"
CONSTRUCTED = {"process": PROCESSES, "network": {**NETWORKS, **AUTOENCODERS}, "prediction": PRECONDITIONINGS}
TABLES: Mapping[str, Mapping[str, object]] = {**METHODS, **CONSTRUCTED}


def arguments(makers: Mapping[str, Callable]) -> set[str]:
    return {name for maker in makers.values() for name in inspect.signature(maker).parameters}


KEYS = {
    **{section: set(keys_of(options)) for section, options in SECTIONS.items()},
    **{section: {key for options in table.values() for key in keys_of(options)} for section, table in METHODS.items()},
    **{section: arguments(makers) for section, makers in CONSTRUCTED.items()},
}
KEYS["prediction"] |= {"output", "label"}


def wrong_names(cell: str) -> Iterator[str]:
    """The keys, methods, functions, verbs, configs and releases of a cell of our names that do not exist."""
    methods: Mapping[str, object] = {}
    for token in re.findall(r"`([^`]+)`", cell):
        key = re.fullmatch(r"([a-z_]+)\.(\w+)(?:=(.*))?", token)
        if token.startswith("score_jax."):
            if pydoc.locate(token) is None:
                yield token
        elif key and key[1] in KEYS:
            section, name, value = key.groups()
            of_names = name in ("name", "preconditioning") and section in TABLES
            methods = TABLES[section] if of_names else {}
            if value not in methods if of_names else name not in KEYS[section]:
                yield token
        elif methods and re.fullmatch(r"\w+", token) and token.islower() and token not in methods:
            yield token
        elif token.startswith("score_jax "):
            yield from wrong_command(token)


def wrong_command(command: str) -> Iterator[str]:
    words = command.split()
    if words[1] not in VERBS:
        yield command
    for word in words[2:]:
        name, _, value = word.partition("=")
        known = {"--from": RELEASES, "--protocol": PROTOCOLS}.get(name)
        if known is not None and value not in known:
            yield command
        if name == "--config":
            path_of(value)


def our_cells() -> list[str]:
    rows = re.findall(r"^\|(.*)\|$", (DOCS / "coming_from.md").read_text(), re.MULTILINE)
    return [row.split(" | ")[1] for row in rows if " | " in row and not row.startswith("---")]


def test_every_name_of_ours_that_the_tables_show_exists():
    cells = our_cells()
    assert len(cells) > 60
    assert [name for cell in cells for name in wrong_names(cell)] == []


@pytest.mark.parametrize(
    "cell",
    [
        "`sampler.chrn`",
        "`sampler.name=huen`",
        "`process.name=ve`, `vpp`",
        "`score_jax.samplers.grids.karas`",
        "`score_jax trian`",
        "`score_jax convert --from=edn`",
        "`prediction.preconditioning=edn`",
    ],
)
def test_a_wrong_name_is_found(cell):
    assert list(wrong_names(cell))


def test_the_page_of_commands_is_what_the_parsers_print():
    """`python docs/cli_page.py` writes it. Spaces aside, which argparse sets differently from release to release."""
    made = runpy.run_path(str(DOCS / "cli_page.py"))["page"]()
    assert (DOCS / "cli.md").read_text().split() == made.split()


def build(folder, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """What the site is made of."""
    for name in ("mkdocs", "material", "mkdocstrings", "latex2mathml"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("clone")
    for name in ("docs", "score_jax", "configs", "benchmarks", "launch", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for path in filter(Path.is_file, ROOT.iterdir()):  # which README.md may link to
        shutil.copy(path, folder)
    return folder


@pytest.mark.slow
def test_the_site_builds_without_a_warning(copy):
    done = build(copy)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr[-3000:]
    site = copy / "build" / "site"
    score_sde = (site / "papers" / "score_sde.html").read_text()
    assert score_sde.count("<math") >= 6 and "arithmatex" not in score_sde and "\\frac" not in score_sde
    notebook = (site / "notebooks" / "lineage.html").read_text()
    assert notebook.count('src="data:image/png') >= 8 and "<math" in notebook and "\\mathbb" not in notebook
    reference = (site / "api" / "samplers.html").read_text()
    assert "score_jax.samplers.sample.sample" in reference and "highlight" in reference
    assert 'id="score_jax.evaluate"' in (site / "api" / "index.html").read_text()
    assert (site / "search" / "search_index.json").stat().st_size > 100_000
    assert "docs/" not in re.findall(r'href="([^"#:]*)', (site / "index.html").read_text())
    # Nothing is loaded from another host.
    pages = [path.read_text() for path in site.rglob("*.html")]
    assert len(pages) > 40
    loaded = re.compile(
        r'<(?:script|img|iframe)[^>]* src="https?:|<link[^>]* rel="(?:stylesheet|preload)"[^>]*"https?:'
    )
    assert not [found[0] for page in pages if (found := loaded.search(page))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("See [this](nothing.md).", "nothing.md"),
        ("See [this](data.md#nothing).", "nothing"),
        ("See [this](../score_jax/nothing.py).", "nothing.py"),
        ("$$\\left( 1$$", "the equation"),
        ("$$\\unheard_of$$", "the equation"),
    ],
)
def test_a_broken_page_fails(text, warning, copy):
    page = copy / "docs" / "faq.md"
    before = page.read_text()
    page.write_text(f"{before}\n{text}\n")
    (copy / "quick.yml").write_text(re.sub(r"  - mkdocstrings:\n(    .*\n)+", "", (copy / "mkdocs.yml").read_text()))
    done = build(copy, "--config-file", "quick.yml")
    page.write_text(before)
    assert done.returncode != 0 and warning in done.stderr, done.stderr[-2000:]
