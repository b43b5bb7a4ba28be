"""NCSN++ on CIFAR-10 with 1000 discrete levels.

Song et al. 2021, table 3: FID 2.45, IS 9.73 with the predictor-corrector sampler (2000 evaluations); 62.7 M parameters.
score_sde: configs/ve/cifar10_ncsnpp.py. Not run here yet.

    python -m score_jax train --config=configs/score_sde/ve/cifar10_ncsnpp.py --workdir=runs/cifar10_ncsnpp
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """NCSN++ with positional embedding on the discrete VE chain."""
    config = shared.cifar10()
    shared.ncsnpp_ve_chain(config, sigma_max=50.0)
    return config
