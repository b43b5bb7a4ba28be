"""What the configs of Song and Ermon 2020 share (ermongroup/ncsnv2, configs/*.yml)."""

from ml_collections import ConfigDict

from score_jax.configs import base


def ncsnv2(
    name: str, image_size: int, *, sigma_max: float, num_levels: int, step_lr: float, steps_per_level: int
) -> ConfigDict:
    """Images in [0, 1], the unconditional RefineNet divided by sigma, Adam 1e-4, EMA 0.999."""
    config = base.get_config()
    base.set_data(config, name)
    config.data.update(image_size=image_size, flip=True)
    config.data.resize_filter = "none" if name == "cifar10" else "bilinear"
    config.codec.value_range = (0.0, 1.0)
    levels = {"sigma_min": 0.01, "sigma_max": sigma_max, "num_levels": num_levels, "rounded": True}
    base.replace_section(config, "process", name="ve_chain", **levels)
    base.replace_section(config, "network", name="ncsnv2", channels=128, variant="plain", dtype="float32")
    config.prediction.update(output="score", label="descending_index")
    config.loss.reduction = "half_sum"
    config.optimizer.update(learning_rate=1e-4, warmup_steps=0, clip_norm=0.0)
    config.ema.decay = 0.999
    config.sampler.update(name="langevin", step_lr=step_lr, steps_per_level=steps_per_level, initial="uniform")
    config.evaluation.update(num_samples=50_000, batch_size=32)
    return config
