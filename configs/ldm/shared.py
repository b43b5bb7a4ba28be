"""What the configs of Rombach et al. 2022 share (CompVis/latent-diffusion, its yaml files and the paper's tables).

A first stage is a run of its own; a latent model names it in training.first_stage and describes its network in the
section `first_stage`.
"""

from ml_collections import ConfigDict

from score_jax.configs import base

_KL = {"name": "autoencoder_kl"}
_VQ = {"name": "autoencoder_vq"}
FIRST_STAGES: dict[str, dict] = {
    "vq-f4": _VQ | {"channel_mult": (1, 2, 4), "latent_channels": 3, "codebook_size": 8192},
    "vq-f4-noattn": _VQ
    | {"channel_mult": (1, 2, 4), "latent_channels": 3, "codebook_size": 8192, "middle_attention": False},
    "vq-f8": _VQ
    | {"channel_mult": (1, 2, 2, 4), "latent_channels": 4, "codebook_size": 16384, "attention_factors": (8,)},
    "vq-f8-n256": _VQ
    | {"channel_mult": (1, 2, 2, 4), "latent_channels": 4, "codebook_size": 256, "attention_factors": (8,)},
    "vq-f16": _VQ
    | {"channel_mult": (1, 1, 2, 2, 4), "latent_channels": 8, "codebook_size": 16384, "attention_factors": (16,)},
    "kl-f4": _KL | {"channel_mult": (1, 2, 4), "latent_channels": 3},
    "kl-f8": _KL | {"channel_mult": (1, 2, 4, 4), "latent_channels": 4},
    "kl-f16": _KL | {"channel_mult": (1, 1, 2, 2, 4), "latent_channels": 16, "attention_factors": (16,)},
    "kl-f32": _KL | {"channel_mult": (1, 1, 2, 2, 4, 4), "latent_channels": 64, "attention_factors": (16, 32)},
}
"""What differs between the published first stages; attention by the factor between an image and its level."""


def network_of(name: str) -> dict:
    """The section `network` of a published first stage."""
    own = FIRST_STAGES[name]
    return {
        **own,
        "embed_channels": own["latent_channels"],
        "channels": 128,
        "num_res_blocks": 2,
        "attention_factors": own.get("attention_factors", ()),
        "middle_attention": own.get("middle_attention", True),
        "image_channels": 3,
        "norm_groups": 32,
        "dropout": 0.0,
        "dtype": "float32",
    }


def first_stage(name: str) -> ConfigDict:
    """The training of a first stage: Adam with betas .5 and .9 for both networks, no average, no warmup."""
    config = base.get_config()
    base.replace_section(config, "process", name="none")
    base.replace_section(config, "prediction")
    base.replace_section(config, "network", **network_of(name))
    config.loss.update(name="first_stage")
    config.optimizer.update(learning_rate=4.5e-6, b1=0.5, b2=0.9, warmup_steps=0, clip_norm=0.0)
    config.ema.decay = 0.0
    config.data.image_size = 256
    return config


def published_first_stage(name: str, *, start: int, weight: float, batch_size: int, steps: int) -> ConfigDict:
    """The training of a released first stage, on squares of OpenImages at 256 x 256.

    Args:
      name: key of `FIRST_STAGES`.
      start: step from which the discriminator counts (`disc_start`).
      weight: of the discriminator (`disc_weight`).
      batch_size: of the original's one device; the learning rate is 4.5e-6 times it.
      steps: at which the released weights were.
    """
    config = first_stage(name)
    base.set_data(config, "folder:openimages")
    config.data.update(resize_filter="bicubic", flip=True)
    config.loss.update(adversarial_start=start, adversarial_weight=weight)
    config.optimizer.learning_rate = 4.5e-6 * batch_size
    config.training.update(batch_size=batch_size, steps=steps + 1)
    return config


def _on(data: str, first_stage_name: str, image_size: int) -> ConfigDict:
    """The config of a released first stage with the data of a model of its latents."""
    config = first_stage(first_stage_name)
    config.data.update(image_size=image_size, resize_filter="bicubic", flip=True)
    base.set_data(config, data)
    if data == "imagenet2012":
        config.data.eval_split = "validation"
    return config


