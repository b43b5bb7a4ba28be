"""NCSN++ on CIFAR-10 with DDPM's 1000 levels; 62.7 M parameters.

score_sde: configs/vp/cifar10_ncsnpp.py, sampled there by reverse diffusion; no result is published for it. Not run here
yet.

    python -m score_jax train --config=configs/score_sde/vp/cifar10_ncsnpp.py --workdir=runs/cifar10_ncsnpp
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """NCSN++ on the discrete VP chain."""
    config = shared.cifar10()
    shared.ncsnpp_vp(config)
    shared.vp_chain(config)
    config.sampler.name = "reverse_diffusion"
    return config
