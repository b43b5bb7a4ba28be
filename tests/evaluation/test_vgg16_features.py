"""VGG16's features under torch-fidelity's protocol; its numbers are in the parity file."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.convert.edm2_statistics import read_edm2_statistics
from score_jax.convert.vgg16 import random_state, vgg16_of
from score_jax.errors import InputError
from score_jax.evaluation import metrics
from score_jax.evaluation.feature_set import FeatureSet
from score_jax.evaluation.manifold import manifold
from score_jax.evaluation.protocols import PROTOCOLS
from score_jax.evaluation.resize import tf1_matrix
from score_jax.evaluation.statistics import moments
from score_jax.evaluation.vgg16 import VGG16Weights, vgg16_extractor
from score_jax.models.scorers.vgg16 import VGG16Hidden

RNG = np.random.default_rng(0)
PROTOCOL = PROTOCOLS["torch_fidelity_prc"]


def test_the_network_sees_tf1s_resize_over_imagenets_deviations():
    narrow = VGG16Hidden(((2, 2), (2, 2), (2, 2, 3), (3, 3, 3), (3, 3, 3)), hidden=8)
    weights = VGG16Weights(*vgg16_of(random_state(0, narrow)), "0123456789abcdef0123", published=False)
    extractor = vgg16_extractor(weights, PROTOCOL)
    assert (extractor.name, extractor.identity) == ("vgg16", "0123456789abcdef")
    images = RNG.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    seen = extractor.prepare(jnp.asarray(images))
    resized = np.einsum("Hi,Wj,bijc->bHWc", tf1_matrix(20, 224), tf1_matrix(30, 224), images) / 255
    np.testing.assert_allclose(seen, (resized - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], atol=1e-5)
    np.testing.assert_allclose(extractor.prepare_alone(images[1]), seen[1], atol=2e-5)
    found = jax.jit(extractor.apply)(extractor.params, seen)["features"]
    assert found.shape == (2, 8) and found.min() == 0 < found.max()  # after the ReLU


def sets(*arrays):
    return [FeatureSet({"features": moments(rows)}, rows, None, {"n": len(rows)}) for rows in arrays]


def test_the_protocol_measures_precision_and_recall_of_all_images_and_no_distance():
    generated, real = sets(RNG.normal(size=(40, 6)), RNG.normal(size=(50, 6)) + 0.3)
    found = metrics.measure(PROTOCOL, generated=generated, real=real, name="vgg16")
    expected = manifold(generated=generated.features, real=real.features, k=3)
    assert (found["precision"], found["recall"], found["f_score"]) == (
        expected.precision,
        expected.recall,
        expected.f_score,
    )
    assert set(found) == {"precision", "recall", "density", "coverage", "f_score", "manifold_reference"}
    assert found["manifold_reference"] == 50


def test_edm2s_statistics_are_of_other_networks(tmp_path):

    with pytest.raises(InputError, match="of Inception and DINOv2, and the protocol 'torch_fidelity_prc' is of vgg16"):
        read_edm2_statistics(tmp_path / "img512.pkl", PROTOCOL)
