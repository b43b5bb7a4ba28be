"""NCSN++ continuous, on CIFAR-10 under sub-VP; 62.7 M parameters.

score_sde: configs/subvp/cifar10_ncsnpp_continuous.py; no result is published for it. Not run here yet.

    python -m score_jax train --config=configs/score_sde/subvp/cifar10_ncsnpp_continuous.py \\
        --workdir=runs/cifar10_ncsnpp_continuous
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """NCSN++ with 4 blocks a level and positional embedding, under sub-VP."""
    config = shared.cifar10()
    shared.ncsnpp_vp(config, num_res_blocks=4)
    config.process.name = "sub_vp"
    return config
