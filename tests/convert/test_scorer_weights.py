"""Weights of FD-loss's networks: under the names of several codes, the network found by shapes, and what is refused."""

import pickle

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from score_jax.cli import main as cli
from score_jax.convert import clip
from score_jax.convert.convnext import CONVNEXT
from score_jax.convert.vit import MAE, SIGLIP2
from score_jax.errors import InputError
from score_jax.models.scorers import convnext, vit
from score_jax.models.scorers.convnext import ConvNeXtV2
from score_jax.models.scorers.vit import ViT

TINY = {
    "mae": (MAE, ViT(32, width=64, layers=2, heads=1, hidden=96)),
    "siglip2": (SIGLIP2, ViT(48, width=128, layers=2, heads=2, hidden=96, pooled=True)),
    "convnextv2": (CONVNEXT, ConvNeXtV2((4, 6, 8, 8), (1, 2, 1, 1))),
}
every = pytest.mark.parametrize(("family", "module"), TINY.values(), ids=TINY)


def saved(path, state):
    save_file({name: np.array(tensor, order="C") for name, tensor in state.items()}, path)
    return path


@every
def test_there_and_back_is_the_identity(family, module, tmp_path, capsys):
    state = family.random_state(0, module)
    found = family.of(state)
    assert found.module == module and found.name == f"{family.key}_other"
    source, out = saved(tmp_path / "a.safetensors", state), tmp_path / "b.safetensors"
    assert cli.main(["score_jax", "convert", f"--from={family.key}", str(source), str(out)]) == 0
    assert f"export SCORE_JAX_{family.key.upper()}=" in capsys.readouterr().out
    back = load_file(out)
    assert set(back) == set(state)
    for name, tensor in back.items():
        np.testing.assert_array_equal(tensor, state[name])
    assert family.load(out).sha256 == found.sha256
    state[next(iter(state))].flat[0] += 1
    assert family.of(state).sha256 != found.sha256


@pytest.mark.parametrize(
    ("family", "published"), [(MAE, vit.MAE), (SIGLIP2, vit.SIGLIP2), (CONVNEXT, convnext.ARCHITECTURES)]
)
def test_the_published_networks_follow_from_their_shapes(family, published):
    for name, module in published.items():
        state = {}
        for path, leaf in jax.tree_util.tree_leaves_with_path(family.shapes_of(module)):
            counterpart = family.table(tuple(key.key for key in path))
            shape = counterpart.theirs(np.broadcast_to(np.int8(0), leaf.shape)).shape
            state[counterpart.name] = np.broadcast_to(np.int8(0), shape)  # takes no memory
        assert family.module_of(state) == module
        assert family.name_of(module) == f"{family.key}_{name}"
    assert family.published in {f"{family.key}_{name}" for name in published}


def test_mae_may_have_its_decoder_and_a_training_code_around_it(tmp_path):
    family, module = TINY["mae"]
    state = family.random_state(0, module)
    more = {"mask_token": np.zeros((1, 1, 8)), "decoder_blocks.0.norm1.weight": np.zeros(8)}
    assert family.of(state | more).sha256 == family.of(state).sha256
    (tmp_path / "mae.pkl").write_bytes(pickle.dumps({"model": state}))
    assert family.load(tmp_path / "mae.pkl").sha256 == family.of(state).sha256
    (tmp_path / "other.pkl").write_bytes(pickle.dumps({"epoch": 3}))
    with pytest.raises(InputError, match="other.pkl holds no named tensors: get mae_pretrain_vit_large.pth"):
        family.load(tmp_path / "other.pkl")


