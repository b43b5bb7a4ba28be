"""The variational bound of a chain, in bits per dimension (Ho et al. 2020, eq. 5; Nichol and Dhariwal 2021).

    L = E[ KL(q(x_T | x0) || p(x_T)) + sum_t KL(q(x_s | x_t, x0) || p(x_s | x_t)) - log p(x0 | x_1) ]

The last is the probability of the 8-bit level that x0 has in [-1, 1]. All terms are divided by d ln 2.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from score_jax.arrays import broadcast_right
from score_jax.prediction.predictor import Prediction, Predictor
from score_jax.prediction.reverse import ReverseKernel, Variance, reverse_kernel
from score_jax.processes.chain import Chain
from score_jax.processes.noise import NoisePath
from score_jax.typing import Batch, Time

_BIN = 1.0 / 255.0
"""Half the distance of two of 256 levels in [-1, 1]."""


def _mean(x: Batch) -> Float[Array, "b"]:
    return jnp.mean(x.reshape(x.shape[0], -1), axis=1)


def normal_kl(mean: Batch, log_variance: Batch, other_mean: Batch, other_log_variance: Batch) -> Batch:
    """Returns the KL divergence of two normal distributions, elementwise, nats."""
    ratio = log_variance - other_log_variance
    distance = jnp.square(mean - other_mean) * jnp.exp(-other_log_variance)
    return 0.5 * (jnp.exp(ratio) - 1.0 - ratio + distance)


def approximate_normal_cdf(z: Batch) -> Batch:
    """Returns Page's tanh approximation of the normal CDF, which the published bounds use."""
    return 0.5 * (1.0 + jnp.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * z**3)))


def discretised_normal_log_prob(x0: Batch, mean: Batch, log_std: Batch) -> Batch:
    """Returns the log-probability of each 8-bit level of x0 in [-1, 1], elementwise, nats (Ho et al. 2020, eq. 13).

    The outer levels own the tails; probabilities below 1e-12 count as that.
    """
    scale, centred = jnp.exp(-log_std), x0 - mean
    above = approximate_normal_cdf(scale * (centred + _BIN))
    below = approximate_normal_cdf(scale * (centred - _BIN))
    inner = jnp.where(x0 < -0.999, above, jnp.where(x0 > 0.999, 1.0 - below, above - below))
    return jnp.log(jnp.maximum(inner, 1e-12))


def term(
    chain: Chain, kernel: ReverseKernel, x0: Batch, x: Batch, t: Time, value_range: tuple[float, float] = (-1.0, 1.0)
) -> Float[Array, "b"]:
    """Returns the term of level t for x = x_t: a KL divergence, or at level 0 the negative log-probability. Bits/dim.

    Args:
      chain: its levels.
      kernel: the model's, from level t.
      x0: data (b, ...).
      x: x_t.
      t: levels (b,).
      value_range: of the data, whose 256 levels run from its one end to the other.
    """
    mean, _ = chain.posterior(x, x0, t, t - 1)
    true_variance = chain.posterior_coefficients(jnp.maximum(t, 1.0), jnp.maximum(t, 1.0) - 1)[2]
    log_variance = jnp.broadcast_to(kernel.log_variance, x.shape)
    kl = normal_kl(mean, broadcast_right(jnp.log(true_variance), x), kernel.mean, log_variance)
    middle, half = sum(value_range) / 2, (value_range[1] - value_range[0]) / 2
    data, decoder_mean = (x0 - middle) / half, (kernel.mean - middle) / half
    decoded = -discretised_normal_log_prob(data, decoder_mean, 0.5 * log_variance - math.log(half))
    return _mean(jnp.where(broadcast_right(t, x) == 0, decoded, kl)) / math.log(2.0)


def prior_term(chain: Chain, x0: Batch) -> Float[Array, "b"]:
    """Returns the KL divergence of q(x_T | x0) from the prior, in bits/dim."""
    t = jnp.full(x0.shape[:1], chain.t_max, x0.dtype)
    mean = broadcast_right(chain.alpha(t), x0) * x0
    log_variance = broadcast_right(2 * jnp.log(chain.sigma(t)), x0)
    prior = jnp.full_like(x0, 2 * jnp.log(chain.prior_std))
    return _mean(normal_kl(mean, log_variance, jnp.zeros_like(x0), prior)) / math.log(2.0)


def stop_mean(kernel: ReverseKernel) -> ReverseKernel:
    """Stops the gradient of the mean, so that the bound trains only the variance (Nichol 2021, 3.1)."""
    return dataclasses.replace(kernel, mean=jax.lax.stop_gradient(kernel.mean))


