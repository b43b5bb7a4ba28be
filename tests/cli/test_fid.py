"""`fid A B`: any two kinds of things that hold images or statistics, and what may not be compared."""

import dataclasses
import json
import pickle

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image as PILImage
from safetensors.numpy import save_file

from score_jax.cli import main as cli
from score_jax.convert import clip, vgg16
from score_jax.convert.dinov2 import random_state
from score_jax.evaluation import feature_set
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.resize import resize
from score_jax.jobs.extractors import NETWORKS
from score_jax.models.scorers.dinov2 import DINOv2
from score_jax.models.scorers.vgg16 import VGG16Hidden
from tiny import checked

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (30, 6, 5, 3), dtype=np.uint8)


def features(images):
    """Of no network: used by import path."""
    return images.astype(jnp.float32).mean(axis=(1, 2)) / 50


@pytest.fixture
def as_inception(monkeypatch):
    """Means of channels in Inception's place, under any protocol."""

    def extractor(found, protocol):
        def apply(params, images):
            found = images.mean(axis=(1, 2))
            return {"features": found} | ({"spatial": found[:, :2]} if protocol.spatial else {})

        def prepare(images):
            return resize(images.astype(jnp.float32) / protocol.centre, (5, 5), protocol.resize)

        return FeatureExtractor("", apply, prepare, identity="abc", logits=lambda rows, biased: 9 * rows)

    network = {"find": lambda path, *, allow_other: None, "extractor": extractor, "warning": lambda found: ""}
    monkeypatch.setitem(NETWORKS, "inception", dataclasses.replace(NETWORKS["inception"], **network))


def run(*arguments):
    return cli.main(["score_jax", "fid", *map(str, arguments)])


def folder_of(path, images):
    path.mkdir()
    for i, image in enumerate(images):
        PILImage.fromarray(image).save(path / f"{i:03d}.{'PNG' if i % 2 else 'png'}")
    return path


def test_a_folder_and_an_array_of_the_same_images_are_at_distance_zero(tmp_path, as_inception, capsys):
    folder = folder_of(tmp_path / "images", IMAGES)
    np.savez(tmp_path / "images.npz", arr_0=IMAGES)
    result = tmp_path / "result.json"
    assert run(folder, tmp_path / "images.npz", "--protocol=adm", f"--json={result}") == 0
    values = checked(result)
    assert abs(values["fid30"]) < 1e-9 and abs(values["sfid30"]) < 1e-9
    assert values["precision"] == values["recall"] == 1 and values["inception_score"] > 1
    assert values["protocol"] == "adm" and values["generated"]["resize"] == "tf1" and values["generated"]["n"] == 30
    assert "kid" in values and "fid30 is of 30 samples" in values["warning"]
    assert "fid30" in capsys.readouterr().out


def test_images_of_different_sizes_and_grey_ones_are_prepared_one_by_one(tmp_path, as_inception):
    folder = folder_of(tmp_path / "images", [*IMAGES[:8], *RNG.integers(0, 256, (3, 9, 4, 3), dtype=np.uint8)])
    PILImage.fromarray(IMAGES[0, :, :, 0]).save(folder / "grey.jpeg")
    assert run(folder, "--save", tmp_path / "s.npz", "--protocol=torch_fidelity") == 0
    found = feature_set.load(tmp_path / "s.npz")
    assert found.facts["n"] == 12 and len(found.features) == 12
    np.testing.assert_allclose(found.moments["features"].mean, found.features.mean(0), rtol=1e-5)


