"""A network that features are taken of, whatever file its weights came in."""

import dataclasses
from typing import Any

from score_jax.typing import Params


@dataclasses.dataclass(frozen=True, eq=False)
class Scorer:
    """A network and its parameters.

    Attributes:
      module: the Linen module.
      params: its parameters.
      sha256: of the published tensors.
      name: of its features, such as "mae_vitl16", so that a number says it.
    """

    module: Any
    params: Params
    sha256: str
    name: str
