"""A finite ladder of noise levels, as NCSN and the discrete VE models index them."""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from score_jax.errors import unknown_name

_SPACINGS: dict[str, Callable[[float, float, int], np.ndarray]] = {
    "geometric": lambda a, b, n: np.exp(np.linspace(np.log(a), np.log(b), n)),
    "uniform": np.linspace,
}


@dataclasses.dataclass(frozen=True)
class NoiseLevels:
    """sigma_0 > ... > sigma_{count-1}: index 0 is the most noise, as in NCSN (Song and Ermon 2019, section 3.1).

    Attributes:
      sigma_max: the first level.
      sigma_min: the last level.
      count: how many (`L` of NCSN, `N` of Song et al. 2021).
      spacing: "geometric" or "uniform".
      rounded: to float32, as ermongroup/ncsnv2 keeps them; of effect in float64 runs alone.

    Raises:
      InputError: the spacing is unknown.
    """

    sigma_max: float
    sigma_min: float
    count: int
    spacing: str = "geometric"
    rounded: bool = False

    def __post_init__(self) -> None:
        if self.spacing not in _SPACINGS:
            raise unknown_name("spacing of noise levels", self.spacing, _SPACINGS)

    @property
    def sigmas(self) -> Float[np.ndarray, "count"]:
        """The descending table, float64."""
        sigmas = _SPACINGS[self.spacing](self.sigma_max, self.sigma_min, self.count)
        return sigmas.astype(np.float32).astype(np.float64) if self.rounded else sigmas
