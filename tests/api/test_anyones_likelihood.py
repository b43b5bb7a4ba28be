"""The exact likelihood of models of any framework, given as any quantity, against the closed form."""

import inspect
import json
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_models import MEAN, MODELS, SHAPE, STD, VP, Nnx, eps_of

import score_jax as sj
from score_jax.arrays import broadcast_right
from score_jax.errors import InputError
from score_jax.runtime import stop as stopping

X = MEAN + STD * np.random.default_rng(0).normal(size=(16, *SHAPE)).astype(np.float32)
ENTROPY_BITS = 0.5 * np.log2(2 * np.pi * np.e * STD**2)
FAST = dict(rtol=1e-4, atol=1e-4)


def images_of(count, seed=1):
    pixels = MEAN + STD * np.random.default_rng(seed).normal(size=(count, *SHAPE))
    return np.clip(np.floor((pixels + 1) / 2 * 256), 0, 255).astype(np.uint8)


def log_density(x):
    return jax.scipy.stats.norm.logpdf(x, MEAN, STD).reshape(len(x), -1).sum(axis=1)


@pytest.mark.parametrize("framework", MODELS)
def test_bits_per_dim_are_within_their_error_of_the_closed_form(framework):
    found = sj.bits_per_dim(
        MODELS[framework](), VP, images_of(64), divergence="exact", batch_size=64, sensitivity_batches=0
    )
    assert 0 < found.standard_error < 0.05
    assert abs(found.mean - (ENTROPY_BITS + 7)) < 3 * found.standard_error
    assert found.summary["bpd_ode_uniform"] == found.mean and len(found.bits_per_dim) == 64


def given_as(output):
    """The same model, as another quantity."""

    def model(x, t):
        alpha, sigma = (broadcast_right(level, x) for level in (VP.alpha(t), VP.sigma(t)))
        eps = eps_of(x, t, MEAN, STD)
        x0 = (x - sigma * eps) / alpha
        alpha_rate, sigma_rate = (broadcast_right(rate, x) for rate in VP.rates(t))
        return {
            "eps": eps,
            "x0": x0,
            "v": alpha * eps - sigma * x0,
            "velocity": alpha_rate * x0 + sigma_rate * eps,
            "score": -eps / sigma,
        }[output]

    return model


@pytest.mark.parametrize("output", ["eps", "x0", "v", "velocity", "score"])
def test_every_output_is_the_same_density(output):
    found = sj.log_prob(given_as(output), VP, X, output=output, divergence="exact")
    assert found.ok.all() and (found.standard_error == 0).all() and (found.nfe > 10).all()
    np.testing.assert_allclose(found.log_prob, log_density(X), atol=0.02)
    np.testing.assert_allclose(found.log_prob, found.prior_log_prob + found.divergence, rtol=1e-5)


@pytest.mark.parametrize(
    ("time", "back"),
    [
        ("999t", lambda given: given / 999),
        ("noise_to_signal", VP.time_at),
        (lambda t: 1 - t, lambda given: 1 - given),
    ],
)
def test_a_model_is_given_its_own_time(time, back):
    model = lambda x, given: eps_of(x, back(given), MEAN, STD)  # noqa: E731
    found = sj.log_prob(model, VP, X[:8], time=time, divergence="exact", **FAST)
    np.testing.assert_allclose(found.log_prob, log_density(X[:8]), atol=0.05)


def test_points_and_labels():
    """Data of no image's shape, each example given the class that its mean is of."""
    means, labels = jnp.array([-0.3, 0.4]), np.array([0, 1, 1])
    x = np.array([[-0.3, -0.1], [0.5, 0.6], [-0.3, -0.1]], np.float32)
    model = lambda x, t, labels: eps_of(x, t, means[labels][:, None], STD)  # noqa: E731
    found = sj.log_prob(model, VP, x, labels=labels, divergence="exact", **FAST)
    exact = jax.scipy.stats.norm.logpdf(x, np.asarray(means)[labels][:, None], STD).sum(axis=1)
    np.testing.assert_allclose(found.log_prob, exact, rtol=2e-3, atol=0.02)


def test_probes_say_their_error():
    """A score that is no gradient of a normal's alone: the estimate is off, by what it says."""
    scales = jnp.linspace(0.2, 2.0, 16).reshape(1, *SHAPE)
    model = lambda x, t: eps_of(x, t, MEAN, scales)  # noqa: E731
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0].astype(np.float32)

    def mixed(x, t):
        return (model((x.reshape(-1, 16) @ turned).reshape(x.shape), t).reshape(-1, 16) @ turned.T).reshape(x.shape)

    exact = sj.log_prob(mixed, VP, X, divergence="exact", **FAST)
    found = sj.log_prob(mixed, VP, X, divergence="gaussian", probes=16, **FAST)
    missed = (found.log_prob - exact.log_prob) / found.standard_error
    assert (found.standard_error > 0.1).all() and 0.4 < np.sqrt(np.mean(missed**2)) < 2.0


