"""The programs that users run on a CPU have no convolution in a form that is slow within a loop.

Every convolution of a shipped network goes through `models.cpu_convolution`; where one does not, its gradients in a
loop take 20 to 60 times as long, and nothing but the clock tells. So the programs are read: all of them as they are
written, and one of each kind as XLA compiles it.
"""

import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import slow_forms, slow_forms_as_written
from PIL import Image as PILImage

from score_jax import builder
from score_jax.configs import lineage
from score_jax.convert.clip import random_state
from score_jax.convert.lpips import random_state as random_lpips
from score_jax.jobs import blend
from score_jax.jobs.edit import read_task
from score_jax.jobs.frozen import frozen_shapes
from score_jax.jobs.likelihood import by_ode, likelihood_program
from score_jax.jobs.sample import Given, sampling_program
from score_jax.jobs.train import compiled_steps
from score_jax.models.clip.clip import CLIP, TextTransformer
from score_jax.models.clip.clip_resnet import ModifiedResNet
from score_jax.runtime.sharding import make_mesh, over_batch
from score_jax.training.checkpoint import abstract_state
from tiny import ROOT

SHIPPED = {
    "ncsnpp": "score_sde.ve.ffhq_256_ncsnpp_continuous",
    "ddpm": "ddpm.cifar10",
    "adm": "adm.imagenet64",
    "adm_classifier": "adm.classifier64",
    "ncsn": "ncsn.cifar10",
    "ncsnv2": "ncsnv2.cifar10",
    "wide_resnet": "score_sde.ve.cifar10_classifier",
    "edm_song": "edm.cifar10_uncond_ve",
    "edm_dhariwal": "edm.imagenet64_cond_adm",
    "multiscale": "dpm2015.dead_leaves",
    "latent_unet": "ldm.mnist_class",
    "karlo_upsampler": "unclip.karlo_upsampler",
    "unclip_decoder": "unclip.small_decoder",
    "autoencoder_kl": "ldm.mnist_first_stage",
    "autoencoder_vq": "ldm.vq_f4",
    "clip": "unclip.small_clip",
}
"""A config of each kind of network with convolutions."""
WITHOUT = {"rbf", "bit_mlp", "prior_transformer", "dalle2_prior", "autoregressive_prior"}
SMALL = {
    "channels": 32,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (),
    "num_heads": 1,
    "num_head_channels": None,
    "blocks_per_group": 1,
    "widen_factor": 1,
    "dtype": "float32",
}
NARROW = {"ncsnpp": 8, "ncsn": 8, "ncsnv2": 8, "edm_song": 8}


def mesh():
    return make_mesh(devices=jax.devices()[:1])


def shrunk(network):
    config = importlib.import_module(f"configs.{SHIPPED[network]}").get_config()
    small = SMALL | ({"channels": NARROW[network]} if network in NARROW else {})
    with config.unlocked():
        config.network.update({key: value for key, value in small.items() if key in config.network})
        if "first_stage" in config:
            config.first_stage.update(channels=32, channel_mult=(1,), num_res_blocks=1)
        config.data.image_size = 16
        if config.loss.name == "first_stage":
            config.loss.update(perceptual_weight=0.0, discriminator_channels=4, discriminator_layers=1)
    if network == "wide_resnet":
        config.loss.name = "classifier"  # what it is; the config serves its weights only
    return config


def of_lineage(system, **changes):
    config = lineage.get_config(system)
    config.sampling.batch_size = 2
    for key, value in changes.items():
        section, _, name = key.partition("__")
        config[section][name] = value
    return config


def abstract(shape, dtype):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=over_batch(mesh()))


def training(config, *, accumulate=2):
    """Two accumulated steps of one dispatch: loops of both kinds; objectives of the whole batch do not accumulate."""
    accumulate = 1 if config.loss.name in ("first_stage", "contrastive") else accumulate
    config.training.update(batch_size=4, accumulate=accumulate)
    experiment = builder.experiment(config)
    declared = {
        name: each for name, each in experiment.network.conditions.items() if name != "low_res"
    }  # made of images
    batch = {name: abstract((4, *each.shape), each.dtype) for name, each in declared.items()} | {
        "image": abstract((4, *experiment.image_shape), jnp.uint8),
        "label": abstract((4,), jnp.int32),
        "index": abstract((4,), jnp.int32),
    }
    state = abstract_state(experiment.create_state, mesh())
    return compiled_steps(experiment, mesh()).lower(state, (batch, batch), frozen_shapes(experiment) or None)


