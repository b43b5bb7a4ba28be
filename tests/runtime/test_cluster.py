"""Finding the other processes of a job, and what is said when one is gone."""

import jax
import pytest

from score_jax.errors import InputError
from score_jax.runtime import cluster

EXPLICIT = {"JAX_COORDINATOR_ADDRESS": "host:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}


@pytest.mark.parametrize(
    ("environment", "has_tpu", "expected"),
    [
        ({}, False, None),
        (EXPLICIT, False, "jax"),
        (EXPLICIT | {"SLURM_STEP_NUM_TASKS": "2"}, True, "jax"),
        ({"SLURM_STEP_NUM_TASKS": "16"}, False, "slurm"),
        ({"SLURM_STEP_NUM_TASKS": "1"}, False, None),
        ({"SLURM_NTASKS": "16"}, False, None),  # the batch script itself
        ({"OMPI_COMM_WORLD_SIZE": "4"}, False, "ompi"),
        ({}, True, "tpu"),
        ({"JAX_PLATFORMS": "tpu,cpu"}, True, "tpu"),
        ({"JAX_PLATFORMS": "cpu"}, True, None),
    ],
)
def test_the_environment_shows_who_started_the_process(environment, has_tpu, expected):
    assert cluster.launcher(environment, has_tpu=has_tpu) == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"JAX_COORDINATOR_ADDRESS": "host:1"}, "without JAX_NUM_PROCESSES and JAX_PROCESS_ID"),
        (EXPLICIT | {"JAX_PROCESS_ID": "2"}, "from 0 on"),
        (EXPLICIT | {"JAX_NUM_PROCESSES": "two"}, "from 0 on"),
        (EXPLICIT | {"JAX_COORDINATOR_ADDRESS": "host"}, "HOST:PORT"),
    ],
)
def test_bad_variables_are_refused(environment, message):
    with pytest.raises(InputError, match=message):
        cluster.join(environment)


def test_a_process_alone_joins_nothing():
    cluster.join({})
    assert not cluster.is_joined() and cluster.name_here() == ""


def test_only_what_another_process_may_have_caused_is_said_so():
    gone = jax.errors.JaxRuntimeError("UNKNOWN: Gloo all-reduce failed: Connection reset by peer\nmore")
    assert "another process of this job ended" in cluster.lost_peer(gone)
    assert "\n" not in cluster.lost_peer(gone)
    assert cluster.lost_peer(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")) == ""
    assert "another process of this job ended" in cluster.lost_peer(
        ValueError("UNKNOWN: Gloo AllGather failed: closed")
    )
    assert cluster.lost_peer(ValueError("a bug")) == ""
