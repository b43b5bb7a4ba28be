"""CLIP's weights: under two sets of names, the network found by shapes, and what is refused."""

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from score_jax.convert import clip
from score_jax.errors import InputError
from score_jax.models.clip.clip import CLIP, TextTransformer, parameter_shapes
from score_jax.models.clip.clip_resnet import ModifiedResNet
from score_jax.models.clip.clip_vision import VisionTransformer

TINY_TEXT = TextTransformer(vocabulary=20, context=7, width=64, layers=3, heads=1, features=16)
TINY = {
    "transformer": CLIP(VisionTransformer(12, 4, 128, 2, 2, 16), TINY_TEXT),
    "resnet": CLIP(ModifiedResNet(96, 4, (1, 2, 3, 1), 16), TINY_TEXT),
}


def published(features, vision, width):
    return CLIP(vision, TextTransformer(49408, 77, width, 12, width // 64, features))


# Counts of OpenAI's code, without the moments of batch norms; open_clip's table of models has them to two digits.
PUBLISHED = {
    "RN50": (102_007_137, published(1024, ModifiedResNet(224, 64, (3, 4, 6, 3), 1024), 512)),
    "RN101": (119_688_033, published(512, ModifiedResNet(224, 64, (3, 4, 23, 3), 512), 512)),
    "RN50x4": (178_300_601, published(640, ModifiedResNet(288, 80, (4, 6, 10, 6), 640), 640)),
    "RN50x16": (290_979_217, published(768, ModifiedResNet(384, 96, (6, 8, 18, 8), 768), 768)),
    "RN50x64": (623_258_305, published(1024, ModifiedResNet(448, 128, (3, 15, 36, 10), 1024), 1024)),
    "ViT-B/32": (151_277_313, published(512, VisionTransformer(224, 32, 768, 12, 12, 512), 512)),
    "ViT-B/16": (149_620_737, published(512, VisionTransformer(224, 16, 768, 12, 12, 512), 512)),
    "ViT-L/14": (427_616_513, published(768, VisionTransformer(224, 14, 1024, 24, 16, 768), 768)),
    "ViT-L/14@336px": (427_944_193, published(768, VisionTransformer(336, 14, 1024, 24, 16, 768), 768)),
}


def empty_state(module, names=clip.OPENAI):
    """A state dict of zeros that take no memory."""
    table, state = clip.table(names), {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(parameter_shapes(module)):
        counterpart = table(tuple(key.key for key in path))
        shape = counterpart.theirs(np.broadcast_to(np.int8(0), leaf.shape)).shape
        state[counterpart.name] = np.broadcast_to(np.int8(0), shape)
    return state


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_networks_follow_from_their_shapes(name):
    count, module = PUBLISHED[name]
    state = empty_state(module)
    assert sum(tensor.size for key, tensor in state.items() if "running_" not in key) == count
    assert clip._module(state, clip.OPENAI, {}) == module


@pytest.mark.parametrize("module", TINY.values(), ids=TINY)
def test_there_and_back_is_the_identity(module):
    state = clip.random_state(0, module)
    found = clip.clip_of(state)
    assert found.module == module and found.image_size == module.vision.image_size
    back = clip.state_of(found.params)
    assert set(back) == set(state)
    for name, tensor in back.items():
        np.testing.assert_array_equal(tensor, state[name], strict=True)


def test_transformers_names_hold_the_same():
    state = clip.random_state(0, TINY["transformer"])
    found = clip.clip_of(state)
    theirs = clip.state_of(found.params, clip.TRANSFORMERS)
    again = clip.clip_of(theirs | {"text_model.embeddings.position_ids": np.arange(7)})
    assert again.module == found.module
    jax.tree.map(np.testing.assert_array_equal, again.params, found.params)
    fused = state["visual.transformer.resblocks.1.attn.in_proj_weight"]
    key = theirs["vision_model.encoder.layers.1.self_attn.k_proj.weight"]
    np.testing.assert_array_equal(key, fused[128:256])
    np.testing.assert_array_equal(theirs["text_projection.weight"].T, state["text_projection"])
    # Three projections for one, of weights and biases, in each of the blocks.
    assert len(theirs) == len(state) + 2 * 2 * (2 + 3)


def test_halves_become_float32(tmp_path):
    module = TINY["resnet"]
    state = clip.random_state(0, module)
    halves = {name: tensor.astype(np.float16) for name, tensor in state.items()}
    extra = {"input_resolution": np.array(96), "context_length": np.array(7), "vocab_size": np.array(20)}
    extra |= {"visual.bn1.num_batches_tracked": np.array(3)}
    save_file(halves | extra, tmp_path / "clip.safetensors")
    found = clip.load_clip(tmp_path / "clip.safetensors")
    assert {leaf.dtype.name for leaf in jax.tree.leaves(found.params)} == {"float32"}
    for name, tensor in clip.state_of(found.params).items():
        np.testing.assert_array_equal(tensor, halves[name].astype(np.float32))


def without(state, *names):
    return {name: tensor for name, tensor in state.items() if name not in names}


def test_what_does_not_fit_is_named(tmp_path):
    state = clip.random_state(0, TINY["transformer"])
    theirs = clip.state_of(clip.clip_of(state).params, clip.TRANSFORMERS)
    query = "text_model.encoder.layers.0.self_attn.q_proj.bias"
    cases = {
        "no CLIP's: token_embedding.weight is missing": {"a": np.zeros(3)},
        "no CLIP's: visual.conv3.weight is missing": without(state, "visual.class_embedding"),
        "1 missing: ln_final.bias": without(state, "ln_final.bias"),
        "1 not used: another": state | {"another": np.zeros(3)},
        "missing: text_model.encoder.layers.0.self_attn.qkv_proj.bias": without(theirs, query),
        "missing: text_model.encoder.layers.0.self_attn.qkv_proj.bias; 3 not used": theirs | {query: np.zeros((2, 2))},
        "text_projection has the shape": state | {"text_projection": np.zeros(3)},
        "11 positions are not one more than a square": state | {"visual.positional_embedding": np.zeros((11, 128))},
        "conv1.weight has the shape": state | {"visual.conv1.weight": np.zeros((128, 3, 0, 0))},
        "width of 32 does not split into 0 heads": state | {"token_embedding.weight": np.zeros((20, 32))},
    }
    for message, damaged in cases.items():
        save_file({name: np.array(tensor, order="C") for name, tensor in damaged.items()}, tmp_path / "a.safetensors")
        with pytest.raises(InputError, match=message) as caught:
            clip.load_clip(tmp_path / "a.safetensors")
        assert "a.safetensors: " in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_of_something_else(tmp_path):
    with pytest.raises(InputError, match="No file"):
        clip.load_clip(tmp_path / "ViT-B-16.pt")
    (tmp_path / "a.pt").write_bytes(b"\x80\x02]K\x01a.")
    with pytest.raises(InputError, match="holds no named tensors: expected OpenAI's CLIP"):
        clip.load_clip(tmp_path / "a.pt")


def test_heads_may_be_given():
    state = clip.random_state(0, TINY["transformer"])
    found = clip.clip_of(state, heads={"text": 4}).module
    assert (found.text.heads, found.vision.heads) == (4, 2)
    with pytest.raises(InputError, match="width of 128 does not split into 5 heads"):
        clip.clip_of(state, heads={"vision": 5})


def test_the_tiny_one_takes_the_published_tokens():
    shapes = parameter_shapes(clip.TINY)["text"]
    assert shapes["tokens"]["embedding"].shape[0] == 49408 and shapes["position"].shape[0] == 77
