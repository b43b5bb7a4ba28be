"""The prior of DALLE2-pytorch under its published names: there and back, and what is refused."""

import jax
import numpy as np
import pytest

from score_jax.convert.dalle2_prior import prior_params, prior_shapes, prior_state
from score_jax.errors import InputError
from score_jax.models.priors.dalle2 import Dalle2Prior

WIDTH = 6
SMALL = Dalle2Prior(layers=2, heads=2, head_width=4, text_length=3, num_timesteps=5)
PRIORS = {
    "published": SMALL,
    "more tokens": SMALL.clone(time_tokens=2, image_tokens=3, text_tokens=2),
    "sinusoids": SMALL.clone(num_timesteps=None),
    "normformer": SMALL.clone(normformer=True),
    "no rotation": SMALL.clone(rotary=False),
}
LAST, FIRST = (f"causal_transformer.layers.{i}.0.rotary_emb.freqs" for i in (1, 0))


def filled(module):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), prior_shapes(module, WIDTH))


def equal(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize("prefix", ["", "net."])
@pytest.mark.parametrize("name", PRIORS)
def test_a_prior_goes_there_and_back(name, prefix):
    module = PRIORS[name]
    params = filled(module)
    state = {prefix + key: tensor for key, tensor in prior_state(module, params).items()}
    equal(prior_params(module, state, WIDTH), params)
    copies = module.layers - 1 if module.rotary else 0
    assert len(state) == len(jax.tree.leaves(params)) + copies


def test_published_names_and_layouts():
    shapes = {name: tensor.shape for name, tensor in prior_state(SMALL, filled(SMALL)).items()}
    layer = "causal_transformer.layers.1"
    expected = {
        "learned_query": (6,),
        "null_text_encodings": (1, 3, 6),
        "null_text_embeds": (1, 1, 6),
        "null_image_embed": (1, 6),
        "to_time_embeds.0.weight": (5, 6),
        "causal_transformer.rel_pos_bias.relative_attention_bias.weight": (32, 2),
        f"{layer}.0.null_kv": (2, 4),
        f"{layer}.0.norm.g": (6,),
        f"{layer}.0.to_q.weight": (8, 6),
        f"{layer}.0.to_kv.weight": (8, 6),
        LAST: (2,),
        f"{layer}.0.to_out.0.weight": (6, 8),
        f"{layer}.0.to_out.1.g": (6,),
        f"{layer}.1.0.g": (6,),
        f"{layer}.1.1.weight": (48, 6),
        f"{layer}.1.5.weight": (6, 24),
        "causal_transformer.norm.g": (6,),
        "causal_transformer.project_out.weight": (6, 6),
    }
    assert {name: shapes.get(name) for name in expected} == expected
    assert len(shapes) == 8 + 2 * 10
    more = prior_state(PRIORS["more tokens"], filled(PRIORS["more tokens"]))
    assert more["to_text_embeds.0.weight"].shape == (12, 6) and more["to_image_embeds.0.bias"].shape == (18,)
    time = {name for name in prior_state(PRIORS["sinusoids"], filled(PRIORS["sinusoids"])) if "to_time" in name}
    assert time == {f"to_time_embeds.0.1.net.{i}.{leaf}" for i in ("0.0", "1.0", "2") for leaf in ("weight", "bias")}
    assert "causal_transformer.layers.0.1.3.g" in prior_state(PRIORS["normformer"], filled(PRIORS["normformer"]))


def test_the_last_layers_frequencies_are_those_of_all():
    state = prior_state(SMALL, filled(SMALL))
    np.testing.assert_array_equal(state[FIRST], state[LAST])
    other = state | {FIRST: state[FIRST] + 1}
    equal(prior_params(SMALL, other, WIDTH), prior_params(SMALL, state, WIDTH))
    changed = prior_params(SMALL, state | {LAST: state[LAST] + 1}, WIDTH)
    np.testing.assert_array_equal(changed["rotary_frequencies"], state[LAST] + 1)


def test_what_the_sampling_class_has_beside_the_network_is_left_out():
    params = filled(SMALL)
    state = {f"net.{name}": tensor for name, tensor in prior_state(SMALL, params).items()}
    beside = {"noise_scheduler.betas": np.ones(5), "clip.clip.logit_scale": np.ones(())}
    equal(prior_params(SMALL, state | beside, WIDTH), params)
    with pytest.raises(InputError, match="1 not used: noise_scheduler.betas"):
        prior_params(SMALL, prior_state(SMALL, params) | {"noise_scheduler.betas": np.ones(5)}, WIDTH)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learned_query": None}, "1 missing: learned_query"),
        ({LAST: None}, f"1 missing: {LAST}"),
        ({"causal_transformer.init_norm.g": np.ones(6)}, "1 not used: causal_transformer.init_norm.g"),
        ({"null_image_embed": np.ones((1, 5))}, r"null_image_embed \(1, 5\) where \(1, 6\) is expected"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(change, said):
    state = prior_state(SMALL, filled(SMALL)) | change
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    with pytest.raises(InputError, match=said) as refused:
        prior_params(SMALL, state, WIDTH)
    assert "\n" not in str(refused.value)


def test_frequencies_of_a_prior_that_rotates_nothing_are_refused():
    with pytest.raises(InputError, match="2 not used"):
        prior_params(PRIORS["no rotation"], prior_state(SMALL, filled(SMALL)), WIDTH)
