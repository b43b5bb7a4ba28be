"""At which times a sampler evaluates the model: decreasing, from `t_max` to `t_min`, `num_steps` + 1 of them."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def uniform(num_steps: int, t_min: float, t_max: float = 1.0) -> Float[Array, "n"]:
    """Even in time (Song et al. 2021)."""
    return jnp.linspace(t_max, t_min, num_steps + 1)


def uniform_indices(num_steps: int, t_min: float, t_max: float) -> Float[Array, "n"]:
    """The levels of a chain nearest to an even grid of indices."""
    return jnp.round(uniform(num_steps, t_min, t_max))
