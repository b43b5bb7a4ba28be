"""Every step rule to rounding, where one step is known: data in one point, white noise, and the papers' formulas."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_processes import every_process

from score_jax.prediction.predictor import from_x0, score_predictor
from score_jax.prediction.reverse import fixed_large
from score_jax.processes.chain import Chain
from score_jax.samplers import dpm_solver, heun, langevin, steps
from score_jax.samplers.deis import deis
from score_jax.samplers.exponential import Answers, mean_over_step, no_answers
from score_jax.samplers.unipc import nothing_before, unipc

PROCESSES = every_process(10.0)
POINT, EPS = 0.3, np.array([[0.7, -1.1, 0.2]])
Z = np.array([[0.4, -0.9, 1.6], [1.3, 0.1, -0.6]])


def setting(name, t=0.6, s=0.5):
    """The process, the times as shares of its length, x_t of the point, and the point's exact score."""
    process = PROCESSES[name]
    t, s = (jnp.asarray([share * process.t_max]) for share in (t, s))

    def score(x, t):
        return -(x - process.alpha(t)[:, None] * POINT) / process.sigma(t)[:, None] ** 2

    x = process.alpha(t)[:, None] * POINT + process.sigma(t)[:, None] * EPS
    return process, t, s, x, score_predictor(score, process)


def noise(j):
    return jnp.asarray(Z[j : j + 1])


def on_the_flow(process, s):
    return process.alpha(s)[:, None] * POINT + process.sigma(s)[:, None] * EPS


EXACT_ON_POINTS = {
    "ddim": steps.ddim,
    "dpm_solver_2s": dpm_solver.singlestep,
}


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("rule", EXACT_ON_POINTS)
def test_exponential_integrators_carry_a_point_exactly(name, rule, x64):
    process, t, s, x, model = setting(name)
    end, mean = EXACT_ON_POINTS[rule](process)(noise, x, t, s, model)
    np.testing.assert_allclose(end, on_the_flow(process, s), rtol=1e-10)
    np.testing.assert_array_equal(end, mean)


REMEMBERING = {
    "dpm_solver_2m": (dpm_solver.multistep, functools.partial(no_answers, count=1)),
    "dpm_solver_3m": (functools.partial(dpm_solver.multistep, order=3), functools.partial(no_answers, count=2)),
    "unipc": (unipc, functools.partial(nothing_before, order=3)),
    "deis": (deis, functools.partial(no_answers, count=2)),
}


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("rule", REMEMBERING)
def test_multistep_rules_carry_a_point_exactly(name, rule, x64):
    process, t, s, x, model = setting(name)
    make, memory = REMEMBERING[rule]
    step, memory = make(process), memory(x)
    for _ in range(4):
        x, _, memory = step(noise, x, t, s, model, memory)
        np.testing.assert_allclose(x, on_the_flow(process, s), rtol=1e-10)
        t, s = s, 0.7 * s


@pytest.mark.parametrize("name", PROCESSES)
def test_the_sde_solver_draws_from_the_posterior_of_a_point(name, x64):
    process, t, s, x, model = setting(name)
    step, memory = dpm_solver.sde_multistep(process), no_answers(x, 1)
    for _ in range(3):
        expected = steps.ancestral(process)(noise, x, t, s, model)
        *found, memory = step(noise, x, t, s, model, memory)
        np.testing.assert_allclose(found, expected, rtol=1e-10)
        x, t, s = found[0], s, 0.7 * s


def test_a_level_that_is_not_halfway_still_tells_the_slope(x64):
    """Of x0 linear in log(alpha / sigma), here from 0 to log 2, the mean over the step is that of its middle."""
    chain = Chain(np.zeros(3), np.array([0.5, 0.5**0.15, 1.0]))

    def model(x, t):
        return from_x0(0.5 * chain.log_snr(t)[:, None] + 0 * x, x, t, chain)

    x, t = jnp.asarray(EPS), jnp.array([2.0])
    np.testing.assert_array_equal(chain.time_at(jnp.array([0.5**0.5])), [1])
    end, _ = dpm_solver.singlestep(chain)(noise, x, t, t - 2, model)
    np.testing.assert_allclose(end, 0.5 * x + 0.25 * np.log(2), rtol=1e-12)


