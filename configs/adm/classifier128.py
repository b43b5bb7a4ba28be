"""ADM's classifier of noisy images, 128 x 128; 42.6 M parameters.

Dhariwal and Nichol 2021, table 12. Released as 128x128_classifier.pt. Not run here yet.

    python -m score_jax train --config=configs/adm/classifier128.py --workdir=runs/classifier128
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import shared


def get_config() -> ConfigDict:
    """Depth 2."""
    config = shared.classifier(128)
    config.network.update(channel_mult=(1, 1, 2, 3, 4), num_res_blocks=2)
    config.optimizer.update(learning_rate=3e-4, weight_decay=0.05)
    config.training.update(batch_size=256, steps=300_001)
    return config
