"""Latent diffusion's second stage under its published names: there and back, known names, and what is left out."""

import jax
import numpy as np
import pytest

from score_jax.convert import clip, latent
from score_jax.convert.correspondence import to_ours, to_theirs
from score_jax.errors import InputError
from score_jax.models.conditioners.class_embedding import ClassEmbedder
from score_jax.models.conditioners.rescaler import SpatialRescaler
from score_jax.models.text.bert import TextTransformer
from score_jax.models.text.clip_text import CLIPText
from score_jax.models.unets.latent import LatentUNet

_SMALL = dict(channels=32, channel_mult=(1, 2), num_res_blocks=1, attention_factors=(2,), num_heads=2)
UNETS = {
    "context": LatentUNet(**_SMALL, context_width=6, transformer_depth=2),
    "linear": LatentUNet(**_SMALL, context_width=6, linear_projection=True),
    "transformer alone": LatentUNet(**_SMALL, context_width=0),
    "attention": LatentUNet(**_SMALL, num_classes=3, concat_channels=2),
    "resampling blocks": LatentUNet(**_SMALL, resblock_updown=True, scale_shift_norm=True),
    "no weights to resample": LatentUNet(**_SMALL, resample_with_conv=False),
}
BERT = TextTransformer(vocabulary=20, length=7, width=16, layers=2, heads=2, head_width=4)
CLIP = CLIPText(vocabulary=20, length=7, width=16, layers=2, heads=2)
ENCODERS = {
    "bert": BERT,
    "clip": CLIP,
    "class": ClassEmbedder(5, 4),
    "rescaler": SpatialRescaler(2, in_channels=4, out_channels=3, bias=True),
}


def shapes_of(network, image_shape=(8, 8, 4)):
    declared = network.conditions(image_shape)
    conditions = {name: jax.ShapeDtypeStruct((1, *each.shape), each.dtype) for name, each in declared.items()}
    x, label = jax.ShapeDtypeStruct((1, *image_shape), np.float32), jax.ShapeDtypeStruct((1,), np.float32)
    return jax.eval_shape(network.init, jax.random.key(0), x, label, **conditions)["params"]


def filled(shapes):
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes)


def empty(shapes):
    """Zeros that take no memory."""
    return jax.tree.map(lambda leaf: np.broadcast_to(np.int8(0), leaf.shape), shapes)


