"""Convolutions as PyTorch's defaults make them: NCSN, improved diffusion, ADM."""

from typing import Any

import flax.linen as nn

from score_jax.models.blocks.cpu_convolution import Conv
from score_jax.models.blocks.initializers import bias_uniform, fan_in_uniform


def conv(
    in_channels: int,
    channels: int,
    kernel: int,
    name: str,
    *,
    dtype: Any = None,
    use_bias: bool = True,
    zero: bool = False,
    **kwargs: Any,
) -> nn.Conv:
    """A convolution with PyTorch's initialisation, padded to keep the size; `zero` starts it at 0.

    Args:
      in_channels: channels of its input, which the bias's spread depends on.
      channels: of its output.
      kernel: its size in both directions.
      name: of the module.
      dtype: compute dtype.
      use_bias: whether it has a bias.
      zero: initialise weights and bias with 0.
      **kwargs: of `nn.Conv`: strides, padding, kernel_dilation.
    """
    kernel_init = nn.initializers.zeros if zero else fan_in_uniform(1 / 3)
    bias_init = nn.initializers.zeros if zero else bias_uniform(in_channels * kernel**2)
    kwargs = {"padding": kernel // 2} | kwargs
    return Conv(
        channels,
        (kernel, kernel),
        use_bias=use_bias,
        kernel_init=kernel_init,
        bias_init=bias_init,
        dtype=dtype,
        name=name,
        **kwargs,
    )
