"""How far is the ODE likelihood from the exact one, with so many evaluations of the model?

    python benchmarks/likelihood_cost.py [--json] [--quick] [--docs]

On two laws whose density and score are known (float64): a normal law of 256 dimensions with the spectrum of images, and
a mixture in 64 dimensions. And on a network for digits of 8 x 8 pixels, which is trained here in less than a minute,
against a fine solve with the same noise and the same probes (float32). Grids are beside the default, adaptive steps of
each example in time, dopri5 at 1e-5. Estimators of the divergence are compared at equal products with the
Jacobian. With --docs the picture goes to docs/images/likelihood_cost.svg and the tables to docs/likelihood.md.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from evaluations import digits
from likelihood_laws import mixture_law
from pages import made_by, put_into_page, row

import score_jax as sj
from report import Claim, emit
from score_jax.data.sources import open_images
from score_jax.jobs.evaluate import load_images
from score_jax.likelihood.divergence import Divergence
from score_jax.likelihood.ode import LogLikelihood, log_prob
from score_jax.prediction.predictor import network_predictor, score_predictor
from score_jax.samplers.flow_variables import IN_TIME, FlowVariables, InLogSNR
from score_jax.samplers.ode import ODE, AdaptiveODE, EvenODE

ROOT = Path(__file__).parents[1]
PROCESS, T_MIN = sj.VP(), 1e-5
LOG_SNR = InLogSNR(T_MIN)
DEFAULT, GRID = "adaptive dopri5 in time, 1e-05", "grid, adams, 64 steps"
"""The default, and `control=grid solver=adams`."""
ADAPTIVE: dict[str, tuple[ODE, FlowVariables]] = {
    f"adaptive dopri5 in {where}, {tolerance:g}": (AdaptiveODE("dopri5", tolerance, tolerance), variables)
    for where, variables in (("time", IN_TIME), ("log-SNR", LOG_SNR))
    for tolerance in (1e-3, 1e-4, 1e-5)
}
STEPS = {"heun": (12, 24, 48), "bosh3": (8, 16, 32), "dopri5": (4, 8, 16), "adams": (16, 24, 32, 48, 64, 96)}
GRIDS: dict[str, tuple[ODE, FlowVariables]] = {
    f"grid, {solver}, {n} steps": (EvenODE(n, solver), LOG_SNR) for solver, counts in STEPS.items() for n in counts
}
PRODUCTS = (3, 6, 12, 24)


class Task(NamedTuple):
    """A model of x (n, d) under VP, how its divergence is taken, the exact log density, and the terminal one.

    Attributes:
      measure: `measure(ode, variables) -> LogLikelihood`.
      exact: nats (n,).
      dim: d.
    """

    measure: Callable[[ODE, FlowVariables], LogLikelihood]
    exact: np.ndarray
    dim: int


class Found(NamedTuple):
    """Of a solve: evaluations, errors in bits/dim (n,), and what it said of them (n,), NaN of adaptive steps."""

    nfe: float
    errors: np.ndarray
    told: np.ndarray


def _measure(predictor, x, divergence: Divergence, terminal, ode: ODE, variables: FlowVariables) -> LogLikelihood:
    keys = jax.random.split(jax.random.key(1), len(x))
    solved = jax.jit(
        lambda x: log_prob(
            predictor,
            PROCESS,
            keys,
            x,
            divergence=divergence,
            ode=ode,
            t_min=T_MIN,
            variables=variables,
            terminal_log_prob=terminal,
        )
    )(x)
    assert solved.ok.all()
    return solved


def spectrum(count: int) -> Task:
    """A normal law with the power spectrum of natural images, 1 / f², and uniform noise of a level, 16 x 16.

    Its Jacobian is diagonal, so that one probe of signs is exact.
    """
    f = np.fft.fftfreq(16)
    power = 1 / np.maximum(f[:, None] ** 2 + f[None] ** 2, 1 / 32**2).ravel()
    values = jnp.asarray(0.25 * power / power.mean() + (2 / 256) ** 2 / 12)

    def variance(t):
        return PROCESS.alpha(t)[:, None] ** 2 * values + PROCESS.sigma(t)[:, None] ** 2

    def density(x, t: float):
        return jax.scipy.stats.norm.logpdf(x, 0, jnp.sqrt(variance(jnp.full(len(x), t)))).sum(axis=1)

    x = jax.random.normal(jax.random.key(0), (count, 256)) * jnp.sqrt(variance(jnp.array([T_MIN])))
    predictor = score_predictor(lambda x, t: -x / variance(t), PROCESS)
    measure = functools.partial(_measure, predictor, x, Divergence(), lambda z: density(z, 1.0))
    return Task(measure, np.asarray(density(x, T_MIN)), 256)


def mixture(count: int) -> Task:
    """Four components in 64 dimensions."""
    law = mixture_law(64, jnp.float64)
    x = law.sample(jax.random.key(0), count)

    def density(x, t: float):
        return law.log_prob(x, jnp.full(len(x), t), PROCESS)

    predictor = score_predictor(lambda x, t: law.score(x, t, PROCESS), PROCESS)
    measure = functools.partial(_measure, predictor, x, Divergence("exact"), lambda z: density(z, 1.0))
    return Task(measure, np.asarray(density(x, T_MIN)), 64)


def of_digits(count: int, steps: int) -> tuple[Task, Callable[[Divergence], LogLikelihood]]:
    """The network, with uniform noise and one probe of signs; and its density on a grid by any divergence."""
    model = digits(1, steps).model
    images, _ = load_images(open_images("digits", "test", lambda pixels, _: pixels))
    noise = np.random.default_rng(0).uniform(size=(count, 64))
    x = jnp.asarray((images[:count].reshape(count, -1) + noise) / 128 - 1, jnp.float32)

    def network(params: Any, x, t, labels=None):
        return model(x, t)

    predictor = functools.partial(network_predictor(network, PROCESS, output="v", label="index"), None)
    measure = functools.partial(_measure, predictor, x, Divergence(), PROCESS.prior_log_prob)
    fine = measure(EvenODE(256, "dopri5"), LOG_SNR)

    def by(divergence: Divergence) -> LogLikelihood:
        return _measure(predictor, x, divergence, PROCESS.prior_log_prob, EvenODE(32), LOG_SNR)

    return Task(measure, np.asarray(fine.log_prob), 64), by


def measured(task: Task, solves: dict[str, tuple[ODE, FlowVariables]]) -> dict[str, Found]:
    """Every solve of a task."""
    found, per_nat = {}, 1 / (task.dim * np.log(2))
    for name, (ode, variables) in solves.items():
        solved = task.measure(ode, variables)
        errors = per_nat * (task.exact - np.asarray(solved.log_prob, float))
        found[name] = Found(float(solved.nfe.mean()), errors, per_nat * np.asarray(solved.solver_error, float))
    return found


def claims_of(task: str, found: dict[str, Found], third: Found) -> list[Claim]:
    """What must hold of means over examples; `third`: Adams' rule with a third of the default's evaluations."""

    def told(of: Found) -> str:
        return f"{of.nfe:.0f} evaluations, largest {np.abs(of.errors).max():.1g}"

    default, grid = found[DEFAULT], found[GRID]
    beside = f"adaptive: {told(default)}, mean {default.errors.mean():.1g}"
    of_third, of_grid = (float(abs(of.errors.mean())) for of in (third, grid))
    covered = float(np.mean(np.abs(grid.errors) <= grid.told))
    return [
        Claim(f"bits_{task}_third", of_third, "bits/dim", 0.01, "<=", f"{told(third)}; {beside}"),
        Claim(f"bits_{task}_grid", of_grid, "bits/dim", 0.005, "<=", f"{told(grid)}; {beside}"),
        Claim(f"error_told_covers_{task}", covered, "", 0.9, ">=", f"mean told {grid.told.mean():.1g} bits/dim"),
    ]


def estimators(by: Callable[[Divergence], LogLikelihood], dim: int, exact: np.ndarray) -> dict[str, list[float]]:
    """Root mean square error in bits/dim of the divergence's estimators, by the number of products."""
    return {
        name: [
            float(np.sqrt(np.mean((np.asarray(by(Divergence(name, n)).log_prob) - exact) ** 2)) / dim / np.log(2))
            for n in PRODUCTS
        ]
        for name in ("rademacher", "gaussian", "orthogonal", "hutch_plus_plus")
    }


