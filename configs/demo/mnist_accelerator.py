"""The demo on a GPU or TPU: a larger DDPM++ on MNIST digits at their own 28 x 28 pixels.

    ./launch/demo.sh

Not measured here yet: no number of this config stands in the README.
"""

from ml_collections import ConfigDict

from score_jax.configs.demo import mnist


def get_config() -> ConfigDict:
    """64 channels, three levels (28, 14, 7), bfloat16 compute, 10,000 steps of 128 images."""
    config = mnist.get_config()
    config.data.update(image_size=28, resize_filter="none")
    config.network.update(channels=64, num_res_blocks=2, attention_resolutions=(14,), dropout=0.1, dtype="bfloat16")
    config.optimizer.learning_rate = 1e-3
    config.ema.decay = 0.999
    config.training.update(batch_size=128, steps=10_000, log_every=50, checkpoint_every=1000, sample_every=2500)
    config.likelihood.update(num_examples=0, batch_size=250)
    config.evaluation.update(num_samples=1000, batch_size=200)
    return config
