"""How far is a sampler from the exact one, with 5, 10, 20 and 50 evaluations of the model?

    python benchmarks/evaluations.py [--json] [--quick] [--docs] [--adaptive]

On a mixture in the plane, whose score is exact, and on a network for digits of 8 x 8 pixels, which is trained here in
less than a minute. Rules without noise: root mean square distance of the samples to those of a fine solve from the same
noise. All rules: sliced Wasserstein distance of their law to that of the fine solve, with other noise. The adaptive
SDE, which with --adaptive is all that is measured: the same distance of laws, and the median distance of its samples to
those of a solve with a smaller tolerance along the same paths. With --docs the picture goes to
docs/images/evaluations.svg and the tables to docs/performance.md.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from pages import made_by, put_into_page, row

import score_jax as sj
from report import Claim, emit
from score_jax.data.sources import open_images
from score_jax.data.toys import four_gaussians
from score_jax.jobs.evaluate import load_images
from score_jax.prediction.predictor import from_score, from_v
from score_jax.samplers.reverse_sde import AdaptiveSDE
from score_jax.samplers.sample import Sampler, sample

ROOT = Path(__file__).parents[1]
PROCESS, COUNTS = sj.VP(), (5, 10, 20, 50)
DETERMINISTIC: dict[str, dict[str, Any]] = {
    "ddim": {},
    "plms": {},
    "heun": {},
    "dpm_solver_2s": {},
    "dpm_solver_2m": {},
    "dpm_solver_3m": {},
    "unipc_2": {"order": 2},
    "unipc_3": {"order": 3},
    "deis_2": {"order": 2},
    "deis_3": {"order": 3},
}
STOCHASTIC: dict[str, dict[str, Any]] = {
    "euler_maruyama": {},
    "reverse_diffusion": {},
    "ancestral": {},
    "sde_dpm_solver_2m": {},
}
EXPONENTIAL = ("dpm_solver_2m", "dpm_solver_3m", "unipc_2", "unipc_3", "deis_2", "deis_3")
TOLERANCES, _FINE = (1.0, 0.3, 0.1, 0.03), 0.005
"""Of the adaptive SDE, and the one whose solve stands for the exact one."""
_TARGETS = {10: 1 / 3, 20: 1 / 4, 50: 1 / 10}
"""Of the error of the best exponential integrator over DDIM's, by evaluations."""


class Task(NamedTuple):
    """A model under VP: `model(x, t)`, what it gives, the shape of x, and how many samples are compared."""

    model: Callable
    output: str
    shape: tuple[int, ...]
    samples: int


class Found(NamedTuple):
    """Of a rule, by the number of evaluations: distance to the fine solve (nan with noise), and between the laws."""

    errors: list[float]
    laws: list[float]


