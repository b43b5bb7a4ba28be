"""ADM on LSUN horse at 256 x 256 without dropout.

Dhariwal and Nichol 2021, table 13: FID 2.95 (1000 steps); 552.8 M parameters. Released as lsun_horse_nodropout.pt. Not
run here yet.

    python -m score_jax train --config=configs/adm/lsun_horse_nodropout.py --workdir=runs/lsun_horse_nodropout
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import lsun_horse


def get_config() -> ConfigDict:
    """The config of horses, dropout 0."""
    config = lsun_horse.get_config()
    config.network.dropout = 0.0
    return config
