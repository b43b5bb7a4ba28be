"""DDPM on LSUN bedroom at 256 x 256, as score_sde has it; 111.6 M parameters.

score_sde: configs/vp/ddpm/bedroom.py; no result is published for it. Not run here yet.

    python -m score_jax train --config=configs/score_sde/vp/ddpm/bedroom.py --workdir=runs/bedroom
"""

from ml_collections import ConfigDict

from score_jax.configs.score_sde import shared


def get_config() -> ConfigDict:
    """score_sde's DDPM UNet of 6 levels on the discrete VP chain."""
    config = shared.lsun("lsun/bedroom")
    shared.ddpm(config, channel_mult=(1, 1, 2, 2, 4, 4), dropout=0.0)
    shared.vp_chain(config)
    config.optimizer.learning_rate = 2e-5
    return config
