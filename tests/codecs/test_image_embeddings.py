"""Embeddings as x0: their statistics, and the way there and back."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from score_jax.codecs.codec import Codec
from score_jax.codecs.embeddings import CLIP, STATISTICS, ImageEmbeddings, Statistics


@dataclasses.dataclass(frozen=True)
class Means:
    """A network that says the mean of each channel, times its parameter."""

    features: int = 3

    def encode_image(self, params, images):
        return params * images.astype(jnp.float32).mean(axis=(1, 2))


IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 256, (16, 4, 4, 3)), jnp.uint8)
EMBEDDINGS = Means().encode_image(jnp.float32(2), IMAGES)
CODEC = ImageEmbeddings(Means()).at(
    {CLIP: jnp.float32(2), STATISTICS: Statistics(3).measured(np.asarray(EMBEDDINGS), None)}
)


def test_embeddings_of_training_have_mean_zero_and_deviation_one():
    x0 = CODEC.encode(IMAGES)
    assert isinstance(CODEC, Codec) and x0.shape == (16, *CODEC.shape((4, 4, 3))) == (16, 1, 1, 3)
    np.testing.assert_allclose(x0.mean(axis=0).ravel(), 0, atol=1e-5)
    np.testing.assert_allclose(x0.std(axis=0).ravel(), 1, atol=1e-5)


def test_decoding_is_encoding_backwards_in_the_networks_own_units():
    np.testing.assert_allclose(CODEC.decode(CODEC.encode(IMAGES))[:, 0, 0], EMBEDDINGS, rtol=1e-5)
    np.testing.assert_allclose(CODEC.encode(EMBEDDINGS[:, None, None]), CODEC.encode(IMAGES), atol=1e-5)
    trajectory = jnp.stack([CODEC.encode(IMAGES)] * 2)
    np.testing.assert_allclose(CODEC.decode(trajectory)[1], CODEC.decode(trajectory[1]))


def test_a_number_that_never_changes_is_not_divided_by_zero():
    found = Statistics(2).measured(np.array([[1.0, 5.0], [3.0, 5.0]]), None)
    assert found["std"].tolist() == [1.0, 1.0] and found["mean"].tolist() == [2.0, 5.0]
    assert {name: leaf.shape for name, leaf in Statistics(2).shapes().items()} == {"mean": (2,), "std": (2,)}
