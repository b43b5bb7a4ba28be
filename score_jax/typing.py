"""The few types that all rooms share."""

from collections.abc import Callable
from typing import Literal

from jaxtyping import Array, Float, Key, PyTree

KeyArray = Key[Array, ""]
KeyBatch = Key[Array, "b"]
"""One key per example, so that no draw depends on the batch an example happens to be in."""
Batch = Float[Array, "b ..."]
Image = Float[Array, "b h w c"]
Resized = Float[Array, "b _ _ _"]
"""Images whose size or channels are not those of the images that came in."""
Scalar = float | Float[Array, ""]
"""A number, or an array where it is learned."""
Time = Float[Array, "b"]
"""Continuous time, one per example; t = 0 is data, noise grows with t."""
Rounding = Literal["truncated", "rounded"]
"""How a number between two of the 256 levels becomes one."""
Params = PyTree[Array]
Apply = Callable[..., Array]
"""`apply(params, x, label, train=False, rngs=None)`: a network as a pure function."""
