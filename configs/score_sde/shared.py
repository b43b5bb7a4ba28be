"""What the configs of Song et al. 2021 share (score_sde, configs/default_*_configs.py), and their networks."""

from ml_collections import ConfigDict

from score_jax.configs import base


def cifar10() -> ConfigDict:
    """CIFAR-10: 1.3 M steps of 128 images, Adam 2e-4 with warmup and clipping."""
    config = base.get_config()
    config.data.flip = True
    config.likelihood.batch_size = 1024
    config.evaluation.update(num_samples=50_000, batch_size=128)
    return config


def celeba() -> ConfigDict:
    """CelebA: the central 140 pixels at 64 x 64, otherwise as CIFAR-10."""
    config = cifar10()
    config.data.update(name="celeb_a", image_size=64, crop=140, resize_filter="bilinear")
    return config


def lsun(name: str) -> ConfigDict:
    """Images of 256 x 256: 2.4 M steps of 64 images."""
    config = cifar10()
    base.set_data(config, name)
    config.data.update(image_size=256, resize_filter="bicubic")
    config.training.update(batch_size=64, steps=2_400_001)
    config.evaluation.batch_size = 64
    config.likelihood.batch_size = 512
    return config


def ddpmpp(config: ConfigDict, num_res_blocks: int = 4) -> None:
    """DDPM++: the base's network."""
    config.network.num_res_blocks = num_res_blocks


def ncsnpp_vp(config: ConfigDict, num_res_blocks: int = 4) -> None:
    """NCSN++ as VP and sub-VP have it: FIR and the input pyramid, but positional embedding and noise prediction."""
    config.network.update(num_res_blocks=num_res_blocks, fir=True, progressive_input="residual")


def ncsnpp_ve(config: ConfigDict, sigma_max: float, num_res_blocks: int = 4) -> None:
    """NCSN++ continuous under VE: images in [0, 1], the score of sigma, samples with a Langevin corrector."""
    base.replace_section(config, "process", name="ve", sigma_min=0.01, sigma_max=sigma_max)
    config.network.update(
        num_res_blocks=num_res_blocks,
        embedding="fourier",
        fir=True,
        progressive_input="residual",
        scale_by_sigma=True,
    )
    config.prediction.update(output="score", label="sigma")
    _ve_training(config)
    config.sampler.t_min = 1e-5


def _ve_training(config: ConfigDict) -> None:
    config.codec.value_range = (0.0, 1.0)
    config.loss.reduction = "half_sum"
    config.ema.decay = 0.999
    config.sampler.update(name="predictor_corrector", snr=0.16, corrector_steps=1)


def ncsnpp_256(config: ConfigDict, sigma_max: float) -> None:
    """NCSN++ for 256 x 256: growing pyramids of input and output, no dropout, snr 0.075, 2000 steps."""
    ncsnpp_ve(config, sigma_max, num_res_blocks=2)
    config.network.update(
        channel_mult=(1, 1, 2, 2, 2, 2, 2),
        dropout=0.0,
        progressive="output_skip",
        progressive_input="input_skip",
    )
    config.sampler.update(snr=0.075, num_steps=2000)


def ncsnpp_1024(config: ConfigDict) -> None:
    """NCSN++ for 1024 x 1024: 8 levels from 16 channels, batches of 8, snr 0.15."""
    ncsnpp_256(config, sigma_max=1348.0)
    config.network.update(channels=16, channel_mult=(1, 2, 4, 8, 16, 32, 32, 32), num_res_blocks=1)
    config.data.image_size = 1024
    config.training.batch_size = 8
    config.likelihood.batch_size = 8
    config.evaluation.batch_size = 1
    config.ema.decay = 0.9999
    config.sampler.snr = 0.15


def ddpm(config: ConfigDict, **network: object) -> None:
    """score_sde's DDPM UNet: attention on the way up only after the last block of a level."""
    values = {
        "channels": 128,
        "channel_mult": (1, 2, 2, 2),
        "num_res_blocks": 2,
        "attention_resolutions": (16,),
        "dropout": 0.1,
        "attend_every_up_block": False,
        "linear_scale": 0.1,
        "conditional": True,
        "remat": (),
        "dtype": "float32",
    }
    base.replace_section(config, "network", name="ddpm", **(values | network))


def vp_chain(config: ConfigDict) -> None:
    """DDPM's 1000 levels in place of VP: the network is told indices, and samples are ancestral."""
    base.replace_section(config, "process", name="vp_chain", schedule="linear", num_levels=1000)
    config.prediction.update(output="eps", label="index")
    config.sampler.update(name="ancestral", variance="fixed_large")


def ve_chain(config: ConfigDict, sigma_max: float) -> None:
    """1000 levels of VE: the network is told indices from the most noise on, and learns the score."""
    base.replace_section(config, "process", name="ve_chain", sigma_min=0.01, sigma_max=sigma_max, num_levels=1000)
    config.prediction.update(output="score", label="descending_index")
    _ve_training(config)


def ncsnpp_ve_chain(config: ConfigDict, sigma_max: float) -> None:
    """NCSN++ on the levels of VE: positional embedding of the index."""
    config.network.update(fir=True, progressive_input="residual", scale_by_sigma=True)
    ve_chain(config, sigma_max)
