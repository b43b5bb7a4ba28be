"""Karlo v1 alpha's prior: from a caption to an embedding of CLIP ViT-L/14; 1,022 M parameters.

kakaobrain/karlo, of COYO-100M, CC3M and CC12M; its code and weights are under the CreativeML Open RAIL-M licence. How
it was trained is not published: the optimizer is that of unCLIP's prior (Ramesh et al. 2022, table 3). The weights:

    python -m score_jax convert --from=karlo FOLDER --workdir=runs/karlo
"""

from ml_collections import ConfigDict

from score_jax.configs import base
from score_jax.configs.unclip.shared import as_published, of_embeddings, text_sizes, vit_l_14


def get_config() -> ConfigDict:
    """A causal transformer of 20 blocks over 81 tokens, which predicts x0; 25 steps with a guidance of 4."""
    clip = vit_l_14()
    config = of_embeddings(clip)
    base.replace_section(
        config,
        "network",
        name="prior_transformer",
        width=2048,
        layers=20,
        heads=32,
        norm_out=True,
        dtype="float32",
        **text_sizes(clip),
    )
    as_published(config, "25", batch_size=4096)
    config.loss.condition_dropout = 0.2
    config.optimizer.update(learning_rate=1.1e-4, weight_decay=6e-2, b2=0.96, eps=1e-6)
    config.guidance.scale = 4.0
    return config
