"""Two processes find all that they compiled together when they start again, on a machine that is new."""

import re
import shutil

import pytest
from processes import finished, local

from tiny import TINIEST, write_config

pytestmark = pytest.mark.slow

# With jax 0.10.1 the keys of a CPU's programs differ by process, and those of TPUs and GPUs do not. Here they are equal
# too; programs for one process's own devices are not counted, which the first process alone writes.
AS_ON_TPUS = """

from collections import Counter

import jax
from jax._src import cache_key, compiler

jax.config.update("jax_enable_compilation_cache", True)
cache_key._hash_accelerator_config = cache_key._hash_devices
read, seen = compiler._cache_read, Counter()


def counted(name, key, options, backend, devices):
    found = read(name, key, options, backend, devices)
    if len(set(device.process_index for device in devices)) > 1:
        seen["wanted"] += 1
        seen["found"] += found[0] is not None
        print(f"programs: {seen['wanted']} wanted, {seen['found']} found.", flush=True)
    return found


compiler._cache_read = counted
"""


def test_a_second_run_on_new_machines_compiles_nothing_on_any_process(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    config, place = write_config(tmp_path, TINIEST), tmp_path / "bucket"
    config.write_text(config.read_text() + AS_ON_TPUS)
    words = (f"--config={config}", f"--workdir={tmp_path / 'run'}", f"--config.training.checkpoints={place}")
    first = finished(local("train", *words))
    assert len(list((place / "compiled").glob("*-cache"))) > 3
    for step in ("2", "4", "6"):
        shutil.rmtree(place / step, ignore_errors=True)
    shutil.rmtree(tmp_path / "run")
    second = finished(local("train", *words))
    for process in (0, 1):
        pattern = rf"\[{process}\] programs: (\d+) wanted, (\d+) found"
        wanted, found = map(int, re.findall(pattern, second)[-1])
        assert wanted == found > 3
        wanted, found = map(int, re.findall(pattern, first)[-1])
        assert found < wanted / 2, first
