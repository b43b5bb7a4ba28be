"""Evaluation on a model that is exact: resumed, sharded, cached, and the same number every time."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian_experiment import StopAfter, experiment, source

import score_jax as sj
from score_jax.errors import InputError
from score_jax.evaluation import metrics
from score_jax.evaluation.features import FeatureExtractor, plain_features
from score_jax.evaluation.protocols import PLAIN, Protocol
from score_jax.jobs import evaluate, sample_features
from score_jax.jobs.cascades import Cascade, Stage
from score_jax.jobs.compare import Side
from score_jax.jobs.drawing import Request, of_cascade
from score_jax.jobs.feature_sets import array_features, cached_source_features, pixel_hash
from score_jax.jobs.open_split import open_split
from score_jax.jobs.sample import batch_sampler
from score_jax.jobs.sample_features import Measure, Shards, draw_features
from score_jax.runtime.parts import Interrupted
from score_jax.runtime.sharding import make_mesh
from tiny import checked, in_two_processes

COUNT = 50


def mesh_of(count):
    return make_mesh(devices=jax.devices()[:count])


def models(built, mesh, workdir, step=0):
    """One model, as what draws."""
    return Cascade(built.config, (Stage(built, (), workdir, step),), mesh)


@pytest.fixture(scope="module")
def model():
    return experiment()


def pixels(images):
    return images.reshape(images.shape[0], -1).astype(jnp.float32)


EXTRACTOR = plain_features("pixels", pixels)


def drawn(model, folder, devices=2, stop=None, seed=3, shards=None, extractor=EXTRACTOR):
    request = Request(COUNT, 4, seed, ("truncated",))
    return draw_features(
        of_cascade(models(model, mesh_of(devices), folder), request),
        [Measure(PLAIN, extractor, Side("none", None, None))],
        request,
        folder=folder,
        shards=shards and {"image": shards},
        stop=stop,
    )


def test_a_stopped_job_does_not_go_on_with_other_features_of_the_same_name(model, tmp_path):
    halved = plain_features("pixels", lambda images: pixels(images) / 2)
    with pytest.raises(Interrupted, match="of 50 examples"):
        drawn(model, tmp_path, stop=StopAfter(2))
    (other,) = drawn(model, tmp_path, extractor=halved).features
    with pytest.raises(Interrupted, match="16 of 50 examples"):
        drawn(
            model, tmp_path, stop=StopAfter(0), extractor=plain_features("pixels", pixels)
        )  # its answers are the same
    (whole,) = drawn(model, tmp_path).features
    np.testing.assert_array_equal(other.features, whole.features / 2)


@pytest.mark.slow
def test_interrupted_and_resumed_is_the_same_to_the_bit(model, tmp_path):
    whole = drawn(model, tmp_path / "whole").features[0]
    for questions in (2, 1):
        with pytest.raises(Interrupted, match="of 50 examples"):
            drawn(model, tmp_path / "parts", stop=StopAfter(questions))
    resumed = drawn(model, tmp_path / "parts")
    found = resumed.features[0]
    np.testing.assert_array_equal(found.features, whole.features)
    np.testing.assert_array_equal(found.moments["features"].scatter, whole.moments["features"].scatter)
    assert found.facts["n"] == COUNT and len(whole.features) == COUNT
    resumed.parts.remove()
    assert not (tmp_path / "parts").exists()


@pytest.mark.slow
def test_devices_make_no_difference_and_seeds_do(model, tmp_path):
    (two,), (eight,) = drawn(model, tmp_path / "2").features, drawn(model, tmp_path / "8", devices=8).features
    np.testing.assert_array_equal(two.features, eight.features)
    np.testing.assert_array_equal(two.moments["features"].mean, eight.moments["features"].mean)
    (other,) = drawn(model, tmp_path / "2", seed=4).features
    assert not np.array_equal(other.features, two.features)
    assert len(np.unique(two.features, axis=0)) == COUNT  # no sample twice


def test_samples_are_kept_in_shards(model, tmp_path, monkeypatch):
    monkeypatch.setattr(Shards, "SIZE", 20)
    with pytest.raises(Interrupted):
        drawn(model, tmp_path / "parts", stop=StopAfter(4), shards=Shards(tmp_path / "samples"))
    result = drawn(model, tmp_path / "parts", shards=Shards(tmp_path / "samples"))
    files = sorted((tmp_path / "samples").glob("*.npz"))
    images = [np.load(file)["arr_0"] for file in files]
    assert [len(part) for part in images] == [20, 20, 10] and images[0].dtype == np.uint8
    np.testing.assert_array_equal(np.concatenate(images).reshape(COUNT, -1), result.features[0].features)
    monkeypatch.setattr(Shards, "SIZE", 40)
    again = Shards(tmp_path / "samples")
    again.add(images[0], np.zeros(20, np.int32))
    again.close()
    assert [file.name for file in (tmp_path / "samples").iterdir()] == ["samples_00000.npz"]


def test_a_source_is_measured_once_and_found_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SCORE_JAX_CACHE", str(tmp_path / "cache"))
    known, read = FeatureExtractor("", EXTRACTOR.apply, identity="abc"), []

    def watched(pixels, name):
        read.append(name)
        return pixels

    images = dataclasses.replace(source(), prepare=watched)
    how = dict(batch_size=4, facts={"resize": "tf1", "identity": "abc"}, parts=tmp_path / "parts")
    found = cached_source_features(images, mesh_of(2), known, **how)
    assert found.facts["n"] == len(images) and not (tmp_path / "parts").exists()
    assert len(set(read)) == len(images)
    read.clear()
    again = cached_source_features(images, mesh_of(2), known, **how)
    assert len(read) == 8  # of the fingerprint
    assert again.facts == found.facts
    np.testing.assert_allclose(again.moments["features"].covariance, found.moments["features"].covariance)
    np.testing.assert_array_equal(again.features, found.features)
    cached_source_features(images, mesh_of(2), EXTRACTOR, **how)
    assert len(set(read)) == len(images)  # unknown features are not kept


def test_another_pixel_is_another_reference():
    images = np.stack([row["image"] for row in source().rows])
    other = images.copy()
    other[5, 0, 0] ^= 1
    one, two, more = (array_features(x, mesh_of(2), EXTRACTOR).facts["pixels"] for x in (images, other, images))
    assert one == more and one != two


def test_every_pixel_counts_in_the_hash():
    image = np.arange(2 * 3 * 5 * 3, dtype=np.uint8).reshape(2, 3, 5, 3)
    hashes = np.asarray(pixel_hash(jnp.asarray(image)))
    swapped = image.copy()
    swapped[0, 0, 0], swapped[0, 0, 1] = image[0, 0, 1].copy(), image[0, 0, 0].copy()
    changed = np.asarray(pixel_hash(jnp.asarray(swapped)))
    assert (changed[0] != hashes[0]).all() and (changed[1] == hashes[1]).all()


def config_of(tmp_path, count=12):
    """A config whose data are the same law's images, in a file."""
    images = np.concatenate([row["image"][None] for row in source().rows])
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(len(images)) % 2)
    built = experiment()
    with built.config.unlocked():
        built.config.data.update(name=str(tmp_path / "images.npz"), train_split="all", eval_split="all")
        built.config.evaluation.update(num_samples=count, batch_size=2)
    return built


