"""DDPM continuous on CIFAR-10 under VP.

Song et al. 2021, table 2: NLL 3.21 bits/dim, FID 3.69 (ODE); 35.2 M parameters. score_sde:
configs/vp/ddpm/cifar10_continuous.py. Not run here yet.

    python -m score_jax train --config=configs/score_sde/vp/ddpm/cifar10_continuous.py --workdir=runs/cifar10_continuous
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """score_sde's DDPM UNet under VP."""
    config = shared.cifar10()
    shared.ddpm(config)
    config.process.name = "vp"
    return config
