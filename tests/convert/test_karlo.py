"""Karlo's release and diffusers' folder of it: there and back, what is drawn from them, and what is refused."""

import importlib
import json
import pickle
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

sys.path.append(str(Path(__file__).parent))
import karlo_folders as fake

from score_jax import builder
from score_jax.builder.cascade import stage_experiments
from score_jax.builder.workdirs import load_config
from score_jax.convert import karlo, karlo_sections
from score_jax.convert.karlo import Part
from score_jax.errors import InputError
from score_jax.jobs import convert_karlo
from score_jax.jobs.convert import convert
from score_jax.jobs.convert_karlo import STAGES, table_of
from score_jax.models.clip.clip import CLIP, TextTransformer
from score_jax.models.clip.clip_vision import VisionTransformer
from tiny import here

COUNTS = {"prior": 1_022_028_544, "decoder": 893_318_086, "upsampler": 2 * 691_579_523}
"""Karlo's, of the upsampler for each of its two networks."""


def equal(first, second):
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A folder of diffusers, the workdir that became of it, and what was said."""
    folder = tmp_path_factory.mktemp("karlo")
    fake.write_diffusers(folder / "diffusers", images=False)
    found = convert(None, "karlo", folder / "diffusers", folder / "out")
    return folder / "diffusers", folder / "out", found


def test_a_folder_of_diffusers_becomes_a_cascade(converted):
    _, out, found = converted
    states = fake.states()
    counts = {stage: json.loads((out / stage / "convert.json").read_text())["parameters"] for stage in STAGES}
    assert found.stages == counts and found.parameters == sum(counts.values()) and found.weights == "unknown"
    assert counts["prior"] == sum(t.size for name, t in states["prior"].items() if not name.startswith("clip_"))
    assert counts["decoder"] == sum(t.size for name in ("decoder", "text_proj") for t in states[name].values())
    config = load_config(out)
    assert [config.cascade[f"stage{i}"].workdir for i in (1, 2, 3)] == [str(out / stage) for stage in STAGES]
    prior, decoder, upsampler = stage_experiments(config).values()
    assert (prior.network.module.heads, prior.config.guidance.scale, prior.config.sampler.respacing) == (2, 4.0, "25")
    assert (decoder.config.guidance.scale, decoder.config.sampler.variance) == (8.0, "learned_range")
    assert decoder.network.module.attention_factors == (2,) and decoder.network.module.num_res_blocks == 2
    assert upsampler.network.module.channel_mult == (1, 2) and upsampler.config.data.low_resolution == 8
    assert set(prior.frozen) == {"clip", "embedding_statistics"} and "clip" in decoder.frozen and not upsampler.frozen
    for name, tensor in load_file(out / "prior" / "embedding_statistics" / "params.safetensors").items():
        np.testing.assert_array_equal(tensor, states["prior"][f"clip_{name}"][0])
    assert not any(name.startswith("vision") for name in load_file(out / "decoder" / "clip" / "params.safetensors"))


def test_tensors_are_where_karlo_has_them(converted):
    """Some of each network, by the map between both names."""
    theirs, karlos = fake.states(), fake.published(converted[1])
    block = "transformer_blocks.1.attn1"
    heads = [theirs["prior"][f"{block}.{name}.weight"].reshape(2, 64, 128) for name in ("to_q", "to_k", "to_v")]
    fused = karlos["prior"]["transformer.resblocks.1.attn.c_qkv.weight"]
    np.testing.assert_array_equal(fused, np.stack(heads, axis=1).reshape(384, 128))
    decoder, upsampler = karlos["decoder"], karlos["upsampler"]
    context = [
        theirs["decoder"][f"up_blocks.0.attentions.1.{n}.bias"].reshape(2, 64) for n in ("add_k_proj", "add_v_proj")
    ]
    np.testing.assert_array_equal(decoder["output_blocks.1.1.encoder_kv.bias"], np.stack(context, axis=1).reshape(-1))
    last = theirs["super_res_last"]
    for own, tensor, other in (
        (decoder, "cf_param", theirs["text_proj"]["learned_classifier_free_guidance_embeddings"]),
        (
            decoder,
            "input_blocks.3.0.in_layers.2.weight",
            theirs["decoder"]["down_blocks.0.downsamplers.0.conv1.weight"],
        ),
        (decoder, "output_blocks.2.2.in_layers.2.bias", theirs["decoder"]["up_blocks.0.upsamplers.0.conv1.bias"]),
        (upsampler, "model_last_step.middle_block.1.out_layers.3.bias", last["mid_block.resnets.1.conv2.bias"]),
        (upsampler, "model_first_steps.out.2.bias", theirs["super_res_first"]["conv_out.bias"]),
    ):
        np.testing.assert_array_equal(own[tensor], other)


def test_karlos_files_become_the_same_and_have_a_network_of_images(converted, tmp_path, capsys):
    state = fake.published(converted[1])
    fake.write_karlo(tmp_path / "karlo", state)
    assert here("convert", "--from=karlo", tmp_path / "karlo", f"--workdir={tmp_path / 'out'}", "--weights=ema") == 0
    said = capsys.readouterr().out
    for stage, tensors in state.items():
        assert f"{stage}: {sum(tensor.size for tensor in tensors.values()):,} parameters" in said
    assert "averaged over training" in said and f"sample --workdir={tmp_path / 'out'} --prompt=TEXT" in said
    equal_stages = fake.published(tmp_path / "out")
    for stage in STAGES:
        equal(equal_stages[stage], state[stage])
    assert load_config(tmp_path / "out").data.image_size == 256
    assert (
        load_config(tmp_path / "out" / "prior").clip.layers,
        load_config(tmp_path / "out" / "prior").data.image_size,
    ) == (1, 16)
    texts, both = (load_file(out / "prior" / "clip" / "params.safetensors") for out in (converted[1], tmp_path / "out"))
    assert any(name.startswith("vision") for name in both)
    equal(texts, {name: tensor for name, tensor in both.items() if name.startswith("text.")})


@pytest.mark.slow
def test_a_prompt_becomes_images(converted, capsys):
    """Three steps of each stage; another prompt gives other images, the same one the same."""
    out = converted[1]
    steps = [f"--config.cascade.stage{i}.sampler.respacing=3" for i in (1, 2, 3)]
    words = ("sample", f"--workdir={out}", *steps, "--config.sampling.num_samples=2", "--config.sampling.batch_size=8")

    def drawn(prompt, name):
        assert here(*words, f"--prompt={prompt}", f"--out={out / name}") == 0, capsys.readouterr().err
        return np.load(out / name / "samples.npz")["arr_0"]

    first = drawn("a red fox", "first")
    assert first.shape == (2, 16, 16, 3) and first.dtype == np.uint8 and first.std() > 1
    assert (drawn("a house", "second") != first).any()
    facts = json.loads((out / "first" / "samples.json").read_text())
    assert facts["nfe_max"] == 9 and facts["stages"][0]["parameters"] == "unknown"


def test_an_image_needs_the_network_of_images(converted):
    decoder = builder.experiment(load_config(converted[1] / "decoder"))
    images = np.zeros((1, 224, 224, 3), np.uint8)
    with pytest.raises(InputError, match="its network of texts alone"):
        jax.eval_shape(decoder.frozen["clip"].encode_image, decoder.frozen["clip"].shapes(), images)


def test_an_image_encoder_beside_the_pipeline_is_read(tmp_path):
    fake.write_diffusers(tmp_path, images=True)
    found = karlo.read_clip(tmp_path)
    assert found.module == fake.TOWERS and float(np.exp(found.params["logit_scale"])) == pytest.approx(100, rel=1e-6)


def edited(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def changed(path: Path, change) -> None:
    """A file of Karlo's with other tensors."""
    found = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps(found | {"state_dict": change(found["state_dict"])}))


