"""ADM on ImageNet 256 x 256 without labels.

Dhariwal and Nichol 2021, table 4: FID 26.21, 12.00 guided at scale 10 (250 steps); 552.8 M parameters. Released as
256x256_diffusion_uncond.pt. Not run here yet.

    python -m score_jax train --config=configs/adm/imagenet256_uncond.py --workdir=runs/imagenet256_uncond
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import shared


def get_config() -> ConfigDict:
    """Six levels, no classes."""
    config = shared.adm("imagenet2012", 256)
    config.training.steps = 1_980_001
    return config