def simple(
    chain: Chain, prediction: Prediction, output: str, x0: Batch, x: Batch, t: Time, noise: Batch
) -> Float[Array, "b"]:
    """Returns the mean squared error of the network's output (Ho et al. 2020, eq. 14; "mse" of improved diffusion).

    Args:
      chain: where x comes from.
      prediction: at (x, t).
      output: "eps", "x0", or "mean".
      x0: data.
      x: x_t.
      t: levels (b,).
      noise: eps of x_t.
    """
    if output == "mean":
        of_x0 = chain.posterior_coefficients(t, t - 1)[1]
        return _mean(jnp.square(broadcast_right(of_x0, x) * (prediction.x0 - x0)))
    target, predicted = {"eps": (noise, prediction.eps), "x0": (x0, prediction.x0)}[output]
    return _mean(jnp.square(predicted - target))


def variational(
    predictor: Predictor,
    chain: Chain,
    variance: Variance,
    x0: Batch,
    t: Time,
    noise: Batch,
    *,
    simple_output: str | None,
    vb_scale: float,
) -> dict[str, Float[Array, "b"]]:
    """Returns the training objectives with a bound in them.

        L_vlb      T vb                            simple_output None, vb_scale T       (RESCALED_KL; KL: vb_scale 1)
        L_hybrid   simple + vb_scale vb            with vb training the variance alone  (MSE: 1; RESCALED_MSE: T / 1000)

    Args:
      predictor: the model.
      chain: its levels.
      variance: of `reverse.VARIANCES`.
      x0: data (b, ...), in [-1, 1].
      t: levels (b,).
      noise: eps like x0.
      simple_output: what the network outputs, for the simple term; None leaves it out.
      vb_scale: of the bound's term.

    Returns:
      "loss", and its parts "vb" and "mse".
    """
    x = chain.perturb(x0, t, noise)
    prediction = predictor(x, t)
    kernel = reverse_kernel(chain, prediction, x, t, t - 1, variance)
    if simple_output is None:
        vb = vb_scale * term(chain, kernel, x0, x, t)
        return {"loss": vb, "vb": vb}
    vb = vb_scale * term(chain, stop_mean(kernel), x0, x, t)
    mse = simple(chain, prediction, simple_output, x0, x, t, noise)
    return {"loss": mse + vb, "vb": vb, "mse": mse}


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["total", "prior", "terms", "x0_mse", "eps_mse"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Bound:
    """The bound and its terms, bits/dim; terms and errors (b, T) from the last level down to 0.

    Attributes:
      total: an upper bound on -log p(x0) (b,).
      prior: its part at the last level (b,).
      terms: of each level.
      x0_mse: mean squared error of the predicted x0.
      eps_mse: of the predicted eps.
    """

    total: Float[Array, "b"]
    prior: Float[Array, "b"]
    terms: Float[Array, "b levels"]
    x0_mse: Float[Array, "b levels"]
    eps_mse: Float[Array, "b levels"]


def bound(
    predictor: Predictor,
    chain: Chain,
    variance: Variance,
    x0: Batch,
    path: NoisePath,
    value_range: tuple[float, float] = (-1.0, 1.0),
) -> Bound:
    """Returns the whole bound of x0 (b, ...), one draw of x_t per level; the k-th from the top uses path(k)."""
    last = chain.num_levels - 1

    def at(k):
        t = jnp.full(x0.shape[:1], last - k, x0.dtype)
        noise = path(k)(0)
        x = chain.perturb(x0, t, noise)
        prediction = predictor(x, t)
        kernel = reverse_kernel(chain, prediction, x, t, t - 1, variance)
        eps = (x - broadcast_right(chain.alpha(t), x) * prediction.x0) / broadcast_right(chain.sigma(t), x)
        errors = _mean(jnp.square(prediction.x0 - x0)), _mean(jnp.square(eps - noise))
        return term(chain, kernel, x0, x, t, value_range), *errors

    terms, x0_mse, eps_mse = (values.T for values in jax.lax.map(at, jnp.arange(chain.num_levels)))
    prior = prior_term(chain, x0)
    return Bound(prior + jnp.sum(terms, axis=1), prior, terms, x0_mse, eps_mse)


def rate_distortion(bound: Bound) -> tuple[Float[Array, "levels"], Float[Array, "levels"]]:
    """Returns the rate-distortion curve (Ho et al. 2020, section 4.3, figure 5), averaged over the examples.

    Returns:
      Rate after each level from the top, bits/dim, and the distortion of x0 as known before that level's bits: root
      mean squared error on the scale of 0 to 255.
    """
    rate = jnp.mean(bound.prior) + jnp.cumsum(jnp.mean(bound.terms, axis=0))
    return rate, 127.5 * jnp.sqrt(jnp.mean(bound.x0_mse, axis=0))