def without(*names: str):
    return lambda state: {name: tensor for name, tensor in state.items() if name not in names}


def added(**tensors: np.ndarray):
    return lambda state: state | {name.replace("__", "."): tensor for name, tensor in tensors.items()}


ONE = np.ones(1, np.float32)
MISTAKES = {
    "a stage is missing": (lambda p: (p / karlo.DECODER).unlink(), f"has no {karlo.DECODER}: give the folder with all"),
    "a tensor is missing": (
        lambda p: changed(p / karlo.PRIOR, without("model.transformer.resblocks.0.ln_2.bias")),
        f"{karlo.PRIOR}: The weights do not fit the network (1 missing: transformer.resblocks.0.ln_2.bias)",
    ),
    "the first tensor is missing": (
        lambda p: changed(p / karlo.PRIOR, without("model.positional_embedding")),
        "not the weights of Karlo's network (positional_embedding is missing)",
    ),
    "a tensor is left over": (
        lambda p: changed(p / karlo.DECODER, added(model__another=ONE)),
        f"{karlo.DECODER}: The weights do not fit the network (1 not used: another)",
    ),
    "a tensor has another prefix": (
        lambda p: changed(p / karlo.UPSAMPLER, added(model_third__bias=ONE)),
        f"{karlo.UPSAMPLER}: The weights do not fit the network (1 not used: model_third.bias)",
    ),
    "a network is missing": (
        lambda p: changed(p / karlo.UPSAMPLER, lambda s: {n: t for n, t in s.items() if "last_step" not in n}),
        f"{karlo.UPSAMPLER} has no tensors model_last_step.*",
    ),
    "another model's file": (
        lambda p: (p / karlo.PRIOR).write_bytes((p / karlo.UPSAMPLER).read_bytes()),
        f"{karlo.PRIOR} has no tensors model.*",
    ),
    "no statistics": (
        lambda p: (p / karlo.STATISTICS).write_bytes(pickle.dumps((ONE,))),
        f"{karlo.STATISTICS} holds no mean and standard deviation",
    ),
    "statistics of another length": (
        lambda p: (p / karlo.STATISTICS).write_bytes(pickle.dumps((ONE, ONE))),
        f"{karlo.STATISTICS}: there are 1 numbers, but the prior of {karlo.PRIOR} draws 64",
    ),
    "a deviation of zero": (
        lambda p: (p / karlo.STATISTICS).write_bytes(pickle.dumps((np.ones(64, "f4"), np.zeros(64, "f4")))),
        f"{karlo.STATISTICS}: the mean and the standard deviation",
    ),
    "a damaged CLIP": (lambda p: (p / karlo.CLIP).write_bytes(b"PK\x03\x04"), karlo.CLIP),
}


