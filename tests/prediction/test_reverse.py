"""The learned reverse kernel of a chain whose levels are round numbers: alpha² 0.8, 0.5, 0.2."""

import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.prediction.predictor import Prediction
from score_jax.prediction.reverse import VARIANCES, decoding, reverse_kernel
from score_jax.processes.chain import Chain

SQUARES = np.array([0.8, 0.5, 0.2])
CHAIN = Chain(np.log(SQUARES) / 2, np.sqrt(1 - SQUARES))
X = np.array([[0.7, -1.1]])
# From level 2 to 1: a² = 0.4, b² = 0.6, and 0.6 * 0.5 / 0.8 of the posterior; from 1 to 0 it is 0.375 * 0.2 / 0.5.
LARGE, SMALL, SMALL_BELOW = 0.6, 0.375, 0.15


def variance(name, t, said=None, of=VARIANCES):
    raw = None if said is None else jnp.full((1, 2), said)
    time = jnp.array([float(t)])
    value, logarithm = of[name](CHAIN, raw, jnp.asarray(X), time, time - 1)
    return float(value.ravel()[0]), float(logarithm.ravel()[0])


def test_fixed_variances_are_those_of_the_two_kernels(x64):
    np.testing.assert_allclose(variance("fixed_small", 2), (SMALL, np.log(SMALL)), rtol=1e-12)
    np.testing.assert_allclose(variance("fixed_large", 2), (LARGE, np.log(LARGE)), rtol=1e-12)
    # Into the data: none, or that of the step before; its logarithm is of the step before.
    np.testing.assert_allclose(variance("fixed_small", 0), (0, np.log(SMALL_BELOW)), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(variance("fixed_large", 0), (SMALL_BELOW, np.log(SMALL_BELOW)), rtol=1e-12)


@pytest.mark.parametrize(("said", "share"), [(-1.0, 0.0), (1.0, 1.0), (0.5, 0.75)])
def test_a_range_is_interpolated_in_logarithms(said, share, x64):
    expected = SMALL ** (1 - share) * LARGE**share
    np.testing.assert_allclose(variance("learned_range", 2, said), (expected, np.log(expected)), rtol=1e-12)
    expected = SMALL_BELOW ** (1 - share) * 0.2**share
    np.testing.assert_allclose(variance("learned_range", 0, said), (expected, np.log(expected)), rtol=1e-12)


def test_a_network_says_the_logarithm(x64):
    np.testing.assert_allclose(variance("learned", 2, np.log(0.3)), (0.3, np.log(0.3)), rtol=1e-12)
    with pytest.raises(InputError, match="twice the channels"):
        variance("learned", 2)


@pytest.mark.parametrize("name", VARIANCES)
def test_a_decoder_has_the_noise_of_the_first_level_in_the_datas_units(name, x64):
    of = {name: decoding(rule) for name, rule in VARIANCES.items()}
    np.testing.assert_allclose(variance(name, 0, 0.5, of), (0.25, np.log(0.25)), rtol=1e-12)
    np.testing.assert_array_equal(variance(name, 2, 0.5, of), variance(name, 2, 0.5))


def test_one_level_alone_has_a_floor_for_its_logarithm(x64):
    chain, t = Chain(CHAIN.log_alphas[:1], CHAIN.sigmas[:1]), jnp.array([0.0])
    value, logarithm = VARIANCES["fixed_small"](chain, None, jnp.asarray(X), t, t - 1)
    np.testing.assert_allclose((value, logarithm), ([[0]], [[-20 * np.log(10)]]), atol=1e-14)


def test_the_mean_is_the_posteriors_at_the_predicted_x0(x64):
    """(a sigma_s² x + alpha_s b² x0) / sigma_t² = (sqrt(0.4) 0.5 x + sqrt(0.5) 0.6 x0) / 0.8."""
    t, x, x0 = jnp.array([2.0]), jnp.asarray(X), jnp.array([[0.2, 0.4]])
    kernel = reverse_kernel(CHAIN, Prediction(x0, x, x), x, t, t - 1, VARIANCES["fixed_small"])
    np.testing.assert_allclose(kernel.mean, (0.4**0.5 * 0.5 * X + 0.5**0.5 * 0.6 * x0) / 0.8, rtol=1e-12)
    np.testing.assert_allclose((kernel.variance, kernel.log_variance), ([[SMALL]], [[np.log(SMALL)]]), rtol=1e-12)
