"""Names, rows and refusals of the numbers of a protocol."""

import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.evaluation import metrics
from score_jax.evaluation.feature_set import FeatureSet
from score_jax.evaluation.inception import input_rule, logits
from score_jax.evaluation.input_rule import prepared
from score_jax.evaluation.manifold import Manifold, manifold
from score_jax.evaluation.protocols import PROTOCOLS, protocol_names
from score_jax.evaluation.statistics import moments

RNG = np.random.default_rng(4)


def features(count, shift=0.0, dim=3):
    rows = RNG.normal(size=(count, dim)) + shift
    return FeatureSet({"features": moments(rows)}, rows, None, {"n": count})


@pytest.mark.parametrize(
    ("count", "name"), [(50_000, "fid50k"), (1000, "fid1k"), (1234, "fid1234"), (1500, "fid1500"), (None, "fid")]
)
def test_a_distance_is_named_by_its_number_of_samples(count, name):
    assert metrics.name_of("fid", "", count) == name
    assert metrics.name_of("fid", "digits", count) == "fid_digits"
    assert metrics.name_of("fid", "dinov2", count) == "fd_dinov2"
    assert metrics.name_of("kid", "dinov2_vitb14_reg", count) == "kd_dinov2_vitb14_reg"


def test_a_distance_needs_four_images():
    metrics.check_counts(generated=4, real=None)
    with pytest.raises(InputError, match="3 samples"):
        metrics.check_counts(generated=3, real=10)
    with pytest.raises(InputError, match="3 reference images"):
        metrics.check_counts(generated=4, real=3)


def test_precision_is_taken_on_even_rows_of_the_reference():
    generated, real = features(12), features(31, 0.5)
    few = PROTOCOLS["adm"].__class__("few", neighbours=2, manifold_reference=7)
    found = metrics.measure(few, generated=generated, real=real, name="")
    expected = manifold(generated=generated.features, real=real.features[::5], k=2)
    assert found["manifold_reference"] == 7
    for name in ("precision", "recall", "density", "coverage", "f_score"):
        assert found[name] == getattr(expected, name)
    every = metrics.measure(PROTOCOLS["adm"], generated=generated, real=real, name="")
    assert every["manifold_reference"] == 31
    metrics.measure(few, generated=features(4), real=features(4), name="")
    with pytest.raises(InputError, match="more than 4"):
        metrics.measure(few.__class__("four", neighbours=4), generated=features(4), real=features(9), name="")


def test_balanced_sets_are_as_many_as_the_fewer():
    balanced = PROTOCOLS["adm"].__class__("balanced", neighbours=2, manifold_reference=16, manifold_balanced=True)
    few, many = features(11), features(31, 0.5)
    found = metrics.measure(balanced, generated=few, real=many, name="")
    expected = manifold(generated=few.features, real=many.features[::3], k=2)
    assert found["manifold_reference"] == 11 and found["density"] == expected.density
    found = metrics.measure(balanced, generated=many, real=many, name="")
    expected = manifold(generated=many.features[::2], real=many.features[::2], k=2)
    assert found["manifold_reference"] == 16 and found["coverage"] == expected.coverage


def test_dinov2_has_distances_of_its_own_names():
    generated, real = features(12), features(31, 0.5)
    found = metrics.measure(PROTOCOLS["dgm_eval"], generated=generated, real=real, name="dinov2")
    assert found["fd_dinov2"] > 0 and found["kd_dinov2_subset_size"] == 12
    assert found["manifold_reference"] == 12 and {"precision", "recall", "density", "coverage"} <= set(found)
    assert found["warning"].startswith("fd_dinov2 is of 12 samples and lies above fd_dinov2 of 50,000") and (
        "KD does not" in found["warning"]
    )
    assert "fd_dinov2_standard_error" not in found
    meanings = {name: text for name, _, text in metrics.rows(found)}
    assert meanings["kd_dinov2"].startswith("kernel distance of the network")
    plain = metrics.measure(PROTOCOLS["edm2_dinov2"], generated=features(12), real=real, name="dinov2")
    assert "precision" not in plain and "fd_dinov2" in plain