def test_statistics_of_every_evaluator_are_read(tmp_path, as_inception, capsys):
    np.savez(tmp_path / "images.npz", arr_0=IMAGES)
    assert run(tmp_path / "images.npz", "--save", tmp_path / "ours.npz", "--protocol=adm") == 0
    ours = np.load(tmp_path / "ours.npz")
    plain = {"mu": ours["mu"], "sigma": ours["sigma"]}
    np.savez(tmp_path / "pytorch_fid.npz", **plain)
    adm = plain | {"mu_s": ours["mu_s"], "sigma_s": ours["sigma_s"], "arr_0": IMAGES}
    np.savez(tmp_path / "adm.npz", **adm)
    for name in ("ours", "pytorch_fid", "adm"):
        assert run(tmp_path / "images.npz", tmp_path / f"{name}.npz", f"--json={tmp_path / name}.json") == 0
        values = json.loads((tmp_path / f"{name}.json").read_text())
        assert abs(values["fid30"]) < 1e-9
        assert ("precision" in values) == (name != "pytorch_fid")
    out = capsys.readouterr().out
    assert "pytorch_fid.npz does not say how it was made" in out
    assert "adm.npz: mean and covariance are as stored; computing features of its 30 images" in out


@pytest.mark.parametrize("name", ["ours", "adm"])
def test_statistics_of_another_resize_are_refused(tmp_path, as_inception, capsys, name):
    np.savez(tmp_path / "images.npz", arr_0=IMAGES)
    assert run(tmp_path / "images.npz", "--save", tmp_path / "ours.npz", "--protocol=adm") == 0
    ours = np.load(tmp_path / "ours.npz")
    np.savez(tmp_path / "adm.npz", **{key: ours[key] for key in ("mu", "sigma", "mu_s", "sigma_s")})
    assert run(tmp_path / "images.npz", tmp_path / f"{name}.npz", "--protocol=clean_fid") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "was made with resize tf1, but the protocol 'clean_fid' has clean" in error


