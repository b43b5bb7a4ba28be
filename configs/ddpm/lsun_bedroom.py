"""DDPM on LSUN bedroom at 256 x 256.

Ho et al. 2020, table 3: FID 6.36 (this model), 4.90 (a larger one); 113.7 M parameters. Not run here yet.

    python -m score_jax train --config=configs/ddpm/lsun_bedroom.py --workdir=runs/lsun_bedroom
"""

from ml_collections import ConfigDict

from score_jax.configs.ddpm import shared


def get_config() -> ConfigDict:
    """Six levels, the smaller variance."""
    config = shared.ddpm_256("lsun/bedroom")
    config.data.flip = True
    config.training.steps = 2_400_001
    return config
