"""`python -m score_jax fid A B`."""

from pathlib import Path

from score_jax.builder.options import Values
from score_jax.cli.arguments import VerbParser
from score_jax.cli.feature_networks import add_networks, check_features_alone, extractors_given
from score_jax.errors import InputError
from score_jax.evaluation import metrics
from score_jax.evaluation.protocols import PLAIN, PROTOCOLS, protocol_of
from score_jax.jobs.compare import Side, compare, open_side
from score_jax.jobs.extractors import imported_features
from score_jax.runtime.results import write_json

_DESCRIPTION = """Compares generated images A with real images B under the protocol of one evaluator.

  python -m score_jax fid samples/ cifar10:train --protocol=torch_fidelity
  python -m score_jax fid samples.npz VIRTUAL_imagenet256_labeled.npz --protocol=adm
  python -m score_jax fid photos/ --save=photos.npz --protocol=clean_fid
  python -m score_jax fid samples/ photos/ --protocol=edm2_dinov2 --dinov2_weights=dinov2_vitl14_pretrain.pth
  python -m score_jax fid samples/ cifar10:train --held_out=cifar10:test --protocol=dgm_eval

A and B are each a folder of images, an .npz or .npy file of uint8 images (arr_0), an .npz file of statistics (mu and
sigma: ours, pytorch-fid's, EDM's, guided-diffusion's; ref_mu and ref_sigma: MeanFlow's), EDM2's .pkl of statistics,
or NAME:SPLIT of a TFDS data set. --save writes the statistics of A; then B may be left out. --held_out names real
images beside B, as A and B are named: then B are those that were trained on, and authenticity and C_T say whether A
copies."""


def _statistics_path(path: Path) -> Path:
    """Where statistics are kept: an .npz, which a name without a suffix becomes."""
    if path.suffix not in ("", ".npz"):
        raise InputError(f"--save={path}: statistics are written as an .npz file: give a name that ends in .npz.")
    return path.with_suffix(".npz")


def main(argv: list[str]) -> int:
    """Runs the verb."""
    parser = VerbParser("fid", _DESCRIPTION)
    parser.add_argument("generated", metavar="A", help="generated images")
    parser.add_argument("real", metavar="B", nargs="?", help="real images")
    parser.add_argument(
        "--protocol",
        help=f"evaluator whose numbers are reproduced: {', '.join(PROTOCOLS)} (default: adm)",
    )
    add_networks(parser)
    parser.add_argument("--features", help="module:function that computes features, instead of a network")
    parser.add_argument(
        "--batch_size", type=int, default=32, help="images that each device measures at the same time (default: 32)"
    )
    parser.add_argument(
        "--held_out", help="real images that were not trained on, where B are those that were: tests of memorisation"
    )
    parser.add_argument("--data_dir", help="where TFDS keeps its data sets")
    parser.add_argument("--save", type=Path, help="an .npz file for the statistics of A")
    parser.add_argument("--json", type=Path, help="a JSON file for the result")
    options = parser.parse_args(argv[1:])
    Values(least=1).check("fid.batch_size", options.batch_size)
    if options.real is None and options.save is None:
        parser.error("B is missing: give real images, or --save=FILE.npz to write only the statistics of A")
    if options.real is None and options.held_out is not None:
        parser.error("--held_out is compared with the images that were trained on: give them as B")
    save = None if options.save is None else _statistics_path(options.save)
    check_features_alone(options.protocol, options.features)
    if options.features:
        protocol, extractor = PLAIN, imported_features(options.features)
    else:
        protocol = protocol_of("adm" if options.protocol is None else options.protocol)
        (extractor,) = extractors_given([protocol], vars(options))

    def side(text: str) -> Side:
        return open_side(text, protocol, extractor, data_dir=options.data_dir)

    found = compare(
        side(options.generated),
        None if options.real is None else side(options.real),
        protocol,
        extractor,
        batch_size=options.batch_size,
        save=save,
        held_out=None if options.held_out is None else side(options.held_out),
    )
    if found is None:
        return 0
    values, facts = found
    for line in metrics.lines(values):
        print(line)
    if options.json is not None:
        write_json(options.json, values | facts)
    return 0
