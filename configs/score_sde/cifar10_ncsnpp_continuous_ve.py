"""NCSN++ continuous on CIFAR-10 under VE.

Song et al. 2021, table 3: FID 2.38, IS 9.83 with the predictor-corrector sampler (2000 evaluations), 62.8 M parameters.
score_sde: configs/ve/cifar10_ncsnpp_continuous.py. The paper trains 0.95 M steps, its config says 1.3 M. Not run here
yet.

    python -m score_jax train --config=configs/score_sde/cifar10_ncsnpp_continuous_ve.py --workdir=runs/cifar10_ve
"""

from ml_collections import ConfigDict

from configs import base
from configs.score_sde import cifar10


def get_config() -> ConfigDict:
    """VE works on images in [0, 1], learns the score, and samples with a Langevin corrector."""
    config = cifar10.get_config()
    base.replace_section(config, "process", name="ve", sigma_min=0.01, sigma_max=50.0)
    config.data.value_range = (0.0, 1.0)
    config.network.update(embedding="fourier", fir=True, progressive_input="residual", scale_by_sigma=True)
    config.prediction.update(output="score", label="sigma")
    config.loss.reduction = "half_sum"
    config.ema.decay = 0.999
    config.sampler.update(name="predictor_corrector", snr=0.16, corrector_steps=1, t_min=1e-5)
    return config
