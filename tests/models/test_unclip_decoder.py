"""unCLIP's decoder: an embedding and a caption reach it by both ways, and zeros stand for none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.models.unets.unclip import EmbeddingConditions, UnCLIPDecoder

SIZES = {"channels": 8, "channel_mult": (1, 1), "num_res_blocks": 1, "attention_factors": (2,), "norm_groups": 4}
SIZES |= {"image_features": 3, "context_width": 5, "extra_tokens": 2, "num_head_channels": 4, "learn_sigma": False}
DECODER = UnCLIPDecoder(**SIZES, text_length=4, text_width=6, text_features=7)
RNG = np.random.default_rng(0)


def normal(*shape):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


X, T = normal(2, 4, 4, 3), jnp.array([3.0, 700.0])
GIVEN = {
    "image_embedding": normal(2, 3),
    "context": normal(2, 4, 6),
    "text_embedding": normal(2, 7),
    "context_mask": jnp.array([[True, True, False, False], [True] * 4]),
}


def random_like(module, *args, **kwargs):
    """Random parameters, those that begin at zero too."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args, **kwargs)
    return jax.tree.map(lambda leaf: 0.5 * normal(*leaf.shape), shapes)


@pytest.fixture(scope="module")
def run():
    variables = random_like(DECODER, X, T, **GIVEN)
    apply = jax.jit(DECODER.apply)
    return lambda **changes: np.asarray(apply(variables, X, T, **(GIVEN | changes)))


def test_padding_is_not_seen_and_all_else_is(run):
    before = run()
    assert before.shape == X.shape
    np.testing.assert_allclose(run(context=GIVEN["context"].at[0, 2:].add(1.0)), before, atol=2e-5)
    for changes in (
        {"context": GIVEN["context"].at[:, 1].add(1.0)},
        {"text_embedding": GIVEN["text_embedding"] + 1},
        {"image_embedding": GIVEN["image_embedding"] + 1},
        {"context_mask": jnp.ones((2, 4), bool)},
    ):
        assert abs(run(**changes)[0] - before[0]).max() > 1e-3, changes.keys()


def test_zeros_stand_for_the_learned_embedding_in_time_and_in_tokens():
    module = EmbeddingConditions(5, 6, 2, text=False)
    variables = random_like(module, jnp.zeros((1, 3)))
    null = variables["params"]["null_image_embedding"]
    of_zeros = module.apply(variables, jnp.zeros((1, 3)))
    assert all(map(np.array_equal, of_zeros, module.apply(variables, null[None])))
    others = jax.tree.map(lambda leaf: leaf, variables)
    others["params"]["null_image_embedding"] = null + 1
    assert all(abs(a - b).max() > 1e-3 for a, b in zip(of_zeros, module.apply(others, jnp.zeros((1, 3))), strict=True))
    given = normal(1, 3)
    assert all(map(np.array_equal, module.apply(variables, given), module.apply(others, given)))


def test_a_decoder_without_captions_declares_and_takes_none():
    plain = UnCLIPDecoder(**SIZES)
    assert set(plain.conditions((4, 4, 3))) == {"image_embedding"}
    assert set(DECODER.conditions((4, 4, 3))) == set(GIVEN)
    z = {"image_embedding": GIVEN["image_embedding"]}
    assert plain.apply(random_like(plain, X, T, **z), X, T, **z).shape == X.shape
    with pytest.raises(InputError, match="takes no condition 'context'"):
        plain.init(jax.random.key(0), X, T, **GIVEN)
    with pytest.raises(InputError, match="takes a condition 'context'"):
        DECODER.init(jax.random.key(0), X, T, **z)
