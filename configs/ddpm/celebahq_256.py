"""DDPM on CelebA-HQ at 256 x 256.

Ho et al. 2020, appendix D; no FID is published for it; 113.7 M parameters. Not run here yet.

    python -m score_jax train --config=configs/ddpm/celebahq_256.py --workdir=runs/celebahq_256
"""

from ml_collections import ConfigDict

from score_jax.configs.ddpm import shared


def get_config() -> ConfigDict:
    """Six levels, the smaller variance."""
    config = shared.ddpm_256("folder:celebahq_256")
    config.data.flip = True
    config.training.steps = 500_001
    return config
