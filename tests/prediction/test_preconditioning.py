import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.prediction.preconditioning import (
    PRECONDITIONINGS,
    EDMPreconditioning,
    IDDPMPreconditioning,
    VEPreconditioning,
    VPPreconditioning,
    denoise,
)
from score_jax.processes import gaussian

FOLDER = Path(os.environ.get("SCORE_JAX_PARITY", Path(__file__).parents[2] / "shared" / "parity")) / "edm"
SIGMA = np.geomspace(2e-3, 80, 40)


def bounded(params, x, label, **kwargs):
    """Stands for a network."""
    return jnp.sin(x * params + label.reshape(-1, 1))


def test_edm_scales_input_and_target_to_unit_variance(x64):
    sigma, data = jnp.asarray(SIGMA), 0.7
    c = EDMPreconditioning(sigma_data=data).coefficients(sigma)
    np.testing.assert_allclose(c.c_in**2 * (sigma**2 + data**2), 1, rtol=1e-13)
    # F's target is (x0 - c_skip (x0 + sigma eps)) / c_out.
    target = ((1 - c.c_skip) ** 2 * data**2 + (c.c_skip * sigma) ** 2) / c.c_out**2
    np.testing.assert_allclose(target, 1, rtol=1e-9)


def test_edm_amplifies_the_networks_errors_least(x64):
    """c_out² as a function of c_skip has its minimum at EDM's choice (their eq 8)."""
    sigma = jnp.asarray(SIGMA)
    c = EDMPreconditioning().coefficients(sigma)

    def c_out_squared(c_skip):
        return (1 - c_skip) ** 2 * 0.25 + c_skip**2 * sigma**2

    np.testing.assert_allclose(c_out_squared(c.c_skip), c.c_out**2, rtol=1e-9)
    for step in (-1e-3, 1e-3):
        assert np.all(c_out_squared(c.c_skip + step) > c.c_out**2)


@pytest.mark.parametrize("name", PRECONDITIONINGS)
def test_without_noise_the_denoiser_is_the_identity(name, x64):
    x = jax.random.normal(jax.random.key(0), (3, 5))
    sigma = jnp.array([1e-9, 1e-8, 1e-7])
    d = denoise(PRECONDITIONINGS[name](), bounded, jnp.array(2.0), x, sigma)
    assert 0 < np.abs(d - x).max() < 1e-6


@pytest.mark.parametrize(
    ("preconditioning", "sign"),
    [(VPPreconditioning(), 1), (VEPreconditioning(), -1), (IDDPMPreconditioning(), 1)],
    ids=["vp", "ve", "iddpm"],
)
def test_the_networks_of_song_and_nichol_predict_the_noise(preconditioning, sign):
    x0, eps = jax.random.normal(jax.random.key(0), (2, 4, 3))
    sigma = jnp.array([0.1, 1.0, 3.0, 20.0])
    x = x0 + sigma[:, None] * eps
    d = denoise(preconditioning, lambda params, x, label: sign * eps, None, x, sigma)
    np.testing.assert_allclose(d, x0, atol=1e-5)


def test_the_network_sees_scaled_input_label_and_conditions():
    seen = {}

    def apply(params, x, label, **kwargs):
        seen.update(params=params, x=x, label=label, **kwargs)
        return jnp.zeros((2, 8, 8, 6))

    x, sigma = jnp.full((2, 8, 8, 3), 3.0), jnp.array([1.0, 2.0])
    params = {"kernel": jnp.ones(3)}
    d = denoise(EDMPreconditioning(), apply, params, x, sigma, class_labels="classes", train=True)
    assert seen["params"] is params and seen["class_labels"] == "classes" and seen["train"]
    np.testing.assert_allclose(seen["x"][:, 0, 0, 0], [3 * 1.25**-0.5, 3 * 4.25**-0.5], rtol=1e-6)
    np.testing.assert_allclose(seen["label"], [0, np.log(2) / 4], rtol=1e-6)
    assert d.shape == x.shape


