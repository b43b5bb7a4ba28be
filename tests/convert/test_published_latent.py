"""Whole latent models: folders of diffusers, files of Stable Diffusion and of latent diffusion, there and back."""

import dataclasses
import functools
import importlib
import json
import pickle
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from safetensors.numpy import load_file, save_file

sys.path.append(str(Path(__file__).parent))
import diffusers_folders as fake

from score_jax import builder
from score_jax.builder.workdirs import load_config
from score_jax.cli import main as cli
from score_jax.convert import clip, latent
from score_jax.convert.diffusers import read_folder
from score_jax.convert.latent_sections import stable_diffusion_sections
from score_jax.convert.parts import Parts, params_of_parts, parts_from, parts_of, state_of
from score_jax.errors import InputError
from score_jax.jobs.frozen import load_frozen
from score_jax.jobs.train import restore_params
from score_jax.runtime.sharding import make_mesh


def run(*words: object) -> int:
    return cli.main(["score_jax", "convert", *map(str, words)])


def equal(first, second):
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def parts_of_workdir(workdir: Path) -> Parts:
    """What a converted workdir holds, under the originals' names."""
    experiment, mesh = builder.experiment(load_config(workdir)), make_mesh()
    params, _ = restore_params(experiment.config, experiment, workdir, mesh)
    return parts_from(experiment.trained(params), load_frozen(experiment, workdir, mesh), experiment.network)


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.slow)])
def folder(request, tmp_path_factory):
    """A folder of a version and its tensors."""
    path = tmp_path_factory.mktemp("diffusers")
    return (
        request.param,
        path,
        fake.write_folder(path, request.param, "v_prediction" if request.param == 2 else "epsilon"),
    )


def test_a_folder_becomes_a_workdir(folder, tmp_path, capsys):
    version, path, state = folder
    assert run("--from=diffusers", path, f"--workdir={tmp_path / 'sd'}") == 0
    assert "the file does not say" in capsys.readouterr().out
    config = load_config(tmp_path / "sd")
    assert config.prediction.output == ("v" if version == 2 else "eps")
    assert config.loss.weighting == config.prediction.output
    assert config.codec.scale == (0.25 if version == 2 else 0.18215)
    assert (config.network.num_heads, config.network.num_head_channels) == ((8, 64) if version == 2 else (8, None))
    assert config.condition_encoder.activation == ("gelu" if version == 2 else "quick_gelu")
    assert (config.data.image_size, config.sampler.discretisation) == (64, "latent_diffusion")
    assert load_config(tmp_path / "sd" / "first_stage").network == config.first_stage
    parts = parts_of_workdir(tmp_path / "sd")
    assert len(parts.unet) == len(state["unet"]) == 686 and len(parts.first_stage) == len(state["vae"]) == 248
    record = json.loads((tmp_path / "sd" / "convert.json").read_text())
    assert record["parameters"] == sum(tensor.size for tensor in state["unet"].values())
    read = read_folder(path)
    equal(parts.unet, read.unet)
    equal(parts.first_stage, read.first_stage)
    some = {
        "input_blocks.4.0.skip_connection.weight": "down_blocks.1.resnets.0.conv_shortcut.weight",
        "input_blocks.9.0.op.bias": "down_blocks.2.downsamplers.0.conv.bias",
        "output_blocks.2.1.conv.weight": "up_blocks.0.upsamplers.0.conv.weight",
        "output_blocks.8.2.conv.weight": "up_blocks.2.upsamplers.0.conv.weight",
        "output_blocks.3.1.proj_in.weight": "up_blocks.1.attentions.0.proj_in.weight",
        "middle_block.2.emb_layers.1.bias": "mid_block.resnets.1.time_emb_proj.bias",
    }
    for name, theirs in some.items():
        np.testing.assert_array_equal(parts.unet[name], state["unet"][theirs])
    decoder = {"decoder.up.3.block.1.conv1.bias": "decoder.up_blocks.0.resnets.1.conv1.bias"}
    decoder |= {"decoder.up.1.upsample.conv.weight": "decoder.up_blocks.2.upsamplers.0.conv.weight"}
    for name, theirs in decoder.items():
        np.testing.assert_array_equal(parts.first_stage[name], state["vae"][theirs])
    query = "query" if version == 1 else "to_q"
    np.testing.assert_array_equal(
        parts.first_stage["encoder.mid.attn_1.q.weight"][:, :, 0, 0],
        state["vae"][f"encoder.mid_block.attentions.0.{query}.weight"],
    )
    expected = {name: t for name, t in state["text_encoder"].items() if not name.endswith("position_ids")}
    equal({name.removeprefix("" if version == 1 else "text_model."): t for name, t in parts.encoder.items()}, expected)