def published(
    data: str,
    first_stage_name: str,
    *,
    channels: int,
    channel_mult: tuple[int, ...],
    attention_factors: tuple[int, ...],
    linear_start: float = 0.0015,
    linear_end: float = 0.0195,
    scale: float = 1.0,
    image_size: int = 256,
    **network: object,
) -> ConfigDict:
    """A model of the latents of a released first stage.

    Args:
      data: name of the data.
      first_stage_name: key of `FIRST_STAGES`.
      channels: of the UNet.
      channel_mult: of the UNet.
      attention_factors: of the UNet.
      linear_start: the first beta.
      linear_end: the last beta.
      scale: of the latents; 0: measured on the first batch.
      image_size: in pixels.
      network: other arguments of the UNet; heads have 32 channels unless they say otherwise.
    """
    config = latent_model(_on(data, first_stage_name, image_size), linear_start=linear_start, linear_end=linear_end)
    own = {"num_heads": 8, "num_head_channels": 32, "remat": (), "dtype": "bfloat16"} | network
    base.replace_section(
        config,
        "network",
        name="latent_unet",
        channels=channels,
        channel_mult=channel_mult,
        num_res_blocks=2,
        attention_factors=attention_factors,
        **own,
    )
    config.codec.scale = scale
    config.sampler.discretisation = "latent_diffusion"
    config.evaluation.update(num_samples=50_000, batch_size=32)
    return config


def trained(config: ConfigDict, *, batch_size: int, learning_rate: float, steps: int) -> None:
    """The paper's batch, effective learning rate (base rate times batch, devices and accumulation) and iterations."""
    config.optimizer.learning_rate = learning_rate
    config.training.update(batch_size=batch_size, steps=steps + 1)


def with_text(config: ConfigDict, *, vocabulary: int, length: int, width: int, layers: int) -> None:
    """Gives a model the text encoder that is trained with it, and leaves out a tenth of the texts, for guidance."""
    with config.unlocked():
        config.network.update(context_width=width, context_length=length)
        config.condition_encoder = ConfigDict(
            {
                "name": "text_transformer",
                "vocabulary": vocabulary,
                "length": length,
                "width": width,
                "layers": layers,
                "dtype": "bfloat16",
            }
        )
    config.loss.condition_dropout = 0.1


def semantic_synthesis(image_size: int) -> ConfigDict:
    """Images by segmentations of 182 classes, which a trained rescaler brings to the size of the latents."""
    config = published(
        "folder:landscapes",
        "vq-f4",
        channels=128,
        channel_mult=(1, 4, 8),
        attention_factors=(32, 16, 8),
        linear_end=0.0205,
        image_size=image_size,
        num_head_channels=None,
        concat_channels=3,
    )
    with config.unlocked():
        config.condition_encoder = ConfigDict(
            {"name": "rescaler", "stages": 2, "in_channels": 182, "out_channels": 3, "method": "bilinear"}
        )
    config.loss.error = "l1"
    trained(config, batch_size=48, learning_rate=4.8e-5, steps=360_000)
    return config


def latent_model(of: ConfigDict, *, linear_start: float, linear_end: float) -> ConfigDict:
    """A model of the latents of a first stage whose config is `of`: T = 1000, eps, DDIM, AdamW without a warmup."""
    config = base.get_config()
    config.data.update(of.data.to_dict())
    with config.unlocked():
        config.first_stage = ConfigDict(of.network.to_dict())
    config.codec.name = "latents"
    base.replace_section(
        config,
        "process",
        name="vp_chain",
        schedule="scaled_linear",
        num_levels=1000,
        beta_min=1000 * linear_start,
        beta_max=1000 * linear_end,
    )
    config.prediction.update(output="eps", label="index")
    config.optimizer.update(name="adamw", weight_decay=0.01, warmup_steps=0, clip_norm=0.0)
    config.ema.update(decay=0.9999, warmup=True)
    config.sampler.update(name="ddim", num_steps=200)
    config.loss.time_sampling = "uniform"
    return config


def with_classes(config: ConfigDict, num_classes: int, width: int) -> None:
    """Gives a model classes, the last of which stands for none, as the only token of its context."""
    with config.unlocked():
        config.network.update(context_width=width, context_length=1)
        config.condition_encoder = ConfigDict({"name": "class_embedding", "num_classes": num_classes, "width": width})
    config.loss.condition_dropout = 0.1
