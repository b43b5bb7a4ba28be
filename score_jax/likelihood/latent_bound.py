"""A lower bound on the log-probability of images under a density p(z) of an autoencoder's latents.

    log p(x) >= E[log 1/K sum_k w_k],   w_k = p(x | z_k) p(z_k) / q(z_k | x),   z_k ~ q(z | x)

It holds for any q and any p(x | z), and rises with K (Burda et al. 2016). The images are levels 0, 1, ..., so that
p(x | z) is a probability, and no noise has to be added to them.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from score_jax.arrays import sum_per_example
from score_jax.errors import unknown_name
from score_jax.models.autoencoders.posterior import Posterior
from score_jax.typing import Batch, Image

POSTERIORS = ("widened", "constant", "encoder")
HIGHEST = 255
"""The highest level of 8 bits."""


def _log_one_minus_exp(x: Array) -> Array:
    """log(1 - exp(-x)) of x > 0, right for small and for large x."""
    return jnp.where(x > math.log(2.0), jnp.log1p(-jnp.exp(-x)), jnp.log(-jnp.expm1(-x)))


def _logistic_between(low: Array, high: Array) -> Array:
    """log of the logistic distribution's probability of an interval, by s(b) - s(a) = s(b) s(-a) (1 - exp(a - b))."""
    return jax.nn.log_sigmoid(high) + jax.nn.log_sigmoid(-low) + _log_one_minus_exp(high - low)


def _normal_between(low: Array, high: Array) -> Array:
    """The same of the normal distribution, in the tail on whose side the interval lies."""
    turned = low + high > 0
    low, high = jnp.where(turned, -high, low), jnp.where(turned, -low, high)
    below, above = jax.scipy.stats.norm.logcdf(low), jax.scipy.stats.norm.logcdf(high)
    return above + _log_one_minus_exp(above - below)


_BETWEEN: dict[str, tuple[Callable[[Array, Array], Array], Callable[[Array], Array]]] = {
    "logistic": (_logistic_between, jax.nn.log_sigmoid),
    "gaussian": (_normal_between, jax.scipy.stats.norm.logcdf),
}
"""The log of the probability of an interval, and of what lies below a point."""
DISTRIBUTIONS = tuple(_BETWEEN)


def level_log_prob(
    levels: Num[Array, "*shape"],
    means: Float[Array, "*shape"],
    log_scale: Float[Array, "..."],
    distribution: str = "logistic",
    highest: int = HIGHEST,
) -> Float[Array, "*shape"]:
    """Returns the log-probability of each level, nats: the mass within half a level of it; the tails are of the ends.

    The probabilities of all levels sum to 1 (Salimans et al. 2017, eq. 2, of one component).

    Args:
      levels: whole numbers 0..highest.
      means: where the distribution is centred, in levels; not limited to their range.
      log_scale: log of its scale in levels, of a shape that broadcasts: the normal's standard deviation, or the
        logistic's, which is 0.55 of its standard deviation.
      distribution: of `DISTRIBUTIONS`.
      highest: level.

    Raises:
      InputError: the distribution is unknown.

    >>> print(jnp.exp(level_log_prob(jnp.arange(256), jnp.full(256, -3.2), jnp.asarray(2.0))).sum().round(4))
    1.0
    """
    if distribution not in _BETWEEN:
        raise unknown_name("distribution", distribution, DISTRIBUTIONS)
    between, log_cdf = _BETWEEN[distribution]
    distance, inverse = levels.astype(means.dtype) - means, jnp.exp(-log_scale)
    low, high = (distance - 0.5) * inverse, (distance + 0.5) * inverse
    inner = between(low, high)
    return jnp.where(levels <= 0, log_cdf(high), jnp.where(levels >= highest, log_cdf(-low), inner))


