"""The sections of a config, each in a line. It imports nothing heavy, because `score_jax --help` prints these lines."""

import textwrap
from collections.abc import Mapping

WIDTH = 100
ABOUT = {
    "process": "The noising process.",
    "network": "The network.",
    "prediction": "The network's output and its time label, or its preconditioning.",
    "first_stage": "The autoencoder whose latents are modelled, where codec.name=latents.",
    "condition_encoder": "What makes a condition of the network, such as the context of a text, if anything does.",
    "clip": "The CLIP whose embeddings a prior draws, or a decoder draws images of, where there is one.",
    "cascade": "Trained runs that draw one after another. It replaces the sections of one run.",
    "data": "The data set: images, or other arrays such as points.",
    "optimizer": "Adam and its learning rate.",
    "ema": "The moving average (EMA) of the parameters. The verbs sample and measure the averaged parameters.",
    "training": "How long training runs, what it logs and saves, and how it uses the devices.",
    "sampling": "Which images `sample` and `edit` draw: their number, seed and class.",
    "edit": "Edits by text (Blended Diffusion) of images in [-1, 1]. The defaults are those of the published code.",
    "evaluation": "Which images `evaluate` draws: their number and seed.",
    "sampler": "How samples are drawn.",
    "loss": "What training minimises.",
    "guidance": "How samples are guided towards a condition, such as a class.",
    "codec": "How images become the model's x0, and x0 becomes images.",
    "likelihood": "How the likelihood of data is measured.",
}
"""What each section is about; of those without methods, the first line of its options."""


def sections() -> str:
    """Returns the sections of a config, one a line."""
    return "\n".join(names(ABOUT))


def names(about: Mapping[str, str]) -> list[str]:
    """Returns a line for each name, with what it is about in a column."""
    width = max(map(len, about)) + 4
    return [
        textwrap.fill(f"  {name:<{width - 2}}{text}", WIDTH, subsequent_indent=" " * width)
        for name, text in about.items()
    ]
