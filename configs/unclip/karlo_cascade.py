"""From a caption to an image of 256 x 256: Karlo v1 alpha's prior, decoder and upsampler, one after another.

`convert` writes such a config beside the three workdirs:

    python -m score_jax convert --from=karlo FOLDER --workdir=runs/karlo
    python -m score_jax sample --workdir=runs/karlo --prompt="a red fox in the snow"

Karlo's repository: FID of 15.24 on 30,000 captions of MS-COCO, with 25 steps of the decoder; 14.43 with 50. Not run
here.
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.unclip import karlo_upsampler


def get_config() -> ConfigDict:
    """Each as its run says: 25 steps, 25 steps, and 7."""
    config = base.get_cascade("runs/karlo/prior", "runs/karlo/decoder", "runs/karlo/upsampler")
    data = karlo_upsampler.get_config().data.to_dict()
    config.data.update({key: data[key] for key in ("name", "train_split", "eval_split", "image_size", "resize_filter")})
    config.sampling.update(num_samples=4, batch_size=4)
    return config
