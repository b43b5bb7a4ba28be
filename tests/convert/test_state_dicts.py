"""Which tensors of a release's file are the weights."""

import contextlib
from pathlib import Path

import numpy as np
import pytest

from score_jax.convert.readers import read_checkpoint
from score_jax.convert.state_dicts import state_dict
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
    with pytest.raises(InputError, match="averaged weights alone"):
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
