"""The exact model of images with independent normal pixels, in four frameworks."""

import equinox as eqx
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import nnx

import score_jax as sj
from score_jax.arrays import broadcast_right

MEAN, STD = 0.1, 0.3
SHAPE = (4, 4, 1)
VP = sj.VP()


def eps_of(x, t, mean, std, process=VP):
    """The noise that is expected of x_t, of data N(mean, std^2)."""
    alpha, sigma = (broadcast_right(level, x) for level in (process.alpha(t), process.sigma(t)))
    return sigma * (x - alpha * mean) / (alpha**2 * std**2 + sigma**2)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, t):
        mean, std = (self.param(name, nn.initializers.constant(v), ()) for name, v in (("mean", MEAN), ("std", STD)))
        return eps_of(x, t, mean, std)


class Nnx(nnx.Module):
    def __init__(self, mean=MEAN):
        self.mean, self.std = nnx.Param(jnp.array(mean)), nnx.Param(jnp.array(STD))

    def __call__(self, x, t):
        return eps_of(x, t, self.mean[...], self.std[...])


class Equinox(eqx.Module):
    """Of one example, as its modules are."""

    mean: jax.Array
    std: jax.Array

    def __call__(self, x, t):
        return eps_of(x[None], t[None], self.mean, self.std)[0]


def linen():
    module, x = Linen(), jnp.zeros((1, *SHAPE))
    return jax.tree_util.Partial(module.apply, module.init(jax.random.key(0), x, jnp.ones(1)))


def bare():
    return lambda x, t: eps_of(x, t, MEAN, STD)


MODELS = {
    "bare": bare,
    "linen": linen,
    "nnx": Nnx,
    "equinox": lambda: jax.vmap(Equinox(jnp.array(MEAN), jnp.array(STD))),
}