def test_features_of_ones_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_of_fid.py").write_text(
        "import jax.numpy as jnp\n\ndef means(images):\n    return images.astype(jnp.float32).mean(axis=(1, 2))\n"
    )
    np.savez(tmp_path / "images.npz", arr_0=IMAGES)
    assert run("images.npz", "images.npz", "--features=mine_of_fid:means") == 0
    assert "fid_means" in capsys.readouterr().out
    assert run("images.npz", "images.npz", "--features=mine_of_fid:nothing") == 2
    assert "Expected module:function" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "x.npz"], "nowhere: no such folder or file"),
        (["broken.npz", "images.npz"], "Cannot read"),
        (["other.npz", "images.npz"], "expected 'images' or 'arr_0'"),
        (["shapes.npz", "images.npz"], "expected finite"),
        (["images.npz", "images.npz", "--protocol=fld"], "protocol"),
        (["few.npz", "images.npz"], "at least 4"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, as_inception, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    np.savez("images.npz", arr_0=IMAGES)
    np.savez("few.npz", arr_0=IMAGES[:2])
    np.savez("other.npz", z=IMAGES)
    np.savez("shapes.npz", mu=np.zeros(3), sigma=np.zeros((2, 2)))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no")
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error.strip().splitlines()[-1] and "Traceback" not in error


def test_without_weights_the_way_to_them_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SCORE_JAX_INCEPTION", raising=False)
    assert run("a", "b") == 2
    assert "pt_inception-2015-12-05-6726825d.pth" in capsys.readouterr().err


FEATURES = """
import jax.numpy as jnp

def flat(x):
    return x.reshape(len(x), -1)[:, :6] / 1.0

def broken(x):
    return jnp.where(x[:, 0, :1, 0] == 7, jnp.nan, flat(x))
"""


@pytest.fixture
def two_sets(tmp_path, monkeypatch):
    """Twelve images; twelve others, of which the fourth has no features by `broken`; statistics; one image alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "two_functions.py").write_text(FEATURES)
    rng = np.random.default_rng(0)
    images = rng.integers(8, 256, (12, 4, 4, 3), dtype=np.uint8)
    np.savez("images.npz", arr_0=images)
    images[3, 0, 0, 0] = 7
    np.savez("seventh.npz", arr_0=images)
    np.savez("one.npz", arr_0=images[:1])
    np.savez("longer.npz", mu=np.zeros(9), sigma=np.eye(9))
    np.savez("other.npz", mu=np.zeros(6), sigma=np.eye(6), facts=np.asarray('{"features": "another"}'))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["images.npz", "seventh.npz", "--features=two_functions:broken"],
            "The features of image 3 of 12 are not finite",
        ),
        (["one.npz", "--save=kept", "--features=two_functions:flat"], "needs at least 2 images, but there is 1"),
        (["images.npz", "one.npz", "--features=two_functions:flat"], "1 reference images: a distance needs at least 4"),
    ],
)
def test_what_gives_no_number_is_one_line_and_leaves_nothing(words, message, two_sets, capsys):
    before = sorted(two_sets.iterdir())
    assert run(*words, "--json=result.json") == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert [file for file in sorted(two_sets.iterdir()) if file.name != "__pycache__"] == before


@pytest.mark.parametrize(
    ("real", "message"),
    [
        ("longer.npz", "longer.npz has statistics of 9 features, but this network has 6"),
        ("other.npz", "other.npz was made with features another"),
        ("missing.npz", "missing.npz"),
        ("__pycache__/missing", "__pycache__/missing: no such folder or file"),
        ("../missing", "../missing: no such folder or file"),
        ("one.npz", "needs at least 4"),
    ],
)
def test_both_sides_are_looked_at_before_any_image_is_measured(real, message, two_sets, capsys, monkeypatch):
    (two_sets / "__pycache__").mkdir(exist_ok=True)
    monkeypatch.setattr("score_jax.jobs.compare.source_features", lambda *_, **__: pytest.fail("measured"))
    assert run("images.npz", real, "--features=two_functions:flat") == 2
    assert message in capsys.readouterr().err


def test_a_result_says_which_statistics_it_was_compared_with(two_sets):
    found = {}
    for shift in (0, 1):
        np.savez("known.npz", mu=np.full(6, shift), sigma=np.eye(6))
        assert run("images.npz", "known.npz", "--features=two_functions:flat", "--json=result.json") == 0
        found[shift] = json.loads((two_sets / "result.json").read_text())["reference"]["moments"]
    assert len(found[0]) == len(found[1]) == 16 and found[0] != found[1]


def test_statistics_are_kept_under_the_name_with_its_suffix(two_sets, capsys):
    assert run("images.npz", "--save=kept", "--features=two_functions:flat") == 0
    assert "Written: kept.npz" in capsys.readouterr().out
    assert (two_sets / "kept.npz").is_file() and not list(two_sets.glob(".*"))


def test_images_of_two_sizes_are_one_line_where_nothing_resizes_them(two_sets, capsys):
    (two_sets / "photos").mkdir()
    for i in range(6):
        PILImage.fromarray(np.full((4, 4 + i % 2, 3), i, np.uint8)).save(two_sets / "photos" / f"{i}.png")
    assert run("folder:photos", "images.npz", "--features=two_functions:flat") == 2
    assert "other images of folder:photos have another size" in capsys.readouterr().err.splitlines()[-1]


def test_a_result_that_cannot_be_written_is_one_line(two_sets, capsys):
    (two_sets / "result.json").mkdir()
    assert run("images.npz", "images.npz", "--features=two_functions:flat", "--json=result.json") == 2
    assert "cannot write result.json: Is a directory" in capsys.readouterr().err.splitlines()[-1]


@pytest.fixture
def tiny_dinov2(two_sets):
    """A file of the hub's names, of a network that is none of the published ones."""
    state = random_state(0, DINOv2(image_size=28, width=64, layers=1, heads=1))
    save_file(state, two_sets / "dinov2.safetensors")
    return "--dinov2_weights=dinov2.safetensors"


def test_dinov2_under_both_protocols(two_sets, tiny_dinov2, capsys):
    assert run("images.npz", "images.npz", "--protocol=edm2_dinov2", tiny_dinov2) == 2
    assert "published numbers are of vitl14" in capsys.readouterr().err.splitlines()[-1]
    allowed = ("--allow_other_weights", tiny_dinov2)
    assert run("images.npz", "--save=edm2.npz", "--protocol=edm2_dinov2", *allowed) == 0
    assert "Warning: these numbers are of dinov2_other" in capsys.readouterr().out
    assert run("images.npz", "edm2.npz", "--protocol=edm2_dinov2", "--json=result.json", *allowed) == 0
    values = json.loads((two_sets / "result.json").read_text())
    assert abs(values["fd_dinov2_other"]) < 1e-6 and values["protocol"] == "edm2_dinov2"
    assert values["reference"]["resize"] == "torch_bicubic" and "centre" not in values["reference"]
    assert run("images.npz", "edm2.npz", "--protocol=dgm_eval", *allowed) == 2
    assert "resize torch_bicubic, but the protocol 'dgm_eval' has pillow" in capsys.readouterr().err
    assert run("images.npz", "images.npz", "--protocol=dgm_eval", "--json=result.json", *allowed) == 0
    values = json.loads((two_sets / "result.json").read_text())
    assert values["precision"] == values["coverage"] == 1 and "kd_dinov2_other" in values


def test_precision_and_recall_by_vgg16(two_sets, capsys):
    narrow = VGG16Hidden(((2, 2), (2, 2), (2, 2, 3), (3, 3, 3), (3, 3, 3)), hidden=8)
    save_file(vgg16.random_state(0, narrow), two_sets / "vgg16.safetensors")
    given = ("--protocol=torch_fidelity_prc", "--vgg16_weights=vgg16.safetensors")
    assert run("images.npz", "images.npz", *given) == 2
    assert "is not the published VGG16" in capsys.readouterr().err.splitlines()[-1]
    allowed = ("--allow_other_weights", *given)
    assert run("images.npz", "--save=vgg.npz", *allowed) == 0
    assert "Do not compare this precision and recall with published ones" in capsys.readouterr().out
    assert run("images.npz", "vgg.npz", "--json=result.json", *allowed) == 0
    values = json.loads((two_sets / "result.json").read_text())
    assert values["precision"] == values["recall"] == 1 and not any(name.startswith(("fd", "fid")) for name in values)
    assert values["reference"]["resize"] == "tf1" and values["reference"]["features"] == "vgg16"
    moments = np.load("vgg.npz")
    np.savez("moments.npz", mu=moments["mu"], sigma=moments["sigma"])
    assert run("images.npz", "moments.npz", *allowed) == 2
    assert "moments.npz has a mean and a covariance alone" in capsys.readouterr().err.splitlines()[-1]


def test_cmmd_of_a_clip(two_sets, monkeypatch, capsys):
    save_file(clip.random_state(0), two_sets / "clip.safetensors")
    monkeypatch.setenv(clip.VARIABLE, "clip.safetensors")
    assert run("images.npz", "images.npz", "--protocol=cmmd") == 2
    assert "CMMD is of vitl14_336" in capsys.readouterr().err.splitlines()[-1]
    assert run("images.npz", "images.npz", "--protocol=cmmd", "--allow_other_weights", "--json=result.json") == 0
    values = json.loads((two_sets / "result.json").read_text())
    assert abs(values["cmmd_other"]) < 1e-9 and values["reference"]["features"] == "clip_other"
    assert "these numbers are of clip_other" in capsys.readouterr().out


def test_copies_are_found_beside_held_out_images(tmp_path, as_inception, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    training, held_out, fresh = RNG.integers(0, 256, (3, 60, 6, 5, 3), dtype=np.uint8)
    for name, images in {"training": training, "held_out": held_out, "fresh": fresh, "copies": training}.items():
        np.savez(f"{name}.npz", arr_0=images)
    found = {}
    for name in ("fresh", "copies"):
        arguments = ("training.npz", "--held_out=held_out.npz", "--protocol=adm", f"--json={name}.json")
        assert run(f"{name}.npz", *arguments) == 0
        found[name] = json.loads((tmp_path / f"{name}.json").read_text())
    assert found["copies"]["authenticity"] == 0 < found["fresh"]["authenticity"] < 0.8
    assert found["copies"]["c_t"] < -3 < found["fresh"]["c_t"] < 3
    assert found["copies"]["authenticity_held_out"] == found["fresh"]["authenticity_held_out"] > 0.1
    assert found["fresh"]["fdr"] == found["fresh"]["fid60"] / found["fresh"]["fid60_held_out"]
    assert sum(cell["held_out"] for cell in found["fresh"]["c_t_cells"]) == found["fresh"]["held_out"]["n"] == 60
    capsys.readouterr()
    assert run("fresh.npz", "--save=s.npz", "--held_out=held_out.npz") == 2
    assert "give them as B" in capsys.readouterr().err
    moments = {"mu": np.zeros(3), "sigma": np.eye(3)}
    np.savez("moments.npz", **moments)
    assert run("fresh.npz", "moments.npz", "--held_out=held_out.npz") == 2
    assert "moments.npz has a mean and a covariance alone, and the test of copies" in capsys.readouterr().err
    assert run("training.npz", "--save=kept.npz") == 0
    np.savez("same.npz", arr_0=training)
    for real, named in (("training.npz", "of the reference, 'training.npz'"), ("kept.npz", "that were trained on")):
        assert run("fresh.npz", real, "--held_out=same.npz") == 2
        assert f"The held-out images are those {named}" in capsys.readouterr().err
    np.savez("few.npz", arr_0=fresh[:20])
    assert run("few.npz", "training.npz", "--held_out=held_out.npz") == 2
    assert "20 samples: the test of copies needs more than 20." in capsys.readouterr().err


def test_edm2s_statistics_are_read_for_their_own_network(two_sets, tiny_dinov2, as_inception, capsys):
    """As its `calculate_metrics.py ref` writes them, for numbers that are three here."""
    moments = {"mu": np.zeros(3), "sigma": np.eye(3)}
    dinov2 = {"mu": np.zeros(64), "sigma": np.eye(64)}
    file = two_sets / "img64.pkl"
    file.write_bytes(pickle.dumps({"num_images": 1000, "fid": moments, "fd_dinov2": dinov2}))
    assert run("images.npz", "img64.pkl", "--protocol=edm", "--json=result.json") == 0
    values = json.loads((two_sets / "result.json").read_text())
    assert len(values["reference"].pop("moments")) == 16
    assert values["fid12"] > 0 and values["reference"] == {"n": 1000, "resize": "tf1", "centre": 128.0}
    assert run("images.npz", "img64.pkl", "--protocol=pytorch_fid") == 2
    assert "img64.pkl was made with resize tf1" in capsys.readouterr().err
    arguments = ("images.npz", "img64.pkl", tiny_dinov2, "--allow_other_weights")
    assert run(*arguments, "--protocol=dgm_eval") == 2
    assert "was made with features dinov2" in capsys.readouterr().err
    file.write_bytes(pickle.dumps({"num_images": 1000, "fid": moments}))
    assert run(*arguments, "--protocol=edm2_dinov2") == 2
    assert "holds num_images, fid: expected EDM2's statistics" in capsys.readouterr().err
    file.write_bytes(pickle.dumps({"num_images": None, "fid": moments}))
    assert run("images.npz", "img64.pkl", "--protocol=edm") == 2
    assert "num_images=None" in capsys.readouterr().err


def test_features_that_are_no_vectors_are_one_line(two_sets, monkeypatch, capsys):
    (two_sets / "bad_features.py").write_text(
        "import numpy as np\n\n\ndef by_numpy(images):\n    return np.asarray(images).mean((1, 2))\n\n\n"
        "def of_the_batch(images):\n    return images[:1].mean((1, 2))\n\n\n"
        "def maps(images):\n    return images / 255\n\n\nnumber = 3\n"
    )
    monkeypatch.syspath_prepend(str(two_sets))
    for name, message in (
        ("by_numpy", "The features 'by_numpy' cannot be compiled: write them with jax.numpy"),
        ("of_the_batch", "expected vectors ("),
        ("maps", "expected vectors ("),
        ("number", "expected a function, found int"),
    ):
        assert run("images.npz", "seventh.npz", f"--features=bad_features:{name}") == 2
        error = capsys.readouterr().err
        assert message in error.splitlines()[-1] and "Traceback" not in error
    assert run("images.npz", "seventh.npz", "--features=bad_features:maps", "--protocol=adm") == 2
    assert "leave one of the two out" in capsys.readouterr().err
