"""The `loss` section: the options of each objective."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from score_jax.builder.options import Options, count, option
from score_jax.losses.weighting import WEIGHTINGS
from score_jax.prediction.reverse import VARIANCES

TIME_SAMPLINGS = (
    *("uniform", "stratified", "stratified_mixture", "log_normal", "logit_normal"),
    *("antithetic", "loss_second_moment"),
)
REDUCTIONS = ("mean", "half_sum")
_LOG_NORMAL = {"time_sampling": ("log_normal",)}
_FROM_T_MIN = {"time_sampling": ("uniform", "stratified", "stratified_mixture")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(Options):
    """What all objectives but the exact likelihood read: at which times a batch is trained."""

    SECTION: ClassVar[str] = "loss"
    time_sampling: str = option(
        "uniform",
        "times of a batch; on chains uniform, antithetic or loss_second_moment, in continuous time the others",
        one_of=TIME_SAMPLINGS,
    )
    level_mean: float = option(-1.2, "mean of log(sigma / alpha)", where=_LOG_NORMAL)
    level_std: float = option(1.2, "standard deviation of log(sigma / alpha)", where=_LOG_NORMAL, above=0.0)
    t_min: float = option(1e-5, "smallest time", where=_FROM_T_MIN, continuous=True, least=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generative(Loss):
    """What the objectives of generative models read."""

    condition_dropout: float = option(
        0.0,
        "share of conditions replaced by their null value (of labels, the network's last class), for classifier-free "
        "guidance",
        least=0.0,
        below=1.0,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Denoising(Generative):
    """The weighted squared error of the prediction (Song et al. 2021, eq. 7; Ho et al. 2020, eq. 14)."""

    weighting: str = option("eps", "weight of the error over noise levels", one_of=WEIGHTINGS)
    reduction: str = option("mean", "over dimensions: their mean, or half of their sum", one_of=REDUCTIONS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sliced(Generative):
    """Sliced score matching at every noise level (Song et al. 2019)."""

    reduction: str = option("mean", "over dimensions: their mean, or half of their sum", one_of=REDUCTIONS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hybrid(Generative):
    """L_simple plus the variational bound's term of the variances (Nichol and Dhariwal 2021, eq. 16), on chains."""

    variance: str = option("learned_range", "variance of the reverse kernel", one_of=VARIANCES)
    vb_scale: float = option(0.0, "factor of the bound's term; 0: levels / 1000", least=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariationalBound(Generative):
    """The variational bound (Ho et al. 2020, eq. 5; Nichol and Dhariwal 2021, L_vlb), on chains."""

    variance: str = option("learned_range", "variance of the reverse kernel", one_of=VARIANCES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExactLikelihood(Options):
    """The likelihood by the probability-flow ODE, differentiated through (Song et al. 2021, eq. 39)."""

    SECTION: ClassVar[str] = "loss"
    ode_steps: int = count(16, "steps of dopri5, even in log-SNR")
    t_min: float = option(1e-5, "where the path starts", least=0.0)
    condition_dropout: float = option(0.0, "share of conditions replaced by their null value", least=0.0, below=1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classifier(Loss):
    """The cross entropy of a classifier of noisy images (Dhariwal and Nichol 2021, section 4)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound(Options):
    """Minus the bound K in bits/dim (Sohl-Dickstein et al. 2015, eq. 14), of learned reverse kernels."""

    SECTION: ClassVar[str] = "loss"
    levels: int = count(1, "levels at which a step trains each example, drawn anew; 0: every level", least=0)


LOSSES: Mapping[str, type[Options]] = {
    "denoising": Denoising,
    "sliced": Sliced,
    "hybrid": Hybrid,
    "vlb": VariationalBound,
    "likelihood": ExactLikelihood,
    "classifier": Classifier,
    "bound": Bound,
}
