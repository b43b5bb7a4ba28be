"""Are the samplers right, and do they cost what their steps cost?

    python benchmarks/samplers.py [--json] [--quick] [--plot docs/images/sampler_orders.svg]
    python benchmarks/samplers.py --only_loops --peer_python=peer/bin/python --reference=score_sde_pytorch \\
        --reference=guided-diffusion [--loops=pc,ode,ddim] [--loop_steps=1000] [--loop_batch=8]

order_*       order of convergence on a closed form, float64: of the end point (deterministic rules, a mixture in the
              plane, against a tight ODE solve) or of the variance (rules with noise, a normal law, carried exactly)
two_sample_*  samples against draws of the true mixture: largest Kolmogorov-Smirnov statistic over eight directions
overhead_*    time of the jitted sampler over that of a plain lax.scan of the same steps, on a UNet of 5 M parameters
ratio_*       time of the original loop over that of our sampler, end to end, on the networks as published; clones of
              the originals, and a Python for them, as `train_step.py` says
"""

import argparse
import functools
import os
import sys
import time
from pathlib import Path

if os.environ.get("JAX_PLATFORMS", "cpu") == "cpu":
    os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")  # one fills 1.3 cores

import jax
import jax.numpy as jnp
import numpy as np
from loops import SAMPLERS, add_flags, loop_claims
from scipy.stats import ks_2samp

from report import Claim, emit
from score_jax.arrays import keys_per_example
from score_jax.data.toys import four_gaussians
from score_jax.guidance.classifier_free import classifier_free
from score_jax.models.network import Network
from score_jax.models.unets.adm import ADM
from score_jax.prediction.coordinates import between, seen
from score_jax.prediction.predictor import OUTPUTS, network_predictor, score_predictor
from score_jax.prediction.reverse import fixed_large
from score_jax.processes.chain import vp_chain
from score_jax.processes.gaussian import VP, LinearVE
from score_jax.processes.noise import brownian
from score_jax.processes.respacing import kept_levels
from score_jax.samplers import dpm_solver, grids, heun, langevin, steps
from score_jax.samplers.chain import run_chain
from score_jax.samplers.deis import deis
from score_jax.samplers.exponential import no_answers
from score_jax.samplers.ode import AdaptiveODE, integrate_drift
from score_jax.samplers.unipc import nothing_before, unipc

PROCESS, EDM = VP(), LinearVE(80.0)
T_MIN = 0.01  # where orders are measured: below, the mixture's score is stiff and needs other grids


def _silent(i):
    """Noise for rules that draw nothing."""
    return lambda j: jnp.zeros((1, 1))


def mixture_predictor(dtype, process=PROCESS):
    """The exact score of four normal laws in the plane, under a process."""
    mixture = four_gaussians(dtype)
    return score_predictor(lambda x, t: mixture.score(x, t, process), process)


def _edm_model(dtype):
    return seen(mixture_predictor(dtype), between(of=PROCESS, to=EDM))


# Rules without noise: (step, memory, order, the coordinates they walk).
DETERMINISTIC = {
    "ddim": (steps.ddim(PROCESS), None, 1, "vp"),
    "euler_maruyama_flow": (steps.euler_maruyama(PROCESS, probability_flow=True), None, 1, "vp"),
    "reverse_diffusion_flow": (steps.reverse_diffusion(PROCESS, probability_flow=True), None, 1, "vp"),
    "euler": (heun.first_order(EDM), None, 1, "edm"),
    "heun": (heun.second_order(EDM), None, 2, "edm"),
    "midpoint": (heun.second_order(EDM, alpha=0.5), None, 2, "edm"),
    "dpm_solver_2m": (dpm_solver.multistep(PROCESS), functools.partial(no_answers, count=1), 2, "vp"),
    "dpm_solver_3m": (dpm_solver.multistep(PROCESS, 3), functools.partial(no_answers, count=2), 3, "vp"),
    "unipc": (unipc(PROCESS, 3), functools.partial(nothing_before, order=3), 3, "vp"),
    "deis": (deis(PROCESS, 3), functools.partial(no_answers, count=2), 3, "vp"),
    "dpm_solver_2s": (dpm_solver.singlestep(PROCESS), None, 2, "vp"),
}
# Rules with noise, and the order in which they converge in law.
STOCHASTIC = {
    "ancestral": (steps.ancestral(PROCESS), 1),
    "ancestral_large": (steps.ancestral(PROCESS, fixed_large), 1),
    "ddim_eta1": (steps.ddim(PROCESS, 1.0), 1),
    "euler_maruyama": (steps.euler_maruyama(PROCESS), 1),
    "reverse_diffusion": (steps.reverse_diffusion(PROCESS), 1),
}


