"""Codes of embeddings: principal components, their buckets, and the way there and back."""

import jax.numpy as jnp
import numpy as np
import pytest
from test_image_embeddings import Means

from score_jax.arrays import cosine
from score_jax.codecs.codec import Codec
from score_jax.codecs.embedding_codes import CodeStatistics, EmbeddingCodes, bucket
from score_jax.codecs.embeddings import CLIP, STATISTICS

RNG = np.random.default_rng(0)
ROTATION = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
DEVIATIONS = np.array([5.0, 2.0, 0.1])
EMBEDDINGS = (RNG.normal(size=(4096, 3)) * DEVIATIONS) @ ROTATION.T + 7.0
TEXTS = np.ones((4096, 3))


def codec_of(components: int, buckets: int) -> EmbeddingCodes:
    sizes = CodeStatistics(3, components, buckets, alignments=4)
    measured = sizes.measured(EMBEDDINGS, TEXTS)
    assert {name: each.shape for name, each in measured.items()} == {
        name: each.shape for name, each in sizes.shapes().items()
    }
    return EmbeddingCodes(Means(), sizes).at({CLIP: jnp.float32(1), STATISTICS: measured})


def encoded(codec: EmbeddingCodes) -> jnp.ndarray:
    return codec.encode(jnp.asarray(EMBEDDINGS[:, None, None], jnp.float32))


def test_components_are_the_directions_of_largest_variance():
    basis = codec_of(3, 8).measured["basis"]
    np.testing.assert_allclose(np.abs(ROTATION.T @ basis), np.eye(3), atol=0.03)
    assert (np.take_along_axis(np.asarray(basis), np.abs(basis).argmax(axis=0)[None], axis=0) > 0).all()


def test_buckets_hold_the_same_share_and_codes_come_back():
    codec = codec_of(2, 16)
    codes = encoded(codec)
    assert isinstance(codec, Codec) and codes.shape == (4096, *codec.shape((8, 8, 3))) == (4096, 1, 1, 2)
    for k in range(2):
        assert (np.bincount(np.asarray(codes[..., k], int).ravel(), minlength=16) == 256).all()
    np.testing.assert_array_equal(codec.encode(codec.decode(codes)), codes)
    assert codec.bounds == (codes.min(), codes.max())


@pytest.mark.parametrize(("components", "left"), [(1, 2.0**2 + 0.1**2), (2, 0.1**2)])
def test_what_is_lost_is_what_was_left_out_and_the_width_of_buckets(components, left):
    lost = []
    for buckets in (4, 64):
        codec = codec_of(components, buckets)
        lost.append(float(np.mean(np.sum((codec.decode(encoded(codec))[:, 0, 0] - EMBEDDINGS) ** 2, axis=-1))))
    assert lost[1] < lost[0] and lost[1] > 0.9 * left
    assert lost[1] - left < 0.03 * np.sum(DEVIATIONS[:components] ** 2)


def test_a_bucket_stands_for_the_mean_of_its_values():
    codec = codec_of(1, 4)
    codes = np.asarray(encoded(codec)).ravel()
    measured = {name: np.asarray(each) for name, each in codec.measured.items()}
    values = (EMBEDDINGS - measured["mean"]) @ measured["basis"][:, 0]
    means = [values[codes == code].mean() for code in range(4)]
    np.testing.assert_allclose(measured["centres"][0], means, rtol=1e-3)


def test_alignments_are_quantiles_of_cosines():
    codec = codec_of(1, 4)
    images, texts = jnp.asarray(EMBEDDINGS), jnp.asarray(TEXTS)
    cosines = np.asarray(cosine(images, texts))
    expected = (EMBEDDINGS * TEXTS).sum(-1) / np.linalg.norm(EMBEDDINGS, axis=-1) / np.sqrt(3)
    np.testing.assert_allclose(cosines, expected, rtol=1e-5)
    places = np.asarray(codec.alignment(images, texts))
    assert (np.abs(np.bincount(places, minlength=4) - 1024) <= 2).all()
    assert cosines[places == 3].min() >= cosines[places == 2].max()


def test_equal_values_leave_buckets_empty_and_decode_to_a_number():
    measured = CodeStatistics(3, 1, 4, 2).measured(np.ones((64, 3)), np.ones((64, 3)))
    assert np.isfinite(np.asarray(measured["centres"])).all()
    assert bucket(jnp.zeros((2, 1)), measured["edges"][None]).shape == (2, 1)
