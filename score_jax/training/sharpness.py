"""Sharpness-aware minimisation: the gradient at the worst parameters nearby (Foret et al. 2021, arXiv 2010.01412)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from score_jax.typing import Params


def sharpness_aware(gradients: Callable, rho: float) -> Callable:
    """Returns `gradients` with the gradient taken at params + rho g / |g|, g being that at params (eqs. 2 and 3).

    The value and whatever comes with it are those at params. A step costs two gradients.

    Args:
      gradients: `gradients(params, *rest) -> (outcome, grads)`.
      rho: the distance, in the norm over all parameters; 0: `gradients` as they are.

    >>> sharp = sharpness_aware(jax.value_and_grad(lambda x: x**2 / 2), 0.5)
    >>> value, gradient = sharp(jnp.array(2.0))
    >>> print(value, gradient)  # at 2, and at 2 + 0.5
    2.0 2.5
    """
    if rho == 0:
        return gradients

    def at_worst(params: Params, *rest: Any) -> Any:
        outcome, grads = gradients(params, *rest)
        # Where the gradient is zero, so is the step to the worst parameters.
        norm = optax.tree.norm(grads)
        factor = rho / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny)
        worst = jax.tree.map(lambda p, g: p + factor * g, params, grads)
        return outcome, gradients(worst, *rest)[1]

    return at_worst
