"""LDM-8 on ImageNet at 256 x 256, class-conditional by a VQ first stage; 395.0 M parameters and 0.5 M of classes.

Rombach et al. 2022, table 10: FID 15.51 after 4.8 M steps with 200 steps of DDIM. Released as cin.zip. The learning
rate is the effective one: 1e-6 times the batch of 64 on one device. No class stands for none. Not run here yet.

    python -m score_jax train --config=configs/ldm/cin.py --workdir=runs/cin \\
        --config.training.first_stage=runs/vq_f8
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """Latents of VQ-f8; the class is the only token that the attention at 32, 16 and 8 sees."""
    config = shared.published(
        "imagenet2012", "vq-f8", channels=256, channel_mult=(1, 2, 4), attention_factors=(4, 2, 1)
    )
    shared.with_classes(config, num_classes=1000, width=512)
    config.loss.condition_dropout = 0.0
    shared.trained(config, batch_size=64, learning_rate=6.4e-5, steps=4_800_000)
    config.sampler.eta = 1.0
    return config
