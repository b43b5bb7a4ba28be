"""`python -m score_jax evaluate`."""

import importlib

from absl import flags

from score_jax.cli.verb import define_step, load_trained, parse_flags
from score_jax.errors import InputError
from score_jax.evaluation.features import FeatureExtractor
from score_jax.evaluation.image_grid import grid, save_png
from score_jax.jobs import evaluate
from score_jax.jobs.results import provenance, write_arrays, write_json
from score_jax.jobs.sample import draw
from score_jax.jobs.train import open_split

_DESCRIPTION = """Compares fresh samples with the eval split by fid_digits and kid_digits, beside real images and noise.

  python -m score_jax evaluate --workdir=runs/mnist --config.evaluation.num_samples=1000
  python -m score_jax evaluate --workdir=runs/mnist --features=my_package.my_module:my_features

The features are those of a small classifier trained on the labels of the train split, or of any function from uint8
images (b, h, w, c) to vectors (b, d) named with --features. Writes evaluation.json, .png and .npz into the workdir."""


def _define(values: flags.FlagValues) -> None:
    define_step(values)
    flags.DEFINE_string("features", None, "module:function to use instead of the classifier.", flag_values=values)


def _imported_features(path: str) -> FeatureExtractor:
    module, _, name = path.partition(":")
    try:
        return FeatureExtractor(name, getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"--features={path}: {error}. Expected module:function, importable from here.") from None


def main(argv: list[str]) -> int:
    """Runs the verb."""
    values = parse_flags(argv, _DESCRIPTION, _define)
    if values is None:
        return 0
    model = load_trained(values)
    c = model.config.evaluation
    training, held_out = (open_split(model.config, split) for split in ("train_split", "eval_split"))
    (real, labels), (unseen, _) = evaluate.load_images(training), evaluate.load_images(held_out)
    if values.features:
        extractor = _imported_features(values.features)
    else:
        extractor = evaluate.trained_classifier(real, labels, model.workdir / "digit_classifier.npz").features()
    drawn = draw(model.experiment, model.params, model.mesh, range(c.num_samples), batch_size=c.batch_size, seed=c.seed)
    distances = evaluate.compare(drawn.images, real, unseen, extractor, c.seed)
    result = evaluate.summary(distances, extractor, model.config)
    result |= {"nfe_mean": float(drawn.nfe.mean())}
    result |= provenance(step=model.step, seed=c.seed, reference=held_out.fingerprint, parameters="ema")
    path = model.workdir / "evaluation"
    save_png(path.with_suffix(".png"), grid(drawn.images[:100], columns=10))
    write_arrays(path.with_suffix(".npz"), {"arr_0": drawn.images})
    write_json(path.with_suffix(".json"), result)
    for name, d in distances.items():
        print(f"fid_{extractor.name} of {name:<8}{d.frechet:9.3f} +- {d.frechet_error:.3f}   ({d.count} images)")
    print(f"Written: {path}.json")
    return 0
