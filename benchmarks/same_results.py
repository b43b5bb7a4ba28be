"""Does a change of the code leave its results alone? Shipped configs, made tiny, through the verbs, in two checkouts.

    python benchmarks/same_results.py --out=runs/before                   # in the one checkout; compiles for minutes
    python benchmarks/same_results.py --out=runs/after                    # in the other
    python benchmarks/same_results.py --compare runs/before runs/after    # the largest differences; 1 where they count

`--code=FOLDER` runs another checkout's code with this file, for one that lacks it. Each config keeps its process, kind
of network, prediction, loss and sampler; its images have 8 x 8 pixels, its network one block a level, at one or two
levels. What is kept: losses of five training steps, samples, bits per dimension, latents, and evaluations, in
results.json and results.npz.
"""

import argparse
import importlib
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_HERE = Path(__file__).resolve()
_CLASSES, _IMAGES, _TRAINED_ON = 5, 80, 64
_TOLERANCE = 1e-6
_UNCOUNTED = ("seconds", "per_second", "devices", "step", "seed", "sampler", "guidance", "conventions")
"""Parts of a summary that are no results: times, and what was asked for."""

_PROCESSES = {
    "ncsnv2/celeba": {"num_levels": 12, "sigma_max": 5.0},
    "improved_diffusion/cifar10_uncond": {"num_levels": 60},
    "improved_diffusion/cifar10_uncond_vlb": {"num_levels": 60},
}
"""Of chains that are walked as a whole, by Langevin's sampler or a bound: fewer levels, and images within 0 to 255."""
_NETWORKS: dict[str, dict[str, Any]] = {
    "ncsnpp": {"channels": 8},
    "ddpm": {"channels": 64},  # its norms have 32 groups: a width of 32 would take the embedding of time out again
    "adm": {"channels": 32},
    "adm_classifier": {"channels": 32},
    "edm_song": {"channels": 16},
    "edm_dhariwal": {"channels": 64},
    "wide_resnet": {"blocks_per_group": 1, "widen_factor": 1},
    "ncsn": {"channels": 8},
    "ncsnv2": {"channels": 8},
}
_TWO_LEVELS = ("demo/mnist", "adm/imagenet64", "edm/ffhq_64_uncond_ve", "score_sde/ve/cifar10_ncsnpp_continuous")
"""Configs whose networks have a second level of 4 x 4 pixels; the others' have one, which compiles in half the time."""


class Verb(NamedTuple):
    """One command after training.

    Attributes:
      what: its name in the results.
      verb: of the command line.
      flags: of the command line, beside the workdir's; {out} stands for the folder of all results.
    """

    what: str
    verb: str
    flags: tuple[str, ...] = ()


def _sample(*flags: str, what: str = "sample") -> Verb:
    return Verb(what, "sample", flags)


_TOLERANCES = ("--config.likelihood.rtol=1e-2", "--config.likelihood.atol=1e-2")
_ODE = Verb("bits_ode", "likelihood", (*_TOLERANCES, "--config.likelihood.sensitivity_batches=0"))
_VLB = Verb("bits_vlb", "likelihood", ("--method=vlb",))
_BOUND = Verb("bits_bound", "likelihood", ("--method=bound",))
_OF_CONTINUOUS = "--config.likelihood.num_levels=40"
_ENCODE = Verb("encode", "encode", _TOLERANCES)
_EVALUATE = Verb("evaluate", "evaluate", ("--features=same_results:pixels",))
_INPAINT = Verb("inpaint", "edit", ("--image={out}/inputs/image_{channels}.png", "--mask={out}/inputs/mask.png"))
_COLORIZE = Verb("colorize", "edit", ("--image={out}/inputs/image_3.png", "--task=colorize"))
_DDIM = _sample("--solver=ddim", "--steps=4", what="sample_ddim")
_SDE_CLASSIFIER = "score_sde/ve/cifar10_classifier"

