"""Configs of a tiny stack of captioned images: two priors, a decoder and an upsampler of the CLIP of `clip_runs.py`."""

from pathlib import Path

_CONFIG = """
from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.unclip.shared import of_embeddings, text_sizes, with_clip
from score_jax.cli.config_files import config_of_file

def get_config():
    clip = config_of_file({clip!r})
    config = {make}
    config.optimizer.warmup_steps = 0
    config.training.update(batch_size=16, steps=2, log_every=1, checkpoint_every=2, sample_every=0)
    if config.sampler.name != "codes":
        config.sampler.num_steps = 2
    config.sampling.update(num_samples=8, batch_size=8)
    return config

def prior(clip):
    config = of_embeddings(clip)
    sizes = dict(width=8, layers=1, heads=1) | text_sizes(clip)
    base.replace_section(config, "network", name="prior_transformer", dtype="float32", **sizes)
    return config

def autoregressive(clip):
    config = with_clip(clip)
    base.replace_section(config, "process", name="autoregressive")
    base.replace_section(config, "prediction")
    config.codec.update(name="embedding_codes", components=4, buckets=4, alignments=2)
    sizes = dict(width=8, layers=1, heads=1) | text_sizes(clip)
    base.replace_section(config, "network", name="autoregressive_prior", dtype="float32", **sizes)
    config.loss.update(name="codes", condition_dropout=0.1)
    config.sampler.name = config.likelihood.name = "codes"
    return config

def decoder(clip):
    config = with_clip(clip)
    with config.unlocked():
        config.clip.image_size = config.data.image_size
    config.data.update(image_size=4, resize_filter="bicubic")
    base.replace_section(
        config, "network", name="unclip_decoder", channels=8, channel_mult=(1,), num_res_blocks=1,
        attention_factors=(), image_features=clip.network.features, context_width=8, learn_sigma=False,
        num_head_channels=8, norm_groups=4, dtype="float32", remat=(), **text_sizes(clip),
    )
    config.loss.caption_dropout = 0.5
    config.likelihood.atol = 1e-8  # of noise at which an untrained network leaves little of an image
    return config

def upsampler(clip):
    config = base.get_config()
    config.data = ConfigDict(clip.data.to_dict() | dict(tokenizer="", low_resolution=4, degradation="blurred"))
    base.replace_section(config, "process", name="vp_chain", schedule="cosine", num_levels=1000)
    base.replace_section(config, "prediction", output="eps", label="index")
    base.replace_section(
        config, "network", name="adm", channels=8, channel_mult=(1, 1), num_res_blocks=1, attention_resolutions=(),
        dropout=0.0, learn_sigma=False, resblock_updown=True, super_resolution=True, middle_attention=False,
        norm_groups=4, dtype="float32", remat=(),
    )
    config.sampler.name = "ddim"
    config.loss.crop = 4
    return config
"""


def write_configs(folder: Path, clip: Path) -> dict[str, Path]:
    """A config file for each of them, by name, beside the config of a CLIP."""
    files = {name: folder / f"{name}.py" for name in ("prior", "autoregressive", "decoder", "upsampler")}
    for name, file in files.items():
        file.write_text(_CONFIG.format(clip=str(clip), make=f"{name}(clip)"))
    return files
