"""Every config builds and has the paper's size; every mistake in one is answered."""

import functools
import importlib
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from shipped import is_cascade_file

from score_jax import builder
from score_jax.configs import base, lineage
from score_jax.configs.adm import ablation
from score_jax.errors import InputError
from score_jax.jobs.open_split import open_split
from score_jax.processes.gaussian import VE, SubVP
from score_jax.processes.techniques import langevin_step, largest_distance, level_count
from score_jax.samplers.ode import AdaptiveODE

ROOT = Path(__file__).parents[2]
SHARED = ("__init__.py", "shared.py")
CONFIGS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "configs").rglob("*.py")
    if path.name not in SHARED and not is_cascade_file(path.name)
)
# Counted in the originals; ours for Fourier embeddings includes the frozen frequencies, given as a second term.
PARAMETERS = {
    "adm/classifier64": 65_438_568,
    "adm/classifier128": 42_568_040,
    "adm/classifier256": 54_096_360,
    "adm/classifier512": 54_448_360,
    "adm/imagenet64": 295_904_454,
    "adm/imagenet128": 421_529_606,
    "adm/imagenet256": 553_838_086,
    "adm/imagenet256_uncond": 552_814_086,
    "adm/imagenet512": 558_997_638,
    "adm/imagenet64_256_upsample": 311_795_910,
    "adm/imagenet128_512_upsample": 308_835_270,
    "adm/lsun_bedroom": 552_814_086,
    "adm/lsun_cat": 552_814_086,
    "adm/lsun_horse": 552_814_086,
    "adm/lsun_horse_nodropout": 552_814_086,
    "blended_diffusion/imagenet256": 552_814_086,
    "blended_diffusion/imagenet512": 558_997_638,
    "ddpm/celeba64": 78_700_803,
    "ddpm/celebahq_256": 113_673_219,
    "ddpm/cifar10": 35_746_307,
    "ddpm/lsun_bedroom": 113_673_219,
    "ddpm/lsun_cat": 113_673_219,
    "ddpm/lsun_church": 113_673_219,
    # Those of 2015 from their formulas: layers, then the logits of the schedule.
    "dpm2015/swiss_roll": 128 * 2 + 128 + 39 * (128 + 1) * 4 + 39,
    "dpm2015/heartbeat": (20 + 1) * 50 + 2 * (50 + 1) * 50 + (50 + 1) * 20 * 20,
    "dpm2015/dead_leaves": 3 * 9 * (1 + 20 + 20) * 20 + 60 + 2 * 21 * 20 + 21 * 20 + 99,
    "dpm2015/mnist": (784 + 1 + 3 * 501) * 500 + 501 * 2 * 784 + 3 * 20 + 21 * 20 + 21 * 20 + 999,
    "edm/afhqv2_64_uncond_ve": 62_761_091 + 128,
    "edm/afhqv2_64_uncond_vp": 61_805_571,
    "edm/cifar10_cond_ve": 56_400_643 + 128,
    "edm/cifar10_cond_vp": 55_735_299,
    "edm/cifar10_uncond_ve": 56_397_827 + 128,
    "edm/cifar10_uncond_vp": 55_733_891,
    "edm/ffhq_64_uncond_ve": 62_761_091 + 128,
    "edm/ffhq_64_uncond_vp": 61_805_571,
    "edm/imagenet64_cond_adm": 295_899_267,
    "improved_diffusion/cifar10_uncond": 52_546_438,
    "improved_diffusion/cifar10_uncond_vlb": 52_546_438,
    "improved_diffusion/imagenet64_256_upsample": 279_792_390,
    "improved_diffusion/imagenet64_cond": 273_049_350,
    "improved_diffusion/imagenet64_uncond": 121_063_942,
    "improved_diffusion/imagenet64_uncond_vlb": 121_063_942,
    "improved_diffusion/lsun_bedroom": 113_676_678,
    "improved_diffusion/lsun_bedroom_low_rate": 113_676_678,
    "ldm/bsr_sr": 113_622_563,
    "ldm/celebahq": 274_056_163,
    "ldm/cin": 394_984_196,
    "ldm/cin256_v2": 400_920_579,
    "ldm/ffhq": 274_056_163,
    "ldm/inpainting_big": 387_245_827,
    "ldm/kl_f4": 55_312_063,
    "ldm/kl_f8": 83_653_863,
    "ldm/kl_f16": 69_610_963,
    "ldm/kl_f32": 103_880_131,
    "ldm/layout2img_openimages256": 246_277_379,
    "ldm/lsun_bedrooms": 274_056_163,
    "ldm/lsun_churches": 294_966_916,
    "ldm/rdm768": 1_335_480_400,
    "ldm/semantic_synthesis256": 215_229_315,
    "ldm/semantic_synthesis512": 215_229_315,
    "ldm/text2img256": 403_623_939,
    "ldm/text2img_1p4b": 872_300_484,
    "ldm/vq_f4": 55_322_782,
    "ldm/vq_f4_noattn": 53_219_486,
    "ldm/vq_f8": 67_717_295,
    "ldm/vq_f8_n256": 67_652_783,
    "ldm/vq_f16": 69_593_371,
    "ncsn/celeba": 30_117_635,
    "ncsn/cifar10": 30_117_635,
    "ncsn/mnist": 7_638_657,
    "ncsnv2/bedroom": 83_445_379,
    "ncsnv2/celeba": 29_694_083,
    "ncsnv2/church": 83_445_379,
    "ncsnv2/cifar10": 29_694_083,
    "ncsnv2/cifar10_ncsn": 30_117_635,
    "ncsnv2/ffhq": 94_132_611,
    "ncsnv2/tower": 83_445_379,
    "score_sde/subvp/cifar10_ddpm_continuous": 35_218_947,
    "score_sde/subvp/cifar10_ddpmpp_continuous": 61_804_419,
    "score_sde/subvp/cifar10_ddpmpp_deep_continuous": 106_632_579,
    "score_sde/subvp/cifar10_ncsnpp_continuous": 62_693_251,
    "score_sde/subvp/cifar10_ncsnpp_deep_continuous": 107_521_411,
    "score_sde/ve/bedroom_ncsnpp_continuous": 65_574_421 + 128,
    "score_sde/ve/celeba_ncsnpp": 62_693_251,
    "score_sde/ve/celebahq_256_ncsnpp_continuous": 65_574_421 + 128,
    "score_sde/ve/celebahq_ncsnpp_continuous": 105_785_880 + 16,
    "score_sde/ve/church_ncsnpp_continuous": 65_574_421 + 128,
    "score_sde/ve/cifar10_classifier": 38_913_114 + 128,
    "score_sde/ve/cifar10_ddpm": 35_218_947,
    "score_sde/ve/cifar10_ncsnpp": 62_693_251,
    "score_sde/ve/cifar10_ncsnpp_continuous": 62_758_787 + 128,
    "score_sde/ve/cifar10_ncsnpp_deep_continuous": 107_586_947 + 128,
    "score_sde/ve/ffhq_256_ncsnpp_continuous": 65_574_421 + 128,
    "score_sde/ve/ffhq_ncsnpp_continuous": 105_785_880 + 16,
    "score_sde/vp/cifar10_ddpmpp": 61_804_419,
    "score_sde/vp/cifar10_ddpmpp_continuous": 61_804_419,
    "score_sde/vp/cifar10_ddpmpp_deep_continuous": 106_632_579,
    "score_sde/vp/cifar10_ncsnpp": 62_693_251,
    "score_sde/vp/cifar10_ncsnpp_continuous": 62_693_251,
    "score_sde/vp/cifar10_ncsnpp_deep_continuous": 107_521_411,
    "score_sde/vp/ddpm/bedroom": 111_569_923,
    "score_sde/vp/ddpm/celebahq": 111_569_923,
    "score_sde/vp/ddpm/church": 111_569_923,
    "score_sde/vp/ddpm/cifar10": 35_218_947,
    "score_sde/vp/ddpm/cifar10_continuous": 35_218_947,
    "stable_diffusion/v1": 859_520_964,
    "stable_diffusion/v1_inpainting": 859_535_364,
    "stable_diffusion/v2_base": 865_910_724,
    "stable_diffusion/v2_v": 865_910_724,
    "unclip/karlo_decoder": 893_318_086,
    "unclip/karlo_prior": 1_022_028_544,
    "unclip/karlo_upsampler": 2 * 691_579_523,
    "unclip/paper_upsampler256": 691_579_523,
    "unclip/paper_upsampler1024": 267_146_691,
}
# Of the encoders of conditions, of which text_transformer is without the layer to the vocabulary.
ENCODERS = {
    "ldm/cin": 1000 * 512,
    "ldm/cin256_v2": 1001 * 512,
    "ldm/layout2img_openimages256": 54_656_000,
    "ldm/mnist_class": 11 * 64,
    "ldm/mnist_pixels": 11 * 64,
    "ldm/semantic_synthesis256": 182 * 3,
    "ldm/semantic_synthesis512": 182 * 3,
    "ldm/shapes_text": 152_192,
    "ldm/text2img256": 166_590_080,
    "ldm/text2img_1p4b": 542_895_360,
    "stable_diffusion/v1": 123_060_480,
    "stable_diffusion/v1_inpainting": 123_060_480,
    "stable_diffusion/v2_base": 340_387_840,
    "stable_diffusion/v2_v": 340_387_840,
    # The whole CLIP, as published: ViT-L/14.
    "unclip/karlo_decoder": 427_616_513,
    "unclip/karlo_prior": 427_616_513,
    "unclip/paper_autoregressive": 986_523_137,
    "unclip/paper_decoder": 986_523_137,
    "unclip/paper_prior": 986_523_137,
    "unclip/small_autoregressive": 444_449,
    "unclip/small_decoder": 444_449,
    "unclip/small_prior": 444_449,
}
# Whose number of parameters no one has published.
UNCOUNTED = (
    "adm/ablation",
    "base",
    "blended_diffusion/small_shapes",
    "demo/mnist",
    "demo/mnist_accelerator",
    "ldm/mnist_class",
    "ldm/mnist_first_stage",
    "ldm/mnist_pixels",
    "ldm/mnist_sr",
    "ldm/shapes_first_stage",
    "ldm/shapes_text",
    "lineage",
    "own/images256",
    "own/images64",
    "own/small",
    "score_sde/vp/ddpm/cifar10_unconditional",
    "unclip/paper_autoregressive",
    "unclip/paper_clip",
    "unclip/paper_decoder",
    "unclip/paper_prior",
    "unclip/small_autoregressive",
    "unclip/small_clip",
    "unclip/small_decoder",
    "unclip/small_prior",
    "unclip/small_upsampler",
)


