"""What the page shows of each result, as HTML that a downloaded page holds too."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from score_jax.evaluation.image_grid import grid, page_grid
from score_jax.evaluation.page import picture, section, strips, table
from score_jax.jobs.edit import Task
from score_jax.jobs.likelihood import Likelihood
from score_jax.jobs.likelihood_summary import headline
from score_jax.jobs.sample import Drawn
from score_jax.runtime.parts import Columns

_LEAST, _ROWS = 64, 4
"""Pixels of a small image's side, and trajectories shown."""
_ALONE = 128
"""Pixels of the side of an image that stands alone."""


def of_samples(drawn: Drawn, sampler: str, note: str) -> str:
    """Returns the grid of samples, and the ways of the first of them from noise to image."""
    evaluations = f"{sampler}, {drawn.nfe.mean():.0f} evaluations of the network each. {note}"
    shown = section("Samples", picture(page_grid(drawn.images), "grid of samples"), evaluations)
    return shown + _ways(drawn)


def of_comparison(drawn: Sequence[tuple[str, Drawn]], note: str) -> str:
    """Returns a column for each sampler, a row for each image."""
    images = [each.images for _, each in drawn]
    rows = np.stack(images, axis=1).reshape(-1, *images[0].shape[1:])
    scale = _scale(rows.shape[1], _ALONE if rows.shape[1] < _ALONE else _LEAST)
    heads = "".join(f"<span>{name}<br>{each.nfe.mean():.0f} evaluations</span>" for name, each in drawn)
    columns = picture(grid(rows, len(drawn), scale=scale), "a column of samples for each sampler")
    return section(
        "Samplers side by side",
        f'<div class="strips"><div class="times heads">{heads}</div>{columns}</div>',
        f"Each row begins with the same noise. {note}",
    )


def of_likelihood(found: Likelihood, image: UInt8[np.ndarray, "h w c"]) -> str:
    """Returns the number with its error, and what it is of."""
    summary, (mean, error) = found.summary, headline(found.summary)
    name = next(key for key in summary if f"{key}_standard_error" in summary)
    interval = summary[f"{name}_interval_95"]
    shown = f"{mean:.3f}" if error is None else f"{mean:.3f} ± {error:.3f}"
    between = "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
    of = {"latents": "bits/dim of latents", "images": "bits/dim of images"}.get(summary.get("of", ""), "bits/dim")
    method = {"ode": "exact, by the probability-flow ODE", "vlb": "the variational bound", "bound": "the bound K"}
    x0 = "the encoder's latents" if summary.get("of") == "latents" else "the noise of dequantisation"
    drawn = {"ode": f"of {x0}, and of the probes of the divergence", "vlb": "of the noise", "bound": "of the noise"}
    rows = [
        [of, shown, "mean over draws of noise, ± its standard error"],
        ["95 % interval", between, "by Student's t"],
        ["draws", str(summary["count"]), drawn[summary["method"]]],
        ["evaluations", f"{summary['nfe_mean']:.0f}", "of the network for each draw"],
        ["method", summary["method"], method[summary["method"]]],
    ]
    seen = picture(_alone(image), "the image as the model sees it")
    numbers = table(["", "value", "what it is"], rows, 1)
    return section("Likelihood", f'<div class="beside">{seen}<div class="wide">{numbers}</div></div>')


def of_encoding(columns: Columns) -> str:
    """Returns the image, its latent and what the latent is decoded to."""
    image, latent, back = columns["images"][0], columns["latents"][0], columns["reconstructions"][0]
    parts = [
        ("image", image),
        (f"latent, standard deviation {latent.std():.2f}", _levels(latent / latent.std())),
        ("decoded", back),
    ]
    figures = "".join(f"<div>{picture(_alone(pixels), name)}<br>{name}</div>" for name, pixels in parts)
    error, evaluations = columns["rms_error"][0], columns["nfe"][0]
    return section(
        "Latent by the ODE, and back",
        f'<div class="beside">{figures}</div>',
        f"The decoded image differs by {error:.3f} grey levels of 255 (rms); {evaluations:.0f} evaluations there and "
        "back. The latent is shown from -3 to 3 of its standard deviations.",
    )


def of_edit(task: Task, images: Shaped[np.ndarray, "n h w c"], what: str) -> str:
    """Returns what was known of the image, then the results."""
    together = np.concatenate([task.shown[None], images])
    shown = picture(page_grid(together), "the known part, then the results")
    return section("Edit", shown, f"First what is known, then {what}")


def for_painting(image: UInt8[np.ndarray, "h w c"], side: int) -> UInt8[np.ndarray, "H W 3"]:
    """Returns an image large enough to paint on, about `side` pixels, each pixel a square."""
    return grid(image[None], 1, scale=max(1, side // len(image)))


def _scale(size: int, least: int = _LEAST) -> int:
    return math.ceil(least / size)


def _alone(image: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "H W 3"]:
    return grid(image[None], 1, scale=_scale(min(image.shape[:2]), _ALONE))


def _ways(drawn: Drawn) -> str:
    if not drawn.trajectory.shape[1]:
        return ""
    scale = _scale(min(drawn.images.shape[1:3]))
    rows = strips(drawn.trajectory[:_ROWS], drawn.times, scale=scale)
    return section("From noise to image", rows, "Each row is one sample; below each column the sampler's time.")


def _levels(latent: Float[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h W _"]:
    """From -3 to 3 as black to white; channels that are no colours side by side."""
    channels = latent.shape[-1]
    levels = np.rint(np.clip(latent / 6 + 0.5, 0, 1) * 255).astype(np.uint8)
    return levels if channels in (1, 3) else np.concatenate(np.split(levels, channels, axis=-1), axis=1)
