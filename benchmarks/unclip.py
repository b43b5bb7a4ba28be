"""unCLIP, trained end to end by the product's own commands: CLIP, prior, decoder and upsampler of captioned shapes.

    python benchmarks/unclip.py [--budget N] [--out runs/unclip] [--docs] [--json] [--quick]

Runs `train`, `evaluate` and `sample` with the configs `configs/unclip/small_*.py`. A run cut short goes on where it
was: what is done is kept below --out. With --docs, tables and pictures go to docs/results.md and docs/images/.
"""

import sys

import unclip_pages
from unclip_runs import Stack, command, stack

from report import Claim


def claims_of(found: Stack) -> list[Claim]:
    """What must hold of the stack."""
    best = found.by_scale[found.best]
    parts = ", ".join(f"{name} {share:.3f}" for name, share in best.items() if name != "all")
    sweep = ", ".join(f"{scale:g}: {shares['all']:.3f}" for scale, shares in found.by_scale.items())
    spread = ", ".join(f"{scale:g}: {ratio:.2f}" for scale, ratio in found.spread.items())
    by_prior = ", ".join(f"{scale:g}: {shares['all']:.3f}" for scale, shares in found.by_prior_scale.items())
    where = f"at the decoder's scale {found.best:g}"
    retrieval = found.retrieval
    return [
        Claim("retrieval_image_to_text", retrieval["image_to_text_recall_at_1"], "", 0.95, ">=", "held-out captions"),
        Claim("zero_shot_accuracy", retrieval["zero_shot_accuracy"], "", 0.9, ">=", "among all 576 captions"),
        Claim("captions_with_prior", best["all"], "", 0.85, ">=", f"held out, {where}: {parts}; by scale {sweep}"),
        Claim("captions_with_autoregressive_prior", found.by_autoregressive["all"], "", 0.85, ">=", where),
        Claim("spread_autoregressive", found.autoregressive_spread, "", 0.3, ">=", "of real"),
        Claim("bits_per_code", found.bits_per_code, "bits", 5.0, "<=", "held out; codes of 32 buckets"),
        Claim("drawn_again", found.edits.drawn_again, "", 0.9, ">=", "images from their own noise, read right"),
        Claim("text_diff", max(found.edits.diff.values()), "", 0.5, ">=", f"other colour by theta {found.edits.diff}"),
        Claim("captions_seen", found.seen["all"], "", 0.85, ">=", f"of training, {where}"),
        Claim("captions_real_embedding", found.of_real["all"], "", 0.85, ">=", "the decoder given real embeddings"),
        Claim("captions_shuffled", found.shuffled, "", 0.05, "<=", "read against another sample's caption"),
        Claim("upsampled_read_right", found.upsampled["all"], "", 0.9, ">=", "real images, made small and enlarged"),
        Claim("spread_least", found.spread[1.0], "", 0.3, ">=", f"of real; by the prior's scale {spread}"),
        Claim("spread_most", found.spread[1.0], "", 3.0, "<=", f"captions right by that scale {by_prior}"),
    ]


if __name__ == "__main__":
    sys.exit(command("unclip", __doc__.splitlines()[0], stack, claims_of, unclip_pages.write))