def half(path: Path) -> None:
    for part, file in fake.FILES.items():
        tensors = {name: t.astype(np.float16) for name, t in load_file(path / part / file).items()}
        (path / part / file).unlink()
        save_file(tensors, path / part / file.replace(".safetensors", ".fp16.safetensors"))


def pickled(path: Path) -> None:
    for part, file in fake.FILES.items():
        tensors = load_file(path / part / file)
        (path / part / file).unlink()
        name = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
        (path / part / name).write_bytes(pickle.dumps(tensors))


def in_pieces(path: Path) -> None:
    file = path / "unet" / fake.FILES["unet"]
    tensors = load_file(file)
    file.unlink()
    where = {name: f"diffusion_pytorch_model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for piece in set(where.values()):
        save_file({name: t for name, t in tensors.items() if where[name] == piece}, path / "unet" / piece)
    index = path / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))


@pytest.mark.parametrize("change", [half, pickled, in_pieces])
def test_other_forms_of_a_folder_are_the_same(tmp_path, change):
    fake.write_folder(tmp_path, 1)
    before = read_folder(tmp_path)
    change(tmp_path)
    after = read_folder(tmp_path)
    for part in ("unet", "first_stage", "encoder"):
        one, other = getattr(before, part), getattr(after, part)
        assert set(one) == set(other)
        for name in one:
            dtype = np.float16 if change is half else one[name].dtype
            np.testing.assert_array_equal(one[name].astype(dtype), other[name].astype(dtype))


def test_raw_weights_beside_averaged_ones(tmp_path):
    state = fake.write_folder(tmp_path, 1)["unet"]
    assert read_folder(tmp_path).weights == "unknown" and read_folder(tmp_path, "ema").weights == "ema"
    raw = {name: tensor + 1 for name, tensor in state.items()}
    save_file(raw, tmp_path / "unet" / "diffusion_pytorch_model.non_ema.safetensors")
    for weights, name, expected in (("auto", "ema", state), ("raw", "raw", raw)):
        parts = read_folder(tmp_path, weights)
        assert parts.weights == name
        np.testing.assert_array_equal(parts.unet["out.2.bias"], expected["conv_out.bias"])


def edited(path: Path, name: str, **changes: object) -> None:
    file = path / name
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


MISTAKES = [
    (lambda path: (path / "unet").rename(path / "transformer"), (), "has no unet/"),
    (lambda path: (path / "vae").rename(path / "vae2"), (), "The first stage is missing: expected the folder vae/"),
    (lambda path: (path / "text_encoder").rename(path / "t"), (), "The text encoder is missing"),
    (lambda path: (path / "vae" / "config.json").unlink(), (), "vae/config.json is missing"),
    (lambda path: (path / "vae" / "config.json").write_text("[]"), (), "is no JSON object"),
    (lambda path: (path / "unet" / fake.FILES["unet"]).unlink(), (), "has no diffusion_pytorch_model.safetensors"),
    (lambda path: edited(path, "unet/config.json", layers_per_block=1), (), "unet: The weights do not fit"),
    (
        lambda path: edited(path, "unet/config.json", cross_attention_dim=32),
        (),
        "network.context_width=32, but condition_encoder makes a context of 64 channels",
    ),
    (lambda path: edited(path, "unet/config.json", norm_eps=1e-3), (), "norm_eps=0.001 is not known here"),
    (
        lambda path: edited(path, "unet/config.json", norm_num_groups=12),
        (),
        "do not split into network.norm_groups=12",
    ),
    (lambda path: edited(path, "vae/config.json", layers_per_block=3), (), "first stage: The weights do not fit"),
    (lambda path: edited(path, "text_encoder/config.json", num_hidden_layers=1), (), "condition encoder: The weights"),
    (
        lambda path: edited(path, "scheduler/scheduler_config.json", prediction_type="flow"),
        (),
        "prediction_type='flow'",
    ),
    (lambda path: None, ("--prediction=v",), "but the folder's scheduler says eps"),
    (lambda path: None, ("--config=configs/demo/mnist.py",), "These weights are of a LatentUNet"),
    (lambda path: None, ("--config.seed=1",), "Bad argument"),
]