def test_the_files_say_how_the_numbers_came_about(tmp_path):
    built = config_of(tmp_path)
    one = models(built, mesh_of(2), tmp_path / "run", step=7)
    (result,) = evaluate.evaluate(one, [(PLAIN, EXTRACTOR)], workdir=tmp_path / "run")
    values = checked(result.path)
    assert values["fid_pixels_real"] < values["fid_pixels_noise"] and values["fid_pixels"] > 0
    assert values["num_samples"] == values["n"] == 12 and values["rounding"] == "truncated" and values["step"] == 7
    for key in ("sampler", "seed", "parameters", "arithmetic", "score_jax", "jax", "guidance", "nfe_mean"):
        assert key in values
    assert len(values["reference"]["pixels"]) == 16
    page = result.path.with_suffix(".html").read_text()
    assert "Nearest training images" in page and f"{values['fid_pixels']:.4f}" in page
    assert any(line.startswith("fid_pixels ") for line in result.lines)
    assert {"mu", "sigma"} <= set(np.load(result.path.with_suffix(".npz")).files)
    assert not (tmp_path / "run" / "evaluation_parts").exists()


def test_what_lies_beside_is_that_of_images_in_memory(tmp_path):
    """The training images are read as they are needed; the numbers are those of the arrays."""
    built = config_of(tmp_path)
    training = evaluate.spread(open_split(built.config, "train_split"), 7)
    images, _ = evaluate.load_images(training)
    whole = np.load(tmp_path / "images.npz")["images"]
    np.testing.assert_array_equal(images, whole[np.linspace(0, len(whole) - 1, 7).astype(int)])
    real = array_features(whole, mesh_of(2), EXTRACTOR)
    values = evaluate.beside_real_and_noise(training, 5, real, mesh_of(2), EXTRACTOR, seed=4)
    rng = np.random.default_rng(4)
    chosen = images[rng.permutation(7)[:5]]
    for kind, shown in (("real", chosen), ("noise", rng.integers(0, 256, chosen.shape, dtype=np.uint8))):
        generated = array_features(shown, mesh_of(2), EXTRACTOR)
        expected = metrics.measure(PLAIN, generated=generated, real=real, name="pixels", seed=4)
        assert values[f"fid_pixels_{kind}"] == expected["fid_pixels"]