@pytest.mark.parametrize("alpha", [1.0, 0.5, 2 / 3])
def test_heun_midpoint_and_ralston_carry_a_point_exactly_where_time_is_noise(alpha, x64):
    process, t, s, x, model = setting("linear_ve")
    for rule in (heun.second_order(process, alpha), heun.first_order(process)):
        np.testing.assert_allclose(rule(noise, x, t, s, model)[0], on_the_flow(process, s), rtol=1e-12)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("rule", ["ancestral", "ddim_eta", "ancestral_of_score"])
def test_rules_that_draw_from_the_posterior_do(name, rule, x64):
    """Given the point, x_s has the posterior's mean and variance, by Bayes' rule."""
    process, t, s, x, model = setting(name)
    step = {
        "ancestral": steps.ancestral(process),
        "ddim_eta": steps.ddim(process, 1.0),
        "ancestral_of_score": steps.ancestral_of_score(process, large=False),
    }[rule]
    end, mean = step(noise, x, t, s, model)
    a, sigma_s = process.alpha(t) / process.alpha(s), process.sigma(s)
    b2 = process.sigma(t) ** 2 - (a * sigma_s) ** 2
    variance = 1 / (a**2 / b2 + 1 / sigma_s**2)
    expected = variance * (a * x[0] / b2 + process.alpha(s) * POINT / sigma_s**2)
    np.testing.assert_allclose(mean[0], expected, rtol=1e-10)
    np.testing.assert_allclose((end - mean)[0], np.sqrt(variance) * Z[0], rtol=1e-8)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("eta", [0.25, 0.5])
def test_ddim_draws_eta_of_the_posteriors_noise_and_keeps_the_marginal(name, eta, x64):
    """The noise has eta times the standard deviation of eta = 1, and with the noise kept it makes sigma_s²."""
    process, t, s, x, model = setting(name)
    end, mean = steps.ddim(process, eta)(noise, x, t, s, model)
    whole, mean_of_whole = steps.ddim(process, 1.0)(noise, x, t, s, model)
    np.testing.assert_allclose(end - mean, eta * (whole - mean_of_whole), rtol=1e-8)
    kept = (mean - process.alpha(s)[:, None] * POINT) / EPS
    np.testing.assert_allclose(kept**2 + ((end - mean) / Z[:1]) ** 2, np.full((1, 3), process.sigma(s) ** 2), rtol=1e-8)


def test_ddims_noise_is_that_of_equation_16(x64):
    """eta sqrt((1 - a_s) / (1 - a_t)) sqrt(1 - a_t / a_s) at cumulated a_t = 0.36 and a_s = 0.64, eta = 1/2."""
    chain = Chain(np.log([0.8, 0.6]), np.array([0.6, 0.8]))
    x, t = jnp.asarray(EPS), jnp.array([1.0])
    end, mean = steps.ddim(chain, 0.5)(noise, x, t, t - 1, score_predictor(lambda x, t: -x, chain))
    np.testing.assert_allclose((end - mean) / Z[:1], np.full((1, 3), 0.375 * 7**0.5 / 4), rtol=1e-12)


@pytest.mark.parametrize("name", ["vp", "cosine"])
def test_the_larger_variance_draws_white_noise_exactly(name, x64):
    """Under a process that keeps the variance, N(0, 1) stays N(0, 1): the mean is a x, the variance 1 - a²."""
    process, t, s, x, _ = setting(name)
    model = score_predictor(lambda x, t: -x, process)
    end, mean = steps.ancestral(process, fixed_large)(noise, x, t, s, model)
    a = float((process.alpha(t) / process.alpha(s))[0])
    np.testing.assert_allclose(mean, a * x, rtol=1e-10)
    np.testing.assert_allclose((end - mean)[0], np.sqrt(1 - a**2) * Z[0], rtol=1e-10)
    large = steps.ancestral_of_score(process, large=True)(noise, x, t, s, model)
    np.testing.assert_allclose(large[1], (x - (1 - a**2) * x) / a, rtol=1e-10)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("flow", [False, True])
