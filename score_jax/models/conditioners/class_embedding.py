"""A class as the only token of a context (Rombach et al. 2022; ClassEmbedder in the original)."""

from typing import ClassVar

import flax.linen as nn
from jaxtyping import Array, Float, Int

from score_jax.models.conditions import DeclaredConditions, class_label


class ClassEmbedder(nn.Module):
    """A learned vector per class.

    Attributes:
      num_classes: number of classes, with the last that can stand for none.
      width: channels of the token.
    """

    num_classes: int
    width: int

    makes: ClassVar[str] = "context"

    def conditions(self, image_shape: tuple[int, int, int]) -> DeclaredConditions:
        """The class of an example."""
        return class_label(self.num_classes)

    @nn.compact
    def __call__(self, label: Int[Array, "b"]) -> Float[Array, "b 1 _"]:
        """The context (b, 1, width) of classes (b,)."""
        init = nn.initializers.normal(1.0)
        return nn.Embed(self.num_classes, self.width, embedding_init=init, name="embedding")(label)[:, None]
