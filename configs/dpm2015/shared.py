"""What the configs of Sohl-Dickstein et al. 2015 share."""

from ml_collections import ConfigDict

from score_jax.configs import base


def dpm2015(steps: int, learning_rate: float) -> ConfigDict:
    """Reverse kernels trained by the bound K, sampled and measured as they are.

    Adam with a cosine takes the place of SFO, the paper's optimizer; there is no average of parameters.
    """
    config = base.get_config()
    config.loss.name = "bound"
    config.sampler.name = "reverse_kernels"
    config.likelihood.name = "bound"
    config.optimizer.update(
        learning_rate=learning_rate, b2=0.99, warmup_steps=steps // 40, decay="cosine", clip_norm=0.0
    )
    config.ema.decay = 0.0
    config.training.update(steps=steps, log_every=100, checkpoint_every=2000, keep=2, sample_every=2000)
    return config


def toy(config: ConfigDict, name: str, channels: int, codec: str) -> None:
    """Names data of d numbers: images of one pixel with d channels."""
    config.data.update(name=name, image_size=1, channels=channels)
    config.codec.name = codec
    config.sampling.update(num_samples=4096, batch_size=4096)
    config.likelihood.update(batch_size=2048)
