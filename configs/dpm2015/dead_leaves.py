"""Dead leaves of Sohl-Dickstein et al. 2015 (appendix D.2), by the multi-scale network: grey images of 16 x 16 pixels.

    python -m score_jax train --config=configs/dpm2015/dead_leaves.py --workdir=runs/leaves
    python -m score_jax likelihood --workdir=runs/leaves
    python -m score_jax edit --workdir=runs/leaves --task=denoise --image=noisy.png --noise=40

The images are those of `score_jax/data/dead_leaves.py`; the paper's are those of Theis et al. 2012. Pixels have mean 0
and variance 1, as levels that are uniform in (-sqrt 3, sqrt 3) have.
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.dpm2015.shared import dpm2015


def get_config(size: str = "16") -> ConfigDict:
    """Of `FILE:32`, images of 32 x 32 pixels."""
    config = dpm2015(4000, learning_rate=3e-3)
    config.data.update(name="dead_leaves", image_size=int(size), channels=1, dequantize=True, flip=True)
    config.data.train_split = "train[:8000]"  # to draw one takes longer than a step learns from it
    config.codec.value_range = (-(3**0.5), 3**0.5)
    base.replace_section(
        config, "process", name="learned_chain", num_levels=100, beta_1=1e-4, start="log_spaced", learned=True
    )
    base.replace_section(
        config, "network", name="multiscale", num_levels=100, features=(20, 20, 20), upper=(20, 20), scales=3
    )
    base.replace_section(config, "prediction", output="forward_mean")
    config.training.batch_size = 64
    config.likelihood.update(num_examples=256, batch_size=128)
    return config
