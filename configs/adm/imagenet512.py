"""ADM on ImageNet 512 x 512.

Dhariwal and Nichol 2021, table 5: FID 23.24, 7.72 guided at scale 4 (250 steps); 559.0 M parameters. Released as
512x512_diffusion.pt. Not run here yet.

    python -m score_jax train --config=configs/adm/imagenet512.py --workdir=runs/imagenet512
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import shared


def get_config() -> ConfigDict:
    """Seven levels, the first with half the base channels."""
    config = shared.adm("imagenet2012", 512)
    config.network.update(channel_mult=(0.5, 1, 1, 2, 2, 4, 4), num_classes=1000)
    config.training.steps = 1_940_001
    return config
