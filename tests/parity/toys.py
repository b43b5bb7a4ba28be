"""The models of the process files, as the parity folder's README states them. Images are NCHW."""

import jax
import jax.numpy as jnp
import numpy as np


def mixture_score(given: dict, dtype):
    """`score(x, m, std)` of the Gaussian mixture: m and std (b,) of x = m x0 + std z."""
    mu, w, s2 = (jnp.asarray(given[name], dtype) for name in ("gmm_mu", "gmm_w", "gmm_s2"))

    def score(x, m, std):
        d = x[:, None] - _right(m, 5) * mu[None]  # b k c h w
        v = m[:, None] ** 2 * s2[None] + std[:, None] ** 2
        dim = np.prod(mu.shape[1:])
        logits = jnp.log(w) - dim / 2 * jnp.log(v) - jnp.sum(d**2, axis=(2, 3, 4)) / (2 * v)
        r = jax.nn.softmax(logits, axis=1)
        return -jnp.sum((r / v)[..., None, None, None] * d, axis=1)

    return score


def _right(a, ndim):
    return a.reshape(a.shape + (1,) * (ndim - a.ndim))


def eps_toy(given: dict, constants: dict, dtype, *, learned: bool):
    """`net(x, t, y=None)` of the epsilon toy, t as the model is told it; `learned`: e and v on the channel axis."""
    c, d = constants, jnp.asarray(given["toy_d"], dtype)

    def net(x, t, y=None):
        te = _right(t / 1000, 4)
        e = c["a"] * x + c["b"] * jnp.sin(c["w"] * x + c["c"] * te)
        e = e + c["ds"] * d[None, :, None, None] * jnp.cos(3 * te)
        if y is not None:
            e = e + c["ds"] * jnp.asarray(given["toy_y"], dtype)[y][:, :, None, None]
        if not learned:
            return e
        v = c["v0"] + c["p"] * jnp.tanh(c["q"] * x + c["r"] * te)
        return jnp.concatenate([e, v], axis=1)

    return net


def condition_gradient(given: dict, constants: dict, dtype, y):
    """`gradient(x, t)` that stands for a classifier's."""
    mu = jnp.asarray(given["cond_mu"], dtype)[y][:, :, None, None]
    return lambda x, t: constants["cond_scale"] * (mu - x) / (1 + _right(t / 1000, 4))


def mlp_score(given: dict, dtype):
    """`score(x, label=None)`: tanh(flat(x) W1 + c[label]) W2, shaped as x."""
    w1, w2, c = (jnp.asarray(given[name], dtype) for name in ("mlp_W1", "mlp_W2", "mlp_c"))

    def score(x, label=None):
        rows = c[0][None] if label is None else c[label]
        return (jnp.tanh(x.reshape(len(x), -1) @ w1 + rows) @ w2).reshape(x.shape)

    return score


def mlp_energy_score(given: dict, dtype):
    """The score -grad E of E(x) = softplus(x W1 + c[0]) . en_w."""
    w1, c, w = (jnp.asarray(given[name], dtype) for name in ("mlp_W1", "mlp_c", "en_w"))

    def energy(x):
        return jnp.sum(jax.nn.softplus(x.reshape(len(x), -1) @ w1 + c[0]) @ w)

    return lambda x: -jax.grad(energy)(x)
