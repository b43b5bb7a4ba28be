"""From a caption to an image on two CPU cores: prior, decoder and upsampler of captioned_shapes, one after another.

python -m score_jax sample --config=configs/unclip/small_cascade.py --workdir=runs/small_unclip \\
    --prompt="a small red circle on the left of a white background"
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.unclip import small_clip


def get_config() -> ConfigDict:
    """The prior draws an embedding, the decoder an image of 16 x 16 of it, the upsampler one of 32 x 32."""
    config = base.get_cascade("runs/small_prior", "runs/small_decoder", "runs/small_upsampler")
    config.data.update({key: value for key, value in small_clip.get_config().data.items() if key != "tokenizer"})
    return config
