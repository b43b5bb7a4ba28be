"""The demo on two CPU cores: DDPM++ on 4000 MNIST digits at 16 x 16 pixels.

    ./launch/demo.sh

See README.md for what it reaches and in which time.
"""

from ml_collections import ConfigDict

from score_jax.configs import base


def get_config() -> ConfigDict:
    """A UNet of 0.7 M parameters, trained on dequantised digits with even coverage of noise levels."""
    config = base.get_config()
    config.data.update(name="mnist_5k", image_size=16, channels=1, resize_filter="box", dequantize=True)
    config.network.update(
        channels=24,
        channel_mult=(1, 2, 2),
        num_res_blocks=1,
        attention_resolutions=(8,),
        dropout=0.0,
        embedding="fourier",
        fourier_scale=0.2,
    )
    config.prediction.update(output="v", label="noise_to_signal")
    config.loss.time_sampling = "stratified_mixture"
    config.optimizer.update(learning_rate=2e-3, warmup_steps=100, decay="cosine")
    config.ema.update(decay=0.995, warmup=True)
    config.training.update(batch_size=64, steps=3000, log_every=20, checkpoint_every=500, keep=2, sample_every=1000)
    config.sampler.num_steps = 150
    config.sampling.num_samples = 64
    config.likelihood.update(num_examples=128, batch_size=64, rtol=1e-4, atol=1e-4, sensitivity_batches=0)
    config.evaluation.update(num_samples=512, batch_size=64)
    return config