@pytest.mark.parametrize(("change", "words", "message"), MISTAKES)
def test_mistakes_in_a_folder_get_one_line_and_leave_nothing(tmp_path, capsys, change, words, message):
    path = tmp_path / "folder"
    fake.write_folder(path, 1)
    change(path)
    assert run("--from=diffusers", *words, path, f"--workdir={tmp_path / 'out'}") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error, error
    assert not (tmp_path / "out").exists()


def single(version: int) -> dict[str, np.ndarray]:
    """The file of a model of this version, with what such files have beside weights."""
    second, state = version == 2, fake.states(version)
    parts = read_parts_of(version)
    prefix = "cond_stage_model.model." if second else "cond_stage_model.transformer."
    encoder = state["text_encoder"]
    if second:
        module = latent.CLIPText(fake.VOCABULARY, fake.LENGTH, fake.CONTEXT, 2, 1, "gelu")
        encoder = latent.encoder_state(module, latent.encoder_params(module, encoder), clip.OPENAI)
        last = {n.replace(".1.", ".2."): tensor for n, tensor in encoder.items() if ".resblocks.1." in n}
        encoder = encoder | last | {"logit_scale": np.float32(1)[...], "text_projection": np.ones((64, 64), np.float32)}
    whole = state_of(dataclasses.replace(parts, encoder={}, scale=None))
    whole |= {prefix + name: tensor for name, tensor in encoder.items()}
    tables = {"betas": np.ones(3, np.float32), "sqrt_recip_alphas_cumprod": np.ones(3, np.float32)}
    return whole | tables


@functools.cache
def read_parts_of(version: int) -> Parts:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        fake.write_folder(Path(name), version)
        return read_folder(Path(name))


@pytest.mark.parametrize("version", [1, 2])
def test_a_single_file_becomes_the_same_workdir(tmp_path, capsys, version):
    state, parts = single(version), read_parts_of(version)
    if version == 1:
        file = tmp_path / "sd.ckpt"
        file.write_bytes(pickle.dumps({"state_dict": state, "global_step": 3, "optimizer_states": [{"state": {}}]}))
    else:
        file = tmp_path / "sd.safetensors"
        save_file(state, file)
        assert run("--from=stable_diffusion", file, tmp_path / "sd") == 2
        assert "give --prediction=eps" in capsys.readouterr().err
    words = ("--prediction=v",) if version == 2 else ()
    assert run("--from=stable_diffusion", *words, "--weights=ema", file, f"--workdir={tmp_path / 'sd'}") == 0
    assert "averaged over training" in capsys.readouterr().out
    config, found = load_config(tmp_path / "sd"), parts_of_workdir(tmp_path / "sd")
    assert config.prediction.output == ("v" if version == 2 else "eps")
    assert config.data.image_size == (768 if version == 2 else 512)
    encoder = config.condition_encoder
    assert (encoder.layers, encoder.skip_last) == ((3, 1) if version == 2 else (2, 0))
    equal(found.unet, parts.unet)
    equal(found.first_stage, parts.first_stage)
    plain = {name.removeprefix("text_model."): tensor for name, tensor in parts.encoder.items()}
    equal(
        {n.removeprefix("text_model."): t for n, t in found.encoder.items()},
        {n: plain[n] for n in plain if "_ids" not in n},
    )


