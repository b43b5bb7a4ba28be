"""`python -m score_jax evaluate`."""

from pathlib import Path

from absl import flags

from score_jax.builder.sections import is_cascade
from score_jax.cli.feature_networks import NETWORK_FLAGS, check_features_alone, define_networks, extractors_given
from score_jax.cli.functions import evaluate_function, names_function
from score_jax.cli.verb import (
    Trained,
    define_step,
    drawing_of,
    load_drawing,
    load_trained,
    parse_flags,
    with_aliases,
)
from score_jax.errors import InputError
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.protocols import PLAIN, PROTOCOLS, SETS, Protocol, protocol_names, protocol_of
from score_jax.jobs import evaluate
from score_jax.jobs.cascades import Cascade, open_images
from score_jax.jobs.extractors import imported_features
from score_jax.jobs.retrieval import PLAIN_TEMPLATE, evaluate_clip
from score_jax.runtime.multihost import print_once
from score_jax.runtime.parts import Interrupted
from score_jax.runtime.stop import stop_on_signals

_DESCRIPTION = f"""Draws samples and compares them with real images. Sample i depends only on the seed and on i.

  python -m score_jax evaluate --workdir=runs/cifar10 --num_samples=50000 --protocol=adm
  python -m score_jax evaluate --workdir=runs/cifar10 --num_samples=50000 --protocol=adm --save_samples
  python -m score_jax evaluate --workdir=runs/imagenet64 --num_samples=50000 --protocol=adm,jax_fid --labels=balanced
  python -m score_jax evaluate --workdir=runs/mnist --num_samples=1000
  python -m score_jax evaluate --workdir=runs/mnist --features=my_package.my_module:my_features
  python -m score_jax evaluate --workdir=runs/upsampler --base=runs/base/samples.npz --protocol=adm
  python -m score_jax evaluate --workdir=runs/cascade --config=configs/adm/imagenet256_cascade.py --protocol=adm
  python -m score_jax evaluate --workdir=runs/small_clip --config.data.eval_split=held_out
  python -m score_jax evaluate --sampler=my_package.my_module:draw --help          of any function

--protocol names the evaluator whose numbers are reproduced, or several with commas between them, which then measure the
same samples, drawn once:
{", ".join(PROTOCOLS)}.
edm2_dinov2 and dgm_eval use DINOv2, with the weights of --dinov2_weights or $SCORE_JAX_DINOV2, and likewise have others
their own networks; those with FID use Inception, with --inception_weights or $SCORE_JAX_INCEPTION.
{", ".join(SETS)} stands for its six members, and gives the mean ratio of their distances to those of --held_out.

The whole train split is what samples are compared with. Without a protocol they are compared with the eval split, by
the features of a small classifier that is trained on the labels of the train split, or by --features, any function from
uint8 images (b, h, w, c) to vectors (b, d). With several protocols --reference and --held_out are one for all, or one
for each, with commas between them.

--held_out names images that were not trained on, eval or as --reference: authenticity and C_T then say whether samples
are copies of training data, which --reference=train names; of fd_loss they are the scale of the distances.

--labels says which class each sample is of: random (the default), balanced (each class in turn), or a number.

Writes evaluation.json, .html, .png and .npz (statistics of the samples) into the workdir; with a protocol
evaluation_PROTOCOL.*. If the command was stopped, by SIGTERM, Ctrl-C or a crash, the same command continues there.

Of a CLIP it writes retrieval.json: how often the caption of an image of the eval split is the first, or among the first
five, of all captions that differ (image to text) and an image of a caption that of all images (text to image), the mean
cosine of pairs, and how often the name of the class, within --prompt_template, fits an image best (zero-shot)."""
_OF_SAMPLES = (
    "protocol",
    "features",
    *NETWORK_FLAGS,
    "reference",
    "held_out",
    "base",
    "save_samples",
)
"""Flags that are about samples and what they are compared with."""


