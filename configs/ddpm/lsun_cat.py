"""DDPM on LSUN cat at 256 x 256.

Ho et al. 2020, table 3: FID 19.75; 113.7 M parameters. Not run here yet.

    python -m score_jax train --config=configs/ddpm/lsun_cat.py --workdir=runs/lsun_cat
"""

from ml_collections import ConfigDict

from score_jax.configs.ddpm import shared


def get_config() -> ConfigDict:
    """Six levels, the smaller variance."""
    config = shared.ddpm_256("lsun/cat")
    config.data.flip = False
    config.training.steps = 1_800_001
    return config