CASES: dict[str, tuple[Verb, ...]] = {
    "demo/mnist": (_sample(), _ODE, _ENCODE, _EVALUATE, _INPAINT),
    "ncsn/cifar10": (_sample(), _VLB),
    "ncsnv2/celeba": (_sample(), _VLB),
    "ddpm/cifar10": (_sample(), _VLB, _EVALUATE, _DDIM),
    "improved_diffusion/cifar10_uncond": (_sample(), _VLB, _BOUND),
    "improved_diffusion/cifar10_uncond_vlb": (_sample(), _VLB),
    "improved_diffusion/imagenet64_cond": (_sample(), _sample("--config.sampling.label=3", what="sample_of_class")),
    "adm/classifier64": (),
    "adm/imagenet64": (
        _sample(),
        _sample("--guidance.classifier={out}/runs/adm/classifier64", "--guidance.scale=3", what="sample_guided"),
    ),
    "adm/imagenet64_256_upsample": (_sample("--base={out}/runs/adm/imagenet64/sample/samples.npz"),),
    "blended_diffusion/imagenet256": (_sample(), _INPAINT, _COLORIZE),
    "edm/cifar10_cond_vp": (_sample(), _ODE),
    "edm/imagenet64_cond_adm": (_sample(),),
    "edm/ffhq_64_uncond_ve": (_sample(), _ODE, _INPAINT),
    _SDE_CLASSIFIER: (),
    "score_sde/ve/cifar10_ncsnpp_continuous": (
        _sample(),
        _sample("--config.sampler.discretisation=score_sde", what="sample_score_sde"),
        _sample("--guidance.classifier={out}/runs/" + _SDE_CLASSIFIER, what="sample_guided"),
        _ODE,
    ),
    "score_sde/ve/cifar10_ncsnpp": (_sample(), _VLB),
    "score_sde/vp/cifar10_ddpmpp_continuous": (
        _sample(),
        _sample("--solver=ode", "--config.sampler.rtol=1e-2", "--config.sampler.atol=1e-2", what="sample_ode"),
        _sample("--solver=dpm_solver_2m", "--steps=5", what="sample_dpm_solver"),
        _ODE,
        Verb("bits_bound", "likelihood", ("--method=bound", _OF_CONTINUOUS)),
        Verb("bits_vlb", "likelihood", ("--method=vlb", _OF_CONTINUOUS)),
    ),
    "score_sde/vp/cifar10_ddpmpp": (_sample(), _ODE, _sample("--solver=heun", "--steps=4", what="sample_heun")),
    "score_sde/subvp/cifar10_ddpm_continuous": (_sample(), _ODE, _ENCODE),
    "lineage:flow": (_sample(), _ODE, _EVALUATE, _sample("--solver=heun", "--steps=4", what="sample_heun")),
    "lineage:adm": (_sample(), _sample("--guidance.scale=2", what="sample_classifier_free"), _ODE),
}
"""Shipped configs and what is run of them, in this order: a guided model follows its classifier."""


