"""VGG16's weights: torchvision's names, the published file, and what is refused."""

import dataclasses
import hashlib

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from score_jax.cli import main as cli
from score_jax.convert import vgg16
from score_jax.errors import InputError
from score_jax.models.scorers.vgg16 import VGG16Hidden

NARROW = VGG16Hidden(((4, 6), (5, 6), (7, 7, 8), (8, 8, 9), (8, 8, 10)), hidden=12)
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


@pytest.fixture(scope="module")
def state():
    classes = {"classifier.6.weight": np.zeros((3, 12), np.float32), "classifier.6.bias": np.zeros(3, np.float32)}
    return vgg16.random_state(0, NARROW) | classes


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(state, path)
    return path


def test_names_are_torchvisions_and_there_and_back_is_the_identity(state):
    layers = [f"features.{i}" for i in CONVOLUTIONS] + ["classifier.0", "classifier.3", "classifier.6"]
    assert set(state) == {f"{layer}.{leaf}" for layer in layers for leaf in ("weight", "bias")}
    module, params = vgg16.vgg16_of(state)
    assert module == NARROW
    back = vgg16.state_of(params)
    assert set(back) == {name for name in state if not name.startswith("classifier.6")}
    for name, tensor in back.items():
        np.testing.assert_array_equal(tensor, state[name])


def test_maps_are_flattened_channels_first_there(state):
    _, params = vgg16.vgg16_of(state)
    theirs = state["classifier.0.weight"].reshape(12, 10, 7, 7)
    ours = np.asarray(params["hidden_1"]["kernel"]).reshape(7, 7, 10, 12)
    np.testing.assert_array_equal(ours[2, 5, 8], theirs[:, 8, 2, 5])


def test_the_published_file_is_known_by_its_hash(file, monkeypatch):
    with pytest.raises(InputError, match="not the published VGG16.*397923af.*precision and recall.*--allow_other"):
        vgg16.load_vgg16(file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    weights = vgg16.load_vgg16(file, allow_other=True)
    assert not weights.published and weights.sha256 == sha256
    monkeypatch.setattr(vgg16, "PUBLISHED", dataclasses.replace(vgg16.PUBLISHED, start=sha256[:8]))
    assert vgg16.load_vgg16(file).published


def test_a_converted_file_knows_where_it_came_from(file, tmp_path, monkeypatch, capsys):
    out = tmp_path / "vgg16.safetensors"
    arguments = ["score_jax", "convert", "--from=vgg16", str(file), str(out)]
    assert cli.main(arguments) == 2
    assert "not the published" in capsys.readouterr().err and not out.exists()
    assert cli.main([*arguments, "--allow_other_weights"]) == 0
    assert f"export {vgg16.VARIABLE}=" in capsys.readouterr().out
    monkeypatch.setenv(vgg16.VARIABLE, str(out))
    converted, original = vgg16.find_vgg16(None, allow_other=True), vgg16.load_vgg16(file, allow_other=True)
    assert converted.sha256 == original.sha256 and "classifier.6.bias" not in load_file(out)
    jax.tree.map(np.testing.assert_array_equal, converted.params, original.params)


def test_what_does_not_fit_is_named(state, tmp_path, monkeypatch):
    monkeypatch.delenv(vgg16.VARIABLE, raising=False)
    with pytest.raises(InputError, match=r"vgg16-397923af.pth from https.*--vgg16_weights or \$SCORE_JAX_VGG16"):
        vgg16.find_vgg16(None)
    cases = {
        r"not those of VGG16 \(a convolution has no features.0.weight": {"a": np.zeros(3)},
        r"hidden layers \(classifier.3.bias is missing": {k: v for k, v in state.items() if "classifier.3" not in k},
        r"has no features.2.weight": state | {"features.2.weight": np.zeros((0, 4, 3, 3))},
        r"\(classifier.3.bias is missing\)": state | {"classifier.3.bias": np.zeros(0)},
        "1 missing: features.5.bias": {k: v for k, v in state.items() if k != "features.5.bias"},
        "1 not used: features.1.weight": state | {"features.1.weight": np.zeros(3)},
        r"classifier.0.weight \(12, 9\) where \(12, 490\)": state | {"classifier.0.weight": np.zeros((12, 9))},
    }
    for message, damaged in cases.items():
        save_file({name: np.array(tensor, order="C") for name, tensor in damaged.items()}, tmp_path / "a.safetensors")
        with pytest.raises(InputError, match=message) as caught:
            vgg16.load_vgg16(tmp_path / "a.safetensors", allow_other=True)
        assert "a.safetensors: " in str(caught.value) and "\n" not in str(caught.value)
