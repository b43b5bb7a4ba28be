"""ADM's classifier of noisy images, 64 x 64; 65.4 M parameters.

Dhariwal and Nichol 2021, table 12. Released as 64x64_classifier.pt. Not run here yet.

    python -m score_jax train --config=configs/adm/classifier64.py --workdir=runs/classifier64
"""

from ml_collections import ConfigDict

from score_jax.configs.adm import shared


def get_config() -> ConfigDict:
    """Depth 4."""
    config = shared.classifier(64)
    config.network.update(channel_mult=(1, 2, 3, 4), num_res_blocks=4)
    config.process.schedule = "cosine"
    config.optimizer.update(learning_rate=6e-4, weight_decay=0.2)
    config.training.update(batch_size=1024, steps=300_001)
    return config
