"""The models of 2015 by the verbs: trained, resumed, sampled, edited and measured, each of its data."""

import json
import math
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from score_jax import builder
from score_jax.arrays import keys_per_example, normal_per_example
from score_jax.builder.kernels import law_of
from score_jax.cli.main import main
from score_jax.configs.dpm2015 import dead_leaves, heartbeat, swiss_roll
from score_jax.errors import InputError
from score_jax.jobs.train import train
from score_jax.losses import bound

T = 6


def small(config: ConfigDict, **network) -> ConfigDict:
    """The config with six levels and four steps."""
    with config.unlocked():
        config.process.num_levels = config.network.num_levels = T
        config.network.update(network)
    config.data.update(train_split="train[:64]", eval_split="test[:16]")
    config.optimizer.warmup_steps = 0
    config.training.update(batch_size=16, steps=4, log_every=1, checkpoint_every=2, sample_every=4)
    config.likelihood.update(num_examples=0, batch_size=16)
    config.sampling.update(num_samples=16, batch_size=16)
    return config


CONFIGS = {
    "roll": lambda: small(swiss_roll.get_config(), units=6),
    "heartbeat": lambda: small(heartbeat.get_config(), features=(8,), bumps=3),
    "leaves": lambda: small(dead_leaves.get_config("8"), features=(4,), upper=(4,), scales=2, bumps=3),
}


def config_of(name: str) -> ConfigDict:
    config = CONFIGS[name]()
    if name == "heartbeat":
        config.loss.levels = 2
    return config


@pytest.fixture(scope="module", params=CONFIGS)
def run(request, tmp_path_factory):
    """A config, and a workdir in which it was trained."""
    folder, config = tmp_path_factory.mktemp(request.param), config_of(request.param)
    return config, folder, train(config, folder)


def score_jax(*words: str) -> int:
    """The command with these words."""
    return main(["score_jax", *words])


def read(folder, name):
    return json.loads((folder / name).read_text())


def test_it_is_measured_by_the_bound(run):
    config, folder, _ = run
    losses = [json.loads(line)["loss"] for line in (folder / "loss.jsonl").read_text().splitlines()]
    assert len(losses) == 4 and np.isfinite(losses).all()
    assert score_jax("likelihood", f"--workdir={folder}", "--method=bound") == 0
    summary = read(folder, "likelihood_bound.json")
    dim = config.data.image_size**2 * config.data.channels
    offset = dim * builder.codec_of(config).log_bin_width / math.log(2)
    # Both in bits of an example; K takes the terms of the data's moments as they should be.
    exact, prior = (-dim * summary[name] - offset for name in ("bpd_bound_uniform", "bpd_of_prior_alone"))
    assert abs(summary["K_bits"] - exact) < 0.2 * dim
    np.testing.assert_allclose(summary["K_bits"] - summary["K_over_null_bits"], prior, rtol=1e-4, atol=1e-4)
    assert summary["count"] == 16 and summary["nfe_max"] == T
    assert abs(losses[0] - summary["bpd_of_prior_alone"]) < 1.5  # where training begins


def test_samples_are_of_the_data_and_of_their_index_alone(run):
    config, folder, _ = run
    arrays = []
    for size in (16, 8):
        out = folder / f"of_{size}"
        assert score_jax("sample", f"--workdir={folder}", f"--out={out}", f"--config.sampling.batch_size={size}") == 0
        arrays.append(np.load(out / "samples.npz")["arr_0"])
    size, codec = config.data.image_size, builder.codec_of(config)
    assert arrays[0].shape == (16, size, size, config.data.channels) and arrays[0].dtype == codec.dtype
    np.testing.assert_array_equal(*arrays)
    assert (folder / "of_8" / "samples.png").is_file() and read(folder / "of_8", "samples.json")["nfe_max"] == T - 1
    assert list((folder / "samples").glob("*.png"))  # those that training draws


def test_it_goes_on_to_the_bit_and_its_schedule_moves(run, tmp_path, capsys):
    config, folder, state = run
    shutil.copytree(folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "4")
    again = train(config, tmp_path / "run")
    assert "Resuming at step 2" in capsys.readouterr().out
    for one, other in zip(jax.tree.leaves(state.params), jax.tree.leaves(again.params), strict=True):
        np.testing.assert_array_equal(one, other)
    if config.process.name == "learned_chain":
        start = builder.build_process(config).logits
        assert (jnp.abs(state.params["schedule"] - start) > 1e-6).all()
    assert score_jax("inspect", str(folder)) == 0
    assert config.network.name in capsys.readouterr().out


