"""Improved DDPM on LSUN bedroom at 256 x 256, learning rate 2e-5; 113.7 M parameters.

Released as lsun_uncond_100M_2400K_bs64.pt; the ADM paper measured FID 4.24 for improved DDPM on this data. Not run here
yet.

    python -m score_jax train --config=configs/improved_diffusion/lsun_bedroom_low_rate.py \\
        --workdir=runs/lsun_bedroom_low_rate
"""

from ml_collections import ConfigDict

from score_jax.configs.improved_diffusion import lsun_bedroom


def get_config() -> ConfigDict:
    """A fifth of the learning rate, twice the steps."""
    config = lsun_bedroom.get_config()
    config.optimizer.learning_rate = 2e-5
    config.training.steps = 2_400_001
    return config
