"""The flow in the log-SNR is the flow in time by another name, of every process."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_processes import every_process

from score_jax.processes.chain import ve_chain, vp_chain
from score_jax.processes.interpolated import Interpolated
from score_jax.samplers.flow_variables import IN_TIME, InLogSNR

PROCESSES = every_process(10.0) | {
    "linear_chain": Interpolated(vp_chain("linear", 1000)),
    "cosine_chain": Interpolated(vp_chain("cosine", 1000)),
    "jsd_chain": Interpolated(vp_chain("jsd", 200)),
    "ve_chain": Interpolated(ve_chain(0.01, 50.0, 100)),
}
T_MIN = 1e-5


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("variables", [IN_TIME, InLogSNR(T_MIN)], ids=["time", "log_snr"])
def test_the_drift_is_the_derivative_of_the_state(name, variables, x64):
    """z along a path of fixed x0 and eps, by automatic differentiation."""
    process = PROCESSES[name]
    first, last = (variables.position(process, jnp.asarray(t)) for t in (T_MIN, process.t_max))
    positions = jnp.linspace(first, last, 41)[1:-1]
    x0, eps = 0.3, -1.2

    def state(u):
        t = variables.place(process, u).t
        return (process.alpha(t) * x0 + process.sigma(t) * eps) / variables.scale(process, t)

    place = variables.place(process, positions)
    expected = jax.vmap(jax.grad(state))(positions)
    np.testing.assert_allclose(place.of_x0 * x0 + place.of_eps * eps, expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(variables.position(process, place.t), positions, rtol=1e-4, atol=1e-5)
    assert (jnp.diff(place.t) > 0).all()


@pytest.mark.parametrize("name", PROCESSES)
def test_the_ends_are_the_times_that_were_asked_for(name):
    process, variables = PROCESSES[name], InLogSNR(T_MIN)
    for t in (T_MIN, process.t_max):
        place = variables.place(process, variables.position(process, jnp.float32(t)))
        np.testing.assert_allclose(process.log_snr(place.t), process.log_snr(jnp.float32(t)), atol=2e-3)
