"""What the configs of unCLIP have in common (Ramesh et al. 2022, arXiv 2204.06125)."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from score_jax.configs import base


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


def of_codes(clip: ConfigDict, codes: Mapping[str, int], **network: Any) -> ConfigDict:
    """A prior of codes of the embeddings of a CLIP's run, given captions likewise (section 2.2.1).

    Args:
      clip: the run's config.
      codes: keys of the codec.
      network: keys of the transformer, but for what it must know of the texts.
    """
    config = with_clip(clip)
    base.replace_section(config, "process", name="autoregressive")
    base.replace_section(config, "prediction")
    config.codec.update(name="embedding_codes", **codes)
    base.replace_section(config, "network", name="autoregressive_prior", **network, **text_sizes(clip))
    config.loss.update(name="codes", condition_dropout=0.1)
    config.sampler.name = "codes"
    config.likelihood.name = "codes"
    return config


def of_pairs(data: str, tokenizer: str, max_tokens: int, **network: Any) -> ConfigDict:
    """A CLIP, trained on the captions of data.

    Args:
      data: the name.
      tokenizer: of the captions.
      max_tokens: of a caption.
      network: keys of the two transformers.
    """
    config = base.get_config()
    base.set_data(config, data)
    config.data.update(tokenizer=tokenizer, max_tokens=max_tokens)
    base.replace_section(config, "process", name="none")
    base.replace_section(config, "prediction")
    base.replace_section(config, "network", name="clip", **network)
    config.loss.update(name="contrastive")
    return config


def of_size(clip: ConfigDict, image_size: int) -> ConfigDict:
    """A decoder that draws images of this size, of which its CLIP sees copies of its own size."""
    config = with_clip(clip)
    with config.unlocked():
        config.clip.image_size = config.data.image_size
    config.data.image_size = image_size
    return config


def decoder64(clip: ConfigDict, **network: Any) -> ConfigDict:
    """What the paper's decoder and Karlo's have in common: ADM's blocks at 64 x 64, the variance learned.

    Args:
      clip: the CLIP's run.
      network: other keys: channels, context_width, remat and dtype.
    """
    config = of_size(clip, 64)
    base.replace_section(
        config,
        "network",
        name="unclip_decoder",
        channel_mult=(1, 2, 3, 4),
        num_res_blocks=3,
        attention_factors=(2, 4, 8),
        image_features=clip.network.features,
        extra_tokens=4,
        dropout=0.1,
        learn_sigma=True,
        num_head_channels=64,
        scale_shift_norm=True,
        norm_groups=32,
        **network,
        **text_sizes(clip),
    )
    config.loss.update(name="hybrid", variance="learned_range", condition_dropout=0.1)
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


def upsampler(
    data: str, *, image_size: int, low_resolution: int, degradation: str, schedule: str, **network: Any
) -> ConfigDict:
    """An upsampler (section 2.3). The sizes of the paper's two say no learned variance and no scale and shift.

    Args:
      data: the name.
      image_size: of what it draws.
      low_resolution: of what it enlarges.
      degradation: how images are made so small.
      schedule: of the chain.
      network: other keys of ADM: channels, channel_mult, num_res_blocks, dropout, norm_groups, remat and dtype.
    """
    config = base.get_config()
    base.set_data(config, data)
    config.data.update(image_size=image_size, low_resolution=low_resolution, degradation=degradation)
    base.replace_section(config, "process", name="vp_chain", schedule=schedule, num_levels=1000)
    base.replace_section(config, "prediction", output="eps", label="index")
    base.replace_section(
        config,
        "network",
        name="adm",
        attention_resolutions=(),
        middle_attention=False,
        learn_sigma=False,
        scale_shift_norm=False,
        resblock_updown=True,
        super_resolution=True,
        low_res_filter="cubic",
        **network,
    )
    return config


def paper_upsampler(
    low_resolution: int, image_size: int, degradation: str, schedule: str, **network: Any
) -> ConfigDict:
    """What table 3 says of both upsamplers."""
    config = upsampler(
        "folder:images",
        image_size=image_size,
        low_resolution=low_resolution,
        degradation=degradation,
        schedule=schedule,
        remat=("residual",),
        dtype="bfloat16",
        **network,
    )
    config.data.resize_filter = "bicubic"
    config.loss.crop = image_size // 4
    config.optimizer.update(name="adamw", b2=0.999, eps=1e-8, warmup_steps=0, clip_norm=0.0)
    config.ema.update(decay=0.9999, warmup=True)
    config.training.steps = 1_000_000
    config.sampling.update(num_samples=4, batch_size=4)
    return config
