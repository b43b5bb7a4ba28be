"""DDPM++ continuous on CIFAR-10 under sub-VP.

Song et al. 2021, tables 2 and 3: NLL 3.02 bits/dim, FID 2.61 (predictor only), 3.16 (ODE); 61.8 M parameters.
score_sde: configs/subvp/cifar10_ddpmpp_continuous.py. Trained there on 8 GPUs or TPU cores; not run here yet.

    python -m score_jax train --config=configs/score_sde/subvp/cifar10_ddpmpp_continuous.py \\
        --workdir=runs/cifar10_ddpmpp_continuous
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """DDPM++ with 4 blocks a level, under sub-VP."""
    config = shared.cifar10()
    shared.ddpmpp(config)
    config.process.name = "sub_vp"
    return config
