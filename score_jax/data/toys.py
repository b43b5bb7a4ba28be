"""Data whose noised law is known in closed form."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from score_jax.processes.gaussian import GaussianProcess
from score_jax.typing import KeyArray, Time


@functools.partial(jax.tree_util.register_dataclass, data_fields=["means", "stds", "weights"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class GaussianMixture:
    """A mixture of k isotropic Gaussians in d dimensions; under x_t = alpha x0 + sigma eps it stays one.

    Attributes:
      means: (k, d).
      stds: (k,).
      weights: (k,), summing to one.
    """

    means: Float[Array, "k d"]
    stds: Float[Array, "k"]
    weights: Float[Array, "k"]

    def sample(self, key: KeyArray, count: int) -> Float[Array, "n d"]:
        """`count` independent draws."""
        which_key, noise_key = jax.random.split(key)
        which = jax.random.choice(which_key, self.weights.size, (count,), p=self.weights)
        noise = jax.random.normal(noise_key, (count, self.means.shape[1]), self.means.dtype)
        return self.means[which] + self.stds[which][:, None] * noise

    def log_prob(self, x: Float[Array, "n d"], t: Time, process: GaussianProcess) -> Float[Array, "n"]:
        """Log density of x_t (n, d) at times t (n,), nats."""
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        variance = (alpha * self.stds[None]) ** 2 + sigma**2
        squares = jnp.sum((x[:, None, :] - alpha[..., None] * self.means[None]) ** 2, axis=-1)
        dim = x.shape[1]
        logs = jnp.log(self.weights)[None] - squares / (2 * variance) - 0.5 * dim * jnp.log(2 * jnp.pi * variance)
        return jax.nn.logsumexp(logs, axis=1)

    def score(self, x: Float[Array, "n d"], t: Time, process: GaussianProcess) -> Float[Array, "n d"]:
        """Gradient of `log_prob` in x."""
        return jax.grad(lambda y: jnp.sum(self.log_prob(y, t, process)))(x)


def four_gaussians(dtype=jnp.float32) -> GaussianMixture:
    """Four components of standard deviation .15 to .40 in the plane."""
    means = [[1.0, 0.5], [-0.8, 0.9], [-0.3, -1.1], [0.9, -0.7]]
    return GaussianMixture(
        jnp.array(means, dtype),
        jnp.array([0.15, 0.25, 0.3, 0.4], dtype),
        jnp.array([0.3, 0.2, 0.25, 0.25], dtype),
    )


def swiss_roll(key: KeyArray, count: int) -> Float[Array, "n 2"]:
    """Points of the curve (t cos t, t sin t), t uniform in (1.5 pi, 4.5 pi), centred, of mean square 1 per axis.

    The curve is infinitely thin: the data of Sohl-Dickstein et al. 2015 (figure 1) have no density, and a bound on
    their likelihood measures the resolution of the model, beta_1, as much as its fit.
    """
    first, last = 1.5 * math.pi, 4.5 * math.pi
    t = jax.random.uniform(key, (count,), minval=first, maxval=last)
    # Centre and scale are those of the law: integrals over t.
    centre = [
        (integral(last) - integral(first)) / (last - first)
        for integral in (lambda u: math.cos(u) + u * math.sin(u), lambda u: math.sin(u) - u * math.cos(u))
    ]
    mean_square = (last**3 - first**3) / (3 * (last - first)) - centre[0] ** 2 - centre[1] ** 2
    curve = t[:, None] * jnp.stack([jnp.cos(t), jnp.sin(t)], axis=1)
    return (curve - jnp.array(centre)[None]) / math.sqrt(mean_square / 2)


def heartbeat(key: KeyArray, count: int, bits: int = 20, period: int = 5) -> Float[Array, "n {bits}"]:
    """Bits with a one in every `period`-th place, of uniform phase (Sohl-Dickstein et al. 2015, appendix D.1.2)."""
    phase = jax.random.randint(key, (count, 1), 0, period)
    return (jnp.arange(bits)[None] % period == phase).astype(jnp.float32)


def draw_roll(seed: int, count: int) -> Float32[np.ndarray, "{count} 1 1 2"]:
    """Points of the swiss roll as a data set has them."""
    return np.asarray(swiss_roll(jax.random.key(seed), count), np.float32)[:, None, None]


def draw_beats(seed: int, count: int) -> UInt8[np.ndarray, "{count} 1 1 20"]:
    """Heartbeats as a data set has them: rows of black and white pixels, a one being white."""
    return (255 * np.asarray(heartbeat(jax.random.key(seed), count))).astype(np.uint8)[:, None, None]
