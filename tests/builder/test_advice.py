"""What is advised where samples are not finite acts on the sampler that drew them."""

import numpy as np
import pytest

from score_jax.builder.sections import completed
from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.jobs.sample import check_finite

ADAPTIVE, STEPS = ("rtol", "atol", "gave up"), ("larger sampler.num_steps", "more levels")


def message_of(process="vp", network=None, guidance=None, **sampler):
    config = base.get_config()
    base.replace_section(
        config, "process", **({"name": process} | ({"num_levels": 1000} if "chain" in process else {}))
    )
    config.network.update(network or {})
    config.guidance.update(guidance or {})
    config.sampler.update(**sampler)
    with pytest.raises(InputError) as caught:
        check_finite(np.array([True, True, False, False]), np.arange(64, 68), completed(config))
    text = str(caught.value)
    assert "\n" not in text and text.startswith("2 of 4 samples are not finite")
    assert "(the first is number 66): check that the weights are finite" in text
    return text


@pytest.mark.parametrize(
    ("config", "said", "not_said"),
    [
        ({"name": "ode"}, (*ADAPTIVE, "t_min", "threshold=clip"), STEPS),
        ({"name": "sde"}, ADAPTIVE, STEPS),
        (
            {"name": "ddim"},
            ("larger sampler.num_steps", "threshold=clip", "train longer"),
            (*ADAPTIVE, "guidance", "dtype"),
        ),
        ({"name": "heun"}, ("larger sampler.num_steps",), ADAPTIVE),
        ({"name": "euler_maruyama", "threshold": "clip"}, ("larger sampler.num_steps",), (*ADAPTIVE, "threshold")),
        ({"name": "ddim", "process": "vp_chain"}, ("threshold=clip",), (*ADAPTIVE, *STEPS)),
        ({"name": "ddim", "process": "vp_chain", "num_steps": 50}, ("larger sampler.num_steps",), ADAPTIVE),
        ({"name": "ancestral", "process": "vp_chain", "respacing": "ddim25"}, ("respacing of more levels",), ADAPTIVE),
        ({"name": "ancestral", "process": "vp_chain", "respacing": "1000"}, (), (*ADAPTIVE, *STEPS)),
        ({"name": "langevin", "process": "ve_chain"}, ("smaller sampler.step_lr",), (*ADAPTIVE, *STEPS)),
        ({"name": "predictor_corrector"}, ("smaller sampler.snr",), ADAPTIVE),
        ({"name": "predictor_corrector", "corrector": "none"}, ("larger sampler.num_steps",), (*ADAPTIVE, "snr")),
        ({"guidance": {"scale": 4.0}}, ("lower guidance.scale",), ()),
        ({"network": {"dtype": "bfloat16"}}, ("network.dtype=float32",), ()),
    ],
)
def test_advice_fits_the_sampler(config, said, not_said):
    text = message_of(**config)
    for word in said:
        assert word in text
    for word in not_said:
        assert word not in text


def test_finite_samples_pass():
    check_finite(np.ones(4, bool), np.arange(4), base.get_config())


def test_learned_kernels_have_no_steps_and_no_threshold():
    from score_jax.configs.dpm2015 import swiss_roll

    with pytest.raises(InputError, match="belong to this config; if so, train longer.$"):
        check_finite(np.array([True, False]), np.arange(2), completed(swiss_roll.get_config()))
