"""EDM on CIFAR-10, with class labels, the NCSN++ architecture.

Karras et al. 2022, table 2: FID 1.79 (35 evaluations, deterministic). NVlabs/edm: edm-cifar10-32x32-cond-ve.pkl. Not
run here yet.

    python -m score_jax train --config=configs/edm/cifar10_cond_ve.py --workdir=runs/cifar10_cond_ve
"""

from ml_collections import ConfigDict

from score_jax.configs.edm import shared


def get_config() -> ConfigDict:
    """NCSN++ under EDM's preconditioning."""
    config = shared.cifar10()
    shared.ncsnpp(config)
    config.network.num_classes = 10
    return config
