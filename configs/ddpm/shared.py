"""What the configs of Ho et al. 2020 share (hojonathanho/diffusion, scripts/run_*.py)."""

from ml_collections import ConfigDict

from score_jax.configs import base


def ddpm() -> ConfigDict:
    """Noise prediction on 1000 levels of linear beta, with the UNet of 32 x 32; ancestral sampling."""
    config = base.get_config()
    base.replace_section(config, "process", name="vp_chain", schedule="linear", num_levels=1000)
    base.replace_section(
        config,
        "network",
        name="ddpm",
        channels=128,
        channel_mult=(1, 2, 2, 2),
        num_res_blocks=2,
        attention_resolutions=(16,),
        dropout=0.0,
        remat=(),
        dtype="float32",
    )
    config.prediction.update(output="eps", label="index")
    config.training.update(batch_size=128, steps=800_001)
    config.sampler.update(name="ancestral", variance="fixed_small", threshold="clip")
    config.evaluation.update(num_samples=50_000, batch_size=128)
    return config


def ddpm_256(name: str) -> ConfigDict:
    """The UNet of 256 x 256: six levels, batches of 64, a tenth of the learning rate."""
    config = ddpm()
    base.set_data(config, name)
    config.data.update(image_size=256, resize_filter="bicubic")
    config.network.channel_mult = (1, 1, 2, 2, 4, 4)
    config.optimizer.learning_rate = 2e-5
    config.training.batch_size = 64
    config.evaluation.batch_size = 32
    return config
