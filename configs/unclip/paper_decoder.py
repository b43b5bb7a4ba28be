"""unCLIP's decoder (Ramesh et al. 2022, section 2.1 and table 3), given texts by the CLIP of paper_clip.py.

The paper trains GLIDE's network of texts with it, 1.2 of its 3.5 billion parameters; here the CLIP says the tokens.
"""

from ml_collections import ConfigDict

from configs import base
from configs.unclip import paper_clip
from configs.unclip.shared import text_sizes, with_clip


def get_config() -> ConfigDict:
    """A tenth of embeddings and half of captions are left out; 250 steps."""
    clip = paper_clip.get_config()
    config = with_clip(clip)
    with config.unlocked():
        config.clip.image_size = config.data.image_size
    config.data.image_size = 64
    base.replace_section(
        config,
        "network",
        name="unclip_decoder",
        channels=512,
        channel_mult=(1, 2, 3, 4),
        num_res_blocks=3,
        attention_factors=(2, 4, 8),
        image_features=clip.network.features,
        context_width=2048,
        extra_tokens=4,
        dropout=0.1,
        learn_sigma=True,
        num_head_channels=64,
        scale_shift_norm=True,
        norm_groups=32,
        remat=("residual", "attention"),
        dtype="bfloat16",
        **text_sizes(clip),
    )
    config.loss.update(name="hybrid", variance="learned_range", condition_dropout=0.1, caption_dropout=0.5)
    config.optimizer.update(name="adamw", learning_rate=1.2e-4, b2=0.999, eps=1e-8, warmup_steps=0, clip_norm=0.0)
    config.ema.update(decay=0.9999, warmup=True)
    config.training.update(batch_size=2048, steps=800_000)
    config.sampler.update(name="ancestral", respacing="250", variance="learned_range", threshold="clip")
    config.guidance.scale = 1.25
    return config
