"""ADM on LSUN bedroom at 256 x 256.

Dhariwal and Nichol 2021, table 5: FID 1.90 (1000 steps); 552.8 M parameters. Released as lsun_bedroom.pt. Not run here
yet.

    python -m score_jax train --config=configs/adm/lsun_bedroom.py --workdir=runs/lsun_bedroom
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import shared


def get_config() -> ConfigDict:
    """The unconditional UNet of 256 x 256 with dropout."""
    config = shared.adm("lsun/bedroom", 256)
    config.network.dropout = 0.1
    config.sampler.respacing = "1000"
    config.training.steps = 500_001
    return config
