"""At which times a sampler evaluates the model: decreasing, from 1 to `t_min`, `num_steps` + 1 of them."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def uniform(num_steps: int, t_min: float) -> Float[Array, "n"]:
    """Even in time (Song et al. 2021)."""
    return jnp.linspace(1.0, t_min, num_steps + 1)
