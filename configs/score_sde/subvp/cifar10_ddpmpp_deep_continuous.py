"""DDPM++ deep, continuous, on CIFAR-10 under sub-VP.

Song et al. 2021, tables 2 and 3: NLL 2.99 bits/dim, FID 2.41 (predictor only), 2.92 (ODE); 106.6 M parameters.
score_sde: configs/subvp/cifar10_ddpmpp_deep_continuous.py. Not run here yet.

    python -m score_jax train --config=configs/score_sde/subvp/cifar10_ddpmpp_deep_continuous.py \\
        --workdir=runs/cifar10_ddpmpp_deep_continuous
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """DDPM++ with 8 blocks a level, under sub-VP, for 0.95 M steps."""
    config = shared.cifar10()
    shared.ddpmpp(config, num_res_blocks=8)
    config.process.name = "sub_vp"
    config.training.steps = 950_001
    return config
