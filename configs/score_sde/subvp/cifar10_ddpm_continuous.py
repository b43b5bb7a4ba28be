"""DDPM continuous on CIFAR-10 under sub-VP.

Song et al. 2021, table 2: NLL 3.05 bits/dim, FID 3.56 (ODE); 35.2 M parameters. score_sde:
configs/subvp/cifar10_ddpm_continuous.py. Not run here yet.

    python -m score_jax train --config=configs/score_sde/subvp/cifar10_ddpm_continuous.py \\
        --workdir=runs/cifar10_ddpm_continuous
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """score_sde's DDPM UNet under sub-VP."""
    config = shared.cifar10()
    shared.ddpm(config)
    config.process.name = "sub_vp"
    return config
