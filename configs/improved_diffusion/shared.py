"""What the configs of Nichol and Dhariwal 2021 share (openai/improved-diffusion, README).

The network learns the variance too: the bound's term, times levels / 1000, trains that alone (L_hybrid).
"""

from ml_collections import ConfigDict

from score_jax.configs import base


def improved(name: str, image_size: int) -> ConfigDict:
    """128 channels, 3 blocks a level, 4 heads at 16 and 8 pixels, 4000 levels of the cosine schedule, AdamW 1e-4."""
    config = base.get_config()
    config.data.update(name=name, image_size=image_size, resize_filter="none" if name == "cifar10" else "adm")
    config.data.flip = True
    base.replace_section(config, "process", name="vp_chain", schedule="cosine", num_levels=4000)
    base.replace_section(
        config,
        "network",
        name="adm",
        channels=128,
        channel_mult=(1, 2, 3, 4),
        num_res_blocks=3,
        attention_resolutions=(16, 8),
        dropout=0.0,
        remat=(),
        learn_sigma=True,
        num_classes=None,
        num_heads=4,
        scale_shift_norm=True,
        resblock_updown=False,
        super_resolution=False,
        dtype="float32",
    )
    config.prediction.update(output="eps", label="index_of_1000")
    config.optimizer.update(name="adamw", learning_rate=1e-4, warmup_steps=0, clip_norm=0.0)
    config.loss.update(name="hybrid", variance="learned_range")
    config.sampler.update(name="ancestral", num_steps=4000, variance="learned_range", threshold="clip")
    config.evaluation.update(num_samples=50_000, batch_size=32)
    return config