def test_fewer_images_than_a_covariance_needs_are_said(tmp_path):
    built = config_of(tmp_path, count=2)
    with pytest.raises(InputError, match="at least 4"):
        evaluate.evaluate(models(built, mesh_of(1), tmp_path), [(PLAIN, EXTRACTOR)], workdir=tmp_path / "run")


def test_a_protocol_rounds_its_samples(tmp_path):
    built = config_of(tmp_path)
    protocol = Protocol("rounds", rounding="rounded")
    model = models(built, mesh_of(2), tmp_path)
    evaluate.evaluate(model, [(protocol, EXTRACTOR)], workdir=tmp_path, references=["train"])
    evaluate.evaluate(model, [(PLAIN, EXTRACTOR)], workdir=tmp_path, references=["train"])
    rounded, truncated = (np.load(tmp_path / f"{stem}.npz")["mu"] for stem in ("evaluation_rounds", "evaluation"))
    assert 0.3 < (rounded - truncated).mean() < 0.7


def test_protocols_from_one_drawing_are_those_of_a_drawing_each(tmp_path, monkeypatch):
    """Two that share their features, and one that rounds otherwise: each file as the protocol alone writes it."""
    means = plain_features("means", lambda images: images.mean((1, 2)))
    protocols = [Protocol("one", neighbours=3), Protocol("two", kid="subsets"), Protocol("three", rounding="truncated")]
    measures = list(zip(protocols, (EXTRACTOR, EXTRACTOR, means), strict=True))
    model, drawings = models(config_of(tmp_path), mesh_of(2), tmp_path), []

    def counted(*arguments, **options):
        drawings.append(1)
        return draw_features(*arguments, **options)

    monkeypatch.setattr(evaluate, "draw_features", counted)

    def evaluated(folder, measures):
        how = dict(workdir=tmp_path / folder, references=["train"], save_samples=True)
        return evaluate.evaluate(model, measures, **how)

    searches, nearest = [], evaluate.nearest_of_parts
    monkeypatch.setattr(evaluate, "nearest_of_parts", lambda *given: searches.append(1) or nearest(*given))
    together = evaluated("together", measures)
    assert len(together) == 3 and len(drawings) == 1 and len(searches) == 2  # once for each rounding
    for result, measure in zip(together, measures, strict=True):
        (alone,) = evaluated("alone", [measure])
        assert alone.values == result.values and alone.lines == result.lines
        for suffix in (".json", ".png"):
            name = f"evaluation_{measure[0].name}{suffix}"
            assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "together" / name).read_bytes()
    assert together[0].values["rounding"] == "rounded" and together[2].values["rounding"] == "truncated"
    kept = sorted(path.name for path in (tmp_path / "together").glob("*_samples"))
    assert kept == ["evaluation_one_samples", "evaluation_three_samples"]  # once for each rounding
    rounded, truncated = (np.load(tmp_path / "together" / name / "samples_00000.npz")["arr_0"] for name in kept)
    assert 0.3 < (rounded.astype(float) - truncated).mean() < 0.7


