"""A CLIP as it is trained: what it takes, where its texts end, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.models.clip.clip import POOLS
from score_jax.models.clip.clip_input import MEAN, STD, from_pixels
from score_jax.models.clip.image_text import ImageText, clip

SIZES = {
    **{"image_size": 8, "features": 4, "patch": 4, "width": 8, "layers": 1, "heads": 2},
    **{"vocabulary": 10, "length": 6, "text_width": 8, "text_layers": 1, "text_heads": 1, "text_pool": "last"},
}
NETWORK = ImageText(clip(**SIZES), (8, 8, 3))


@pytest.fixture(scope="module")
def params():
    return jax.jit(NETWORK.init)(jax.random.key(0))


def test_pixels_become_what_published_networks_take():
    levels = jnp.array([0, 51, 255], jnp.uint8).reshape(1, 1, 1, 3)
    expected = (np.array([0, 0.2, 1]) - np.array(MEAN)) / np.array(STD)
    for images in (levels, levels / 255.0):
        np.testing.assert_allclose(from_pixels(images).ravel(), expected, rtol=1e-5)


def test_a_text_ends_at_its_largest_id_or_before_the_zeros():
    ids = jnp.array([[3, 9, 1, 2, 0, 0], [9, 0, 2, 0, 0, 0], [0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6]])
    np.testing.assert_array_equal(POOLS["largest"](ids), [1, 0, 0, 5])
    np.testing.assert_array_equal(POOLS["last"](ids), [3, 2, 0, 5])


def test_every_word_counts_and_zeros_after_them_do_not(params):
    encode = jax.jit(NETWORK.encode_text)
    ids = jnp.array([[9, 1, 2, 0, 0, 0], [9, 1, 3, 0, 0, 0], [9, 2, 2, 0, 0, 0], [8, 1, 2, 0, 0, 0]])
    found = encode(params, ids)
    assert float(jnp.linalg.norm(found[1:] - found[:1], axis=1).min()) > 1e-3
    np.testing.assert_allclose(encode(params, ids[:, :3]), found, rtol=1e-4, atol=1e-6)
    sequence = jax.jit(NETWORK.encode_text_sequence)(params, ids)
    projected = sequence[:, 2] @ params["text"]["projection"]
    np.testing.assert_allclose(projected, found, rtol=1e-4, atol=1e-6)


def test_convolutions_make_a_token_of_each_patch_and_of_what_is_around_it():
    """The last pixel of the first patch reaches its token; the far corner of another patch does not."""
    vision = clip(**SIZES | {"stem": 2}).vision
    image = np.zeros((1, 8, 8, 3), np.float32)
    params = jax.jit(vision.init)(jax.random.key(0), image)["params"]
    first = jax.jit(lambda x: vision.apply({"params": params}, x, method=lambda m, x: m.states(x)[0][0, 1]))
    assert params["convolutions_0"]["kernel"].shape == (3, 3, 3, 2)
    assert params["convolutions_1"]["kernel"].shape == (3, 3, 2, 4) and "patches" not in params
    changed = {place: image.copy() for place in ((3, 3), (7, 7))}
    for (y, x), pixels in changed.items():
        pixels[0, y, x] = 5.0
    apart = {place: float(np.abs(first(pixels) - first(image)).max()) for place, pixels in changed.items()}
    assert apart[7, 7] == 0 < apart[3, 3]


def test_images_of_8_bits_and_in_the_unit_interval_are_the_same(params):
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    encode = jax.jit(NETWORK.encode_image)
    found = encode(params, images)
    np.testing.assert_allclose(encode(params, jnp.asarray(images) / 255.0), found, rtol=1e-4, atol=1e-6)
    assert found.shape == (2, NETWORK.features)


def test_what_the_library_asks_of_it(params):
    assert float(NETWORK.scale(params)) == pytest.approx(1 / 0.07)
    assert NETWORK.conditions["tokens"].shape == (6,) and NETWORK.num_classes == 0 and NETWORK.flops() > 1000
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda leaf: leaf.shape, NETWORK.shapes())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 3}, "network.patch=3 does not divide data.image_size=8: give a divisor"),
        ({"heads": 3}, "network.heads=3 does not divide network.width=8"),
        ({"stem": 4, "image_size": 9, "patch": 3}, "network.stem=4 needs a patch that is a power of 2"),
        ({"text_heads": 5}, "network.text_heads=5 does not divide network.text_width=8"),
    ],
)
def test_sizes_that_do_not_divide(change, message):
    with pytest.raises(InputError, match=message):
        clip(**SIZES | change)


def test_images_and_texts_of_another_size(params):
    with pytest.raises(InputError, match=r"CLIP's images are \(9, 9, 3\)"):
        NETWORK.encode_image(params, jnp.zeros((1, 9, 9, 3)))
    with pytest.raises(InputError, match="at most 6 tokens, not 7"):
        NETWORK.encode_text(params, jnp.zeros((1, 7), jnp.int32))
