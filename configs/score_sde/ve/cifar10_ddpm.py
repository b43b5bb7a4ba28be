"""score_sde's DDPM UNet on CIFAR-10 with VE's 1000 discrete levels: the models of the paper's table 1.

Song et al. 2021, table 1: FID 4.79 (reverse diffusion), 3.60 with corrector; 35.2 M parameters. score_sde:
configs/ve/cifar10_ddpm.py. Not run here yet.

    python -m score_jax train --config=configs/score_sde/ve/cifar10_ddpm.py --workdir=runs/cifar10_ddpm
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """The DDPM UNet on the discrete VE chain, its output divided by sigma."""
    config = shared.cifar10()
    shared.ddpm(config, scale_by_sigma=True)
    shared.ve_chain(config, sigma_max=50.0)
    return config
