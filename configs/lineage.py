"""Every system of the lineage under one budget, on digits that a package ships; `benchmarks/lineage.py` compares them.

    python -m score_jax train --config=configs/lineage.py:edm --workdir=runs/lineage/edm

Each keeps its paper's process, objective, prediction, kind of network and sampler. The data, the optimizer, the moving
average, the batches and their number are the same for all, and so is about the size of the networks, but for that of
2015, which is small.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.errors import unknown_name

_WIDTH = 32


def _start() -> ConfigDict:
    """1000 batches of 64 digits, their central 20 pixels at 8 x 8."""
    config = base.get_config()
    config.data.update(name="mnist_5k", image_size=8, channels=1, crop=20, resize_filter="box")
    config.optimizer.update(learning_rate=2e-3, warmup_steps=100, decay="cosine")
    config.ema.update(decay=0.995, warmup=True)
    config.training.update(batch_size=64, steps=1000, log_every=50, checkpoint_every=500, keep=1, sample_every=0)
    config.network.update(
        channels=_WIDTH, channel_mult=(1, 1), num_res_blocks=1, attention_resolutions=(4,), dropout=0.0
    )
    config.likelihood.update(batch_size=128, rtol=1e-4, atol=1e-4)
    config.sampling.update(num_samples=512, batch_size=256)
    config.evaluation.update(num_samples=512, batch_size=256)
    return config


def dpm2015() -> ConfigDict:
    """Sohl-Dickstein et al. 2015: reverse kernels of 1000 levels with a learned schedule, trained by the bound K."""
    config = _start()
    config.data.dequantize = True
    config.codec.value_range = (-0.767, 2.290)  # mean 0 and variance 1 over the pixels of these images
    base.replace_section(config, "process", name="learned_chain", num_levels=1000, beta_1=1e-4)
    base.replace_section(config, "network", name="multiscale", num_levels=1000)
    base.replace_section(config, "prediction", output="forward_mean")
    config.loss.name, config.sampler.name, config.likelihood.name = "bound", "reverse_kernels", "bound"
    return config


def _levels_of_score(config: ConfigDict, sigma_max: float, num_levels: int) -> None:
    """Denoising score matching at noise levels, images in [0, 1]."""
    config.data.dequantize = True
    config.codec.value_range = (0.0, 1.0)
    levels = {"sigma_min": 0.01, "sigma_max": sigma_max, "num_levels": num_levels}
    base.replace_section(config, "process", name="ve_chain", **levels)
    config.prediction.update(output="score", label="descending_index")
    config.loss.reduction = "half_sum"
    config.sampler.update(name="langevin", initial="uniform")


def ncsn() -> ConfigDict:
    """Song and Ermon 2019: ten levels from 1 to 0.01, 100 Langevin steps at each."""
    config = _start()
    _levels_of_score(config, sigma_max=1.0, num_levels=10)
    base.replace_section(config, "network", name="ncsn", channels=16, num_levels=10, dtype="float32")
    config.sampler.update(step_lr=2e-5, steps_per_level=100, denoise=False)
    return config


def ncsnv2() -> ConfigDict:
    """Song and Ermon 2020: levels and step by its techniques (`processes.techniques`), of these images."""
    config = _start()
    _levels_of_score(config, sigma_max=5.71, num_levels=22)
    base.replace_section(config, "network", name="ncsnv2", channels=16, variant="plain", dtype="float32")
    config.sampler.update(step_lr=2.38e-5, steps_per_level=5)
    return config


def ddpm() -> ConfigDict:
    """Ho et al. 2020: eps at 1000 levels of linear beta, the ancestral sampler on 250 of them."""
    config = _start()
    base.replace_section(config, "process", name="vp_chain", schedule="linear", num_levels=1000)
    # Its norms have 32 groups: a width of 32 would take the embedding of time out again.
    base.replace_section(
        config,
        "network",
        name="ddpm",
        channels=2 * _WIDTH,
        channel_mult=(1, 1),
        num_res_blocks=1,
        attention_resolutions=(4,),
        dropout=0.0,
        dtype="float32",
    )
    config.prediction.update(output="eps", label="index")
    config.sampler.update(name="ancestral", variance="fixed_large", threshold="clip", respacing="250")
    return config


def _adm(config: ConfigDict, *, name: str = "adm", **network: object) -> None:
    base.replace_section(
        config,
        "network",
        name=name,
        channels=_WIDTH,
        channel_mult=(1, 1),
        num_res_blocks=1,
        attention_resolutions=(4,),
        dropout=0.0,
        num_head_channels=32,
        dtype="float32",
        **network,
    )


def improved_ddpm() -> ConfigDict:
    """Nichol and Dhariwal 2021: cosine schedule, learned variances, L_hybrid; 250 of 1000 levels."""
    config = _start()
    base.replace_section(config, "process", name="vp_chain", schedule="cosine", num_levels=1000)
    _adm(config, learn_sigma=True, scale_shift_norm=True)
    config.prediction.update(output="eps", label="index_of_1000")
    config.loss.update(name="hybrid", variance="learned_range")
    config.sampler.update(name="ancestral", variance="learned_range", threshold="clip", respacing="250")
    return config


def ve() -> ConfigDict:
    """Song et al. 2021: the score of sigma by NCSN++, reverse diffusion with a Langevin corrector."""
    config = _start()
    config.data.dequantize = True
    config.codec.value_range = (0.0, 1.0)
    base.replace_section(config, "process", name="ve", sigma_min=0.01, sigma_max=5.71)
    config.network.update(embedding="fourier", fir=True, progressive_input="residual", scale_by_sigma=True)
    config.prediction.update(output="score", label="sigma")
    config.loss.reduction = "half_sum"
    config.sampler.update(name="predictor_corrector", num_steps=250, snr=0.16, t_min=1e-5)
    return config


def vp() -> ConfigDict:
    """Song et al. 2021: eps by DDPM++, Euler-Maruyama in 250 steps."""
    config = _start()
    config.data.dequantize = True
    config.sampler.num_steps = 250
    return config


def sub_vp() -> ConfigDict:
    """Song et al. 2021: the process with the best likelihoods."""
    config = vp()
    base.replace_section(config, "process", name="sub_vp", beta_min=0.1, beta_max=20.0)
    return config


def adm() -> ConfigDict:
    """Dhariwal and Nichol 2021: classes known to the network, one time in ten not (Ho and Salimans 2022)."""
    config = improved_ddpm()
    _adm(config, learn_sigma=True, scale_shift_norm=True, resblock_updown=True, num_classes=11)
    config.loss.update(vb_scale=1.0, condition_dropout=0.1)
    return config


def classifier() -> ConfigDict:
    """The classifier of noisy images that guides `adm`."""
    config = adm()
    _adm(config, name="adm_classifier", num_classes=10, pool="attention")
    config.loss.name = "classifier"
    return config


def edm() -> ConfigDict:
    """Karras et al. 2022: preconditioning, log-normal noise levels, 18 steps of Heun."""
    config = _start()
    config.data.dequantize = True
    base.replace_section(config, "process", name="edm", sigma_min=0.002, sigma_max=80.0, rho=7.0)
    base.replace_section(
        config,
        "network",
        name="edm_song",
        channels=_WIDTH,
        channel_mult=(1, 1),
        num_res_blocks=1,
        attention_resolutions=(4,),
        dropout=0.0,
        dtype="float32",
    )
    base.replace_section(config, "prediction", preconditioning="edm", sigma_data=0.5)
    config.loss.update(weighting="edm", time_sampling="log_normal")
    config.sampler.update(name="heun", num_steps=18, t_min=0.0)
    return config


def flow() -> ConfigDict:
    """Liu et al. 2022: rectified flow, its velocity at uniform times, Euler's steps (which are DDIM's)."""
    config = _start()
    config.data.dequantize = True
    base.replace_section(config, "process", name="flow")
    config.prediction.update(output="velocity", label="999t")
    config.loss.update(weighting="velocity", time_sampling="uniform")
    config.sampler.update(name="ddim", num_steps=50, t_min=1e-3)
    return config


SYSTEMS: dict[str, Callable[[], ConfigDict]] = {
    make.__name__: make
    for make in (dpm2015, ncsn, ncsnv2, ddpm, improved_ddpm, ve, vp, sub_vp, adm, classifier, edm, flow)
}


def get_config(system: str = "ddpm") -> ConfigDict:
    """The system of this name; a key of `SYSTEMS`."""
    if system not in SYSTEMS:
        raise unknown_name("system of the lineage", system, SYSTEMS)
    return SYSTEMS[system]()