def pixels(images):
    """Features (b, 6 c) for `evaluate`, of uint8 (b, h, w, c): mean, spread and the image in 2 x 2, of each channel."""
    import jax.numpy as jnp

    x = images.astype(jnp.float32) / 255
    b, h, w, c = x.shape
    quarters = x.reshape(b, 2, h // 2, 2, w // 2, c).mean(axis=(2, 4)).reshape(b, 4 * c)
    return jnp.concatenate([x.mean(axis=(1, 2)), x.std(axis=(1, 2)), quarters], axis=1)


def _shipped(name: str) -> Any:
    module, _, variant = name.partition(":")
    get = importlib.import_module("configs." + module.replace("/", ".")).get_config
    return get(variant) if variant else get()


def get_config(name: str) -> Any:
    """The shipped config of this name, a key of `CASES`, made tiny; the verbs read it from here by `--config`."""
    config = _shipped(name)
    upsamples = config.data.low_resolution > 0
    config.data.update(
        name="dead_leaves",
        image_size=16 if upsamples else 8,
        train_split=f"train[:{_TRAINED_ON}]",
        eval_split="test[:16]",
        crop=0,
        resize_filter="none",
        low_resolution=8 if upsamples else 0,
    )
    network = _NETWORKS[config.network.name]
    if "channel_mult" in config.network:
        levels = (1, 2) if name in _TWO_LEVELS else (1,)
        attends = config.data.image_size // len(levels)
        network = network | {"channel_mult": levels, "num_res_blocks": 1, "attention_resolutions": (attends,)}
    with config.unlocked():
        config.network.update(network)
    if config.network.get("num_head_channels"):
        config.network.num_head_channels = 32
    if config.network.get("num_classes"):
        config.network.num_classes = _CLASSES + _drops_conditions(config)
    config.process.update(_PROCESSES.get(name, {}))
    # As published, so few steps would leave a network that draws nothing.
    config.optimizer.update(learning_rate=5e-3, warmup_steps=1)
    config.ema.decay = min(config.ema.decay, 0.5)
    config.training.update(batch_size=8, steps=5, log_every=1, checkpoint_every=5, sample_every=0)
    if config.sampler.name == "langevin":
        config.sampler.steps_per_level = 1
    elif config.sampler.get("respacing"):
        config.sampler.respacing = "6"
    else:
        config.sampler.num_steps = 6
    config.sampling.update(num_samples=8, batch_size=8)
    config.evaluation.update(num_samples=16, batch_size=8)
    config.likelihood.update(num_examples=4, batch_size=4)
    return config


def _write_inputs(folder: Path) -> None:
    """Images with classes, a picture in colour and in grey, and a mask."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    labels = np.arange(_IMAGES) % _CLASSES
    for size in (8, 16):
        slopes = np.linspace(0, 1, size)[None, :, None, None] * np.linspace(0, 1, _CLASSES)[labels][:, None, None, None]
        images = 40 + 120 * slopes + 90 * generator.uniform(size=(_IMAGES, size, size, 3))
        np.savez(folder / f"labelled_{size}.npz", images=images.astype(np.uint8), labels=labels.astype(np.int32))
    picture = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(picture).save(folder / "image_3.png")
    Image.fromarray(picture[..., 0]).save(folder / "image_1.png")
    Image.fromarray(np.repeat(np.uint8([[0, 0, 0, 0, 255, 255, 255, 255]]), 8, axis=0)).save(folder / "mask.png")


def _numbers(value: Any, name: str = "") -> dict[str, float]:
    """The numbers of a summary, by their dotted names, but for those that no result depends on."""
    if isinstance(value, bool) or not isinstance(value, int | float | list | dict):
        return {}
    if isinstance(value, int | float):
        return {name: float(value)}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found: dict[str, float] = {}
    for key, inner in items:
        if not any(word in str(key) for word in _UNCOUNTED):
            found |= _numbers(inner, f"{name}.{key}".strip("."))
    return found


def _run(*arguments: str) -> None:
    """One command, in this process."""
    from score_jax.cli.main import main

    code = main(["score_jax", *arguments])
    if code == 130:
        raise KeyboardInterrupt  # which the verb has caught
    if code:
        raise RuntimeError(f"exit code {code} of: {' '.join(arguments)}")


def _losses(workdir: Path) -> dict[str, Any]:
    rows = [json.loads(line) for line in (workdir / "loss.jsonl").read_text().splitlines()]
    return {"train.losses": [row["loss"] for row in rows]}


def _train(name: str, workdir: Path, out: Path) -> dict[str, Any]:
    config = get_config(name)
    flags = [f"--config={_HERE}:{name}", f"--workdir={workdir}"]
    if config.network.get("num_classes"):
        flags += [f"--config.data.name={out}/inputs/labelled_{config.data.image_size}.npz"]
        flags += [f"--config.data.train_split=all[:{_TRAINED_ON}]", f"--config.data.eval_split=all[{_TRAINED_ON}:]"]
    if config.network.name == "wide_resnet":  # its config serves published weights, and says no loss
        flags += ["--config.loss.name=classifier"]
    _run("train", *flags)
    return _losses(workdir)


def _results(verb: Verb, name: str, workdir: Path, out: Path) -> dict[str, Any]:
    """What one verb gives, by names that begin with the verb's."""
    places = {"out": out, "channels": get_config(name).data.channels}
    into, stem = workdir, {"edit": "edit", "encode": "encode", "evaluate": "evaluation"}.get(verb.verb, "samples")
    flags = [flag.format(**places) for flag in verb.flags]
    if verb.verb in ("sample", "edit"):
        into = workdir / verb.what
        flags.append(f"--out={into}")
    if verb.verb == "likelihood":
        stem = {"bits_ode": "likelihood"}.get(verb.what, f"likelihood_{verb.what.removeprefix('bits_')}")
    _run(verb.verb, f"--workdir={workdir}", *flags)
    found: dict[str, Any] = {}
    if (into / f"{stem}.npz").is_file():
        with np.load(into / f"{stem}.npz") as arrays:
            found |= {key: arrays[key] for key in arrays.files if arrays[key].dtype.kind in "biuf"}
    summary = json.loads((into / f"{stem}.json").read_text())
    if verb.verb in ("sample", "edit"):  # whose summaries repeat the config
        summary = {key: value for key, value in summary.items() if key.startswith("nfe")}
    return {f"{verb.what}.{key}": value for key, value in (found | _numbers(summary)).items()}


def run(names: Iterable[str], out: Path) -> int:
    """Runs these configs and writes results.json and results.npz; returns the number of commands that failed."""
    import score_jax

    _write_inputs(out / "inputs")
    numbers: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    failed: list[str] = []
    print(f"Code of {Path(score_jax.__file__).parent}", file=sys.stderr)
    for name in names:
        workdir, began = out / "runs" / name.replace(":", "/"), time.monotonic()
        shutil.rmtree(workdir, ignore_errors=True)
        found: dict[str, Any] = {}
        for verb in (None, *CASES[name]):
            try:
                found |= _train(name, workdir, out) if verb is None else _results(verb, name, workdir, out)
            except Exception:
                traceback.print_exc()
                failed.append(f"{name} {'train' if verb is None else verb.what}")
        arrays |= {f"{name}|{key}": value for key, value in found.items() if isinstance(value, np.ndarray)}
        numbers[name] = {key: value for key, value in found.items() if not isinstance(value, np.ndarray)}
        numbers[name]["seconds"] = round(time.monotonic() - began, 1)
        (out / "results.json").write_text(json.dumps(numbers, indent=1) + "\n")
        np.savez(out / "results.npz", **arrays)
        print(f"{name}: {numbers[name]['seconds']} s", file=sys.stderr, flush=True)
    for what in failed:
        print(f"FAILED: {what}", file=sys.stderr)
    return len(failed)


def _load(folder: Path) -> dict[tuple[str, str], np.ndarray]:
    """Every result of a run by config and name."""
    numbers = json.loads((folder / "results.json").read_text())
    found = {
        (name, key): np.asarray(value, np.float64)
        for name, values in numbers.items()
        for key, value in values.items()
        if key != "seconds"
    }
    with np.load(folder / "results.npz") as arrays:
        for key in arrays.files:
            name, _, what = key.partition("|")
            found[name, what] = arrays[key]
    return found


def difference(before: np.ndarray, after: np.ndarray) -> float:
    """The largest difference: of whole numbers as it is, of others over max(1, |value|); infinite of other shapes, and
    where one alone is not finite."""
    if before.shape != after.shape or before.dtype.kind != after.dtype.kind:
        return float("inf")
    if not before.size:
        return 0.0
    a, b = before.astype(np.float64), after.astype(np.float64)
    scale = np.ones_like(a) if before.dtype.kind in "biu" else np.maximum(1.0, np.abs(a))
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - b) / scale)
    return float(np.where(np.isnan(apart), np.inf, apart).max())


