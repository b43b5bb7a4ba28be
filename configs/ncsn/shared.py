"""What the configs of Song and Ermon 2019 share (ermongroup/ncsn, configs/anneal.yml)."""

from ml_collections import ConfigDict

from score_jax.configs import base


def ncsn(name: str, image_size: int, channels: int) -> ConfigDict:
    """Dequantised images in [0, 1], ten geometric levels, Adam 1e-3 for 200 K steps of 128 images, no EMA."""
    config = base.get_config()
    config.data.update(name=name, image_size=image_size, channels=channels, dequantize=True)
    config.codec.value_range = (0.0, 1.0)
    base.replace_section(config, "process", name="ve_chain", sigma_min=0.01, sigma_max=1.0, num_levels=10)
    base.replace_section(config, "network", name="ncsn", channels=128, num_levels=10, dtype="float32")
    config.prediction.update(output="score", label="descending_index")
    config.loss.reduction = "half_sum"
    config.optimizer.update(learning_rate=1e-3, warmup_steps=0, clip_norm=0.0)
    config.ema.decay = 0.0
    config.training.update(batch_size=128, steps=200_001)
    config.sampler.update(name="langevin", step_lr=2e-5, steps_per_level=100, initial="uniform", denoise=False)
    config.evaluation.update(num_samples=50_000, batch_size=128)
    return config
