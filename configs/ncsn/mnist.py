"""NCSN on MNIST; 7.6 M parameters.

Song and Ermon 2019: the committed anneal.yml. Sampled there by annealed Langevin dynamics, 100 steps of 2e-5 at each of
10 levels. Not run here yet.

    python -m score_jax train --config=configs/ncsn/mnist.py --workdir=runs/mnist
"""

from ml_collections import ConfigDict

from score_jax.configs.ncsn import shared


def get_config() -> ConfigDict:
    """Ten levels from 1 to 0.01, the conditional RefineNet."""
    config = shared.ncsn("mnist", 28, 1)
    config.network.channels = 64
    return config
