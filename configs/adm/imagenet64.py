"""ADM on ImageNet 64 x 64.

Dhariwal and Nichol 2021, table 5: FID 2.07, precision 0.74, recall 0.63 (with dropout, 250 steps, no guidance); 295.9 M
parameters. Released as 64x64_diffusion.pt. Not run here yet.

    python -m score_jax train --config=configs/adm/imagenet64.py --workdir=runs/imagenet64
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import shared


def get_config() -> ConfigDict:
    """The one model with the cosine schedule and the new order of queries, keys and values."""
    config = shared.adm("imagenet2012", 64)
    config.process.schedule = "cosine"
    config.network.update(
        channels=192, channel_mult=(1, 2, 3, 4), num_res_blocks=3, dropout=0.1, num_classes=1000, qkv_layout="new"
    )
    config.optimizer.learning_rate = 3e-4
    config.training.update(batch_size=2048, steps=540_001)
    return config
