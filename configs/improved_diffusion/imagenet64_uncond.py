"""Improved DDPM on ImageNet 64 x 64, unconditional.

Nichol and Dhariwal 2021, table 2: NLL 3.57 bits/dim, FID 19.2 after 1.5 M steps; 121.1 M parameters. Released as
imagenet64_uncond_100M_1500K.pt. Not run here yet.

    python -m score_jax train --config=configs/improved_diffusion/imagenet64_uncond.py --workdir=runs/imagenet64_uncond
"""

from ml_collections import ConfigDict

from score_jax.configs.improved_diffusion import shared


def get_config() -> ConfigDict:
    """4000 levels of the cosine schedule, learned variance."""
    config = shared.improved("imagenet2012", 64)
    config.training.update(batch_size=128, steps=1_500_001)
    return config
