"""A CLIP through the verbs: trained, measured, refused by the others; and one batch over devices and processes."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from clip_runs import write_config
from processes import in_two_processes

from score_jax import builder
from score_jax.cli.config_files import config_of_file
from score_jax.errors import InputError
from score_jax.losses.contrastive import LARGEST_SCALE
from score_jax.runtime.sharding import gathered, make_mesh, over_batch, replicated
from score_jax.training.log import read_curve
from score_jax.training.objective import Surroundings
from tiny import checked, here


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("configs"))


@pytest.fixture(scope="module")
def workdir(file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "clip"
    assert here("train", f"--config={file}", f"--workdir={folder}") == 0
    return folder


@pytest.fixture
def config(file):
    return config_of_file(str(file))


@pytest.mark.slow
def test_it_learns_and_says_so(workdir):
    rows = [json.loads(line) for line in (workdir / "loss.jsonl").read_text().splitlines()]
    assert rows[0]["scale"] == pytest.approx(1 / 0.07, rel=1e-5) and rows[-1]["loss"] < 0.5 * rows[0]["loss"]


@pytest.mark.slow
def test_its_evaluation(workdir, capsys):
    assert here("evaluate", f"--workdir={workdir}") == 0
    found = checked(workdir / "retrieval.json")
    assert (found["count"], found["captions"], found["split"], found["step"]) == (12, 4, "all[32:]", 20)
    assert found["image_to_text_recall_at_1"] > 0.7 and found["image_to_text_recall_at_5"] == 1
    assert found["text_to_image_recall_at_1"] > 0.7 and 0 < found["mean_cosine"] < 1
    assert "zero_shot_accuracy" not in found and "image_to_text_recall_at_1" in capsys.readouterr().out
    assert not (workdir / "retrieval_parts").exists()


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["sample", "likelihood", "reconstruct", "encode", "edit --image=x.png"])
def test_other_verbs_refuse_it_in_a_line(workdir, verb, capsys):
    assert here(*verb.split(), f"--workdir={workdir}") == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line and "it is a CLIP. Use `evaluate`" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--protocol=adm", "--protocol is about samples, and this run is a CLIP, which draws none: leave it out."),
        ("--save_samples", "--save_samples is about samples"),
        ("--config.evaluation.batch_size=0", "evaluation.batch_size=0: give at least 1"),
    ],
)
def test_flags_that_it_does_not_read(workdir, flag, message, capsys):
    assert here("evaluate", f"--workdir={workdir}", flag) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("network", {"text_pool": "largest"}, "data.tokenizer=words does not write: give network.text_pool=last"),
        ("network", {"vocabulary": 29}, "data.tokenizer=words has 30 ids, but network.vocabulary=29"),
        ("network", {"length": 3}, "data.tokenizer=words has 4 tokens a text, but network.length=3"),
        ("network", {"patch": 5}, "network.patch=5 does not divide data.image_size=8"),
        ("data", {"channels": 1}, "data.channels=1, but a CLIP sees red, green and blue"),
        ("data", {"tokenizer": ""}, "data.tokenizer is missing: a CLIP is trained on captions"),
        ("data", {"holes": "latent_diffusion"}, "data.holes is not read by a CLIP"),
        ("loss", {"name": "denoising"}, "A CLIP is trained by loss.name=contrastive"),
        ("loss", {"shift": 8}, "loss.shift=8 moves images of 8 pixels out of themselves: give less than 8"),
        ("guidance", {"scale": 2.0}, "section guidance is not read by a CLIP"),
        ("process", {"name": "vp", "beta_min": 0.1, "beta_max": 20.0}, "Unknown network.name for process 'vp': 'clip'"),
        ("training", {"accumulate": 2}, "needs the whole batch at once"),
        ("training", {"first_stage": "x"}, "training.first_stage is not read here"),
    ],
)
def test_mistakes_in_its_config(config, section, values, message):
    with config.unlocked():
        config[section].update(values)
    with pytest.raises(InputError) as found:
        builder.experiment(config)
    assert message in str(found.value) and "\n" not in str(found.value)


def batch_of(experiment):
    rng = np.random.default_rng(0)
    rows = {"image": rng.integers(0, 256, (16, 8, 8, 3), np.uint8), "tokens": rng.integers(0, 3, (16, 4), np.int32)}
    rows["tokens"][9] = rows["tokens"][2]  # on another device
    return rows


def test_a_batch_over_eight_devices_is_the_batch_in_one_piece(config):
    experiment = builder.experiment(config)
    group, rows = experiment.groups["model"], batch_of(experiment)
    params, keys = jax.jit(group.init)(jax.random.key(0)), jax.random.split(jax.random.key(1), 16)
    around = Surroundings({}, None, None, jnp.int32(0))

    def found_on(devices):
        mesh = make_mesh(devices=jax.devices()[:devices])
        split = over_batch(mesh)

        def mean(params, rows, keys):
            whole = gathered(params, mesh)
            found = group.objective.values(whole, around, rows, jnp.zeros(16), keys, jax.random.key(2))
            return found.values.mean(), found.values

        placed = (jax.device_put(params, replicated(mesh)), jax.device_put(rows, split), jax.device_put(keys, split))
        return jax.jit(jax.value_and_grad(mean, has_aux=True))(*placed)

    (one, several) = (jax.tree.map(np.asarray, found_on(devices)) for devices in (1, 8))
    for ours, theirs in zip(jax.tree.leaves(one), jax.tree.leaves(several), strict=True):
        # By the norm of the whole array: single numbers of sums in another order differ by a little more.
        assert np.linalg.norm(ours - theirs) <= 1e-6 * max(1.0, np.linalg.norm(theirs))
    assert one[0][1].shape == (16,) and np.ptp(one[0][1]) > 0


def test_the_temperature_keeps_its_bound(config):
    """Whatever the gradient asks, here for a larger scale in steps of 1 of its logarithm."""
    config.optimizer.update(learning_rate=1.0, weight_decay=0.0)
    experiment = builder.experiment(config)
    tx, params = experiment.groups["model"].tx, {"logit_scale": jnp.float32(np.log(1 / 0.07))}
    state, scales = tx.init(params), []
    for _ in range(4):
        updates, state = tx.update({"logit_scale": jnp.float32(-1.0)}, state, params)
        params = optax.apply_updates(params, updates)
        scales.append(float(experiment.network.scale(params)))
    np.testing.assert_allclose(scales, [np.e / 0.07, *[LARGEST_SCALE] * 3], rtol=1e-5)


@pytest.mark.slow
def test_two_processes_train_and_measure_it_as_one_does(tmp_path):
    found, curves = [], []
    file = write_config(tmp_path, steps=3)
    for run in (in_two_processes, here):
        folder = tmp_path / run.__name__
        for words in (("train", f"--config={file}"), ("evaluate",)):
            run(*words, f"--workdir={folder}")
        found.append(json.loads((folder / "retrieval.json").read_text()))
        curves.append(list(read_curve(folder).values()))
    np.testing.assert_allclose(*curves, rtol=1e-4)
    assert found[0]["captions"] == found[1]["captions"] == 4
    assert found[0]["mean_cosine"] == pytest.approx(found[1]["mean_cosine"], abs=1e-4)
