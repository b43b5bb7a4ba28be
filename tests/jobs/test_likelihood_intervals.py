"""The intervals of a likelihood's summary cover what they should, with few examples and few probes."""

import numpy as np
import pytest
from gaussian_experiment import experiment

from score_jax.builder.likelihood_options import VLB, Exact
from score_jax.errors import InputError
from score_jax.jobs.likelihood_summary import of_ode

DIM = int(np.prod(experiment().image_shape))


def summary_of(rng, examples, probes, built):
    """Of a model whose every log-probability is 0, with an error of 1 nat by each probe and none from elsewhere."""
    parts = rng.normal(size=(examples, 1, probes))
    log_prob = parts.mean(axis=2)
    columns = {
        "log_prob": log_prob,
        "bits_per_dim": -log_prob[:, 0] / DIM / np.log(2),
        "bits_per_dim_iw": -log_prob[:, 0] / DIM / np.log(2),
        "probe_standard_error": parts.std(axis=2, ddof=1) / probes**0.5
        if probes > 1
        else np.full_like(log_prob, np.nan),
        "nfe": np.ones((examples, 1)),
        "solver_error": np.full((examples, 1), np.nan),
    }
    return of_ode(columns, None, built)


@pytest.mark.parametrize(("examples", "probes"), [(1, 2), (1, 3), (4, 2), (2, 3), (64, 2)])
def test_intervals_cover_95_times_in_100(examples, probes):
    rng, built = np.random.default_rng(0), experiment(divergence="gaussian", probes=probes)
    of_examples, of_probes = [], []
    for _ in range(1000):
        summary = summary_of(rng, examples, probes, built)
        if examples > 1:
            low, high = summary["bpd_ode_uniform_interval_95"]
            of_examples.append(low < 0 < high)
        width = summary["estimator_standard_error"]["probes_half_width_95"]
        of_probes.append(abs(summary["bpd_ode_uniform"]) < width)
    # Three standard errors of 1000 are 0.02; the degrees of freedom of all examples together are on the safe side.
    assert 0.93 < np.mean(of_probes) <= 1.0
    assert examples == 1 or 0.93 < np.mean(of_examples) < 0.97


def test_what_is_not_known_is_null():
    summary = summary_of(np.random.default_rng(0), 1, 1, experiment())
    assert summary["bpd_ode_uniform_interval_95"] is None and summary["bpd_ode_uniform_standard_error"] is None
    assert summary["solver_error"] is None
    errors = summary["estimator_standard_error"]
    assert errors["probes"] is errors["probes_half_width_95"] is errors["probes_degrees_of_freedom"] is None


@pytest.mark.parametrize(
    ("options", "key"),
    [(Exact, "batch_size"), (VLB, "num_levels"), (Exact, "num_steps"), (Exact, "importance_samples")],
)
@pytest.mark.parametrize("value", [0, -3])
def test_counts_below_one_are_refused(options, key, value):
    with pytest.raises(InputError, match=f"likelihood.{key}={value}: give at least 1."):
        options(**{key: value})


@pytest.mark.parametrize("key", ["num_examples", "sensitivity_batches"])
def test_counts_below_zero_are_refused(key):
    with pytest.raises(InputError, match=f"likelihood.{key}=-1: give at least 0."):
        Exact(**{key: -1})
    Exact(**{key: 0})
