"""The `sampler` section: the options of each method."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from score_jax.builder.options import Options, count, option
from score_jax.prediction.analytic_variance import ANALYTIC
from score_jax.prediction.reverse import VARIANCES
from score_jax.samplers.ode import SOLVERS

INITIAL = ("prior", "uniform")
THRESHOLDS = ("none", "clip", "dynamic")
GRIDS = ("auto", "uniform", "quadratic", "log_snr")
DISCRETISATIONS = ("exact", "score_sde")
LATENT_DIFFUSION, LATENT_DIFFUSION_QUAD = OF_LATENT_DIFFUSION = ("latent_diffusion", "latent_diffusion_quad")
"""The levels of that code: in even steps, and quadratic."""
RULES = ("none", "ddim", "reverse_diffusion", "ancestral", "euler_maruyama")
"""The step rules that a predictor-corrector may have as its predictor."""
SHARES = ("constant", "remaining")
CORRECTORS = ("none", "langevin", "ald")
_EXACT = {"discretisation": ("exact",)}
_ANALYTIC = {"variance": (ANALYTIC,)}
_STEP_TEMPERATURE = "factor of the noise that each step adds; temperature is that of the initial noise"
_LIKE_LATENT_DIFFUSION = (
    "latent_diffusion: the levels 1, 1 + c, 1 + 2c, ... of that code, the end at level 0 with its noise, and known "
    "pixels noised anew before each step; latent_diffusion_quad: its quadratic levels"
)
_CORRECTED = {"corrector": ("langevin", "ald")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplerOptions(Options):
    """What all methods read."""

    SECTION: ClassVar[str] = "sampler"
    threshold: str = option(
        "none",
        "how the predicted x0 is kept in the data's range: clip its values, or scale it (dynamic)",
        one_of=THRESHOLDS,
    )
    temperature: float = option(1.0, "factor of the initial noise", least=0.0)
    initial: str = option(
        "prior", "distribution of the initial state: the prior of the process, or uniform in [0, 1)", one_of=INITIAL
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stepping(SamplerOptions):
    """What the methods read that step along the model's own process, or along levels of its chain."""

    num_steps: int = count(1000, "number of steps; for a chain, the number of its levels that are used")
    t_min: float = option(1e-3, "time at which sampling ends; chains end at the data", continuous=True, least=0.0)
    denoise: bool = option(
        True, "return the predicted x0 at t_min, not the noisy state there", where=_EXACT, continuous=True
    )
    grid: str = option(
        "auto",
        "spacing of the times; auto: uniform, but log_snr for the process linear_ve, and for reverse_diffusion with "
        "probability_flow on the processes flow and cosine",
        one_of=GRIDS,
        where=_EXACT,
        continuous=True,
    )
    respacing: str = option(
        "",
        "which levels of a chain are used, e.g. 250, ddim25, quad25, or 10,15,20; '': num_steps levels",
        where=_EXACT,
    )
    discretisation: str = option(
        "exact",
        "score_sde: the levels, times and batch-wide Langevin step sizes of that code, reproduced exactly",
        one_of=DISCRETISATIONS,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EulerMaruyama(Stepping):
    """Euler-Maruyama on the reverse SDE (Song et al. 2021, eq. 6), in continuous time."""

    probability_flow: bool = option(False, "follow the probability-flow ODE, without noise, instead of the SDE")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReverseDiffusion(Stepping):
    """The discretisation of the forward process, reversed (Song et al. 2021, eq. 46)."""

    probability_flow: bool = option(False, "follow the probability-flow ODE: half of the score and no noise")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ancestral(Stepping):
    """Draws from the learned reverse kernel (Ho et al. 2020, algorithm 2)."""

    variance: str = option(
        "fixed_small",
        "variance of the reverse kernel; analytic: the optimal one, measured once on training data (Bao et al. 2022)",
        one_of=(*VARIANCES, ANALYTIC),
        where=_EXACT,
    )
    variance_examples: int = count(
        1024, "number of training examples on which the analytic variance is measured", where=_ANALYTIC
    )
    step_temperature: float = option(1.0, _STEP_TEMPERATURE, where=_EXACT, least=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DDIM(Stepping):
    """Denoising diffusion implicit models (Song et al. 2021a, eq. 12)."""

    discretisation: str = option(
        "exact",
        f"score_sde: the levels and times of that code; {_LIKE_LATENT_DIFFUSION}",
        one_of=(*DISCRETISATIONS, *OF_LATENT_DIFFUSION),
    )
    eta: float = option(0.0, "0: deterministic, 1: ancestral", least=0.0)
    step_temperature: float = option(1.0, _STEP_TEMPERATURE, least=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PLMS(Stepping):
    """Pseudo linear multistep, one evaluation a step and one more at the first (Liu et al. 2022)."""

    discretisation: str = option("exact", _LIKE_LATENT_DIFFUSION, one_of=("exact", *OF_LATENT_DIFFUSION))


@dataclasses.dataclass(frozen=True, kw_only=True)
class DPMSolver2M(Stepping):
    """DPM-Solver++ (2M), multistep, one evaluation a step (Lu et al. 2022)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DPMSolver2S(Stepping):
    """DPM-Solver++ (2S), singlestep, two evaluations a step (Lu et al. 2022)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DPMSolver3M(Stepping):
    """DPM-Solver++ (3M), multistep of third order, one evaluation a step (Lu et al. 2022)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SDEDPMSolver2M(Stepping):
    """SDE-DPM-Solver++ (2M), with ancestral sampling's noise, one evaluation a step (Lu et al. 2022, section 5)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class UniPC(Stepping):
    """UniPC with B(h) = e^h - 1, multistep by data prediction, one evaluation a step (Zhao et al. 2023)."""

    order: int = count(3, "order of the predictor: 3, or 2 with strong guidance", least=2, most=3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DEIS(Stepping):
    """DEIS, multistep, one evaluation a step (Zhang and Chen 2022).

    Its polynomial is one in time (tAB), on a chain of levels one in log(sigma / alpha).
    """

    order: int = count(3, "predictions of eps that its polynomial goes through; 3 is the paper's tAB2", least=2, most=3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictorCorrector(Stepping):
    """A predictor step, then corrector steps by Langevin dynamics at the new time (Song et al. 2021, algorithm 1)."""

    predictor: str = option("reverse_diffusion", "the predictor", one_of=RULES)
    corrector: str = option(
        "langevin",
        "the corrector: Langevin steps sized by snr and the norm of the score, or by snr and sigma (ald)",
        one_of=CORRECTORS,
    )
    corrector_steps: int = count(1, "number of Langevin steps at each time", least=0, where=_CORRECTED)
    snr: float = option(
        0.16, "signal-to-noise ratio of the Langevin steps, which sets their size", where=_CORRECTED, above=0.0
    )
    probability_flow: bool = option(
        False,
        "the predictor follows the probability-flow ODE",
        where={"predictor": ("euler_maruyama", "reverse_diffusion")},
    )
    variance: str = option(
        "fixed_small", "variance of the reverse kernel", one_of=VARIANCES, where=_EXACT | {"predictor": ("ancestral",)}
    )
    eta: float = option(0.0, "0: deterministic, 1: ancestral", where={"predictor": ("ddim",)}, least=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Karras(SamplerOptions):
    """What the samplers of EDM read: they step along sigma, whatever the model's process (Karras et al. 2022)."""

    num_steps: int = count(1000, "steps")
    t_min: float = option(1e-3, "the model's time at the last noise level, where sigma_min is 0", least=0.0)
    sigma_min: float = option(0.0, "last noise level sigma / alpha; 0: that at t_min", least=0.0)
    sigma_max: float = option(0.0, "first noise level sigma / alpha; 0: that at the process's end", least=0.0)
    rho: float = option(7.0, "exponent of the grid of noise levels", above=0.0)
    churn: float = option(0.0, "S_churn; 0: deterministic", least=0.0)
    churn_min: float = option(0.0, "S_min: least noise level with churn", least=0.0)
    churn_max: float = option(0.0, "S_max: largest noise level with churn; 0: no bound", least=0.0)
    churn_noise: float = option(1.0, "S_noise: factor on the noise of churn", above=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heun(Karras):
    """EDM's second-order sampler, two evaluations a step."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Euler(Karras):
    """EDM's first-order sampler."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Langevin(SamplerOptions):
    """Annealed Langevin dynamics over the levels of a chain (Song and Ermon 2019, algorithm 1)."""

    step_lr: float = option(2e-5, "step size at the level of least noise", above=0.0)
    steps_per_level: int = count(100, "Langevin steps at each level")
    denoise: bool = option(True, "return the predicted x0 at the level of least noise, not the noisy state there")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbabilityFlow(SamplerOptions):
    """The probability-flow ODE by an adaptive solver (Song et al. 2021, section 4.3), in continuous time."""

    solver: str = option("tsit5", "ODE solver of diffrax", one_of=SOLVERS)
    rtol: float = option(1e-5, "relative tolerance", above=0.0)
    atol: float = option(1e-5, "absolute tolerance, in units of x", above=0.0)
    t_min: float = option(1e-3, "time at which sampling ends", least=0.0)
    denoise: bool = option(True, "return the predicted x0 at t_min, not the noisy state there")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReverseSDE(SamplerOptions):
    """The reverse SDE by an adaptive solver of order 1.5, two evaluations a step, in continuous time."""

    rtol: float = option(0.05, "relative tolerance", above=0.0)
    atol: float = option(0.05, "absolute tolerance, in units of the standard deviation of x_t", above=0.0)
    t_min: float = option(1e-3, "time at which sampling ends, where noise is left", least=0.0)
    denoise: bool = option(True, "return the predicted x0 at t_min, not the noisy state there")


ADAPTIVE = (ProbabilityFlow, ReverseSDE)
"""The methods that choose their times themselves."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReverseKernels(Options):
    """Draws from learned reverse kernels; the last step is the forward kernel (Sohl-Dickstein et al. 2015)."""

    SECTION: ClassVar[str] = "sampler"
    share: str = option(
        "constant",
        "power of the factor by which `edit` multiplies the kernels: 1 at all levels, or growing to 1",
        one_of=SHARES,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneByOne(Options):
    """Draws codes one after another, each from its law given those before it (unCLIP, section 2.2.1)."""

    SECTION: ClassVar[str] = "sampler"
    softmax_temperature: float = option(
        1.0, "by which logits are divided; below 1: likelier codes and less variety", above=0.0
    )
    top_p: float = option(
        1.0, "draw from the likeliest codes alone, as few as have this probability together", above=0.0, most=1.0
    )
    alignment_above: float = option(
        0.5, "tell the model that image and text go together better than in this share of images", least=0.0, below=1.0
    )


SAMPLERS: Mapping[str, type[Options]] = {
    "euler_maruyama": EulerMaruyama,
    "reverse_diffusion": ReverseDiffusion,
    "ancestral": Ancestral,
    "ddim": DDIM,
    "plms": PLMS,
    "heun": Heun,
    "euler": Euler,
    "dpm_solver_2m": DPMSolver2M,
    "dpm_solver_2s": DPMSolver2S,
    "dpm_solver_3m": DPMSolver3M,
    "sde_dpm_solver_2m": SDEDPMSolver2M,
    "unipc": UniPC,
    "deis": DEIS,
    "langevin": Langevin,
    "predictor_corrector": PredictorCorrector,
    "ode": ProbabilityFlow,
    "sde": ReverseSDE,
    "reverse_kernels": ReverseKernels,
    "codes": OneByOne,
}
