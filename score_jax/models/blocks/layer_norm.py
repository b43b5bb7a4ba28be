"""Layer normalisation as PyTorch's default."""

import flax.linen as nn


def layer_norm(name: str | None = None) -> nn.LayerNorm:
    """Layer norm as PyTorch's default: epsilon 1e-5, and the variance by squares of differences.

    Its output is float32 whatever the compute dtype.
    """
    return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)
