"""The swiss roll of Sohl-Dickstein et al. 2015 (figure 1, appendix D.1.1): T = 40, a learned schedule.

    python -m score_jax train --config=configs/dpm2015/swiss_roll.py --workdir=runs/roll
    python -m score_jax likelihood --workdir=runs/roll
    python -m score_jax sample --workdir=runs/roll

The paper does not state beta_1, which bounds K of a curve without width: 2.33 bits at 1e-5 here. Its network has 16
units; 128, with centres drawn from the data, learn the same in a fraction of the steps.
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.dpm2015.shared import dpm2015, toy


def get_config(start: str = "log_spaced") -> ConfigDict:
    """Of `FILE:equal_shares`, a schedule that begins as the paper's does for bits."""
    config = dpm2015(8000, learning_rate=2e-2)
    toy(config, "swiss_roll", channels=2, codec="numbers")
    base.replace_section(config, "process", name="learned_chain", num_levels=40, beta_1=1e-5, start=start, learned=True)
    base.replace_section(config, "network", name="rbf", num_levels=40, units=128, width=0.3, centres="swiss_roll")
    base.replace_section(config, "prediction", output="forward_mean")
    config.loss.levels = 0
    config.training.batch_size = 256
    return config