def test_features_that_protocols_share_are_computed_once(tmp_path, monkeypatch):
    protocols = [Protocol("a"), Protocol("b", kid="subsets"), Protocol("c", rounding="truncated")]
    seen = []
    original = sample_features.sample_batches
    monkeypatch.setattr(sample_features, "sample_batches", lambda *a, **k: seen.append(a[1]) or original(*a, **k))
    model = models(config_of(tmp_path), mesh_of(2), tmp_path)
    evaluate.evaluate(model, [(protocol, EXTRACTOR) for protocol in protocols], workdir=tmp_path, references=["train"])
    assert [view.rounding for view in seen[0]] == ["rounded", "truncated"]


def test_protocols_have_a_reference_each_or_one_for_all(tmp_path):
    model, file = models(config_of(tmp_path), mesh_of(2), tmp_path), str(tmp_path / "images.npz")
    measures = [(Protocol(name), EXTRACTOR) for name in "ab"]
    one, other = evaluate.evaluate(model, measures, workdir=tmp_path, references=["train", file])
    assert one.values["fid_pixels"] == other.values["fid_pixels"]
    assert one.values["reference"]["pixels"] == other.values["reference"]["pixels"]
    with pytest.raises(InputError, match="3 references for 2 protocols: give one, or one for each"):
        evaluate.evaluate(model, measures, workdir=tmp_path, references=["train", "train", "eval"])
    with pytest.raises(InputError, match="A reference has no name"):
        evaluate.evaluate(model, measures, workdir=tmp_path, references=["train", ""])


def test_copies_are_told_from_fresh_samples(tmp_path, monkeypatch):
    """The exact model's samples are as far from the training images as held-out images are; copies of them are not."""
    built = config_of(tmp_path, count=200)
    rng = np.random.default_rng(5)
    training, fresh = (np.uint8(rng.normal(140, 38, (200, 4, 4, 1)).clip(0, 255)) for _ in range(2))
    for name, images in (("training", training), ("fresh", fresh)):
        np.savez(tmp_path / f"{name}.npz", images=images)
    how = dict(references=[str(tmp_path / "training.npz")], held_out=[str(tmp_path / "fresh.npz")])
    model = models(built, mesh_of(2), tmp_path)
    (result,) = evaluate.evaluate(model, [(PLAIN, EXTRACTOR)], workdir=tmp_path, **how)
    assert abs(result.values["c_t"]) < 3 and 0.3 < result.values["authenticity"] < 0.7
    assert result.values["held_out"]["n"] == 200 and "c_t" in result.values["measured"]
    how["references"] = [str(tmp_path / "evaluation_samples" / "samples_00000.npz")]
    evaluate.evaluate(model, [(PLAIN, EXTRACTOR)], workdir=tmp_path, save_samples=True)
    (copied,) = evaluate.evaluate(model, [(PLAIN, EXTRACTOR)], workdir=tmp_path, **how)
    assert copied.values["c_t"] < -5 and copied.values["authenticity"] == 0
    np.savez(tmp_path / "moments.npz", mu=np.zeros(16), sigma=np.eye(16))
    how["held_out"] = [str(tmp_path / "moments.npz")]
    with pytest.raises(InputError, match="has a mean and a covariance alone, and the test of copies compares images"):
        evaluate.evaluate(model, [(PLAIN, EXTRACTOR)], workdir=tmp_path, **how)


