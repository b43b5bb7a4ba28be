"""Edits by text, from the command to the files: a tiny model and a tiny CLIP, both with random weights."""

import dataclasses
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from clip_runs import write_config as write_clip
from PIL import Image as PILImage

from score_jax import builder
from score_jax.arrays import cosine
from score_jax.cli import main as cli
from score_jax.cli.config_files import config_of_file
from score_jax.configs import base
from score_jax.convert.clip import random_state
from score_jax.convert.lpips import load_lpips
from score_jax.convert.lpips import random_state as random_lpips
from score_jax.data.text_tokenizers import text_tokenizer
from score_jax.jobs import blend
from score_jax.jobs.edit import read_task
from score_jax.jobs.sample import Given, draw
from score_jax.runtime.sharding import make_mesh, replicated
from score_jax.training.run_config import save_config
from score_jax.training.weights import load_params, save_params

pytestmark = pytest.mark.slow
SIZE, PROMPT = 16, "a red collar"


def config_of(**edit):
    config = base.get_config()
    base.replace_section(config, "process", name="vp_chain", schedule="linear", num_levels=1000)
    network = dict(channels=32, channel_mult=(1,), num_res_blocks=1, attention_resolutions=(), learn_sigma=True)
    base.replace_section(config, "network", name="adm", dropout=0.0, dtype="float32", **network)
    config.data.update(image_size=SIZE, channels=3, resize_filter="bicubic")
    config.prediction.update(output="eps", label="index")
    config.sampler.update(name="ancestral", respacing="6", variance="learned_range")
    config.sampling.update(num_samples=8, batch_size=8)
    config.edit.update({"skip": 2, "views": 2} | edit)
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A workdir, CLIP, LPIPS, a picture and a mask, white in the right half."""
    folder = tmp_path_factory.mktemp("blend")
    config = config_of()
    params = builder.experiment(config).network.init(jax.random.key(0))
    params = jax.tree.map(lambda a: a + 0.02 * jax.random.normal(jax.random.key(a.size), a.shape), params)
    save_config(folder / "model", config)
    save_params(folder / "model", params)
    np.savez(folder / "clip.npz", **random_state(0))
    np.savez(folder / "lpips.npz", **random_lpips(0, ((2, 2), (2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))))
    ramp = np.linspace(0, 255, SIZE).astype(np.uint8)
    picture = np.stack([np.tile(ramp, (SIZE, 1)), np.tile(ramp[:, None], (1, SIZE)), np.full((SIZE, SIZE), 99)], -1)
    PILImage.fromarray(picture.astype(np.uint8)).save(folder / "picture.png")
    hole = np.zeros((SIZE, SIZE), np.uint8)
    hole[:, SIZE // 2 :] = 255
    PILImage.fromarray(hole).save(folder / "mask.png")
    return folder


def arguments(folder, *more):
    return [
        "score_jax",
        "edit",
        f"--workdir={folder / 'model'}",
        "--task=blend",
        f"--image={folder / 'picture.png'}",
        f"--mask={folder / 'mask.png'}",
        f"--prompt={PROMPT}",
        f"--clip={folder / 'clip.npz'}",
        *more,
    ]


@pytest.fixture
def cli_main(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return cli.main


def test_the_command_paints_within_the_mask_and_ranks(folder, tmp_path, cli_main):
    assert cli_main(arguments(folder, f"--out={tmp_path}")) == 0
    with np.load(tmp_path / "edit.npz") as z:
        images, distance, sample = z["arr_0"], z["distance"], z["sample"]
    assert images.shape == (8, SIZE, SIZE, 3) and images.dtype == np.uint8
    picture = np.asarray(PILImage.open(folder / "picture.png"))
    np.testing.assert_array_equal(images[:, :, : SIZE // 2], np.broadcast_to(picture[:, : SIZE // 2], (8, SIZE, 8, 3)))
    assert images[:, :, SIZE // 2 :].std(axis=0).max() > 2
    assert sorted(sample) == list(range(8)) and (np.diff(distance) >= 0).all() and distance[0] > 0
    facts = json.loads((tmp_path / "edit.json").read_text())
    assert facts["prompt"] == PROMPT and len(facts["distance"]) == 8 and facts["edit"]["skip"] == 2
    assert (tmp_path / "edit.png").is_file()


def test_a_clip_that_train_has_trained_guides_too(folder, tmp_path, cli_main, capsys):
    config = config_of_file(str(write_clip(folder)))
    clip = builder.experiment(config).part("clip")
    params = clip.init(jax.random.key(1))
    save_config(folder / "clip_run", config)
    save_params(folder / "clip_run", params)
    words = (f"--clip={folder / 'clip_run'}", "--prompt=a red circle", f"--out={tmp_path}")
    assert cli_main(arguments(folder, *words)) == 0
    with np.load(tmp_path / "edit.npz") as z:
        images, distance = z["arr_0"], z["distance"]
    picture = np.asarray(PILImage.open(folder / "picture.png"))
    np.testing.assert_array_equal(images[0, :, : SIZE // 2], picture[:, : SIZE // 2])
    painted = jnp.asarray(images / np.float32(255)).at[:, :, : SIZE // 2].set(0.0)
    embeddings = clip.encode_image(params, jax.image.resize(painted, (8, 8, 8, 3), "bilinear"))
    text = clip.encode_text(params, np.repeat(text_tokenizer("words", 4).encode("a red circle")[None], 8, axis=0))
    np.testing.assert_allclose(distance, 2 * (jnp.arccos(cosine(embeddings, text)) / 2) ** 2, rtol=1e-4)

    assert cli_main(arguments(folder, f"--clip={folder / 'model'}")) == 2
    assert "This run has no clip" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--negative_prompt=a dog", "--embeddings=samples.npz"])
def test_flags_of_other_tasks_are_refused(folder, cli_main, capsys, flag):
    assert cli_main(arguments(folder, flag)) == 2
    assert f"{flag.partition('=')[0]} is not read by --task=blend" in capsys.readouterr().err


def guide_of(folder, config):
    task = read_task(config, "blend", str(folder / "picture.png"), str(folder / "mask.png"))
    files = blend.Weights(folder / "clip.npz", folder / "lpips.npz", folder / "lpips.npz")
    return blend.load_guide(config, [PROMPT], task, files, make_mesh()), task


def drawn(folder, batch_size=8, devices=None, **edit):
    """Samples, and their distances from the text."""
    config = config_of(**edit)
    experiment, mesh = builder.experiment(config), make_mesh(devices=devices)
    params = load_params(folder / "model", experiment.network.shapes(), replicated(mesh))
    guide, task = guide_of(folder, config)
    given = dataclasses.replace(task.given(Given(), 8), text=guide)
    found = draw(experiment, params, mesh, range(8), batch_size=batch_size, seed=0, given=given)
    return found.images.astype(int), blend.distances(guide, task.held(found.images), batch_size=8)


def test_the_text_pulls(folder):
    _, free = drawn(folder, text_scale=0.0, range_scale=0.0)
    _, pulled = drawn(folder, text_scale=2000.0, range_scale=0.0)
    assert (pulled < free).mean() > 0.8 and pulled.mean() < 0.9 * free.mean()


def test_a_result_does_not_depend_on_its_batch_or_the_devices(folder):
    whole, _ = drawn(folder, devices=jax.devices()[:1])
    parted, _ = drawn(folder, batch_size=2, devices=jax.devices()[:2])
    assert np.abs(whole - parted).max() <= 1  # levels


def test_the_background_losses_are_lpips_and_the_mean_square_outside_the_mask(folder):
    seen, images = jax.random.uniform(jax.random.key(1), (2, 2, SIZE, SIZE, 3), minval=-1)
    keys, t = jax.random.split(jax.random.key(2)), jnp.array([3.0, 700.0])
    values = {}
    for scales in ((0.0, 0.0), (3.0, 5.0)):
        guide = guide_of(folder, config_of(perceptual_scale=scales[0], square_scale=scales[1]))[0]
        values[scales] = guide.loss(guide.params, keys, images, jnp.asarray(guide.texts(np.arange(2))))(seen, seen, t)
    lpips = load_lpips(folder / "lpips.npz", folder / "lpips.npz")
    outside = seen.at[:, :, SIZE // 2 :].set(0.0)
    expected = 3 * lpips.distance(lpips.params, outside, images) + 5 * jnp.mean((outside - images) ** 2, (1, 2, 3))
    np.testing.assert_allclose(values[3.0, 5.0] - values[0.0, 0.0], expected, rtol=2e-3)  # of a difference


def test_what_cannot_be_is_said(folder, tmp_path, cli_main, capsys):
    for change, message in (
        ("--prompt=", "needs --prompt="),
        ("--clip=", "needs --clip=FILE"),
        (f"--clip={folder / 'lpips.npz'}", "no CLIP's"),
        ("--config.edit.skip=6", "edit.skip=6 of 6 steps: give 0 to 5"),
        ("--config.edit.views=0", "edit.views=0: give at least 1"),
        ("--config.edit.text_scale=-1.0", "edit.text_scale=-1.0: give at least 0"),
        ("--config.edit.perceptual_scale=1.0", "needs --lpips_vgg=FILE and --lpips_heads=FILE"),
        ("--solver=heun", "--solver=ancestral or ddim"),
        (f"--prompt={'collar ' * 80}", "77"),
    ):
        assert cli_main(arguments(folder, f"--out={tmp_path}", change)) == 2, change
        assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
