"""What a sampler and a likelihood must know of a model beside its predictions."""

import dataclasses
from typing import Any

from score_jax.codecs.codec import Codec


@dataclasses.dataclass(frozen=True, eq=False)
class ModelFacts:
    """Facts of a model, from its config.

    Attributes:
      process: what it was trained on, of `builder.processes`.
      process_section: the `process` section, `{name, **arguments}`.
      codec: between images and its x0.
      output: what its network outputs; "" where a preconditioning says it.
      label: what number its network is given as its time; "" likewise.
    """

    process: Any
    process_section: dict[str, Any]
    codec: Codec
    output: str
    label: str

    @property
    def process_name(self) -> str:
        """The name in the config."""
        return self.process_section["name"]

    @property
    def outputs_mean(self) -> bool:
        """Whether its network outputs the mean of the level below, whose x0 published code does not clip."""
        return self.output == "mean"
