"""What the docs show runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SNIPPETS = [
    (path.name, snippet)
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for snippet in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
]


@pytest.mark.parametrize(("name", "snippet"), SNIPPETS)
def test_snippet_runs(name, snippet):
    exec(compile(snippet, name, "exec"), {})


def test_there_are_snippets_and_files_named_in_the_readme_exist():
    assert SNIPPETS
    named = re.findall(r"(?:configs|docs|launch|benchmarks)/[\w/]+\.(?:py|md|sh)", (ROOT / "README.md").read_text())
    assert len(named) > 8
    for name in named:
        assert (ROOT / name).is_file(), name
