"""FD-loss's networks at the sizes that it shows them, and the mean of their ratios; timm's numbers are in the parity
files.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.convert import clip, dinov2
from score_jax.convert.convnext import CONVNEXT
from score_jax.convert.vit import MAE, SIGLIP2
from score_jax.errors import InputError
from score_jax.evaluation import metrics
from score_jax.evaluation.clip import CLIPVisionWeights
from score_jax.evaluation.dinov2 import at_size, dinov2_extractor
from score_jax.evaluation.fd_loss import clip_token_extractor, convnext_extractor, vit_extractor
from score_jax.evaluation.feature_set import FeatureSet, difference
from score_jax.evaluation.patches import padded_to, resized_positions, whole_patches
from score_jax.evaluation.protocol_set import joint_values
from score_jax.evaluation.protocols import PROTOCOLS, SETS, protocol_names, protocol_of
from score_jax.evaluation.resize import pillow_matrix
from score_jax.evaluation.statistics import moments
from score_jax.models.clip.clip import CLIP
from score_jax.models.clip.clip_vision import VisionTransformer
from score_jax.models.scorers.convnext import ConvNeXtV2
from score_jax.models.scorers.dinov2 import DINOv2
from score_jax.models.scorers.vit import ViT

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)


def of_clip():
    module = CLIP(VisionTransformer(224, 14, width=64, layers=1, heads=1, features=32), clip.TINY.text)
    return clip.random_state(0, module)


EXTRACTORS = {
    "mae": lambda: vit_extractor(MAE.of(MAE.random_state(0, ViT(224, 64, 1, 1, 128))), PROTOCOLS["fd_loss_mae"]),
    "siglip": lambda: vit_extractor(
        SIGLIP2.of(SIGLIP2.random_state(0, ViT(256, 64, 1, 1, 128, pooled=True))), PROTOCOLS["fd_loss_siglip"]
    ),
    "convnext": lambda: convnext_extractor(
        CONVNEXT.of(CONVNEXT.random_state(0, ConvNeXtV2((8, 8, 16), (1, 1, 1)))), PROTOCOLS["fd_loss_convnext"]
    ),
    "dinov2": lambda: dinov2_extractor(
        dinov2.dinov2_of(dinov2.random_state(0, DINOv2(518, 64, 1, 1))), PROTOCOLS["fd_loss_dinov2"]
    ),
    "clip": lambda: clip_token_extractor(vision_of(of_clip()), PROTOCOLS["fd_loss_clip"]),
}
BLACK = {"siglip": [-1, -1, -1], "clip": [-1.7922626, -1.7520971, -1.4802198]}
SIDE = {"dinov2": 256, "clip": 256}


def vision_of(state):
    network = clip.clip_of(state)
    return CLIPVisionWeights(network.module.vision, network.params["vision"], "abc")


@pytest.mark.parametrize("name", EXTRACTORS)
def test_what_a_network_sees_and_gives(name):
    extractor = EXTRACTORS[name]()
    seen = extractor.prepare(jnp.asarray(IMAGES))
    side = SIDE.get(name, 224)
    assert seen.shape == (2, side, side, 3)
    np.testing.assert_allclose(extractor.prepare_alone(IMAGES[1]), seen[1], atol=2e-5)
    black = extractor.prepare(jnp.zeros((1, 4, 4, 3), jnp.uint8))[0, 9, 3]
    np.testing.assert_allclose(black, BLACK.get(name, [-2.1179039, -2.0357143, -1.8044444]), rtol=1e-5)
    found = jax.jit(extractor.apply)(extractor.params, seen)["features"]
    assert found.shape == (2, 16 if name == "convnext" else 64) and np.isfinite(found).all()
    assert np.abs(found[0] - found[1]).max() > 1e-3
    assert extractor.name.endswith("_other")
    assert metrics.name_of("fid", extractor.name, 50) == f"fd_{extractor.name}"


def test_patches_that_an_image_does_not_fill_are_filled_with_zeros():
    assert whole_patches(256, 14) == 266 and whole_patches(224, 14) == 224
    padded = padded_to(jnp.ones((1, 3, 4, 2)), 6)
    assert padded.shape == (1, 6, 6, 2) and padded.sum() == 24 and padded[0, :3, :4].min() == 1


def test_positions_keep_tokens_of_no_place_and_a_ramp_stays_one():
    rows = np.indices((8, 8))[0].reshape(-1, 1)
    positions = jnp.asarray(np.concatenate([[[7.0]], rows]), jnp.float32)
    found = np.asarray(resized_positions(positions, pillow_matrix(8, 12), 1))
    assert found[0, 0] == 7 and found.shape == (145, 1)
    grid = found[1:, 0].reshape(12, 12)
    np.testing.assert_allclose(grid[2:10, 5], (np.arange(2, 10) + 0.5) * 8 / 12 - 0.5, atol=0.02)
    same = resized_positions(positions, pillow_matrix(8, 8), 1)
    np.testing.assert_array_equal(same, positions)


def test_dinov2_at_this_size_is_resized_with_antialias():
    weights = dinov2.dinov2_of(dinov2.random_state(0, DINOv2(518, 64, 1, 1)))
    timm, hub = (at_size(weights, 266, code).params["position"] for code in ("timm", "hub"))
    assert np.abs(np.asarray(timm) - np.asarray(hub)).max() > 0.1


def test_clip_has_the_exact_gelu_and_no_projection():
    weights = vision_of(of_clip())
    images = jnp.asarray(RNG.normal(size=(2, 266, 266, 3)), jnp.float32)
    extractor = clip_token_extractor(weights, PROTOCOLS["fd_loss_clip"])
    found = extractor.apply(extractor.params, images[:, :256, :256])["features"]
    for activation, least, most in (("gelu", 0, 1e-5), ("quick_gelu", 1e-4, 1)):
        module = weights.module.clone(image_size=266, activation=activation)
        zeros = images.at[:, 256:].set(0).at[:, :, 256:].set(0)
        other = module.apply({"params": extractor.params}, zeros, method="pooled")
        assert least <= np.abs(np.asarray(found - other)).max() <= most, activation


def test_a_set_is_the_names_of_its_members():
    assert protocol_names("fd_loss") == list(SETS["fd_loss"]) and len(SETS["fd_loss"]) == 6
    assert protocol_names(["adm", "fd_loss"]) == ["adm", *SETS["fd_loss"]]
    with pytest.raises(InputError, match="fd_loss_mae twice"):
        protocol_names("fd_loss,fd_loss_mae")
    with pytest.raises(InputError, match="'fd_loss' is several protocols: give one of them here, fd_loss_inception"):
        protocol_of("fd_loss")


def set_of(mean, count=60):
    features = RNG.normal(size=(count, 3)) + mean
    return FeatureSet({"features": moments(features.astype(np.float32))}, None, None, {"n": count})


def test_a_ratio_needs_moments_alone_and_leaves_copies_untested():
    generated, real, held_out = set_of(2.0), set_of(0.0), set_of(0.5)
    protocol = PROTOCOLS["fd_loss_mae"]
    found = metrics.measure(protocol, generated=generated, real=real, held_out=held_out, name="mae_vitl16")
    alone = metrics.measure(protocol, generated=held_out, real=real, name="mae_vitl16")["fd_mae_vitl16"]
    assert found["fd_mae_vitl16_held_out"] == alone
    assert found["fdr_mae_vitl16"] == found["fd_mae_vitl16"] / alone > 1
    assert not {"authenticity", "c_t"} & found.keys()


def test_sets_of_other_sizes_are_not_compared():
    facts = {"resize": "torch_bicubic", "identity": "abc", "features": "dinov2"}
    assert difference(facts | {"size": 256}, facts) == ("size", 256, "as usual")
    assert difference(facts | {"size": 256}, facts | {"size": 256}) is None is difference(facts, facts)


def test_the_set_has_each_distance_and_the_mean_ratio():
    def member(name, distance, ratio, identity, pixels):
        numbers = {f"fd_{name}": distance, f"fd_{name}_held_out": distance / ratio, f"fdr_{name}": ratio}
        facts = {"protocol": f"fd_loss_{name}", "identity": identity, "seed": 3, "num_samples": 50, "kept": 1.5}
        reference = {"n": 70, "pixels": pixels, "identity": identity}
        held_out = {"n": 60, "data": "validation"}
        return numbers | {"measured": list(numbers)} | facts | {"reference": reference, "held_out": held_out}

    members = [member("a", 6.0, 3.0, "one", "p"), member("b", 1.0, 2.0, "two", "p")]
    found = joint_values("pair", members)
    assert found["measured"] == ["fd_a", "fdr_a", "fd_b", "fdr_b", "fdr2"]
    assert found["fdr2"] == 2.5 and found["fd_b"] == 1.0 and found["fdr_a"] == 3.0
    assert found["protocol"] == "pair" and found["seed"] == 3 and found["reference"] == {"n": 70, "pixels": "p"}
    assert found["held_out"].items() >= {"n": 60, "data": "validation"}.items()
    other = joint_values("pair", [members[0], members[1] | {"identity": "three"}])
    assert other["identity"] != found["identity"]
    of_folders = joint_values("pair", [members[0], member("b", 1.0, 2.0, "two", "q")])["reference"]
    assert "pixels" not in of_folders and of_folders["moments"] != found["held_out"]["moments"]
    without = [one | {"measured": one["measured"][:1]} for one in members]
    for one in without:
        del one["held_out"]
    assert joint_values("pair", without)["measured"] == ["fd_a", "fd_b"]


def test_names_of_features_of_ones_own_are_left_alone():
    for name in ("mae", "clip_features", "dino", "convnext"):
        assert metrics.name_of("fid", name, 50) == f"fid_{name}"
    for name in ("mae_vitl16", "siglip2_vitso16", "convnextv2_base", "clip_vitl14", "dinov2_vitb14"):
        assert metrics.name_of("fid", name, 50) == f"fd_{name}"


def test_protocols_of_the_set_say_their_sizes():
    sizes = {name: PROTOCOLS[name].size for name in SETS["fd_loss"]}
    assert sizes["fd_loss_dinov2"] == sizes["fd_loss_clip"] == 256
    assert all(PROTOCOLS[name].scaled for name in sizes) and PROTOCOLS["fd_loss_inception"].centre == 127.5
