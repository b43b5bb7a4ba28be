"""How well an image goes with its text, as a condition of a prior of codes (Ramesh et al. 2022, section 2.2.1)."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from score_jax.codecs.codec import Codec
from score_jax.codecs.embedding_codes import EmbeddingCodes
from score_jax.codecs.embeddings import CLIP
from score_jax.conditioning.conditioners import Conditioner
from score_jax.models.clip.image_text import ImageText
from score_jax.models.conditions import TOKENS
from score_jax.typing import Image

ALIGNMENT = "alignment"
"""The condition: the bucket of the cosine of the embeddings of an image and of its text (b,), or the null value."""


def of_pair(clip: ImageText, null: int) -> Conditioner:
    """Returns the bucket of a batch's images and texts by `clip`; of a batch without images, for which a sampler draws
    it, the null value."""

    def conditioner(batch: Mapping[str, Array], x0: Image | None, codec: Codec, frozen: PyTree) -> Int[Array, "b"]:
        if "image" not in batch:
            return jnp.full(len(batch[TOKENS]), null, jnp.int32)
        assert isinstance(codec, EmbeddingCodes)
        of_texts = clip.encode_text(frozen[CLIP], batch[TOKENS])
        return codec.alignment(codec.embed(batch["image"]), of_texts).astype(jnp.int32)

    return conditioner
