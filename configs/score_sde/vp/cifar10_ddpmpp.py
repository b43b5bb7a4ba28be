"""DDPM++ on CIFAR-10 with DDPM's 1000 levels.

Song et al. 2021, table 3: FID 2.78, IS 9.64 (ancestral sampling); 61.8 M parameters. score_sde:
configs/vp/cifar10_ddpmpp.py. Not run here yet.

    python -m score_jax train --config=configs/score_sde/vp/cifar10_ddpmpp.py --workdir=runs/cifar10_ddpmpp
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """DDPM++ on the discrete VP chain."""
    config = shared.cifar10()
    shared.ddpmpp(config)
    shared.vp_chain(config)
    return config
