"""What samples are conditioned on beside a label they were trained with: classifiers, no label, images, masks."""

import dataclasses
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax import builder
from score_jax.cli import main as cli
from score_jax.conditioning.dropout import with_dropout
from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.guidance.measurements import mask
from score_jax.jobs.edit import Task, read_task, with_sums
from score_jax.jobs.enlarge import enlarging
from score_jax.jobs.guide import load_classifier
from score_jax.jobs.sample import Given, draw
from score_jax.models.conditions import class_label
from score_jax.runtime.sharding import make_mesh
from score_jax.training.run_config import save_config
from score_jax.training.weights import save_params

UNET = dict(name="adm", channels=32, channel_mult=(1,), num_res_blocks=1, attention_resolutions=(), learn_sigma=False)
CLASSIFIER = dict(
    name="adm_classifier", channels=32, channel_mult=(1,), num_res_blocks=1, attention_resolutions=(), pool="adaptive"
)


def config_of(network, **changes):
    config = base.get_config()
    base.replace_section(config, "network", dropout=0.0, dtype="float32", **network)
    config.data.update(image_size=8, channels=1)
    config.prediction.label = "999t"
    config.sampler.update(name="ddim", num_steps=3)
    config.sampling.update(num_samples=8, batch_size=8)
    config.optimizer.update(learning_rate=3e-3, warmup_steps=0)
    for key, value in changes.items():
        section, _, name = key.partition("__")
        config[section][name] = value
    return config


def noisy_params(built):
    params = built.network.init(jax.random.key(0))
    return jax.tree.map(lambda a: a + 0.1 * jax.random.normal(jax.random.key(a.size), a.shape), params)


def sampled(built, params, **kwargs):
    return draw(built, params, make_mesh(), range(8), batch_size=8, seed=0, **kwargs).images.astype(int)


@pytest.fixture(scope="module")
def classifier():
    """Trained to tell dark images from bright ones."""
    built = builder.experiment(config_of(CLASSIFIER | {"num_classes": 2}, loss__name="classifier"))
    labels = np.arange(16) % 2
    images = (40 + 170 * labels[:, None, None, None] + np.zeros((16, 8, 8, 1))).astype(np.uint8)
    batch = {"image": jnp.asarray(images), "label": jnp.asarray(labels), "index": jnp.arange(16)}
    state, step, losses = jax.jit(built.create_state)(), jax.jit(built.train_step), []
    for _ in range(60):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    return built, state.params, losses


@pytest.mark.slow
def test_a_classifier_learns_and_guides(classifier):
    trained, params, losses = classifier
    assert np.mean(losses[-10:]) < 0.85 * np.mean(losses[:3])  # most times of VP show little of an image
    config = config_of(UNET, guidance__scale=0.0)
    model = builder.experiment(config)
    weights = noisy_params(model)
    plain = sampled(builder.experiment(config_of(UNET)), weights)
    given = Given(classifier=trained, classifier_params=params)
    np.testing.assert_allclose(sampled(model, weights, given=given, label=1), plain, atol=1)
    config.guidance.scale = 20.0
    guided = {y: sampled(builder.experiment(config), weights, given=given, label=y).mean() for y in (0, 1)}
    assert guided[0] < plain.mean() < guided[1]
    with pytest.raises(InputError, match="This run has no sampler: it is a classifier of noisy images"):
        sampled(trained, params)


@pytest.mark.slow
def test_guidance_without_a_classifier_needs_to_know_no_class():
    with_none = {"num_classes": 4}  # three classes, and the one that stands for none
    config = config_of(UNET | with_none, loss__condition_dropout=0.2)
    model = builder.experiment(config)
    assert model.num_classes == 3
    weights = noisy_params(model)
    images = {}
    for scale in (1.0, 3.0):
        config.guidance.scale = scale
        images[scale] = sampled(builder.experiment(config), weights, label=1)
    assert np.abs(images[3.0] - images[1.0]).max() > 3
    config.guidance.update(sigma_low=1e5, sigma_high=1e6)  # nowhere
    np.testing.assert_allclose(sampled(builder.experiment(config), weights, label=1), images[1.0], atol=1)
    with pytest.raises(InputError, match="expected 0 to 2"):
        sampled(model, weights, label=3)
    never_dropped = builder.experiment(config_of(UNET | {"num_classes": 3}, guidance__scale=2.0))
    with pytest.raises(InputError, match="has no unconditional prediction"):
        sampled(never_dropped, noisy_params(never_dropped), label=1)
    for network, message in (({"num_classes": 3}, "has no unconditional prediction"), ({}, "is given nothing")):
        with pytest.raises(InputError, match=message):  # before anything is compiled
            load_classifier(builder.experiment(config_of(UNET | network, guidance__scale=2.0)), make_mesh())


