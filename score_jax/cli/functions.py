"""`evaluate --sampler=module:function` and `likelihood --model=module:function`: verbs of no run, but of a function."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from score_jax.api.evaluate import evaluate
from score_jax.api.likelihood import bits_per_dim
from score_jax.builder.naming import construct
from score_jax.builder.processes import PROCESSES, VALUES
from score_jax.cli.arguments import VerbParser
from score_jax.cli.feature_networks import add_networks, check_features_alone, weights_given
from score_jax.errors import InputError, counted
from score_jax.evaluation import metrics
from score_jax.evaluation.protocols import protocol_names
from score_jax.jobs.extractors import imported_maker
from score_jax.prediction.predictor import OUTPUTS
from score_jax.processes.gaussian import NoiseSchedule
from score_jax.runtime.multihost import print_once
from score_jax.runtime.parts import Interrupted
from score_jax.runtime.stop import stop_on_signals

_EVALUATE = """Draws samples by a function and compares them with real images.

  python -m score_jax evaluate --sampler=my_package.module:draw --reference=cifar10:train --workdir=runs/fid
  python -m score_jax evaluate --sampler=my_package.module:make_draw --sampler_args='{"step": 1000}' ...

The function is draw(key, indices, labels) -> images (b, h, w, c), see docs/python.md; with --sampler_args it is what
the named function returns for these arguments. If the command was stopped, the same command goes on."""
_LIKELIHOOD = """Measures bits per dimension of images under a model that is a function, exactly.

  python -m score_jax likelihood --model=my_package.module:model --process=vp --images=cifar10:test --workdir=runs/bits
  python -m score_jax likelihood --model=my_package.module:make_model --model_args='{"step": 1000}' \\
      --process='{"name": "flow", "t_max": 0.999}' --output=velocity --images=images.npz --workdir=runs/bits

