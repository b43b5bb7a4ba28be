"""NCSN++ continuous on LSUN church at 256 x 256 under VE; 65.6 M parameters.

score_sde: configs/ve/church_ncsnpp_continuous.py, sampled with 2000 predictor and corrector steps. Not run here yet.

    python -m score_jax train --config=configs/score_sde/ve/church_ncsnpp_continuous.py \\
        --workdir=runs/church_ncsnpp_continuous
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """NCSN++ of 7 levels with input and output skips."""
    config = shared.lsun("lsun/church")
    shared.ncsnpp_256(config, sigma_max=380.0)
    return config
