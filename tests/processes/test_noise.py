"""Every draw of a sampler is another standard normal draw, at any count of steps and of draws in a step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sections import sampling_of

from score_jax.arrays import keys_per_example
from score_jax.builder import build_process
from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.prediction.predictor import score_predictor
from score_jax.processes.noise import brownian, replay
from score_jax.samplers.chain import run_chain
from score_jax.samplers.sample import sample

STEPS = (0, 1, 5, 1000, 32_766, 32_767, 32_768, 32_769, 65_536, 1_000_000, 2**24 + 1, 2**31 - 1)
DRAWS = (0, 1, 2, 511, 512, 513, 1024, 100_000)


def draws_of(steps, draws, shape=(2, 512), dtype=jnp.float32):
    """Draws (steps, draws, *shape) of two examples."""
    like = jnp.zeros(shape, dtype)
    path = brownian(keys_per_example(jax.random.key(3), jnp.arange(shape[0])), like)
    run = jax.jit(lambda i: jnp.stack([path(i)(j) for j in draws]))
    return np.stack([run(jnp.asarray(i)) for i in steps])


def hold_independent_and_normal(drawn):
    """Of draws (n, d): as many different ones as there are, each of standard deviation 1, no two correlated."""
    assert len(np.unique(drawn[:, 0])) == len(drawn)
    std = 1 / (2 * drawn.shape[1]) ** 0.5
    np.testing.assert_allclose(drawn.std(axis=1), 1.0, atol=5 * std)
    np.testing.assert_allclose(drawn.mean(axis=1), 0.0, atol=5 / drawn.shape[1] ** 0.5)
    correlation = np.corrcoef(drawn) - np.eye(len(drawn))
    assert np.abs(correlation).max() < 6 / drawn.shape[1] ** 0.5


def test_noise_goes_on_after_32768_steps_and_512_draws():
    hold_independent_and_normal(draws_of(STEPS, DRAWS).reshape(-1, 512))


def test_noise_goes_on_in_float64(x64):
    drawn = draws_of(STEPS[3:-1], DRAWS, dtype=jnp.float64)
    assert drawn.dtype == np.float64
    hold_independent_and_normal(drawn.reshape(-1, 512))


def test_the_draws_of_neighbouring_steps_and_blocks_all_differ():
    steps = [*range(32_700, 32_830), *range(98_300, 98_310), *range(999_995, 1_000_005)]
    drawn = draws_of(steps, tuple(range(0, 1030, 103)), shape=(2, 1))
    assert len(np.unique(drawn)) == drawn.size


def test_the_first_draws_are_those_of_earlier_versions():
    """To the bit: the examples, steps and draws that were right before blocks were counted."""
    drawn = draws_of((0, 1, 32_767), (0, 1, 511), shape=(4, 3))
    assert drawn.shape == (3, 3, 4, 3)
    np.testing.assert_array_equal(drawn[0, 0, 0], GOLDEN[0])
    np.testing.assert_array_equal(drawn[1, 1, 1], GOLDEN[1])
    np.testing.assert_array_equal(drawn[2, 2, 3], GOLDEN[2])


GOLDEN = np.array(
    [
        [1.0706425905227661, -0.9176479578018188, -0.10164601355791092],
        [-0.44879961013793945, -1.3297375440597534, -1.760168194770813],
        [0.6078438758850098, -0.6215436458587646, 0.6373075246810913],
    ],
    np.float32,
)


def test_stored_draws_are_not_taken_from_the_next_step_or_from_after_the_last():
    path = replay(jnp.arange(6.0).reshape(6, 1, 1), 2)
    np.testing.assert_array_equal([path(jnp.asarray(i))(j).item() for i in range(3) for j in range(2)], np.arange(6))
    assert np.isnan(path(jnp.asarray(3))(0)).all()
    with pytest.raises(InputError, match="Draw 2 of a step"):
        path(jnp.asarray(0))(2)


def test_more_steps_than_float32_counts_are_refused():
    grid = jax.ShapeDtypeStruct((2**24 + 2,), jnp.float32)
    x = jax.ShapeDtypeStruct((1, 1), jnp.float32)

    def step(noise, x, t, s, predictor):
        return x, x

    with pytest.raises(InputError, match="16777217 steps are more than float32 can count"):
        jax.eval_shape(lambda x, grid: run_chain(step, lambda x, t: None, replay(x[None], 1), x, grid).x, x, grid)


@pytest.mark.slow
def test_annealed_langevin_of_34_000_steps_draws_the_data():
    """N(0, 0.05²) by its exact score, with 100 steps a level; without noise after step 32768 nothing is left of it."""
    std, config = 0.05, base.get_config()
    base.replace_section(config, "process", name="ve_chain", sigma_min=0.01, sigma_max=1.0, num_levels=340)
    config.sampler.name = "langevin"
    process = build_process(config)
    sampling = sampling_of(config, process)
    model = sampling.see(score_predictor(lambda x, t: -x / (std**2 + process.sigma(t)[:, None] ** 2), process))
    draw = jax.jit(lambda key: sample(model, process, sampling.sampler, key, jnp.arange(64), (64,)))
    # The last step's mean at sigma 0.01, denoised; its discretisation is below the error of 4096 draws, 1.1 %.
    assert np.std(draw(jax.random.key(0)).x) == pytest.approx(std**2 / (std**2 + 0.01**2) ** 0.5, rel=0.03)