def activity(means: Image) -> Float[Array, "b h w"]:
    """Returns how much an image changes around each pixel: the mean of 3 x 3 absolute differences to neighbours.

    Of what the decoder makes of z it is a function of z, so a scale may depend on it.
    """
    right = jnp.abs(jnp.diff(means, axis=2, append=means[:, :, -1:]))
    down = jnp.abs(jnp.diff(means, axis=1, append=means[:, -1:]))
    change = jnp.mean(right + down, axis=-1)
    summed = jax.lax.reduce_window(change, 0.0, jax.lax.add, (1, 3, 3), (1, 1, 1), "SAME")
    count = jax.lax.reduce_window(jnp.ones_like(change), 0.0, jax.lax.add, (1, 3, 3), (1, 1, 1), "SAME")
    return summed / count


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LevelDecoder:
    """p(x | z) of levels around what a decoder makes of z.

    Attributes:
      log_scale: of each group of pixels and channel, in levels.
      edges: of the groups, in `activity`; ascending, one fewer than groups.
      distribution: of `DISTRIBUTIONS`.
    """

    log_scale: Float[Array, "g c"]
    edges: Float[Array, "e"]
    distribution: str = dataclasses.field(default="logistic", metadata={"static": True})

    def groups(self, changes: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
        """The group of each pixel, by the activity around it."""
        return jnp.searchsorted(self.edges, changes, side="right")

    def log_prob(self, images: Num[Array, "b h w c"], means: Image) -> Float[Array, "b"]:
        """The log-probability of images of levels, nats.

        Args:
          images: levels.
          means: what the decoder makes of z, in levels.
        """
        log_scale = self.log_scale.astype(means.dtype)[self.groups(activity(means))]
        return sum_per_example(level_log_prob(images, means, log_scale, self.distribution))


def widened(posterior: Posterior, kind: str, log_width: Float[Array, ""] | float) -> Posterior:
    """Returns q(z | x) of one of `POSTERIORS`, around the encoder's mean.

    Args:
      posterior: the encoder's.
      kind: "widened", the encoder's standard deviation times exp(log_width); "constant", that width for all numbers of
        all images; or "encoder".
      log_width: log of the factor, or of the standard deviation of z.

    Raises:
      InputError: the kind is unknown.
    """
    if kind not in POSTERIORS:
        raise unknown_name("posterior", kind, POSTERIORS)
    if kind == "encoder":
        return posterior
    start = posterior.log_var if kind == "widened" else jnp.zeros_like(posterior.log_var)
    return Posterior(posterior.mean, start + 2.0 * log_width)


def negative_log_q(q: Posterior, eps: Batch) -> Float[Array, "b"]:
    """Returns -log q(z | x) of the draw that standard normal noise `eps` stands for, nats.

    By the noise, since z - mean of a narrow q is lost in rounding.
    """
    return 0.5 * sum_per_example(math.log(2.0 * math.pi) + q.log_var + jnp.square(eps))


def in_units_of_z(log_prob: Float[Array, "b"], z: Batch, scale: float) -> Float[Array, "b"]:
    """Returns log p(z) of the log density of x0 = scale z: that is log p(x0) + d log scale, nats."""
    return log_prob + z[0].size * math.log(scale)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Terms:
    """The parts of log w of one draw of z for each image, nats.

    Attributes:
      reconstruction: log p(x | z).
      prior: log p(z).
      entropy: -log q(z | x), whose mean is q's entropy.
    """

    reconstruction: Float[Array, "b"]
    prior: Float[Array, "b"]
    entropy: Float[Array, "b"]

    @property
    def log_weight(self) -> Float[Array, "b"]:
        """log w, of which `likelihood.bits.importance_weighted` makes the bound."""
        return self.reconstruction + self.prior + self.entropy


def terms(
    q: Posterior,
    eps: Batch,
    scale: float,
    *,
    log_prob: Callable[[Batch], tuple[Float[Array, "b"], Any]],
    log_likelihood: Callable[[Batch], Float[Array, "b"]],
) -> tuple[Terms, Any]:
    """Returns the terms of the draws z of q that `eps` stands for, and what `log_prob` says beside its value.

    Args:
      q: distribution of z of each image.
      eps: standard normal noise (b, ...).
      scale: x0 = scale z is what the model has a density of.
      log_prob: the model's log density of x0, nats, and anything else.
      log_likelihood: log p(x | z) of z, nats.
    """
    z = q.draw(eps)
    of_x0, beside = log_prob(scale * z)
    return Terms(log_likelihood(z), in_units_of_z(of_x0, z, scale), negative_log_q(q, eps)), beside
