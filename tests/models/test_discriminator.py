"""The patch discriminator: what it sees, how it begins, and its running statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.models.discriminators.patch import BatchNorm, PatchDiscriminator
from score_jax.runtime.sharding import make_mesh, over_batch, replicated

X = jax.random.normal(jax.random.key(0), (4, 16, 16, 3))


@pytest.mark.parametrize(("num_layers", "size"), [(1, 126), (2, 62), (3, 30), (4, 14)])
def test_logits_are_of_patches(num_layers, size):
    """Images of 256 x 256 have 30 x 30 patches of 70 x 70 (Isola et al. 2017)."""
    network = PatchDiscriminator(8, num_layers)
    images = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    logits, _ = jax.eval_shape(lambda key, x: network.init_with_output(key, x, True), jax.random.key(0), images)
    assert logits.shape == (1, size, size, 1)


def test_a_logit_sees_a_patch_of_70_pixels():
    network, images = PatchDiscriminator(4), jnp.zeros((1, 96, 96, 1))
    variables = jax.jit(lambda key: network.init(key, images, True))(jax.random.key(0))

    def one_logit(x):
        return network.apply(variables, x, False)[0, 4, 4, 0]

    gradient = jax.jit(jax.grad(one_logit))(jnp.ones_like(images))
    seen = np.flatnonzero(np.abs(gradient).sum((0, 2, 3)))
    assert seen[-1] - seen[0] + 1 == 70 and len(seen) == 70


def test_width_doubles_up_to_eight_times():
    network = PatchDiscriminator(2, 5)
    images = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    params = jax.eval_shape(lambda key, x: network.init(key, x, True), jax.random.key(0), images)["params"]
    assert [params[f"conv_{i}"]["kernel"].shape[-1] for i in range(1, 6)] == [4, 8, 16, 16, 16]
    assert {name for name in params if "bias" in params[name]} == {"conv_in", "conv_out"} | {
        f"norm_{i}" for i in range(1, 6)
    }


def test_begins_as_the_original():
    network, images = PatchDiscriminator(32), jnp.zeros((1, 32, 32, 3))
    variables = jax.jit(lambda key: network.init(key, images, True))(jax.random.key(0))
    params = variables["params"]
    for name in ("conv_in", "conv_3", "conv_out"):
        kernel = params[name]["kernel"]
        assert float(kernel.std()) == pytest.approx(0.02, rel=0.1) and abs(float(kernel.mean())) < 2e-3
    assert float(params["norm_3"]["scale"].std()) == pytest.approx(0.02, rel=0.2)
    assert float(params["norm_3"]["scale"].mean()) == pytest.approx(1, abs=5e-3)
    assert (params["norm_3"]["bias"] == 0).all()
    bound = 1 / np.sqrt(16 * 3)
    assert 0.8 * bound < float(np.abs(params["conv_in"]["bias"]).max()) <= bound
    statistics = variables["batch_stats"]["norm_3"]
    assert (statistics["mean"] == 0).all() and (statistics["var"] == 1).all()


def test_statistics_are_of_the_biased_variance_and_run_with_the_unbiased_one(x64):
    """Two values, 0 and 2 d: variance d² over both, 2 d² unbiased."""
    deviation = np.array([3.0, 1e-3])
    x = jnp.asarray(np.stack([0 * deviation, 2 * deviation])).reshape(2, 1, 1, 2)
    variables = {
        "params": {"scale": jnp.array([1.0, 5.0]), "bias": jnp.array([0.0, 7.0])},
        "batch_stats": {"mean": jnp.array([10.0, 20.0]), "var": jnp.array([1.0, 2.0])},
    }
    y, moved = BatchNorm().apply(variables, x, True, mutable=["batch_stats"])
    unit = deviation / np.sqrt(deviation**2 + 1e-5)
    np.testing.assert_allclose(y[1, 0, 0], unit * [1, 5] + [0, 7], rtol=1e-12)
    np.testing.assert_allclose(y[0, 0, 0], -unit * [1, 5] + [0, 7], rtol=1e-12)
    np.testing.assert_allclose(moved["batch_stats"]["mean"], 0.9 * np.array([10, 20]) + 0.1 * deviation, rtol=1e-12)
    expected = 0.9 * np.array([1, 2]) + 0.1 * 2 * deviation**2
    np.testing.assert_allclose(moved["batch_stats"]["var"], expected, rtol=1e-12)
    running = BatchNorm().apply(variables, x, False)
    np.testing.assert_allclose(
        running[1, 0, 0], (2 * deviation - [10, 20]) / np.sqrt(np.array([1, 2]) + 1e-5) * [1, 5] + [0, 7], rtol=1e-12
    )


def test_statistics_stay_where_they_are_not_asked_for():
    network = PatchDiscriminator(8, 2)
    variables = network.init(jax.random.key(0), X, True)
    trained, moved = network.apply(variables, X, True, mutable=["batch_stats"])
    np.testing.assert_allclose(network.apply(variables, X, True), trained, rtol=1e-6)
    _, still = network.apply(variables, X, False, mutable=["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, still["batch_stats"], variables["batch_stats"])
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), moved["batch_stats"], variables["batch_stats"])
    assert all(jax.tree.leaves(changed))


def test_statistics_are_of_the_whole_batch_on_several_devices(x64):
    network, x = PatchDiscriminator(8, 1), X.astype(jnp.float64) + jnp.arange(4.0).reshape(4, 1, 1, 1)
    variables = jax.tree.map(lambda a: a.astype(jnp.float64), network.init(jax.random.key(0), x, True))
    run = jax.jit(lambda variables, x: network.apply(variables, x, True, mutable=["batch_stats"]))
    expected = run(variables, x)
    mesh = make_mesh(devices=jax.devices()[:2])
    split = jax.device_put(x, over_batch(mesh))
    assert len(split.sharding.device_set) == 2
    found = run(jax.device_put(variables, replicated(mesh)), split)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), found, expected)