def test_euler_maruyama_and_reverse_diffusion_are_song_et_als(name, flow, x64):
    """Equations 6, 13 and 46, with f and g² by differences of log alpha and sigma²."""
    process, t, s, x, model = setting(name)
    score, share = np.asarray(model(x, t).score), 0.5 if flow else 1.0
    dt, h = float(t[0] - s[0]), 1e-5 * t

    def slope(of):
        return float(((of(t + h) - of(t - h)) / (2 * h))[0])

    f, sigma = slope(process.log_alpha), [float(process.sigma(time)[0]) for time in (t, s)]
    g2 = slope(lambda t: process.sigma(t) ** 2) - 2 * f * sigma[0] ** 2
    a = float((process.alpha(t) / process.alpha(s))[0])
    b2, x_ = sigma[0] ** 2 - (a * sigma[1]) ** 2, np.asarray(x)
    for rule, expected, variance in (
        (steps.euler_maruyama, x_ - (f * x_ - share * g2 * score) * dt, g2 * dt),
        (steps.reverse_diffusion, (2 - a) * x_ + share * b2 * score, b2),
    ):
        end, mean = rule(process, probability_flow=flow)(noise, x, t, s, model)
        np.testing.assert_allclose(mean, expected, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose((end - mean)[0], 0 * Z[0] if flow else np.sqrt(variance) * Z[0], rtol=1e-6)


@pytest.mark.parametrize("name", ["ve", "vp"])
def test_langevin_steps_have_the_papers_sizes(name, x64):
    process, t, s, x, model = setting(name)
    score, a = np.asarray(model(x, t).score), float((process.alpha(t) / process.alpha(s))[0])
    sigma = float(process.sigma(t)[0])
    sizes = {
        "by_snr": (langevin.by_snr(process, 0.2), 2 * a**2 * 0.2**2 * 3 / np.sum(score**2)),
        "by_std": (langevin.by_std(process, 0.2), 2 * a**2 * (0.2 * sigma) ** 2),
        "by_level": (langevin.by_level(process, 1e-4, 0.1), 1e-4 * (sigma / 0.1) ** 2),
        "by_batch_snr": (
            langevin.by_batch_snr(process, 0.2),
            2 * a**2 * 0.2**2 * np.sum(Z[:1] ** 2) / np.sum(score**2),
        ),
    }
    for size, h in sizes.values():
        end, mean = langevin.langevin(size)(noise, x, t, s, model)
        np.testing.assert_allclose(mean, np.asarray(x) + h * score, rtol=1e-12)
        np.testing.assert_allclose(end - mean, np.sqrt(2 * h) * Z[:1], rtol=1e-9)


def test_the_signal_to_noise_ratio_sets_the_step_of_known_vectors(x64):
    """2 alpha (snr |z| / |g|)² of g = (3, 0, 4): |g| = 5, of |z|² = 3 expected or = 4 drawn, and alpha = 0.64 or 1."""
    score, z = jnp.array([[3.0, 0.0, 4.0]]), jnp.array([[2.0, 0.0, 0.0]])
    t, vp = jnp.array([1.0]), Chain(np.log([1.0, 0.8]), np.array([0.1, 0.7]))
    for process, scale in ((PROCESSES["linear_ve"], 1.0), (vp, 0.64)):
        np.testing.assert_allclose(langevin.by_snr(process, 0.5)(score, z, t, t - 1), 0.06 * scale, rtol=1e-12)
        np.testing.assert_allclose(langevin.by_batch_snr(process, 0.5)(score, z, t, t - 1), 0.08 * scale, rtol=1e-12)
    np.testing.assert_allclose(langevin.by_std(vp, 0.5)(score, z, t, t - 1), 2 * 0.64 * 0.35**2, rtol=1e-12)
    np.testing.assert_allclose(langevin.by_std(vp, 0.5, jnp.ones_like)(score, z, t, t - 1), 0.32, rtol=1e-12)
    # The norms of a batch are averaged, not their squares: (5 + 15) / 2 and (2 + 2) / 2.
    score, z, t = jnp.concatenate([score, 3 * score]), jnp.concatenate([z, z]), jnp.array([1.0, 1.0])
    two = langevin.by_batch_snr(vp, 0.5)(score, z, t, t - 1)
    np.testing.assert_allclose(two, 0.02 * 0.64, rtol=1e-12)


def test_interpolated_noise_turns_from_one_to_the_other(x64):
    p, q = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 2, 3)))
    with jax.numpy_rank_promotion("allow"):
        mixed = langevin.rotated(p, q, 3).reshape(5, 2, 3, 3)
    np.testing.assert_allclose(mixed[:, :, 0], p, atol=1e-12)
    np.testing.assert_allclose(mixed[:, :, 1], (p + q) / 2**0.5, atol=1e-12)
    np.testing.assert_allclose(mixed[:, :, 2], q, atol=1e-12)


