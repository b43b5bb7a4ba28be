"""Latent diffusion, trained end to end by the product's own commands: digits by class, and shapes by captions.

    python benchmarks/latent.py [--budget N] [--only digits,shapes] [--out runs/latent] [--docs] [--json] [--quick]

Runs `train`, `reconstruct`, `encode`, `evaluate`, `sample`, `edit` and `likelihood` with the configs
`configs/ldm/mnist_*.py` and `shapes_*.py`. A run cut short goes on where it was: what is done is kept below --out. With
--docs, tables and pictures go to docs/results.md and docs/images/.
"""

import argparse
import sys
import time
from pathlib import Path

import latent_pages
from latent_runs import Budget, Digits, Product, Shapes, digits, shapes

from report import Claim, emit

PARTS = ("digits", "shapes")


def claims_of_digits(found: Digits) -> list[Claim]:
    """What must hold of the models of digits."""
    latent, pixels, noise = found.latent, found.pixels, found.fid_noise
    claims = [Claim("psnr_digits", found.psnr, "dB", 20.0, ">=", "reconstructions of held-out digits")]
    for name, model in (("latent", latent), ("pixels", pixels)):
        for scale, fid in model.fids.items():
            how = f"+- {fid.error:.1f}; training images {found.fid_real:.1f}, noise {noise:.0f}"
            claims.append(Claim(f"fid_digits_{name}_scale_{scale:g}", fid.mean, "", 0.25 * noise, "<=", how))
    how = f"+- {latent.bits.error:.3f}, a bound on images by the latent model"
    claims.append(Claim("bits_per_dim_latent", latent.bits.mean, "bits", 8.0, "<=", how))
    how = f"+- {pixels.bits.error:.3f}, exact, by the model of pixels"
    claims.append(Claim("bits_per_dim_pixels", pixels.bits.mean, "bits", 8.0, "<=", how))
    how = f"{pixels.milliseconds:.1f} ms a sample in pixels, {latent.milliseconds:.1f} ms in latents, decoded"
    claims.append(Claim("faster_than_pixels", pixels.milliseconds / latent.milliseconds, "", 1.0, ">=", how))
    how = "levels of 255 between enlarged images, made small again, and the small ones"
    claims.append(Claim("enlarged_small_error", found.small_error, "", 12.0, "<=", how))
    how = f"dB against the true images; bicubic {found.bicubic_psnr:.1f}"
    claims.append(Claim("enlarged_over_bicubic", found.enlarged_psnr - found.bicubic_psnr, "dB", 0.0, ">=", how))
    return claims


def claims_of_shapes(found: Shapes) -> list[Claim]:
    """What must hold of the model of texts."""
    best = found.held_out[found.best]
    sweep = ", ".join(f"{scale:g}: {share['all']:.3f}" for scale, share in found.held_out.items())
    parts = ", ".join(f"{name} {share:.3f}" for name, share in best.items() if name != "all")
    how = f"at scale {found.best:g}: {parts}"
    return [
        Claim("psnr_shapes", found.psnr, "dB", 25.0, ">=", "reconstructions of held-out combinations"),
        Claim("reconstructed_read_right", found.reconstructed, "", 0.97, ">=", "what the autoencoder alone keeps"),
        Claim("held_out_captions_right", best["all"], "", 0.9, ">=", f"{how}; by scale {sweep}"),
        Claim("seen_captions_right", found.seen["all"], "", 0.9, ">=", "captions of training, other images"),
        Claim("shuffled_captions_right", found.shuffled, "", 0.05, "<=", "read against another sample's caption"),
        Claim("inpainted_right", found.inpainted, "", 0.8, ">=", "another shape by text, in a mask"),
        Claim("redrawn_right", found.redrawn, "", 0.5, ">=", "another shape by text, noised and denoised"),
    ]


def main() -> int:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=int, default=1, help="times the training of the configs")
    parser.add_argument("--only", default=",".join(PARTS), help="digits, shapes, or both, separated by a comma")
    parser.add_argument("--out", type=Path, default=Path("runs/latent"), help="where everything is kept")
    parser.add_argument("--docs", action="store_true", help="write docs/results.md and its pictures")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else")
    parser.add_argument("--quick", action="store_true", help="four steps each: that everything runs, no more")
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(PARTS):
        parser.error(f"no parts {sorted(unknown)}: expected some of {', '.join(PARTS)}")
    began = time.monotonic()
    folder = arguments.out / ("quick" if arguments.quick else f"budget_{arguments.budget}")
    product = Product(folder, Budget.of(arguments.budget, quick=arguments.quick))
    of_digits = digits(product) if "digits" in names else None
    of_shapes = shapes(product) if "shapes" in names else None
    command, claims = f"python {' '.join(sys.argv)}", []
    if of_digits is not None:
        claims += claims_of_digits(of_digits)
    if of_shapes is not None:
        claims += claims_of_shapes(of_shapes)
    if arguments.docs and of_digits is not None:
        latent_pages.write_digits(of_digits, command)
    if arguments.docs and of_shapes is not None:
        latent_pages.write_shapes(of_shapes, command)
    return emit("latent", claims, began, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
