"""NCSN++ continuous on FFHQ at 1024 x 1024 under VE; 105.8 M parameters.

Song et al. 2021, figure 12. score_sde: configs/ve/ffhq_ncsnpp_continuous.py (called ffhq_1024 in its README). Not run
here yet.

    python -m score_jax train --config=configs/score_sde/ve/ffhq_ncsnpp_continuous.py \\
        --workdir=runs/ffhq_ncsnpp_continuous
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """NCSN++ of 8 levels with input and output skips."""
    config = shared.lsun("folder:ffhq_1024")
    shared.ncsnpp_1024(config)
    config.loss.reduction = "mean"  # as in the original, where CelebA-HQ's has half_sum
    return config
