"""From an embedding to an image of 16 x 16, on two CPU cores: the decoder of captioned_shapes.

python -m score_jax train --config=configs/unclip/small_decoder.py --workdir=runs/small_decoder \\
    --config.training.clip=runs/small_clip
python -m score_jax sample --workdir=runs/small_decoder
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.unclip import small_clip
from score_jax.configs.unclip.shared import of_size, text_sizes


def get_config() -> ConfigDict:
    """0.9 M parameters; the CLIP sees the images at 32 x 32. A tenth of embeddings and half of captions are left out.

    It predicts v, and the error of v counts, because place and colour are decided at much noise, where errors of eps
    count for nothing. The variance is fixed: small networks learn it badly.
    """
    clip = small_clip.get_config()
    config = of_size(clip, 16)
    config.data.resize_filter = "bicubic"
    base.replace_section(
        config,
        "network",
        name="unclip_decoder",
        channels=32,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_factors=(2,),
        image_features=clip.network.features,
        context_width=64,
        extra_tokens=4,
        learn_sigma=False,
        num_head_channels=16,
        norm_groups=8,
        dtype="float32",
        remat=(),
        **text_sizes(clip),
    )
    config.prediction.output = "v"
    config.loss.update(weighting="v", caption_dropout=0.5)
    config.sampler.update(name="ddim", num_steps=25, threshold="clip")
    config.optimizer.update(learning_rate=1e-3, warmup_steps=100, decay="cosine")
    config.ema.update(decay=0.998, warmup=True)
    config.training.update(batch_size=32, steps=8000, log_every=50, checkpoint_every=500, keep=2, sample_every=0)
    config.likelihood.update(rtol=1e-3, atol=1e-3)  # of `variations`, whose images have 8 bits
    config.evaluation.update(num_samples=960, batch_size=192)
    return config
