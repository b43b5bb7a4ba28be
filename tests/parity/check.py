"""Runs files in the format of the parity folder through the library's public API.

    python tests/parity/check.py FILE.npz... [--json] [--x64]

Prints per output the largest error relative to the output's scale. Exit code 0: all within tolerance; 1: some are not;
2: a file is of a case that is not known here. In float32 the limit is the file's own tolerance; with --x64 it is 1e-9
of the scale.
"""

import argparse
import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]  # for its neighbour, and for `configs`
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(HERE.parents[1] / ".cache" / "jax"))

import blended_cases
import clip_cases
import clip_text_cases
import diffusers_cases
import dinov2_cases
import edm_cases
import fd_loss_cases
import flow_cases
import guided_cases
import inception_cases
import jax
import jax.numpy as jnp
import latent_first_stage_cases
import latent_network_cases
import latent_sampling_cases
import lpips_cases
import metric_cases
import ncsn_cases
import numpy as np
import primitive_cases
import song_cases
import unclip_dalle2_cases
import unclip_network_cases
import unclip_sampling_cases
import vgg16_cases
from ml_collections import ConfigDict

import originals
from originals import UnknownCase
from score_jax import builder
from score_jax.convert.releases import params_from
from score_jax.errors import InputError
from score_jax.prediction.preconditioning import PRECONDITIONINGS, denoise
from score_jax.prediction.predictor import network_predictor

X64_LIMIT = 1e-9
_TOPICS = (
    guided_cases,
    song_cases,
    flow_cases,
    ncsn_cases,
    edm_cases,
    primitive_cases,
    inception_cases,
    metric_cases,
    blended_cases,
    clip_cases,
    clip_text_cases,
    diffusers_cases,
    dinov2_cases,
    fd_loss_cases,
    lpips_cases,
    latent_first_stage_cases,
    latent_network_cases,
    latent_sampling_cases,
    unclip_dalle2_cases,
    unclip_network_cases,
    unclip_sampling_cases,
    vgg16_cases,
)
HANDLERS = {case: run for topic in _TOPICS for case, run in topic.HANDLERS.items()}
BY_RUNNER = ("latent_diffusion", "unclip")
"""Systems whose files name their kind, `meta.runner`, beside their case."""
ADAPTIVE = ("out/sample", "out/sample_denoised", "out/bpd", "out/z")
"""What an adaptive solver ends in: two right ones differ by their tolerance, in float64 too."""
NFE_SHARE = 0.5
"""By which the evaluations of two solvers of one order and tolerance may differ."""


@dataclasses.dataclass(frozen=True)
class ParityFile:
    """One file: its arrays by kind, and its meta."""

    path: Path
    meta: dict[str, Any]
    arrays: Mapping[str, np.ndarray]

    def group(self, kind: str) -> dict[str, np.ndarray]:
        """The arrays under `kind/`, by name."""
        return {key[len(kind) + 1 :]: value for key, value in self.arrays.items() if key.startswith(f"{kind}/")}


def read(path: Path) -> ParityFile:
    """The file, without pickle."""
    try:
        with np.load(path, allow_pickle=False) as z:
            arrays = {key: z[key] for key in z.files if key != "meta"}
            return ParityFile(path, json.loads(str(z["meta"])), arrays)
    except (OSError, ValueError, KeyError) as error:
        raise UnknownCase(f"not a parity file ({error})") from error


@dataclasses.dataclass(frozen=True)
class Result:
    """One compared array.

    Attributes:
      name: `out/...` or `grad/...`.
      error: largest error over the array's scale.
      of_limit: largest error over what is allowed there; 1 or less passes.
    """

    file: str
    name: str
    error: float
    of_limit: float

    @property
    def passes(self) -> bool:
        return self.of_limit <= 1.0


