"""Latents of a model that is exact, and of commands."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_experiment import COUNT, MEAN, STD, experiment, source

from score_jax.builder.likelihood import flow_of
from score_jax.errors import InputError
from score_jax.jobs import encode
from score_jax.runtime.sharding import make_mesh


def encoded(built):
    return encode.encode(encode.coder(built, {}), make_mesh(), source(), COUNT)


@pytest.fixture(scope="module")
def by_vp():
    return encoded(experiment())


def test_latents_are_the_closed_form_and_images_come_back(by_vp):
    """The flow of a normal law is linear: it keeps the number of standard deviations from the mean."""
    built = experiment()
    process = built.process
    one = jnp.ones(())
    mean, std = process.alpha(one) * MEAN, jnp.sqrt((process.alpha(one) * STD) ** 2 + process.sigma(one) ** 2)
    x = built.codec.encode(jnp.asarray(by_vp["images"]))
    np.testing.assert_allclose(by_vp["latents"], mean + std * (x - MEAN) / STD, atol=2e-2)
    assert by_vp["rms_error"].max() < 0.2
    assert np.abs(by_vp["reconstructions"].astype(int) - by_vp["images"]).max() <= 1
    summary = encode.summary(by_vp)
    assert summary["count"] == COUNT and summary["failed"] == 0
    assert json.dumps(summary)


def test_a_grid_leads_there_and_back(by_vp):
    found = encoded(experiment(control="grid", solver="adams", num_steps=64))
    np.testing.assert_allclose(found["latents"], by_vp["latents"], atol=1e-3)
    assert found["rms_error"].max() < 0.05
    assert (found["nfe"] == 2 * 65).all()


def test_two_models_of_one_law_have_the_same_latents(by_vp):
    found = encode.agreement(by_vp["latents"], encoded(experiment("sub_vp"))["latents"])
    assert found["correlation"] > 0.999
    assert abs(found["correlation_with_another_image"]) < 0.3
    rolled = encode.agreement(by_vp["latents"], np.roll(by_vp["latents"], 1, axis=0))
    assert rolled["correlation"] < 0.3


def test_an_arc_runs_from_one_image_to_the_other(by_vp):
    rows = encode.interpolate(encode.coder(experiment(), {}), by_vp, 2).reshape(2, len(encode.WEIGHTS), 4, 4, 1)
    ends = by_vp["images"][:4].reshape(2, 2, 4, 4, 1).astype(int)
    assert np.abs(rows[:, 0] - ends[:, 0]).max() <= 1
    assert np.abs(rows[:, -1] - ends[:, 1]).max() <= 1
    steps = np.abs(np.diff(rows.astype(int), axis=1)).mean(axis=(2, 3, 4))
    assert (steps < np.abs(ends[:, 0] - ends[:, 1]).mean(axis=(1, 2, 3))[:, None]).all()


def test_only_what_draws_from_noise_encodes():
    built = dataclasses.replace(experiment(), parts={})
    with pytest.raises(InputError, match="This run has no likelihood: it is a classifier"):
        encode.coder(built, {})


def test_a_chain_is_interpolated():
    built = experiment({"name": "vp_chain", "num_levels": 1000})
    coder = encode.coder(built, {})
    assert coder.experiment.process.t_max == flow_of(built.facts).t_max == 999
    x = jax.random.normal(jax.random.key(0), (2, 4, 4, 1)) * STD + MEAN
    batch = {"label": jnp.zeros(2, jnp.int32)}
    there = jax.jit(coder.encode)(x, batch)
    back = jax.jit(coder.decode)(there.y, batch)
    assert there.ok.all()
    np.testing.assert_allclose(back.y, x, atol=2e-3)
