"""unCLIP's autoregressive prior (Ramesh et al. 2022, section 2.2 and table 3), with the CLIP of paper_clip.py.

The paper's sequence has 384 places, too few for a caption's 256 tokens and 319 codes; here both stand in it.
"""

from ml_collections import ConfigDict

from score_jax.configs.unclip import paper_clip
from score_jax.configs.unclip.shared import of_codes


def get_config() -> ConfigDict:
    """319 components in 1024 buckets; the dot product from the upper half, as was best in all of its experiments."""
    codes = {"components": 319, "buckets": 1024, "alignments": 16}
    config = of_codes(paper_clip.get_config(), codes, width=1664, layers=24, heads=26, dtype="bfloat16")
    config.sampler.alignment_above = 0.5
    config.optimizer.update(name="adamw", learning_rate=1.6e-4, b2=0.91, eps=1e-10, weight_decay=4e-2, warmup_steps=0)
    config.optimizer.clip_norm = 0.0
    config.ema.update(decay=0.999, warmup=True)
    config.training.update(batch_size=4096, steps=1_000_000)
    return config
