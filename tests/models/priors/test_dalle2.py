"""The prior of DALLE2-pytorch: who sees whom, what stands for nothing, and its pieces; its numbers: the parity file."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.conditioning.dropout import without_conditions
from score_jax.errors import InputError
from score_jax.models.blocks.token_positions import distance_buckets, rotary_frequencies, rotate
from score_jax.models.priors.dalle2 import Dalle2Prior, MultiQueryAttention, cosine_weights, unit

TINY = Dalle2Prior(layers=2, heads=2, head_width=16, text_length=4, num_timesteps=6)
WIDTH = 8
X = jax.random.normal(jax.random.key(0), (2, 1, 1, WIDTH))
OTHER_X = X[::-1]  # X + 1 is X to a norm
LABEL = jnp.array([0.0, 5.0])
TEXT = {
    "context": jax.random.normal(jax.random.key(1), (2, 4, WIDTH)),
    "text_embedding": jax.random.normal(jax.random.key(2), (2, WIDTH)),
}
VARIANTS = {
    "published": TINY,
    "more tokens": TINY.clone(time_tokens=2, image_tokens=3, text_tokens=2),
    "sinusoids": TINY.clone(num_timesteps=None, time_tokens=2),
    "normformer": TINY.clone(normformer=True, mlp_ratio=2),
    "no rotation": TINY.clone(rotary=False),
}


def filled(module):
    """Parameters that leave nothing at zero or at one."""
    shapes = jax.eval_shape(module.init, jax.random.key(0), X, LABEL, **TEXT)["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.standard_normal(leaf.shape, np.float32)), shapes)
    if module.rotary:
        count = min(32, module.head_width) // 2
        params["rotary_frequencies"] = jnp.asarray(rotary_frequencies(count), jnp.float32)
    return params


PARAMS = filled(TINY)


@jax.jit
def tiny(x, label, params=PARAMS, **text):
    return TINY.apply({"params": params}, x, label, **text)


def differ(first, second):
    return np.abs(np.asarray(first) - np.asarray(second)).max(axis=(1, 2, 3)) > 1e-5


@pytest.mark.parametrize("name", VARIANTS)
def test_every_condition_and_the_time_count(name):
    module = VARIANTS[name]
    params = filled(module)
    apply = jax.jit(lambda x, label, **text: module.apply({"params": params}, x, label, **text))
    y = apply(X, LABEL, **TEXT)
    assert y.shape == X.shape and y.dtype == jnp.float32 and jnp.isfinite(y).all()
    assert differ(y, apply(OTHER_X, LABEL, **TEXT)).all()
    assert differ(y, apply(X, LABEL[::-1], **TEXT)).all()
    for condition in TEXT:
        assert differ(y, apply(X, LABEL, **TEXT | {condition: TEXT[condition][::-1]})).all(), condition


def test_one_token_is_the_embedding_itself_and_more_are_projected():
    assert not {"text_embedding", "image_embedding"} & PARAMS.keys()
    more = filled(VARIANTS["more tokens"])
    assert more["text_embedding"]["kernel"].shape == (WIDTH, 2 * WIDTH)
    assert more["image_embedding"]["kernel"].shape == (WIDTH, 3 * WIDTH)
    assert more["time"]["embedding"].shape == (6, 2 * WIDTH)


def test_declared_conditions_are_those_it_takes():
    declared = TINY.conditions((1, 1, WIDTH))
    shapes = {name: condition.shape for name, condition in declared.items()}
    assert shapes == {"context": (4, WIDTH), "context_mask": (4,), "text_embedding": (WIDTH,)}
    full = TEXT | {"context_mask": jnp.ones((2, 4), bool)}
    np.testing.assert_array_equal(tiny(X, LABEL, **full), tiny(X, LABEL, **TEXT))


@pytest.mark.parametrize("how", ["zeros", "mask", "short"])
def test_a_position_without_text_is_its_learned_null(how):
    """Not another position's; and the same text, written out, says the same."""
    context = TEXT["context"].at[:, 3].set(0.0)
    given = {
        "zeros": {"context": context},
        "mask": {"context": TEXT["context"], "context_mask": jnp.array([[True, True, True, False]] * 2)},
        "short": {"context": TEXT["context"][:, :3]},
    }[how]
    y = tiny(X, LABEL, **TEXT | given)
    written = context.at[:, 3].set(PARAMS["null_context"][3])
    np.testing.assert_allclose(y, tiny(X, LABEL, **TEXT | {"context": written}), atol=1e-5)
    others = PARAMS | {"null_context": PARAMS["null_context"].at[:3].add(1)}
    np.testing.assert_array_equal(y, tiny(X, LABEL, others, **TEXT | given))