def test_a_corrector_comes_before_its_predictor_and_draws_first(x64):
    process, t, s, x, model = setting("vp")
    predict, correct = steps.reverse_diffusion(process), langevin.langevin(langevin.by_std(process, 0.2))
    corrected, _ = correct(noise, x, t, s, model)
    expected, _ = predict(lambda j: noise(j + 1), corrected, t, s, model)
    found, _ = steps.predictor_corrector(predict, correct, 1)(noise, x, t, s, model)
    np.testing.assert_array_equal(found, expected)


def test_churn_adds_the_noise_it_says(x64):
    """S_noise sqrt(2 gamma + gamma²) sigma of noise leads to the level (1 + gamma) sigma, and Heun's step goes on."""
    process, t, s, x, model = setting("linear_ve")
    churn = heun.Churn(0.2, noise=1.007)
    end, _ = heun.second_order(process, churn=churn)(noise, x, t, s, model)
    raised = x + 1.007 * float(t[0]) * np.sqrt(1.2**2 - 1) * Z[:1]
    expected, _ = heun.second_order(process)(noise, raised, 1.2 * t, s, model)
    np.testing.assert_allclose(end, expected, rtol=1e-12)


def test_churn_has_its_window_and_raises_no_level_beyond_the_root_of_two(x64):
    process, t, s, x, model = setting("linear_ve")
    level, rule = float(t[0]), heun.first_order
    plain = rule(process)(noise, x, t, s, model)[0]
    inside = rule(process, heun.Churn(0.2))(noise, x, t, s, model)[0]
    for window in ((0.0, level), (level, np.inf)):
        np.testing.assert_array_equal(rule(process, heun.Churn(0.2, *window))(noise, x, t, s, model)[0], inside)
    for window in ((0.0, 0.99 * level), (1.01 * level, np.inf)):
        np.testing.assert_array_equal(rule(process, heun.Churn(0.2, *window))(noise, x, t, s, model)[0], plain)
    most = rule(process, heun.Churn(5.0))(noise, x, t, s, model)[0]
    raised = x + level * Z[:1]
    np.testing.assert_allclose(most, rule(process)(noise, raised, 2**0.5 * t, s, model)[0], rtol=1e-12)


def test_rules_may_be_traced_over_their_times():
    process, t, s, x, model = setting("vp")
    step = functools.partial(steps.ddim(process), noise)
    eager = step(x, t, s, model)[0]
    np.testing.assert_allclose(jax.jit(lambda x, t, s: step(x, t, s, model)[0])(x, t, s), eager, rtol=1e-6)


@pytest.mark.parametrize("make", [steps.ancestral, functools.partial(steps.ddim, eta=1.0)], ids=["ancestral", "ddim"])
def test_temperature_is_a_factor_of_the_noise_alone(make, x64):
    process, t, s, x, model = setting("vp")
    full, mean = make(process)(noise, x, t, s, model)
    half, same = make(process, temperature=0.5)(noise, x, t, s, model)
    np.testing.assert_array_equal(same, mean)
    np.testing.assert_allclose(half - mean, 0.5 * (full - mean), rtol=1e-10)
    end, kept = steps.keeping_its_noise(make(process))(noise, x, t, s, model)
    np.testing.assert_array_equal(end, full)
    np.testing.assert_array_equal(kept, full)


