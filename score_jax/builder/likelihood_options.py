"""The `likelihood` section: the options of each method."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from score_jax.builder.options import Options, count, option, seed
from score_jax.errors import InputError
from score_jax.likelihood.divergence import DERIVATIVES, ESTIMATORS
from score_jax.likelihood.latent_bound import DISTRIBUTIONS, POSTERIORS
from score_jax.prediction.reverse import VARIANCES
from score_jax.samplers.ode import ADAMS, CONTROLS, SOLVERS

DTYPES = ("float32", "mixed", "float64")
_ESTIMATED = {"divergence": tuple(name for name in ESTIMATORS if name != "exact")}
_AUTO, _GRID = "auto", "grid"
_ADAPTIVE, _ON_GRID = {"control": CONTROLS}, {"control": (_GRID,)}
VARIABLES = ("time", "log_snr")
TRUNCATED_NORMAL = "truncated_normal"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LikelihoodOptions(Options):
    """What all methods read."""

    SECTION: ClassVar[str] = "likelihood"
    num_examples: int = count(0, "number of examples of the eval split; 0: all", least=0)
    batch_size: int = count(64, "images that are measured at the same time, over all devices together")
    matmul_precision: str = option(
        "highest",
        "precision of matrix products; default: TPUs round to bfloat16, GPUs to TF32",
        one_of=("highest", "default"),
    )
    dtype: str = option(
        "float32", "precision; mixed: the network in float32, everything else in float64", one_of=DTYPES
    )
    seed: int = seed(0, "random seed of dequantisation, draws of latents, and probes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exact(LikelihoodOptions):
    """What the exact density of x0 reads, by the probability-flow ODE (Song et al. 2021, eq. 39)."""

    divergence: str = option(
        "rademacher",
        "how the divergence (the trace of the Jacobian) is computed: an estimator, or exactly",
        one_of=ESTIMATORS,
    )
    probes: int = count(
        1, "products with the Jacobian per evaluation; 2 or more give a standard error", where=_ESTIMATED
    )
    fresh_probes: bool = option(
        False, "draw new probes at every time, instead of once for the whole path", where=_ESTIMATED
    )
    derivative: str = option(
        "auto",
        "mode of differentiation of the products with the Jacobian; auto: the cheaper mode",
        one_of=("auto", *DERIVATIVES),
    )
    solver: str = option(
        "dopri5",
        "ODE solver of diffrax, or adams (order 4, one evaluation a step, on a grid)",
        one_of=(*SOLVERS, ADAMS),
    )
    rtol: float = option(1e-5, "relative tolerance of the step sizes", where=_ADAPTIVE, above=0.0)
    atol: float = option(1e-5, "absolute tolerance of the step sizes, in units of x", where=_ADAPTIVE, above=0.0)
    control: str = option(
        "example",
        "who sets the step sizes: each example, the batch (as in score_sde), or a fixed grid of num_steps",
        one_of=(*CONTROLS, _GRID),
    )
    num_steps: int = count(64, "number of steps of the grid, evenly spaced in log-SNR", where=_ON_GRID)
    variable: str = option(
        _AUTO,
        "what the ODE is solved in: time (and x, as in score_sde), or log_snr (and x of unit spread); "
        "auto: log_snr on a grid, else time",
        one_of=(_AUTO, *VARIABLES),
    )
    t_min: float = option(1e-5, "time at which the path starts; for a chain, in units of its levels", least=0.0)
    truncation: str = option(
        "none", "none: the density at t_min; bound: a lower bound on the density at time 0", one_of=("none", "bound")
    )
    importance_samples: int = count(1, "number of draws of noise, or of latents, for each example")
    sensitivity_batches: int = count(
        1, "number of batches that are measured again at tolerances ten times smaller; 0: none", least=0
    )

    def __post_init__(self):
        super().__post_init__()
        if self.on_grid and self.solver == "kvaerno5":
            raise InputError("likelihood.control=grid with likelihood.solver=kvaerno5: choose an explicit solver.")
        if self.on_grid and self.variable == "time":
            raise InputError(
                "likelihood.variable=time with likelihood.control=grid, which is even in log-SNR: leave one out."
            )
        if not self.on_grid and self.solver == ADAMS:
            raise InputError("likelihood.solver=adams takes steps of one length: give likelihood.control=grid.")

    @property
    def on_grid(self) -> bool:
        """Whether the steps are those of a grid."""
        return self.control == _GRID

    @property
    def chosen_variable(self) -> str:
        """`variable`, decided."""
        return self.variable if self.variable != _AUTO else "log_snr" if self.on_grid else "time"


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfData(Exact):
    """The exact likelihood, by the probability-flow ODE (Song et al. 2021, eq. 39).

    Of a model of latents it is the density of latents, not of images.
    """

    dequantization: str = option(
        "uniform",
        "variational: the noise is drawn by a small network, fitted once on the train split; the bound is tighter; "
        "truncated_normal: the model's own noise at the start of the path, cut at half a level (i-DODE)",
        one_of=("uniform", "variational", TRUNCATED_NORMAL),
    )
    dequantizer_steps: int = count(
        2000, "optimizer steps of the network of variational dequantisation", where={"dequantization": ("variational",)}
    )

    def __post_init__(self):
        super().__post_init__()
        if self.dequantization == TRUNCATED_NORMAL and self.truncation == "bound":
            raise InputError(
                "likelihood.truncation=bound with likelihood.dequantization=truncated_normal, which is a bound on the "
                "probability of levels already: leave likelihood.truncation out."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfImages(Exact):
    """A bound on the probability of images under a model of the latents of an autoencoder_kl.

    log p(x) >= E[log p(x | z) + log p(z) - log q(z | x)], tighter with importance_samples (Burda et al. 2016).
    """

    decoder: str = option(
        "logistic",
        "what each 8-bit level has its probability from, around what the decoder makes of z",
        one_of=DISTRIBUTIONS,
    )
    scale_groups: int = count(
        4, "groups of pixels, by how much the decoder's image changes around them, that have a scale of their own"
    )
    posterior: str = option(
        "widened",
        "standard deviation of q(z | x): the encoder's, the encoder's times a fitted factor, or one fitted constant",
        one_of=POSTERIORS,
    )
    calibration_images: int = count(128, "images of the train split to which scales and widths are fitted")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByLevels(LikelihoodOptions):
    """What the variational bounds read."""

    num_levels: int = count(
        1000, "number of levels, evenly spaced in log-SNR; a chain has its own levels", continuous=True
    )
    clip: bool = option(True, "clip the predicted x0 to the data's range, as in published bounds", predicted=True)
    variance: str = option(
        "auto",
        "variance of the reverse kernel; auto: that of the sampler, or of the training loss",
        one_of=("auto", *VARIANCES),
        predicted=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class VLB(ByLevels):
    """The variational bound of a chain of levels (Ho et al. 2020, eq. 5)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound2015(ByLevels):
    """The bound K (Sohl-Dickstein et al. 2015, eq. 14), in which the first step of the chain is not learned.

    It is of the same chain as the variational bound; models that learn their reverse kernels have their own chain.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfCodes(LikelihoodOptions):
    """The exact log-probability of the codes of embeddings, which a model of codes says."""


LIKELIHOODS: Mapping[str, type[LikelihoodOptions]] = {
    "ode": OfData,
    "vlb": VLB,
    "bound": Bound2015,
    "images": OfImages,
    "codes": OfCodes,
}
