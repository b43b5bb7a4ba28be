"""ADM's classifier of noisy images, 256 x 256; 54.1 M parameters.

Dhariwal and Nichol 2021, table 12. Released as 256x256_classifier.pt. Not run here yet.

    python -m score_jax train --config=configs/adm/classifier256.py --workdir=runs/classifier256
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import shared


def get_config() -> ConfigDict:
    """Depth 2."""
    config = shared.classifier(256)
    config.network.update(channel_mult=(1, 1, 2, 2, 4, 4), num_res_blocks=2)
    config.optimizer.update(learning_rate=3e-4, weight_decay=0.05)
    config.training.update(batch_size=256, steps=500_001)
    return config