def _log_snr_grid(count: int, t_max: float = 0.9):
    return grids.log_snr(count, PROCESS, T_MIN, t_max)


def deterministic_error(name: str, count: int, x: jax.Array, exact: jax.Array) -> float:
    """Root mean square error of the end points after `count` steps."""
    step, memory, _, where = DETERMINISTIC[name]
    grid = _log_snr_grid(count)
    start = None if memory is None else memory(x)
    if where == "vp":
        end = run_chain(step, mixture_predictor(x.dtype), _silent, x, grid, (), start).x
        return float(jnp.sqrt(jnp.mean((end - exact) ** 2)))
    levels = PROCESS.noise_to_signal(grid)
    end = run_chain(step, _edm_model(x.dtype), _silent, x / PROCESS.alpha(grid[:1]), levels).x
    return float(jnp.sqrt(jnp.mean((end * PROCESS.alpha(grid[-1:]) - exact) ** 2)))


def stochastic_error(name: str, count: int) -> float:
    """Relative error of the standard deviation of a normal law: a step's map is affine, and is read off one point."""
    step, std = STOCHASTIC[name][0], 0.3
    grid = jnp.linspace(1.0, 0.1, count + 1)

    def marginal(t):
        return (PROCESS.alpha(t) * std) ** 2 + PROCESS.sigma(t) ** 2

    model = score_predictor(lambda x, t: -x / marginal(t)[:, None], PROCESS)

    def advance(variance, pair):
        one = jnp.ones((1, 1), grid.dtype)
        x, mean = step(lambda j: one, one, pair[:1], pair[1:], model)
        return mean[0, 0] ** 2 * variance + (x - mean)[0, 0] ** 2, None

    pairs = jnp.stack([grid[:-1], grid[1:]], axis=1)
    end = jax.jit(lambda: jax.lax.scan(advance, marginal(grid[0]), pairs)[0])()
    return float(abs(jnp.sqrt(end / marginal(grid[-1])) - 1))


def order_claims(plot: Path | None) -> list[Claim]:
    """Slopes between the last two step counts; the others are for the plot."""
    claims, curves = [], {}
    x = PROCESS.sigma(jnp.asarray(0.9)) * jax.random.normal(jax.random.key(0), (64, 2), jnp.float64)
    tight = AdaptiveODE("dopri8", 1e-11, 1e-11, max_steps=20_000)
    exact = integrate_drift(mixture_predictor(jnp.float64), PROCESS, x, 0.9, T_MIN, tight).y
    for name, (_, _, order, _) in DETERMINISTIC.items():
        counts = (80, 160, 320, 640) if plot else (320, 640)
        errors = [deterministic_error(name, n, x, exact) for n in counts]
        curves[name] = (counts, errors)
        slope = float(np.log2(errors[-2] / errors[-1]))
        claims.append(
            Claim(f"order_{name}", slope, "", 0.85 * order, ">=", f"published order {order}; {errors[-1]:.1e} at 640")
        )
    for name, (_, order) in STOCHASTIC.items():
        counts = (100, 200, 400, 800) if plot else (400, 800)
        errors = [stochastic_error(name, n) for n in counts]
        curves[name] = (counts, errors)
        slope = float(np.log2(errors[-2] / errors[-1]))
        claims.append(Claim(f"order_{name}", slope, "", 0.85 * order, ">=", f"in law, published order {order}"))
    if plot is not None:
        _plot(curves, plot)
    return claims


