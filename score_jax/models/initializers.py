"""How the DDPM family initialises its layers."""

import jax
from jax.nn.initializers import Initializer


def fan_avg_uniform(scale: float = 1.0) -> Initializer:
    """Variance scaling, average fan, uniform (Ho et al. 2020). Scale 0 becomes 1e-10, as in the original code."""
    return jax.nn.initializers.variance_scaling(scale or 1e-10, "fan_avg", "uniform")