@pytest.fixture(scope="module")
def files(converted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files") / "karlo"
    fake.write_karlo(folder, fake.published(converted[1]))
    return folder


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_get_one_line_and_leave_nothing(files, tmp_path, capsys, mistake):
    change, message = MISTAKES[mistake]
    folder = tmp_path / "karlo"
    folder.mkdir()
    for file in files.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    change(folder)
    assert here("convert", "--from=karlo", folder, f"--workdir={tmp_path / 'out'}") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(folder) in error and message in error, error
    assert [path.name for path in tmp_path.iterdir()] == ["karlo"]


def test_a_clip_of_another_size_is_refused(files, tmp_path):
    folder = tmp_path / "karlo"
    folder.mkdir()
    for file in files.iterdir():
        (folder / file.name).symlink_to(file)
    other = CLIP(VisionTransformer(16, 8, 64, 1, 1, 32), TextTransformer(49408, fake.LENGTH, 64, 1, 1, 32))
    (folder / karlo.CLIP).unlink()
    (folder / karlo.CLIP).write_bytes(pickle.dumps(fake.clip.random_state(0, other)))
    with pytest.raises(InputError, match=f"{karlo.CLIP}: the CLIP embeds in 32 numbers, but the prior .* draws 64"):
        convert_karlo.convert_karlo(folder, tmp_path / "out")


OF_DIFFUSERS = {
    "heads that do not divide": (
        lambda p: edited(p / "prior" / "config.json", attention_head_dim=48),
        "prior: queries, keys and values of an attention do not split into the heads",
    ),
    "another activation": (
        lambda p: edited(p / "decoder" / "config.json", act_fn="gelu"),
        "decoder/config.json: act_fn",
    ),
    "other sizes of two networks": (
        lambda p: edited(p / "super_res_last" / "config.json", sample_size=32),
        "super_res_first/ and super_res_last/ have another norm_num_groups or sample_size",
    ),
    "another pipeline": (
        lambda p: edited(p / "model_index.json", _class_name="KandinskyPipeline"),
        "_class_name='KandinskyPipeline' is not known here, only UnCLIPPipeline",
    ),
    "another sampler": (
        lambda p: edited(p / "decoder_scheduler" / "scheduler_config.json", variance_type="fixed_small_log"),
        "variance_type='fixed_small_log' is not known here, only 'learned_range'",
    ),
}


@pytest.mark.parametrize("mistake", OF_DIFFUSERS)
def test_mistakes_in_a_folder_of_diffusers(tmp_path, mistake):
    change, message = OF_DIFFUSERS[mistake]
    fake.write_diffusers(tmp_path / "karlo", images=False)
    change(tmp_path / "karlo")
    with pytest.raises(InputError) as caught:
        convert_karlo.convert_karlo(tmp_path / "karlo", tmp_path / "out")
    assert message in str(caught.value) and str(tmp_path / "karlo") in str(caught.value), caught.value
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_a_run_is_kept(converted, tmp_path):
    folder = tmp_path / "out"
    (folder / "decoder" / "checkpoints").mkdir(parents=True)
    with pytest.raises(InputError, match="decoder holds a run: convert into another folder"):
        convert_karlo.convert_karlo(converted[0], folder)
    with pytest.raises(InputError, match="needs no --config and no --prediction"):
        convert(None, "karlo", converted[0], tmp_path / "other", output="eps")


def configured(name: str):
    return importlib.import_module(f"configs.unclip.{name}").get_config()


def empty(network):
    """Zeros that take no memory, under Karlo's names."""
    table, found = table_of(network), {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(network.shapes()):
        own = table(tuple(key.key for key in path))
        shape = own.theirs(np.broadcast_to(np.int8(0), leaf.shape)).shape
        found[own.name] = np.broadcast_to(np.int8(0), shape)
    return found


@pytest.mark.slow
def test_the_published_models_have_their_sizes_and_are_told_by_their_tensors():
    """The configs have the published counts, and the tensors of such networks give the same configs, without memory."""
    configs = {stage: configured(f"karlo_{stage}") for stage in STAGES}
    networks = {stage: builder.build_network(config) for stage, config in configs.items()}
    for stage, network in networks.items():
        assert sum(leaf.size for leaf in jax.tree.leaves(network.shapes())) == COUNTS[stage]
    parts = {
        stage: Part(Path(stage), empty(network), image_size=size)
        for (stage, network), size in zip(networks.items(), (1, 64, 256), strict=True)
    }
    clip = karlo_sections.clip_section(networks["prior"].encoder.module.clip.module)
    derived = {
        "prior": convert_karlo.prior_config(clip, karlo_sections.prior_section(parts["prior"])),
        "decoder": convert_karlo.decoder_config(clip, karlo_sections.decoder_section(parts["decoder"], 77), 64),
        "upsampler": convert_karlo.upsampler_config(karlo_sections.upsampler_section(parts["upsampler"]), 64, 256),
    }
    assert karlo_sections.features_of(parts["prior"]) == 768
    for stage, config in configs.items():
        expected, found = builder.completed(config).to_dict(), derived[stage].to_dict()
        for of in (expected, found):  # what is said of the training alone
            del of["training"]
            of["data"]["name"] = of["data"]["train_split"] = of["data"]["eval_split"] = ""
        assert {section for section in expected if expected[section] != found[section]} == set()


def test_the_published_cascade_fits(tmp_path):
    config = configured("karlo_cascade")
    for number, stage in enumerate(STAGES, start=1):
        convert_karlo.save_config(tmp_path / stage, builder.completed(configured(f"karlo_{stage}")))
        config.cascade[f"stage{number}"].workdir = str(tmp_path / stage)
    shapes = [each.codec.shape(each.image_shape) for each in stage_experiments(config).values()]
    assert shapes == [(1, 1, 768), (64, 64, 3), (256, 256, 3)]
