"""EDM on ImageNet 64 x 64 with ADM's architecture; 295.9 M parameters.

Karras et al. 2022, table 3: FID 1.36 (511 evaluations, stochastic). NVlabs/edm: edm-imagenet-64x64-cond-adm.pkl. Not
run here yet.

    python -m score_jax train --config=configs/edm/imagenet64_cond_adm.py --workdir=runs/imagenet64_cond_adm
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.edm import shared


def get_config() -> ConfigDict:
    """192 channels, 1000 classes, batches of 4096."""
    config = shared.edm()
    config.data.update(name="imagenet2012", eval_split="validation", image_size=64, resize_filter="adm")
    base.replace_section(
        config,
        "network",
        name="edm_dhariwal",
        channels=192,
        channel_mult=(1, 2, 3, 4),
        num_res_blocks=3,
        attention_resolutions=(32, 16, 8),
        dropout=0.1,
        num_classes=1000,
        dtype="bfloat16",
    )
    config.sampler.update(num_steps=256, churn=40.0, churn_min=0.05, churn_max=50.0, churn_noise=1.003)
    config.optimizer.learning_rate = 1e-4
    config.training.update(batch_size=4096, steps=610_352)
    return config
