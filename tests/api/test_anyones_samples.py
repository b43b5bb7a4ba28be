"""Samples of models of any framework: drawn, measured against closed forms, resumed, refused where they are none."""

import inspect
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_models import MEAN, MODELS, SHAPE, STD, VP

import score_jax as sj
from score_jax.errors import InputError
from tiny import in_two_processes

LINEAR = np.random.default_rng(5).normal(size=(16, 2)).astype(np.float32) / 4
OTHER_MEAN, OTHER_STD = -0.05, 0.2


def linear(images):
    """A linear feature, of pixels in [-1, 1] as the middles of their levels."""
    return ((images.reshape(len(images), -1).astype(jnp.float32) + 0.5) / 128 - 1) @ LINEAR


def reference_of(folder, mean, std):
    """A file of the statistics that infinitely many images of a law would have."""
    covariance = std**2 * LINEAR.astype(float).T @ LINEAR
    np.savez(folder / "law.npz", mu=mean * LINEAR.astype(float).sum(axis=0), sigma=covariance)
    return folder / "law.npz"


def exact_distance():
    """Of the two laws: covariances are multiples of one another."""
    shift = (MEAN - OTHER_MEAN) * LINEAR.astype(float).sum(axis=0)
    return float(shift @ shift + (STD - OTHER_STD) ** 2 * np.trace(LINEAR.astype(float).T @ LINEAR))


@pytest.mark.parametrize("framework", MODELS)
def test_the_distance_of_samples_is_the_closed_form(framework, tmp_path):
    drawn = sj.sampler(MODELS[framework](), VP, SHAPE, solver="heun", num_steps=24, value_range=(-1, 1))
    found = sj.evaluate(
        drawn,
        reference=reference_of(tmp_path, OTHER_MEAN, OTHER_STD),
        num_samples=2000,
        protocol=None,
        features=linear,
        value_range=(-1, 1),
        batch_size=250,
    )
    error = found["fid_linear_standard_error"]
    assert 0 < error < 0.1 * exact_distance()
    assert abs(found["fid_linear"] - exact_distance()) < 4 * error


@pytest.mark.parametrize("solver", ["heun", "dpm_solver_2m", "euler_maruyama", "ode"])
def test_samples_of_any_solver_have_the_law(solver):
    steps = {} if solver == "ode" else {"num_steps": 100}
    x = sj.sample(MODELS["bare"](), VP, (800, 2), solver=solver, batch_size=400, **steps)
    assert x.shape == (800, 2) and len(np.unique(x, axis=0)) == 800
    assert abs(x.mean() - MEAN) < 4 * STD / 40 and abs(x.std() - STD) < 0.04


def test_a_chain_of_levels_is_drawn_by_its_index_and_labels_are_given():
    chain, means = sj.vp_chain(num_levels=200), jnp.array([-0.4, 0.4])

    def model(x, t, labels):
        alpha, sigma = chain.alpha(t)[:, None], chain.sigma(t)[:, None]
        return sigma * (x - alpha * means[labels][:, None]) / (alpha**2 * STD**2 + sigma**2)

    labels = np.repeat([0, 1], 200)
    x = sj.sample(model, chain, (400, 2), 1, labels=labels, solver="ancestral", num_steps=200)
    np.testing.assert_allclose([x[labels == k].mean() for k in (0, 1)], means, atol=0.06)


def uniform(key, indices, labels):
    """Plain NumPy, of the index alone."""
    rows = [np.random.default_rng(int(i)).integers(0, 256, SHAPE, np.uint8) for i in np.asarray(indices)]
    return np.stack(rows)


REAL = np.random.default_rng(9).integers(0, 256, (40, *SHAPE), np.uint8)
HOW = dict(reference=REAL, num_samples=40, protocol=None, features=linear, batch_size=1)


def without_place(found):
    return {name: value for name, value in found.items() if name != "sampler"}


