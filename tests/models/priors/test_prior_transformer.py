"""The diffusion prior's network: what each part of its sequence sees, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.models.priors.prior_transformer import PriorTransformer

LENGTH, WIDTH, FEATURES, DIM = 5, 6, 4, 3
PRIOR = PriorTransformer(8, 1, 2, text_length=LENGTH, text_width=WIDTH, text_features=FEATURES)
RNG = np.random.default_rng(0)
X, T = jnp.asarray(RNG.normal(size=(2, 1, 1, DIM)), jnp.float32), jnp.array([3.0, 700.0])
TEXT = {
    "context": jnp.asarray(RNG.normal(size=(2, LENGTH, WIDTH)), jnp.float32),
    "text_embedding": jnp.asarray(RNG.normal(size=(2, FEATURES)), jnp.float32),
    "context_mask": jnp.array([[True] * 3 + [False] * 2, [True] * LENGTH]),
}


@pytest.fixture(scope="module")
def variables():
    """Random, those that begin at zero too."""
    shapes = jax.eval_shape(PRIOR.init, jax.random.key(0), X, T, **TEXT)
    return jax.tree.map(lambda leaf: jnp.asarray(0.3 * RNG.normal(size=leaf.shape), jnp.float32), shapes)


def run(variables, x=X, t=T, **changes):
    return np.asarray(PRIOR.apply(variables, x, t, **(TEXT | changes)))


def test_declares_what_an_encoder_of_texts_says():
    declared = PRIOR.conditions((1, 1, DIM))
    assert {name: condition.shape for name, condition in declared.items()} == {
        "context": (LENGTH, WIDTH),
        "context_mask": (LENGTH,),
        "text_embedding": (FEATURES,),
    }


def test_padding_is_not_seen_and_all_else_is(variables):
    before = run(variables)
    assert before.shape == X.shape
    padded = TEXT["context"].at[0, 3:].add(1.0)
    np.testing.assert_allclose(run(variables, context=padded), before, atol=1e-6)
    seen = (
        run(variables, context=TEXT["context"].at[:, 1].add(1.0)),
        run(variables, text_embedding=TEXT["text_embedding"] + 1),
        run(variables, x=X + 1),
        run(variables, t=T + 20),
        run(variables, context_mask=None),
    )
    for changed in seen:
        assert abs(changed[0] - before[0]).max() > 1e-5


def test_an_example_does_not_see_the_others(variables):
    alone = PRIOR.apply(variables, X[:1], T[:1], **{name: value[:1] for name, value in TEXT.items()})
    np.testing.assert_allclose(alone, run(variables)[:1], atol=1e-6)


def test_without_causality_the_tokens_of_a_text_see_what_follows(variables):
    """One block: the last token sees the same keys either way; of two blocks the keys of the second differ."""
    deep = {"layers": 2, "text_length": LENGTH, "text_width": WIDTH, "text_features": FEATURES}
    causal, free = (PriorTransformer(8, heads=2, causal=own, **deep) for own in (True, False))
    shapes = jax.eval_shape(causal.init, jax.random.key(0), X, T, **TEXT)
    drawn = jax.tree.map(lambda leaf: jnp.asarray(0.3 * RNG.normal(size=leaf.shape), jnp.float32), shapes)
    found = [np.asarray(network.apply(drawn, X, T, **TEXT)) for network in (causal, free)]
    assert abs(found[0] - found[1]).max() > 1e-5


def test_other_lengths_and_images_are_refused(variables):
    with pytest.raises(InputError, match="This prior's texts have 5 tokens, not 4"):
        run(variables, context=TEXT["context"][:, :4], context_mask=TEXT["context_mask"][:, :4])
    with pytest.raises(InputError, match=r"draws embeddings \(1, 1, d\)"):
        run(variables, x=jnp.zeros((2, 2, 2, DIM)))
