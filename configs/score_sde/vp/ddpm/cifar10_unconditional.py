"""DDPM on CIFAR-10 without a time input.

score_sde: configs/vp/ddpm/cifar10_unconditional.py, which its PyTorch port cannot build; no result is published for it.
Not run here yet.

    python -m score_jax train --config=configs/score_sde/vp/ddpm/cifar10_unconditional.py \\
        --workdir=runs/cifar10_unconditional
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """The network does not know the noise level."""
    config = shared.cifar10()
    shared.ddpm(config)
    shared.vp_chain(config)
    config.network.conditional = False
    return config
