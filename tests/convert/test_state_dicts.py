"""Which tensors of a release's file are the weights."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

from score_jax.convert.readers import read_checkpoint
from score_jax.convert.state_dicts import named_weights, state_dict
from score_jax.errors import InputError

FILES = Path(__file__).parent / "files"
AVERAGED, RAW = 12.5, 0.0  # the first element of each


def first(release, name, weights, key):
    return state_dict(release, read_checkpoint(FILES / name), weights)[key].ravel()[0]


@pytest.mark.parametrize(
    ("release", "name", "key"),
    [
        ("score_sde_pytorch", "score_sde.pth", "all_modules.1.weight"),
        ("score_sde", "score_sde_flax", "Dense_0/kernel"),
        ("ncsnv2", "ncsnv2.pth", "begin_conv.weight"),
    ],
)
def test_averaged_weights_are_the_default(release, name, key):
    assert first(release, name, "auto", key) == first(release, name, "ema", key) == AVERAGED
    assert first(release, name, "raw", key) == RAW


def test_what_is_not_trained_is_taken_from_the_model():
    found = state_dict("score_sde_pytorch", read_checkpoint(FILES / "score_sde.pth"), "ema")
    assert set(found) == {"sigmas", "all_modules.0.W", "all_modules.1.weight", "all_modules.1.bias"}
    np.testing.assert_array_equal(found["all_modules.0.W"], np.arange(4) / 8)
    assert found["sigmas"].dtype == np.float64
    assert found["all_modules.1.bias"].tolist() == [12.5, 12.625]


def test_without_averages():
    checkpoint = read_checkpoint(FILES / "ncsn_legacy.pth")
    assert set(state_dict("ncsn", checkpoint)) == {"begin_conv.weight", "sigmas"}
    with pytest.raises(InputError, match="no averaged weights: use --weights=raw"):
        state_dict("ncsn", checkpoint, "ema")


def test_nested_modules_of_edm():
    found = state_dict("edm", read_checkpoint(FILES / "edm.pkl"))
    assert set(found) == {"model.enc.8x8_conv.weight", "model.enc.8x8_conv.resample_filter"}
    with pytest.raises(InputError, match="only averaged weights"):
        state_dict("edm", read_checkpoint(FILES / "edm.pkl"), "raw")


def test_plain_state_dicts_lose_their_prefix():
    plain = {"module.conv_in.weight": np.ones(3), "step": 3}
    for release in ("ddpm", "improved_diffusion", "guided_diffusion"):
        assert set(state_dict(release, plain)) == {"conv_in.weight"}
        assert set(state_dict(release, {"state_dict": plain})) == {"conv_in.weight"}


def test_lists_of_averages_must_fit():
    checkpoint = read_checkpoint(FILES / "score_sde.pth")
    checkpoint["ema"]["shadow_params"].pop()
    with pytest.raises(InputError, match="The 1 averaged tensors do not fit the 2 trained ones"):
        state_dict("score_sde_pytorch", checkpoint)


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "module.module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.module.",
        "_orig_mod._orig_mod.",
    ],
)
def test_prefixes_of_wrappers_are_stripped_however_often(prefix):
    plain = {f"{prefix}conv_in.weight": np.ones(3), f"{prefix}down.module.bias": np.ones(2)}
    for checkpoint in (plain, {"state_dict": plain}, {"model": {"state_dict": plain}}, {"model": plain, "step": 3}):
        assert set(state_dict("ddpm", checkpoint)) == {"conv_in.weight", "down.module.bias"}
    compiled_within = {f"{prefix}down._orig_mod.weight": np.ones(3)}
    assert set(state_dict("ddpm", compiled_within)) == {"down.weight"}
    ema = {"model": plain, "ema": {"shadow_params": [np.zeros(3), np.zeros(2)]}}
    assert state_dict("score_sde_pytorch", ema)["conv_in.weight"].tolist() == [0, 0, 0]


def test_two_tensors_of_one_name_are_told():
    with pytest.raises(InputError, match="holds a.weight twice"):
        state_dict("ddpm", {"a.weight": np.ones(3), "module.a.weight": np.zeros(3)})


def test_whole_modules_have_their_state_dict():
    inner = {"_parameters": {"weight": np.ones(3), "bias": None}, "_buffers": {}, "_modules": {}}
    buffers = {"_buffers": {"kept": np.ones(1), "passing": np.ones(1)}, "_non_persistent_buffers_set": ("passing",)}
    module = {"_parameters": {}, "_modules": {"module": {"_parameters": {}, "_modules": {"a": inner}, **buffers}}}
    for checkpoint in (module, {"model": module}, {"state_dict": {"model": module}}):
        assert set(state_dict("ddpm", checkpoint)) == {"a.weight", "kept"}


@pytest.mark.parametrize(
    "release", ["score_sde_pytorch", "score_sde", "ncsn", "ncsnv2", "edm", "ddpm", "guided_diffusion"]
)
def test_the_state_of_an_optimizer_is_told(release):
    adam = {"state": {0: {"step": 3, "exp_avg": np.ones(3)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
    for checkpoint in (adam, {"optimizer": adam, "step": 3}, {"optimizer_states": [adam]}, [adam]):
        with pytest.raises(InputError, match="the state of an optimizer, not weights"):
            state_dict(release, checkpoint)


ADAM = {"state": {}, "param_groups": []}
ONE, TWO = {"a": np.ones(3)}, {"a": np.zeros(3)}
NAMES = [
    ("ddpm", ONE, {"auto": "unknown", "ema": "ema", "raw": "raw"}),
    ("guided_diffusion", {"state_dict": ONE}, {"auto": "unknown", "ema": "ema", "raw": "raw"}),
    ("improved_diffusion", {"model": ONE, "ema": TWO}, {"auto": "ema", "ema": "ema", "raw": "raw"}),
    ("ddpm", {"state_dict": ONE, "state_dict_ema": TWO}, {"auto": "ema", "raw": "raw"}),
    ("score_sde_pytorch", ONE, {"auto": "unknown", "raw": "raw"}),
    ("score_sde_pytorch", {"model": ONE}, {"auto": "raw", "raw": "raw"}),
    (
        "score_sde_pytorch",
        {"model": ONE, "ema": {"shadow_params": [TWO["a"]]}},
        {"auto": "ema", "ema": "ema", "raw": "raw"},
    ),
    ("score_sde", {"params": ONE}, {"auto": "unknown", "raw": "raw"}),
    ("score_sde", {"optimizer": {"target": ONE}, "params_ema": TWO}, {"auto": "ema", "raw": "raw"}),
    ("score_sde", {"optimizer": {"target": ONE}}, {"auto": "raw"}),
    ("ncsn", [ONE, ADAM], {"auto": "raw"}),
    ("ncsnv2", [ONE, ADAM, 3, 4, TWO], {"auto": "ema", "raw": "raw"}),
    ("ncsn", ONE, {"auto": "unknown", "raw": "raw"}),
    ("edm", {"ema": {"_parameters": ONE}}, {"auto": "ema", "ema": "ema"}),
    ("edm", ONE, {"auto": "unknown", "raw": "raw", "ema": "ema"}),
]


@pytest.mark.parametrize(("release", "checkpoint", "expected"), NAMES)
def test_weights_are_called_what_they_are(release, checkpoint, expected):
    for weights, name in expected.items():
        tensors, found = named_weights(release, checkpoint, weights)
        assert found == name
        if "ema" in expected.values() and "raw" in expected.values() and "unknown" not in expected.values():
            assert tensors["a"].tolist() == (ONE if name == "raw" else TWO)["a"].tolist()


def test_a_tree_of_shared_branches_does_not_unfold():
    tree = {"w": np.ones(1)}
    for _ in range(60):
        tree = {"a": tree, "b": tree}
    for release, checkpoint in (("score_sde", tree), ("edm", {"ema": {"_parameters": {}, "_modules": tree}})):
        with pytest.raises(InputError, match="more than 131072 tensors"):
            state_dict(release, checkpoint)


@pytest.mark.parametrize("release", ["score_sde_pytorch", "score_sde", "ncsn", "ncsnv2", "edm", "ddpm"])
@pytest.mark.parametrize("checkpoint", [[], {}, 3, {"model": 3}, {"optimizer": 3}, {"ema": 3}, ["a"], {"a": {"b": 3}}])
def test_files_of_something_else_are_told(release, checkpoint):
    with contextlib.suppress(InputError):
        assert state_dict(release, checkpoint) == {}


def test_names():
    with pytest.raises(InputError, match="Did you mean 'ncsnv2'"):
        state_dict("ncsnv3", {})
    with pytest.raises(InputError, match="Unknown choice of weights 'best'"):
        state_dict("ddpm", {}, "best")