def test_no_text_embedding_is_its_learned_null():
    without = TEXT | {"text_embedding": jnp.zeros((2, WIDTH))}
    written = TEXT | {"text_embedding": PARAMS["null_text_embedding"].repeat(2, axis=0)}
    np.testing.assert_allclose(tiny(X, LABEL, **without), tiny(X, LABEL, **written), atol=1e-5)


def test_without_any_text_x_is_not_seen_either():
    declared = TINY.conditions((1, 1, WIDTH))
    nothing = without_conditions(TEXT, declared)
    y = tiny(X, LABEL, **nothing)
    np.testing.assert_array_equal(y, tiny(OTHER_X, LABEL, **nothing))
    null = jnp.broadcast_to(PARAMS["null_image_embedding"], (2, WIDTH))[:, None, None]
    one = nothing | {"text_embedding": PARAMS["null_text_embedding"].repeat(2, axis=0)}
    np.testing.assert_allclose(y, tiny(null, LABEL, **one), atol=1e-5)
    for name in TEXT:  # half of a text is a text
        half = nothing | {name: TEXT[name]}
        assert differ(tiny(X, LABEL, **half), tiny(OTHER_X, LABEL, **half)).all(), name
    mixed = {name: TEXT[name].at[1].set(0.0) for name in TEXT}
    assert differ(tiny(X, LABEL, **mixed), tiny(OTHER_X, LABEL, **mixed)).tolist() == [True, False]


def test_attention_sees_no_later_token():
    attention = MultiQueryAttention(heads=2, head_width=4)
    tokens, bias = jax.random.normal(jax.random.key(3), (1, 5, WIDTH)), jnp.zeros((1, 2, 5, 6))
    frequencies = jnp.asarray(rotary_frequencies(2), jnp.float32)
    params = attention.init(jax.random.key(4), tokens, bias, frequencies)
    y = attention.apply(params, tokens, bias, frequencies)
    changed = attention.apply(params, tokens.at[:, 3].set(tokens[:, 0]), bias, frequencies)
    seen = np.abs(y - changed).max(axis=(0, 2)) > 1e-4
    assert seen.tolist() == [False, False, False, True, True]


def test_weights_are_a_softmax_of_16_cosines():
    q, k = jnp.array([[[[2.0, 0.0]], [[0.0, 3.0]]]]), jnp.array([[[5.0, 0.0], [0.0, 7.0], [0.0, 1.0]]])
    weights = cosine_weights(q, k, jnp.zeros((1, 1, 2, 3)))[0, 0]
    np.testing.assert_allclose(weights[0], [1 / (1 + math.exp(-16)), 1 / (1 + math.exp(16)), 0], rtol=1e-5)
    np.testing.assert_allclose(weights[1], np.array([math.exp(-16), 1, 1]) / (2 + math.exp(-16)), rtol=1e-5)
    biased = cosine_weights(q, k, jnp.zeros((1, 1, 2, 3)).at[..., 1, 0].set(16.0))[0, 0]
    np.testing.assert_allclose(biased[1], [1 / 3] * 3, rtol=1e-5)


def test_a_vector_of_no_length_has_a_gradient():
    gradient = jax.grad(lambda x: jnp.sum(unit(x)))(jnp.zeros((1, 3)))
    assert jnp.isfinite(gradient).all()
    np.testing.assert_allclose(unit(jnp.array([[3.0, 4.0]])), [[0.6, 0.8]], rtol=1e-6)


