"""LDM-4 on ImageNet, 64 x 64 pixels to 256 x 256; 113.6 M parameters.

CompVis/latent-diffusion, sr_bsr.zip; the paper's own model (Rombach et al. 2022, table 5: FID 2.8 with 100 steps) has
169 M and bicubic small images. Channels 4 to 6 of the input are the small image in [-1, 1], which is as large as the
latent. It is made at random (`score_jax.data.degradations`); the original also crops half to all of a picture. The
learning rate is the effective one: 1e-6 times the batch of 64. Not run here yet.

    python -m score_jax train --config=configs/ldm/bsr_sr.py --workdir=runs/bsr_sr \\
        --config.training.first_stage=runs/vq_f4
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """Latents of VQ-f4 beside the small image, attention at 8."""
    config = shared.published(
        "imagenet2012",
        "vq-f4",
        channels=160,
        channel_mult=(1, 2, 2, 4),
        attention_factors=(16, 8),
        linear_end=0.0155,
        concat_channels=3,
    )
    config.data.update(low_resolution=64, degradation="bsrgan_light")
    shared.trained(config, batch_size=64, learning_rate=6.4e-5, steps=860_000)
    config.sampler.update(num_steps=100, eta=1.0)
    return config
