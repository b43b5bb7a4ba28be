"""The bad one of two processes is named by both, before anything is trained."""

import socket
import subprocess
import sys

import pytest
from processes import finished, local

from score_jax.runtime.exit_codes import AGAIN, MEND
from tiny import ROOT, environment, write_config

pytestmark = pytest.mark.slow


def config_of(folder, place):
    """The config of a run whose second process has another place for its checkpoints."""
    path = write_config(folder)
    places = f'[{str(folder / "checkpoints")!r}, {str(place)!r}][int(os.environ["JAX_PROCESS_ID"])]'
    changed = path.read_text().replace("steps=6", f"steps=6, checkpoints={places}")
    path.write_text(changed.replace("import base", "import base\nimport os"))
    return path


def test_a_place_that_one_process_cannot_write_is_named_before_training(tmp_path):
    (tmp_path / "file").touch()
    config = config_of(tmp_path, tmp_path / "file" / "checkpoints")
    before = set(tmp_path.rglob("*"))
    output = finished(local("train", f"--config={config}", f"--workdir={tmp_path / 'run'}"), code=MEND)
    named = f"process 1 ({socket.gethostname()}): checkpoints: cannot write"
    for process in range(2):
        assert f"[{process}] score_jax train (process {process} of 2): {named}" in output
    assert "process 0 (" not in output.replace("(process 0 of 2)", "") and set(tmp_path.rglob("*")) == before


def test_places_that_the_processes_do_not_share_are_named(tmp_path):
    (tmp_path / "other").mkdir()
    config = config_of(tmp_path, tmp_path / "other" / "checkpoints")
    (tmp_path / "checkpoints").mkdir()
    output = finished(local("preflight", f"--config={config}", f"--workdir={tmp_path / 'run'}"), code=MEND)
    assert (
        f"[0]   one place    FAILED  process 1 ({socket.gethostname()}): does not see in {tmp_path / 'other'}" in output
    )
    assert not list((tmp_path / "checkpoints").iterdir()) and not list((tmp_path / "other").iterdir())


WRONG = """
import sys, time
from pathlib import Path
import jax
from score_jax.cli.config_files import config_of_file
from score_jax.cli.main import _code_of
from score_jax.jobs.preflight import preflight
from score_jax.jobs.preflight_checks import known_product
from score_jax.runtime import cluster
from score_jax.runtime.answers import answers

cluster.join()
bad = jax.process_index() == 1
if bad:
    time.sleep(2)
print("late", answers("late", f"of {jax.process_index()}", 1.0), answers("timely", f"of {jax.process_index()}", 20.0))
product = (lambda factor, start: -known_product(factor, start)) if bad else known_product
report = preflight(config_of_file(sys.argv[1]), Path(sys.argv[2]), product=product)
try:
    report.require()
except Exception as error:
    cluster.leave_failed(*_code_of("preflight", error))
"""


def test_a_process_whose_device_is_wrong_is_named_and_a_late_one_is_not_waited_for(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRONG, str(write_config(tmp_path)), str(tmp_path / "run")],
            cwd=ROOT,
            env=environment(1)
            | {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    for number, (process, output) in enumerate(zip(processes, outputs, strict=True)):
        assert process.returncode == AGAIN, output
        assert "late ['of 0', None] ['of 0', 'of 1']" in output
        bad = f"process 1 ({socket.gethostname()}): devices: a known product of matrices is wrong in "
        assert f"score_jax preflight (process {number} of 2): {bad}" in output