def plot(found: dict[str, dict[str, Found]], path: Path) -> None:
    """Largest errors against evaluations, a panel for each task."""
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "likelihood_cost"
    figure, axes = plt.subplots(1, len(found), figsize=(5 * len(found), 4.2), squeeze=False)
    for axis, (task, solves) in zip(axes[0], found.items(), strict=True):
        kinds = {name.rsplit(",", 1)[0]: [] for name in solves}
        for name, of in solves.items():
            kinds[name.rsplit(",", 1)[0]].append((of.nfe, np.abs(of.errors).max()))
        for kind, points in kinds.items():
            axis.loglog(*zip(*sorted(points), strict=True), "s--" if "adaptive" in kind else "o-", label=kind)
        axis.set(title=task, xlabel="evaluations", ylabel="largest error, bits/dim")
        axis.axhline(0.01, color="grey", linewidth=0.8)
        axis.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def write_docs(found: dict[str, dict[str, Found]], variances: dict[str, list[float]]) -> None:
    """The picture, and the tables of the page."""
    plot(found, ROOT / "docs" / "images" / "likelihood_cost.svg")
    tasks = list(found)
    table = [row("evaluations: largest error, mean error", *tasks), row("---", *["---"] * len(tasks))]
    for name in ADAPTIVE | GRIDS:
        cells = [
            f"{of.nfe:.0f}: {np.abs(of.errors).max():.1e}, {of.errors.mean():.0e}"
            for of in (found[t][name] for t in tasks)
        ]
        table.append(row(f"{name}", *cells))
    others = [row("estimator: error, bits/dim", *map(str, PRODUCTS)), row("---", *["---:"] * len(PRODUCTS))]
    others += [row(f"`{name}`", *(f"{value:.3f}" for value in values)) for name, values in variances.items()]
    parts = [made_by("python benchmarks/likelihood_cost.py --docs"), "\n".join(table), "\n".join(others)]
    put_into_page(ROOT / "docs" / "likelihood.md", "likelihood_cost", parts)


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="two solves on the known laws alone")
    parser.add_argument("--docs", action="store_true", help="write docs/likelihood.md and its picture")
    arguments = parser.parse_args()
    began = time.monotonic()
    jax.config.update("jax_default_matmul_precision", "highest")
    solves = ADAPTIVE | GRIDS
    if arguments.quick:
        solves = {name: solves[name] for name in (DEFAULT, GRID)}
    tasks: dict[str, Callable[[], Task]] = {
        "spectrum": lambda: spectrum(8 if arguments.quick else 32),
        "mixture": lambda: mixture(16 if arguments.quick else 64),
    }
    found, claims, variances = {}, [], {}

    def run(name: str, task: Task) -> None:
        found[name] = measured(task, solves)
        steps = int(found[name][DEFAULT].nfe / 3) - 1
        third = measured(task, {"third": (EvenODE(steps), LOG_SNR)})["third"]
        claims.extend(claims_of(name, found[name], third))

    for name, make in tasks.items():
        with jax.enable_x64(True):
            run(name, make())
    if not arguments.quick:
        task, by = of_digits(64, 6000)
        run("digits", task)
        exact = np.asarray(by(Divergence("exact")).log_prob)
        variances = estimators(by, task.dim, exact)
    if arguments.docs and not arguments.quick:
        write_docs(found, variances)
    return emit("likelihood_cost", claims, began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