def _define(values: flags.FlagValues) -> None:
    define_step(values)
    flags.DEFINE_string(
        "protocol",
        None,
        f"Evaluators whose numbers are reproduced: {', '.join((*PROTOCOLS, *SETS))}.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "features", None, "module:function that computes features, instead of a network.", flag_values=values
    )
    define_networks(values)
    flags.DEFINE_string(
        "reference",
        None,
        "Real images: train, eval, or what `fid` reads (a folder, .npz or NAME:SPLIT).",
        flag_values=values,
    )
    flags.DEFINE_string(
        "held_out", None, "Images that were not trained on, named likewise: tests for copies.", flag_values=values
    )
    flags.DEFINE_string(
        "base", None, "Images to enlarge: an .npz file with images arr_0 and classes arr_1.", flag_values=values
    )
    flags.DEFINE_bool("save_samples", False, "Keep the samples, as .npz files of 10,000 each.", flag_values=values)
    flags.DEFINE_string(
        "prompt_template", None, "Of a CLIP: the text of a class, {} standing for its name.", flag_values=values
    )


def _measured_by(values: flags.FlagValues, models: Cascade, workdir: Path) -> list[tuple[Protocol, FeatureExtractor]]:
    """Returns protocols and their features; without `--protocol` and `--features`, those of a small classifier.

    Raises:
      InputError: there is no such protocol or function, or no weights.
    """
    if values.protocol is not None:
        protocols = [protocol_of(name) for name in protocol_names(values.protocol)]
        return list(zip(protocols, extractors_given(protocols, values.flag_values_dict()), strict=True))
    if values.features:
        return [(PLAIN, imported_features(values.features))]
    images, labels = evaluate.load_images(open_images(models, "train_split"))
    classifier = evaluate.trained_classifier(images, labels, workdir / "digit_classifier.npz")
    return [(PLAIN, classifier.features(models.config.data.name))]


def main(argv: list[str]) -> int:
    """Runs the verb."""
    if names_function(argv, "sampler"):
        return evaluate_function(argv)
    values = parse_flags(with_aliases(argv), _DESCRIPTION, _define)
    if values is None:
        return 0
    if values.protocol is not None:
        protocol_names(values.protocol)
    check_features_alone(values.protocol, values.features)
    model = None if is_cascade(values.config) else load_trained(values)
    if model is not None and "clip" in model.experiment.parts:
        return _retrieval(model, values)
    if values.prompt_template is not None:
        raise InputError("--prompt_template is only for runs of a CLIP: leave it out.")
    asked = values.config.evaluation.num_samples
    models, count = load_drawing(values, asked) if model is None else drawing_of(model, values, asked)
    for role in ("sampler", "images"):
        models.stages[-1].experiment.part(role)
    models.config.evaluation.num_samples = count
    workdir = Path(values.workdir)
    measured_by = _measured_by(values, models, workdir)

    def each(text: str | None) -> list[str] | None:  # a path may hold a comma where there is one protocol
        return text if text is None else [text] if len(measured_by) == 1 else text.split(",")

    with stop_on_signals() as stop:
        try:
            results = evaluate.evaluate(
                models,
                measured_by,
                workdir=workdir,
                references=each(values.reference) or [None],
                held_out=each(values.held_out),
                save_samples=values.save_samples,
                stop=stop,
            )
        except Interrupted as interrupted:
            print_once(f"Evaluation stopped on {stop.cause}: {interrupted}. The same command continues it.")
            return stop.exit_code
    for result in results or []:
        print("\n".join(result.lines))
        print(f"Written: {result.path}")
    return 0


def _retrieval(model: Trained, values: flags.FlagValues) -> int:
    """Measures a CLIP."""
    for name in _OF_SAMPLES:
        if values[name].value:
            raise InputError(f"--{name} is about samples, and this run is a CLIP, which draws none: leave it out.")
    template = PLAIN_TEMPLATE if values.prompt_template is None else values.prompt_template
    with stop_on_signals() as stop:
        try:
            found = evaluate_clip(
                model.experiment,
                model.params,
                model.mesh,
                workdir=model.workdir,
                step=model.step,
                template=template,
                stop=stop,
            )
        except Interrupted as interrupted:
            print_once(f"Evaluation stopped on {stop.cause}: {interrupted}. The same command continues it.")
            return stop.exit_code
    lines = [f"{name:<28}{value:.5g}" for name, value in found.items() if not isinstance(value, str)]
    print_once("\n".join([*lines, f"Written: {model.workdir / 'retrieval.json'}"]))
    return 0