def steps_of(name: str, evaluations: int) -> int:
    """How many steps a rule can take with so many evaluations, one of which is the last prediction of x0."""
    if name == "heun":  # whose last step is that prediction
        return (evaluations + 1) // 2
    return {"plms": evaluations - 2, "dpm_solver_2s": (evaluations - 1) // 2}.get(name, evaluations - 1)


def draw(task: Task, name: str, steps: int, seed: int, **options: Any) -> np.ndarray:
    """Samples by a rule on times that are even in log SNR; Heun on EDM's grid."""
    solver = name.rstrip("23").rstrip("_") if name.startswith(("unipc", "deis")) else name
    given = {} if solver == "heun" else {"grid": "log_snr"}
    drawn = sj.sampler(
        task.model,
        PROCESS,
        task.shape,
        output=task.output,
        solver=solver,
        num_steps=steps,
        t_min=1e-3,
        **given,
        **options,
    )
    return np.asarray(drawn(jax.random.key(seed), jnp.arange(task.samples))).reshape(task.samples, -1)


def sliced(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over 64 directions of the Wasserstein-1 distance of the projections of two sets (n, d) of one size."""
    directions = np.random.default_rng(0).normal(size=(a.shape[1], 64))
    directions /= np.linalg.norm(directions, axis=0)
    return float(np.abs(np.sort(a @ directions, axis=0) - np.sort(b @ directions, axis=0)).mean())


def measured(task: Task, counts: tuple[int, ...]) -> tuple[dict[str, Found], float]:
    """Every rule, and the distance between two draws of the fine solve's law."""
    fine, other, third = (draw(task, "dpm_solver_2s", 300, seed) for seed in (0, 1, 2))
    rules = {}
    for name, options in (DETERMINISTIC | STOCHASTIC).items():
        drawn = [draw(task, name, steps_of(name, n), 0, **options) for n in counts]
        exact = name in DETERMINISTIC
        errors = [float(np.sqrt(np.mean((x - fine) ** 2))) if exact else float("nan") for x in drawn]
        rules[name] = Found(errors, [sliced(x, other) for x in drawn])
    return rules, sliced(third, other)


class Adaptive(NamedTuple):
    """Of the adaptive SDE under one tolerance: mean evaluations, median distance along the paths, distance of laws."""

    evaluations: float
    error: float
    law: float


def adaptive(task: Task) -> dict[float, Adaptive]:
    """The adaptive SDE by its tolerance."""
    of_output = {"score": from_score, "v": from_v}[task.output]
    other = draw(task, "dpm_solver_2s", 300, 1)

    def drawn(tolerance: float, count: int) -> tuple[np.ndarray, float]:
        sampler = Sampler(AdaptiveSDE(tolerance, tolerance), t_min=1e-3, denoise=True)

        @jax.jit
        def run(key, indices):
            return sample(
                lambda x, t: of_output(task.model(x, t), x, t, PROCESS), PROCESS, sampler, key, indices, task.shape
            )

        samples = run(jax.random.key(0), jnp.arange(count))
        return np.asarray(samples.x).reshape(count, -1), float(samples.nfe.mean())

    count = min(task.samples, 256)
    fine, _ = drawn(_FINE, count)
    found = {}
    for tolerance in TOLERANCES:
        x, evaluations = drawn(tolerance, task.samples)
        error = float(np.median(np.linalg.norm(x[:count] - fine, axis=1)))
        found[tolerance] = Adaptive(evaluations, error, sliced(x, other))
    return found


def adaptive_claims(task: str, found: dict[float, Adaptive]) -> list[Claim]:
    """That a smaller tolerance is a smaller error."""
    coarse, small = found[max(TOLERANCES)], found[min(TOLERANCES)]
    how = f"median distance {small.error:.2g} with {small.evaluations:.0f} evaluations, {coarse.error:.2g} with "
    how += f"{coarse.evaluations:.0f}, tolerances {min(TOLERANCES):g} and {max(TOLERANCES):g}"
    return [Claim(f"adaptive_sde_error_ratio_{task}", small.error / coarse.error, "", 0.25, "<=", how)]


def mixture(samples: int) -> Task:
    """Four normal laws in the plane, with their exact score."""
    law = four_gaussians()
    return Task(lambda x, t: law.score(x, t, PROCESS), "score", (2,), samples)


class _Digits(eqx.Module):
    """A perceptron of three layers for v of 64 pixels, told the noise level by sines."""

    layers: eqx.nn.MLP

    def __init__(self, key: jax.Array):
        self.layers = eqx.nn.MLP(64 + 16, 64, 256, 3, jax.nn.silu, key=key)

    def __call__(self, x: jax.Array, t: jax.Array) -> jax.Array:
        angles = 0.25 * PROCESS.log_snr(t)[:, None] * 2.0 ** jnp.arange(-2, 6)[None]
        return jax.vmap(self.layers)(jnp.concatenate([x, jnp.sin(angles), jnp.cos(angles)], axis=1))


def digits(samples: int, steps: int) -> Task:
    """A network for digits of 8 x 8 pixels, trained by denoising for so many steps of 256."""
    images, _ = load_images(open_images("digits", "train", lambda pixels, _: pixels))
    data = jnp.asarray(images.reshape(len(images), -1), jnp.float32) / 127.5 - 1
    network = _Digits(jax.random.key(0))
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, steps))

    def loss(network: _Digits, key: jax.Array) -> jax.Array:
        of_data, of_time, of_noise = jax.random.split(key, 3)
        x0 = data[jax.random.randint(of_data, (256,), 0, len(data))]
        t = 1e-3 + (1 - 1e-3) * (jnp.arange(256) + jax.random.uniform(of_time, (256,))) / 256
        eps = jax.random.normal(of_noise, x0.shape)
        alpha, sigma = PROCESS.alpha(t)[:, None], PROCESS.sigma(t)[:, None]
        return jnp.mean((network(alpha * x0 + sigma * eps, t) - (alpha * eps - sigma * x0)) ** 2)

    arrays, static = eqx.partition(network, eqx.is_array)

    def step(carry, key):
        arrays, average, state = carry
        gradient = jax.grad(lambda arrays: loss(eqx.combine(arrays, static), key))(arrays)
        updates, state = optimizer.update(gradient, state)
        arrays = optax.apply_updates(arrays, updates)
        return (arrays, optax.incremental_update(arrays, average, 1e-3), state), None

    keys = jax.random.split(jax.random.key(1), steps)
    begun = (arrays, arrays, optimizer.init(arrays))
    (_, average, _), _ = jax.jit(lambda begun: jax.lax.scan(step, begun, keys))(begun)
    return Task(eqx.combine(average, static), "v", (64,), samples)


