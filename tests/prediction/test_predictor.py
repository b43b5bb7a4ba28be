import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.prediction.predictor import (
    LABELS,
    OUTPUTS,
    clipped,
    dynamically_thresholded,
    network_predictor,
    score_predictor,
)
from score_jax.processes.chain import ve_chain, vp_chain
from score_jax.processes.gaussian import VE, VP, Cosine, Flow, LinearVE, SubVP
from score_jax.processes.interpolated import Interpolated

PROCESSES = [VE(0.01, 50.0), VP(), SubVP(), Flow(), Cosine(), LinearVE(50.0)]


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("output", sorted(set(OUTPUTS) - {"mean"}))
def test_every_output_tells_the_same(process, output, x64):
    """A network that outputs the truth in any coordinate gives x0, eps and the conditional score."""
    x0, eps = jax.random.normal(jax.random.key(0), (2, 3, 4, 4, 1), jnp.float64)
    t = jnp.array([0.01, 0.3, process.t_max])
    x = process.perturb(x0, t, eps)
    alpha, sigma = (f(t)[:, None, None, None] for f in (process.alpha, process.sigma))
    alpha_rate, sigma_rate = (rate[:, None, None, None] for rate in process.rates(t))
    truths = {
        "eps": eps,
        "x0": x0,
        "v": alpha * eps - sigma * x0,
        "score": -(x - alpha * x0) / sigma**2,
        "velocity": alpha_rate * x0 + sigma_rate * eps,
    }
    truth = truths[output]
    predict = network_predictor(lambda params, x, label: truth, process, output=output, label="999t")
    prediction = predict({}, x, t)
    np.testing.assert_allclose(prediction.x0, x0, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(prediction.eps, eps, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(prediction.score, -(x - alpha * x0) / sigma**2, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("chain", [vp_chain("linear", 50), ve_chain(0.01, 5.0, 50)], ids=["vp", "ve"])
def test_a_network_that_outputs_the_mean_tells_the_same(chain, x64):
    x0, eps = jax.random.normal(jax.random.key(0), (2, 3, 4, 4, 1), jnp.float64)
    t = jnp.array([0.0, 20.0, 49.0])
    x = chain.perturb(x0, t, eps)
    mean, _ = chain.posterior(x, x0, t, t - 1)
    prediction = network_predictor(lambda params, x, label: mean, chain, output="mean", label="index")({}, x, t)
    np.testing.assert_allclose(prediction.x0, x0, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(prediction.eps, eps, rtol=1e-8, atol=1e-8)
    with pytest.raises(InputError, match="counts levels|levels"):
        network_predictor(lambda params, x, label: x, VP(), output="mean", label="999t")({}, x, t / 50)


def test_twice_the_channels_are_a_learned_variance():
    def apply(params, x, label):
        return jnp.concatenate([x, 2 * x], axis=-1)

    x = jnp.ones((2, 4, 4, 3))
    prediction = network_predictor(apply, VP(), output="eps", label="999t")({}, x, jnp.array([0.2, 0.9]))
    np.testing.assert_array_equal(prediction.variance, 2 * x)
    plain = network_predictor(lambda p, x, t: x, VP(), output="eps", label="999t")({}, x, jnp.array([0.2, 0.9]))
    assert plain.variance is None


def test_a_clipped_model_has_eps_of_its_clipped_x0():
    process, t, x = VP(), jnp.array([0.3, 0.6]), 3 * jnp.ones((2, 5))
    prediction = clipped(score_predictor(lambda x, t: -0.1 * x, process), process)(x, t)
    assert prediction.x0.max() == 1.0
    np.testing.assert_allclose(process.perturb(prediction.x0, t, prediction.eps), x, rtol=1e-5)


def test_a_dynamic_threshold_scales_images_back_to_their_range():
    process, t = VP(), jnp.array([0.3, 0.3])
    x = jnp.stack([jnp.linspace(-4, 4, 100), jnp.linspace(-0.2, 0.2, 100)])
    bare = score_predictor(lambda x, t: jnp.zeros_like(x), process)
    held = dynamically_thresholded(bare, process, quantile=0.9)(x, t)
    inside = bare(x, t).x0[1]
    np.testing.assert_allclose(held.x0[1], inside, rtol=1e-6)  # within [-1, 1] already
    assert jnp.abs(held.x0[0]).max() == 1.0
    np.testing.assert_allclose(
        held.x0[0, 50] / bare(x, t).x0[0, 50], 1 / jnp.quantile(jnp.abs(bare(x, t).x0[0]), 0.9), rtol=1e-4
    )


def test_labels_are_the_papers():
    t = jnp.array([0.0, 0.5, 1.0])
    np.testing.assert_allclose(LABELS["999t"](t, VP()), [0, 499.5, 999])
    np.testing.assert_allclose(LABELS["sigma"](t, VE(0.01, 50.0)), [0.01, 0.01 * 5000**0.5, 50], rtol=1e-5)
    ratio = LABELS["noise_to_signal"](t[1:], VP())
    np.testing.assert_allclose(ratio, (VP().sigma(t) / VP().alpha(t))[1:], rtol=1e-5)

    np.testing.assert_allclose(LABELS["999_minus_999t"](t, Flow()), [999, 499.5, 0])
    chain, t = vp_chain(num_levels=250), jnp.array([0.0, 10.0, 249.0])
    np.testing.assert_array_equal(LABELS["index"](t, chain), t)
    np.testing.assert_allclose(LABELS["index_of_1000"](t, chain), [0, 40, 996])
    np.testing.assert_array_equal(LABELS["descending_index"](t, chain), [249, 239, 0])
    np.testing.assert_array_equal(LABELS["descending_index"](t, Interpolated(chain)), [249, 239, 0])


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'score'"):
        network_predictor(lambda p, x, t: x, VP(), output="scor", label="999t")
    with pytest.raises(InputError, match="Known: 999"):
        network_predictor(lambda p, x, t: x, VP(), output="eps", label="1000t")


def test_a_bare_score_function_is_enough():
    process, x, t = VP(), jnp.ones((2, 3)), jnp.array([0.2, 0.9])
    prediction = score_predictor(lambda x, t: -x, process)(x, t)
    np.testing.assert_allclose(prediction.eps, process.sigma(t)[:, None] * x, rtol=1e-6)