def test_averages_are_found_by_their_names():
    parts = read_parts_of(1)
    averages = {f"model_ema.diffusion_model{name}".replace(".", ""): t + 1 for name, t in parts.unet.items()}
    averages = {name.replace("model_ema", "model_ema.", 1): tensor for name, tensor in averages.items()}
    assert "model_ema.diffusion_modelout0weight" in averages
    state = (
        single(1) | averages | {"model_ema.decay": np.float32(0.9999)[...], "model_ema.num_updates": np.int32(7)[...]}
    )
    for weights, name, shift in (("auto", "ema", 1), ("ema", "ema", 1), ("raw", "raw", 0)):
        found = parts_of(state, weights)
        assert found.weights == name
        equal(found.unet, {name: tensor + shift for name, tensor in parts.unet.items()})
    with pytest.raises(InputError, match="averaged weights do not fit the raw ones.*1 missing"):
        parts_of({name: t for name, t in state.items() if name != "model_ema.diffusion_modelout0weight"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {n: t for n, t in s.items() if not n.startswith("cond_stage")}, r"text encoder \(cond_stage_model"),
        (lambda s: {n: t for n, t in s.items() if not n.startswith("first_stage")}, r"first stage \(VAE\) is missing"),
        (lambda s: {n: t for n, t in s.items() if not n.startswith("model.diff")}, "no model.diffusion_model"),
        (lambda s: s | {"control_model.weight": np.ones(1)}, "tensors of no part.*control_model.weight"),
    ],
)
def test_a_file_without_a_part_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        stable_diffusion_sections(parts_of(change(single(1))))


def configured(name: str) -> ConfigDict:
    return importlib.import_module(f"configs.{name}").get_config()


def empty(shapes):
    """Zeros that take no memory."""
    return jax.tree.map(lambda leaf: np.broadcast_to(np.int8(0), leaf.shape), shapes)


@pytest.mark.parametrize(
    ("name", "output"),
    [("v1", None), *(pytest.param(*each, marks=pytest.mark.slow) for each in (("v1_inpainting", None), ("v2_v", "v")))],
)
def test_the_published_sizes_are_told_by_their_tensors(name, output):
    config = configured(f"stable_diffusion.{name}")
    network, codec = builder.build_network(config), builder.codec_of(config)
    frozen = {"first_stage": empty(codec.first_stage.shapes()), "condition_encoder": empty(network.encoder.shapes())}
    own = dataclasses.replace(network, encoder=None).shapes()
    parts = parts_from(empty(own), frozen, network)
    if name == "v2_v":
        state = latent.encoder_state(network.encoder.module, frozen["condition_encoder"], clip.OPENAI)
        last = {n.replace(".22.", ".23."): t for n, t in state.items() if ".resblocks.22." in n}
        parts = dataclasses.replace(parts, encoder=state | last)
    sections = stable_diffusion_sections(parts, output)
    for section in ("network", "first_stage", "condition_encoder", "prediction"):
        expected = config[section].to_dict()
        assert {key: sections[section].get(key, value) for key, value in expected.items()} == expected
    process = config.process.to_dict()
    assert {key: process[key] == pytest.approx(value) for key, value in sections["process"].items()}
    assert sections["codec"]["scale"] == config.codec.scale and sections["image_size"] == config.data.image_size


SMALL = """
from score_jax.configs.ldm import mnist_class

def get_config():
    config = mnist_class.get_config()
    config.first_stage.update(channels=32, channel_mult=(1, 1), num_res_blocks=1)
    config.network.update(channels=32, channel_mult=(1,), attention_factors=(1,))
    return config
"""


@pytest.fixture
def small(tmp_path):
    """A class-conditional latent model whose encoder is trained: config file, config, and its parts."""
    (tmp_path / "small.py").write_text(SMALL)
    scope: dict = {}
    exec(SMALL, scope)
    config = scope["get_config"]()
    network, codec = builder.build_network(config), builder.codec_of(config)
    rng = np.random.default_rng(0)
    made = [
        jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(np.float32), shapes)
        for shapes in (network.shapes(), {"first_stage": codec.first_stage.shapes()})
    ]
    return tmp_path, config, parts_from(*made, network, scale=1.5), made