def _plot(curves: dict, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 5))
    axes.set_prop_cycle(color=plt.get_cmap("tab20").colors)
    for name, (counts, errors) in curves.items():
        axes.loglog(counts, errors, marker="o" if name in DETERMINISTIC else "s", label=name)
    axes.set(xlabel="steps", ylabel="error", title="Convergence on closed forms (float64)")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight")


def grid_claim() -> Claim:
    """Every step count of a chain gives distinct levels, strictly decreasing into the data."""
    bad = 0
    for count in range(1, 1001):
        grid = np.asarray(grids.levels(grids.even_levels(1000, count)))
        bad += not (len(grid) == count + 1 and (np.diff(grid) < 0).all() and grid[0] == 999 and grid[-1] == -1)
    for spacing in ("250", "ddim25", "10,15,20", "90,60,60,20,20"):
        bad += not (np.diff(kept_levels(1000, spacing)) > 0).all()
    return Claim("grids_wrong", float(bad), "", 0.0, "<=", "1000 step counts of 1000 levels, and four respacings")


def two_sample_claims(count: int) -> list[Claim]:
    """Each rule with its many steps against draws of the truth."""
    claims, dtype = [], jnp.float32
    mixture = four_gaussians(dtype)
    truth = np.asarray(mixture.sample(jax.random.key(5), count))
    angles = np.arange(8) * np.pi / 8
    directions = np.stack([np.cos(angles), np.sin(angles)])
    keys = keys_per_example(jax.random.key(6), jnp.arange(count))
    noise = jax.random.normal(jax.random.key(7), (count, 2), dtype)
    grid = grids.log_snr(250, PROCESS, 1e-4, 1.0)
    rules = {name: (step, memory, where) for name, (step, memory, _, where) in DETERMINISTIC.items()}
    rules |= {name: (step, None, "vp") for name, (step, _) in STOCHASTIC.items()}
    rules["heun_churn"] = (heun.second_order(EDM, churn=heun.Churn(0.05, 0.05, 10.0, 1.0)), None, "edm")
    corrected = langevin.langevin(langevin.by_std(PROCESS, 0.05))
    rules["predictor_corrector"] = (
        steps.predictor_corrector(steps.reverse_diffusion(PROCESS), corrected, 1),
        None,
        "vp",
    )
    for name, (step, memory, where) in rules.items():
        times = PROCESS.noise_to_signal(grid) if where == "edm" else grid
        x = noise * (times[0] if where == "edm" else 1.0)
        model = _edm_model(dtype) if where == "edm" else mixture_predictor(dtype)
        start = None if memory is None else memory(x)
        run = functools.partial(run_chain, step, model, brownian(keys, x), memory=start)
        end = jax.jit(lambda x, times, run=run: run(x, times).mean)(x, times)
        projected, true = np.asarray(end) @ directions, truth @ directions
        worst = max(ks_2samp(projected[:, i], true[:, i]).statistic for i in range(8)) * np.sqrt(count / 2)
        how = f"{count} samples, 250 steps; 1.63 is the 1 % point of one direction"
        claims.append(Claim(f"two_sample_{name}", float(worst), "", 2.1, "<=", how))
    return claims


def _told(output: str, process, model):
    """A network that tells the model's belief as `output`; its label is the time."""

    def network(params, x, t):
        prediction = model(x, t)
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        if output == "v":
            return alpha * prediction.eps - sigma * prediction.x0
        if output == "velocity":
            alpha_rate, sigma_rate = (rate[:, None] for rate in process.rates(t))
            return alpha_rate * prediction.x0 + sigma_rate * prediction.eps
        if output == "mean":
            return process.posterior(x, prediction.x0, t, t - 1)[0]
        return getattr(prediction, output)

    return network