def load(path: str) -> ConfigDict:
    return importlib.import_module(path.removesuffix(".py").replace("/", ".")).get_config()


@functools.cache
def count(kind: type, module, image_shape: tuple[int, int, int]) -> int:
    """Of a network, which several configs may share."""
    return size(kind(module, image_shape))


def size(network) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(network.shapes()))


def parameters(config: ConfigDict) -> int:
    """Of the network alone, without an encoder of its condition."""
    network = builder.build_network(config)
    return count(type(network), network.module, network.image_shape)


def one_of_each_folder_fast(paths: list[str]) -> list:
    """All of them together take a minute."""
    first = {Path(path).parent: path for path in reversed(paths)}.values()
    return [path if path in first else pytest.param(path, marks=pytest.mark.slow) for path in paths]


@pytest.mark.parametrize("path", one_of_each_folder_fast(CONFIGS))
def test_config_builds_is_locked_and_has_the_papers_size(path):
    name = path.removeprefix("configs/").removesuffix(".py")
    assert (name in PARAMETERS) != (name in UNCOUNTED)
    config = load(path)
    built = builder.experiment(config)
    network = built.network
    if name in PARAMETERS:
        assert parameters(config) == PARAMETERS[name]
        assert ("remat" in config.network) == hasattr(network.module, "remat")  # a flag of the command line can ask it
    with pytest.raises(AttributeError):
        config.training.batchsize = 3
    assert config.training.batch_size % (2 if name.startswith("ldm/") else 8) == 0
    assert built.likelihood.batch_size % 2 == 0
    encoder = getattr(network, "encoder", None)
    assert (encoder is None) == (name not in ENCODERS) and (encoder is None or size(encoder) == ENCODERS[name])


