"""CLIP's embeddings under CMMD's protocol: what the network sees, and which file it may be of."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from score_jax.convert import clip
from score_jax.errors import InputError
from score_jax.evaluation import metrics
from score_jax.evaluation.clip import CLIPVisionWeights, clip_extractor
from score_jax.evaluation.feature_set import FeatureSet
from score_jax.evaluation.kernel_distance import cmmd
from score_jax.evaluation.protocols import PROTOCOLS
from score_jax.evaluation.statistics import moments
from score_jax.models.clip.clip_input import from_pixels
from score_jax.models.clip.clip_resnet import ModifiedResNet
from score_jax.models.clip.clip_vision import VisionTransformer

RNG = np.random.default_rng(0)
MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "clip.safetensors"
    save_file(clip.random_state(0), path)
    return path


@pytest.fixture(scope="module")
def weights(file):
    return clip.load_clip_vision(file)


@pytest.mark.parametrize("shape", [(50, 71), (41, 20), (32, 32), (9, 9)])
def test_the_network_sees_the_middle_square_as_pillow_makes_it(weights, shape):
    image = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    cut = Image.fromarray(image).crop((left, top, left + side, top + side))
    expected = np.asarray(cut.resize((32, 32), Image.Resampling.BICUBIC)) / 255
    extractor = clip_extractor(weights, PROTOCOLS["cmmd"])
    seen = extractor.prepare(jnp.asarray(image)[None])[0]
    np.testing.assert_allclose(seen, (expected - MEAN) / STD, atol=1e-5)
    np.testing.assert_allclose(extractor.prepare_alone(image), seen, atol=1e-6)


def test_features_are_the_embedding_over_its_length(weights, file):
    extractor = clip_extractor(weights, PROTOCOLS["cmmd"])
    images = jnp.asarray(RNG.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8))
    found = jax.jit(extractor.apply)(extractor.params, extractor.prepare(images))["features"]
    network = clip.load_clip(file)
    embedding = np.asarray(network.encode_image(network.params, from_pixels(images)))
    np.testing.assert_allclose(found, embedding / np.linalg.norm(embedding, axis=1)[:, None], atol=1e-5)
    assert extractor.name == "clip_other" and extractor.identity == weights.sha256[:16]


def test_a_file_has_the_hash_of_its_tower_of_images(weights, tmp_path):
    state = clip.random_state(0)
    theirs = clip.state_of(clip.clip_of(state).params, clip.TRANSFORMERS)
    save_file({name: np.array(tensor, order="C") for name, tensor in theirs.items()}, tmp_path / "hf.safetensors")
    state["ln_final.bias"][0] += 1  # of the tower of texts
    save_file(state, tmp_path / "text.safetensors")
    assert {clip.load_clip_vision(tmp_path / f"{name}.safetensors").sha256 for name in ("hf", "text")} == {
        weights.sha256
    }
    state["visual.ln_post.bias"][0] += 1
    save_file(state, tmp_path / "image.safetensors")
    assert clip.load_clip_vision(tmp_path / "image.safetensors").sha256 != weights.sha256


def test_other_networks_are_refused_unless_asked_for(file, tmp_path, monkeypatch):
    monkeypatch.delenv(clip.VARIABLE, raising=False)
    with pytest.raises(InputError, match=r"ViT-L-14-336px.pt of .*--clip_weights or \$SCORE_JAX_CLIP"):
        clip.find_clip(None)
    with pytest.raises(InputError, match="is no published network, and CMMD is of vitl14_336.*--allow_other_weights"):
        clip.find_clip(file)
    monkeypatch.setenv(clip.VARIABLE, str(file))
    assert clip.find_clip(None, allow_other=True).architecture is None
    resnet = dataclasses.replace(clip.TINY, vision=ModifiedResNet(32, 8, (1, 1, 1, 1), 32))
    save_file(clip.random_state(0, resnet), tmp_path / "resnet.safetensors")
    with pytest.raises(InputError, match="resnet.safetensors: its network of images is no transformer"):
        clip.find_clip(tmp_path / "resnet.safetensors", allow_other=True)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (VisionTransformer(336, 14, 1024, 24, 16, 768), "clip"),
        (VisionTransformer(224, 14, 1024, 24, 16, 768), "clip_vitl14"),
        (VisionTransformer(224, 32, 768, 12, 12, 512), "clip_vitb32"),
        (VisionTransformer(224, 32, 768, 11, 12, 512), "clip_other"),
    ],
)
def test_features_are_named_by_their_network(module, name):
    assert CLIPVisionWeights(module, {}, "").name == name


def test_the_protocol_measures_one_distance():
    generated, real = (rows / np.linalg.norm(rows, axis=1)[:, None] for rows in RNG.normal(size=(2, 30, 5)))
    sets = {
        kind: FeatureSet({"features": moments(rows)}, rows, None, {"n": 30})
        for kind, rows in (("generated", generated), ("real", real))
    }
    for name, metric in {"clip": "cmmd", "clip_vitb32": "cmmd_vitb32"}.items():
        found = metrics.measure(PROTOCOLS["cmmd"], **sets, name=name)
        assert found == {metric: cmmd(generated=generated, real=real)}
    ((_, _, meaning),) = metrics.rows(found)
    assert meaning.startswith("kernel distance of CLIP's")