def _ddim_trajectory(output: str, process, grid, x: jax.Array) -> jax.Array:
    """The states on the way."""
    network = _told(output, process, mixture_predictor(x.dtype, process))
    predict = network_predictor(network, process, output=output, label="index")
    saved = tuple(range(1, len(grid) - 1))
    run = functools.partial(run_chain, steps.ddim(process), lambda x, t: predict({}, x, t), _silent)
    return jax.jit(lambda x: run(x, grid, saved).kept)(x)


def parametrisation_claim() -> Claim:
    """One belief told as eps, x0, v, velocity, score or (on a chain) mean: DDIM's trajectory is the same."""
    x = jax.random.normal(jax.random.key(0), (32, 2))
    chain, levels = vp_chain("linear", 100), grids.levels(grids.even_levels(100, 50))
    even = grids.uniform(50, 0.01, 0.95)
    ends = [_ddim_trajectory(output, PROCESS, even, x) for output in sorted(set(OUTPUTS) - {"mean"})]
    on_chain = [_ddim_trajectory(output, chain, levels, x) for output in ("mean", "eps")]
    worst = max(float(jnp.abs(end - group[-1]).max()) for group in (ends, on_chain) for end in group)
    return Claim("parametrisations_differ", worst, "", 1e-5, "<=", "49 states of 32 DDIM trajectories, float32")


def _unet() -> tuple[Network, dict]:
    module = ADM(
        channels=64,
        channel_mult=(1, 2, 3),
        num_res_blocks=1,
        attention_resolutions=(8,),
        dropout=0.0,
        learn_sigma=False,
    )
    network = Network(module, (32, 32, 3))
    params = network.init(jax.random.key(0))
    return network, params


def overhead_claims(rounds: int, num_steps: int) -> list[Claim]:
    """The driver against a loop written by hand, interleaved."""
    network, params = _unet()
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    predict = network_predictor(network.apply, PROCESS, output="eps", label="999t")
    keys = keys_per_example(jax.random.key(1), jnp.arange(4))
    x = jax.random.normal(jax.random.key(2), (4, 32, 32, 3))
    corrected = langevin.langevin(langevin.by_snr(PROCESS, 0.1))
    rules = {
        "euler_maruyama": (steps.euler_maruyama(PROCESS), None),
        "ancestral": (steps.ancestral(PROCESS), None),
        "ddim": (steps.ddim(PROCESS), None),
        "heun": (heun.second_order(PROCESS), None),
        "dpm_solver_2m": (dpm_solver.multistep(PROCESS), functools.partial(no_answers, count=1)),
        "predictor_corrector": (steps.predictor_corrector(steps.reverse_diffusion(PROCESS), corrected, 1), None),
    }
    claims = []
    for name, (step, memory) in rules.items():
        grid = grids.uniform(num_steps, 1e-3)

        def driver(params, grid, step=step, memory=memory):
            start = None if memory is None else memory(x)
            return run_chain(step, lambda x, t: predict(params, x, t), brownian(keys, x), x, grid, (), start).mean

        def by_hand(params, grid, step=step, memory=memory):
            path = brownian(keys, x)

            def body(carry, i):
                x, _, kept = carry
                t, s = (jnp.full(x.shape[:1], grid[j], x.dtype) for j in (i, i + 1))
                model = lambda x, t: predict(params, x, t)  # noqa: E731
                if memory is None:
                    return (*step(path(i), x, t, s, model), None), None
                return step(path(i), x, t, s, model, kept), None

            start = (x, x, None if memory is None else memory(x))
            return jax.lax.scan(body, start, jnp.arange(num_steps))[0][1]

        ours, theirs = jax.jit(driver), jax.jit(by_hand)
        same = float(jnp.abs(ours(params, grid) - theirs(params, grid)).max())
        assert same < 1e-3, f"{name}: the loop by hand takes other steps ({same})"
        times = np.array([[_seconds(f, params, grid) for f in (ours, theirs)] for _ in range(rounds)])
        ratios = times[:, 0] / times[:, 1]
        spread = f"{ratios.min():.2f} to {ratios.max():.2f}"
        how = f"{num_steps} steps, {size / 1e6:.1f} M parameters, median of {rounds} rounds, {spread}"
        claims.append(Claim(f"overhead_{name}", float(np.median(ratios)), "", 1.10, "<=", how))
    return claims