def test_every_published_count_has_a_config():
    assert {f"configs/{name}.py" for name in (*PARAMETERS, *UNCOUNTED)} == set(CONFIGS)


def test_the_ablations_variants_differ_in_one_thing():
    base_network = ablation.get_config().network.to_dict()
    for variant, difference in ablation.VARIANTS.items():
        config = ablation.get_config(variant)
        changed = {key for key, value in config.network.to_dict().items() if value != base_network[key]}
        assert changed == set(difference) and len(changed) == (variant != "base")
        assert parameters(config) > 50e6
    with pytest.raises(InputError, match="Unknown variant of the ablation 'depth'"):
        ablation.get_config("depth")


def test_the_lineage_shares_its_budget_and_differs_in_its_science():
    common = lineage.get_config("ddpm")
    sizes = {}
    for system in lineage.SYSTEMS:
        config = lineage.get_config(system)
        for section in ("optimizer", "ema", "training", "evaluation"):
            assert config[section] == common[section], (system, section)
        assert (config.data.name, config.data.image_size) == (common.data.name, common.data.image_size)
        builder.experiment(config)
        sizes[system] = parameters(config)
    alike = [size for system, size in sizes.items() if system not in ("classifier", "dpm2015")]
    assert max(alike) < 4 * min(alike) and sizes["dpm2015"] < min(alike)
    with pytest.raises(InputError, match="Unknown system of the lineage 'dpm'"):
        lineage.get_config("dpm")


