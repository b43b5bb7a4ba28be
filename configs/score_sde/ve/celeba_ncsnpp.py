"""NCSN++ on CelebA at 64 x 64 with 1000 discrete levels; 62.7 M parameters.

score_sde: configs/ve/celeba_ncsnpp.py; no FID is published for it. Not run here yet.

    python -m score_jax train --config=configs/score_sde/ve/celeba_ncsnpp.py --workdir=runs/celeba_ncsnpp
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """NCSN++ with positional embedding on the discrete VE chain, snr 0.17."""
    config = shared.celeba()
    shared.ncsnpp_ve_chain(config, sigma_max=90.0)
    config.sampler.snr = 0.17
    return config
