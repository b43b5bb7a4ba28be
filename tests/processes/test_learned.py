"""The learned Gaussian schedule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.processes.chain import chain_of_betas
from score_jax.processes.learned import LearnedChain, chain_of_logits, equal_shares, log_spaced


def test_it_is_the_chain_of_its_betas():
    betas = np.array([1e-3, 0.02, 0.3, 0.9])
    logits = jnp.asarray(np.log(betas[1:] / (1 - betas[1:])), jnp.float32)
    ours, fixed = chain_of_logits(logits, 1e-3), chain_of_betas(betas)
    np.testing.assert_allclose(ours.log_alphas, fixed.log_alphas, rtol=1e-5)
    np.testing.assert_allclose(ours.sigmas, fixed.sigmas, rtol=1e-5)
    np.testing.assert_allclose(ours.kernel(jnp.arange(4.0), jnp.arange(-1.0, 3))[1], betas, rtol=1e-4)


@pytest.mark.parametrize("beta_1", [1e-3, 1e-5, 5e-6])
def test_log_spaced_variances_are_geometric_and_keep_their_digits(beta_1):
    chain = chain_of_logits(log_spaced(40, beta_1), beta_1)
    np.testing.assert_allclose(chain.sigmas**2, np.geomspace(beta_1, 0.999, 40), rtol=2e-5)
    np.testing.assert_allclose(jnp.exp(2 * chain.log_alphas) + chain.sigmas**2, 1.0, rtol=1e-6)


def test_equal_shares_erase_a_tth_each_until_the_last():
    chain = chain_of_logits(equal_shares(40), 1 / 40)
    np.testing.assert_allclose(jnp.exp(2 * chain.log_alphas)[:-1], np.arange(39, 0, -1) / 40, rtol=1e-5)
    np.testing.assert_allclose(jnp.exp(2 * chain.log_alphas)[-1], 1e-3 / 40, rtol=1e-3)


@pytest.mark.parametrize("logits", [log_spaced(8, 1e-4), equal_shares(8)], ids=["log", "shares"])
def test_the_gradient_of_every_level_is_that_of_differences(x64, logits):
    def quantity(logits):
        chain = chain_of_logits(logits, 1e-4)
        return jnp.sum(jnp.log(chain.sigmas) * jnp.arange(1.0, 9)) + jnp.sum(chain.log_alphas**2)

    logits = jnp.asarray(logits, jnp.float64)
    gradient, h = jax.grad(quantity)(logits), 1e-5
    differences = [(quantity(logits + h * e) - quantity(logits - h * e)) / (2 * h) for e in jnp.eye(7)]
    np.testing.assert_allclose(gradient, jnp.stack(differences), rtol=1e-4, atol=1e-7)
    assert (gradient != 0).all()


def test_the_first_level_is_no_parameter():
    chain = jax.jacobian(lambda logits: chain_of_logits(logits, 1e-3).sigmas[0])(log_spaced(8, 1e-3))
    np.testing.assert_array_equal(chain, 0.0)


@pytest.mark.parametrize("beta_1", [0.0, 0.9995, 2.0])
def test_a_first_beta_beyond_the_end_is_refused(beta_1):
    with pytest.raises(InputError, match="expected between 0 and the last variance"):
        log_spaced(10, beta_1)


@pytest.mark.parametrize(("start", "logits"), [("log_spaced", log_spaced(6, 1e-3)), ("equal_shares", equal_shares(6))])
def test_what_a_model_learns_begins_as_it_says(start, logits):
    process = LearnedChain(6, 1e-3, start)
    np.testing.assert_array_equal(process.logits, logits)
    np.testing.assert_array_equal(process.at(logits + 0.5).sigmas, chain_of_logits(logits + 0.5, 1e-3).sigmas)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"num_levels": 1}, "process.num_levels=1: give at least 2"),
        ({"beta_1": 0.9995}, "expected between 0 and the last variance"),
        ({"start": "log_space"}, "Did you mean 'log_spaced'"),
    ],
)
def test_a_chain_that_cannot_be_is_refused(arguments, line):
    with pytest.raises(InputError, match=line):
        LearnedChain(**({"num_levels": 6, "beta_1": 1e-3} | arguments))
