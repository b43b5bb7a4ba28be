"""A Gaussian chain whose betas are learned (Sohl-Dickstein et al. 2015, section 2.4.1).

The noise is held fixed while the schedule moves ("frozen noise"): x_t = alpha x0 + sigma eps is differentiable in the
levels. beta_1 is no parameter: it sets the resolution of the model and would go to 0.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_jax.errors import InputError, unknown_name
from score_jax.processes.chain import Chain
from score_jax.processes.schedules import jsd

_LARGEST = 1 - 1e-3
"""A beta of 1 has no finite logit, and no inverse of its scale."""


def chain_of_logits(logits: Float[Array, "n"], beta_1: float) -> Chain:
    """Returns the chain with betas [beta_1, sigmoid(logits)], (n + 1,) levels, as a function of the logits."""
    log_kept = jnp.append(jnp.log1p(-jnp.asarray(beta_1, logits.dtype)), jax.nn.log_sigmoid(-logits))
    log_alphas = 0.5 * jnp.cumsum(log_kept)
    return Chain(log_alphas, jnp.sqrt(-jnp.expm1(2 * log_alphas)))


def _logit(betas: Float[np.ndarray, "n"]) -> Float[Array, "n"]:
    betas = np.minimum(betas, _LARGEST)
    return jnp.asarray(np.log(betas) - np.log1p(-betas), jnp.float32)


def log_spaced(num_levels: int, beta_1: float, noise_at_end: float = 0.999) -> Float[Array, "n"]:
    """Returns logits of the schedule whose noise variances are geometric from beta_1 to `noise_at_end`.

    Raises:
      InputError: they do not increase.
    """
    if not 0 < beta_1 < noise_at_end < 1:
        raise InputError(f"beta_1={beta_1:g}: expected between 0 and the last variance {noise_at_end:g}.")
    variances = np.geomspace(beta_1, noise_at_end, num_levels)
    return _logit(1 - (1 - variances[1:]) / (1 - variances[:-1]))


def equal_shares(num_levels: int) -> Float[Array, "n"]:
    """Returns logits of 1 / (T - t + 1), the paper's schedule for bits, with its last beta just below 1."""
    return _logit(jsd(num_levels)[1:])


STARTS: dict[str, Callable[[int, float], Float[Array, "n"]]] = {
    "log_spaced": log_spaced,
    "equal_shares": lambda num_levels, beta_1: equal_shares(num_levels),
}
"""The logits with which a schedule begins, of `num_levels` and `beta_1`."""


@dataclasses.dataclass(frozen=True)
class LearnedChain:
    """A Gaussian chain whose schedule is learned with the model: `at` makes the chain from its logits.

    Attributes:
      num_levels: T, the number of levels.
      beta_1: the first beta, which is not learned.
      start: the schedule that training starts from, of `STARTS`.
      learned: train the schedule; otherwise it stays as it starts.

    Raises:
      InputError: there are fewer than two levels, beta_1 is not possible, or the start is unknown.
    """

    num_levels: int
    beta_1: float
    start: str = "log_spaced"
    learned: bool = True

    def __post_init__(self):
        if self.num_levels < 2:
            raise InputError(
                f"process.num_levels={self.num_levels}: give at least 2, as the first step is not learned."
            )
        if self.start not in STARTS:
            raise unknown_name("process.start", self.start, STARTS)
        _ = self.logits

    @property
    def logits(self) -> Float[Array, "{self.num_levels}-1"]:
        """Of the betas but the first, at the start."""
        return STARTS[self.start](self.num_levels, self.beta_1)

    def at(self, logits: Float[Array, "{self.num_levels}-1"]) -> Chain:
        """The chain with these logits."""
        return chain_of_logits(logits, self.beta_1)
