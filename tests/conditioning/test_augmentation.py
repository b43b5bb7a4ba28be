"""EDM's augmentation: the original's own numbers, closed forms, and the law of what is drawn."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import builder
from score_jax.arrays import keys_per_example
from score_jax.conditioning.augmentation import augmented, change_of, drawn, warped
from score_jax.errors import InputError

ORIGINAL = np.load(Path(__file__).parent / "edm_augment.npz")
"""Of NVlabs/edm's AugmentPipe in float64 with its filter in float32: images, what it drew, and what it returned."""


def change(**given):
    """A matrix of `change_of`, what is not given being none."""
    names = ("scale", "angle", "stretch", "direction")
    return change_of(
        *(jnp.asarray(given.get(name, 0.0)) for name in names), jnp.asarray(given.get("shift", (0.0, 0.0)))
    )


@pytest.mark.parametrize("case", [0, 1])
def test_images_are_those_of_the_original(case, x64):
    given = {name[:-1]: ORIGINAL[name] for name in ORIGINAL.files if name.endswith(str(case))}
    drawn_there = ("scale", "angle", "stretch", "direction", "shift")
    changes = jax.vmap(change_of)(*(jnp.asarray(given[name]) for name in drawn_there))
    mirrored, upside_down = (given["labels"][:, i, None, None, None] > 0 for i in (0, 1))
    x = np.where(mirrored, given["x"][:, :, ::-1], given["x"])
    x = np.where(upside_down, x[:, ::-1], x)
    np.testing.assert_allclose(jax.vmap(warped)(jnp.asarray(x), changes), given["y"], atol=3e-7)


def test_a_constant_stays_and_nothing_changes_nothing_much():
    image = jnp.full((8, 8, 3), 0.5)
    for changed in (change(), change(angle=1.0, shift=(0.5, -0.5)), change(stretch=1.0, direction=0.3)):
        np.testing.assert_allclose(warped(image, changed), image, atol=2e-5)
    smooth = jnp.asarray(np.add.outer(np.cos(np.arange(16) / 16 * np.pi), np.cos(np.arange(16) / 8 * np.pi))[..., None])
    np.testing.assert_allclose(warped(smooth, change()), smooth, atol=0.02)  # read between pixels and back


def test_turns_and_shifts_go_where_they_are_said_to():
    """A blob right of the middle: turned by a quarter, moved by a quarter of the side, made larger by the root of 2."""
    rows, columns = np.meshgrid(np.arange(32) - 15.5, np.arange(32) - 15.5, indexing="ij")
    blob = jnp.asarray(np.exp(-((columns - 5) ** 2 + rows**2) / 8), jnp.float32)[..., None]

    def middle(image):
        weights = np.asarray(image)[..., 0]
        return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()

    np.testing.assert_allclose(middle(warped(blob, change())), [5, 0], atol=0.05)
    np.testing.assert_allclose(np.abs(middle(warped(blob, change(angle=jnp.pi / 2)))), [0, 5], atol=0.15)
    np.testing.assert_allclose(middle(warped(blob, change(shift=(-1.0, 1.0)))), [1, 4], atol=0.1)
    assert float(warped(blob, change(scale=2.5)).sum()) == pytest.approx(2 * float(blob.sum()), rel=0.02)


def test_a_share_of_images_is_changed_and_the_labels_say_how():
    keys = jax.random.split(jax.random.key(0), 4000)
    changes, labels = jax.vmap(lambda key: drawn(key, 0.3))(keys)
    labels = np.asarray(labels)
    for column, share in zip(range(9), (0.5, 0.15, 0.3, 0.3, 0.3, 0.3, 0.15, 0.3, 0.3), strict=True):
        assert (labels[:, column] != 0).mean() == pytest.approx(share, abs=0.03), column
    moved = labels[:, 2][labels[:, 2] != 0]
    assert moved.std() == pytest.approx(1.0, abs=0.07) and abs(moved.mean()) < 0.1
    np.testing.assert_allclose((labels[:, 3] + 1) ** 2 + labels[:, 4] ** 2, 1, atol=1e-5)
    still = ~labels[:, 2:].any(1)
    np.testing.assert_allclose(changes[still], np.broadcast_to(np.eye(3), (still.sum(), 3, 3)), atol=1e-6)
    assert not np.isclose(changes[~still], np.eye(3)).all((1, 2)).any()


def test_without_a_share_images_are_mirrored_alone_and_do_not_depend_on_neighbours():
    x0 = jax.random.normal(jax.random.key(1), (6, 8, 8, 3))
    keys = keys_per_example(jax.random.key(2), jnp.arange(6))
    found, labels = augmented(keys, x0, 0.0)
    assert not labels[:, 1:].any() and {0.0, 1.0} == set(np.asarray(labels[:, 0]).tolist())
    mirrored = jnp.where(labels[:, 0, None, None, None] > 0, x0[:, :, ::-1], x0)
    unchanged = jax.vmap(warped)(mirrored, jnp.broadcast_to(jnp.eye(3), (6, 3, 3)))
    np.testing.assert_allclose(found, unchanged, atol=1e-5)
    whole, _ = augmented(keys, x0, 0.7)
    alone, _ = augmented(keys[2:3], x0[2:3], 0.7)
    np.testing.assert_allclose(alone, whole[2:3], atol=1e-6)


def test_a_network_that_is_not_told_is_refused():
    from score_jax.configs.edm import cifar10_cond_vp

    config = cifar10_cond_vp.get_config()
    assert config.data.augment == 0.12 and builder.build_network(config)
    config.network.augment_dim = 0
    with pytest.raises(InputError, match="data.augment=0.12 is for pixels and networks that are told of it"):
        builder.build_network(config)


def test_the_network_learns_from_the_labels():
    from score_jax.configs.edm import cifar10_uncond_vp

    config = cifar10_uncond_vp.get_config()
    config.data.image_size = 8
    config.network.update(channels=8, channel_mult=(1,), num_res_blocks=1, attention_resolutions=())
    config.optimizer.warmup_steps = 0
    config.training.batch_size = 8
    images = jax.random.randint(jax.random.key(0), (8, 8, 8, 3), 0, 256).astype(jnp.uint8)
    batch = {"image": images, "label": jnp.zeros(8, jnp.int32), "index": jnp.arange(8)}
    moved = {}
    for share in (0.12, 0.0):
        config.data.augment = share
        experiment = builder.experiment(config)
        state = experiment.create_state()
        new, metrics = jax.jit(experiment.train_step)(state, batch)
        before, after = (each.params["augment_embedding"]["kernel"] for each in (state, new))
        moved[share] = float(jnp.abs(after - before).max())
        assert jnp.isfinite(metrics["loss"])
    assert moved[0.12] > 0.0 and moved[0.0] == 0.0  # little, as the blocks' last layers begin near 0
