"""unCLIP's decoder (Ramesh et al. 2022, section 2.1 and table 3), given texts by the CLIP of paper_clip.py.

The paper trains GLIDE's network of texts with it, 1.2 of its 3.5 billion parameters; here the CLIP says the tokens.
"""

from ml_collections import ConfigDict

from score_jax.configs.unclip import paper_clip
from score_jax.configs.unclip.shared import decoder64


def get_config() -> ConfigDict:
    """A tenth of embeddings and half of captions are left out; 250 steps."""
    config = decoder64(
        paper_clip.get_config(), channels=512, context_width=2048, remat=("residual", "attention"), dtype="bfloat16"
    )
    config.loss.caption_dropout = 0.5
    config.optimizer.update(name="adamw", learning_rate=1.2e-4, b2=0.999, eps=1e-8, warmup_steps=0, clip_norm=0.0)
    config.ema.update(decay=0.9999, warmup=True)
    config.training.update(batch_size=2048, steps=800_000)
    config.sampler.update(name="ancestral", respacing="250", variance="learned_range", threshold="clip")
    config.guidance.scale = 1.25
    return config
