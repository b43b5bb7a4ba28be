"""What the page asks of a model, answered for one that is exact, and of untrained configs what they can do."""

import types

import numpy as np
import pytest
from gaussian_experiment import MEAN, SIZE, STD, experiment, of_config
from PIL import Image

from score_jax import builder
from score_jax.configs import base
from score_jax.configs.adm import imagenet64, imagenet128_512_upsample, imagenet256
from score_jax.configs.ddpm import cifar10
from score_jax.configs.dpm2015 import dead_leaves, swiss_roll
from score_jax.data.sources import in_memory
from score_jax.errors import InputError
from score_jax.jobs import app, likelihood
from score_jax.jobs.app import Draw
from score_jax.jobs.sample import BALANCED_LABELS, draw
from score_jax.jobs.trained import Trained
from score_jax.runtime.sharding import make_mesh
from score_jax.training.data_facts import DataFacts, save_facts


def of(config, workdir):
    """A model without parameters: enough to ask what it can do."""
    built = builder.experiment(config)
    return Trained(built.config, workdir, built, make_mesh(), {}, 0)


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The exact one, whatever its settings."""
    monkeypatch.setattr(app, "builder", types.SimpleNamespace(experiment=of_config))
    built = experiment(rtol=1e-4, atol=1e-4)
    built.config.sampling.batch_size = 8
    return Trained(built.config, tmp_path, built, make_mesh(), {}, 0)


def image(level=150):
    pixels = np.full((SIZE, SIZE, 1), level, np.uint8)
    pixels[0, 0] = 120
    return pixels


def tiny(**network):
    config = base.get_config()
    base.replace_section(config, "process", name="vp_chain", num_levels=20)
    network |= dict(channels=32, channel_mult=(1,), num_res_blocks=1, attention_resolutions=())
    base.replace_section(config, "network", name="adm", dropout=0.0, learn_sigma=False, dtype="float32", **network)
    config.data.update(image_size=8, channels=3)
    config.prediction.label = "index"
    config.sampler.update(name="ddim", num_steps=5)
    return config


def test_a_model_in_continuous_time_can_do_everything_but_classes(model):
    can = app.abilities(model)
    assert can.solvers[0] == "ancestral" and {"ode", "heun", "dpm_solver_2m"} < set(can.solvers)
    assert not {"langevin", "reverse_kernels", "codes"} & set(can.solvers)
    assert can.method == "ode" and can.encodes
    assert not {"ode", "dpm_solver_2m", "plms"} & set(can.editors) and {"heun", "ddim"} < set(can.editors)
    assert "ode" not in can.compared and "heun" in can.compared
    assert can.tasks == ("inpaint", "sdedit")
    assert not can.guided and not can.texts and can.classes == ()


def test_a_chain_of_colours_can_colorize_and_has_no_adaptive_solver(tmp_path):
    model = of(tiny(), tmp_path)
    can = app.abilities(model)
    assert can.solvers[0] == "ddim" and not {"ode", "euler_maruyama"} & set(can.solvers)
    assert "colorize" in can.tasks
    assert app.own_steps(model) == 5 and app.most_steps(model) == 20


@pytest.mark.parametrize(("steps", "most"), [(50, 1000), (2000, 2000)])
def test_the_steps_of_the_config_can_be_chosen_in_continuous_time(steps, most, tmp_path):
    config = base.get_config()
    config.sampler.num_steps = steps
    model = of(config, tmp_path)
    assert (app.own_steps(model), app.most_steps(model)) == (steps, most)


def test_classes_have_names_and_a_guidance_scale_where_they_were_left_out_in_training(tmp_path):
    save_facts(tmp_path, DataFacts("folder", 8, ("cats", "dogs"), ""))
    config = tiny(num_classes=3)
    assert not app.abilities(of(tiny(num_classes=2), tmp_path)).guided
    config.loss.condition_dropout = 0.1
    can = app.abilities(of(config, tmp_path))
    assert can.guided and can.classes == ("cats", "dogs")
    assert app.abilities(of(config, tmp_path / "elsewhere")).classes == ("0", "1")


@pytest.mark.parametrize(("config", "method"), [(cifar10, "ode"), (imagenet64, "ode"), (dead_leaves, "bound")])
def test_published_configs_have_their_likelihood(config, method, tmp_path):
    assert app.abilities(of(config.get_config(), tmp_path)).method == method


def test_learned_kernels_have_one_sampler_and_nothing_to_compare(tmp_path):
    can = app.abilities(of(dead_leaves.get_config(), tmp_path))
    assert can.solvers == can.editors == ("reverse_kernels",)
    assert can.compared == () and can.tasks == ("inpaint",) and not can.encodes


def test_classes_guide_a_model_of_a_classifier_only_where_it_is_named(tmp_path):
    can = app.abilities(of(imagenet256.get_config(), tmp_path))
    assert len(can.classes) == 1000 and not can.guided


@pytest.mark.parametrize(
    ("config", "message"), [(swiss_roll, "shows images"), (imagenet128_512_upsample, "no images to enlarge")]
)
def test_runs_that_draw_nothing_for_a_page_are_refused(config, message, tmp_path):
    with pytest.raises(InputError, match=message):
        app.abilities(of(config.get_config(), tmp_path))


@pytest.mark.parametrize("solver", ["heun", "ddim", "dpm_solver_2s", "predictor_corrector", "dpm_solver_2m"])
def test_steps_are_as_many_as_the_evaluations_allow(model, solver):
    def evaluations(steps):
        sampler = app.prepared(model, solver, steps, None).experiment.sampling().sampler
        return sampler.method.nfe + sampler.denoise

    steps = app.steps_within(model, solver, 24)
    assert evaluations(steps) <= 24 < evaluations(steps + 1)


def test_too_few_evaluations_are_refused(model):
    with pytest.raises(InputError, match="predictor_corrector needs at least 3 evaluations, not 2"):
        app.steps_within(model, "predictor_corrector", 2)


def test_samples_are_those_of_the_verb_with_the_way_to_them(model):
    found = app.sampled(model, Draw("ddim", 12, seed=3, count=5))
    asked = app.prepared(model, "ddim", 12, None)
    assert asked is app.prepared(model, "ddim", 12, None), "kept, or its programs would be compiled again"
    of_verb = draw(asked.experiment, {}, model.mesh, range(5), batch_size=8, seed=3)
    np.testing.assert_array_equal(found.images, of_verb.images)
    assert found.trajectory.shape[0] == 5 and 2 <= found.trajectory.shape[1] <= 9
    np.testing.assert_array_equal(found.trajectory[:, -1], found.images)
    assert (np.diff(found.times) < 0).all()


def test_samplers_side_by_side_begin_with_the_same_noise(model):
    """Along the flow of an exact model they end in the same images."""
    drawn = app.compared(model, ("heun", "dpm_solver_2s"), 60, Draw("heun", count=8))
    (first, heun), (second, dpm) = drawn
    assert (first, second) == ("heun", "dpm_solver_2s")
    assert 58 <= heun.nfe.max() <= 60 and 58 <= dpm.nfe.max() <= 60
    difference, among = (np.abs(heun.images.astype(int) - o).mean() for o in (dpm.images, np.roll(heun.images, 1, 0)))
    assert difference < 4 and among > 20
    with pytest.raises(InputError, match="two or three"):
        app.compared(model, ("heun",), 60, Draw("heun"))


def test_bits_of_an_image_are_the_closed_form_within_their_error(model):
    found = app.likelihood_of(model, image(), 0)
    width = 2 / 256
    centre = -1 + width * (image().astype(float) + 0.5)
    squared = ((centre - MEAN) ** 2 + width**2 / 12).mean()
    exact = (0.5 * np.log(2 * np.pi * STD**2) + squared / (2 * STD**2) - np.log(width)) / np.log(2)
    assert found.summary["count"] == app.DRAWS
    assert found.standard_error == pytest.approx(found.bits_per_dim.std(ddof=1) / np.sqrt(app.DRAWS))
    assert 0 < found.standard_error < 0.02
    assert found.mean == pytest.approx(exact, abs=5 * found.standard_error)


def test_an_image_comes_back_from_its_latent(model):
    columns = app.encoded(model, image(), 0)
    assert len(columns["latents"]) == 1
    np.testing.assert_array_equal(columns["images"][0], image())
    assert columns["rms_error"][0] < 0.2
    assert np.abs(columns["reconstructions"][0].astype(int) - image()).max() <= 1


def test_what_is_not_painted_stays(model):
    painted = np.zeros((SIZE, SIZE, 1), np.float32)
    painted[:, 2:] = 1
    task, images = app.edited(model, Draw("ddim", 8, count=4), "inpaint", image(), painted)
    assert images.shape == (4, SIZE, SIZE, 1)
    assert (images[:, :, :2] == image()[:, :2]).all()
    assert images[:, :, 2:].std() > 10 and (task.shown[:, 2:] == 128).all()


def test_less_strength_stays_nearer_to_the_image(model):
    def distance(strength):
        _, images = app.edited(model, Draw("ddim", 40, count=8), "sdedit", image(), None, strength)
        return np.abs(images.astype(int) - image()).mean()

    assert distance(0.05) < 0.7 * distance(1.0)


def test_a_brush_paints_a_pixel_that_it_covers_by_half():
    layer = np.zeros((8, 8, 4), np.uint8)
    layer[:4, :2, 3] = 255  # half of the first of 2 x 2 pixels
    layer[4:, 4:, 3] = 255
    layer[:3, 4:6, 3] = 255  # less than half
    assert app.mask_of(layer, 2)[..., 0].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P", "I;16", "1"])
def test_an_image_of_any_mode_and_size_comes_to_that_of_the_model(model, mode, tmp_path):
    suffix = "jpg" if mode == "CMYK" else "png"
    deep = Image.fromarray(np.full((20, 30), 200 * 256, np.uint16))
    plain = Image.new("RGB", (30, 20), (200, 200, 200))
    (deep if mode == "I;16" else plain.convert(mode)).save(tmp_path / f"a.{suffix}")
    found = app.read_image(model, str(tmp_path / f"a.{suffix}"))
    assert found.shape == (SIZE, SIZE, 1) and found.dtype == np.uint8
    assert np.abs(found.astype(int) - 200).max() <= 3 or mode == "1"


def test_a_file_that_is_no_image_is_one_line(model, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="Cannot read the image a.png") as raised:
        app.read_image(model, str(tmp_path / "a.png"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": -1}, "sampling.seed=-1"),
        ({"count": 0}, "sampling.num_samples=0"),
        ({"count": 65}, "at most 64 images"),
        ({"label": -5}, "sampling.label=-5"),
    ],
)
def test_what_nobody_can_draw_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        Draw("heun", **wrong)


def test_a_class_that_the_model_has_not_is_refused(model):
    with pytest.raises(InputError, match="has no classes"):
        app.sampled(model, Draw("ddim", 5, label=BALANCED_LABELS))


def test_a_repeated_image_is_measured_as_a_data_set_of_it(model):
    found = app.likelihood_of(model, image(), 0)
    again = likelihood.measure(
        model.experiment, {}, model.mesh, in_memory(np.repeat(image()[None], app.DRAWS, axis=0), None)
    )
    np.testing.assert_allclose(found.bits_per_dim, again.bits_per_dim, rtol=1e-5)
