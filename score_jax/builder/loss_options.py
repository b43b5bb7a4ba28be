"""The `loss` section: the options of each objective."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from score_jax.builder.first_stage_options import FirstStageOptions
from score_jax.builder.options import Options, count, option
from score_jax.losses.score_matching import ERRORS
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
class LossOptions(Options):
    """Keys of the objectives that draw times for a batch: all but the exact likelihood."""

    SECTION: ClassVar[str] = "loss"
    time_sampling: str = option(
        "uniform",
        "how the times of a batch are drawn; for chains uniform, antithetic or loss_second_moment, in continuous time "
        "the others",
        one_of=TIME_SAMPLINGS,
    )
    level_mean: float = option(-1.2, "mean of log(sigma / alpha)", where=_LOG_NORMAL)
    level_std: float = option(1.2, "standard deviation of log(sigma / alpha)", where=_LOG_NORMAL, above=0.0)
    t_min: float = option(1e-5, "smallest time that is drawn", where=_FROM_T_MIN, continuous=True, least=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generative(LossOptions):
    """What the objectives of generative models read."""

    condition_dropout: float = option(
        0.0,
        "share of conditions that are replaced by their null value (for labels, the network's last class), for "
        "classifier-free guidance",
        least=0.0,
        below=1.0,
    )
    caption_dropout: float = option(
        -1.0,
        "that share of captions, where it is another (unCLIP's decoder: 0.5); -1: as condition_dropout",
        least=-1.0,
        below=1.0,
    )
    crop: int = count(
        0,
        "height and width of the squares of images, at random places, that a network of convolutions alone is trained "
        "on (unCLIP's upsamplers: a quarter of the size); 0: whole images",
        least=0,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Denoising(Generative):
    """The weighted squared error of the prediction (Song et al. 2021, eq. 7; Ho et al. 2020, eq. 14)."""

    weighting: str = option(
        "eps",
        "weight of the error at each noise level: that of the error of eps, x0, v or velocity, or a published rule",
        one_of=WEIGHTINGS,
    )
    error: str = option("l2", "l2: the squared error; l1: its square root, the absolute error", one_of=ERRORS)
    reduction: str = option("mean", "over dimensions: the mean, or half of the sum", one_of=REDUCTIONS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByLevel(Denoising):
    """Denoising with a log variance of each level and the bound's weights (Rombach et al. 2022), on chains."""

    simple_weight: float = option(1.0, "factor of the error over its variance, plus the log variance", least=0.0)
    elbo_weight: float = option(
        0.0, "factor of the error by its weight in the bound, which weighting=eps, x0 and v have", least=0.0
    )
    log_variance: float = option(0.0, "log variance of the error at each level, or what it is at first")
    learn_log_variance: bool = option(False, "learn the log variance of each level")
    posterior_share: float = option(
        0.0,
        "share of the larger fixed variance in that of the reverse kernel, for the bound's weights (v_posterior)",
        least=0.0,
        most=1.0,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sliced(Generative):
    """Sliced score matching at every noise level (Song et al. 2019)."""

    reduction: str = option("mean", "over dimensions: the mean, or half of the sum", one_of=REDUCTIONS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hybrid(Generative):
    """L_hybrid on chains: L_simple, plus the bound L_vlb for the variances (Nichol and Dhariwal 2021, eq. 16)."""

    variance: str = option("learned_range", "variance of the reverse kernel", one_of=VARIANCES)
    vb_scale: float = option(0.0, "factor of L_vlb; 0: the number of levels / 1000", least=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariationalBound(Generative):
    """The variational bound (Ho et al. 2020, eq. 5; Nichol and Dhariwal 2021, L_vlb), on chains."""

    variance: str = option("learned_range", "variance of the reverse kernel", one_of=VARIANCES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExactLikelihood(Options):
    """The exact likelihood: gradients are taken through the probability-flow ODE (Song et al. 2021, eq. 39)."""

    SECTION: ClassVar[str] = "loss"
    ode_steps: int = count(16, "steps of the solver dopri5, evenly spaced in log-SNR")
    t_min: float = option(1e-5, "time at which the path starts", least=0.0)
    condition_dropout: float = option(
        0.0, "share of conditions that are replaced by their null value", least=0.0, below=1.0
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierOptions(LossOptions):
    """The cross entropy of a classifier of noisy images (Dhariwal and Nichol 2021, section 4)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bound(Options):
    """Minus the bound K in bits/dim, for learned reverse kernels (Sohl-Dickstein et al. 2015, eq. 14)."""

    SECTION: ClassVar[str] = "loss"
    levels: int = count(1, "number of random levels at which a step trains each example; 0: all levels", least=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContrastiveOptions(Options):
    """The contrastive loss of a CLIP: which image and which text of a batch are a pair (Radford et al. 2021)."""

    SECTION: ClassVar[str] = "loss"
    shift: int = count(
        0, "largest shift of the images in training, pixels to each side, at random; their edges are repeated", least=0
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossEntropy(Options):
    """Minus the log-probability of codes, each from those before it, in nats per code (unCLIP, section 2.2.1)."""

    SECTION: ClassVar[str] = "loss"
    condition_dropout: float = option(
        0.0, "share of texts that are left out, for classifier-free guidance", least=0.0, below=1.0
    )


LOSSES: Mapping[str, type[Options]] = {
    "denoising": Denoising,
    "by_level": ByLevel,
    "sliced": Sliced,
    "hybrid": Hybrid,
    "vlb": VariationalBound,
    "likelihood": ExactLikelihood,
    "classifier": ClassifierOptions,
    "bound": Bound,
    "first_stage": FirstStageOptions,
    "contrastive": ContrastiveOptions,
    "codes": CrossEntropy,
}