def test_rotated_products_depend_on_the_distance_alone():
    q, k = (jax.random.normal(jax.random.key(i), (6,)) for i in (5, 6))
    frequencies = jnp.array([1.0, 0.3])
    turned_q, turned_k = (rotate(jnp.broadcast_to(v, (1, 7, 1, 6)), frequencies)[0, :, 0] for v in (q, k))
    products = turned_q @ turned_k.T
    np.testing.assert_allclose(products[2:, 2:], products[:-2, :-2], rtol=1e-4, atol=1e-5)
    assert abs(products[3, 1] - products[1, 3]) > 1e-2
    np.testing.assert_array_equal(turned_q[:, 4:], jnp.broadcast_to(q[4:], (7, 2)))
    expected = [q[0] * math.cos(1) - q[1] * math.sin(1), q[1] * math.cos(1) + q[0] * math.sin(1)]
    np.testing.assert_allclose(turned_q[1, :2], expected, rtol=1e-5)


def test_buckets_of_distances():
    """From 16 on each of the 16 wider buckets ends 8^(1/16) times as far as the one before."""
    distances = np.array([0, 1, 15, 16, 18, 19, 20, 21, 64, 112, 113, 128, 5000])
    assert distance_buckets(distances).tolist() == [0, 1, 15, 16, 16, 17, 17, 18, 26, 30, 31, 31, 31]
    assert (np.diff(distance_buckets(np.arange(300))) >= 0).all()


def test_frequencies_are_not_trained():
    def loss(params):
        return jnp.sum(tiny(X, LABEL, params, **TEXT) ** 2)

    gradients = jax.grad(loss)(PARAMS)
    assert (gradients.pop("rotary_frequencies") == 0).all()
    assert all(jnp.isfinite(leaf).all() and jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients["gated_1"]))


def test_dropout_acts_in_training_alone():
    module = TINY.clone(dropout=0.5)

    def apply(seed, train):
        rngs = {"dropout": jax.random.key(seed)}
        return module.apply({"params": PARAMS}, X, LABEL, **TEXT, train=train, rngs=rngs)

    assert differ(apply(0, True), apply(1, True)).all()
    np.testing.assert_allclose(apply(0, False), tiny(X, LABEL, **TEXT), atol=1e-5)


def test_every_norm_has_the_originals_epsilon_and_no_bias():
    found = {}

    def look(next_call, args, kwargs, context):
        if isinstance(context.module, nn.LayerNorm):
            found[context.module.path] = context.module
        return next_call(*args, **kwargs)

    module = VARIANTS["normformer"]
    with nn.intercept_methods(look):
        jax.eval_shape(module.init, jax.random.key(0), X, LABEL, **TEXT)
    assert len(found) == 4 * module.layers + 1
    assert {(norm.epsilon, norm.use_bias) for norm in found.values()} == {(1e-5, False)}


def test_bfloat16_is_near():
    low = TINY.clone(dtype=jnp.bfloat16).apply({"params": PARAMS}, X, LABEL, **TEXT)
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, tiny(X, LABEL, **TEXT), atol=0.3)
    assert differ(low, tiny(X, LABEL, **TEXT)).any()


@pytest.mark.parametrize(
    ("x", "text", "said"),
    [
        (jnp.zeros((2, 2, 1, WIDTH)), {}, r"embeddings \(1, 1, d\)"),
        (X, {"context": jnp.zeros((2, 5, WIDTH))}, "at most 4 tokens, not 5"),
        (X, {"context": jnp.zeros((2, 4, 3))}, "'context' has 3 channels where the embeddings have 8"),
        (X, {"text_embedding": jnp.zeros((2, 9))}, "'text_embedding' has 9 channels"),
    ],
)
def test_what_does_not_fit_is_said(x, text, said):
    with pytest.raises(InputError, match=said):
        TINY.apply({"params": PARAMS}, x, LABEL, **TEXT | text)
