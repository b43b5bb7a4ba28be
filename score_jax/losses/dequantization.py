"""Variational dequantisation (Ho et al. 2019, Flow++, section 3.1): noise in [0, 1) that knows the image.

    log P(levels) >= E over u ~ q(u | levels) of [log p(levels + u) - log q(u | levels)]

Here u = sigmoid(location + scale l) of logistic l, so that location 0 and scale 1 are the uniform noise of others.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import fold_in_each, normal_per_example, sum_per_example
from score_jax.losses.score_matching import denoising
from score_jax.prediction.predictor import Predictor
from score_jax.processes.gaussian import GaussianProcess
from score_jax.typing import Batch, KeyBatch, Time


def draw(keys: KeyBatch, location: Batch, log_scale: Batch) -> tuple[Batch, Float[Array, "b"]]:
    """Draws noise u in [0, 1) like `location` (b, ...), and returns its log density (b,), nats."""
    low = jnp.finfo(location.dtype).tiny
    uniform = jax.vmap(lambda key: jax.random.uniform(key, location.shape[1:], location.dtype, minval=low))(keys)
    logistic = jnp.log(uniform) - jnp.log1p(-uniform)
    logit = location + jnp.exp(log_scale) * logistic
    return jax.nn.sigmoid(logit), sum_per_example(_log_slope(logistic) - log_scale - _log_slope(logit))


def _log_slope(logit: Batch) -> Batch:
    """log of d sigmoid(l) / dl, which is the logistic density too."""
    return -jax.nn.softplus(logit) - jax.nn.softplus(-logit)


def negative_bound(
    predictor: Predictor,
    process: GaussianProcess,
    keys: KeyBatch,
    x: Batch,
    log_q: Float[Array, "b"],
    time: Callable[[Float[Array, "b"]], Time],
    log_snr_range: float,
) -> Float[Array, "b"]:
    """Returns the loss of a dequantiser: log q - log p by the variational bound of the process, without its constants.

    -log p(x) <= 1/2 (range of log-SNR) E |eps_hat - eps|² + const at times even in log-SNR, where the likelihood
    weighting g² / sigma² dt is -d log-SNR (Song et al. 2021, ML training, theorem 1; Kingma et al. 2021, eq. 17).

    Args:
      predictor: the model, held fixed.
      process: its process.
      keys: one key per example (b,).
      x: dequantised images (b, ...).
      log_q: log density of their noise (b,).
      time: of positions (b,) in [0, 1), even in log-SNR.
      log_snr_range: between position 0 and 1.
    """
    shift = jax.random.uniform(jax.random.fold_in(keys[0], 0))
    position = jnp.mod(shift + jnp.arange(len(x)) / len(x), 1.0)
    error = denoising(predictor, process, x, time(position), normal_per_example(fold_in_each(keys, 1), x))
    return log_q + 0.5 * log_snr_range * error
