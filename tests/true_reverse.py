"""The reverse kernel of a chain where it is known."""

import jax.numpy as jnp


def true_reverse(chain, std):
    """The reverse kernel of data N(0, std²): from x_t at level t to mean and variance of x_{t-1}."""

    def reverse(x, t):
        a, _ = chain.kernel(t, t - 1)
        before, now = ((chain.alpha(u) * std) ** 2 + chain.sigma(u) ** 2 for u in (t - 1, t))
        return (a * before / now)[:, None] * x, (before - (a * before) ** 2 / now)[:, None] * jnp.ones_like(x)

    return reverse
