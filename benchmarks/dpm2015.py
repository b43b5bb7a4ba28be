"""The toy experiments of Sohl-Dickstein et al. 2015, trained from scratch: the bound K in bits.

    python benchmarks/dpm2015.py [--json] [--quick]

Swiss roll: the curve (u cos u, u sin u), u uniform over 1.5 pi to 4.5 pi, no noise, mean square 1 per axis; T = 40;
betas learned but for beta_1, which sets the value that can be reached. Heartbeat: 20 bits, a pulse in every fifth;
T = 2000.
"""

import argparse
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from report import Claim, emit
from score_jax.arrays import fold_in_each, keys_per_example
from score_jax.losses.bound import binomial_bound, binomial_kl, bits, gaussian_bound, gaussian_kl
from score_jax.models.dpm2015 import BitNetwork, RadialBasis, binomial_reverse, gaussian_reverse
from score_jax.noise import brownian
from score_jax.processes.binomial import binomial_chain, draw_bits
from score_jax.processes.learned import chain_of_logits, equal_shares, log_spaced

_CHUNK = 500


def _roll() -> tuple[np.ndarray, float]:
    """Centre and scale of the curve."""
    u = np.linspace(1.5 * np.pi, 4.5 * np.pi, 200_001)
    points = np.stack([u * np.cos(u), u * np.sin(u)], axis=1)
    centre = points.mean(axis=0)
    return centre, float(np.sqrt(((points - centre) ** 2).mean()))


CENTRE, SCALE = _roll()


def swiss_roll(key, count: int):
    """Points (count, 2) of mean square 1 per dimension."""
    u = jax.random.uniform(key, (count,), minval=1.5 * jnp.pi, maxval=4.5 * jnp.pi)
    return (jnp.stack([u * jnp.cos(u), u * jnp.sin(u)], axis=1) - jnp.asarray(CENTRE, jnp.float32)[None]) / SCALE


def heartbeat(key, count: int):
    """20 bits, of five phases."""
    phase = jax.random.randint(key, (count, 1), 0, 5)
    return (jnp.arange(20)[None] % 5 == phase).astype(jnp.float32)