@pytest.mark.parametrize("known", [1, 2, 3, 4])
def test_the_mean_of_a_polynomial_over_a_step_is_its_integral(known, x64):
    """Of c³ - 2 c² + 3 from 0.2 to 1.4 in the measure e^c dc: as many answers as known, the interpolant's integral."""
    places, end = np.array([0.2, 1.4, -1.3, -1.9]), 1.4
    values = places**3 - 2 * places**2 + 3
    through = np.polynomial.Polynomial.fit(places[:known], values[:known], known - 1).convert()
    points, weights = np.polynomial.legendre.leggauss(40)
    c = 0.2 + 0.6 * (1 + points)
    expected = np.sum(weights * np.exp(c) * through(c)) / np.sum(weights * np.exp(c))
    answers = Answers(jnp.asarray(values)[:, None, None], jnp.asarray(places)[:, None], jnp.asarray(float(known)))

    def after(c):
        return (jnp.exp(end) - jnp.exp(c)) / (jnp.exp(end) - jnp.exp(0.2))

    found = mean_over_step(answers, jnp.array([end]), after, at_end=1)
    np.testing.assert_allclose(found, [[expected]], rtol=1e-12)
    halfway = mean_over_step(answers, jnp.array([end]), after, halfway=True, at_end=1)
    np.testing.assert_allclose(halfway, [[through(0.8) if known == 2 else expected]], rtol=1e-12)
    first = mean_over_step(answers, jnp.array([jnp.inf]), after)
    np.testing.assert_array_equal(first, [[values[0]]])


@pytest.mark.parametrize(("length", "used"), [(0.99, 3), (1.01, 2), (1.19, 2), (1.21, 1), (0.0, 3)])
def test_a_step_uses_no_answers_that_lie_too_near(length, used, x64):
    """Answers at -0.6 and -1 before 0: a step of 1 is twice the mean of both, one of 1.2 twice the first."""
    places, values = np.array([0.0, -0.6, -1.0]), np.array([1.0, 2.0, 5.0])
    for sign in (1.0, -1.0):
        answers = Answers(jnp.asarray(values)[:, None, None], jnp.asarray(sign * places)[:, None], jnp.asarray(3.0))
        allowed = answers._replace(known=jnp.asarray(float(used)))
        means = [mean_over_step(a, jnp.array([sign * length]), jnp.ones_like) for a in (answers, allowed)]
        np.testing.assert_array_equal(*means)
    if length:
        fewer = mean_over_step(answers._replace(known=jnp.asarray(used - 1.0)), jnp.array([-length]), jnp.ones_like)
        assert used == 1 or abs(fewer - means[0]) > 1e-3


def test_multistep_rules_begin_where_there_is_no_signal_and_end_in_the_data(x64):
    """A chain whose last level is noise alone: every state is a number, and the step into the data takes x0."""
    alphas = np.array([0.9, 0.7, 0.4, 0.2])
    chain = Chain(np.append(np.log(alphas), -np.inf), np.append(np.sqrt(1 - alphas**2), 1.0))

    def model(x, t):
        return from_x0(0.3 + 0.1 * jnp.sin(x) * chain.alpha(t)[:, None], x, t, chain)

    for make, memory in REMEMBERING.values():
        step, x = make(chain), jnp.asarray(EPS)
        memory = memory(x)
        for t in (4.0, 3.0, 2.0, 1.0, 0.0):
            before = x
            x, _, memory = step(noise, x, jnp.array([t]), jnp.array([t - 1]), model, memory)
            assert np.isfinite(np.asarray(x)).all()
        assert np.abs(x - 0.3).max() < 0.1 and np.abs(before - x).max() > 1e-3
