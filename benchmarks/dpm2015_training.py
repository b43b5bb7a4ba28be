"""How the models of `dpm2015.py` are trained and measured: fresh data in every step, one compiled step each."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from score_jax.arrays import broadcast_right, keys_per_example
from score_jax.data.dead_leaves import DeadLeavesImages
from score_jax.data.toys import heartbeat, swiss_roll
from score_jax.losses import bound
from score_jax.models.blocks.multiscale import MultiScaleNetwork
from score_jax.models.unets.dpm2015 import BitMLP, NormalisedRBF, bit_reverse, normal_reverse
from score_jax.processes.binomial import BinomialChain, binomial_chain
from score_jax.processes.chain import Chain
from score_jax.processes.learned import chain_of_logits, log_spaced
from score_jax.processes.noise import brownian
from score_jax.samplers.multiplied import BitFactor, sample_binomial

BEATS = heartbeat(jax.random.key(0), 5).shape[1]
RHO = 0.2
"""The mean of the heartbeat's bits, and so its coin."""


class Scale(NamedTuple):
    """Mean and standard deviation of grey levels with uniform noise of one level."""

    mean: float
    std: float


LEAVES = Scale(128.0, 256 / 12**0.5)
"""Of dead leaves, whose levels are uniform."""


class GaussianModel(NamedTuple):
    """A trained model of a Gaussian chain."""

    reverse: bound.GaussianReverse
    chain: Chain
    parameters: int


class BinomialModel(NamedTuple):
    """A trained model of a binomial chain."""

    reverse: bound.BinomialReverse
    chain: BinomialChain


def train(loss: Callable, params: Any, steps: int, learning_rate: float) -> Any:
    """Parameters after `steps` of Adam on `loss(params, key)`, warmed up, then decayed along a cosine."""
    rate = optax.warmup_cosine_decay_schedule(0.0, learning_rate, steps // 40, steps)
    optimizer = optax.adam(rate, b2=0.99)

    key = jax.random.key(1)

    # No scan: within a loop XLA's CPU backend takes thirty times as long for the gradient of a convolution.
    @functools.partial(jax.jit, donate_argnums=0)
    def step(carry, i):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params, jax.random.fold_in(key, i)), state)
        return optax.apply_updates(params, updates), state

    carry = (jax.tree.map(jnp.copy, params), optimizer.init(params))
    for i in range(steps):
        carry = step(carry, i)
    return carry[0]


def strata(key, levels: int, count: int):
    """`count` levels (count,) out of 1..levels-1, one from each of as many equal parts."""
    u = (jnp.arange(count) + jax.random.uniform(key, (count,))) / count
    return 1 + jnp.floor(u * (levels - 1))


def train_gaussian(
    network, draw: Callable, beta_1: float, logits, steps: int, learning_rate: float, *, rows: int = 0, learned=True
) -> GaussianModel:
    """A model trained on K itself, with the noise held fixed while the schedule moves.

    Args:
      network: gives the readout.
      draw: `draw(key)`: data (rows, ...), a row for each level that a step trains.
      beta_1: the first beta, fixed.
      logits: of the others at the start.
      steps: of Adam.
      learning_rate: its largest.
      rows: levels per step, drawn anew; 0: every level.
      learned: the schedule moves.
    """
    levels = len(logits) + 1

    def model(params) -> GaussianModel:
        chain = chain_of_logits(params["schedule"] if learned else logits, beta_1)
        reverse = normal_reverse(lambda x, t: network.apply(params["network"], x, t), chain)
        return GaussianModel(reverse, chain, sum(leaf.size for leaf in jax.tree.leaves(params)))

    def loss(params, key):
        data_key, noise_key, level_key = jax.random.split(key, 3)
        reverse, chain, _ = model(params)
        t = strata(level_key, levels, rows) if rows else jnp.arange(1.0, levels)
        x0 = draw(data_key)
        noise = jax.random.normal(noise_key, (len(t), *x0.shape[1:]))
        kl = bound.gaussian_kl(reverse, chain, jnp.broadcast_to(x0, noise.shape), t, noise)
        # Per dimension; of the entropies only that of the last level depends on the schedule.
        return (levels - 1) * jnp.sum(kl) / noise.size - jnp.log(chain.sigmas[-1])

    example = draw(jax.random.key(0))
    weights = network.init(jax.random.key(0), example[:1], jnp.ones(1))
    return model(train(loss, {"network": weights, "schedule": jnp.asarray(logits)}, steps, learning_rate))


def gaussian_bits(model: GaussianModel, x0, seed: int = 7) -> bound.Bound:
    """The bound of data (n, ...), one draw per level, bits."""
    keys = keys_per_example(jax.random.key(seed), jnp.arange(len(x0)))
    run = jax.jit(lambda x0: bound.gaussian_bound(model.reverse, model.chain, x0, brownian(keys, x0)))
    return jax.tree.map(lambda nats: np.asarray(bound.bits(nats)), run(x0))


