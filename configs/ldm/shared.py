"""What the configs of Rombach et al. 2022 share (CompVis/latent-diffusion, its yaml files and the paper's tables).

A first stage is a run of its own; a latent model names it in training.first_stage and describes its network in the
section `first_stage`.
"""

from ml_collections import ConfigDict

from configs import base

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