def test_a_protocol_without_a_frechet_distance_has_its_other_numbers(tmp_path):
    protocol = Protocol("manifold", frechet=False, neighbours=3)
    (result,) = evaluate.evaluate(
        models(config_of(tmp_path), mesh_of(2), tmp_path),
        [(protocol, EXTRACTOR)],
        workdir=tmp_path,
        references=["train"],
    )
    assert result.values["measured"] == ["precision", "recall", "density", "coverage", "f_score"]
    assert "against the number of samples" not in result.path.with_suffix(".html").read_text()


def test_a_run_through_the_front_door_is_the_verb_to_the_bit(tmp_path):
    """Its sampler as a function: the same samples, features, moments and distances."""
    one = models(config_of(tmp_path), make_mesh(), tmp_path)
    images, c = str(tmp_path / "images.npz"), one.config.evaluation
    (verb,) = evaluate.evaluate(one, [(PLAIN, EXTRACTOR)], workdir=tmp_path / "verb", references=[images])
    sampler = batch_sampler(one.stages[0].experiment, (), one.mesh, seed=c.seed)
    door = sj.evaluate(
        lambda key, indices, labels: sampler(np.asarray(indices), np.asarray(indices))[0]["image"],
        reference=images,
        num_samples=c.num_samples,
        protocol=None,
        features=pixels,
        workdir=tmp_path / "door",
        seed=c.seed,
        batch_size=c.batch_size,
    )
    assert door["fid_pixels"] == verb.values["fid_pixels"] > 0 and door["kid_pixels"] == verb.values["kid_pixels"]
    assert door["reference"] == verb.values["reference"]
    mine, theirs = (np.load(tmp_path / name / "evaluation.npz") for name in ("door", "verb"))
    for name in ("mu", "sigma"):
        np.testing.assert_array_equal(mine[name], theirs[name])


TWO_PROCESSES = """
import sys
import jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
from pathlib import Path
from test_evaluate import EXTRACTOR, config_of, models
from score_jax.runtime import multihost
from score_jax.evaluation.protocols import PLAIN
from score_jax.jobs import evaluate
from score_jax.runtime.sharding import make_mesh
multihost._SECONDS = 0.1
folder = Path(sys.argv[3])
model = models(config_of(folder), make_mesh(), folder / "two")
result = evaluate.evaluate(model, [(PLAIN, EXTRACTOR)], workdir=folder / "two")
assert (result is None) == (jax.process_index() > 0)
"""


@pytest.mark.slow
def test_two_processes_give_the_same_bits(tmp_path):
    model = models(config_of(tmp_path), mesh_of(1), tmp_path / "one")
    evaluate.evaluate(model, [(PLAIN, EXTRACTOR)], workdir=tmp_path / "one")
    in_two_processes(TWO_PROCESSES, tmp_path, __file__)
    one, two = (np.load(tmp_path / name / "evaluation.npz") for name in ("one", "two"))
    np.testing.assert_array_equal(one["sigma"], two["sigma"])
    names = ("fid_pixels", "fid_pixels_real", "kid_pixels", "reference")
    one, two = (json.loads((tmp_path / name / "evaluation.json").read_text()) for name in ("one", "two"))
    assert [one[name] for name in names] == [two[name] for name in names]


def test_without_plots_the_numbers_are_there(tmp_path, monkeypatch, capsys):
    def no_plots(*_):
        raise InputError("The report's plots need matplotlib.")

    monkeypatch.setattr(evaluate, "write_evaluation_page", no_plots)
    model = models(config_of(tmp_path), mesh_of(2), tmp_path)
    (result,) = evaluate.evaluate(model, [(PLAIN, EXTRACTOR)], workdir=tmp_path)
    assert json.loads(result.path.read_text())["fid_pixels"] > 0
    assert "No evaluation.html: The report's plots need matplotlib." in capsys.readouterr().out
