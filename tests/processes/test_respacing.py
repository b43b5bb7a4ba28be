"""Which levels of a chain are kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sections import sampling_of

from score_jax.builder import build_process
from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.prediction.predictor import score_predictor
from score_jax.processes.respacing import kept_levels
from score_jax.samplers.sample import sample


def config_of(**sampler):
    config = base.get_config()
    base.replace_section(config, "process", name="vp_chain", num_levels=1000)
    config.sampler.update(name="ddim", **sampler)
    return config


def test_one_step_of_gaussian_data_is_their_mean():
    """At the last level hardly anything is known of x0: the model's belief is the mean, not the noise it is given."""
    process = build_process(config_of())
    score = score_predictor(lambda x, t: -x / (0.04 * process.alpha(t) ** 2 + process.sigma(t) ** 2)[:, None], process)

    def std(**sampler):
        sampling = sampling_of(config_of(**sampler), process)
        draw = jax.jit(
            lambda key: sample(sampling.see(score), sampling.process, sampling.sampler, key, jnp.arange(64), (8,)).x
        )
        return float(draw(jax.random.key(0)).std())

    assert std(respacing="1") == std(num_steps=1) < 0.01


@pytest.mark.parametrize(
    ("respacing", "levels"),
    [
        ("3", [0, 500, 999]),
        ("ddim4", [0, 250, 500, 750]),
        ("2,2", [0, 499, 500, 999]),
        (" 2, 2 ", [0, 499, 500, 999]),
        ("quad2", [0, 800]),
        ("1", [0]),
        ("2,0", [0, 499]),
        ("1000", list(range(1000))),
    ],
)
def test_notations_of_published_code(respacing, levels):
    np.testing.assert_array_equal(kept_levels(1000, respacing), levels)


@pytest.mark.parametrize(
    ("respacing", "message"),
    [
        ("0", "asks for 0 levels of 1000: give 1 to 1000"),
        ("quad0", "asks for 0 levels"),
        ("ddim0", "asks for 0 levels"),
        ("0,0", "asks for 0 levels"),
        ("1001", "asks for 1001 levels of 1000"),
        ("quad1001", "asks for 1001 levels"),
        ("900,2", "900 steps are asked for in a section of 500 levels"),
        ("quad1", "keeps the level of least noise alone"),
        ("ddim1", "No whole stride keeps 1 of 1000 levels"),
        ("ddim700", "No whole stride keeps 700"),
        ("-5", "expected a number of steps"),
        ("ddim-5", "expected a number of steps"),
        ("2.5", "expected a number of steps"),
        ("ten", "expected a number of steps"),
        ("ddim", "expected a number of steps"),
        ("ddim5,5", "expected a number of steps"),
        ("10,,5", "expected a number of steps"),
        ("\u00b2", "expected a number of steps"),
        ("7" * 500, "expected a number of steps"),
        (" ", "expected a number of steps"),
    ],
)
def test_what_keeps_no_such_levels_is_answered_in_one_line(respacing, message):
    with pytest.raises(InputError, match=message) as caught:
        kept_levels(1000, respacing)
    text = str(caught.value)
    assert text.startswith("sampler.respacing=") and "\n" not in text and len(text) < 250


@pytest.mark.parametrize(("respacing", "begins"), [("ddim2", 500), ("10,1", 500), ("25", None), ("ddim25", None)])
def test_a_first_level_far_from_the_prior_is_said_once(respacing, begins, capsys):
    config = config_of(respacing=respacing)
    for _ in range(2):
        sampling_of(config, build_process(config))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (begins is not None)
    if begins is not None:
        assert f"begins at level {begins} of 0 to 999" in lines[0]
