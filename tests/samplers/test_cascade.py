"""What one stage hands to the next."""

import jax
import jax.numpy as jnp
import numpy as np

from score_jax.samplers.cascade import cascade, quantised


def test_images_between_stages_are_those_of_eight_bits_truncated():
    levels = np.arange(256)
    on_levels = (levels / 127.5 - 1).reshape(1, 16, 16, 1)
    for share in (0.01, 0.5, 0.99):
        x = jnp.asarray(on_levels + share / 127.5, jnp.float32)
        np.testing.assert_allclose(quantised(x), on_levels, atol=1e-6)
    outside = jnp.array([-3.0, 1.5]).reshape(1, 1, 2, 1)
    np.testing.assert_array_equal(quantised(outside).ravel(), (-1, 1))


def test_every_stage_has_a_key_of_its_place_and_the_image_before():
    key, seen = jax.random.key(3), []

    def stage(factor):
        def draw(key, indices, labels, low_res):
            seen.append((jax.random.key_data(key), indices, labels, low_res))
            return jnp.full((2, factor, factor, 1), 0.1 * factor)

        return draw

    indices, labels = jnp.array([4, 9]), jnp.array([1, 0])
    images = cascade([stage(2), stage(4), stage(8)], key, indices, labels)
    assert [image.shape[1] for image in images] == [2, 4, 8]
    for i, (key_data, told, classes, low_res) in enumerate(seen):
        np.testing.assert_array_equal(key_data, jax.random.key_data(jax.random.fold_in(key, i)))
        np.testing.assert_array_equal((told, classes), (indices, labels))
        assert (low_res is None) == (i == 0)
        if i:
            np.testing.assert_array_equal(low_res, quantised(images[i - 1]))
