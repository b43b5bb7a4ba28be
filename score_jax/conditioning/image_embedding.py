"""The embedding of an image as a condition: as a prior draws it, or as a CLIP makes it (unCLIP, section 2.1)."""

from collections.abc import Mapping

from jaxtyping import Array, Float, PyTree

from score_jax.codecs.codec import Codec
from score_jax.codecs.embeddings import CLIP, ImageEncoder
from score_jax.conditioning.conditioners import Conditioner
from score_jax.errors import InputError
from score_jax.typing import Image

IMAGE_EMBEDDING = "image_embedding"
"""The entry of a batch (b, d), in the network's own units; of zeros where there is none."""
SHOWN = "shown"
"""The entry of a batch of images (b, h, w, 3) in uint8 whose embeddings are taken, if they are not those of `image`."""


def of_clip(clip: ImageEncoder) -> Conditioner:
    """Returns the embedding that a batch has, or else that of its images by `clip`, which is not trained."""

    def conditioner(batch: Mapping[str, Array], x0: Image | None, codec: Codec, frozen: PyTree) -> Float[Array, "b _"]:
        if IMAGE_EMBEDDING in batch:
            return batch[IMAGE_EMBEDDING].reshape(len(batch[IMAGE_EMBEDDING]), -1)
        images = batch.get(SHOWN, batch.get("image"))
        if images is None:
            raise InputError(
                "This model draws images of an embedding, and there is none: give a cascade whose first stage is a "
                "prior, or an image by --image=FILE."
            )
        return clip.encode_image(frozen[CLIP], images)

    return conditioner
