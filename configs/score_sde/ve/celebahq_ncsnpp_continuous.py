"""NCSN++ continuous on CelebA-HQ at 1024 x 1024 under VE; 105.8 M parameters.

Song et al. 2021, figure 12. score_sde: configs/ve/celebahq_ncsnpp_continuous.py. Not run here yet.

    python -m score_jax train --config=configs/score_sde/ve/celebahq_ncsnpp_continuous.py \\
        --workdir=runs/celebahq_ncsnpp_continuous
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """NCSN++ of 8 levels with input and output skips."""
    config = shared.lsun("folder:celebahq_1024")
    shared.ncsnpp_1024(config)
    return config
