"""What the configs of unCLIP have in common (Ramesh et al. 2022, arXiv 2204.06125)."""

from ml_collections import ConfigDict

from configs import base


def of_embeddings(clip: ConfigDict) -> ConfigDict:
    """A prior of the embeddings of a CLIP's run, given captions by its network of texts (section 2.2.2).

    The data and the network of the run become sections here; training.clip names its workdir.
    """
    config = with_clip(clip)
    config.codec.name = "embeddings"
    config.prediction.output = "x0"
    config.loss.weighting = "x0"
    config.sampler.update(threshold="clip", variance="fixed_small")
    return config


def with_clip(clip: ConfigDict) -> ConfigDict:
    """A model that is given captions by the CLIP of a run, and embeddings of images if it takes them (section 2.1)."""
    config = base.get_config()
    config.data = ConfigDict(clip.data.to_dict())
    with config.unlocked():
        config.clip = ConfigDict(clip.network.to_dict())
        config.condition_encoder = ConfigDict({"name": "clip"})
    base.replace_section(config, "process", name="vp_chain", schedule="cosine", num_levels=1000)
    base.replace_section(config, "prediction", output="eps", label="index")
    config.sampler.name = "ancestral"
    config.loss.condition_dropout = 0.1
    return config


def text_sizes(clip: ConfigDict) -> dict[str, int]:
    """What a network must know of the texts of a CLIP."""
    own = clip.network
    return {"text_length": own.length, "text_width": own.text_width, "text_features": own.features}


def vit_l_14() -> ConfigDict:
    """The sections `data` and `network` of OpenAI's CLIP ViT-L/14, which Karlo's prior and decoder are given."""
    config = base.get_config()
    base.set_data(config, "folder:coyo")
    config.data.update(image_size=224, resize_filter="bicubic", tokenizer="clip", max_tokens=77)
    base.replace_section(
        config,
        "network",
        name="clip",
        image_size=224,
        features=768,
        patch=14,
        width=1024,
        layers=24,
        heads=16,
        vocabulary=49408,
        length=77,
        text_width=768,
        text_layers=12,
        text_heads=12,
        text_pool="largest",
    )
    return config


def as_published(config: ConfigDict, respacing: str, *, batch_size: int) -> None:
    """What Karlo's three models have in common; of their training unCLIP's table 3, as Karlo's is not published."""
    config.optimizer.update(name="adamw", learning_rate=1.2e-4, warmup_steps=0, clip_norm=0.0)
    config.ema.update(decay=0.9999, warmup=True)
    config.training.update(batch_size=batch_size, steps=1_000_001)
    config.sampler.update(name="ancestral", respacing=respacing, variance="fixed_small", threshold="clip")
    config.sampling.update(num_samples=4, batch_size=4)


def upsampler(*, image_size: int, low_resolution: int, degradation: str, schedule: str) -> ConfigDict:
    """What the paper's two upsamplers have in common. Their sizes say no learned variance and no scale and shift."""
    config = base.get_config()
    base.set_data(config, "folder:images")
    config.data.update(image_size=image_size, resize_filter="bicubic", low_resolution=low_resolution)
    config.data.degradation = degradation
    base.replace_section(config, "process", name="vp_chain", schedule=schedule, num_levels=1000)
    base.replace_section(config, "prediction", output="eps", label="index")
    base.replace_section(
        config,
        "network",
        name="adm",
        channels=1,
        channel_mult=(1,),
        num_res_blocks=1,
        attention_resolutions=(),
        middle_attention=False,
        dropout=0.0,
        learn_sigma=False,
        scale_shift_norm=False,
        resblock_updown=True,
        super_resolution=True,
        low_res_filter="cubic",
        remat=("residual",),
        dtype="bfloat16",
    )
    config.optimizer.update(name="adamw", b2=0.999, eps=1e-8, warmup_steps=0, clip_norm=0.0)
    config.ema.update(decay=0.9999, warmup=True)
    config.sampling.update(num_samples=4, batch_size=4)
    return config
