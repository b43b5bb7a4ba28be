"""Conditions of any kind, a row for each sample: drawn, resumed, and refused where they do not fit."""

import inspect
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import score_jax as sj
from score_jax.jobs.given_conditions import given_conditions
from tiny import in_two_processes

VP, STD = sj.VP(), 0.2
COUNT, SHAPE = 40, (4, 4, 1)


def model(x, t, given):
    """The exact noise of N(mean + shift, 0.2²), of which each sample has its own mean."""
    mean = given["mean"] + given["more"][0][:, None]
    alpha, sigma = VP.alpha(t)[:, None], VP.sigma(t)[:, None]
    return sigma * (x - alpha * mean) / (alpha**2 * STD**2 + sigma**2)


def pixels(images):
    return images.reshape(len(images), -1)[:, :2].astype(jnp.float32)


RNG = np.random.default_rng(3)
PROMPTS = {"image": RNG.integers(0, 128, (COUNT, *SHAPE), np.uint8), "level": RNG.integers(0, 100, COUNT)}
REAL = RNG.integers(0, 256, (COUNT, *SHAPE), np.uint8)
HOW = dict(reference=REAL, num_samples=COUNT, protocol=None, features=pixels, batch_size=1)


@jax.jit
def draw(key, indices, given):
    """An image that is given, with noise, and as bright as a number says."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, indices)
    noise = jax.vmap(lambda key: jax.random.randint(key, SHAPE, 0, 20, jnp.uint8))(keys)
    return given["image"] + noise + given["level"].astype(jnp.uint8)[:, None, None, None]


def expected():
    """What the samples of seed 0 must be."""
    return np.asarray(draw(jax.random.key(0), jnp.arange(COUNT), jax.tree.map(jnp.asarray, PROMPTS)))


def saved(folder):
    return np.load(folder / "evaluation_samples" / "samples_00000.npz")["arr_0"]


def test_each_sample_has_the_law_that_its_condition_says():
    means = RNG.normal(size=(400, 2)).astype(np.float32)
    given = {"mean": means, "more": [jnp.linspace(0, 3, 400)]}
    x = sj.sample(model, VP, (400, 2), conditions=given, solver="ddim", num_steps=64, batch_size=200)
    rest = (x - means - np.linspace(0, 3, 400)[:, None]) / STD
    assert abs(rest.mean()) < 4 / 800**0.5 and abs(rest.std() - 1) < 0.12
    assert np.corrcoef(x[:, 0], means[:, 0])[0, 1] > 0.5
    one = sj.sampler(model, VP, (2,), conditions=given, solver="ddim", num_steps=64)
    part = jax.tree.map(lambda array: jnp.asarray(array)[jnp.array([7])], given)
    np.testing.assert_allclose(one(jax.random.key(0), jnp.array([7]), part)[0], x[7], atol=1e-5)


def test_samples_are_drawn_with_the_rows_of_their_indices(tmp_path):
    found = sj.evaluate(draw, **HOW, conditions=PROMPTS, workdir=tmp_path, save_samples=True)
    np.testing.assert_array_equal(saved(tmp_path), expected())
    assert found["labels"] == f"conditions given, sha256 {given_conditions(PROMPTS, COUNT).digest}"
    by_all = sj.evaluate(lambda *given: draw(*given), **HOW, conditions=PROMPTS, together=True)
    assert by_all["fid_pixels"] == found["fid_pixels"]


def test_a_stopped_job_goes_on_with_the_same_conditions_alone(tmp_path):
    asked, whole = [], sj.evaluate(draw, **HOW, conditions=PROMPTS)

    def stopping(key, indices, given):
        asked.append(int(np.asarray(indices)[0]))
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(key, indices, given)

    with pytest.raises(sj.Interrupted, match="16 of 40"):
        sj.evaluate(stopping, **HOW, conditions=PROMPTS, workdir=tmp_path)
    other = PROMPTS | {"level": np.r_[PROMPTS["level"][:-1], 99]}  # of the last sample alone
    sj.evaluate(draw, **HOW, conditions=other, workdir=tmp_path)
    again = sj.evaluate(stopping, **HOW, conditions=PROMPTS, workdir=tmp_path)
    assert asked == [0, 8, 0, 16, 24, 32]
    assert again["fid_pixels"] == whole["fid_pixels"] and again["labels"] == whole["labels"]


def test_conditions_may_lie_in_a_file(tmp_path):
    np.save(tmp_path / "images.npy", PROMPTS["image"])
    lying = PROMPTS | {"image": np.load(tmp_path / "images.npy", mmap_mode="r")}
    assert given_conditions(lying, COUNT).digest == given_conditions(PROMPTS, COUNT).digest
    assert (
        given_conditions(PROMPTS | {"level": PROMPTS["level"] + 1}, COUNT).digest
        != given_conditions(PROMPTS, COUNT).digest
    )
    found = sj.evaluate(draw, **HOW, conditions=lying)
    assert found["fid_pixels"] == sj.evaluate(draw, **HOW, conditions=PROMPTS)["fid_pixels"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(conditions={}), "conditions has no arrays"),
        (
            dict(conditions={"a": np.zeros(3)}),
            "conditions['a'] has shape (3,): expected a row for each sample, (40",
        ),
        (dict(conditions=np.float32(3)), "conditions has shape (): expected a row for each sample"),
        (dict(conditions=[["text"] * 40]), "conditions[0][0] is str: expected an array with a row"),
        (dict(conditions=np.array(["text"] * 40)), "conditions is of type <U4: expected numbers"),
        (
            dict(conditions=np.full(40, 2**40)),
            "conditions has values from 1099511627776 to 1099511627776: JAX keeps int32",
        ),
        (dict(conditions=np.zeros(40), labels=np.zeros(40, int)), "labels and conditions"),
        (dict(conditions=np.zeros(40), num_classes=3), "labels and conditions"),
    ],
)
def test_what_cannot_be_is_one_line(changed, message):
    with pytest.raises(sj.InputError) as error:
        inspect.unwrap(sj.evaluate)(draw, **{**HOW, **changed})
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_model_is_given_labels_or_conditions():
    how = dict(model=lambda x, t, given: x, process=VP)
    for changed, message in (
        (dict(labels=np.zeros(8, int), conditions=np.zeros(8)), "labels and conditions: the model is given one"),
        (dict(labels=np.linspace(0, 2, 8)), r"labels are float64 \(8,\): expected whole numbers"),
        (dict(labels=np.full(8, 2**40)), "labels are no integers of 32 bits"),
        (dict(conditions=np.zeros(7)), r"conditions has shape \(7,\)"),
    ):
        with pytest.raises(sj.InputError, match=message):
            inspect.unwrap(sj.sample)(**how, shape=(8, 2), **changed)
    with pytest.raises(sj.InputError, match="conditional=True is of labels"):
        inspect.unwrap(sj.sampler)(**how, shape=(2,), conditional=True, conditions=np.zeros(7))


def test_a_sampler_is_given_what_it_was_made_for():
    def model(x, t, *given):
        return x

    key, indices = jax.random.key(0), jnp.arange(8)
    made = {"labels": dict(conditional=True), "conditions": dict(conditions={"a": np.zeros((3, 2))})}
    draws = {name: sj.sampler(model, VP, (2,), num_steps=2, **how) for name, how in made.items()}
    for name, given, message in (
        ("labels", None, r"labels have shape \(\): expected a class of each, \(8,\)"),
        ("labels", np.zeros(7, int), r"labels have shape \(7,\): expected a class of each, \(8,\)"),
        ("conditions", {"b": np.zeros((8, 2))}, "as the sampler was made"),
        ("conditions", {"a": np.zeros((8, 3))}, r"conditions\['a'\] has shape \(8, 3\): expected \(8, 2\)"),
    ):
        with pytest.raises(sj.InputError, match=message):
            draws[name](key, indices, given)
    assert draws["conditions"](key, indices, {"a": np.zeros((8, 2))}).shape == (8, 2)


TWO_PROCESSES = """
import sys
import jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
from pathlib import Path
from test_conditions_given import HOW, PROMPTS, draw
import score_jax as sj
from score_jax.runtime import multihost
multihost._SECONDS = 0.1
sj.evaluate(draw, **HOW | {"batch_size": 2}, conditions=PROMPTS, workdir=Path(sys.argv[3]) / "two", save_samples=True)
"""


@pytest.mark.slow
def test_two_processes_draw_their_own_rows(tmp_path):
    in_two_processes(TWO_PROCESSES, tmp_path, __file__)
    np.testing.assert_array_equal(saved(tmp_path / "two"), expected())
    one = sj.evaluate(draw, **HOW | {"batch_size": 2}, conditions=PROMPTS)
    two = json.loads((tmp_path / "two" / "evaluation.json").read_text())
    assert two["fid_pixels"] == one["fid_pixels"] and two["labels"] == one["labels"]