def _train(loss, params, steps: int, rate: float, warmup: int):
    """Adam with a cosine; the whole loop in chunks on the device."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, warmup, steps)
    tx = optax.adam(schedule, b2=0.99)

    @jax.jit
    def chunk(carry, first):
        def step(carry, i):
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params, jax.random.fold_in(jax.random.key(1), i))
            updates, state = tx.update(gradient, state)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, carry, first + jnp.arange(_CHUNK))

    carry = (params, tx.init(params))
    for first in range(0, steps, _CHUNK):
        carry, _ = chunk(carry, first)
    return carry[0]


def swiss_roll_bound(
    units: int, beta_1: float, steps: int, logits, *, learn_schedule: bool = True
) -> tuple[float, float, float]:
    """K, its standard error, and K - L_null, in bits, on fresh points."""
    levels = len(logits) + 1
    network = RadialBasis(units, levels)
    weights = network.init(jax.random.key(0), jnp.zeros((1, 2)), 0)

    def reverse_of(params):
        chain = chain_of_logits(params["logits"] if learn_schedule else logits, beta_1)

        def reverse(x, t):
            return gaussian_reverse(*network.apply(params["network"], x, t[0]), chain, x, t)

        return reverse, chain

    def loss(params, key):
        reverse, chain = reverse_of(params)
        x0 = swiss_roll(key, 256)
        noise = jax.random.normal(jax.random.fold_in(key, 1), (levels - 1, *x0.shape))
        kl = jax.vmap(lambda k, z: gaussian_kl(reverse, chain, x0, jnp.full(256, k), z).mean())
        first, last = jnp.zeros(1), jnp.full(1, levels - 1.0)
        entropies = 2 * (jnp.log(chain.sigma(last)) - jnp.log(chain.sigma(first)))[0]
        return kl(jnp.arange(1.0, levels), noise).sum() - entropies

    params = _train(loss, {"network": weights, "logits": logits}, steps, 1e-2, 500)

    @jax.jit
    def evaluate(key):
        reverse, chain = reverse_of(params)
        x0 = swiss_roll(key, 4096)
        path = brownian(keys_per_example(jax.random.fold_in(key, 1), jnp.arange(4096)), x0)
        return gaussian_bound(reverse, chain, x0, path)

    found = [evaluate(jax.random.key(100 + i)) for i in range(25)]
    k, null = (np.concatenate([np.asarray(bits(getattr(f, name))) for f in found]) for name in ("equation_14", "null"))
    return float(k.mean()), float(k.std() / len(k) ** 0.5), float(k.mean() - null.mean())


def heartbeat_bound(steps: int) -> tuple[float, float, float]:
    """K and its standard error in bits, and the share of samples that are heartbeats."""
    chain, network = binomial_chain(2000, 0.2), BitNetwork(2000)
    weights = network.init(jax.random.key(0), jnp.zeros((1, 20)), jnp.zeros(1))
    times, per_time = 128, 8

    def reverse_of(params):
        return lambda x, t: binomial_reverse(network.apply(params, x, t), chain, x, t)

    def loss(params, key):
        strata = (jnp.arange(times) + jax.random.uniform(key)) / times
        t = jnp.repeat(1 + jnp.floor(strata * 1999), per_time)
        x0 = heartbeat(jax.random.fold_in(key, 1), times * per_time)
        x = chain.perturb(keys_per_example(jax.random.fold_in(key, 2), jnp.arange(len(x0))), x0, t)
        return 1999 * binomial_kl(reverse_of(params), chain, x0, x, t).mean()

    params = _train(loss, weights, steps, 5e-3, 200)

    @jax.jit
    def evaluate(key):
        keys = keys_per_example(jax.random.fold_in(key, 1), jnp.arange(128))
        return binomial_bound(reverse_of(params), chain, heartbeat(key, 128), keys)

    found = np.concatenate([np.asarray(bits(evaluate(jax.random.key(50 + i)).equation_14)) for i in range(8)])

    @jax.jit
    def draw(key):
        keys = keys_per_example(key, jnp.arange(4000))
        x = chain.prior_sample(fold_in_each(keys, 5000), jnp.zeros((4000, 20)))

        def step(x, k):
            t = jnp.full(4000, k, x.dtype)
            changed = draw_bits(fold_in_each(keys, k), reverse_of(params)(x, t))
            return jnp.abs(x - changed), None

        x, _ = jax.lax.scan(step, x, jnp.arange(1999, 0, -1))
        # The first step is the forward kernel: a few bits are resampled from the coin.
        return draw_bits(fold_in_each(keys, 6000), chain.probability(x, jnp.zeros(4000)))

    x = np.asarray(draw(jax.random.key(9)))
    patterns = np.arange(20)[None] % 5 == np.arange(5)[:, None]
    valid = (x[:, None] == patterns[None]).all(axis=2).any(axis=1).mean()
    return float(found.mean()), float(found.std() / len(found) ** 0.5), float(valid)


def measure(*, quick: bool) -> list[Claim]:
    """All claims; in the quick form only that training moves well above the null."""
    if quick:
        k, error, valid = heartbeat_bound(1000)
        claims = [
            Claim("heartbeat_quick_bits", k, "bits", -3.0, ">=", f"1000 steps, +- {error:.3f}, valid {valid:.3f}")
        ]
        k, error, over = swiss_roll_bound(32, 1e-5, 1000, log_spaced(40, 1e-5))
        return [*claims, Claim("swiss_roll_quick_over_null_bits", over, "bits", 2.0, ">=", f"K {k:.2f} +- {error:.2f}")]
    k, error, valid = heartbeat_bound(12_000)
    claims = [
        Claim("heartbeat_bound_bits", k, "bits", -2.385, ">=", f"+- {error:.3f}; paper -2.414, truth -2.322"),
        Claim("heartbeat_below_ceiling", k, "bits", -2.366 + 3 * max(error, 0.0014), "<=", "more is a bug"),
        Claim("heartbeat_valid_fraction", valid, "", 0.98, ">=", "of 4000 samples; the edge step allows 0.9968"),
    ]
    k, error, over = swiss_roll_bound(128, 1e-5, 16_000, log_spaced(40, 1e-5))
    how = f"+- {error:.3f}, K - L_null {over:.2f}; 128 units, beta_1 1e-5, T 40"
    claims.append(Claim("swiss_roll_bound_bits", k, "bits", 2.15, ">=", how))
    claims.append(
        Claim("swiss_roll_below_ceiling", k, "bits", 2.38, "<=", "ceiling 2.33 over all networks; more is a bug")
    )
    k, error, over = swiss_roll_bound(64, 5e-6, 20_000, log_spaced(40, 5e-6))
    how = f"+- {error:.3f}; 64 units, beta_1 5e-6; paper 2.35 and 6.45"
    claims.append(Claim("swiss_roll_paper_bound_bits", k, "bits", 2.35, ">=", how))
    claims.append(Claim("swiss_roll_paper_over_null_bits", over, "bits", 6.44, ">=", how))
    fixed, error, _ = swiss_roll_bound(64, 1e-5, 3000, equal_shares(40), learn_schedule=False)
    spaced, _, _ = swiss_roll_bound(64, 1e-5, 3000, log_spaced(40, 1e-5), learn_schedule=False)
    how = f"log-spaced {spaced:.2f}, 1/(T-t+1) {fixed:.2f} +- {error:.2f}, both fixed, 3000 steps"
    claims.append(Claim("schedule_log_spaced_gain_bits", spaced - fixed, "bits", 1.0, ">=", how))
    return claims


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="short trainings, loose claims")
    arguments = parser.parse_args()
    began = time.monotonic()
    return emit("dpm2015", measure(quick=arguments.quick), began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
