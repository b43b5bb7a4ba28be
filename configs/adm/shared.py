"""What the configs of Dhariwal and Nichol 2021 share (openai/guided-diffusion, README and the paper's tables 11-13).

The network learns the variance too, by the bound's term with weight 1. Images are fitted as in the original, and its
classifiers see random crops (`data.random_crop`).
"""

from ml_collections import ConfigDict

from score_jax.configs import base


def _images(config: ConfigDict, name: str, image_size: int) -> None:
    config.data.update(name=name, image_size=image_size, resize_filter="adm", flip=True)
    if name == "imagenet2012":
        config.data.eval_split = "validation"


def adm(name: str, image_size: int) -> ConfigDict:
    """256 channels, 2 blocks a level, heads of 64 channels at 32, 16 and 8 pixels, resampling in blocks; AdamW 1e-4."""
    config = base.get_config()
    _images(config, name, image_size)
    base.replace_section(config, "process", name="vp_chain", schedule="linear", num_levels=1000)
    base.replace_section(
        config,
        "network",
        name="adm",
        channels=256,
        channel_mult=(1, 1, 2, 2, 4, 4),
        num_res_blocks=2,
        attention_resolutions=(32, 16, 8),
        dropout=0.0,
        remat=(),
        learn_sigma=True,
        num_classes=None,
        num_heads=4,
        num_head_channels=64,
        scale_shift_norm=True,
        resblock_updown=True,
        qkv_layout="legacy",
        super_resolution=False,
        dtype="bfloat16",
    )
    config.prediction.update(output="eps", label="index")
    config.optimizer.update(name="adamw", learning_rate=1e-4, warmup_steps=0, clip_norm=0.0)
    config.training.batch_size = 256
    config.loss.update(name="hybrid", variance="learned_range", vb_scale=1.0)
    config.sampler.update(name="ancestral", respacing="250", variance="learned_range", threshold="clip")
    config.evaluation.update(num_samples=50_000, batch_size=32)
    return config


def classifier(image_size: int) -> ConfigDict:
    """128 channels, heads of 64, attention pooling over 1000 classes."""
    config = adm("imagenet2012", image_size)
    base.replace_section(
        config,
        "network",
        name="adm_classifier",
        channels=128,
        channel_mult=(1, 1, 2, 2, 4, 4),
        num_res_blocks=2,
        attention_resolutions=(32, 16, 8),
        num_classes=1000,
        pool="attention",
        num_head_channels=64,
        remat=(),
        dtype="bfloat16",
    )
    config.data.random_crop = True
    config.loss.name = "classifier"
    config.optimizer.decay = "linear"
    config.training.sample_every = 0
    return config


def cascade(*workdirs: str, image_size: int) -> ConfigDict:
    """The runs in these workdirs, compared at the size of the last one's images."""
    config = base.get_cascade(*workdirs)
    _images(config, "imagenet2012", image_size)
    config.evaluation.update(num_samples=50_000, batch_size=32)
    return config
