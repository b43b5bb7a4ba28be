"""A chain in continuous time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.processes.chain import chain_at, ve_chain, vp_chain
from score_jax.processes.gaussian import VE, VP, Flow
from score_jax.processes.interpolated import Interpolated
from score_jax.processes.schedules import BETAS

CHAINS = {name: vp_chain(name, 100) for name in BETAS if name != "jsd"} | {
    "few": vp_chain("const", 25),
    "two": vp_chain("cosine", 2),
    "ve": ve_chain(0.01, 10.0, 50),
    "uniform_ve": ve_chain(0.01, 10.0, 50, "uniform"),
    "flow": chain_at(Flow(), np.linspace(0.01, 0.99, 50)),
}


@pytest.mark.parametrize("name", CHAINS)
def test_whole_numbers_are_the_levels(name):
    chain = CHAINS[name]
    process, t = Interpolated(chain), jnp.arange(float(chain.num_levels))
    np.testing.assert_allclose(process.sigma(t), chain.sigma(t), rtol=1e-5)
    np.testing.assert_allclose(process.log_alpha(t), chain.log_alpha(t), rtol=1e-4, atol=1e-6)
    assert process.t_max == chain.t_max
    assert process.prior_std == chain.prior_std


@pytest.mark.parametrize("name", CHAINS)
def test_levels_change_smoothly_and_one_way(name):
    process = Interpolated(CHAINS[name])
    t = jnp.linspace(0.0, process.t_max, 5001)
    ratio = process.noise_to_signal(t)
    assert (jnp.diff(ratio) > 0).all()
    np.testing.assert_allclose(process.time_at(ratio), t, atol=1.0 if name == "two" else 0.5)
    slope = jax.vmap(jax.grad(lambda t: process.log_alpha(t) - jnp.log(process.sigma(t))))
    at_level = jnp.arange(1.0, process.t_max)
    if name not in ("few", "two"):
        np.testing.assert_allclose(slope(at_level - 1e-3), slope(at_level + 1e-3), rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("name", ["linear", "cosine", "jsd"])
def test_between_levels_a_chain_has_its_schedules_closed_form(name, x64):
    """alpha² of jsd is a straight line, of cosine a squared cosine, of linear the exponential of a parabola."""
    chain = vp_chain(name, 1000)
    process, t = Interpolated(chain), jnp.linspace(0.0, 990.0, 1981)
    n = (np.asarray(t) + 1) / 1000
    expected = {
        "jsd": 1 - n,
        "cosine": np.cos((n + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2,
        # To first order in beta; DDPM's product of 1 - beta is the rest away.
        "linear": np.exp(-1000 * (1e-4 * n + (0.02 - 1e-4) * n**2 / 2)),
    }[name]
    rtol = 0.1 if name == "linear" else 1e-7
    np.testing.assert_allclose(process.alpha(t) ** 2, expected, rtol=rtol)
    np.testing.assert_allclose(process.alpha(t) ** 2 + process.sigma(t) ** 2, 1.0, rtol=1e-12)


def test_a_level_without_signal_is_left_out():
    process = Interpolated(vp_chain("jsd", 100))
    assert process.t_max == 98.0
    assert np.isfinite(process.noise_to_signal(jnp.linspace(0.0, 98.0, 50))).all()


def test_a_dense_chain_is_the_process_it_was_taken_from(x64):
    for original in (VP(), VE(0.01, 10.0)):
        times = np.linspace(0.01, 1.0, 400)
        process = Interpolated(chain_at(original, times))
        t = jnp.linspace(2.0, 398.0, 300)
        real = times[0] + t / 399 * (times[-1] - times[0])
        np.testing.assert_allclose(process.sigma(t), original.sigma(real), rtol=1e-4)
        np.testing.assert_allclose(process.alpha(t), original.alpha(real), rtol=1e-4)
        # Of the drift f x - g² score / 2, in the chain's own time.
        stretch = (times[-1] - times[0]) / 399
        rate = jax.vmap(process.diffusion_squared)(t)
        np.testing.assert_allclose(rate, stretch * jax.vmap(original.diffusion_squared)(real), rtol=1e-2)
