import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.errors import InputError
from score_jax.predictor import LABELS, OUTPUTS, network_predictor, score_predictor
from score_jax.processes.gaussian import VE, VP, SubVP

PROCESSES = [VE(0.01, 50.0), VP(), SubVP()]


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("output", OUTPUTS)
def test_every_output_tells_the_same(process, output, x64):
    """A network that outputs the truth in any coordinate gives x0, eps and the conditional score."""
    x0, eps = jax.random.normal(jax.random.key(0), (2, 3, 4, 4, 1), jnp.float64)
    t = jnp.array([0.01, 0.3, 1.0])
    x = process.perturb(x0, t, eps)
    alpha, sigma = (f(t)[:, None, None, None] for f in (process.alpha, process.sigma))
    truth = {"eps": eps, "x0": x0, "v": alpha * eps - sigma * x0, "score": -(x - alpha * x0) / sigma**2}[output]
    predict = network_predictor(lambda params, x, label: truth, process, output=output, label="999t")
    prediction = predict({}, x, t)
    np.testing.assert_allclose(prediction.x0, x0, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(prediction.eps, eps, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(prediction.score, -(x - alpha * x0) / sigma**2, rtol=1e-8, atol=1e-8)


def test_labels_are_the_papers():
    t = jnp.array([0.0, 0.5, 1.0])
    np.testing.assert_allclose(LABELS["999t"](t, VP()), [0, 499.5, 999])
    np.testing.assert_allclose(LABELS["sigma"](t, VE(0.01, 50.0)), [0.01, 0.01 * 5000**0.5, 50], rtol=1e-5)
    ratio = LABELS["noise_to_signal"](t[1:], VP())
    np.testing.assert_allclose(ratio, (VP().sigma(t) / VP().alpha(t))[1:], rtol=1e-5)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'score'"):
        network_predictor(lambda p, x, t: x, VP(), output="scor", label="999t")
    with pytest.raises(InputError, match="Known: 999t"):
        network_predictor(lambda p, x, t: x, VP(), output="eps", label="1000t")


def test_a_bare_score_function_is_enough():
    process, x, t = VP(), jnp.ones((2, 3)), jnp.array([0.2, 0.9])
    prediction = score_predictor(lambda x, t: -x, process)(x, t)
    np.testing.assert_allclose(prediction.eps, process.sigma(t)[:, None] * x, rtol=1e-6)
