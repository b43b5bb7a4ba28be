"""Files of EDM's losses and samplers, its ablation sampler included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from toys import mixture_score

from originals import UnknownCase, by_name
from score_jax.losses import weighting
from score_jax.losses.score_matching import denoising_errors
from score_jax.losses.time_sampling import log_normal_levels, log_uniform_levels
from score_jax.prediction.preconditioning import IDDPMPreconditioning
from score_jax.prediction.predictor import from_score
from score_jax.processes.gaussian import VP, GaussianProcess, LinearVE
from score_jax.processes.noise import replay
from score_jax.samplers.chain import run_chain
from score_jax.samplers.grids import karras
from score_jax.samplers.heun import Churn, first_order, second_order


def _numbers(options: dict) -> dict:
    """Floats where the original takes them, whatever its caller wrote."""
    return {k: float(v) if isinstance(v, int) and k not in ("num_steps", "M") else v for k, v in options.items()}


def losses(file, dtype) -> dict:
    """Squared errors of the denoiser, elementwise and weighted."""
    given, found = file.group("in"), {}
    x, noise = (jnp.asarray(given[name], dtype) for name in ("x", "noise"))
    u, n = (jnp.asarray(given[name], dtype).reshape(-1) for name in ("rnd_uniform", "rnd_normal"))
    mixture, process = mixture_score(given, dtype), LinearVE()

    def model(x, sigma):
        return from_score(mixture(x, jnp.ones_like(sigma), sigma), x, sigma, process)

    for entry in file.meta["config"]["sets"]:
        options = _numbers(entry["kwargs"])
        if entry["class"] == "EDMLoss":
            takes = {"P_mean": "mean", "P_std": "std"}
            sigma = log_normal_levels(n, **{takes[key]: value for key, value in options.items() if key in takes})
            weight = functools.partial(weighting.edm, sigma_data=options.get("sigma_data", 0.5))
        elif entry["class"] == "VELoss":
            sigma, weight = (
                log_uniform_levels(u, options.get("sigma_min", 0.02), options.get("sigma_max", 100.0)),
                weighting.eps,
            )
        elif entry["class"] == "VPLoss":
            t_min = options.get("epsilon_t", 1e-5)
            beta_d, beta_min = options.get("beta_d", 19.9), options.get("beta_min", 0.1)
            sigma, weight = VP(beta_min, beta_min + beta_d).noise_to_signal(1 + u * (t_min - 1)), weighting.eps
        else:
            raise UnknownCase(f"loss {entry['class']}")
        # The weight of x0's error is that of eps's over sigma²; `weighting.eps` is EDM's 1 / sigma².
        found[f"out/{entry['tag']}"] = denoising_errors(model, process, x, sigma, noise, weight)
    return found


@jax.tree_util.register_static
class _Ablation(GaussianProcess):
    """A schedule sigma(t) and a scale s(t) of EDM's ablations: alpha = s, sigma = s sigma(t)."""

    def __init__(self, schedule: str, scaling: str, vp: VP):
        if schedule not in ("vp", "ve", "linear") or scaling not in ("vp", "none"):
            raise UnknownCase(f"schedule {schedule}, scaling {scaling}")
        self.schedule, self.scaling, self.vp = schedule, scaling, vp

    def noise_to_signal(self, t):
        return {"vp": self.vp.noise_to_signal, "ve": jnp.sqrt, "linear": lambda t: t}[self.schedule](t)

    def time_at(self, noise_to_signal):
        return {"vp": self.vp.time_at, "ve": jnp.square, "linear": lambda r: r}[self.schedule](noise_to_signal)

    def log_alpha(self, t):
        return jnp.zeros_like(t) if self.scaling == "none" else -0.5 * jnp.log1p(self.noise_to_signal(t) ** 2)

    def sigma(self, t):
        return self.alpha(t) * self.noise_to_signal(t)

    @property
    def prior_std(self):
        return 1.0


