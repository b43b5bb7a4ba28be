"""NCSN++ continuous on CIFAR-10 under VE.

Song et al. 2021, table 3: FID 2.38, IS 9.83 with the predictor-corrector sampler (2000 evaluations); 62.8 M parameters.
score_sde: configs/ve/cifar10_ncsnpp_continuous.py. The paper trains 0.95 M steps, its config says 1.3 M. Not run here
yet.

    python -m score_jax train --config=configs/score_sde/ve/cifar10_ncsnpp_continuous.py \\
        --workdir=runs/cifar10_ncsnpp_continuous
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """VE works on images in [0, 1], learns the score, and samples with a Langevin corrector."""
    config = shared.cifar10()
    shared.ncsnpp_ve(config, sigma_max=50.0)
    return config