def test_labels_are_dropped_as_often_as_said():
    keys, given = jax.random.split(jax.random.key(0), 4000), {"label": jnp.zeros(4000, jnp.int32)}
    dropped = np.asarray(with_dropout(keys, given, class_label(8), {"label": 0.25})["label"])
    assert set(dropped) == {0, 7}
    np.testing.assert_allclose((dropped == 7).mean(), 0.25, atol=0.03)
    assert (with_dropout(keys, given, class_label(8), {"label": 0.0})["label"] == 0).all()


@pytest.fixture(scope="module")
def upsampler():
    config = config_of(UNET | {"super_resolution": True}, data__low_resolution=4)
    built = builder.experiment(config)
    return config, built, noisy_params(built)


@pytest.mark.slow
def test_a_super_resolution_model_trains_on_area_means_and_enlarges(upsampler, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    config, built, params = upsampler
    images = jax.random.randint(jax.random.key(1), (8, 8, 8, 1), 0, 256).astype(jnp.uint8)
    batch = {"image": images, "label": jnp.zeros(8, jnp.int32), "index": jnp.arange(8, dtype=jnp.int32)}
    state = dataclasses.replace(jax.jit(built.create_state)(), params=params)
    assert np.isfinite(jax.jit(built.train_step)(state, batch)[1]["loss"])

    workdir, low = tmp_path / "upsampler", np.zeros((8, 4, 4, 1), np.uint8)
    save_config(workdir, config)
    save_params(workdir, params)
    assert cli.main(["score_jax", "sample", f"--workdir={workdir}"]) == 2
    assert "give them with --base=samples.npz" in capsys.readouterr().err
    ends = []
    for value in (0, 200):
        np.savez(tmp_path / "base.npz", arr_0=low + np.uint8(value))
        arguments = ["sample", f"--workdir={workdir}", f"--base={tmp_path / 'base.npz'}", "--solver=ddim", "--steps=2"]
        assert cli.main(["score_jax", *arguments]) == 0
        ends.append(np.load(workdir / "samples.npz")["arr_0"])
        assert json.loads((workdir / "samples.json").read_text())["nfe_mean"] == 3
    assert np.abs(ends[0].astype(int) - ends[1]).max() > 1
    np.savez(tmp_path / "real.npz", arr_0=np.asarray(images))
    measured = [
        "evaluate",
        *arguments[1:],
        f"--reference={tmp_path / 'real.npz'}",
        "--features=features_of_samples:flat",
    ]
    (tmp_path / "features_of_samples.py").write_text("def flat(x):\n    return x.reshape(len(x), -1) / 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["score_jax", *measured, "--config.evaluation.batch_size=1", "--save_samples"]) == 0
    np.testing.assert_array_equal(np.load(workdir / "evaluation_samples" / "samples_00000.npz")["arr_0"], ends[1])
    assert json.loads((workdir / "evaluation.json").read_text())["n"] == 8
    np.savez(tmp_path / "base.npz", arr_0=np.zeros((8, 5, 5, 1), np.uint8))
    assert cli.main(["score_jax", *arguments]) == 2
    assert "are 5 x 5 with 1 channels, but the model enlarges 4 x 4 with 1" in capsys.readouterr().err
    (tmp_path / "base.npz").write_text("no archive")
    assert cli.main(["score_jax", *arguments]) == 2
    assert "base.npz" in capsys.readouterr().err


BASE = np.zeros((3, 4, 4, 1), np.uint8)
WRONG_BASES = {
    "no classes": ({"arr_0": BASE}, "has no classes .*--config.sampling.label=0"),
    "another number": ({"arr_0": BASE, "arr_1": np.zeros(2, int)}, r"shape \(2,\): expected 3 integers"),
    "one-hot": ({"arr_0": BASE, "arr_1": np.eye(3)}, r"float64 of shape \(3, 3\)"),
    "a class above": ({"arr_0": BASE, "arr_1": np.array([0, 1, 2])}, "Image 2 of .* has the label 2"),
    "channels": (
        {"arr_0": np.zeros((3, 4, 4, 3), np.uint8)},
        "4 x 4 with 3 channels, but the model enlarges 4 x 4 with 1",
    ),
    "no images": ({"arr_0": BASE[:0]}, "expected uint8 images"),
    "floats": ({"arr_0": BASE / 1.0}, "holds float64"),
    "another name": ({"images": BASE}, "holds images: expected images in an array arr_0"),
}


@pytest.mark.parametrize("what", sorted(WRONG_BASES))
def test_images_to_enlarge_are_the_models(what, tmp_path):
    arrays, message = WRONG_BASES[what]
    experiment = builder.experiment(
        config_of(UNET | {"super_resolution": True, "num_classes": 2}, data__low_resolution=4)
    )
    np.savez(tmp_path / "base.npz", **arrays)
    with pytest.raises(InputError, match=message):
        enlarging(Given(), experiment, str(tmp_path / "base.npz"), 8)


def test_images_to_enlarge_bring_their_classes(tmp_path, capsys):
    experiment = builder.experiment(
        config_of(UNET | {"super_resolution": True, "num_classes": 2}, data__low_resolution=4)
    )
    np.savez(tmp_path / "base.npz", arr_0=BASE, arr_1=np.array([0, 1, 1]))
    given, count = enlarging(Given(), experiment, str(tmp_path / "base.npz"), 8)
    assert count == 3 and given.conditions["label"].tolist() == [0, 1, 1] and "has 3 images" in capsys.readouterr().out
    assert enlarging(Given(), experiment, str(tmp_path / "base.npz"), 2)[0].conditions["label"].tolist() == [0, 1]


@pytest.mark.slow
def test_a_classifier_of_other_classes_does_not_guide(classifier, tmp_path):
    trained, params, _ = classifier  # of two classes
    save_config(tmp_path, trained.config)
    save_params(tmp_path, params)
    guide = {"guidance__name": "classifier", "guidance__workdir": str(tmp_path)}
    model = builder.experiment(config_of(UNET | {"num_classes": 3}, **guide))
    with pytest.raises(InputError, match="has the number of classes 2, but the model has 3"):
        load_classifier(model, make_mesh())
    unconditional = builder.experiment(config_of(UNET, **guide))
    assert load_classifier(unconditional, make_mesh()).num_classes(unconditional) == 2


@pytest.mark.slow
def test_edit_keeps_what_is_known(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    config = config_of(UNET)
    built = builder.experiment(config)
    workdir = tmp_path / "model"
    save_config(workdir, config)
    save_params(workdir, noisy_params(built))
    picture = np.tile(np.linspace(0, 255, 8).astype(np.uint8), (8, 1))
    hole = np.zeros((8, 8), np.uint8)
    hole[:, 4:] = 255
    for name, pixels in (("picture", picture), ("mask", hole), ("black", 0 * hole)):
        PILImage.fromarray(pixels).save(tmp_path / f"{name}.png")
    arguments = [
        "edit",
        f"--workdir={workdir}",
        f"--image={tmp_path / 'picture.png'}",
        f"--mask={tmp_path / 'mask.png'}",
    ]
    assert cli.main(["score_jax", *arguments, "--solver=ancestral", "--steps=4"]) == 0
    edited = np.load(workdir / "edit.npz")["arr_0"][..., 0].astype(int)
    assert edited.shape == (8, 8, 8)
    np.testing.assert_array_equal(edited[:, :, :4], np.broadcast_to(picture[:, :4], (8, 8, 4)))
    assert edited[:, :, 4:].std(axis=0).max() > 2  # the samples differ where nothing is known
    assert (workdir / "edit.png").is_file() and "mask: white is painted" in (workdir / "edit.html").read_text()
    changes = json.loads((workdir / "edit.json").read_text())["changes"]
    assert changes["painted_share"] == 0.5 and changes["kept_largest_error"] == 0
    np.testing.assert_allclose(changes["painted_mean_change"], np.abs(edited - picture)[:, :, 4:].mean())
    for change, message in (
        (f"--mask={tmp_path / 'black.png'}", "black everywhere"),
        ("--mask=none.png", "Cannot read the image none.png"),
        ("--task=inpant", "Did you mean 'inpaint'"),
        ("--task=colorize", "needs a model with 3 channels"),
        ("--solver=ode", "The ODE sampler cannot condition on a measurement"),
        ("--solver=dpm_solver_2m", "multistep solver cannot condition"),
    ):
        assert cli.main(["score_jax", *arguments, change]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_colours_are_found_and_each_sum_is_kept_to_the_level(tmp_path):
    config = config_of(UNET, data__channels=3)
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    picture[0, :2] = [[0], [255]]  # black and white have one colour each
    PILImage.fromarray(picture).save(tmp_path / "picture.png")
    task = read_task(config, "colorize", str(tmp_path / "picture.png"), None)
    built = builder.experiment(config)
    given = task.given(Given(), 8)
    held = task.held(draw(built, noisy_params(built), make_mesh(), range(8), batch_size=8, seed=0, given=given).images)
    sums = picture.astype(int).sum(axis=-1)
    np.testing.assert_array_equal(held.astype(int).sum(axis=-1), np.broadcast_to(sums, (8, 8, 8)))
    assert np.abs(held.astype(int) - picture).max() > 10
    drawn = np.where(held < 255, held + 1, held)
    changes = task.changes(drawn, held)
    assert changes["kept_largest_error"] == 0 and 2 < changes["drawn_mean_error"] <= changes["drawn_largest_error"] == 3


def test_changes_are_those_of_the_painted_part_and_errors_those_of_the_rest():
    image, painted = np.full((2, 2, 1), 100, np.uint8), np.array([[[1.0], [0.0]], [[0.0], [0.0]]], np.float32)
    task = Task(None, image, image, painted)
    drawn = np.array([[130, 101], [96, 100]], np.uint8)[None, ..., None]
    assert task.changes(drawn, task.held(drawn)) == {
        "painted_share": 0.25,
        "painted_mean_change": 30.0,
        "kept_largest_error": 0.0,
        "drawn_mean_error": 5 / 3,
        "drawn_largest_error": 4.0,
    }
    everywhere = Task(None, image, image, np.ones_like(painted)).changes(drawn, drawn)
    assert everywhere["painted_mean_change"] == 8.75 and everywhere["kept_largest_error"] is None


@pytest.mark.parametrize("seed", range(3))
def test_sums_are_reached_by_the_nearest_levels(seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (1, 5, 5, 3)).astype(np.uint8)
    sums = np.clip(images[0].astype(int).sum(-1) + rng.integers(-300, 300, (5, 5)), 0, 765)
    found = with_sums(images, sums)[0].astype(int)
    np.testing.assert_array_equal(found.sum(-1), sums)
    for pixel, old, total in zip(
        found.reshape(-1, 3), images.reshape(-1, 3).astype(int), sums.reshape(-1), strict=True
    ):
        red, green = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")
        blue = total - red - green
        distances = np.where(
            (blue >= 0) & (blue < 256), (red - old[0]) ** 2 + (green - old[1]) ** 2 + (blue - old[2]) ** 2, 10**9
        )
        assert ((pixel - old) ** 2).sum() == distances.min()


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["ancestral", "ddim", "predictor_corrector", "heun"])
def test_known_pixels_stay_to_the_byte_under_any_solver(solver):
    config = config_of(UNET, sampler__name=solver)
    built = builder.experiment(config)
    known = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), np.uint8)
    kept = (np.arange(8) < 5).astype(np.float32)[:, None, None] * np.ones((8, 8, 1), np.float32)
    given = Given(measurement=mask(kept[None]), known=known)
    images = draw(
        built, noisy_params(built), make_mesh(), range(8), batch_size=8, seed=0, given=given, rounding="rounded"
    ).images
    np.testing.assert_array_equal(images[:, :5], known[:, :5])
    assert (images[:, 5:] != known[:, 5:]).mean() > 0.5
