"""Super-resolution of MNIST digits on two CPU cores, 8 x 8 pixels to 32 x 32, in the latents of a first stage.

The small image is joined to the latents, which are as large (Rombach et al. 2022, section 4.4).

    python -m score_jax train --config=configs/ldm/mnist_sr.py --workdir=runs/mnist_sr \\
        --config.training.first_stage=runs/mnist_first_stage
    python -m score_jax sample --workdir=runs/mnist_sr --base=small.npz
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.ldm import mnist_class, mnist_first_stage
from score_jax.configs.ldm.shared import latent_model


def get_config() -> ConfigDict:
    """The network of ldm/mnist_class.py with the small image, made bicubically, in place of the class."""
    config = latent_model(mnist_first_stage.get_config(), linear_start=0.0015, linear_end=0.0195)
    of_classes = mnist_class.get_config()
    base.replace_section(
        config, "network", **of_classes.network.to_dict() | {"context_width": None, "concat_channels": 1}
    )
    for section in ("optimizer", "ema", "sampler", "evaluation"):
        config[section].update(of_classes[section].to_dict())
    config.data.update(low_resolution=8, degradation="bicubic")
    config.prediction.output, config.loss.weighting = "v", "v"
    config.training.update(batch_size=64, steps=500, log_every=20, checkpoint_every=250, keep=2)
    return config
