"""DINOv2's weights: under two sets of names, the network found by shapes, and what is refused."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from score_jax.cli import main as cli
from score_jax.convert import dinov2
from score_jax.errors import InputError
from score_jax.models.scorers import dinov2 as model
from score_jax.models.scorers.dinov2 import DINOv2

TINY = {
    "plain": DINOv2(image_size=42, width=64, layers=2, heads=1),
    "registers": DINOv2(image_size=28, width=128, layers=1, heads=2, registers=3),
    "gated": DINOv2(image_size=14, width=64, layers=3, heads=1, swiglu=True),
}
CONFIG = {"model_type": "dinov2", "hidden_act": "gelu", "layer_norm_eps": 1e-06, "patch_size": 14, "mlp_ratio": 4}


def folder_of(path, state, **config):
    """As transformers saves it."""
    path.mkdir()
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in state.items()}, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(CONFIG | config))
    return path


@pytest.mark.parametrize("module", TINY.values(), ids=TINY)
def test_there_and_back_is_the_identity_under_both_names(module):
    state = dinov2.random_state(0, module)
    found = dinov2.dinov2_of(state)
    assert found.module == module
    theirs = dinov2.state_of(module, found.params, dinov2.TRANSFORMERS)
    again = dinov2.dinov2_of(theirs)
    assert again.module == module and again.sha256 == found.sha256
    jax.tree.map(np.testing.assert_array_equal, again.params, found.params)
    for back, given in ((dinov2.state_of(module, again.params), state), (theirs, theirs)):
        assert set(back) == set(given)
        for name, tensor in back.items():
            np.testing.assert_array_equal(tensor, given[name], strict=True)
    # Three projections for one, of weights and biases, in each of the blocks.
    assert len(theirs) == len(state) + 4 * module.layers
    fused = state["blocks.0.attn.qkv.weight"]
    np.testing.assert_array_equal(
        theirs["encoder.layer.0.attention.attention.key.weight"], fused[module.width : 2 * module.width]
    )


def test_names_are_the_published_ones():
    state = dinov2.random_state(0, TINY["gated"])
    block = {"norm1", "norm2", "attn.qkv", "attn.proj", "mlp.w12", "mlp.w3"}
    names = {f"{part}.{leaf}" for part in block for leaf in ("weight", "bias")} | {"ls1.gamma", "ls2.gamma"}
    assert {name.partition("blocks.1.")[2] for name in state if name.startswith("blocks.1.")} == names
    assert {name for name in state if not name.startswith("blocks.")} == {
        *("cls_token", "pos_embed", "mask_token", "norm.weight", "norm.bias"),
        *("patch_embed.proj.weight", "patch_embed.proj.bias"),
    }
    assert state["blocks.0.mlp.w12.weight"].shape == (352, 64) and state["blocks.0.mlp.w3.weight"].shape == (64, 176)


@pytest.mark.parametrize("name", model.ARCHITECTURES)
def test_the_published_networks_follow_from_their_shapes(name):
    for registers in (0, 4):
        module = model.dinov2(name, registers=registers)
        table, state = dinov2.table(dinov2.HUB, swiglu=module.swiglu), {}
        for path, leaf in jax.tree_util.tree_leaves_with_path(model.parameter_shapes(module)):
            counterpart = table(tuple(key.key for key in path))
            shape = counterpart.theirs(np.broadcast_to(np.int8(0), leaf.shape)).shape
            state[counterpart.name] = np.broadcast_to(np.int8(0), shape)  # takes no memory
        assert dinov2._module(state, dinov2.HUB, None) == module


def test_a_network_has_one_hash_and_another_has_another(tmp_path):
    state = dinov2.random_state(0, TINY["plain"])
    whole = dinov2.dinov2_of(state)
    save_file(state, tmp_path / "hub.safetensors")
    theirs = dinov2.state_of(whole.module, whole.params, dinov2.TRANSFORMERS)
    folder = folder_of(tmp_path / "folder", theirs, num_attention_heads=1)
    assert dinov2.convert_dinov2(folder, tmp_path / "out.safetensors") == sum(t.size for t in state.values())
    found = [dinov2.load_dinov2(path).sha256 for path in (tmp_path / "hub.safetensors", folder)]
    assert {*found, dinov2.load_dinov2(tmp_path / "out.safetensors").sha256} == {whole.sha256}
    back = load_file(tmp_path / "out.safetensors")
    assert set(back) == set(state)
    state["norm.bias"][3] += 1
    assert dinov2.dinov2_of(state).sha256 != whole.sha256


def test_heads_are_of_64_channels_or_what_a_folder_says(tmp_path):
    theirs = dinov2.state_of(
        TINY["plain"], dinov2.dinov2_of(dinov2.random_state(0, TINY["plain"])).params, dinov2.TRANSFORMERS
    )
    assert dinov2.load_dinov2(folder_of(tmp_path / "a", theirs, num_attention_heads=4)).module.heads == 4
    assert dinov2.load_dinov2(folder_of(tmp_path / "b", theirs)).module.heads == 1
    with pytest.raises(InputError, match="width of 64 does not split into 5 heads"):
        dinov2.load_dinov2(folder_of(tmp_path / "c", theirs, num_attention_heads=5))
    for key, value in {"hidden_act": "relu", "layer_norm_eps": 1e-5, "patch_size": 16, "mlp_ratio": 2}.items():
        with pytest.raises(InputError, match=f"{key}=.* is not known here") as error:
            dinov2.load_dinov2(folder_of(tmp_path / key, theirs, **{key: value}))
        assert "\n" not in str(error.value)


def without(state, *names):
    return {name: tensor for name, tensor in state.items() if name not in names}


def test_what_does_not_fit_is_named(tmp_path):
    state = dinov2.random_state(0, TINY["plain"])
    theirs = dinov2.state_of(TINY["plain"], dinov2.dinov2_of(state).params, dinov2.TRANSFORMERS)
    query = "encoder.layer.0.attention.attention.query.bias"
    cases = {
        "no DINOv2's: pos_embed is missing": {"a": np.zeros(3)},
        "1 missing: norm.bias": without(state, "norm.bias"),
        "1 missing: mask_token": without(state, "mask_token"),
        "1 not used: head.weight": state | {"head.weight": np.zeros(3)},
        "missing: encoder.layer.0.attention.attention.qkv.bias": without(theirs, query),
        "pos_embed has the shape": state | {"pos_embed": np.zeros((3, 64))},
        "11 positions are not one more than a square": state | {"pos_embed": np.zeros((1, 11, 64))},
        r"patch_embed.proj.weight \(64, 3, 16, 16\) where": state
        | {"patch_embed.proj.weight": np.zeros((64, 3, 16, 16))},
        "width of 32 does not split into 0 heads": state | {"pos_embed": np.zeros((1, 10, 32))},
        "2 missing: blocks.1.ls1.gamma, blocks.1.ls2.gamma": without(state, "blocks.1.ls1.gamma", "blocks.1.ls2.gamma"),
    }
    for message, damaged in cases.items():
        save_file({name: np.array(tensor, order="C") for name, tensor in damaged.items()}, tmp_path / "a.safetensors")
        with pytest.raises(InputError, match=message) as caught:
            dinov2.load_dinov2(tmp_path / "a.safetensors")
        assert "a.safetensors: " in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="No file"):
        dinov2.load_dinov2(tmp_path / "absent.pth")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="config.json is missing"):
        dinov2.load_dinov2(tmp_path / "empty")


def test_the_verb_converts_and_says_what_to_do_next(tmp_path, capsys, monkeypatch):
    save_file(dinov2.random_state(0, TINY["registers"]), tmp_path / "hub.safetensors")
    out = tmp_path / "dinov2.safetensors"
    arguments = ["score_jax", "convert", "--from=dinov2", str(tmp_path / "hub.safetensors")]
    assert cli.main([*arguments, str(out)]) == 0
    assert "export SCORE_JAX_DINOV2=" in capsys.readouterr().out
    assert cli.main([*arguments, str(tmp_path / "out.npz")]) == 2
    assert "ending in .safetensors" in capsys.readouterr().err
    assert cli.main(arguments) == 2
    assert "Expected a file or folder" in capsys.readouterr().err
    monkeypatch.setenv(dinov2.VARIABLE, str(out))
    with pytest.raises(InputError, match="no published network.*vitl14.*--allow_other_weights"):
        dinov2.find_dinov2(None)
    assert dinov2.find_dinov2(None, allow_other=True).module == TINY["registers"]
    monkeypatch.delenv(dinov2.VARIABLE)
    with pytest.raises(InputError, match=r"dinov2_vitl14_pretrain.pth.*--dinov2_weights or \$SCORE_JAX_DINOV2"):
        dinov2.find_dinov2(None)
