"""What the configs of Karras et al. 2022 share (NVlabs/edm, README and train.py).

Those of images of 32 and 64 pixels are augmented (`data.augment`); flips are part of it.
"""

from ml_collections import ConfigDict

from score_jax.configs import base


def edm() -> ConfigDict:
    """EDM's preconditioning on images in [-1, 1], Adam without clipping."""
    config = base.get_config()
    base.replace_section(config, "process", name="edm", sigma_min=0.002, sigma_max=80.0, rho=7.0)
    base.replace_section(config, "prediction", preconditioning="edm", sigma_data=0.5)
    config.optimizer.update(clip_norm=0.0)
    config.loss.update(weighting="edm", time_sampling="log_normal")
    config.sampler.update(name="heun", num_steps=18, t_min=0.0)
    config.evaluation.update(num_samples=50_000, batch_size=32)
    return config


def cifar10() -> ConfigDict:
    """200 M images in batches of 512, learning rate 1e-3 after a ramp of 10 M images."""
    config = edm()
    config.data.augment = 0.12
    config.network.update(channel_mult=(2, 2, 2), dropout=0.13)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=19_531)
    config.training.update(batch_size=512, steps=390_625)
    return config


def faces(name: str) -> ConfigDict:
    """Images of 64 x 64: 200 M images in batches of 256, learning rate 2e-4."""
    config = edm()
    base.set_data(config, name)
    config.data.update(image_size=64, resize_filter="bicubic", augment=0.15)
    config.network.update(channel_mult=(1, 2, 2, 2), dropout=0.05)
    config.sampler.num_steps = 40
    config.optimizer.update(learning_rate=2e-4, warmup_steps=39_063)
    config.training.update(batch_size=256, steps=781_250)
    return config


def ddpmpp(config: ConfigDict, **network: object) -> None:
    """DDPM++ as EDM has it ("VP" in the file names, though its preconditioning is EDM's)."""
    base.replace_section(
        config,
        "network",
        name="edm_song",
        channels=128,
        channel_mult=config.network.channel_mult,
        num_res_blocks=4,
        attention_resolutions=(16,),
        dropout=config.network.dropout,
        num_classes=0,
        augment_dim=9,
        dtype="float32",
        **network,
    )


def ncsnpp(config: ConfigDict) -> None:
    """NCSN++ as EDM has it ("VE" in the file names)."""
    ddpmpp(
        config,
        embedding="fourier",
        encoder="residual",
        resample_filter=(1.0, 3.0, 3.0, 1.0),
        channel_mult_noise=2,
    )
