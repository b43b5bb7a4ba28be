"""PLMS where the flow's map is known, its evaluations, and latent diffusion's levels at every number of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.builder.model_facts import ModelFacts
from score_jax.builder.sampler_options import DDIM, PLMS
from score_jax.builder.sampling import Known, build_sampling
from score_jax.codecs.numbers import Numbers
from score_jax.errors import InputError
from score_jax.guidance.measurements import mask
from score_jax.prediction.predictor import from_eps, score_predictor
from score_jax.processes.chain import Chain, vp_chain
from score_jax.processes.gaussian import VP, LinearVE
from score_jax.processes.noise import replay
from score_jax.samplers import plms
from score_jax.samplers.chain import run_chain
from score_jax.samplers.grids import latent_diffusion_levels

STD, LEVELS = 0.4, 7


def std_at(process, t):
    return jnp.sqrt((process.alpha(t) * STD) ** 2 + process.sigma(t) ** 2)


def gaussian(process):
    return score_predictor(lambda x, t: -x / std_at(process, t)[:, None] ** 2, process)


def sampling_with(options, process, **given):
    name = "vp_chain" if isinstance(process, Chain) else "vp"
    return build_sampling(options, ModelFacts(process, {"name": name}, Numbers(), "eps", "index"), **given)


def no_noise(i):
    return lambda j: jnp.zeros((1, 1))


def walked(sampling, model, x, path=no_noise):
    """Where a sampler ends that begins at x; step by step, because compiling a loop takes longer."""
    method, model = sampling.sampler.method, sampling.see(model)
    memory = () if method.memory is None else (method.memory(x),)
    with jax.disable_jit():
        for i, (t, s) in enumerate(zip(method.grid[:-1], method.grid[1:], strict=True)):
            x, mean, *memory = method.step(
                path(jnp.asarray(i)), x, *(jnp.full(len(x), time) for time in (t, s)), model, *memory
            )
    return mean


@pytest.mark.parametrize(("process", "order"), [(VP(), 2), (LinearVE(1.0), 3)], ids=["vp", "linear_ve"])
def test_halved_steps_divide_the_error_by_two_to_the_order(process, order, x64):
    """Of order 2; of 3, by its first steps, where steps are even in sigma / alpha, as the weights have it."""

    def error(count):
        grid = jnp.linspace(0.9, 0.5, count + 1)
        start = jnp.ones((1, 1))
        step = plms.plms(process, grid[-1])
        walk = run_chain(step, gaussian(process), no_noise, start, grid, memory=plms.no_history(start))
        return abs(walk.x[0, 0] - std_at(process, grid[-1]) / std_at(process, grid[0]))

    np.testing.assert_allclose(np.log2(error(64) / error(128)), order, atol=0.2)


@pytest.mark.parametrize("discretisation", ["exact", "latent_diffusion"])
@pytest.mark.parametrize("steps", [1, 2, 5, 10])
def test_steps_have_one_evaluation_more(steps, discretisation):
    """The second is at the next level; of one step at the same."""
    chain, asked = vp_chain("scaled_linear", 20, 0.1, 4.0), []
    sampling = sampling_with(PLMS(num_steps=steps, discretisation=discretisation), chain)

    def recorded(x, t):
        asked.append(float(t[0]))
        return gaussian(chain)(x, t)

    walked(sampling, recorded, jnp.ones((1, 2)))
    assert len(asked) == sampling.sampler.method.nfe == steps + 1
    assert asked[1] == (asked[0] if steps == 1 else asked[2])
    levels = np.delete(asked, 1)
    assert (np.diff(levels) < 0).all()
    assert levels[-1] == (1 if discretisation == "latent_diffusion" else 19 if steps == 1 else 0)


def test_one_step_takes_the_mean_of_two_predictions_at_its_beginning():
    chain = vp_chain(num_levels=3, beta_max=1.5)
    t, s, x = jnp.array([2.0]), jnp.array([-1.0]), jnp.full((1, 1), 0.7)
    first = gaussian(chain)(x, t)
    second = gaussian(chain)(first.x0, t)
    expected = from_eps((first.eps + second.eps) / 2, x, t, chain).x0
    found, _, _ = plms.plms(chain, -1.0)(no_noise(0), x, t, s, gaussian(chain), plms.no_history(x))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert abs(float(found[0, 0] - first.x0[0, 0])) > 1e-3


@pytest.mark.parametrize("steps", range(1, 7))
def test_equals_ddim_where_eps_does_not_change(steps):
    """The weights of every step add up to 1."""
    chain, start = vp_chain(num_levels=6, beta_max=3.0), jnp.full((1, 2), 0.3)

    def model(x, t):
        return from_eps(jnp.full_like(x, 0.8), x, t, chain)

    ends = [walked(sampling_with(options(num_steps=steps), chain), model, start) for options in (PLMS, DDIM)]
    np.testing.assert_allclose(ends[0], ends[1], rtol=2e-5)


@pytest.mark.parametrize("options", [DDIM, PLMS])
@pytest.mark.parametrize("steps", range(1, LEVELS + 1))
def test_every_number_of_steps_up_to_the_levels(steps, options):
    """Samples of data at 0.4 in the chain, from where the flow of N(0, STD²) is known, come nearer with more steps."""
    chain = vp_chain("scaled_linear", LEVELS, 0.1, 4.0)
    sampling = sampling_with(options(num_steps=steps), chain)
    assert sampling.sampler.method.nfe == steps + (options is PLMS)
    assert len(sampling.sampler.method.grid) == steps + 1
    end = walked(sampling, gaussian(chain), jnp.full((1, 2), std_at(chain, jnp.array(LEVELS - 1.0))))
    np.testing.assert_allclose(end, STD, rtol=0.5 if steps > 2 else 3.0)


@pytest.mark.parametrize("options", [DDIM, PLMS])
@pytest.mark.parametrize("name", ["latent_diffusion", "latent_diffusion_quad"])
def test_levels_of_latent_diffusion_work_or_are_refused_with_the_numbers_that_do(name, options):
    chain = vp_chain("scaled_linear", 12, 0.1, 4.0)
    # Five steps are made six there.
    possible = (1, 2, 3, 4, 5, 6) if name == "latent_diffusion" else range(1, 13)
    for steps in range(1, 13):
        choice = options(num_steps=steps, discretisation=name)
        if steps not in possible:
            with pytest.raises(InputError, match="give one of 1, 2, 3, 4, 6, or sampler.discretisation=exact"):
                sampling_with(choice, chain)
            continue
        sampling = sampling_with(choice, chain)
        if steps in (1, 5, 12):
            assert np.isfinite(walked(sampling, gaussian(chain), jnp.ones((1, 2)))).all()


def test_levels_beyond_the_chain_are_those_where_the_original_fails():
    failing = [n for n in range(1, 1001) if latent_diffusion_levels(1000, n)[-1] == 1000]
    assert failing == [3, 9, 27, 36, 37, *range(101, 112), *range(251, 334), *range(501, 1001)]
    for steps in (0, 8):
        with pytest.raises(InputError, match="give 1 to 7"):
            latent_diffusion_levels(7, steps)


@pytest.mark.parametrize("options", [DDIM, PLMS])
def test_levels_of_latent_diffusion_are_those_of_a_chain(options):
    with pytest.raises(InputError, match="has levels, and process 'vp' has none"):
        sampling_with(options(num_steps=4, discretisation="latent_diffusion"), VP())


def test_ends_with_the_noise_of_the_last_step():
    """At level 0 of the chain, where x_0 is known: the true law of x at that level."""
    chain = vp_chain("scaled_linear", 10, 0.1, 4.0)
    sampling = sampling_with(DDIM(num_steps=5, eta=1.0, discretisation="latent_diffusion"), chain)
    stored = jax.random.normal(jax.random.key(1), (5, 4, 2))
    ends = []
    for last in (stored[-1], stored[-1] + 1.0):
        path = replay(stored.at[-1].set(last), 1)
        ends.append(walked(sampling, gaussian(chain), stored[0], path))
    before, after = sampling.process.posterior_coefficients(jnp.array([1.0]), jnp.array([0.0]))[1:]
    assert before > 0
    np.testing.assert_allclose(ends[1] - ends[0], np.broadcast_to(jnp.sqrt(after), (4, 2)), rtol=1e-4)


@pytest.mark.parametrize("options", [DDIM, PLMS])
def test_known_numbers_are_noised_before_each_step_and_not_after_the_last(options):
    """So they end where the model leads from their last noise; their neighbours are those of a free sample."""
    chain = vp_chain("scaled_linear", 10, 0.1, 4.0)
    seen, known = mask(jnp.array([[1.0, 0.0]])), jnp.array([[2.0, 0.0]])
    choice = options(num_steps=5, discretisation="latent_diffusion")
    sampling = sampling_with(choice, chain, known=Known(seen, known))
    free = sampling_with(choice, chain)
    draws = [jnp.full((1, 2), k) for k in (0.5, -0.25)]
    path = replay(jnp.stack(draws * 5), 2)
    held, left = (walked(of, gaussian(chain), jnp.ones((1, 2)), path) for of in (sampling, free))
    np.testing.assert_allclose(held[0, 1], left[0, 1], rtol=1e-6)
    assert abs(held[0, 0] - 2.0 * chain.alpha(jnp.array(0.0))) > 1e-3
    if options is DDIM:
        t = jnp.array([1.0])
        before = chain.perturb(known[:, :1], t, draws[1][:, :1])
        step = jnp.array([0.0])
        prediction = gaussian(chain)(before, t)
        expected = chain.perturb(prediction.x0, step, prediction.eps)
        np.testing.assert_allclose(held[:, :1], expected, rtol=1e-5)


def test_what_plms_cannot_hold_and_noise_that_no_step_adds_are_one_line():
    chain = vp_chain(num_levels=10, beta_max=4.0)
    known = Known(mask(jnp.array([[1.0, 0.0]])), jnp.ones((1, 2)))
    with pytest.raises(InputError, match="discretisation=latent_diffusion alone"):
        sampling_with(PLMS(num_steps=5), chain, known=known)
    with pytest.raises(InputError, match="step_temperature=0.5 is not read here"):
        sampling_with(DDIM(num_steps=5, step_temperature=0.5), chain)
