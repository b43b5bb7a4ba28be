"""The `likelihood` section: the options of each method."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from score_jax.builder.options import Options, count, option, seed
from score_jax.errors import InputError
from score_jax.likelihood.divergence import DERIVATIVES, ESTIMATORS
from score_jax.prediction.reverse import VARIANCES
from score_jax.samplers.ode import CONTROLS, SOLVERS

DTYPES = ("float32", "mixed", "float64")
_ESTIMATED = {"divergence": tuple(name for name in ESTIMATORS if name != "exact")}
_ADAPTIVE = {"control": CONTROLS}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Likelihood(Options):
    """What all methods read."""

    SECTION: ClassVar[str] = "likelihood"
    num_examples: int = count(0, "of the eval split; 0: all", least=0)
    batch_size: int = count(64, "images at a time, over all devices")
    matmul_precision: str = option(
        "highest",
        "of matrix products; default: TPUs and TF32 round to bfloat16",
        one_of=("highest", "default"),
    )
    dtype: str = option("float32", "mixed: the network in float32, all around it in float64", one_of=DTYPES)
    seed: int = seed(0, "of dequantisation and probes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exact(Likelihood):
    """By the probability-flow ODE (Song et al. 2021, eq. 39)."""

    divergence: str = option("rademacher", "how the trace of the Jacobian is taken", one_of=ESTIMATORS)
    probes: int = count(
        1, "products with the Jacobian per evaluation; from 2 on their standard error is known", where=_ESTIMATED
    )
    fresh_probes: bool = option(
        False, "draw the probes anew at every time, instead of once for the path", where=_ESTIMATED
    )
    derivative: str = option("auto", "mode of those products; auto: the cheaper one", one_of=("auto", *DERIVATIVES))
    solver: str = option("dopri5", "of diffrax", one_of=SOLVERS)
    rtol: float = option(1e-5, "relative tolerance of the step sizes", where=_ADAPTIVE, above=0.0)
    atol: float = option(1e-5, "absolute tolerance of the step sizes, in units of x", where=_ADAPTIVE, above=0.0)
    control: str = option(
        "example",
        "step sizes: of each example, of the batch as score_sde has them, or a grid that no rounding moves",
        one_of=(*CONTROLS, "grid"),
    )
    num_steps: int = count(64, "of the grid, even in log-SNR", where={"control": ("grid",)})
    t_min: float = option(1e-5, "where the path starts; of a chain, in units of its levels", least=0.0)
    truncation: str = option(
        "none", "none: the density at t_min; bound: a lower bound on that at 0", one_of=("none", "bound")
    )
    dequantization: str = option(
        "uniform",
        "variational: noise of a small network that is fitted to the training split once, and tightens the bound",
        one_of=("uniform", "variational"),
    )
    dequantizer_steps: int = count(2000, "optimizer steps of that network", where={"dequantization": ("variational",)})
    importance_samples: int = count(1, "dequantisations per example")
    sensitivity_batches: int = count(
        1, "batches that are measured again at tolerances ten times smaller; 0: none", least=0
    )

    def __post_init__(self):
        super().__post_init__()
        if self.control == "grid" and self.solver == "kvaerno5":
            raise InputError("likelihood.control=grid with likelihood.solver=kvaerno5: choose an explicit solver.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByLevels(Likelihood):
    """What the variational bounds read."""

    num_levels: int = count(1000, "levels, even in log-SNR; a chain has its own", continuous=True)
    clip: bool = option(True, "hold x0 to the data's range, as published bounds are", predicted=True)
    variance: str = option(
        "auto",
        "of the reverse kernel; auto: as the model samples, or as it was trained",
        one_of=("auto", *VARIANCES),
        predicted=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class VLB(ByLevels):
    """The variational bound of a chain of levels (Ho et al. 2020, eq. 5)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound2015(ByLevels):
    """K of the same chain (Sohl-Dickstein et al. 2015, eq. 14), whose first step is not learned; of models that learn
    their reverse kernels, of their own chain."""


LIKELIHOODS: Mapping[str, type[Likelihood]] = {"ode": Exact, "vlb": VLB, "bound": Bound2015}
