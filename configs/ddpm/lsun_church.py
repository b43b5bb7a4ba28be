"""DDPM on LSUN church at 256 x 256.

Ho et al. 2020, table 3: FID 7.89; 113.7 M parameters. Not run here yet.

    python -m score_jax train --config=configs/ddpm/lsun_church.py --workdir=runs/lsun_church
"""

from ml_collections import ConfigDict

from score_jax.configs.ddpm import shared


def get_config() -> ConfigDict:
    """Six levels, the smaller variance."""
    config = shared.ddpm_256("lsun/church")
    config.data.flip = True
    config.training.steps = 1_200_001
    return config