def _noise_levels(discretization: str, count: int, options: dict, t_min: float, vp: VP):
    """The levels of an ablation's grid, without the 0 at its end."""
    i = np.arange(count)
    high, low = options["sigma_max"], options["sigma_min"]
    if discretization == "vp":
        return vp.noise_to_signal(jnp.asarray(1 + i / (count - 1) * (t_min - 1)))
    if discretization == "ve":
        return jnp.asarray(np.sqrt(high**2 * (low**2 / high**2) ** (i / (count - 1))))
    if discretization == "iddpm":
        u = IDDPMPreconditioning(options.get("C_1", 0.001), options.get("C_2", 0.008), options.get("M", 1000)).levels
        kept = u[(u >= low) & (u <= high)]
        return jnp.asarray(kept[np.round((len(kept) - 1) / (count - 1) * i).astype(int)])
    if discretization == "edm":
        return karras(count, low, high, options.get("rho", 7.0))[:-1]
    raise UnknownCase(f"discretization {discretization}")


def _vp_between(sigma_min: float, sigma_max: float, t_min: float) -> VP:
    """The VP process whose noise-to-signal ratio is sigma_min at t_min and sigma_max at 1."""
    at_min, at_max = np.log1p(sigma_min**2), np.log1p(sigma_max**2)
    beta_d = 2 * (at_min / t_min - at_max) / (t_min - 1)
    beta_min = at_max - 0.5 * beta_d
    return VP(float(beta_min), float(beta_min + beta_d))


def samplers(file, dtype) -> dict:
    """EDM's sampler and its ablations. The original keeps its state in float64."""
    given, found = file.group("in"), {}
    latents, stored = (jnp.asarray(given[name], dtype) for name in ("latents", "noise"))
    mixture = mixture_score(given, dtype)
    for entry in file.meta["config"]["sets"]:
        options = _numbers(entry["kwargs"])
        count = options.get("num_steps", 18)
        low, high = options.get("S_min", 0.0), options.get("S_max", np.inf)
        churn = Churn(options.get("S_churn", 0.0) / count, low, high, options.get("S_noise", 1.0))
        if entry["sampler"] == "edm_sampler":
            process = LinearVE()
            sigmas = karras(
                count, options.get("sigma_min", 0.002), options.get("sigma_max", 80.0), options.get("rho", 7.0)
            )[:-1]
            step = second_order(process, churn=churn)
        elif entry["sampler"] == "ablation_sampler":
            t_min, discretization = options.get("epsilon_s", 1e-3), options.get("discretization", "edm")
            ends = {"vp": VP().noise_to_signal(jnp.asarray([t_min, 1.0])), "ve": (0.02, 100), "iddpm": (0.002, 81)}
            low, high = (float(end) for end in ends.get(discretization, (0.002, 80)))
            options = {"sigma_min": low, "sigma_max": high} | {k: v for k, v in options.items() if v is not None}
            vp = _vp_between(options["sigma_min"], options["sigma_max"], t_min)
            process = _Ablation(options.get("schedule", "linear"), options.get("scaling", "none"), vp)
            sigmas = _noise_levels(discretization, count, options, t_min, vp)
            euler = options.get("solver", "heun") == "euler"
            step = first_order(process, churn) if euler else second_order(process, options.get("alpha", 1.0), churn)
        else:
            raise UnknownCase(f"sampler {entry['sampler']}")

        def model(x, t, process=process):
            return from_score(mixture(x, process.alpha(t), process.sigma(t)), x, t, process)

        sigmas = sigmas.astype(dtype)
        grid = jnp.append(process.time_at(sigmas), 0.0)
        x = process.alpha(grid[:1]) * sigmas[0] * latents
        found[f"out/{entry['tag']}"] = run_chain(step, model, replay(stored, 1), x, grid).x
    return found


HANDLERS = by_name("edm", losses, samplers)
