"""A model of captioned_shapes without conditions, for edits by text on two CPU cores; small_clip.py of unCLIP guides.

python -m score_jax train --config=configs/unclip/small_clip.py --workdir=runs/small_clip
python -m score_jax train --config=configs/blended_diffusion/small_shapes.py --workdir=runs/small_shapes
python -m score_jax edit --workdir=runs/small_shapes --task=blend --image=shape.png --mask=mask.png \\
    --clip=runs/small_clip --prompt="a large blue cross on the left of a white background"
"""

from ml_collections import ConfigDict

from score_jax.configs import base


def get_config() -> ConfigDict:
    """0.4 M parameters at 32 x 32; 50 of the levels in an edit, of which the noisiest 5 are left out."""
    config = base.get_config()
    base.set_data(config, "captioned_shapes")
    base.replace_section(config, "process", name="vp_chain", schedule="cosine", num_levels=1000)
    base.replace_section(config, "prediction", output="v", label="index")
    base.replace_section(
        config,
        "network",
        name="adm",
        channels=16,
        channel_mult=(1, 2, 4),
        num_res_blocks=1,
        attention_resolutions=(8,),
        learn_sigma=False,
        dropout=0.0,
        num_head_channels=16,
        norm_groups=8,
        dtype="float32",
        remat=(),
    )
    config.loss.weighting = "v"
    config.optimizer.update(learning_rate=1e-3, warmup_steps=100, decay="cosine")
    config.ema.update(decay=0.995, warmup=True)
    config.training.update(batch_size=32, steps=6000, log_every=50, checkpoint_every=500, keep=2, sample_every=0)
    config.sampler.update(name="ancestral", respacing="50", variance="fixed_small", threshold="none")
    config.sampling.update(num_samples=16, batch_size=16)
    config.edit.update(skip=5, views=8)
    return config
