"""What an autoencoder and its discriminator make small, against the formulas written out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import builder
from score_jax.configs import base
from score_jax.configs.ldm import mnist_first_stage
from score_jax.errors import InputError
from score_jax.losses import adversarial
from score_jax.training.objective import Surroundings

KEYS = jax.random.split(jax.random.key(3), 6)


def config(name="autoencoder_kl", **loss):
    c = mnist_first_stage.get_config()
    c.data.update(name="digits", image_size=8, resize_filter="none")
    own = {"codebook_size": 8} if name == "autoencoder_vq" else {}
    values = c.network.to_dict() | {"name": name, "channels": 32, "channel_mult": (1, 1), "num_res_blocks": 1}
    base.replace_section(c, "network", **values, **own)
    c.loss.update(adversarial_start=5, discriminator_channels=4, discriminator_layers=1, adversarial_factor=0.5)
    c.loss.update(loss)
    return c


@pytest.fixture(scope="module")
def batch():
    return {"image": jax.random.randint(jax.random.key(0), (6, 8, 8, 1), 0, 256).astype(jnp.uint8)}


def outcomes(built, batch, step):
    """Both objectives at the state that training begins with, before any step."""
    state = built.create_state()
    found = {}
    for name, group in built.groups.items():
        others = {other: state.params[other] for other in built.groups if other != name}
        around = Surroundings(others, None, state.statistics, jnp.int32(step))

        def values(params, group=group, around=around):
            return group.objective.values(params, around, batch, jnp.zeros(6), KEYS, jax.random.key(1))

        found[name] = jax.jit(values)(state.params[name])
    return state, found


def test_the_weight_balances_the_gradients_of_the_last_layer(batch):
    """The adaptive weight is the ratio of two norms that are computed here by the gradient of all parameters."""
    built = builder.experiment(config(kl_weight=0.0, adversarial_weight=0.7))
    state, at_start = outcomes(built, batch, step=5)
    before = outcomes(built, batch, step=4)[1]["model"]
    objective = built.groups["model"].objective
    around = Surroundings({"discriminator": state.params["discriminator"]}, None, state.statistics, jnp.int32(4))

    def mean(params, of):
        found = objective.values(params, around, batch, jnp.zeros(6), KEYS, jax.random.key(1))
        return jnp.mean(found.values if of == "nll" else found.metrics[of])

    def norm(of):
        gradient = jax.jit(jax.grad(lambda params: mean(params, of)))(state.params["model"])
        return float(jnp.linalg.norm(gradient["decoder"]["conv_out"]["kernel"]))

    weight = 0.7 * norm("nll") / (norm("generator") + 1e-4)
    model = at_start["model"]
    np.testing.assert_allclose(model.metrics["adversarial_weight"], weight, rtol=1e-4)
    np.testing.assert_allclose(
        model.values, before.values + weight * 0.5 * model.metrics["generator"], rtol=1e-5, atol=1e-4
    )
    # 64 numbers of an image, each with its absolute error.
    np.testing.assert_allclose(before.values, 64 * before.metrics["error"], rtol=1e-5)


def test_the_discriminator_is_not_trained_before_its_step(batch):
    built = builder.experiment(config())
    early, late = (outcomes(built, batch, step)[1]["discriminator"] for step in (4, 5))
    assert (early.values == 0).all()
    real, fake = (jnp.reshape(late.metrics[f"logits_{what}"], (6, 1, 1, 1)) for what in ("real", "fake"))
    assert adversarial.hinge(real, fake).shape == (6,) and (late.values > 0).all()
    before, after = built.create_state().statistics, late.statistics
    assert all(not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))


def test_a_codebook_is_reported(batch):
    built = builder.experiment(config("autoencoder_vq", adversarial_weight=0.0))
    assert set(built.groups) == {"model"} and built.create_state().statistics is None
    state, around = built.create_state(), Surroundings({}, None, None, jnp.int32(0))
    found = jax.jit(built.groups["model"].objective.values)(
        state.params, around, batch, jnp.zeros(6), KEYS, jax.random.key(1)
    )
    used, perplexity = found.metrics["codes_used"][0], found.metrics["perplexity"][0]
    assert 1 <= perplexity <= used <= 8
    np.testing.assert_allclose(found.values, found.metrics["error"] + found.metrics["quantization"], rtol=1e-5)


def test_other_losses_are_refused():
    wrong = config()
    wrong.loss.name = "denoising"
    with pytest.raises(InputError, match="trained by loss.name=first_stage"):
        builder.experiment(wrong)
    whole = dataclasses.asdict(builder.experiment(config()).sections["loss"])
    assert whole["adversarial_factor"] == 0.5
    parted = config()
    parted.training.accumulate = 2
    with pytest.raises(InputError, match="needs the whole batch at once"):
        builder.experiment(parted)
