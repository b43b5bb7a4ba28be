"""LPIPS's weights under torchvision's and the package's names: read together, refused, written back."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from score_jax.convert import lpips
from score_jax.errors import InputError
from score_jax.models.scorers.lpips import LPIPS

NARROW = ((4, 6), (5, 6), (7, 7, 8), (8, 8, 9), (8, 8, 10))
CONVOLUTIONS = {1: (0, 2), 2: (5, 7), 3: (10, 12, 14), 4: (17, 19, 21), 5: (24, 26, 28)}
"""Their places in torchvision's `vgg16().features`, by block."""


@pytest.fixture(scope="module")
def state():
    return lpips.random_state(0, NARROW)


def of_torchvision(state):
    """Its VGG16, with the classifier that torchvision's files have."""
    vgg = {re.sub(r"net\.slice\d", "features", name): tensor for name, tensor in state.items() if "net." in name}
    return vgg | {"classifier.6.weight": np.zeros((10, 4), np.float32)}


def of_heads(state):
    return {name: tensor for name, tensor in state.items() if name.startswith("lin")}


def save(path, tensors):
    save_file(tensors, path)
    return path


def assert_equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_names_are_the_published_ones(state):
    names = {
        f"net.slice{block}.{i}.{leaf}" for block, at in CONVOLUTIONS.items() for i in at for leaf in ("weight", "bias")
    }
    assert set(state) == names | {f"lin{i}.model.1.weight" for i in range(5)}
    assert state["net.slice3.14.weight"].shape == (8, 7, 3, 3) and state["lin3.model.1.weight"].shape == (1, 9, 1, 1)
    assert all((head >= 0).all() for head in of_heads(state).values())


def test_there_and_back_is_the_identity(state):
    network = lpips.lpips_of(state, state)
    assert network.module == LPIPS(NARROW)
    back = lpips.state_of(network.params)
    assert set(back) == set(state)
    for name, tensor in back.items():
        np.testing.assert_array_equal(tensor, state[name])


def test_all_releases_are_one_network(state, tmp_path):
    registered = {f"lins.{i}.model.1.weight": state[f"lin{i}.model.1.weight"] for i in range(5)}
    scaling = {"scaling_layer.shift": np.zeros((1, 3, 1, 1), np.float32)}
    vgg = save(tmp_path / "vgg16.safetensors", of_torchvision(state))
    heads = save(tmp_path / "heads.safetensors", of_heads(state))
    whole = save(tmp_path / "whole.safetensors", state | registered)
    expected = lpips.lpips_of(state, state).params
    for files in ((vgg, heads), (whole, whole), (vgg, whole), (whole, heads)):
        network = lpips.load_lpips(*files)
        assert network.module == LPIPS(NARROW)
        assert_equal(network.params, expected)
    shifted = save(tmp_path / "shifted.safetensors", state | scaling)
    assert lpips.load_lpips(shifted, heads).module == LPIPS(NARROW, shift=(0.0, 0.0, 0.0))
    x = jax.random.uniform(jax.random.key(0), (1, 16, 16, 3), minval=-1)
    assert float(network.distance(network.params, x, jnp.zeros_like(x))[0]) > 0


@pytest.mark.parametrize(
    ("vgg", "heads", "message"),
    [
        (
            of_heads,
            of_torchvision,
            r"not those of VGG16 \(a convolution has no net.slice1.0.*vgg16-397923af.pth",
        ),
        (of_torchvision, of_torchvision, "5 missing: lin0.model.1.weight"),
        (
            lambda state: {k: v for k, v in of_torchvision(state).items() if k != "features.28.weight"},
            of_heads,
            "features.28.weight",
        ),
        (
            lambda state: {k: v for k, v in of_torchvision(state).items() if k != "features.28.bias"},
            of_heads,
            "1 missing: features.28.bias",
        ),
        (
            lambda state: of_torchvision(state) | {"features.1.weight": np.ones(4, np.float32)},
            of_heads,
            "1 not used: features.1.weight",
        ),
        (
            of_torchvision,
            lambda state: of_heads(state) | {"lin5.model.1.weight": np.ones((1, 4, 1, 1))},
            "1 not used: lin5",
        ),
        (
            of_torchvision,
            lambda state: of_heads(state) | {"lin2.model.1.weight": np.ones((1, 4, 1, 1))},
            r"1 of another shape: lin2.*\(1, 8, 1, 1\) is expected",
        ),
        (lambda state: state | {"scaling_layer.scale": np.ones(1)}, of_heads, "scaling_layer.scale has 1 numbers"),
    ],
)
def test_other_weights_are_refused(state, tmp_path, vgg, heads, message):
    files = save(tmp_path / "vgg.safetensors", vgg(state)), save(tmp_path / "heads.safetensors", heads(state))
    with pytest.raises(InputError, match=message) as error:
        lpips.load_lpips(*files)
    assert "\n" not in str(error.value) and str(files[0]) in str(error.value)


def test_files_that_hold_no_tensors_are_refused(state, tmp_path):
    heads = save(tmp_path / "heads.safetensors", of_heads(state))
    with pytest.raises(InputError, match="No file"):
        lpips.load_lpips(tmp_path / "nowhere.pth", heads)
    (tmp_path / "damaged.pth").write_bytes(b"\x80\x02not a checkpoint")
    with pytest.raises(InputError, match="damaged.pth"):
        lpips.load_lpips(tmp_path / "damaged.pth", heads)
    (tmp_path / "nested.msgpack").write_bytes(b"\x81\xa5state\x81\xa1a\x01")
    with pytest.raises(InputError, match="holds no named tensors"):
        lpips.load_lpips(tmp_path / "nested.msgpack", heads)