def compare(file: ParityFile, name: str, ours: np.ndarray, x64: bool) -> Result:
    """Our array against the file's, by the file's rule, or to `X64_LIMIT` of its scale."""
    kind, _, rest = name.partition("/")
    reference = file.arrays.get(f"{kind}64/{rest}", file.arrays[name])
    if file.meta["tolerance"] == "exact":  # ids and texts
        same = np.array_equal(ours, reference)
        return Result(str(file.path), name, float(not same), 0.0 if same else np.inf)
    adaptive = flow_cases.__name__ == handler(file).__module__
    own_rounding = file.meta["system"] == "metrics" and re.match(metric_cases.OWN_ROUNDING, name) is not None
    # A few outputs were made in float32 alone.
    exact = x64 and reference.dtype != np.float32 and not (adaptive and name in ADAPTIVE) and not own_rounding
    of_bytes = reference.dtype == np.uint8
    reference = reference.astype(np.float64)
    ours = np.asarray(ours, np.float64)
    if ours.shape != reference.shape:
        raise UnknownCase(f"{name} has shape {ours.shape} here, {reference.shape} in the file")
    rounding, tolerance = file.meta["rounding_f32_vs_f64"].get(name, {}), file.meta["tolerance"]
    scale = max(rounding.get("scale", 0.0), np.abs(reference).max(), 1e-300)
    error = np.abs(ours - reference)
    if adaptive and name == "out/nfe":
        allowed = NFE_SHARE * reference
    elif own_rounding:
        allowed = metric_cases.allowed(name, reference, tolerance)
    elif exact:
        allowed = np.full_like(reference, X64_LIMIT * scale + tolerance.get("atol", 0.0))
    else:
        # The original of a float64 sampler says what a float32 port of it may differ by.
        of_value = tolerance.get("float32_port", tolerance.get("rtol", 0.0))
        of_scale = tolerance.get("float32_port", tolerance.get("atol_of_scale", 0.0))
        allowed = of_value * np.abs(reference) + of_scale * scale
        allowed = allowed + tolerance.get("bpd_atol", 0.0) * (name == "out/bpd")
        allowed = allowed + (0.0 if of_bytes else tolerance.get("atol", 0.0))
        allowed = allowed + 10 * rounding.get("max_abs", 0.0) + 1e-300
    if np.isnan(reference).all():
        return Result(str(file.path), name, 0.0, 0.0)  # the original failed on this input
    worst = np.nan_to_num(error / allowed, nan=np.inf).max()
    return Result(str(file.path), name, float(np.nan_to_num(error, nan=np.inf).max() / scale), float(worst))


def _to_nhwc(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 2, 3, 1) if x.ndim == 4 else x


def _to_nchw(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 3, 1, 2) if x.ndim == 4 else x


def _floats(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), tree)


def _with_gradient(fn: Callable, x: jax.Array, cotangent: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
    if cotangent is None:
        return jax.jit(fn)(x), None

    @jax.jit
    def both(x):
        y, back = jax.vjp(fn, x)
        return y, back(cotangent.astype(y.dtype))[0]

    return both(x)


def run_network(file: ParityFile, dtype: Any) -> dict[str, np.ndarray]:
    """Outputs and input gradient of a network file, computed by us, in the file's layout."""
    given = {name: _to_nhwc(value) for name, value in file.group("in").items()}
    try:
        config, release = originals.network_config(file.meta, given["x"].shape[1:])
        network = builder.build_network(config)
        params = _floats(params_from(release, file.group("params"), network), dtype)
    except (InputError, KeyError) as error:
        raise UnknownCase(f"no network of ours is this one ({error})") from error
    x = jnp.asarray(given["x"], dtype)
    label = jnp.asarray(given.get("labels", given.get("t", np.zeros(len(x)))), dtype)
    conditions = {}
    if "y" in given and "logits" not in file.group("out"):
        conditions["label"] = jnp.asarray(given["y"])
    if "low_res" in given:
        conditions["low_res"] = jnp.asarray(given["low_res"], dtype)

    def apply(x):
        return network.apply(params, x, label, **conditions)

    if "logits" in file.group("out"):
        return _run_classifier(apply, x, jnp.asarray(given["y"]), file.meta["config"]["classifier_scale"])
    if "preconditioning" in config.prediction:
        return _run_denoiser(file, config, network.apply, params, given, dtype)
    has_gradient = "grad/x" in file.arrays
    y, gradient = _with_gradient(apply, x, jnp.asarray(given["cot"], dtype) if has_gradient else None)
    found = {"out/y": y} | ({"grad/x": gradient} if has_gradient else {})
    forward = jax.jit(network.apply)  # compiled once for all scores
    for name, score in file.meta["config"].get("scores", {}).items():
        score_config, last = originals.score_config(config, score)
        predict = network_predictor(forward, builder.build_process(score_config), **score_config.prediction)
        found[f"out/score_{name}"] = predict(params, x, jnp.asarray(given["t"], dtype) * last).score
    return {name: _to_nchw(np.asarray(value)) for name, value in found.items()}


def _run_denoiser(
    file: ParityFile, config: ConfigDict, apply: Callable, params: Any, given: dict[str, np.ndarray], dtype: Any
) -> dict[str, np.ndarray]:
    """EDM's D(x; sigma), and the noise level that it knows next to sigma."""
    values = config.prediction.to_dict()
    kind = PRECONDITIONINGS[values.pop("preconditioning")]
    if "u" in file.group("params"):
        values["u"] = tuple(float(level) for level in file.group("params")["u"])
    preconditioning, sigma = kind(**values), jnp.asarray(given["sigma"], dtype)
    names = {"class_labels": "label", "augment_labels": "augment_labels"}
    labels = {ours: jnp.asarray(given[theirs], dtype) for theirs, ours in names.items() if theirs in given}

    def denoised(x):
        return denoise(preconditioning, apply, params, x, sigma, **labels)

    x, cotangent = jnp.asarray(given["x"], dtype), jnp.asarray(given["cot"], dtype)
    y, gradient = _with_gradient(denoised, x, cotangent if "grad/x" in file.arrays else None)
    found = {"out/y": y, "out/round_sigma": preconditioning.round_sigma(sigma)}
    found |= {} if gradient is None else {"grad/x": gradient}
    return {name: _to_nchw(np.asarray(value)) for name, value in found.items() if name in file.arrays}


def _run_classifier(apply: Callable, x: jax.Array, y: jax.Array, scale: float) -> dict[str, np.ndarray]:
    def log_prob(x):
        logits = apply(x)
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)[:, 0]
        return scale * jnp.sum(chosen), (logits, chosen)

    gradient, (logits, chosen) = jax.jit(jax.grad(log_prob, has_aux=True))(x)
    found = {"out/logits": logits, "out/log_prob_y": chosen, "grad/x": gradient}
    return {name: _to_nchw(np.asarray(value)) for name, value in found.items()}