def _seconds(function, *arguments) -> float:
    began = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - began


def compile_claims(timed: bool) -> list[Claim]:
    """The program and its compilation do not grow with the steps, and it is not compiled again for other values."""
    mixture = mixture_predictor(jnp.float32)
    step = steps.ancestral(PROCESS)

    def make():
        def draw(key, grid, scale):
            keys = keys_per_example(key, jnp.arange(8))
            x = jnp.zeros((8, 2))
            guided = classifier_free(mixture, mixture, lambda t: jnp.full_like(t, scale))
            return run_chain(step, guided, brownian(keys, x), x, grid).mean

        return draw

    def lowered(count: int):
        return jax.jit(make()).lower(jax.random.key(0), jax.ShapeDtypeStruct((count + 1,), jnp.float32), jnp.float32(1))

    def compile_seconds(count: int) -> float:
        began = time.perf_counter()
        lowered(count).compile()
        return time.perf_counter() - began

    lines = [len(lowered(count).as_text().splitlines()) for count in (1000, 10)]
    claims = [Claim("program_steps_ratio", lines[0] / lines[1], "", 1.0, "<=", "lines, 1000 steps over 10")]
    if timed:
        compile_seconds(20)
        pairs = np.array([[compile_seconds(1000), compile_seconds(10)] for _ in range(7)])
        ratio, how = float(np.median(pairs[:, 0] / pairs[:, 1])), "trace and compile, 1000 steps over 10, median of 7"
        claims.append(Claim("compile_steps_ratio", ratio, "", 1.1, "<=", how))
    jitted = jax.jit(make())
    for seed, t_min, scale in ((0, 1e-3, 1.0), (1, 1e-2, 1.0), (2, 1e-3, 3.0)):
        jitted(jax.random.key(seed), grids.uniform(50, t_min), jnp.float32(scale))
    extra = float(jitted._cache_size() - 1)
    return [*claims, Claim("recompiles", extra, "", 0.0, "<=", "other seed, other times, other guidance scale")]


def rule_claims(*, quick: bool, plot: Path | None) -> list[Claim]:
    """All claims that need no original."""
    with _x64():
        claims = order_claims(plot)
    claims += [grid_claim(), *two_sample_claims(1000 if quick else 4000), parametrisation_claim()]
    claims += compile_claims(timed=not quick)
    return claims if quick else claims + overhead_claims(rounds=9, num_steps=10)


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="fewer samples, no timing")
    parser.add_argument("--plot", type=Path, help="where to draw the convergence")
    add_flags(parser, SAMPLERS)
    arguments = parser.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")
    # Compile times are measured: nothing may come from a cache on disk.
    jax.config.update("jax_enable_compilation_cache", False)
    began = time.monotonic()
    claims = [] if arguments.only_loops else rule_claims(quick=arguments.quick, plot=arguments.plot)
    claims += loop_claims(arguments, SAMPLERS)
    return emit("samplers", claims, began, as_json=arguments.json)


def _x64():
    enable = getattr(jax, "enable_x64", None)
    if enable is None:
        from jax.experimental import enable_x64 as enable
    return enable(True)


if __name__ == "__main__":
    sys.exit(main())
