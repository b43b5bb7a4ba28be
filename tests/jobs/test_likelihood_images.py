"""A model of latents measured by commands: the density of latents by its name, and the bound on images."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from score_jax import builder
from score_jax.arrays import fold_in_each, keys_per_example, normal_per_example
from score_jax.builder.sections import completed
from score_jax.builder.workdirs import load_config, with_settings
from score_jax.configs import base
from score_jax.configs.ldm import mnist_class
from score_jax.errors import InputError
from score_jax.jobs import likelihood_calibration
from score_jax.jobs.likelihood_calibration import calibrated
from score_jax.jobs.open_split import open_split
from score_jax.jobs.trained import trained_of
from score_jax.runtime.sharding import make_mesh
from score_jax.training.run_config import save_config
from score_jax.training.weights import save_params
from tiny import here

pytestmark = pytest.mark.slow
COUNT, DIM, LATENT_DIM, DRAWS, SCALE = 10, 64, 48, 3, 0.8


def small(name="autoencoder_kl"):
    """A model of 4 x 4 latents of digits of 8 x 8 pixels."""
    config = mnist_class.get_config()
    config.data.update(name="digits", image_size=8, resize_filter="none")
    config.data.update(train_split="train[:8]", eval_split=f"test[:{COUNT}]")
    stage = config.first_stage.to_dict() | {"name": name, "channel_mult": (1, 1), "num_res_blocks": 1}
    if name == "autoencoder_vq":
        stage["codebook_size"] = 8
    with config.unlocked():
        config.first_stage = type(config.first_stage)(stage)
    config.network.update(channels=32, channel_mult=(1,), attention_factors=())
    config.codec.scale = SCALE
    config.process.update(num_levels=20, beta_min=1.0, beta_max=8.0)
    config.sampler.num_steps = 3
    config.likelihood.update(batch_size=8, rtol=1e-3, atol=1e-3, derivative="forward", sensitivity_batches=0)
    return completed(config)


def put(folder, config):
    """A workdir with fresh weights, whose network predicts no noise at all."""
    folder.mkdir()
    built = builder.experiment(config)
    save_config(folder, config)
    save_params(folder, built.network.init(jax.random.key(0)))
    save_params(folder / "first_stage", built.frozen["first_stage"].init(jax.random.key(1)))
    return folder


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return put(tmp_path_factory.mktemp("latents") / "run", small())


def measured(workdir, *arguments):
    assert here("likelihood", f"--workdir={workdir}", *arguments) == 0


def summary_of(workdir, name):
    return json.loads((workdir / f"{name}.json").read_text())


def test_the_density_of_latents_is_called_so(workdir, capsys):
    measured(workdir, "--config.likelihood.importance_samples=2", "--config.likelihood.sensitivity_batches=1")
    summary, values = summary_of(workdir, "likelihood"), np.load(workdir / "likelihood.npz")
    assert (summary["of"], summary["dimensions"], summary["x0"]) == (
        "latents",
        LATENT_DIM,
        "0.8 z, where z is a draw of the encoder's q(z | x)",
    )
    assert not [key for key in (*summary, *values) if key.startswith(("bpd", "bits_per_dim"))]
    np.testing.assert_allclose(
        summary["latent_bits_per_dim"], -values["log_prob"].mean() / LATENT_DIM / math.log(2), rtol=1e-5
    )
    assert summary["estimator_standard_error"]["draws"] > 0
    sensitivity = summary["tolerance_sensitivity"]
    assert sensitivity["count"] == 8 and 0 < sensitivity["largest_change"] < 0.01
    out = capsys.readouterr().out
    assert "of latents" in out and f"latent_bits_per_dim, of {LATENT_DIM} latents" in out
    assert "no density of images" in out


@pytest.fixture(scope="module")
def by_images(workdir):
    measured(workdir, "--method=images", f"--config.likelihood.importance_samples={DRAWS}")
    return summary_of(workdir, "likelihood_images"), dict(np.load(workdir / "likelihood_images.npz"))


def test_the_bound_is_the_sum_of_its_terms_in_bits_of_the_image(by_images):
    summary, values = by_images
    assert (summary["of"], summary["dimensions"], summary["latent_dimensions"]) == ("images", DIM, LATENT_DIM)
    assert summary["count"] == COUNT and values["log_weight"].shape == (COUNT, DRAWS)
    parts = {name: summary[f"bpd_of_{name}"] for name in ("reconstruction", "prior", "entropy", "rate")}
    assert all(summary[f"bpd_of_{name}_standard_error"] > 0 for name in parts)
    bound = parts["reconstruction"] + parts["prior"] - parts["entropy"]
    np.testing.assert_allclose(summary["bpd_images_bound"], bound, rtol=1e-5)
    np.testing.assert_allclose(parts["rate"], parts["prior"] - parts["entropy"], rtol=1e-5)
    np.testing.assert_allclose(bound, -values["log_weight"].mean() / DIM / math.log(2), rtol=1e-5)
    assert summary["bpd_images_bound_iw3"] < summary["bpd_images_bound"]
    spread = summary["spread_over_draws"]
    assert spread["standard_deviation"] > 0 and 1 <= spread["effective_draws"] <= DRAWS


def test_each_term_is_what_its_formula_says(workdir, by_images):
    """The prior of a network that predicts no noise: x goes as alpha does."""
    model, (summary, values) = trained_of(workdir), by_images
    stage, params = model.experiment.frozen["first_stage"], model.params["frozen"]["first_stage"]
    source = open_split(model.config, "eval_split")
    images = np.stack([source[i]["image"] for i in range(COUNT)])
    fitted = summary["calibration"]
    mean, log_var = np.split(np.asarray(stage.encode(params, jnp.asarray(images / 127.5 - 1, jnp.float32))), 2, axis=-1)
    std = np.exp(0.5 * log_var + fitted["log_width"])
    keys = keys_per_example(jax.random.key(0), jnp.arange(COUNT))
    eps = np.asarray(normal_per_example(fold_in_each(fold_in_each(keys, 1), 2), jnp.asarray(mean)))
    z = mean + std * eps
    entropy = -scipy.stats.norm.logpdf(z, mean, std).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(values["entropy"][:, 2], entropy, rtol=1e-3)

    process = model.experiment.process
    alphas = np.exp(np.asarray(process.log_alphas, float))
    shrunk = alphas[-1] / alphas[0]
    prior = scipy.stats.norm.logpdf(shrunk * SCALE * z).sum(axis=(1, 2, 3)) + LATENT_DIM * math.log(shrunk * SCALE)
    np.testing.assert_allclose(values["prior"][:, 2], prior, rtol=1e-3)

    means = (np.asarray(stage.decode(params, jnp.asarray(z)), float) + 1) * 127.5
    ends = [np.pad(means, ((0, 0), (0, axis == 1), (0, axis == 2), (0, 0)), mode="edge") for axis in (1, 2)]
    change = sum(np.abs(np.diff(padded, axis=axis)) for axis, padded in zip((1, 2), ends, strict=True))[..., 0]
    around = np.pad(change, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(1, 2))
    group = np.searchsorted(fitted["activity_edges"], np.nanmean(windows, axis=(3, 4)), side="right")
    scale = np.exp(np.array(fitted["log_scale"])[group])
    law = scipy.stats.logistic(means, scale)
    above = np.where(images == 255, 1.0, law.cdf(images + 0.5))
    below = np.where(images == 0, 0.0, law.cdf(images - 0.5))
    np.testing.assert_allclose(values["reconstruction"][:, 2], np.log(above - below).sum(axis=(1, 2, 3)), rtol=1e-3)


def test_a_calibration_is_kept_for_the_weights_that_it_was_fitted_to(workdir, by_images, monkeypatch):
    path = workdir / "images_bound" / "step_00000000.json"
    kept = json.loads(path.read_text())
    assert kept["calibration"] == by_images[0]["calibration"]
    tried = dict(map(tuple, kept["calibration"]["train_bits_per_dim_by_log_width"]))
    assert len(tried) == 17 and tried[kept["calibration"]["log_width"]] == min(tried.values())
    path.write_text(json.dumps(kept | {"calibration": kept["calibration"] | {"log_width": -1.25}}))
    model, config = trained_of(workdir), load_config(workdir)
    source = open_split(config, "train_split")

    def again(params=model.params, **options):
        changed = with_settings(config, {"likelihood": {"name": "images"} | options})
        return calibrated(builder.experiment(changed), params, model.mesh, source, path)

    assert again(num_examples=1, importance_samples=7).log_width == -1.25  # read, not fitted
    found = again(posterior="encoder", decoder="gaussian", scale_groups=1)
    assert found.log_width == 0.0 and found.decoder.log_scale.shape == (1, 1) and not found.tried
    assert json.loads(path.read_text())["fitted_on"]["options"]["posterior"] == "encoder"
    kept = path.read_text()
    other = jax.tree.map(lambda leaf: leaf + 0.01, model.params)
    monkeypatch.setattr(likelihood_calibration, "fit", lambda *_: found)
    again(other, posterior="encoder", decoder="gaussian", scale_groups=1)
    assert json.loads(path.read_text())["fitted_on"]["parameters"] != json.loads(kept)["fitted_on"]["parameters"]
    path.write_text("{}")
    with pytest.raises(InputError, match="is damaged: remove it"):
        again()


def test_what_has_no_such_bound_is_refused(workdir, tmp_path, capsys):
    assert here("likelihood", f"--workdir={workdir}", "--method=vlb") == 2
    assert "measure images by --method=images" in capsys.readouterr().err
    assert here("likelihood", f"--workdir={workdir}", "--config.likelihood.dequantization=variational") == 2
    assert "latents have no levels" in capsys.readouterr().err
    by_codebook = put(tmp_path / "vq", small("autoencoder_vq"))
    assert here("likelihood", f"--workdir={by_codebook}", "--method=images") == 2
    assert "an autoencoder_vq has no posterior" in capsys.readouterr().err
    config = base.get_config()
    config.likelihood.name = "images"
    with pytest.raises(InputError, match="for models of latents"):
        calibrated(
            builder.experiment(config), {}, make_mesh(), open_split(small(), "train_split"), tmp_path / "none.json"
        )
    with pytest.raises(InputError, match="likelihood.posterior"):
        with_settings(load_config(workdir), {"likelihood": {"name": "ode", "posterior": "encoder"}})
