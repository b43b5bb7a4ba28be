"""Stable Diffusion 2 and 2.1 base at 512 x 512, by text; 865.9 M parameters, 340.4 M of OpenCLIP's text encoder.

The network outputs the noise. How long it was trained is not in the code.

    python -m score_jax convert --from=stable_diffusion --prediction=eps v2-1_512-ema-pruned.ckpt --workdir=runs/sd2
"""

from ml_collections import ConfigDict

from score_jax.configs.stable_diffusion import shared


def get_config() -> ConfigDict:
    """Version 2 of 512 pixels."""
    return shared.version_2(512, "eps")