def test_stopped_by_a_signal_and_called_again_it_goes_on(tmp_path):
    whole, asked, told = sj.evaluate(uniform, **HOW), [], []

    def slow(key, indices, labels):
        asked.append(int(np.asarray(indices)[0]))
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return uniform(key, indices, labels)

    before = signal.signal(signal.SIGTERM, lambda *_: told.append(True))  # as a trainer that saves its state has
    try:
        with pytest.raises(sj.Interrupted, match="16 of 40"):
            sj.evaluate(slow, **HOW, workdir=tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert asked == [0, 8] and told == [True]
    sj.evaluate(lambda *given: 255 - uniform(*given), **HOW, workdir=tmp_path)  # another model: its own batches
    again = sj.evaluate(slow, **HOW, workdir=tmp_path)
    assert asked == [0, 8, 0, 16, 24, 32]  # the first batch says that it is the same model
    assert without_place(again) == without_place(whole)
    assert json.loads((tmp_path / "evaluation.json").read_text()) == again
    assert not (tmp_path / "evaluation_parts").exists()


def test_labels_are_drawn_or_given():
    seen = {}

    def draw(key, indices, labels):
        seen.update(zip(np.asarray(indices).tolist(), np.asarray(labels).tolist(), strict=True))
        return uniform(key, indices, labels)

    assert sj.evaluate(draw, **HOW, num_classes=3)["labels"] == "random of 3 classes"
    first = dict(seen)
    assert set(first.values()) == {0, 1, 2} and len(first) == 40
    sj.evaluate(draw, **HOW | {"batch_size": 2}, num_classes=3)
    assert seen == first  # of the seed and the index
    sj.evaluate(draw, **HOW, labels=np.arange(40) % 10)
    assert seen == {i: i % 10 for i in range(40)}
    assert sj.evaluate(draw, **HOW, num_classes=4, labels="balanced")["labels"] == "balanced over 4 classes"
    assert seen == {i: i % 4 for i in range(40)}
    with pytest.raises(InputError, match="labels='balanced', num_classes=0: expected .balanced., and num_classes"):
        sj.evaluate(draw, **HOW, labels="balanced")


def test_together_draw_gets_the_whole_batch_as_it_is():
    def draw(key, indices, labels):
        assert isinstance(indices, np.ndarray) and isinstance(labels, np.ndarray) and len(indices) == 8
        return uniform(key, indices, labels)

    assert without_place(sj.evaluate(draw, **HOW, together=True)) == without_place(sj.evaluate(uniform, **HOW))


def test_two_sets_are_compared():
    found = sj.compare(REAL, REAL[::-1], protocol=None, features=linear)
    assert abs(found["fid_linear"]) < 1e-9 and found["generated"]["n"] == 40 and found["protocol"] == "plain"


def test_the_same_images_again_are_said(capsys):
    sj.evaluate(lambda key, indices, labels: uniform(key, np.arange(len(indices)), labels), **HOW)
    assert "the same images for the first batch and the second" in capsys.readouterr().out


def test_two_sets_are_compared_by_one_protocol():
    with pytest.raises(sj.InputError, match="expected the name of one protocol"):
        inspect.unwrap(sj.compare)(REAL, REAL, protocol=["adm"])


def floats(key, indices, labels):
    return uniform(key, indices, labels) / np.float32(255)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(draw=floats), "draw returned float32: say its range, such as value_range=(-1, 1)"),
        (
            dict(draw=floats, value_range=(0, 0.5)),
            "have values outside of value_range=(0, 0.5) (the first is number 0)",
        ),
        (dict(draw=floats, value_range=(1, 0)), "give the value of black first"),
        (dict(draw=lambda *given: floats(*given) * np.nan, value_range=(0, 1)), "8 of 8 samples are not finite"),
        (dict(value_range=(-1, 1)), "draw returned uint8, which has no value_range"),
        (dict(draw=lambda *given: uniform(*given)[:3]), "draw returned uint8 (3, 4, 4, 1) for 8 samples"),
        (dict(draw=lambda *given: uniform(*given).transpose(0, 3, 1, 2)), "the channels last"),
        (dict(draw=lambda *given: uniform(*given).astype(int)), "draw returned int64: expected uint8, or floats"),
        (dict(draw=lambda *given: "images"), "draw returned str: expected an array"),
        (dict(reference=REAL.astype(float)), "Images in memory are float64"),
        (dict(reference="nowhere"), "nowhere: no such folder or file"),
        (dict(reference=REAL[:2]), "2 reference images: a distance needs at least 4"),
        (dict(features=None), "give features, a function"),
        (dict(protocol="adm"), "protocol='adm' measures a network's features"),
        (dict(protocol="fid", features=None), "Unknown protocol 'fid'"),
        (dict(num_samples=0), "num_samples=0: give at least 1"),
        (dict(labels=np.zeros(3, int)), "labels are int64 (3,): expected whole numbers, one for each of 40"),
        (dict(labels=np.zeros(40, int), num_classes=2), "labels and num_classes"),
        (dict(labels=np.arange(40) - 1), "labels are from -1 on: expected whole numbers from 0 on"),
        (dict(labels=np.arange(40) / 2), "labels are float64 (40,): expected whole numbers"),
        (dict(labels=np.array(["a"] * 40)), "labels are <U1 (40,): expected whole numbers"),
        (dict(labels="foo", num_classes=2), "labels='foo', num_classes=2: expected"),
        (dict(value_range=3), "value_range=3: give the value of black first"),
        (dict(draw=3), "draw=3: expected a function"),
        (dict(features=3), "features=3: expected a function"),
        (dict(protocol=3, features=None), "protocol=3: expected the name"),
        (dict(protocol=[], features=None), "protocol='' lacks a name"),
        (dict(protocol=["adm", None], features=None), "None cannot be one of several"),
        (dict(save_samples=True), "give a workdir"),
    ],
)
def test_what_cannot_be_is_one_line(changed, message):
    with pytest.raises(sj.InputError) as error:
        inspect.unwrap(sj.evaluate)(**{"draw": uniform, **HOW, **changed})
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(solver="huen"), "Unknown sampler.name 'huen'. Did you mean 'heun'?"),
        (dict(solver="langevin"), "Unknown sampler.name for process 'vp': 'langevin'"),
        (dict(steps=3), "Unknown key of sampler 'steps'"),
        (dict(shape=(3,)), "give the number of samples and the shape of each"),
        (dict(shape=5), "shape=5: give the number of samples and the shape of each"),
        (dict(shape=(8, 1.5)), "shape=(8, 1.5): give the number of samples and the shape of each"),
        (dict(batch_size=1.5), "batch_size=1.5: give a whole number"),
        (dict(batch_size=0), "batch_size=0: give at least 1"),
        (dict(key="seed"), "key='seed': give a key of jax.random, or a whole number as its seed"),
        (dict(labels=np.zeros(3, int)), "labels are int64 (3,)"),
        (dict(model=lambda x, t: jnp.full_like(x, jnp.nan), num_steps=2), "8 of 8 samples are not finite"),
    ],
)
def test_what_cannot_be_sampled_is_one_line(changed, message):
    with pytest.raises(sj.InputError) as error:
        inspect.unwrap(sj.sample)(**{"model": lambda x, t, *_: x, "process": VP, "shape": (8, 2), **changed})
    assert message in str(error.value)


