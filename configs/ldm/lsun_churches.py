"""LDM-8 on LSUN churches at 256 x 256, unconditional; 295.0 M parameters.

Rombach et al. 2022, table 1: FID 4.02 with 400 steps of DDIM. Released as lsun_churches.zip. The learning rate is not
multiplied by anything there; the scale of the latents is measured on the first batch, and in the released file.
Not run here yet.

    python -m score_jax train --config=configs/ldm/lsun_churches.py --workdir=runs/lsun_churches \\
        --config.training.first_stage=runs/kl_f8
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """Latents of KL-f8, the absolute error, 8 heads at all levels but the lowest."""
    config = shared.published(
        "lsun/church",
        "kl-f8",
        channels=192,
        channel_mult=(1, 2, 2, 4, 4),
        attention_factors=(1, 2, 4, 8),
        linear_end=0.0155,
        scale=0.0,
        num_head_channels=None,
        scale_shift_norm=True,
        resblock_updown=True,
    )
    shared.trained(config, batch_size=96, learning_rate=5e-5, steps=500_000)
    config.optimizer.warmup_steps = 10_000
    config.loss.error = "l1"
    config.sampler.num_steps = 400
    return config
