"""`python -m score_jax evaluate`."""

from pathlib import Path

from absl import flags

from score_jax.cli.extractors import imported, inception
from score_jax.cli.verb import define_step, load_drawing, parse_flags, with_aliases
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.protocols import PLAIN, PROTOCOLS, Protocol, protocol_of
from score_jax.jobs import evaluate
from score_jax.jobs.cascades import Cascade, open_images
from score_jax.runtime.multihost import print_once
from score_jax.runtime.parts import Interrupted
from score_jax.runtime.stop import stop_on_signals

_DESCRIPTION = f"""Draws samples and compares them with real images. Sample i depends only on the seed and on i.

  python -m score_jax evaluate --workdir=runs/cifar10 --num_samples=50000 --protocol=adm
  python -m score_jax evaluate --workdir=runs/cifar10 --num_samples=50000 --protocol=adm --save_samples
  python -m score_jax evaluate --workdir=runs/mnist --num_samples=1000
  python -m score_jax evaluate --workdir=runs/mnist --features=my_package.my_module:my_features
  python -m score_jax evaluate --workdir=runs/upsampler --base=runs/base/samples.npz --protocol=adm
  python -m score_jax evaluate --workdir=runs/cascade --config=configs/adm/imagenet256_cascade.py --protocol=adm

--protocol names the evaluator whose numbers are reproduced:
{", ".join(PROTOCOLS)}. It uses the Inception network, with the weights of
--inception_weights or $SCORE_JAX_INCEPTION, and compares with the whole train split. Without a protocol the samples are
compared with the eval split, by the features of a small classifier that is trained on the labels of the train split, or
by --features, any function from uint8 images (b, h, w, c) to vectors (b, d).

Writes evaluation.json, .html, .png and .npz (statistics of the samples) into the workdir; with a protocol
evaluation_PROTOCOL.*. If the command was stopped, by SIGTERM, Ctrl-C or a crash, the same command continues there."""


def _define(values: flags.FlagValues) -> None:
    define_step(values)
    flags.DEFINE_string(
        "protocol", None, f"Evaluator whose numbers are reproduced: {', '.join(PROTOCOLS)}.", flag_values=values
    )
    flags.DEFINE_string(
        "features", None, "module:function that computes features, instead of a network.", flag_values=values
    )
    flags.DEFINE_string(
        "inception_weights", None, "File of the published weights of the FID Inception.", flag_values=values
    )
    flags.DEFINE_bool(
        "allow_other_weights", False, "Accept weights that are not the published ones.", flag_values=values
    )
    flags.DEFINE_string(
        "reference",
        None,
        "Real images: train, eval, or what `fid` reads (a folder, .npz or NAME:SPLIT).",
        flag_values=values,
    )
    flags.DEFINE_string(
        "base", None, "Images to enlarge: an .npz file with images arr_0 and classes arr_1.", flag_values=values
    )
    flags.DEFINE_bool("save_samples", False, "Keep the samples, as .npz files of 10,000 each.", flag_values=values)


def _measured_by(values: flags.FlagValues, models: Cascade, workdir: Path) -> tuple[Protocol, FeatureExtractor]:
    """Returns the protocol and its features; without `--protocol` and `--features`, those of a small classifier."""
    if values.protocol:
        protocol = protocol_of(values.protocol)
        return protocol, inception(protocol, values.inception_weights, allow_other=values.allow_other_weights)
    if values.features:
        return PLAIN, imported(values.features)
    images, labels = evaluate.load_images(open_images(models, "train_split"))
    return PLAIN, evaluate.trained_classifier(images, labels, workdir / "digit_classifier.npz").features()


def main(argv: list[str]) -> int:
    """Runs the verb."""
    values = parse_flags(with_aliases(argv), _DESCRIPTION, _define)
    if values is None:
        return 0
    models, count = load_drawing(values, values.config.evaluation.num_samples)
    for role in ("sampler", "images"):
        models.stages[-1].experiment.part(role)
    models.config.evaluation.num_samples = count
    workdir = Path(values.workdir)
    protocol, extractor = _measured_by(values, models, workdir)
    with stop_on_signals() as stop:
        try:
            result = evaluate.evaluate(
                models,
                protocol,
                extractor,
                workdir=workdir,
                reference=values.reference,
                save_samples=values.save_samples,
                stop=stop,
            )
        except Interrupted as interrupted:
            print_once(f"Evaluation stopped on {stop.cause}: {interrupted}. The same command continues it.")
            return stop.exit_code
    if result is not None:
        print("\n".join(result.lines))
        print(f"Written: {result.path}")
    return 0
