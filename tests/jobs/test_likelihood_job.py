"""Likelihoods of a data set under a model that is exact, by all methods; sharded, resumed, in several processes."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_experiment import COUNT, StopAfter, experiment, log_density, source

from score_jax import builder
from score_jax.arrays import fold_in_each, keys_per_example
from score_jax.codecs.pixels import Pixels
from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.jobs import likelihood
from score_jax.jobs.likelihood_summary import headline
from score_jax.likelihood.bits import bits_per_dim
from score_jax.runtime.parts import Interrupted
from score_jax.runtime.sharding import make_mesh
from tiny import in_two_processes

WIDE = {"name": "ve", "sigma_min": 0.01, "sigma_max": 500.0}
"""Enough noise that the prior's mean, which is not the data's, does not matter."""
IMAGES = np.stack([row["image"] for row in source().rows])


def measured(built, **kwargs):
    return likelihood.measure(built, {}, make_mesh(), source(), **kwargs)


@pytest.fixture(scope="module")
def by_ode():
    return measured(experiment())


@pytest.mark.parametrize("value_range", [(-1.0, 1.0), (0.0, 1.0)])
def test_the_ode_gives_each_image_the_density_of_its_dequantised_form(value_range, by_ode):
    """The range of the model's images changes nothing: 256 levels are 8 bits."""
    result = by_ode if value_range == (-1.0, 1.0) else measured(experiment(WIDE, value_range))
    keys = fold_in_each(fold_in_each(keys_per_example(jax.random.key(0), jnp.arange(COUNT)), 1), 0)
    x = Pixels(*value_range).dequantize(keys, jnp.asarray(IMAGES))
    noise = 0.0 if value_range == (-1.0, 1.0) else 0.01  # that of VE at t_min
    exact = bits_per_dim(log_density(x, value_range, noise), x[0].size, Pixels(*value_range).log_bin_width)
    np.testing.assert_allclose(result.bits_per_dim, exact, atol=5e-3)
    np.testing.assert_array_equal(result.columns["index"], np.arange(COUNT))
    assert result.failed.size == 0
    summary = result.summary
    np.testing.assert_allclose(headline(summary)[0], np.mean(result.bits_per_dim), rtol=1e-6)
    assert summary["conventions"]["offset_bits_per_dim"] == {-1.0: 7.0, 0.0: 8.0}[value_range[0]]
    assert summary["count"] == COUNT
    assert json.dumps(summary)


@pytest.mark.parametrize(("process", "slack"), [("vp", 0.15), ("vp_chain", 2.0)])
def test_the_bounds_are_above_the_exact_value_and_near_it(process, slack):
    """One model, three methods. DDPM's chain begins with steps too long for data of this width."""
    process = {"name": process, "num_levels": 1000} if process == "vp_chain" else process
    exact = headline(measured(experiment(process, truncation="bound")).summary)[0]
    for method in ("vlb", "bound"):
        bound = headline(measured(experiment(process, name=method)).summary)[0]
        assert -0.05 < bound - exact < slack, (method, bound, exact)


def test_an_image_is_the_same_alone_and_in_any_batch(by_ode):
    other = measured(experiment(batch_size=16, num_examples=COUNT - 1))
    np.testing.assert_allclose(other.bits_per_dim, by_ode.bits_per_dim[:-1], atol=1e-5)


@pytest.mark.parametrize("method", ["ode", "vlb"])
def test_mixed_numbers_ask_the_model_in_float32_and_sum_in_float64(method, x64):
    asked = []

    class Watched(builder.Experiment):
        def predictor(self, params, *, guided=False):
            exact = experiment().predictor(params)

            def predict(x, t, conditions):
                asked.extend([x.dtype, t.dtype])
                return exact(x, t, conditions)

            return predict

    built = experiment(name=method, dtype="mixed", **({"num_levels": 10} if method == "vlb" else {}))
    built = Watched(**{field.name: getattr(built, field.name) for field in dataclasses.fields(built)})
    mixed = measured(built)
    assert set(asked) == {jnp.dtype("float32")}
    assert mixed.bits_per_dim.dtype == np.float64
    double = measured(experiment(name=method, dtype="float64", **({"num_levels": 10} if method == "vlb" else {})))
    np.testing.assert_allclose(mixed.bits_per_dim, double.bits_per_dim, atol=1e-3)
    assert (mixed.bits_per_dim != double.bits_per_dim).any()