def test_channels_beyond_those_of_x_are_not_used():
    x, sigma = jnp.ones((2, 4, 4, 3)), jnp.array([1.0, 2.0])
    wide = jax.random.normal(jax.random.key(0), (2, 4, 4, 6))
    found = [denoise(IDDPMPreconditioning(), lambda p, x, t, n=n: wide[..., :n], None, x, sigma) for n in (6, 3)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", PRECONDITIONINGS)
def test_dtype_and_shape_are_kept(name, x64):
    preconditioning = PRECONDITIONINGS[name]()
    for dtype in (jnp.float32, jnp.float64):
        sigma = jnp.full((2, 3), 0.5, dtype)
        found = (*preconditioning.coefficients(sigma), preconditioning.round_sigma(sigma))
        assert all(a.dtype == dtype and a.shape == (2, 3) for a in found)


def test_vp_is_the_vp_sde(x64):
    t = jnp.linspace(1e-5, 1, 50)
    vp, sde = VPPreconditioning(), gaussian.VP(beta_min=0.1, beta_max=20.0)
    np.testing.assert_allclose(vp.sigma(t), sde.sigma(t) / jnp.exp(sde.log_alpha(t)), rtol=1e-12)
    np.testing.assert_allclose(vp.coefficients(vp.sigma(t)).c_in, jnp.exp(sde.log_alpha(t)), rtol=1e-12)
    np.testing.assert_allclose([vp.sigma_min, vp.sigma_max], vp.sigma(jnp.array([1e-5, 1.0])), rtol=1e-12)


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-6), ("float64", 1e-12)])
def test_vp_time_inverts_sigma(dtype, rtol, x64):
    t = jnp.asarray(np.geomspace(1e-5, 1, 50), dtype)
    vp = VPPreconditioning()
    np.testing.assert_allclose(vp.time(vp.sigma(t)), t, rtol=rtol)
    np.testing.assert_allclose(vp.coefficients(vp.sigma(t)).c_noise, 999 * t, rtol=rtol)


def test_ve_labels_are_the_log_of_songs_sigma():
    sigma = jnp.array([0.02, 2.0, 100.0])
    np.testing.assert_allclose(
        VEPreconditioning().coefficients(sigma).c_noise, np.log([0.01, 1, 50]), rtol=1e-5, atol=1e-6
    )
    assert (VEPreconditioning().sigma_min, VEPreconditioning().sigma_max) == (0.02, 100.0)


def test_iddpm_levels_are_those_of_the_cosine_schedule():
    levels = IDDPMPreconditioning().levels
    assert levels.shape == (1001,) and levels.dtype == np.float64
    assert np.all(np.diff(levels) < 0) and levels[-1] == 0
    j = np.arange(1001)
    alpha_bar = np.sin(np.pi / 2 * j / 1008) ** 2
    # Until C_1 bounds the step to j = 0, 1 / (1 + u²) is alpha_bar up to its value at the end.
    np.testing.assert_allclose(1 / (1 + levels[1:] ** 2), alpha_bar[1:] / alpha_bar[-1], rtol=1e-10)
    np.testing.assert_allclose((levels[0] ** 2 + 1) / (levels[1] ** 2 + 1), 1000, rtol=1e-10)
    assert (IDDPMPreconditioning().sigma_min, IDDPMPreconditioning().sigma_max) == (levels[999], levels[0])


def test_iddpm_rounds_to_the_nearest_level(x64):
    iddpm = IDDPMPreconditioning()
    sigma = jnp.asarray(np.concatenate([np.geomspace(1e-4, 3e4, 300), iddpm.levels]))
    nearest = np.abs(iddpm.levels[None] - np.asarray(sigma)[:, None]).argmin(1)
    np.testing.assert_array_equal(iddpm.index(sigma), nearest)
    np.testing.assert_array_equal(iddpm.round_sigma(sigma), iddpm.levels[nearest])
    np.testing.assert_array_equal(iddpm.coefficients(sigma).c_noise, 999 - nearest)


def test_iddpm_knows_its_levels_in_float32():
    levels = jnp.asarray(IDDPMPreconditioning().levels, jnp.float32)
    np.testing.assert_array_equal(IDDPMPreconditioning().index(levels), np.arange(1001))


@pytest.mark.parametrize("preconditioning", [EDMPreconditioning(), VPPreconditioning(), VEPreconditioning()])
def test_the_others_know_every_level(preconditioning):
    sigma = jnp.asarray(SIGMA, jnp.float32)
    np.testing.assert_array_equal(preconditioning.round_sigma(sigma), sigma)


def test_iddpm_takes_released_levels():
    levels = tuple(float(level) for level in 1.01 * IDDPMPreconditioning().levels)
    assert IDDPMPreconditioning(u=levels).sigma_max == levels[0]
    with pytest.raises(InputError, match="1000 levels: expected M"):
        IDDPMPreconditioning(u=levels[:-1])


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no parity fixtures in {FOLDER} (set SCORE_JAX_PARITY)")
def test_iddpm_released_levels_are_ours_up_to_float32():
    with np.load(FOLDER / "net_iddpm_song.npz") as z:
        np.testing.assert_allclose(IDDPMPreconditioning().levels, z["params/u"], rtol=5e-4)
