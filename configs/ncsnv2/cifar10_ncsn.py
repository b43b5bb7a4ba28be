"""NCSN on CIFAR-10 as kept in the NCSNv2 repository, configs/ncsn_original.yml; 30.1 M parameters.

Not run here yet.

    python -m score_jax train --config=configs/ncsnv2/cifar10_ncsn.py --workdir=runs/cifar10_ncsn
"""

from ml_collections import ConfigDict

from score_jax.configs.ncsn import cifar10


def get_config() -> ConfigDict:
    """NCSN with 300 K steps."""
    config = cifar10.get_config()
    config.training.steps = 300_001
    return config
