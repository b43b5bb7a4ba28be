"""How the originals initialise their layers."""

import jax
from jax.nn.initializers import Initializer


def fan_avg_uniform(scale: float = 1.0) -> Initializer:
    """Variance scaling, average fan, uniform (Ho et al. 2020). Scale 0 becomes 1e-10, as in the original code."""
    return jax.nn.initializers.variance_scaling(scale or 1e-10, "fan_avg", "uniform")


def fan_in_uniform(scale: float = 1.0) -> Initializer:
    """Variance scaling, fan in, uniform; scale 1/3 is PyTorch's default for convolution and linear kernels."""
    return jax.nn.initializers.variance_scaling(scale, "fan_in", "uniform")


def bias_uniform(fan_in: int) -> Initializer:
    """U(-1, 1) / sqrt(fan_in): PyTorch's default for biases."""
    bound = fan_in**-0.5
    return lambda key, shape, dtype=None, out_sharding=None: jax.random.uniform(key, shape, dtype, -bound, bound)
