"""A CLIP of captioned_shapes on two CPU cores, whose features an unCLIP's prior and decoder take.

python -m score_jax train --config=configs/unclip/small_clip.py --workdir=runs/small_clip
python -m score_jax evaluate --workdir=runs/small_clip --config.data.eval_split=held_out
"""

from ml_collections import ConfigDict

from score_jax.configs.unclip.shared import of_pairs


def get_config() -> ConfigDict:
    """0.4 M parameters: two transformers of two blocks each, to 64 features; that of images begins with convolutions.

    unCLIP's own CLIP is trained with SAM: optimizer.sam_rho=0.1, which takes twice the time.
    """
    config = of_pairs(
        "captioned_shapes",
        "words",
        12,
        features=64,
        patch=8,
        stem=32,
        width=96,
        layers=2,
        heads=3,
        vocabulary=30,
        length=12,
        text_width=64,
        text_layers=2,
        text_heads=2,
        text_pool="last",
    )
    config.data.update(image_size=32)
    config.optimizer.update(name="adamw", learning_rate=2e-3, b2=0.98, eps=1e-6, weight_decay=0.1, decayed="matrices")
    config.optimizer.update(warmup_steps=50, decay="cosine")
    config.ema.update(decay=0.99, warmup=True)
    config.training.update(batch_size=128, steps=1200, log_every=20, checkpoint_every=250, keep=2, sample_every=0)
    return config
