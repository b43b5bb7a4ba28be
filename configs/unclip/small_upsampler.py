"""From 16 x 16 to 32 x 32 on two CPU cores: the upsampler of captioned_shapes, which sees neither text nor embedding.

python -m score_jax train --config=configs/unclip/small_upsampler.py --workdir=runs/small_upsampler
python -m score_jax sample --workdir=runs/small_upsampler --base=runs/small_decoder/samples.npz
"""

from ml_collections import ConfigDict

from score_jax.configs.unclip.shared import upsampler


def get_config() -> ConfigDict:
    """0.3 M parameters, convolutions alone; trained on squares of 16 pixels, and on small images a little blurred."""
    config = upsampler(
        "captioned_shapes",
        image_size=32,
        low_resolution=16,
        degradation="blurred",
        schedule="cosine",
        channels=32,
        channel_mult=(1, 1),
        num_res_blocks=1,
        dropout=0.0,
        norm_groups=8,
        remat=(),
        dtype="float32",
    )
    config.prediction.output = "v"
    config.loss.update(weighting="v", crop=16)
    config.sampler.update(name="ddim", num_steps=15, threshold="clip")
    config.optimizer.update(learning_rate=1e-3, warmup_steps=100, decay="cosine")
    config.ema.update(decay=0.995, warmup=True)
    config.training.update(batch_size=32, steps=1000, log_every=20, checkpoint_every=500, keep=2, sample_every=0)
    return config
