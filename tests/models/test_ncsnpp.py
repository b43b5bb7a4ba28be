import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from score_jax.models.blocks.resampling import fir_down, fir_filter, fir_up, mean_down, nearest_up
from score_jax.models.unets.ncsnpp import NCSNpp

TINY = dict(
    channels=8,
    channel_mult=(1, 2),
    num_res_blocks=1,
    attention_resolutions=(4,),
    dropout=0.5,
    fourier_scale=1.0,
    centered=True,
)
NCSNPP = TINY | dict(embedding="fourier", fir=True, progressive_input="residual", scale_by_sigma=True)
DDPMPP = TINY | dict(embedding="positional", fir=False, progressive_input="none", scale_by_sigma=False)
X = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
LABEL = jnp.array([0.5, 2.0])


def randomised(net):
    """Parameters without the zero initialisation behind which a wrong path would hide."""
    shapes = jax.eval_shape(net.init, jax.random.key(0), X, LABEL)
    keys = iter(jax.random.split(jax.random.key(1), 200))
    return jax.tree.map(lambda s: 0.2 * jax.random.normal(next(keys), s.shape), shapes)


@pytest.mark.parametrize("kwargs", [NCSNPP, DDPMPP], ids=["ncsnpp", "ddpmpp"])
def test_starts_as_almost_zero(kwargs):
    net = NCSNpp(**kwargs)
    y, _ = jax.jit(net.init_with_output)(jax.random.key(0), X, LABEL)
    assert y.shape == X.shape and y.dtype == jnp.float32
    assert 0 < np.abs(y).max() < 1e-3


def test_dropout_is_random_in_training_only():
    net = NCSNpp(**DDPMPP)
    params = randomised(net)
    train = jax.jit(lambda key: net.apply(params, X, LABEL, train=True, rngs={"dropout": key}))
    plain = jax.jit(lambda: net.apply(params, X, LABEL))
    assert np.abs(train(jax.random.key(0)) - train(jax.random.key(1))).max() > 1e-3
    np.testing.assert_array_equal(plain(), plain())


def test_bfloat16_stays_near_float32():
    kwargs = {**NCSNPP, "dropout": 0.0}
    params = randomised(NCSNpp(**kwargs))
    full, half = (
        jax.jit(NCSNpp(**kwargs, dtype=dtype).apply)(params, X, LABEL) for dtype in (jnp.float32, jnp.bfloat16)
    )
    assert half.dtype == jnp.float32
    relative = np.abs(full - half).max() / np.abs(full).max()
    assert 1e-6 < relative < 0.1


def test_examples_do_not_mix():
    net = NCSNpp(**NCSNPP)
    apply = jax.jit(lambda x: net.apply(randomised(net), x, LABEL))
    moved = apply(X.at[1].add(1.0))
    np.testing.assert_allclose(moved[0], apply(X)[0], rtol=1e-5, atol=1e-5)
    assert np.abs(moved[1] - apply(X)[1]).max() > 1e-3


def upfirdn(x, taps, up, down, pad, gain):
    """Zero insertion, padding, convolution with the taps, decimation: by SciPy, one axis after the other."""
    for axis in (1, 2):
        padded_shape = list(x.shape)
        padded_shape[axis] *= up
        inserted = np.zeros(padded_shape)
        inserted[(slice(None),) * axis + (slice(None, None, up),)] = x
        widths = [(0, 0)] * 4
        widths[axis] = pad
        inserted = np.pad(inserted, widths)
        shape = [1] * 4
        shape[axis] = len(taps)
        filtered = signal.convolve(inserted, gain * np.reshape(taps, shape) / sum(taps), "valid")
        x = filtered[(slice(None),) * axis + (slice(None, None, down),)]
    return x


@pytest.mark.parametrize("taps", [(1, 3, 3, 1), (1, 1), (1, 2, 1), (0.5, 1, 2, 3, 1)])
def test_fir_resampling_is_upfirdn(taps):
    x, excess = np.asarray(X), len(taps) - 2
    before, after = (excess + 1) // 2, excess // 2
    np.testing.assert_allclose(fir_down(X, taps), upfirdn(x, taps, 1, 2, (before, after), 1), atol=1e-6)
    np.testing.assert_allclose(fir_up(X, taps), upfirdn(x, taps, 2, 1, (before + 1, after), 2), atol=1e-6)
    np.testing.assert_allclose(fir_filter(X, taps, (2, 2)), upfirdn(x, taps, 1, 1, (2, 2), 1), atol=1e-6)


def test_mean_down_undoes_nearest_up():
    np.testing.assert_allclose(mean_down(nearest_up(X)), X, rtol=1e-6)