def test_held_out_images_are_the_scale_of_a_distance():
    generated, real, held_out = features(40, 0.8), features(60), features(50, 0.1)
    sets = {"generated": generated, "real": real}
    for name, distance, ratio in (("", "fid50_held_out", "fdr"), ("dinov2", "fd_dinov2_held_out", "fdr_dinov2")):
        found = metrics.measure(PROTOCOLS["edm"], **sets, name=name, held_out=held_out)
        fresh = metrics.measure(PROTOCOLS["edm"], generated=held_out, real=real, name=name)
        own, theirs = ("fid40", "fid50") if not name else ("fd_dinov2", "fd_dinov2")
        assert found[distance] == fresh[theirs] and found[ratio] == found[own] / fresh[theirs] > 1
        meanings = {name: text for name, _, text in metrics.rows(found)}
        assert meanings[distance].startswith("the same of the held-out images: Frechet distance")
        assert "over that of held-out" in meanings[ratio] and meanings["authenticity_held_out"].startswith("the same")
    with pytest.raises(InputError, match="The held-out images are those"):
        metrics.measure(PROTOCOLS["edm"], **sets, name="", held_out=real)


def test_the_f_score_is_the_harmonic_mean():
    assert Manifold(0.5, 0.25, 1.0, 1.0).f_score == pytest.approx(1 / 3)


def test_of_a_whole_result_what_was_measured_is_shown():
    result = {"fid": 2.0, "fid_standard_error": 0.5, "centre": 128.0, "measured": ["fid"]}
    assert metrics.lines(result) == ["fid                   2.0000 +- 0.5000"]


def test_numbers_stand_with_their_uncertainty():
    values = {"fid1k": 2.0, "kid": 0.5, "kid_spread": 0.25, "kid_subset_size": 10}
    values |= {"fid1k_infinity": 1.0, "fid1k_infinity_low": 0.5, "fid1k_infinity_high": 1.5}
    shown = {name: text for name, text, _ in metrics.rows(values)}
    expected = {"fid1k": "2.0000", "kid": "0.5000 +- 0.2500", "fid1k_infinity": "1.0000 (0.5000 to 1.5000)"}
    assert shown == expected
    meanings = {name: text for name, _, text in metrics.rows(values)}
    assert meanings["kid"].startswith("kernel distance") and meanings["fid1k_infinity"].startswith("the distance at")


def test_inception_sees_levels_about_the_protocols_centre():
    for centre, ends in ((127.5, (-1, 1)), (128.0, (-1, 127 / 128))):
        for level, value in zip((0, 255), ends, strict=True):
            seen = prepared(jnp.full((1, 5, 7, 1), level, jnp.uint8), input_rule("tf1", centre))
            assert seen.shape == (1, 299, 299, 3)
            np.testing.assert_allclose(seen, value, atol=1e-6)


def test_logits_are_of_the_last_layer_with_or_without_its_bias():
    kernel = RNG.normal(size=(2048, 1008)).astype(np.float32)
    params = {"fc_kernel": jnp.asarray(kernel), "fc_bias": jnp.arange(1008.0)}
    pool3 = np.zeros((2, 2048), np.float32)
    pool3[1, 5] = 2.0
    np.testing.assert_allclose(logits(params, pool3, False)[1], 2 * kernel[5], rtol=1e-6)
    np.testing.assert_array_equal(logits(params, pool3, True)[0], params["fc_bias"])


def test_protocols_are_named_between_commas_or_in_a_list():
    assert protocol_names("adm, jax_fid") == protocol_names(["adm", "jax_fid"]) == ["adm", "jax_fid"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "protocol='' lacks a name"),
        ("adm,", "protocol='adm,' lacks a name"),
        ([], "protocol='' lacks a name"),
        (["adm", None], "None cannot be one of several"),
        ("adm,adm", "names adm twice"),
        ("adm,fld", "Unknown protocol 'fld'"),
        ("fd_losss", "Did you mean 'fd_loss'?"),
    ],
)
def test_what_names_no_protocols_is_one_line(given, message):
    with pytest.raises(InputError, match=message):
        protocol_names(given)
