"""The embedding of an image: that of the batch, of a copy for the CLIP, or of the image itself."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.codecs.embeddings import CLIP
from score_jax.codecs.pixels import Pixels
from score_jax.conditioning.image_embedding import IMAGE_EMBEDDING, SHOWN, of_clip
from score_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Means:
    """A network that says the mean of each channel, times its parameter."""

    features: int = 3

    def encode_image(self, params, images):
        return params * images.astype(jnp.float32).mean(axis=(1, 2))


def test_what_is_embedded():
    conditioner = of_clip(Means())
    rng, frozen = np.random.default_rng(0), {CLIP: jnp.float32(2)}
    image, shown = (jnp.asarray(rng.integers(0, 256, (2, size, size, 3)), jnp.uint8) for size in (4, 8))
    drawn = jnp.asarray(rng.normal(size=(2, 1, 1, 3)), jnp.float32)
    batch = {"image": image}
    for name, array, expected in (
        ("image", image, 2 * np.asarray(image).mean(axis=(1, 2))),
        (SHOWN, shown, 2 * np.asarray(shown).mean(axis=(1, 2))),
        (IMAGE_EMBEDDING, drawn, np.asarray(drawn)[:, 0, 0]),
    ):
        batch[name] = array
        np.testing.assert_allclose(conditioner(batch, None, Pixels(), frozen), expected, rtol=1e-5)


def test_without_any_there_is_a_line():
    with pytest.raises(InputError, match="draws images of an embedding, and there is none"):
        of_clip(Means())({}, None, Pixels(), {CLIP: jnp.float32(2)})
