"""A Gaussian chain whose betas are learned (Sohl-Dickstein et al. 2015, section 2.4.1).

The noise is held fixed while the schedule moves ("frozen noise"): x_t = alpha x0 + sigma eps is differentiable in the
levels. beta_1 is no parameter: it sets the resolution of the model and would go to 0.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_jax.errors import InputError
from score_jax.processes.chain import Chain
from score_jax.processes.schedules import jsd

_LARGEST = 1 - 1e-3
"""A beta of 1 has no finite logit, and no inverse of its scale."""


def chain_of_logits(logits: Float[Array, "n"], beta_1: float) -> Chain:
    """The chain with betas [beta_1, sigmoid(logits)], (n + 1,) levels, as a function of the logits."""
    log_kept = jnp.append(jnp.log1p(-jnp.asarray(beta_1, logits.dtype)), jax.nn.log_sigmoid(-logits))
    log_alphas = 0.5 * jnp.cumsum(log_kept)
    return Chain(log_alphas, jnp.sqrt(-jnp.expm1(2 * log_alphas)))


def _logit(betas: Float[np.ndarray, "n"]) -> Float[Array, "n"]:
    betas = np.minimum(betas, _LARGEST)
    return jnp.asarray(np.log(betas) - np.log1p(-betas), jnp.float32)


def log_spaced(num_levels: int, beta_1: float, noise_at_end: float = 0.999) -> Float[Array, "n"]:
    """Logits of the schedule whose noise variances are geometric from beta_1 to `noise_at_end`.

    Raises:
      InputError: they do not increase.
    """
    if not 0 < beta_1 < noise_at_end < 1:
        raise InputError(f"beta_1={beta_1:g}: expected between 0 and the last variance {noise_at_end:g}.")
    variances = np.geomspace(beta_1, noise_at_end, num_levels)
    return _logit(1 - (1 - variances[1:]) / (1 - variances[:-1]))


def equal_shares(num_levels: int) -> Float[Array, "n"]:
    """Logits of 1 / (T - t + 1), the paper's schedule for bits, with its last beta just below 1."""
    return _logit(jsd(num_levels)[1:])
