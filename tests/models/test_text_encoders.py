"""The text encoders of latent diffusion: published sizes, epsilons, and which token sees which."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_latent_unet import filled, norms, shapes_of

from score_jax.errors import InputError
from score_jax.models.clip.clip_transformer import Block
from score_jax.models.text.bert import TextTransformer
from score_jax.models.text.clip_text import CLIPText

BERT = TextTransformer(vocabulary=20, length=7, width=16, layers=2, heads=2, head_width=4)
CLIP = CLIPText(vocabulary=20, length=7, width=16, layers=2, heads=2)
TOKENS = jnp.array([[3, 4, 5, 6, 7], [3, 4, 9, 6, 7]])
# Counts of the originals, without the layer to the vocabulary that latent diffusion does not use.
PUBLISHED = {
    "txt2img": (542_895_360, TextTransformer(30522, 77, 1280, 32)),
    "text2img256": (166_590_080, TextTransformer(30522, 77, 640, 32)),
    "layout": (54_656_000, TextTransformer(8192, 92, 512, 16)),
    "stable-diffusion-1": (123_060_480, CLIPText()),
    "stable-diffusion-2": (340_387_840, CLIPText(width=1024, layers=23, heads=16, activation="gelu")),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_encoders_have_their_sizes(name):
    count, module = PUBLISHED[name]
    tokens = module.conditions((64, 64, 4))["tokens"]
    assert tokens.shape == (module.length,) and tokens.dtype == jnp.int32 and tokens.num_values is None
    params = shapes_of(module, jax.ShapeDtypeStruct((1, module.length), jnp.int32))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == count


@pytest.mark.parametrize("module", [BERT, CLIP], ids=["bert", "clip"])
def test_every_norm_has_pytorchs_epsilon(module):
    """1e-5, which float32 does not tell from flax's 1e-6."""
    found = norms(module, TOKENS)
    assert len(found) == 2 * module.layers + 1 and {norm.epsilon for norm in found.values()} == {1e-5}


def encode(module, tokens, **settings):
    params = filled(shapes_of(module, tokens))
    return jax.jit(lambda tokens: module.clone(**settings).apply({"params": params}, tokens))(tokens)


@pytest.mark.parametrize(("module", "causal"), [(BERT, False), (CLIP, True)], ids=["bert", "clip"])
def test_which_tokens_see_a_change(module, causal):
    y = encode(module, TOKENS)
    assert y.shape == (2, 5, 16)
    changed = np.abs(y[0] - y[1]).max(axis=-1)
    assert (changed[2:] > 1e-3).all()
    assert (changed[:2] == 0).all() if causal else (changed[:2] > 1e-3).all()


@pytest.mark.parametrize("module", [BERT, CLIP], ids=["bert", "clip"])
def test_outputs_are_normalised_and_positions_count(module):
    params = filled(shapes_of(module, TOKENS))
    params["norm_out"] = {"scale": np.ones(16, np.float32), "bias": np.zeros(16, np.float32)}
    y = module.apply({"params": params}, jnp.array([[3, 3, 3]]))
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(axis=-1), 1, rtol=1e-2)
    assert np.abs(y[0, 0] - y[0, 2]).max() > 1e-2


def test_padding_is_seen_unless_a_mask_hides_it():
    params = {"params": filled(shapes_of(BERT, TOKENS))}
    apply = jax.jit(lambda tokens, mask: BERT.apply(params, tokens, mask))
    all_count, some_count = jnp.ones((2, 5), bool), jnp.array([[1, 1, 0, 1, 1]] * 2, bool)
    np.testing.assert_allclose(apply(TOKENS, all_count), apply(TOKENS, None), rtol=1e-4, atol=1e-5)
    hidden = apply(TOKENS, some_count)  # the texts differ at that token alone
    np.testing.assert_allclose(hidden[0, [0, 1, 3, 4]], hidden[1, [0, 1, 3, 4]], rtol=1e-4, atol=1e-5)
    assert np.abs(hidden - apply(TOKENS, all_count)).max() > 1e-2


def test_a_skipped_layer_is_as_if_it_did_not_exist():
    skipped = CLIP.clone(layers=3, skip_last=1)
    assert shapes_of(skipped, TOKENS) == shapes_of(CLIP, TOKENS)
    np.testing.assert_array_equal(encode(skipped, TOKENS), encode(CLIP, TOKENS))


def test_the_activation_is_chosen():
    x = jnp.zeros((1, 1, 4))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes_of(Block(1), x))
    params["hidden"]["bias"][0] = params["out"]["kernel"][0, 0] = 1.0
    exact = 0.5 * (1 + math.erf(1 / math.sqrt(2)))
    for activation, expected in (("gelu", exact), ("quick_gelu", 1 / (1 + math.exp(-1.702)))):
        found = Block(1, activation).apply({"params": params}, x)
        np.testing.assert_allclose(found[0, 0], [expected, 0, 0, 0], rtol=1e-6)
    with pytest.raises(InputError, match="Did you mean 'gelu'"):
        shapes_of(CLIP.clone(activation="gelus"), TOKENS)


@pytest.mark.parametrize("module", [BERT, CLIP], ids=["bert", "clip"])
def test_texts_that_are_too_long_are_refused(module):
    with pytest.raises(InputError, match="at most 7 tokens, not 8: cut them"):
        shapes_of(module, jnp.zeros((1, 8), jnp.int32))


def test_bfloat16_stays_near_float32():
    for module in (BERT, CLIP):
        y, half = encode(module, TOKENS), encode(module, TOKENS, dtype=jnp.bfloat16)
        assert half.dtype == jnp.float32 and 0 < np.abs(half - y).max() < 0.05 * np.abs(y).max()