def importance_bits(model: GaussianModel, x0, trajectories: int, seed: int = 8):
    """The importance-sampling estimate (n,) of the log-likelihood and its standard error, bits."""
    keys = keys_per_example(jax.random.key(seed), jnp.arange(len(x0)))

    def run(x0):
        return bound.importance_log_prob(model.reverse, model.chain, x0, brownian(keys, x0), trajectories)

    return tuple(np.asarray(bound.bits(nats)) for nats in jax.jit(run)(x0))


def train_roll(beta_1: float, units: int, steps: int, logits=None, *, learned: bool = True) -> GaussianModel:
    """The swiss roll by T = 40 levels; the schedule starts log-spaced unless its logits are given."""
    logits = log_spaced(40, beta_1) if logits is None else logits
    # Centres on the data: the same network from centres N(0, 1) needs several times the steps.
    network = NormalisedRBF(len(logits) + 1, units, lambda key, shape: swiss_roll(key, shape[0]), 0.3)
    return train_gaussian(network, lambda key: swiss_roll(key, 256)[None], beta_1, logits, steps, 2e-2, learned=learned)


def train_heartbeat(levels: int, steps: int) -> BinomialModel:
    """The heartbeat, by the paper's chain."""
    chain, network = binomial_chain(levels, RHO), BitMLP(levels)
    rows, points = 128, 8

    def reverse_of(params):
        return bit_reverse(lambda x, t: network.apply(params, x, t), chain)

    def loss(params, key):
        level_key, data_key, noise_key = jax.random.split(key, 3)
        t = strata(level_key, levels, rows)
        x0 = heartbeat(data_key, rows * points).reshape(rows, points, BEATS)
        x = (jax.random.uniform(noise_key, x0.shape) < chain.probability(x0, t)).astype(x0.dtype)
        return (levels - 1) * bound.binomial_kl(reverse_of(params), chain, x0, x, t).mean() / points

    params = network.init(jax.random.key(0), jnp.zeros((1, BEATS)), jnp.ones(1))
    return BinomialModel(reverse_of(train(loss, params, steps, 5e-3)), chain)


def binomial_bits(model: BinomialModel, count: int) -> bound.Bound:
    """The bound of `count` heartbeats, one draw per level, bits."""
    x0 = heartbeat(jax.random.key(7), count)
    keys = keys_per_example(jax.random.key(8), jnp.arange(count))
    run = jax.jit(lambda x0: bound.binomial_bound(model.reverse, model.chain, x0, keys))
    return jax.tree.map(lambda nats: np.asarray(bound.bits(nats)), run(x0))


def sample_beats(model: BinomialModel, count: int, factor: BitFactor | None = None):
    """Samples (count, 20) of the model, or of the model multiplied by r."""
    keys = keys_per_example(jax.random.key(9), jnp.arange(count))
    draw = jax.jit(lambda keys: sample_binomial(model.reverse, model.chain, keys, jnp.zeros((count, BEATS)), factor))
    return np.asarray(draw(keys))


def is_beat(x) -> np.ndarray:
    """Which rows (n,) are heartbeats, of any phase."""
    beats = np.arange(BEATS)[None] % 5 == np.arange(5)[:, None]
    return (x[:, None] == beats[None]).all(axis=2).any(axis=1)


def grey_leaves(seed: int, size: int, count: int):
    """Dead leaves (count, size, size, 1), grey levels 0..255."""
    images = DeadLeavesImages(seed, size, 1, count)
    return np.stack([images[i]["image"] for i in range(count)])


def spread(key, grey, scale: Scale):
    """Grey levels with uniform noise of one level, of mean 0 and variance 1 (appendix D.2.1)."""
    return (grey + jax.random.uniform(key, grey.shape) - scale.mean) / scale.std


def mirrored(key, x):
    """Images (b, s, s, 1), each turned or not about both axes and a diagonal."""
    for which, axes in zip(jax.random.split(key, 3), ((1,), (2,), None), strict=True):
        other = jnp.swapaxes(x, 1, 2) if axes is None else jnp.flip(x, axes)
        coin = jax.random.bernoulli(which, 0.5, x.shape[:1]).astype(jnp.float32)
        x = jnp.where(broadcast_right(coin, x) > 0, other, x)
    return x


def train_images(
    grey, scale: Scale, levels: int, beta_1: float, steps: int, rows: int, learning_rate: float = 3e-3, augment=None
) -> GaussianModel:
    """Images (n, s, s, 1) by the multi-scale network; each step draws `rows` of them.

    Args:
      grey: their levels.
      scale: of the levels.
      levels: T.
      beta_1: the first beta.
      steps: of Adam.
      rows: images per step, each at a level of its own.
      learning_rate: its largest.
      augment: `augment(key, x)`: the drawn images changed at random.
    """
    network, images = MultiScaleNetwork(levels), jnp.asarray(grey)

    def draw(key):
        which, noise, change = jax.random.split(key, 3)
        x = images[jax.random.randint(which, (rows,), 0, len(images))]
        return spread(noise, x if augment is None else augment(change, x), scale)

    return train_gaussian(network, draw, beta_1, log_spaced(levels, beta_1), steps, learning_rate, rows=rows)
