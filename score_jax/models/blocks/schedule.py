"""A network beside the learned schedule of its chain: parameters that are trained together."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from score_jax.typing import Batch, Time


class WithSchedule(nn.Module):
    """The network, and the logits of the betas, which it does not see (Sohl-Dickstein et al. 2015, section 2.4.1).

    Attributes:
      network: called as `network(x, t)`.
      logits: initialiser of the logits (num_levels - 1,).
      num_levels: T; the first beta is not learned.
    """

    network: nn.Module
    logits: Callable[..., Any]
    num_levels: int

    def setup(self):
        """The parameter "schedule"."""
        self.schedule = self.param("schedule", self.logits, (self.num_levels - 1,))

    def __call__(self, x: Batch, t: Time, **kwargs):
        """What the network says of x (b, ...) at levels t (b,)."""
        return self.network(x, t, **kwargs)
