"""LDM-4 on ImageNet at 256 x 256, class-conditional with guidance; 400.9 M parameters and 0.5 M of classes.

Rombach et al. 2022, table 3: FID 10.56, and 3.60 with guidance of 1.5, 250 steps of DDIM. Released as
cin/model.ckpt (v2), raw weights alone. The share of classes that was left out in training is not published; 0.1 is
ours. Class 1000 stands for none. Not run here yet.

    python -m score_jax train --config=configs/ldm/cin256_v2.py --workdir=runs/cin256_v2 \\
        --config.training.first_stage=runs/vq_f4
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """Latents of VQ-f4, one head at each level."""
    config = shared.published(
        "imagenet2012",
        "vq-f4",
        channels=192,
        channel_mult=(1, 2, 3, 5),
        attention_factors=(8, 4, 2),
        num_heads=1,
        num_head_channels=None,
    )
    shared.with_classes(config, num_classes=1001, width=512)
    shared.trained(config, batch_size=1200, learning_rate=1e-4, steps=178_000)
    config.sampler.num_steps = 250
    config.guidance.scale = 1.5
    return config