def compare(before: Path, after: Path, only: Iterable[str]) -> int:
    """Prints the largest difference of every result, and returns 1 where one counts or a result is missing."""
    old, new = _load(before), _load(after)
    wanted = set(only)
    verdicts = []
    print(f"{'config':<44}{'what':<44}{'largest difference':>20}")
    for name, what in sorted(key for key in old if key[0] in wanted):
        there = new.get((name, what))
        found = float("inf") if there is None else difference(old[name, what], there)
        differs = found > (0.0 if old[name, what].dtype.kind in "biu" else _TOLERANCE)
        note = " MISSING" if there is None else " DIFFERS" if differs else ""
        print(f"{name:<44}{what:<44}{found:>20.3g}{note}")
        verdicts.append(differs)
    added = sum(key not in old and key[0] in wanted for key in new)
    print(f"{sum(verdicts)} of {len(verdicts)} results differ; {added} are new.")
    return int(any(verdicts) or not verdicts)


def _prepare(code: Path, cache: Path) -> None:
    """Has this process use the code of a checkout, on one CPU device; before JAX is imported."""
    for folder in (_HERE.parent, code / "tests", code):
        sys.path.insert(0, str(folder))
    os.environ |= {
        "XLA_FLAGS": importlib.import_module("tiny").xla_flags(1),
        "JAX_PLATFORMS": "cpu",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    import score_jax

    assert Path(score_jax.__file__).resolve().is_relative_to(code), f"{score_jax.__file__} is not of {code}"


def _drops_conditions(config: Any) -> bool:
    """Whether the last class stands for none; the key is called otherwise in configs of before December 2026."""
    return any(config.loss.get(key, 0.0) > 0 for key in ("condition_dropout", "label_dropout"))


def main() -> int:
    """Runs the configs, or compares two runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where results and workdirs are kept")
    parser.add_argument("--only", default=",".join(CASES), help="configs, separated by commas")
    parser.add_argument("--code", type=Path, default=_HERE.parents[1], help="checkout whose code is run; this one")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"), help="folders of two runs")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(CASES):
        parser.error(f"no configs {sorted(unknown)}: expected some of {', '.join(CASES)}")
    if arguments.compare:
        return compare(*arguments.compare, names)
    if arguments.out is None:
        parser.error("give --out=FOLDER, or --compare BEFORE AFTER")
    out = arguments.out.resolve()
    _prepare(arguments.code.resolve(), out / "compiled")
    return int(run(names, out) > 0)


if __name__ == "__main__":
    sys.exit(main())
