"""DDPM++ continuous on CIFAR-10 under VP.

Song et al. 2021, tables 2 and 3: NLL 3.16 bits/dim, FID 2.55 (predictor only), 3.93 (ODE); 61.8 M parameters.
score_sde: configs/vp/cifar10_ddpmpp_continuous.py. Trained there on 8 GPUs or TPU cores; not run here yet.

    python -m score_jax train --config=configs/score_sde/vp/cifar10_ddpmpp_continuous.py \\
        --workdir=runs/cifar10_ddpmpp_continuous
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """DDPM++ with 4 blocks a level, under VP."""
    config = shared.cifar10()
    shared.ddpmpp(config)
    config.process.name = "vp"
    return config
