"""What the docs show runs."""

import doctest
import importlib
import pydoc
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SNIPPETS = [
    (path.name, snippet)
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for snippet in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "snippet"), SNIPPETS)
def test_snippet_runs(name, snippet):
    exec(compile(snippet, name, "exec"), {})


def test_examples_of_any_framework_measure_in_three_lines():
    measured = [snippet.partition("# measured\n")[2] for name, snippet in SNIPPETS if name == "python.md"]
    counts = [len(lines.split("\n")) - 1 for lines in measured if lines]
    assert counts == [3, 3, 3, 3]


def test_there_are_snippets_and_files_named_in_the_readme_exist():
    assert SNIPPETS
    named = re.findall(r"(?:configs|docs|launch|benchmarks)/[\w/]+\.(?:py|md|sh)", (ROOT / "README.md").read_text())
    assert len(named) > 8
    for name in named:
        assert (ROOT / name).is_file(), name


PAGES = sorted((ROOT / "docs" / "papers").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_functions_and_tests_that_a_page_names_exist(page):
    """Dotted names are importable; files are there; parity cases have a handler or are networks."""
    text = page.read_text()
    names = re.findall(r"`(score_jax(?:\.\w+)+)`", text)
    assert len(names) > 3
    for name in names:
        assert pydoc.locate(name) is not None, name
    for file in re.findall(r"`((?:tests|benchmarks|configs)/[\w/]+\.py)`", text):
        assert (ROOT / file).is_file(), file


EXAMPLES = (
    "score_jax.api.evaluate",
    "score_jax.api.likelihood",
    "score_jax.api.sample",
    "score_jax.codecs.embedding_codes",
    "score_jax.codecs.pixels",
    "score_jax.conditioning.dropout",
    "score_jax.evaluation.frechet",
    "score_jax.evaluation.memorisation",
    "score_jax.guidance.classifier_free",
    "score_jax.guidance.embedding_paths",
    "score_jax.likelihood.bits",
    "score_jax.likelihood.ode",
    "score_jax.losses.contrastive",
    "score_jax.prediction.coordinates",
    "score_jax.prediction.predictor",
    "score_jax.processes.gaussian",
    "score_jax.samplers.codes",
    "score_jax.samplers.sample",
    "score_jax.training.sharpness",
    "score_jax.training.step",
)


@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_of_docstrings_print_what_they_say(module):
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted and not found.failed
