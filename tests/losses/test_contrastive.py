"""The contrastive loss in closed form, and shifts of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.losses.contrastive import contrastive, is_best, logits_of, same_texts, shifted

EYE = jnp.eye(4, dtype=bool)


def test_equal_logits_are_a_guess_among_the_batch():
    np.testing.assert_allclose(contrastive(jnp.full((4, 4), 3.0), EYE), np.log(4), rtol=1e-6)


def test_it_is_the_mean_of_both_cross_entropies():
    logits = jax.random.normal(jax.random.key(0), (4, 4))
    rows, columns = (np.exp(logits) / np.exp(logits).sum(axis=axis, keepdims=True) for axis in (1, 0))
    expected = -(np.log(np.diag(rows)) + np.log(np.diag(columns))) / 2
    np.testing.assert_allclose(contrastive(logits, EYE), expected, rtol=1e-5)


def test_the_gradient_of_the_scale():
    """Of orthonormal pairs the loss is log(1 + (b - 1) exp(-s)), and falls by (b - 1) / (exp(s) + b - 1)."""
    eye, scale = jnp.eye(4), jnp.float32(1.5)

    def mean(scale):
        return contrastive(logits_of(eye, eye, scale), EYE).mean()

    value, gradient = jax.value_and_grad(mean)(scale)
    np.testing.assert_allclose(value, np.log1p(3 * np.exp(-1.5)), rtol=1e-6)
    np.testing.assert_allclose(gradient, -3 / (np.exp(1.5) + 3), rtol=1e-5)


def test_pairs_with_the_same_text_are_no_negatives_of_each_other():
    ids = jnp.array([[1, 2], [3, 2], [1, 2], [1, 4]])
    same = same_texts(ids)
    np.testing.assert_array_equal(same, np.eye(4) + np.eye(4)[[2, 1, 0, 3]] * np.array([[1], [0], [1], [0]]))
    np.testing.assert_allclose(contrastive(jnp.zeros((4, 4)), same), np.log([3, 4, 3, 4]), rtol=1e-6)
    # Neither the loss nor its gradient sees their logits.
    logits = jax.random.normal(jax.random.key(1), (4, 4))
    value, gradient = jax.value_and_grad(lambda x: contrastive(x, same).sum())(logits)
    assert np.isfinite(gradient).all() and gradient[0, 2] == gradient[2, 0] == 0 and (gradient[0, 1:2] != 0).all()
    other = logits.at[0, 2].set(50.0).at[2, 0].set(-50.0)
    np.testing.assert_array_equal(contrastive(other, same).sum(), value)
    # A batch of one text alone has nothing to tell apart.
    np.testing.assert_array_equal(contrastive(logits, jnp.ones((4, 4), bool)), 0)


def test_the_share_of_right_texts_leaves_the_same_text_out():
    logits = jnp.array([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    np.testing.assert_array_equal(is_best(logits, jnp.eye(3, dtype=bool)), [False, True, False])
    same = jnp.array([[True, True, False], [True, True, False], [False, False, True]])
    np.testing.assert_array_equal(is_best(logits, same), [True, True, False])


@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.float32])
def test_a_shift_moves_each_image_by_its_own_key_and_repeats_its_edge(dtype):
    images = jax.random.randint(jax.random.key(2), (64, 6, 5, 3), 0, 256).astype(dtype)
    keys = jax.random.split(jax.random.key(3), 64)
    moved, seen = np.asarray(shifted(keys, images, 2)), set()
    assert moved.dtype == images.dtype and moved.shape == images.shape
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    for before, after in zip(padded, moved, strict=True):
        cuts = [(y, x) for y in range(5) for x in range(5) if np.array_equal(before[y : y + 6, x : x + 5], after)]
        assert len(cuts) == 1
        seen.update(cuts)
    assert {y for y, _ in seen} == {x for _, x in seen} == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(shifted(keys[5:9], images[5:9], 2), moved[5:9])
    np.testing.assert_array_equal(shifted(keys, images, 0), images)