def test_a_schedule_that_is_not_learned_is_no_parameter():
    config = config_of("roll")
    with config.unlocked():
        config.process.learned = False
    experiment = builder.experiment(config)
    params = experiment.network.init(jax.random.key(0))
    assert "schedule" not in params and "centres" in params
    np.testing.assert_array_equal(
        experiment.model(params).chain.sigmas, experiment.process.at(experiment.process.logits).sigmas
    )


def noisy_params(experiment, seed=1, scale=0.3):
    """Of a model that is not the forward kernel."""
    leaves, tree = jax.tree.flatten(experiment.network.init(jax.random.key(0)))
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return tree.unflatten([p + scale * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)])


@pytest.mark.parametrize("name", ["roll", "heartbeat"])
def test_what_training_minimises_is_the_bound(name):
    """With every level, and the same noise at each: the bound of equation 14, example by example."""
    experiment = builder.experiment(config_of(name))
    kernels, law = experiment.model(noisy_params(experiment)), law_of(experiment.process)
    x0 = jax.random.normal(jax.random.key(2), (5, 1, 1, experiment.image_shape[2]))
    x0, keys = (
        x0 if name == "roll" else (x0 > 0.8).astype(jnp.float32),
        keys_per_example(jax.random.key(3), jnp.arange(5)),
    )
    every = bound.over_every_level(law.training_bound, kernels, x0, jnp.zeros(5), keys)
    levels = bound.over_levels(T - 1, law.training_bound, kernels, x0, jnp.full(5, 0.4), keys)
    np.testing.assert_allclose(levels, every, rtol=1e-5)
    almost_one = jnp.full(5, np.nextafter(np.float32(1), np.float32(0)))  # which rounds to the level after the last
    assert jnp.isfinite(bound.over_levels(T - 2, law.training_bound, kernels, x0, almost_one, keys)).all()
    of_level = [jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, k - 1) for k in range(1, T)]

    def divergence(k, keys_of_level):
        t = jnp.full(5, float(k))
        if name == "roll":
            return bound.gaussian_kl(*kernels, x0, t, normal_per_example(keys_of_level, x0))
        return bound.binomial_kl(*kernels, x0, kernels.chain.perturb(keys_of_level, x0, t), t)

    total = sum(divergence(k, keys_of_level) for k, keys_of_level in zip(range(1, T), of_level, strict=True))
    found = law.bound(*kernels, x0, keys)
    # What the bound has beside its divergences is of the data and the chain alone.
    np.testing.assert_allclose(every + total, found.equation_14 + found.kl.sum(axis=1), rtol=1e-4, atol=1e-4)
    one = bound.over_levels(1, law.training_bound, kernels, x0, jnp.full(5, 0.5), keys)
    third = divergence(1 + (T - 1) // 2, of_level[0])
    np.testing.assert_allclose(one, every + total - (T - 1) * third, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def beats(tmp_path_factory):
    """A workdir of the heartbeat, an example of it, and a mask of its second half."""
    folder = tmp_path_factory.mktemp("beats")
    train(config_of("heartbeat"), folder)
    beat = np.tile(np.array([255, 0, 0, 0, 0], np.uint8), 4)
    np.save(folder / "beat.npy", beat)
    np.save(folder / "mask.npy", np.arange(20) >= 10)
    return folder, beat


def test_bits_are_completed_and_cleaned(beats):
    folder, beat = beats
    edit = ["edit", f"--workdir={folder}", f"--image={folder / 'beat.npy'}"]
    assert score_jax(*edit, f"--mask={folder / 'mask.npy'}") == 0
    completed = np.load(folder / "edit.npz")["arr_0"].reshape(16, 20)
    np.testing.assert_array_equal(completed[:, :10], np.tile(beat[:10], (16, 1)))
    assert len(np.unique(completed[:, 10:], axis=0)) > 1
    np.save(folder / "ones.npy", beat > 0)  # bits written as truth values, or as 0 and 1
    assert (
        score_jax("edit", f"--workdir={folder}", f"--image={folder / 'ones.npy'}", f"--mask={folder / 'mask.npy'}") == 0
    )
    np.testing.assert_array_equal(np.load(folder / "edit.npz")["arr_0"].reshape(16, 20), completed)
    for noise, most in ((1e-6, 0.0), (0.4, 1.0)):
        assert score_jax(*edit, "--task=denoise", f"--noise={noise}") == 0
        wrong = (np.load(folder / "edit.npz")["arr_0"].reshape(16, 20) != beat).mean()
        assert wrong <= most and (wrong > 0) == (noise > 0.1)
    assert read(folder, "edit.json")["noise"] == 0.4


def test_points_are_cleaned_in_their_own_units(tmp_path):
    train(config_of("roll"), tmp_path)
    np.save(tmp_path / "point.npy", np.array([0.5, -0.25]))
    edit = ["edit", f"--workdir={tmp_path}", f"--image={tmp_path / 'point.npy'}", "--task=denoise"]
    spreads = []
    for noise in (1e-4, 0.3):
        assert score_jax(*edit, f"--noise={noise}") == 0
        spreads.append(np.abs(np.load(tmp_path / "edit.npz")["arr_0"].reshape(16, 2) - [0.5, -0.25]).max())
    assert spreads[0] < 1e-3 < spreads[1]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["edit", "--image=beat.npy", "--task=denoise"], "--task=denoise needs --noise"),
        (["edit", "--image=beat.npy", "--noise=3"], "other tasks have none"),
        (["edit", "--image=beat.npy", "--task=denoise", "--noise=0"], "give a finite number of at least 1e-06"),
        (["edit", "--image=beat.npy", "--task=denoise", "--noise=1"], "less than 1, because it is the share of wrong"),
        (
            ["edit", "--image=other.npy", "--mask=mask.npy"],
            "other numbers than bits: give zeros and ones, or 0 and 255",
        ),
        (["edit", "--image=complex.npy", "--mask=mask.npy"], "expected the 20 numbers of one example"),
        (["edit", "--image=mask.npy", "--mask=wide.npy"], "expected the 20 numbers of one example"),
        (
            ["edit", "--image=beat.npy", "--mask=mask.npy", "--guidance.scale=2"],
            "this model is given nothing, such as a class, that it could be guided to",
        ),
        (["sample", "--solver=ddim"], "sampler.name for process 'binomial_chain': 'ddim'"),
        (["sample", "--config.sampler.num_steps=3"], "sampler.num_steps is not read by sampler.name='reverse_kernels'"),
        (["likelihood", "--method=ode"], "likelihood.name for process 'binomial_chain': 'ode'"),
        (["likelihood", "--config.likelihood.clip=False"], "only for models that predict x0"),
        (["encode"], "This run has no predictor: it learns the reverse kernels"),
        (["evaluate"], "This run has no images: its data are numbers or bits"),
        (["train", "--config.codec.name=numbers"], "data.name=heartbeat has the type uint8"),
        (["train", "--config.data.channels=3"], "data.channels=20"),
        (["train", "--config.loss.levels=6"], "loss.levels=6: give at most 5"),
        (["train", "--config.process.rho=1.5"], "process.rho=1.5"),
    ],
)
def test_what_such_a_run_cannot_do_is_one_line(beats, words, line, capsys, monkeypatch):
    folder, _ = beats
    for name, array in (("wide", np.zeros(21)), ("other", np.full(20, 127.5)), ("complex", np.ones(20) * 1j)):
        np.save(folder / f"{name}.npy", array)
    monkeypatch.chdir(folder)
    assert score_jax(words[0], f"--workdir={folder}", *words[1:]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert line in said[-1], said


@pytest.mark.parametrize(
    ("section", "values", "line"),
    [
        ("loss", {"name": "denoising"}, "loss.name for process 'learned_chain': 'denoising'"),
        ("network", {"name": "ddpm"}, "network.name for process 'learned_chain': 'ddpm'"),
        ("prediction", {"output": "eps"}, "prediction.output 'eps'"),
        ("prediction", {"output": "forward_mean", "label": "sigma"}, "key of prediction: 'label'"),
        ("process", {"name": "vp"}, "network.name for process 'vp': 'rbf'"),
        ("codec", {"name": "numbers", "value_range": (2.0, 1.0)}, "give the lower end first"),
    ],
)
def test_sections_that_do_not_fit_each_other(section, values, line):
    config = config_of("roll")
    with config.unlocked():
        del config[section]
        config[section] = ConfigDict(values)
    with pytest.raises(InputError) as found:
        builder.experiment(config)
    assert line in str(found.value)