The function is model(x, t) of x (b, h, w, c) and times (b,), or with --num_classes model(x, t, labels), see
docs/python.md; with --model_args it is what the named function returns for these arguments. Further words are
--config.likelihood.KEY=VALUE, with the keys of `help likelihood ode`. If the command was stopped, the same command goes
on."""


def names_function(argv: list[str], flag: str) -> bool:
    """Returns whether the words of a verb have a flag that names a function."""
    return any(word == f"--{flag}" or word.startswith(f"--{flag}=") for word in argv)


def evaluate_function(argv: list[str]) -> int:
    """Runs `evaluate --sampler`."""
    parser = _parser("evaluate", _EVALUATE, "sampler")
    parser.add_argument("--reference", required=True, help="real images or statistics, as `fid` reads them")
    parser.add_argument("--held_out", help="real images that were not trained on: tests of copies, and FDr")
    parser.add_argument("--num_samples", type=int, default=50_000, help="(default: 50000)")
    parser.add_argument(
        "--protocol",
        help="evaluators to reproduce, commas between them (default: adm, without --features)",
    )
    parser.add_argument("--labels", choices=["random", "balanced"], help="of --num_classes (default: random)")
    parser.add_argument("--features", help="module:function that computes features, instead of Inception")
    parser.add_argument("--seed", type=int, default=0, help="of the key (default: 0)")
    parser.add_argument("--batch_size", type=int, default=64, help="samples at a time on each device (default: 64)")
    parser.add_argument("--save_samples", action="store_true", help="keep the samples, as .npz files of 10,000 each")
    parser.add_argument("--together", action="store_true", help="processes call the function with the whole batch")
    add_networks(parser)
    given = vars(parser.parse_args(argv[1:]))
    weights = weights_given(given)
    given = {name: value for name, value in given.items() if name.removesuffix("_weights") not in weights}
    draw = imported_maker(given.pop("sampler"), "sampler", given.pop("sampler_args"))
    features = given["features"] and imported_maker(given["features"], "features", None)
    check_features_alone(given["protocol"], given["features"])
    protocol = (None if features else "adm") if given["protocol"] is None else given["protocol"]
    names: list[Any] = [None] if protocol is None else protocol_names(protocol)
    several = len(names) > 1

    def each(text: str | None) -> str | list[str] | None:
        return text.split(",") if several and text is not None else text

    asked = given | {
        "features": features,
        "weights": weights,
        "protocol": names if several else names[0],
        "reference": each(given["reference"]),
        "held_out": each(given["held_out"]),
        "labels": None if given["labels"] == "random" else given["labels"],
        "value_range": _range(given["value_range"]),
    }
    found = _stoppable("Evaluation", lambda: evaluate(draw, **asked))
    if isinstance(found, int):
        return found
    for values in found.values() if several else [found]:
        stem = "evaluation" if protocol is None else f"evaluation_{values['protocol']}"
        print_once("\n".join([*metrics.lines(values), f"Written: {given['workdir'] / f'{stem}.json'}"]))
    return 0


def likelihood_function(argv: list[str]) -> int:
    """Runs `likelihood --model`."""
    parser = _parser("likelihood", _LIKELIHOOD, "model")
    parser.add_argument("--process", required=True, help=f"JSON, or a name: {', '.join(_processes())}")
    parser.add_argument("--images", required=True, help="a folder, an .npz or .npy file, or NAME:SPLIT of TFDS")
    parser.add_argument("--output", default="eps", help=f"what it gives: {', '.join(OUTPUTS)} (default: eps)")
    parser.add_argument("--time", help="what it is given as its time: a prediction.label (default: t itself)")
    values, words = parser.parse_known_args(argv[1:])
    given = vars(values)
    model = imported_maker(given.pop("model"), "model", given.pop("model_args"))
    process, images = _process(given.pop("process")), given.pop("images")
    value_range = _range(given.pop("value_range")) or (-1.0, 1.0)
    asked = given | {"value_range": value_range} | _options(words)
    found = _stoppable("Likelihood", lambda: bits_per_dim(model, process, images, **asked))
    if isinstance(found, int):
        return found
    shown = "" if found.standard_error is None else f" +- {found.standard_error:.4f}"
    print_once(f"{found.mean:.4f}{shown} bits/dim of {counted(found.summary['count'], 'image')}")
    print_once(f"Written: {given['workdir'] / 'likelihood.json'}")
    return 0


def _parser(verb: str, description: str, flag: str) -> VerbParser:
    """With the flags of both verbs."""
    parser = VerbParser(verb, description)
    parser.add_argument(f"--{flag}", required=True, help="module:function")
    parser.add_argument(f"--{flag}_args", help="JSON object of keyword arguments: the function makes the one meant")
    parser.add_argument("--workdir", required=True, type=Path, help="folder of the results")
    parser.add_argument("--value_range", help="of a black and of a white pixel, such as -1,1")
    parser.add_argument("--num_classes", type=int, default=0, help="classes that labels name (default: 0, none)")
    parser.add_argument("--data_dir", help="where TFDS keeps its data sets")
    return parser


def _stoppable(what: str, work: Callable[[], Any]) -> Any:
    """What `work` returns, or the exit code where it was asked to end."""
    with stop_on_signals() as stop:
        try:
            return work()
        except Interrupted as interrupted:
            print_once(f"{what} stopped on {stop.cause}: {interrupted}. The same command continues it.")
            return stop.exit_code


def _range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise InputError(f"--value_range={text}: expected two numbers, such as -1,1.") from None
    return low, high


def _processes() -> list[str]:
    return [name for name, made in PROCESSES.items() if isinstance(made, type) and issubclass(made, NoiseSchedule)] + [
        "vp_chain",
        "ve_chain",
    ]


def _process(text: str) -> NoiseSchedule:
    """A name, or the `process` section of a config as JSON."""
    section: Any = {"name": text}
    if text.startswith("{"):
        try:
            section = json.loads(text)
        except ValueError as error:
            raise InputError(f"--process={text}: {error}. Expected a name, or a JSON object.") from None
    return construct("process", {name: PROCESSES[name] for name in _processes()}, section, VALUES)


def _options(words: list[str]) -> dict[str, Any]:
    """Keys of the likelihood section, from `--config.likelihood.KEY=VALUE`."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        key = name.removeprefix("--config.likelihood.")
        if key == name or not equals:
            raise InputError(f"Unknown word {word}: expected --config.likelihood.KEY=VALUE.")
        try:
            found[key] = json.loads(value.lower() if value in ("True", "False") else value)
        except ValueError:
            found[key] = value
    return found
