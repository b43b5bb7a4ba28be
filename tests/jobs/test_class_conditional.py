"""Models with classes: trained, sampled and measured with them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import builder
from score_jax.cli.verb import with_aliases
from score_jax.configs import base
from score_jax.data.sources import Source
from score_jax.errors import InputError
from score_jax.jobs import likelihood
from score_jax.jobs.sample import BALANCED_LABELS, RANDOM_LABEL, draw, labels_named, labels_of, random_labels
from score_jax.runtime.sharding import make_mesh

ADM = dict(name="adm", channels=32, num_res_blocks=1, attention_resolutions=(), num_classes=3, learn_sigma=True)
SONG = dict(name="edm_song", channels=8, num_res_blocks=1, attention_resolutions=(), num_classes=3)


def experiment(network, **prediction):
    config = base.get_config()
    base.replace_section(config, "network", channel_mult=(1,), dropout=0.0, dtype="float32", **network)
    base.replace_section(config, "prediction", **prediction)
    config.data.update(image_size=8, channels=1)
    config.sampler.update(name="euler_maruyama", num_steps=3)
    return builder.experiment(config)


EXPERIMENTS = {
    "adm": lambda: experiment(ADM, output="eps", label="999t"),
    "edm": lambda: experiment(SONG, preconditioning="edm"),
}


def noisy_params(built):
    params = built.network.init(jax.random.key(0))
    return jax.tree.map(lambda a: a + 0.1 * jax.random.normal(jax.random.key(a.size), a.shape), params)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_labels_reach_training_and_sampling(name):
    built = EXPERIMENTS[name]()
    params, mesh = noisy_params(built), make_mesh()
    drawn = draw(built, params, mesh, range(16), batch_size=16, seed=0)
    assert set(drawn.labels) == {0, 1, 2}
    of_class = draw(built, params, mesh, range(16), batch_size=16, seed=0, label=2)
    assert (of_class.labels == 2).all()
    same = drawn.labels == 2
    np.testing.assert_allclose(of_class.images[same].astype(int), drawn.images[same].astype(int), atol=1)
    assert np.abs(of_class.images[~same].astype(int) - drawn.images[~same]).max() > 1

    state = dataclasses.replace(jax.jit(built.create_state)(), params=params)
    images = jax.random.randint(jax.random.key(1), (8, 8, 8, 1), 0, 256).astype(jnp.uint8)
    step, losses = jax.jit(built.train_step), []
    for label in (0, 1):
        batch = {"image": images, "label": jnp.full((8,), label, jnp.int32), "index": jnp.arange(8, dtype=jnp.int32)}
        losses.append(float(step(state, batch)[1]["loss"]))
    assert losses[0] != losses[1]


@pytest.mark.slow
def test_labels_reach_the_ode_and_the_likelihood():
    """Each example is its own solve there, and is told its own class."""
    built = experiment(SONG, preconditioning="edm")
    config = built.config.copy_and_resolve_references()
    config.sampler.update(name="ode", rtol=1e-2, atol=1e-2)
    config.likelihood.update(batch_size=8, rtol=1e-2, atol=1e-2, sensitivity_batches=0)
    built = builder.experiment(config)
    params, mesh = noisy_params(built), make_mesh()
    drawn = draw(built, params, mesh, range(8), batch_size=8, seed=0)
    of_class = draw(built, params, mesh, range(8), batch_size=8, seed=0, label=2)
    same = drawn.labels == 2
    np.testing.assert_allclose(of_class.images[same].astype(int), drawn.images[same].astype(int), atol=1)
    assert np.abs(of_class.images[~same].astype(int) - drawn.images[~same]).max() > 1

    image = np.full((8, 8, 1), 100, np.uint8)

    def bits(labels):
        rows = [{"image": image, "label": label} for label in labels]
        return likelihood.measure(built, params, mesh, Source("grey", rows, lambda pixels, name: pixels)).bits_per_dim

    three = bits([0, 1, 2])
    np.testing.assert_allclose(bits([0, 1, 2, 0])[:3], three, atol=1e-4)
    assert np.abs(three - bits([1, 2, 0])).min() > 1e-4


def test_balanced_labels_give_each_class_in_turn_whatever_the_batch():
    indices = jnp.array([7, 0, 1, 2, 3])
    balanced = labels_of(jax.random.key(0), indices, 3, jnp.int32(BALANCED_LABELS))
    np.testing.assert_array_equal(balanced, [1, 0, 1, 2, 0])
    random = labels_of(jax.random.key(0), indices, 3, jnp.int32(RANDOM_LABEL))
    np.testing.assert_array_equal(random, random_labels(jax.random.key(0), indices, 3))
    np.testing.assert_array_equal(labels_of(jax.random.key(0), indices, 3, jnp.int32(2)), [2] * 5)
    named = [labels_named(label, 3) for label in (BALANCED_LABELS, RANDOM_LABEL, 2)]
    assert named == ["balanced over 3 classes", "random of 3 classes", "class 2 of 3"]
    assert labels_named(RANDOM_LABEL, 0) == "none"


def test_labels_on_the_command_line_are_words_or_numbers():
    words = with_aliases(["evaluate", "--labels=balanced"]), with_aliases(["sample", "--labels=7"])
    assert words == (["evaluate", "--config.sampling.label=-2"], ["sample", "--config.sampling.label=7"])
    assert with_aliases(["train", "--labels=classes.csv"]) == ["train", "--labels=classes.csv"]


def test_classes_that_are_not_there_are_refused():
    built = EXPERIMENTS["adm"]()
    with pytest.raises(InputError, match="sampling.label=3, but the model has 3 classes: expected 0 to 2"):
        draw(built, {}, make_mesh(), range(8), batch_size=8, seed=0, label=3)
