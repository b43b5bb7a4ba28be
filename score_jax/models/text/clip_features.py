"""All that a CLIP says of a text: of each token, and of the whole; what priors and decoders of unCLIP are given."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Int

from score_jax.models.clip.image_text import ImageText
from score_jax.models.conditions import DeclaredConditions
from score_jax.typing import KeyArray, Params


@dataclasses.dataclass(frozen=True, eq=False)
class ClipFeatures:
    """A CLIP's network of texts as the encoder of three conditions.

    Attributes:
      clip: the whole CLIP, whose parameters are not trained.
    """

    clip: ImageText
    makes: ClassVar[tuple[str, ...]] = ("context", "context_mask", "text_embedding")

    def conditions(self, image_shape: tuple[int, int, int]) -> DeclaredConditions:
        """The ids of a text's tokens."""
        return self.clip.conditions

    def init(self, key: KeyArray, tokens: Int[Array, "b n"]) -> dict[str, Params]:
        """Fresh parameters, of the whole CLIP."""
        return {"params": self.clip.init(key)}

    def apply(self, variables: dict[str, Params], tokens: Int[Array, "b n"]) -> dict[str, Array]:
        """The tokens at the end (b, n, width), which of them are no padding (b, n), and the text's features (b, d)."""
        params = variables["params"]
        places = jnp.arange(tokens.shape[1])[None]
        return {
            "context": self.clip.encode_text_sequence(params, tokens),
            "context_mask": places <= self.clip.end_of_text(tokens)[:, None],
            "text_embedding": self.clip.encode_text(params, tokens),
        }
