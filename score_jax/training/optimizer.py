"""Optimizers and the moving average of parameters."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from score_jax.errors import entry_of
from score_jax.typing import Params


def learning_rate_schedule(peak: float, warmup_steps: int, decay: str, total_steps: int) -> optax.Schedule:
    """Makes a linear warmup from 0 over `warmup_steps`, then "constant" or "cosine" to 0 at `total_steps`.

    Raises:
      InputError: unknown `decay`.
    """
    tails = {
        "constant": lambda: optax.constant_schedule(peak),
        "cosine": lambda: optax.cosine_decay_schedule(peak, max(1, total_steps - warmup_steps)),
        "linear": lambda: optax.linear_schedule(peak, 0.0, max(1, total_steps - warmup_steps)),
    }
    tail = entry_of(tails, "optimizer.decay", decay)
    warmup = optax.linear_schedule(0.0, peak, max(1, warmup_steps))
    return optax.join_schedules([warmup, tail()], [warmup_steps])


def clip_by_global_norm(limit: float) -> optax.GradientTransformation:
    """Scales gradients by limit / (norm + 1e-6) where that is below 1, as PyTorch and so the originals do."""

    def update(gradients: Params, params: Params | None) -> Params:
        factor = jnp.minimum(1.0, limit / (optax.tree.norm(gradients) + 1e-6))
        return jax.tree.map(lambda g: g * factor.astype(g.dtype), gradients)

    return optax.stateless(update)


def make_optimizer(
    name: str,
    schedule: optax.Schedule,
    *,
    b1: float,
    b2: float,
    eps: float,
    weight_decay: float,
    clip_norm: float,
) -> optax.GradientTransformation:
    """Clipping by the global norm (off at 0), then "adam" (weight decay added to the gradient) or "adamw" (beside it).

    Raises:
      InputError: unknown `name`.
    """
    optimizers = {
        "adam": lambda: optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(schedule, b1, b2, eps)),
        "adamw": lambda: optax.adamw(schedule, b1, b2, eps, weight_decay=weight_decay),
    }
    optimizer = entry_of(optimizers, "optimizer.name", name)
    clip = clip_by_global_norm(clip_norm) if clip_norm > 0 else optax.identity()
    return optax.chain(clip, optimizer())


def update_ema(average: Params, params: Params, decay: float, warmup: bool, step: Int[Array, ""]) -> Params:
    """Returns average + (1 - d)(params - average); d is `decay`, in `warmup` min(decay, (1 + n) / (10 + n)), n from 1.

    The first is score_sde's JAX code, the second its PyTorch code; early in training only the second forgets the
    initial parameters.
    """
    n: Float[Array, ""] = step.astype(jnp.float32)
    rate = 1.0 - (jnp.minimum(decay, (1 + n) / (10 + n)) if warmup else decay)
    return jax.tree.map(lambda a, p: a + rate * (p - a), average, params)