def claims_of(task: str, rules: dict[str, Found], floor: float, counts: tuple[int, ...]) -> list[Claim]:
    """What must hold."""
    claims = []
    for evaluations, target in _TARGETS.items():
        if evaluations not in counts:
            continue
        at = counts.index(evaluations)
        errors = {name: rules[name].errors[at] for name in EXPONENTIAL}
        best = min(errors, key=errors.__getitem__)
        ddim = rules["ddim"].errors[at]
        how = f"{best} {errors[best]:.2g}, DDIM {ddim:.2g}, {evaluations} evaluations, even in log SNR"
        name = f"error_best_exponential_over_ddim_{task}_at_{evaluations}"
        claims.append(Claim(name, errors[best] / ddim, "", target, "<=", how))
    at = counts.index(20)
    ours, ancestral = rules["sde_dpm_solver_2m"].laws[at], rules["ancestral"].laws[at]
    how = f"sliced Wasserstein {ours:.2g}, ancestral {ancestral:.2g}, two fine draws {floor:.2g}, 20 evaluations"
    claims.append(Claim(f"law_sde_2m_over_ancestral_{task}_at_20", ours / ancestral, "", 0.7, "<=", how))
    return claims


def plot(found: dict[str, dict[str, Found]], path: Path) -> None:
    """One panel of errors and one of laws for each task."""
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "evaluations"
    figure, axes = plt.subplots(2, len(found), figsize=(5.5 * len(found), 9), squeeze=False)
    colors = dict(zip(DETERMINISTIC | STOCHASTIC, plt.get_cmap("tab20").colors, strict=False))
    for column, (task, rules) in enumerate(found.items()):
        for name, of in rules.items():
            style = {"color": colors[name], "label": name, "marker": "o" if name in DETERMINISTIC else "s"}
            if name in DETERMINISTIC:
                axes[0, column].loglog(COUNTS, of.errors, **style)
            if name in (*STOCHASTIC, "ddim", "dpm_solver_2m", "unipc_3"):
                axes[1, column].loglog(COUNTS, of.laws, **style)
        axes[0, column].set(title=task, ylabel="distance to the fine solve, root mean square")
        axes[1, column].set(ylabel="sliced Wasserstein distance")
        for axis in axes[:, column]:
            axis.set(xlabel="evaluations of the model", xticks=COUNTS, xticklabels=COUNTS)
            axis.minorticks_off()
            axis.grid(alpha=0.3)
            axis.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def write_docs(found: dict[str, dict[str, Found]], floors: dict[str, float]) -> None:
    """The picture, and the tables of the page."""
    plot(found, ROOT / "docs" / "images" / "evaluations.svg")
    parts = [made_by("python benchmarks/evaluations.py --docs")]
    for task, rules in found.items():
        table = [row(f"{task}: distance to the fine solve", *map(str, COUNTS)), row("---", *["---:"] * len(COUNTS))]
        table += [row(f"`{name}`", *(f"{e:.2g}" for e in rules[name].errors)) for name in DETERMINISTIC]
        parts.append("\n".join(table))
        table = [row(f"{task}: distance of laws", *map(str, COUNTS)), row("---", *["---:"] * len(COUNTS))]
        shown = (*STOCHASTIC, "ddim", "dpm_solver_2m", "unipc_3")
        table += [row(f"`{name}`", *(f"{e:.2g}" for e in rules[name].laws)) for name in shown]
        table.append(row("two draws of the fine solve", *[f"{floors[task]:.2g}"] * len(COUNTS)))
        parts.append("\n".join(table))
    put_into_page(ROOT / "docs" / "performance.md", "evaluations", parts)


def write_adaptive(found: dict[str, dict[float, Adaptive]]) -> None:
    """The table of the adaptive SDE."""
    header = [f"{task}: {what}" for task in found for what in ("evaluations", "distance", "distance of laws")]
    table = [row("tolerance", *header), row("---:", *["---:"] * len(header))]
    for tolerance in TOLERANCES:
        of = [task[tolerance] for task in found.values()]
        cells = [cell for at in of for cell in (f"{at.evaluations:.0f}", f"{at.error:.2g}", f"{at.law:.2g}")]
        table.append(row(f"{tolerance:g}", *cells))
    parts = [made_by("python benchmarks/evaluations.py --adaptive --docs"), "\n".join(table)]
    put_into_page(ROOT / "docs" / "performance.md", "adaptive_sde", parts)


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="the mixture alone, with fewer samples")
    parser.add_argument("--adaptive", action="store_true", help="the adaptive SDE alone")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md and its picture")
    arguments = parser.parse_args()
    began = time.monotonic()
    jax.config.update("jax_default_matmul_precision", "highest")
    counts = (10, 20) if arguments.quick else COUNTS
    tasks = {"mixture": mixture(1024 if arguments.quick else 4096)}
    if not arguments.quick:
        tasks["digits"] = digits(1024, 6000)
    found, floors, solves, claims = {}, {}, {}, []
    for name, task in tasks.items():
        if not arguments.adaptive:
            found[name], floors[name] = measured(task, counts)
            claims += claims_of(name, found[name], floors[name], counts)
        if arguments.adaptive or not arguments.quick:
            solves[name] = adaptive(task)
            claims += adaptive_claims(name, solves[name])
    if arguments.docs and not arguments.quick:
        write_adaptive(solves)
        if not arguments.adaptive:
            write_docs(found, floors)
    return emit("evaluations", claims, began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
