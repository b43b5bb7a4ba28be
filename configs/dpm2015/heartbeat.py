"""The binary heartbeat of Sohl-Dickstein et al. 2015 (appendix D.1.2): 20 bits, a one in every fifth, T = 2000.

    python -m score_jax train --config=configs/dpm2015/heartbeat.py --workdir=runs/heartbeat
    python -m score_jax likelihood --workdir=runs/heartbeat
    python -m score_jax edit --workdir=runs/heartbeat --image=beat.npy --mask=mask.npy

The truth is -log2 5 = -2.322 bits; the best kernels reach -2.366, and the paper -2.414.
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.dpm2015.shared import dpm2015, toy


def get_config() -> ConfigDict:
    """The coin is the mean of the data, 0.2; each sequence of a step is trained at 8 levels."""
    config = dpm2015(20_000, learning_rate=5e-3)
    toy(config, "heartbeat", channels=20, codec="bits")
    base.replace_section(config, "process", name="binomial_chain", num_levels=2000, rho=0.2)
    base.replace_section(config, "network", name="bit_mlp", num_levels=2000, features=(50, 50, 50), bumps=20)
    base.replace_section(config, "prediction", output="x0_logits")
    config.loss.levels = 8
    config.training.batch_size = 128
    config.likelihood.update(num_examples=2048, batch_size=256)
    return config
