"""An autoencoder and a model of its latents through the verbs: trained, resumed, sampled, edited, measured."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from latent_runs import write_configs
from PIL import Image

from score_jax import builder
from score_jax.builder.workdirs import load_config
from score_jax.data.latent_records import open_latents
from score_jax.errors import InputError
from score_jax.jobs import reconstruct
from score_jax.jobs.sample import Given, draw
from score_jax.jobs.train import restore_params
from score_jax.runtime.sharding import make_mesh
from tiny import checked, here

pytestmark = pytest.mark.slow


def leaves(workdir, step=4):
    with ocp.PyTreeCheckpointer() as reader:
        state = reader.restore(workdir / "checkpoints" / str(step) / "state")
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def assert_same(a, b, atol=0.0):
    first, second = leaves(a), leaves(b)
    assert first.keys() == second.keys() and len(first) > 50
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=0, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    return write_configs(tmp_path_factory.mktemp("configs"))


@pytest.fixture(scope="module")
def autoencoder(configs, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "autoencoder"
    assert here("train", f"--config={configs[0]}", f"--workdir={workdir}") == 0
    return workdir


@pytest.fixture(scope="module")
def model(configs, autoencoder, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "model"
    arguments = (f"--config={configs[1]}", f"--workdir={workdir}", f"--config.training.first_stage={autoencoder}")
    assert here("train", *arguments) == 0
    return workdir


def rows(workdir):
    return [json.loads(line) for line in (workdir / "loss.jsonl").read_text().splitlines()]


def test_the_discriminator_begins_at_its_step(autoencoder):
    found = rows(autoencoder)
    assert [row["loss_discriminator"] > 0 for row in found] == [False, False, True, True]
    assert all(row["adversarial_weight_model"] > 0 and row["kl_model"] > 0 for row in found)
    assert found[-1]["error_model"] < found[0]["error_model"]


def test_an_autoencoder_goes_on_to_the_bit(autoencoder, configs, tmp_path):
    arguments = ("train", f"--config={configs[0]}", f"--workdir={tmp_path}")
    assert here(*arguments, "--config.training.steps=2") == 0
    assert here(*arguments) == 0
    assert_same(autoencoder, tmp_path)


def reconstruct_images(autoencoder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("score_jax.jobs.reconstruct.ssim", lambda x, y: x[:, 0, 0, 0] / 255.0)  # 8 pixels are no window
        assert here("reconstruct", f"--workdir={autoencoder}", "--count=20", "--batch_size=8") == 0


def test_reconstructions(autoencoder, capsys):
    reconstruct_images(autoencoder)
    found = checked(autoencoder / "reconstruct.json")
    with np.load(autoencoder / "reconstructions.npz") as z:
        images, made = z["images"].astype(float), z["arr_0"].astype(float)
    assert found["count"] == len(images) == len(made) == 20 and images.shape == made.shape
    errors = ((images - made) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found["psnr"], (10 * np.log10(255**2 / errors)).mean(), rtol=1e-5)
    assert 0 < found["psnr_noised"] < found["psnr"]
    assert (autoencoder / "reconstructions.png").is_file()
    assert "20 held-out images" in (autoencoder / "reconstruct.html").read_text()
    for verb in ("sample", "likelihood", "evaluate"):
        assert here(verb, f"--workdir={autoencoder}") == 2
        assert "it is an autoencoder. Use `reconstruct`" in capsys.readouterr().err


def test_noise_of_latents_is_of_their_size_and_of_each_example_alone():
    z, index = 5 * jax.random.normal(jax.random.key(1), (6, 16, 16, 4)), jnp.arange(6)
    noise = reconstruct._noised(z, index) - z
    np.testing.assert_allclose(jnp.std(noise, axis=(1, 2, 3)), reconstruct.NOISE * 5, rtol=0.1)
    np.testing.assert_allclose(reconstruct._noised(z[4:], index[4:]) - z[4:], noise[4:], atol=1e-5)
    assert np.abs(np.corrcoef(noise.reshape(6, -1)) - np.eye(6)).max() < 0.2


def test_a_run_of_latents_is_whole_by_itself(model, autoencoder, tmp_path, capsys):
    """Its scale is measured once and kept, and the autoencoder lies in its folder."""
    scale = load_config(model).codec.scale
    assert 0.01 < scale < 100
    moved = tmp_path / "moved"
    shutil.copytree(model, moved)
    assert here("sample", f"--workdir={moved}") == 0
    shutil.rmtree(moved / "first_stage")
    assert here("sample", f"--workdir={moved}") == 2
    assert "first_stage is missing: the run needs it" in capsys.readouterr().err


def test_a_run_of_latents_needs_its_autoencoder(configs, tmp_path, autoencoder, capsys):
    arguments = ("train", f"--config={configs[1]}", f"--workdir={tmp_path / 'run'}")
    assert here(*arguments) == 2
    assert "training.first_stage is missing: give the workdir" in capsys.readouterr().err
    named = f"--config.training.first_stage={autoencoder}"
    assert here(*arguments, named, "--config.first_stage.channels=64") == 2
    assert "has another network: give the section first_stage what its config.json says" in capsys.readouterr().err
    assert not (tmp_path / "run" / "config.json").exists()


def trained(workdir, **sections):
    config = load_config(workdir)
    for section, values in sections.items():
        config[section].update(values)
    mesh = make_mesh()
    experiment = builder.experiment(config)
    params, _ = restore_params(config, experiment, workdir, mesh)
    # The last layer begins at zero, and 4 steps are few.
    noisy = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(jax.random.key(a.size), a.shape), params["trained"])
    return experiment, params | {"trained": noisy}, mesh


def test_samples_do_not_depend_on_batches_or_slices(model):
    """Nor on guidance where it leads away from what it leads to."""
    experiment, params, mesh = trained(model, guidance={"scale": 30.0}, codec={"slices": 2})
    options = {"seed": 1, "label": 4}
    plain = draw(*trained(model), range(16), batch_size=16, **options)
    assert plain.images.shape == (16, 8, 8, 1) and plain.images.dtype == np.uint8
    guided = draw(experiment, params, mesh, range(16), batch_size=16, **options)
    assert np.abs(guided.images.astype(int) - plain.images).max() > 1
    negative = Given(conditions={"negative_label": np.full(16, 4, np.int32)})
    led_away = draw(experiment, params, mesh, range(16), batch_size=16, given=negative, **options)
    assert np.abs(led_away.images.astype(int) - plain.images).max() <= 1
    half = draw(experiment, params, mesh, range(8), batch_size=8, **options)
    assert np.abs(guided.images[:8].astype(int) - half.images).max() <= 1


def test_larger_images_are_drawn_in_tiles(model):
    """With one tile as large as the image they are those of the whole."""
    drawn = {}
    for tile in (0, 4, 6):
        own = {"sampling": {"tile": tile, "overlap": 2}, "codec": {"tile": tile, "overlap": 2}}
        drawn[tile] = draw(*trained(model, data={"image_size": 12}, **own), range(8), batch_size=8, seed=1).images
    assert drawn[4].shape == (8, 12, 12, 1)
    np.testing.assert_array_equal(drawn[6], drawn[0])
    assert 0 < np.abs(drawn[4].astype(int) - drawn[0]).mean() < 64


def test_latents_on_disk_train_the_same_model(model, autoencoder, configs, tmp_path, capsys):
    out = tmp_path / "latents"
    assert here("encode", f"--workdir={autoencoder}", f"--out={out}", "--batch_size=16") == 0
    source = open_latents(out)
    assert len(source) == 64 and source[3]["image"].shape == (4, 4, 6) and source[3]["image"].dtype == np.float32
    again = ("train", f"--config={configs[1]}", f"--workdir={tmp_path / 'run'}", f"--config.training.latents={out}")
    again = (*again, f"--config.training.first_stage={autoencoder}")
    assert here(*again, "--config.training.steps=2") == 0
    assert here(*again) == 0  # goes on, with the scale that was measured
    first, second = leaves(model), leaves(tmp_path / "run")
    worst = max(np.abs(first[name] - second[name]).max() for name in first)
    assert worst < 1e-3  # float32 moments of batches of another size
    assert here("encode", f"--workdir={autoencoder}", f"--out={out}") == 2
    assert "is not empty: give a new folder" in capsys.readouterr().err


def test_latents_on_disk_are_decoded(autoencoder, tmp_path, capsys):
    """As `reconstruct` decodes them on its way."""
    out = tmp_path / "latents"
    assert here("encode", f"--workdir={autoencoder}", f"--out={out}", "--batch_size=8", "--split=eval") == 0
    assert here("reconstruct", f"--workdir={autoencoder}", f"--latents={out}", "--count=20", "--batch_size=8") == 0
    reconstruct_images(autoencoder)
    with np.load(autoencoder / "decoded.npz") as z, np.load(autoencoder / "reconstructions.npz") as whole:
        assert len(z["arr_0"]) == len(z["arr_1"]) == 20 and z["arr_0"].dtype == np.uint8
        assert np.abs(z["arr_0"].astype(int) - whole["arr_0"]).max() <= 1
    facts = json.loads((out / "latents.json").read_text())
    (out / "latents.json").write_text(json.dumps(facts | {"first_stage": "another"}))
    assert here("reconstruct", f"--workdir={autoencoder}", f"--latents={out}") == 2
    assert "are of another autoencoder: give the workdir that encoded them" in capsys.readouterr().err


def test_edits_in_latents(model, tmp_path):
    image = np.zeros((8, 8), np.uint8)
    image[:, 3:5] = 255
    mask = np.zeros((8, 8), np.uint8)
    mask[:4, :4] = 255
    for name, array in (("image", image), ("mask", mask)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    common = ("edit", f"--workdir={model}", f"--image={tmp_path / 'image.png'}", f"--out={tmp_path}")
    assert here(*common, f"--mask={tmp_path / 'mask.png'}") == 0
    with np.load(tmp_path / "edit.npz") as z:
        assert (z["arr_0"][:, mask == 0, 0] == image[mask == 0]).all()
    assert here(*common, "--task=sdedit", "--strength=0.34") == 0
    with np.load(tmp_path / "edit.npz") as z:
        assert z["arr_0"].shape == (8, 8, 8, 1)
    assert here(*common, "--task=sdedit", "--strength=1.5") == 2
    assert here(*common, "--task=sdedit") == 2
    assert here(*common, "--strength=0.5", f"--mask={tmp_path / 'mask.png'}") == 2


def test_the_likelihood_is_one_of_latents(model):
    assert here("likelihood", f"--workdir={model}") == 0
    found = checked(model / "likelihood.json")
    assert any("latent" in key or "latent" in str(value) for key, value in found.items())


def test_evaluate_draws_images(model):
    assert here("evaluate", f"--workdir={model}", "--features=latent_runs:rows") == 0
    assert json.loads(next(model.glob("evaluat*.json")).read_text())["num_samples"] == 16


def test_other_verbs_of_a_model_of_latents_have_no_autoencoder(model, capsys):
    assert here("reconstruct", f"--workdir={model}") == 2
    assert "This run has no autoencoder: it is no first stage" in capsys.readouterr().err


def test_the_autoencoder_reads_no_noise():
    from score_jax.configs.ldm import mnist_first_stage

    config = mnist_first_stage.get_config()
    config.sampler.num_steps = 7
    with pytest.raises(InputError, match="section sampler is not read by an autoencoder"):
        builder.experiment(config)