def lightning(state: dict[str, np.ndarray]) -> bytes:
    """A checkpoint of Lightning's, with what it has beside weights."""
    callbacks = {"ModelCheckpoint": {"best_model_score": 0.5}}
    return pickle.dumps({"epoch": 3, "pytorch-lightning_version": "1.4.2", "state_dict": state, "callbacks": callbacks})


def test_a_training_checkpoint_becomes_a_workdir(small, capsys):
    folder, config, parts, (params, frozen) = small
    beside = {
        "first_stage_model.loss.logvar": np.zeros((), np.float32),
        "betas": np.ones(9),
        "posterior_mean_coef1": np.ones(9),
    }
    (folder / "model.ckpt").write_bytes(lightning(state_of(parts) | beside))
    words = ("--from=latent_diffusion", f"--config={folder / 'small.py'}", "--weights=raw", folder / "model.ckpt")
    assert run(*words, f"--out={folder / 'out'}") == 0
    assert "not averaged" in capsys.readouterr().out
    assert load_config(folder / "out").codec.scale == 1.5
    assert {path.name for path in (folder / "out").iterdir()} == {
        "config.json",
        "convert.json",
        "params.safetensors",
        "first_stage",
    }
    found = parts_of_workdir(folder / "out")
    for part in ("unet", "first_stage", "encoder"):
        equal(getattr(found, part), getattr(parts, part))
    back = params_of_parts(
        parts_of(state_of(parts)), builder.build_network(config), builder.codec_of(config).first_stage
    )
    jax.tree.map(np.testing.assert_array_equal, back, (params, frozen))


def test_a_first_stage_of_its_own(small):
    folder, _, parts, _ = small
    (folder / "first.py").write_text(
        SMALL.replace(
            "    return config",
            "    from score_jax.configs.ldm import mnist_first_stage as first\n"
            "    own = first.get_config()\n    own.network.update(config.first_stage)\n    return own",
        )
    )
    training = {"loss.discriminator.main.0.weight": np.ones(3, np.float32), "loss.logvar": np.zeros((), np.float32)}
    (folder / "model.ckpt").write_bytes(lightning({**parts.first_stage, **training}))
    words = ("--from=latent_diffusion", f"--config={folder / 'first.py'}")
    assert run(*words, folder / "model.ckpt", folder / "alone") == 0
    equal(parts_of_workdir(folder / "alone").first_stage, parts.first_stage)
    (folder / "whole.ckpt").write_bytes(lightning(state_of(parts)))
    assert run(*words, folder / "whole.ckpt", folder / "of_whole") == 0
    equal(parts_of_workdir(folder / "of_whole").first_stage, parts.first_stage)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda parts: dataclasses.replace(parts, scale=None), "scale of the latents is not in the file"),
        (lambda parts: dataclasses.replace(parts, encoder={}), "encoder of the condition"),
        (lambda parts: dataclasses.replace(parts, first_stage={}), r"first stage \(VAE\) is missing"),
        (lambda parts: Parts({}, parts.first_stage, {}, 1.0), "first stage alone"),
    ],
)
def test_mistakes_in_a_training_checkpoint(small, capsys, change, message):
    folder, _, parts, _ = small
    (folder / "model.ckpt").write_bytes(lightning(state_of(change(parts))))
    words = ("--from=latent_diffusion", f"--config={folder / 'small.py'}", folder / "model.ckpt", folder / "out")
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message.replace("\\", "") in error
    assert not (folder / "out").exists()


def test_a_first_stage_that_is_the_condition_too_is_read_once(small):
    """As `__is_first_stage__` of the original's inpainting model writes it."""
    _, config, parts, _ = small
    with config.unlocked():
        del config.condition_encoder
    network, autoencoder = builder.build_network(config), builder.codec_of(config).first_stage
    twice = dataclasses.replace(parts, encoder=dict(parts.first_stage))
    assert set(params_of_parts(twice, network, autoencoder)[1]) == {"first_stage"}
    with pytest.raises(InputError, match="has an encoder of the condition .embedding.weight., the config none"):
        params_of_parts(parts, network, autoencoder)
