"""Digits by the network of Sohl-Dickstein et al. 2015 (appendix D.2): the dense path alone, as theirs, T = 1000.

    python -m score_jax train --config=configs/dpm2015/mnist.py --workdir=runs/digits2015

Of 5000 digits that come with a package; `--config.data.name=mnist` takes all of TFDS. The paper measures MNIST by a
Parzen window over samples, which says little, and gives no bound.
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.dpm2015.shared import dpm2015


def get_config() -> ConfigDict:
    """The published code's widths: 4 dense layers of 500, 2 values per pixel, 2 layers of 20 above, 10 bumps."""
    config = dpm2015(20_000, learning_rate=1e-3)
    config.data.update(name="mnist_5k", image_size=28, channels=1, dequantize=True)
    config.codec.value_range = (-0.43, 2.8)  # mean 0 and variance 1 over the pixels of MNIST
    base.replace_section(
        config, "process", name="learned_chain", num_levels=1000, beta_1=1e-3, start="log_spaced", learned=True
    )
    base.replace_section(
        config, "network", name="multiscale", num_levels=1000, features=(), dense=(500,) * 4, bump_width=0.5
    )
    base.replace_section(config, "prediction", output="forward_mean")
    config.training.batch_size = 128
    config.likelihood.update(num_examples=256, batch_size=64)
    return config
