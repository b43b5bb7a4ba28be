"""LDM-4 on landscapes at 512 x 512, by segmentation; 215.2 M parameters and 546 of the rescaler.

CompVis/latent-diffusion, semantic_synthesis.zip. Trained on crops of
512 from pictures of 768 there. The condition `segmentation` of a batch has one
channel for each of 182 classes. Batch, effective learning rate and steps are the paper's (Rombach et al. 2022, table
15). Not run here yet.

    python -m score_jax train --config=configs/ldm/semantic_synthesis512.py --workdir=runs/semantic_synthesis512 \\
        --config.training.first_stage=runs/vq_f4 --config.data.segmentations=maps
"""

from ml_collections import ConfigDict

from score_jax.configs.ldm import shared


def get_config() -> ConfigDict:
    """Latents of VQ-f4 of 128 x 128 beside the segmentation at their size."""
    return shared.semantic_synthesis(512)
