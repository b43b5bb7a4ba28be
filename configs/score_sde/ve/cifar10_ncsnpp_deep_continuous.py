"""NCSN++ deep, continuous, on CIFAR-10 under VE.

Song et al. 2021, table 3: FID 2.20, IS 9.89 with the predictor-corrector sampler (2000 evaluations); 107.6 M
parameters. score_sde: configs/ve/cifar10_ncsnpp_deep_continuous.py. Not run here yet.

    python -m score_jax train --config=configs/score_sde/ve/cifar10_ncsnpp_deep_continuous.py \\
        --workdir=runs/cifar10_ncsnpp_deep_continuous
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """8 blocks a level, for 0.95 M steps."""
    config = shared.cifar10()
    shared.ncsnpp_ve(config, sigma_max=50.0, num_res_blocks=8)
    config.training.steps = 950_001
    return config
