"""ADM's classifier of noisy images, 512 x 512; 54.4 M parameters.

Dhariwal and Nichol 2021, table 12. Released as 512x512_classifier.pt. Not run here yet.

    python -m score_jax train --config=configs/adm/classifier512.py --workdir=runs/classifier512
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import shared


def get_config() -> ConfigDict:
    """Depth 2."""
    config = shared.classifier(512)
    config.network.update(channel_mult=(0.5, 1, 1, 2, 2, 4, 4), num_res_blocks=2)
    config.optimizer.update(learning_rate=3e-4, weight_decay=0.05)
    config.training.update(batch_size=256, steps=500_001)
    return config
