"""score_sde's discretisation of its SDEs, to the digit: N levels whose time and whose kernel are not quite the same.

Step k = N - 1, ..., 0 asks the model at the time t_k of an even grid from 1 to t_min, while its kernel is that of a
chain at floor(t_k (N - 1)) = k, between levels that are even from 0 to 1; Euler-Maruyama steps by 1 / N. Samplers here
use the exact kernels between the times of their grid, which differ by O(1 / N); this is for published samples.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import as_floats
from score_jax.errors import InputError
from score_jax.prediction.coordinates import View
from score_jax.processes.chain import Chain, ve_chain, vp_chain
from score_jax.processes.gaussian import VE, VP, GaussianProcess, Moment, SubVP
from score_jax.samplers.steps import Step, euler_maruyama, reverse_diffusion
from score_jax.typing import Time


@dataclasses.dataclass(frozen=True, eq=False)
class Discretised:
    """A process in N steps; its time is the index k of a step.

    Attributes:
      process: the process.
      kernels: the chain whose kernels the steps reverse; of sub-VP, which has none, VP's.
      times: t_k (N,), increasing.
    """

    process: GaussianProcess
    kernels: Chain
    times: Float[Array, "n"]

    def time(self, k: Moment) -> Time:
        """t_k."""
        k = as_floats(k)
        return self.times.astype(k.dtype)[k.astype(jnp.int32)]

    @property
    def marginals(self) -> Chain:
        """alpha and sigma at the t_k."""
        process = self.process
        return Chain(process.log_alpha(self.times), process.sigma(self.times), process.prior_std)

    def view(self, *, discrete: bool) -> View:
        """Of a model of continuous time, given t_k; or of a model of the chain, given t_k (N - 1), a fraction."""
        return View(lambda k: self.time(k) * (len(self.times) - 1) if discrete else self.time(k))

    def euler_maruyama(self, *, probability_flow: bool = False) -> Step:
        """Coefficients at t_k, a step of 1 / N."""

        def clock(k: Time, _: Time) -> tuple[Time, Time]:
            return self.time(k), jnp.full_like(k, 1 / len(self.times))

        return euler_maruyama(self.process, clock, probability_flow=probability_flow)

    def reverse_diffusion(self, *, probability_flow: bool = False) -> Step:
        """The chain's kernel reversed; of sub-VP Euler-Maruyama."""
        if isinstance(self.process, SubVP):
            return self.euler_maruyama(probability_flow=probability_flow)
        return reverse_diffusion(self.kernels, probability_flow=probability_flow)


def discretised(process: GaussianProcess, num_levels: int, t_min: float) -> Discretised:
    """Discretises the process in `num_levels` steps from 1 to t_min.

    Raises:
      InputError: it is not one of VE, VP and sub-VP.
    """
    if isinstance(process, VE):
        kernels = ve_chain(float(process.sigma_min), float(process.sigma_max), num_levels)
    elif isinstance(process, VP | SubVP):
        kernels = vp_chain("linear", num_levels, float(process.beta_min), float(process.beta_max))
    else:
        raise InputError("sampler.discretisation='score_sde' is of the processes ve, vp and sub_vp.")
    return Discretised(process, kernels, jnp.linspace(t_min, 1.0, num_levels))
