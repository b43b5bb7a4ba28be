"""DDPM on CIFAR-10, as score_sde has it: one attention per level on the way up.

Song et al. 2021, tables 1 and 2: FID 3.24 (ancestral, 1000 evaluations), NLL 3.28 bits/dim and FID 3.37 by the ODE.
35.2 M parameters. score_sde: configs/vp/ddpm/cifar10.py. Not run here yet.

    python -m score_jax train --config=configs/score_sde/vp/ddpm/cifar10.py --workdir=runs/cifar10
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """score_sde's DDPM UNet on the discrete VP chain."""
    config = shared.cifar10()
    shared.ddpm(config)
    shared.vp_chain(config)
    return config