@pytest.mark.slow
@pytest.mark.parametrize("process", ["vp", "flow", "cosine", {"name": "vp_chain", "num_levels": 1000}])
def test_a_grid_agrees_with_adaptive_steps(process):
    grid = measured(experiment(process, control="grid", solver="adams", num_steps=32, sensitivity_batches=1))
    np.testing.assert_allclose(grid.bits_per_dim, measured(experiment(process)).bits_per_dim, atol=2e-3)
    assert grid.summary["nfe_max"] == 1 + 32
    assert 0 < grid.summary["solver_error"]["mean"] < 0.02
    assert 0 < grid.summary["solver_error"]["largest"] < 0.02
    sensitivity = grid.summary["tolerance_sensitivity"]
    assert sensitivity["num_steps"] == 64
    assert 0 < sensitivity["largest_change"] < 2e-3


def test_errors_from_every_source_are_told():
    result = measured(
        experiment(divergence="gaussian", probes=4, importance_samples=3, sensitivity_batches=1, rtol=1e-3, atol=1e-3)
    )
    errors = result.summary["estimator_standard_error"]
    assert 0 < errors["probes"] < 0.1
    assert 0 < errors["dequantisation"] < 0.1
    sensitivity = result.summary["tolerance_sensitivity"]
    assert sensitivity["count"] == 8
    assert 0 < sensitivity["largest_change"] < 0.05
    assert result.columns["log_prob"].shape == (COUNT, 3)
    weighted = result.summary["bpd_ode_uniform_iw3"]
    assert weighted < result.summary["bpd_ode_uniform"]


def test_an_interrupted_measurement_goes_on_where_it_was(tmp_path, by_ode):
    with pytest.raises(Interrupted, match=f"16 of {COUNT} examples are done"):
        measured(experiment(), parts=tmp_path / "parts", stop=StopAfter(2))
    (folder,) = (tmp_path / "parts").iterdir()
    kept = folder / "000000008.npz"
    with np.load(kept) as arrays:
        marked = dict(arrays) | {"bits_per_dim": np.full(8, 99.0)}
    # Another measurement does not touch what is kept of this one.
    other = measured(experiment(seed=1), parts=tmp_path / "parts")
    likelihood.save(tmp_path / "other", other, {})
    assert other.bits_per_dim.max() < 99
    assert list((tmp_path / "parts").iterdir()) == [folder]

    resumed = measured(experiment(), parts=tmp_path / "parts")
    np.testing.assert_array_equal(resumed.bits_per_dim, by_ode.bits_per_dim)
    np.savez(kept, **marked)
    again = measured(experiment(), parts=tmp_path / "parts")
    assert (again.bits_per_dim == 99).sum() == 8  # it was read, not computed
    for damaged in (b"no archive", kept.read_bytes()[:-100]):
        kept.write_bytes(damaged)
        with pytest.raises(InputError, match="is damaged"):
            measured(experiment(), parts=tmp_path / "parts")
    path = likelihood.save(tmp_path, again, {"step": 3})
    assert json.loads(path.read_text())["step"] == 3
    assert not (tmp_path / "parts").exists()


TWO_PROCESSES = """
import sys
import jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
import numpy as np
from pathlib import Path
from gaussian_experiment import experiment, source
from score_jax.jobs import likelihood
from score_jax.runtime.sharding import make_mesh
result = likelihood.measure(experiment(), {}, make_mesh(), source(), parts=Path(sys.argv[3]) / "parts")
np.save(Path(sys.argv[3]) / f"bits_{sys.argv[2]}.npy", result.bits_per_dim)
"""


@pytest.mark.slow
def test_two_processes_agree_with_one(tmp_path, by_ode):
    in_two_processes(TWO_PROCESSES, tmp_path, __file__)
    for i in range(2):
        np.testing.assert_allclose(np.load(tmp_path / f"bits_{i}.npy"), by_ode.bits_per_dim, atol=1e-5)


def test_what_has_no_likelihood_is_refused():
    with pytest.raises(InputError, match="variance-preserving"):
        measured(experiment("ve", name="bound"))
    config = base.get_config()
    base.replace_section(config, "process", name="ve_chain", sigma_min=0.01, sigma_max=1.0, num_levels=10)
    config.prediction.update(output="score", label="descending_index")
    config.sampler.name = "langevin"
    config.data.update(image_size=8, channels=1)
    with pytest.raises(InputError, match="no score between them, so it has no ODE.*--method=vlb"):
        measured(builder.experiment(config))
    for key, value, message in (
        ("name", "odee", "Did you mean 'ode'"),
        ("truncation", "some", "Unknown likelihood.truncation"),
        ("importance_samples", 0, "give at least 1"),
        ("control", "each", "Unknown likelihood.control"),
        ("probes", 0, "give at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            experiment(**{key: value})
