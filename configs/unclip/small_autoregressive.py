"""From a caption to the embedding of an image, on two CPU cores: an autoregressive prior of captioned_shapes.

python -m score_jax train --config=configs/unclip/small_autoregressive.py --workdir=runs/small_autoregressive \\
    --config.training.clip=runs/small_clip
python -m score_jax likelihood --workdir=runs/small_autoregressive
python -m score_jax sample --workdir=runs/small_autoregressive \\
    --prompt="a small red circle on the left of a white background"
"""

from ml_collections import ConfigDict

from score_jax.configs.unclip import small_clip
from score_jax.configs.unclip.shared import of_codes


def get_config() -> ConfigDict:
    """0.5 M parameters, as many as `small_prior` has: 24 components of 64, of which 11 hold 99 % of the variance."""
    codes = {"components": 24, "buckets": 32, "alignments": 8}
    config = of_codes(small_clip.get_config(), codes, width=96, layers=4, heads=3, dtype="float32")
    config.optimizer.update(learning_rate=1e-3, warmup_steps=100, decay="cosine")
    config.ema.update(decay=0.998, warmup=True)
    config.training.update(batch_size=64, steps=1500, log_every=50, checkpoint_every=500, keep=2, sample_every=0)
    config.evaluation.update(num_samples=960, batch_size=192)
    return config