@pytest.mark.parametrize("system", ["ncsnv2", "ve"])
def test_the_lineages_noise_levels_are_those_of_the_techniques(system):
    config = lineage.get_config(system)
    source = open_split(config, "train_split")
    largest = largest_distance(np.stack([source[i]["image"] for i in range(len(source))]))
    assert config.process.sigma_max == pytest.approx(largest, rel=1e-3)
    if system == "ncsnv2":
        process, sampler = config.process, config.sampler
        assert process.num_levels == level_count(largest, process.sigma_min, 64)
        ratio = (largest / process.sigma_min) ** (1 / (process.num_levels - 1))
        step = langevin_step(process.sigma_min, ratio, sampler.steps_per_level)
        assert sampler.step_lr == pytest.approx(step, rel=1e-2)


def test_the_papers_differences():
    ve, subvp = (
        load("configs/score_sde/ve/cifar10_ncsnpp_continuous.py"),
        load("configs/score_sde/subvp/cifar10_ddpmpp_continuous.py"),
    )
    assert builder.experiment(ve).process == VE(0.01, 50.0)
    assert builder.experiment(subvp).process == SubVP(0.1, 20.0)
    assert (ve.ema.decay, subvp.ema.decay) == (0.999, 0.9999)
    assert tuple(builder.completed(config).loss.reduction for config in (ve, subvp)) == ("half_sum", "mean")
    assert [builder.completed(config).sampler.t_min for config in (ve, subvp)] == [1e-5, 1e-3]
    assert builder.experiment(ve).sampling().sampler.method.nfe == 2000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.process.update(name="vpp"), "Unknown process.name 'vpp'.*Did you mean 'vp'"),
        (lambda c: base.replace_section(c, "process", name="ve", sigma_mx=50.0), "Did you mean 'sigma_max'"),
        (lambda c: c.sampler.update(name="odd"), "Unknown sampler.name 'odd'.*Did you mean 'ode'"),
        (lambda c: c.prediction.update(label="99t"), "Did you mean '999t'"),
        (lambda c: c.loss.update(time_sampling="stratify"), "Did you mean 'stratified'"),
        (lambda c: c.loss.update(reduction="sum"), "Unknown loss.reduction 'sum'"),
        (lambda c: c.network.update(dtype="float16"), "Unknown network.dtype 'float16'"),
        (lambda c: c.data.update(image_size=30), "image_size=30 cannot be halved 3 times: make it a multiple of 8"),
        (
            lambda c: c.sampling.update(tile=8, overlap=9),
            "^sampling.overlap=9 is not less than sampling.tile=8: give a smaller overlap",
        ),
    ],
)
def test_mistakes_are_answered_before_anything_compiles(change, message):
    config = base.get_config()
    change(config)
    with pytest.raises(InputError, match=message):
        builder.experiment(config)


def test_ode_sampler_takes_its_tolerances():
    config = base.get_config()
    config.sampler.update(name="ode", solver="dopri5", rtol=1e-3, atol=1e-4)
    assert builder.experiment(config).sampling().sampler.method == AdaptiveODE("dopri5", 1e-3, 1e-4)


@pytest.mark.parametrize("path", ["configs/edm/ffhq_64_uncond_vp.py", "configs/ncsnv2/ffhq.py"])
def test_a_folder_of_images_is_trained_on_as_a_whole(path):
    data = load(path).data
    assert data.name.startswith("folder:") and (data.train_split, data.eval_split) == ("all", "all")