TWO_PROCESSES = """
import sys
import jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
from pathlib import Path
from test_anyones_samples import HOW, by_all, jitted
import score_jax as sj
from score_jax.runtime import multihost
multihost._SECONDS = 0.1
folder = Path(sys.argv[3])
for name, draw in (("own", jitted), ("together", by_all())):
    found = sj.evaluate(draw, **HOW | {"batch_size": 2}, workdir=folder / name, together=name == "together")
    assert found["num_samples"] == 40
"""


@jax.jit
def jitted(key, indices, labels):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, indices)
    return jax.vmap(lambda key: jax.random.randint(key, SHAPE, 0, 256, jnp.uint8))(keys)


def by_all():
    """A function whose program is one of all processes."""
    split = jax.sharding.NamedSharding(jax.make_mesh((jax.device_count(),), ("all",)), jax.P("all"))
    return jax.jit(jitted.__wrapped__, out_shardings=split)


@pytest.mark.slow
def test_two_processes_give_the_same_bits(tmp_path):
    one = sj.evaluate(jitted, **HOW | {"batch_size": 2}, workdir=tmp_path / "one")
    in_two_processes(TWO_PROCESSES, tmp_path, __file__)
    for name in ("own", "together"):
        two = json.loads((tmp_path / name / "evaluation.json").read_text())
        for number in ("fid_linear", "kid_linear", "first_samples", "reference"):
            assert two[number] == one[number], (name, number)
        files = [np.load(tmp_path / folder / "evaluation.npz") for folder in ("one", name)]
        np.testing.assert_array_equal(files[0]["sigma"], files[1]["sigma"])
