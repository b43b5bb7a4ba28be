"""ADM on ImageNet 128 x 128.

Dhariwal and Nichol 2021, table 5: FID 5.91, 2.97 guided at scale 0.5 (250 steps); 421.5 M parameters. Released as
128x128_diffusion.pt. Not run here yet.

    python -m score_jax train --config=configs/adm/imagenet128.py --workdir=runs/imagenet128
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import shared


def get_config() -> ConfigDict:
    """Five levels, 4 heads at every resolution of attention."""
    config = shared.adm("imagenet2012", 128)
    config.network.update(channel_mult=(1, 1, 2, 3, 4), num_classes=1000, num_heads=4, num_head_channels=None)
    config.training.steps = 4_360_001
    return config