class _Asked(stopping.Stop):
    """Asked to end before its third batch."""

    questions = 0

    def __bool__(self):
        self.questions += 1
        return self.questions > 2


@pytest.mark.slow
def test_stopped_and_called_again_it_goes_on(tmp_path, monkeypatch):
    images, how = images_of(40), dict(divergence="exact", batch_size=8, sensitivity_batches=0, **FAST)
    whole = sj.bits_per_dim(Nnx(), VP, images, workdir=tmp_path / "whole", **how)
    with monkeypatch.context() as patched:
        patched.setattr(stopping, "Stop", _Asked)
        with pytest.raises(sj.Interrupted, match="16 of 40"):
            sj.bits_per_dim(Nnx(), VP, images, workdir=tmp_path / "parts", **how)
    kept = sorted((tmp_path / "parts" / "likelihood_parts").glob("*/0*.npz"))
    assert [path.name for path in kept] == ["000000000.npz", "000000008.npz"]
    other = sj.bits_per_dim(Nnx(0.5), VP, images, workdir=tmp_path / "parts", **how)  # of other parameters
    assert other.mean > whole.mean + 0.1
    assert all(path.exists() for path in kept)
    again = sj.bits_per_dim(Nnx(), VP, images, workdir=tmp_path / "parts", **how)
    np.testing.assert_array_equal(again.bits_per_dim, whole.bits_per_dim)
    assert not (tmp_path / "parts" / "likelihood_parts").exists()
    written = json.loads((tmp_path / "parts" / "likelihood.json").read_text())
    assert written["bpd_ode_uniform"] == whole.mean and written["process"] == "vp"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(output="noise"), "Unknown prediction.output 'noise'"),
        (dict(time="seconds"), "Unknown prediction.label 'seconds'"),
        (dict(rtol=-1.0), "likelihood.rtol=-1.0: give more than 0"),
        (dict(probe=3), "Unknown key of likelihood 'probe'. Did you mean 'probes'"),
        (dict(dtype="float64"), "jax_enable_x64"),
        (dict(process="vp"), "The process is str: expected one such as score_jax.VP()"),
        (dict(model=lambda x, t: x.sum()), "The model gives ()"),
        (dict(model=3), "The model is int"),
        (dict(images=np.zeros((4, 4, 4, 1), np.float32)), "Images in memory are float32 (4, 4, 4, 1): expected uint8"),
        (dict(images="nowhere"), "nowhere: no such folder or file"),
        (dict(labels=np.zeros(3, int)), "labels are int64 (3,): expected whole numbers, one for each of 8"),
        (dict(num_classes=2), "give the labels of images in memory"),
        (dict(dequantization="variational"), "dequantization=variational is fitted to a run"),
    ],
)
def test_what_cannot_be_is_one_line(changed, message):
    asked = dict(model=MODELS["bare"](), process=VP, images=images_of(8)) | changed
    with pytest.raises(sj.InputError) as error:
        inspect.unwrap(sj.bits_per_dim)(**asked)  # without the check of types that tests alone have
    assert message in str(error.value) and "\n" not in str(error.value)


def test_x_is_checked():
    with pytest.raises(sj.InputError, match="x is int64 .3,.: expected floats"):
        inspect.unwrap(sj.log_prob)(MODELS["bare"](), VP, np.arange(3))


def test_a_grid_takes_one_evaluation_a_step_and_says_its_error():
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    how = dict(output="score", divergence="exact")
    grid = sj.log_prob(lambda x, t: -x, sj.VP(), x, control="grid", solver="adams", **how)
    np.testing.assert_array_equal(grid.nfe, 65)
    assert (grid.solver_error >= 0).all()
    for asked in ({}, dict(control="batch", variable="log_snr")):
        adaptive = sj.log_prob(lambda x, t: -x, sj.VP(), x, **how, **asked)
        assert np.isnan(adaptive.solver_error).all()
        np.testing.assert_allclose(adaptive.log_prob, grid.log_prob, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(solver="adams", control="example"), "steps of one length"),
        (dict(control="grid", variable="time"), "leave one out"),
        (dict(control="grid", solver="kvaerno5"), "choose an explicit solver"),
        (dict(control="grid", rtol=1e-3), "is not read here"),
    ],
)
def test_steps_that_cannot_be_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        sj.log_prob(lambda x, t: -x, sj.VP(), np.zeros((1, 2), np.float32), output="score", **options)