def transformers_siglip(state):
    """timm's tensors as transformers names them."""
    found = {"logit_scale": np.zeros(1), "text_model.norm.weight": np.zeros(3)}
    places = {
        "patch_embed.proj.": "embeddings.patch_embedding.",
        "pos_embed": "embeddings.position_embedding.weight",
        "norm.": "post_layernorm.",
        "attn_pool.latent": "head.probe",
        "attn_pool.proj.": "head.attention.out_proj.",
        "attn_pool.norm.": "head.layernorm.",
        "attn_pool.mlp.": "head.mlp.",
    }
    for name, tensor in state.items():
        if name.startswith("blocks."):
            _, i, rest = name.split(".", 2)
            rest = rest.replace("norm1", "layer_norm1").replace("norm2", "layer_norm2")
            place = f"vision_model.encoder.layers.{i}."
            if rest.startswith("attn.qkv."):
                for part, piece in zip("qkv", np.split(tensor, 3), strict=True):
                    found[f"{place}self_attn.{part}_proj.{rest.removeprefix('attn.qkv.')}"] = piece
            else:
                found[place + rest.replace("attn.proj", "self_attn.out_proj")] = tensor
        elif name.startswith("attn_pool.q."):
            leaf = name.removeprefix("attn_pool.q.")
            found[f"vision_model.head.attention.in_proj_{leaf}"] = np.concatenate(
                [tensor, state[f"attn_pool.kv.{leaf}"]]
            )
        elif not name.startswith("attn_pool.kv."):
            start = next(start for start in places if name.startswith(start))
            found["vision_model." + name.replace(start, places[start], 1)] = (
                tensor[0] if name == "pos_embed" else tensor
            )
    return found


def authors_convnext(state):
    """timm's tensors as the authors' code names them."""
    found = {"norm.weight": np.zeros(8), "head.weight": np.zeros((3, 8))}
    for name, tensor in state.items():
        name = name.replace("stem.", "downsample_layers.0.")
        if ".downsample." in name:
            _, stage, _, rest = name.split(".", 3)
            name = f"downsample_layers.{stage}.{rest}"
        name = name.replace(".blocks.", ".").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        if "grn" in name:
            name, tensor = name.replace("mlp.grn.weight", "grn.gamma").replace("mlp.grn.bias", "grn.beta"), tensor[None]
        found[name] = tensor
    return found


def test_names_of_other_codes_are_the_same_network():
    family, module = TINY["siglip2"]
    state = family.random_state(0, module)
    expected = family.of(state).sha256
    assert family.of(transformers_siglip(state)).sha256 == expected
    of_openclip = {f"visual.trunk.{name}": tensor for name, tensor in state.items()} | {"text.norm": np.zeros(2)}
    assert family.of(of_openclip).sha256 == expected
    family, module = TINY["convnextv2"]
    state = family.random_state(0, module)
    assert family.of(authors_convnext(state)).sha256 == family.of(state).sha256


def test_what_does_not_fit_is_one_line(tmp_path, monkeypatch):
    family, module = TINY["mae"]
    state, path = family.random_state(0, module), tmp_path / "a.safetensors"
    cases = {
        "The weights are no MAE's: pos_embed is missing": {"a": np.zeros(3)},
        "1 missing: norm.bias": {name: tensor for name, tensor in state.items() if name != "norm.bias"},
        "1 not used: fc_norm.bias": state | {"fc_norm.bias": np.zeros(3)},
        "pos_embed has the shape": state | {"pos_embed": np.zeros((5, 64))},
        "6 positions of patches are not a square": state | {"pos_embed": np.zeros((1, 7, 64))},
        "a width of 40 does not split into 0 heads": state | {"pos_embed": np.zeros((1, 5, 40))},
    }
    for message, damaged in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            family.load(saved(path, damaged))
        assert "a.safetensors: " in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(InputError, match="conv_dw.weight is missing"):
        CONVNEXT.of(state)
    saved(path, state)
    with pytest.raises(InputError, match="is of mae_other, and published numbers are of mae_vitl16.*--allow_other"):
        family.find(path)
    monkeypatch.delenv("SCORE_JAX_MAE", raising=False)
    with pytest.raises(InputError, match=r"MAE are not named: get mae_pretrain_vit_large.pth.*--mae_weights or \$SC"):
        family.find(None)
    monkeypatch.setenv("SCORE_JAX_MAE", str(path))
    assert family.find(None, allow_other=True).module == module
    assert cli.main(["score_jax", "convert", "--from=mae", str(path)]) == 2


def test_fd_loss_takes_the_clip_of_224_pixels(tmp_path, monkeypatch):
    path = saved(tmp_path / "clip.safetensors", clip.random_state(0))
    monkeypatch.delenv(clip.VARIABLE_224, raising=False)
    with pytest.raises(InputError, match=r"FD-loss needs CLIP's weights: get ViT-L-14.pt of .*--clip_224_weights"):
        clip.find_clip_224(None)
    with pytest.raises(InputError, match="no published network, and FD-loss is of vitl14, "):
        clip.find_clip_224(path)
    assert clip.find_clip_224(path, allow_other=True).architecture is None
