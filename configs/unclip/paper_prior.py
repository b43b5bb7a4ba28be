"""unCLIP's diffusion prior (Ramesh et al. 2022, section 2.2 and table 3), given texts by the CLIP of paper_clip.py.

The paper trains a network of texts with it; here the CLIP's own, which is not trained any more, says the tokens.
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.unclip import paper_clip
from score_jax.configs.unclip.shared import of_embeddings, text_sizes


def get_config() -> ConfigDict:
    """64 steps with analytic variances; the better of two draws; guided by the decoder alone."""
    clip = paper_clip.get_config()
    config = of_embeddings(clip)
    sizes = {"width": 2048, "layers": 24, "heads": 32} | text_sizes(clip)
    base.replace_section(config, "network", name="prior_transformer", dtype="bfloat16", **sizes)
    config.optimizer.update(name="adamw", learning_rate=1.1e-4, b2=0.96, eps=1e-6, weight_decay=6e-2, warmup_steps=0)
    config.optimizer.clip_norm = 0.0
    config.ema.update(decay=0.9999, warmup=True)
    config.training.update(batch_size=4096, steps=600_000, sample_every=0)
    config.sampler.update(name="ancestral", respacing="64", variance="analytic", threshold="none")
    config.guidance.candidates = 2
    return config