def sampling(config, given, guide_params, rows=None):
    experiment = builder.experiment(config)
    program = sampling_program(experiment, mesh(), 0, given, ("truncated",))
    indices, key = jnp.zeros(config.sampling.batch_size, jnp.int32), jax.random.key(0)
    return program.lower(experiment.network.shapes(), guide_params, key, indices, jnp.int32(0), rows or {})


def test_there_is_a_config_of_each_kind_of_network():
    assert SHIPPED.keys() | WITHOUT == builder.NETWORKS.keys()
    assert all(shrunk(network).network.name == network for network in SHIPPED)


@pytest.mark.slow
@pytest.mark.parametrize("network", SHIPPED)
def test_training(network):
    assert not slow_forms_as_written(training(shrunk(network)))


@pytest.mark.slow
def test_training_compiled():
    assert not slow_forms(training(shrunk("ddpm")))


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["sliced", "likelihood"])
def test_training_by_other_objectives(objective):
    """Sliced score matching differentiates a tangent; the likelihood is differentiated through its solve."""
    config = of_lineage("ncsnv2" if objective == "sliced" else "vp", loss__name=objective)
    config.network.channels = 8
    if objective == "likelihood":
        config.loss.ode_steps = 2
    assert not slow_forms_as_written(training(config, accumulate=1))


@pytest.mark.slow
def test_a_sampler_guided_by_a_classifier():
    classifier = builder.experiment(of_lineage("classifier"))
    config, guide = of_lineage("adm", guidance__scale=2.0), classifier.network.shapes()
    assert not slow_forms(sampling(config, Given(classifier=classifier), guide))


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["ancestral", "ddim"])
def test_a_blend_guided_by_a_convolutional_clip_and_lpips(solver, tmp_path):
    from score_jax.configs.blended_diffusion import imagenet256

    config = imagenet256.get_config()
    with config.unlocked():
        config.data.image_size = 16
    config.network.update(channels=32, channel_mult=(1,), num_res_blocks=1, num_head_channels=32, dtype="float32")
    config.sampler.update(name=solver, respacing="4")
    config.sampling.update(batch_size=1)
    config.edit.update(skip=1, views=1, perceptual_scale=1.0, square_scale=1.0)
    clip = CLIP(
        ModifiedResNet(image_size=32, width=16, layers=(1, 1, 1, 1), features=8),
        TextTransformer(49408, 77, 64, 1, 1, 8),
    )
    np.savez(tmp_path / "clip.npz", **random_state(0, clip))
    np.savez(tmp_path / "lpips.npz", **random_lpips(0, ((2, 2), (2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))))
    for name, mode in (("picture", "RGB"), ("mask", "L")):
        pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3) if mode == "RGB" else (16, 16), np.uint8)
        pixels = pixels if name == "picture" else np.where(pixels < 128, 0, 255).astype(np.uint8)
        PILImage.fromarray(pixels, mode).save(tmp_path / f"{name}.png")
    task = read_task(config, "blend", str(tmp_path / "picture.png"), str(tmp_path / "mask.png"))
    files = blend.Weights(tmp_path / "clip.npz", tmp_path / "lpips.npz", tmp_path / "lpips.npz")
    guide = blend.load_guide(config, ["a red collar"], task, files, make_mesh())
    given = dataclasses.replace(task.given(Given(), 1), text=guide)
    assert not slow_forms_as_written(sampling(config, given, given.guide_params, given.rows(np.zeros(1, int))))


@pytest.mark.slow
@pytest.mark.parametrize("derivative", ["forward", "reverse"])
def test_the_likelihood(derivative):
    experiment = builder.experiment(of_lineage("vp", likelihood__derivative=derivative))
    b = 2
    program = likelihood_program(mesh(), by_ode(experiment, None))
    batch = {name: abstract((b,), jnp.int32) for name in ("label", "index")}
    batch["image"] = abstract((b, *experiment.image_shape), jnp.uint8)
    read = slow_forms if derivative == "reverse" else slow_forms_as_written
    assert not read(program.lower(experiment.network.shapes(), jax.random.key(0), batch))


def test_every_convolution_of_the_networks_is_this_one():
    """No module of `models/` calls lax's, and none leaves the choice to flax."""
    paths = list((ROOT / "score_jax" / "models").rglob("*.py"))
    assert len(paths) > 30
    for path in paths:
        text = path.read_text()
        if path.name != "cpu_convolution.py":
            assert "lax.conv" not in text, path.name
            assert text.count("nn.Conv(") == text.count("conv_general_dilated=conv_general_dilated"), path.name
