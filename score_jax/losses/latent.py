"""The loss of latent diffusion over the levels of a chain (Rombach et al. 2022, code).

    w1 (l / exp(v_t) + v_t) + w2 b_t l

of an example's error l at level t, with a log variance v_t of each level, which can be learned, and the weight b_t that
l has in the variational bound. v = 0, w1 = 1 and w2 = 0 leave l.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from score_jax.errors import InputError, entry_of
from score_jax.processes.chain import Chain
from score_jax.typing import Scalar, Time

Table = Float[Array, "n"] | Float[np.ndarray, "n"]


def elbo_weights(chain: Chain, output: str, posterior_share: float = 0.0) -> Float[np.ndarray, "n"]:
    """Returns the weight of each level's squared error in the variational bound (n,); level 0 has that of level 1.

    That of x0 has the denominator 2 - alpha² of the original, and not 2 sigma².

    Args:
      chain: its levels.
      output: whose error it is: "eps", "x0", or "v", whose weights are 1.
      posterior_share: of q(x_t | x_s) in the variance of the reverse kernel, as `posterior_mix` has it.

    Raises:
      InputError: the output is another one, or the chain has one level.
    """
    if chain.num_levels < 2:
        raise InputError("The bound's weights need two levels, and process.num_levels=1: give more.")
    log_alphas = np.asarray(chain.log_alphas, np.float64)
    signal = np.exp(2 * log_alphas)
    noise, noise_before = -np.expm1(2 * log_alphas), -np.expm1(2 * np.append(0.0, log_alphas[:-1]))
    betas = -np.expm1(2 * np.diff(log_alphas, prepend=0.0))

    def of_eps() -> Float[np.ndarray, "n"]:
        variances = (1 - posterior_share) * betas * noise_before / noise + posterior_share * betas
        with np.errstate(divide="ignore"):  # level 0, which has no variance
            return betas**2 / (2 * variances * (1 - betas) * noise)

    by_output = {
        "eps": of_eps,
        "x0": lambda: 0.5 * np.sqrt(signal) / (2 - signal),
        "v": lambda: np.ones_like(signal),
    }
    weights = entry_of(by_output, "loss.weighting of the bound's weights", output)()
    weights[0] = weights[1]
    return weights


def _at(table: Table, level: Int[Array, "b"], like: Float[Array, "b"]) -> Float[Array, "b"]:
    return jnp.asarray(table, like.dtype)[level]


def by_level(
    errors: Float[Array, "b"],
    t: Time,
    *,
    log_variances: Table | None = None,
    simple_weight: Scalar = 1.0,
    weights: Table | None = None,
    elbo_weight: Scalar = 0.0,
) -> dict[str, Float[Array, "b"]]:
    """Returns the loss of each example, and its parts.

    Args:
      errors: l (b,), the mean over dimensions, squared or absolute.
      t: levels (b,).
      log_variances: v of each level (n,), an array that is learned or a constant; None: 0.
      simple_weight: w1.
      weights: b of each level (n,), of `elbo_weights`; None: no such term.
      elbo_weight: w2.

    Returns:
      "loss"; "simple", which is l; "gamma", the first term before its factor; and with `weights` "vlb", b_t l.
    """
    level, gamma = t.astype(int), errors
    if log_variances is not None:
        log_variance = _at(log_variances, level, errors)
        gamma = errors * jnp.exp(-log_variance) + log_variance
    parts = {"loss": simple_weight * gamma, "simple": errors, "gamma": gamma}
    if weights is None:
        return parts
    vlb = _at(weights, level, errors) * errors
    return parts | {"loss": parts["loss"] + elbo_weight * vlb, "vlb": vlb}
