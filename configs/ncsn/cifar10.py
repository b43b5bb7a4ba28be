"""NCSN on CIFAR-10; 30.1 M parameters.

Song and Ermon 2019: FID 25.32, IS 8.87. Sampled there by annealed Langevin dynamics, 100 steps of 2e-5 at each of 10
levels. Not run here yet.

    python -m score_jax train --config=configs/ncsn/cifar10.py --workdir=runs/cifar10
"""

from ml_collections import ConfigDict

from score_jax.configs.ncsn import shared


def get_config() -> ConfigDict:
    """Ten levels from 1 to 0.01, the conditional RefineNet."""
    config = shared.ncsn("cifar10", 32, 3)
    config.data.flip = True
    return config
