"""Layer normalisation as PyTorch's default."""

import flax.linen as nn


def layer_norm(name: str | None = None, *, epsilon: float = 1e-5) -> nn.LayerNorm:
    """Layer norm as PyTorch's default: the variance by squares of differences, plus epsilon.

    Its output is float32 whatever the compute dtype.
    """
    return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, name=name)
