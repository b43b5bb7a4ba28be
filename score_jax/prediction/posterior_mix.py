"""A fixed variance of the reverse kernel between the two of `reverse`: latent diffusion's `v_posterior`."""

import jax.numpy as jnp

from score_jax.arrays import broadcast_right
from score_jax.prediction.reverse import Variance
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.typing import Batch, Time

_TINY = 1e-20
"""The floor of the variance within its logarithm, also at the last step."""


def posterior_mix(share: float) -> Variance:
    """Makes the variance (1 - share) of q(x_s | x_t, x0) + share of q(x_t | x_s) (Rombach et al. 2022, code)."""

    def of(process: NoiseSchedule, raw: Batch | None, x: Batch, t: Time, s: Time) -> tuple[Batch, Batch]:
        variance = (1 - share) * process.posterior_coefficients(t, s)[2] + share * process.kernel(t, s)[1]
        return broadcast_right(variance, x), jnp.log(jnp.maximum(broadcast_right(variance, x), _TINY))

    return of