def handler(file: ParityFile) -> Callable[[ParityFile, Any], dict[str, np.ndarray]]:
    """What runs a file: of its kind where it names one, else of its case's name or the longest known beginning of it.

    Raises:
      UnknownCase: none does.
    """
    system, case = file.meta["system"], file.meta["case"]
    if system in BY_RUNNER:
        runner = file.meta.get("runner")
        if (system, runner) not in HANDLERS:
            raise UnknownCase(f"kind {runner!r} of {system!r}")
        return HANDLERS[system, runner]
    if case.startswith("net_"):
        return run_network
    known = [name for of_system, name in HANDLERS if of_system == system and case.startswith(name)]
    if not known:
        raise UnknownCase(f"case {case!r} of {system!r}")
    return HANDLERS[system, max(known, key=len)]


def check(path: Path, *, x64: bool = False) -> list[Result]:
    """All outputs of one file.

    Raises:
      UnknownCase: the file is of a kind that is not known here.
    """
    file = read(path)
    run = handler(file)
    jax.config.update("jax_default_matmul_precision", "highest")
    try:
        # The toys broadcast freely; the library does not, and its own tests hold it to that.
        with _enable_x64(x64), jax.numpy_rank_promotion("allow"):
            found = run(file, jnp.float64 if x64 else jnp.float32)
    except (InputError, KeyError) as error:
        raise UnknownCase(f"it says other things than cases of its name do ({error})") from error
    expected = {key for key in file.arrays if key.startswith(("out/", "grad/"))}
    if expected != set(found):
        raise UnknownCase(f"outputs {sorted(expected ^ set(found))} are not compared")
    return [compare(file, name, found[name], x64) for name in sorted(expected)]


def _enable_x64(on: bool):
    enable = getattr(jax, "enable_x64", None)
    if enable is None:
        from jax.experimental import enable_x64 as enable
    return enable(on)


def main(arguments: Iterable[str]) -> int:
    """Runs the files; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.npz")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--x64", action="store_true", help=f"run in float64 and hold it to {X64_LIMIT:g} of the scale")
    options = parser.parse_args(list(arguments))
    results, unknown = [], {}
    for path in options.files:
        try:
            found = check(path, x64=options.x64)
        except UnknownCase as error:
            unknown[str(path)] = str(error)
            if not options.json:
                print(f"{path}: unknown: {error}", flush=True)
            continue
        results += found
        if not options.json:
            for r in found:
                verdict = "ok" if r.passes else "FAILS"
                print(
                    f"{path} {r.name}: error {r.error:.1e} of scale, {r.of_limit:.1e} of limit, {verdict}", flush=True
                )
    if options.json:
        rows = [dataclasses.asdict(r) | {"passes": r.passes} for r in results]
        print(json.dumps({"x64": options.x64, "results": rows, "unknown": unknown}))
    return 1 if not all(r.passes for r in results) else 2 if unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
