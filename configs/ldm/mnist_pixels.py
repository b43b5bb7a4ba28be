"""A class-conditional model of MNIST digits in pixels, 32 x 32: what ldm/mnist_class.py is compared with.

Its process, optimizer and sampler are those of the latent model, but it predicts v; its network is as large, and trains
about as long as autoencoder and latent model together.

    python -m score_jax train --config=configs/ldm/mnist_pixels.py --workdir=runs/mnist_pixels
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import mnist_class


def get_config() -> ConfigDict:
    """1.4 M parameters on three levels, attention at 8 x 8."""
    config = mnist_class.get_config()
    config.codec.name = "pixels"
    with config.unlocked():
        del config.first_stage
    config.network.update(channels=32, channel_mult=(1, 2, 2), attention_factors=(4,))
    # Errors of eps count for nothing at much noise, where a model of pixels decides what it draws.
    config.prediction.output, config.loss.weighting = "v", "v"
    config.sampler.threshold = "clip"  # as of DDPM: without it the first steps of a model of pixels run away
    config.training.update(batch_size=32, steps=1000)
    return config
