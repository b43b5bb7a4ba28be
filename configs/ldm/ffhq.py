"""LDM-4 on FFHQ at 256 x 256, unconditional; 274.1 M parameters.

Rombach et al. 2022, table 1: FID 4.98 with 200 steps of DDIM, eta 1. Released as ffhq.zip. The learning rate is the
effective one: 2e-6 times the batch of 42 on one device. Not run here yet.

    python -m score_jax train --config=configs/ldm/ffhq.py --workdir=runs/ffhq \\
        --config.training.first_stage=runs/vq_f4
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """Latents of VQ-f4, attention at 32, 16 and 8."""
    config = shared.published(
        "folder:ffhq_256", "vq-f4", channels=224, channel_mult=(1, 2, 3, 4), attention_factors=(8, 4, 2)
    )
    shared.trained(config, batch_size=42, learning_rate=8.4e-5, steps=635_000)
    config.sampler.eta = 1.0
    return config