def equal(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize("name", UNETS)
def test_a_unet_goes_there_and_back(name):
    network = UNETS[name]
    shapes, table = shapes_of(network), latent.unet_table(network, 8)
    params = filled(shapes)
    state = to_theirs(params, table)
    assert len(state) == len(jax.tree.leaves(params))
    equal(to_ours(state, shapes, table), params)
    depths = {"context": 2, "linear": 1, "transformer alone": 1}
    assert len({key.split(".transformer_blocks.")[0] for key in state if "transformer_blocks" in key}) == (
        4 if name in depths else 0
    )
    assert ("middle_block.1.transformer_blocks.1.ff.net.2.bias" in state) == (name == "context")


_SD = dict(channels=320, channel_mult=(1, 2, 4, 4), num_res_blocks=2, attention_factors=(4, 2, 1))


@pytest.mark.parametrize(
    ("width", "settings", "projection"),
    [
        (768, {}, (320, 320, 1, 1)),
        pytest.param(
            1024, dict(num_head_channels=64, linear_projection=True), (320, 320), marks=pytest.mark.slow, id="2"
        ),
    ],
)
def test_stable_diffusions_names(width, settings, projection):
    network = LatentUNet(**_SD, context_width=width, **settings)
    state = to_theirs(empty(shapes_of(network)), latent.unet_table(network, 64))
    shapes = {name: tensor.shape for name, tensor in state.items()}
    assert len(shapes) == 686
    block = "input_blocks.1.1.transformer_blocks.0"
    expected = {
        "time_embed.0.weight": (1280, 320),
        "input_blocks.0.0.weight": (320, 4, 3, 3),
        "input_blocks.3.0.op.weight": (320, 320, 3, 3),
        "input_blocks.4.0.emb_layers.1.weight": (640, 1280),
        "input_blocks.4.0.skip_connection.weight": (640, 320, 1, 1),
        "input_blocks.1.1.norm.weight": (320,),
        "input_blocks.1.1.proj_in.weight": projection,
        "input_blocks.1.1.proj_out.weight": projection,
        f"{block}.attn1.to_k.weight": (320, 320),
        f"{block}.attn2.to_k.weight": (320, width),
        f"{block}.attn2.to_out.0.bias": (320,),
        f"{block}.ff.net.0.proj.weight": (2560, 320),
        f"{block}.ff.net.2.weight": (320, 1280),
        f"{block}.norm3.bias": (320,),
        "middle_block.1.transformer_blocks.0.attn2.to_v.weight": (1280, width),
        "output_blocks.2.1.conv.weight": (1280, 1280, 3, 3),
        "output_blocks.5.2.conv.weight": (1280, 1280, 3, 3),
        "output_blocks.8.2.conv.weight": (640, 640, 3, 3),
        "out.0.weight": (320,),
        "out.2.weight": (4, 320, 3, 3),
    }
    assert {name: shapes.get(name) for name in expected} == expected
    attending = {name.split(".transformer")[0] for name in shapes if "transformer_blocks" in name}
    inputs, outputs = (1, 2, 4, 5, 7, 8), range(3, 12)
    places = {f"input_blocks.{i}.1" for i in inputs} | {f"output_blocks.{i}.1" for i in outputs}
    assert attending == places | {"middle_block.1"}
    assert not any(name.endswith((".to_q.bias", ".to_k.bias", ".to_v.bias")) for name in shapes)


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("prefix", ["", "transformer.", "cond_stage_model."])
def test_an_encoder_goes_there_and_back_under_any_prefix(name, prefix):
    module = ENCODERS[name]
    params = filled(latent.encoder_shapes(module))
    state = {prefix + key: tensor for key, tensor in latent.encoder_state(module, params).items()}
    equal(latent.encoder_params(module, state), params)


def test_names_of_the_encoders():
    def names(name):
        return set(latent.encoder_state(ENCODERS[name], empty(latent.encoder_shapes(ENCODERS[name]))))

    assert names("class") == {"embedding.weight"}
    assert names("rescaler") == {"channel_mapper.weight", "channel_mapper.bias"}
    assert latent.encoder_params(SpatialRescaler(), {}) == {}
    layers = [
        *("0.weight", "0.bias", "1.to_q.weight", "1.to_k.weight", "1.to_v.weight", "1.to_out.weight", "1.to_out.bias"),
        *("0.weight", "0.bias", "1.net.0.0.weight", "1.net.0.0.bias", "1.net.2.weight", "1.net.2.bias"),
    ]
    in_layers = {f"attn_layers.layers.{2 * i + (n > 6)}.{name}" for i in range(2) for n, name in enumerate(layers)}
    assert names("bert") == in_layers | {"token_emb.weight", "pos_emb.emb.weight", "norm.weight", "norm.bias"}
    of_clip = names("clip")
    assert {
        "text_model.embeddings.position_embedding.weight",
        "text_model.encoder.layers.1.self_attn.k_proj.bias",
        "text_model.encoder.layers.0.mlp.fc2.weight",
        "text_model.final_layer_norm.bias",
    } < of_clip and len(of_clip) == 2 * 16 + 4


def test_the_layer_to_the_vocabulary_is_not_read():
    params = filled(latent.encoder_shapes(BERT))
    state = latent.encoder_state(BERT, params) | {
        "to_logits.weight": np.zeros((20, 16)),
        "to_logits.bias": np.zeros(20),
    }
    equal(latent.encoder_params(BERT, state), params)
    with pytest.raises(InputError, match="1 not used: to_logits.weight"):
        latent.encoder_params(
            ClassEmbedder(5, 4), {"embedding.weight": np.zeros((5, 4)), "to_logits.weight": np.zeros(1)}
        )


@pytest.mark.parametrize("prefix", ["transformer.text_model.", "text_model.", ""])
def test_clip_of_transformers_of_old_and_new_versions(prefix):
    params = filled(latent.encoder_shapes(CLIP))
    state = {
        key.replace("text_model.", prefix, 1): tensor for key, tensor in latent.encoder_state(CLIP, params).items()
    }
    state |= {f"{prefix}embeddings.position_ids": np.arange(7)[None], "text_projection.weight": np.zeros((3, 16))}
    equal(latent.encoder_params(CLIP, state), params)


@pytest.mark.parametrize("module", [CLIP, CLIP.clone(layers=3, skip_last=1)], ids=["fewer", "skipped"])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_openclips_last_layer_is_left_out(module, prefix):
    """Its three layers are read into two, and their numbers are those of transformers' two."""
    whole = CLIP.clone(layers=3)
    params = filled(latent.encoder_shapes(whole))
    state = latent.encoder_state(whole, params, clip.OPENAI)
    assert state["transformer.resblocks.2.attn.in_proj_weight"].shape == (48, 16)
    beside = {"text_projection": np.zeros((16, 3)), "logit_scale": np.zeros(()), "attn_mask": np.zeros((7, 7))}
    found = latent.encoder_params(module, {prefix + key: tensor for key, tensor in (state | beside).items()})
    del params["blocks_2"]
    equal(found, params)
    equal(latent.encoder_params(CLIP, latent.encoder_state(CLIP, found)), params)


def test_what_does_not_fit_is_one_line():
    state = latent.encoder_state(CLIP, filled(latent.encoder_shapes(CLIP)))
    for module, given, message in (
        (CLIP, {name: state[name] for name in state if "final" not in name}, "2 missing: text_model.final_layer_norm"),
        (CLIP.clone(layers=1), state, "not used: text_model.encoder.layers.1"),
        (CLIP.clone(length=8), state, r"position_embedding.weight \(7, 16\) where \(8, 16\) is expected"),
        (BERT, state, "missing: attn_layers.layers.0"),
        (CLIP, {}, "missing: token_embedding.weight|missing: ln_final"),
    ):
        with pytest.raises(InputError, match=message) as error:
            latent.encoder_params(module, given)
        assert "\n" not in str(error.value)
