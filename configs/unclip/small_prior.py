"""From a caption to the embedding of an image, on two CPU cores: a diffusion prior of captioned_shapes.

python -m score_jax train --config=configs/unclip/small_prior.py --workdir=runs/small_prior \\
    --config.training.clip=runs/small_clip
python -m score_jax sample --workdir=runs/small_prior --prompt="a small red circle on the left of a white background"
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.unclip import small_clip
from score_jax.configs.unclip.shared import of_embeddings, text_sizes


def get_config() -> ConfigDict:
    """0.5 M parameters: a causal transformer of four blocks over 16 tokens, which predicts v.

    The paper predicts x0, which small priors answer with the mean of all images of a caption: their draws collapse.
    """
    clip = small_clip.get_config()
    config = of_embeddings(clip)
    config.prediction.output, config.loss.weighting = "v", "v"
    sizes = {"width": 96, "layers": 4, "heads": 3} | text_sizes(clip)
    base.replace_section(config, "network", name="prior_transformer", dtype="float32", **sizes)
    config.sampler.num_steps = 64
    config.optimizer.update(learning_rate=1e-3, warmup_steps=200, decay="cosine")
    config.ema.update(decay=0.998, warmup=True)
    config.training.update(batch_size=128, steps=4000, log_every=50, checkpoint_every=500, keep=2, sample_every=0)
    config.evaluation.update(num_samples=960, batch_size=192)
    return config
