"""The best of several draws is chosen example by example."""

import jax
import jax.numpy as jnp
import numpy as np

from score_jax.arrays import cosine
from score_jax.samplers.best_of import best_of
from score_jax.samplers.sample import Samples

B, K = 6, 2


def drawn(key, ok=None):
    x = jax.random.normal(key, (B, 1, 1, 3))
    states = jnp.stack([x, 2 * x])
    return Samples(x, jnp.full(B, 5, jnp.int32), jnp.ones(B, bool) if ok is None else ok, states, jnp.arange(K) * 1.0)


def first_number(x):
    return x[:, 0, 0, 0]


def test_one_draw_is_that_of_the_key_itself():
    key = jax.random.key(0)
    found = best_of(drawn, first_number, key, 1)
    assert (found.x == drawn(key).x).all() and (found.nfe == 5).all()


def test_each_example_keeps_the_draw_that_fits_best_with_its_trajectory():
    seen = []

    def recorded(key):
        seen.append(drawn(key))
        return seen[-1]

    found = best_of(recorded, first_number, jax.random.key(0), 3)
    firsts = np.stack([first_number(each.x) for each in seen])
    assert len(seen) == 3 and len(set(np.argmax(firsts, axis=0))) > 1
    np.testing.assert_array_equal(first_number(found.x), firsts.max(axis=0))
    np.testing.assert_array_equal(found.trajectory[1], 2 * found.x)
    assert (found.nfe == 15).all() and found.ok.all()


def test_a_draw_that_gave_up_is_not_chosen():
    first = []

    def half(key):
        first.append(key)
        return drawn(key, jnp.full(B, len(first) == 1))

    found = best_of(half, first_number, jax.random.key(1), 2)
    assert (found.x == drawn(first[0]).x).all() and found.ok.all()


def test_cosine():
    a, b = jnp.array([[3.0, 0.0], [1.0, 1.0]]), jnp.array([[1.0, 1.0], [-2.0, -2.0]])
    np.testing.assert_allclose(cosine(a, b), [0.5**0.5, -1.0], rtol=1e-6)
