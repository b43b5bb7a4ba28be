"""The notebooks run from top to bottom, and what is stored of them is small."""

from pathlib import Path

import pytest

from tiny import environment

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_notebooks_are_small_and_hold_their_outputs():
    nbformat = pytest.importorskip("nbformat", reason="the extra [dev] has nbformat")
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        assert path.stat().st_size < 300_000, path
        codes = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in codes) and any(cell.outputs for cell in codes), path


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path):
    nbclient = pytest.importorskip("nbclient", reason="the extra [dev] has nbclient")
    nbformat = pytest.importorskip("nbformat", reason="the extra [dev] has nbformat")
    pytest.importorskip("ipykernel", reason="the extra [dev] has ipykernel")
    client = nbclient.NotebookClient(nbformat.read(path, 4), timeout=500, kernel_name="python3")
    client.execute(cwd=str(path.parent), env=environment() | {"MPLBACKEND": "agg"})
