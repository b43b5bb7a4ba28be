"""EDM on CIFAR-10, unconditional, the DDPM++ architecture.

Karras et al. 2022, table 2: FID 1.97 (35 evaluations, deterministic). NVlabs/edm: edm-cifar10-32x32-uncond-vp.pkl. Not
run here yet.

    python -m score_jax train --config=configs/edm/cifar10_uncond_vp.py --workdir=runs/cifar10_uncond_vp
"""

from ml_collections import ConfigDict

from score_jax.configs.edm import shared


def get_config() -> ConfigDict:
    """DDPM++ under EDM's preconditioning."""
    config = shared.cifar10()
    shared.ddpmpp(config)
    return config
