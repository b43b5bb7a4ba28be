"""The `codec` section: between images and what the model calls x0."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from score_jax.builder.options import Options, count, option
from score_jax.errors import InputError


def _check_order(value_range: tuple[float, float]) -> None:
    if not value_range[0] < value_range[1]:
        raise InputError(f"codec.value_range={value_range}: give the lower end first, e.g. (-1.0, 1.0).")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelRange(Options):
    """Pixels, scaled to a range of numbers. Every channel of every pixel is a dimension of x0."""

    SECTION: ClassVar[str] = "codec"
    value_range: tuple[float, float] = option((-1.0, 1.0), "range of the model's images: black, white")

    def __post_init__(self):
        super().__post_init__()
        _check_order(self.value_range)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumberRange(Options):
    """Numbers that are no pixels, such as the points of swiss_roll. They are not changed."""

    SECTION: ClassVar[str] = "codec"
    value_range: tuple[float, float] = option(
        (-3.0, 3.0), "a range that contains the data; values outside of it are not clipped"
    )

    def __post_init__(self):
        super().__post_init__()
        _check_order(self.value_range)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlackAndWhite(Options):
    """Bits: pixels become black or white, for the binomial chain."""

    SECTION: ClassVar[str] = "codec"
    threshold: int = option(128, "the lowest of the grey levels 0 to 255 that becomes white", least=1, most=255)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentOptions(Options):
    """The latents of an autoencoder, which the section `first_stage` describes, as the section `network` of its run.

    Its parameters are those of training.first_stage, which `train` copies into the workdir (Rombach et al. 2022).
    """

    SECTION: ClassVar[str] = "codec"
    scale: float = option(
        0.0,
        "factor of the latents; 0: `train` measures one over their standard deviation, on the first batch, and keeps "
        "it in config.json",
        least=0.0,
    )
    slices: int = count(1, "parts of a batch that are decoded one after another, to save memory")
    tile: int = count(
        0, "height and width of the parts in which larger latents are decoded, to save memory; 0: as a whole", least=0
    )
    overlap: int = count(8, "latents that neighbouring tiles share, over which they are blended", least=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingOptions(Options):
    """Embeddings of images by a CLIP, which the section `clip` describes, as the section `network` of its run.

    Its parameters are those of training.clip, which `train` copies into the workdir. Each number of an embedding is
    brought to mean 0 and standard deviation 1, which `train` measures and keeps there too (unCLIP, section 2.2).
    """

    SECTION: ClassVar[str] = "codec"


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingCodeOptions(Options):
    """Codes of such embeddings: the buckets of their principal components, for process.name=autoregressive.

    `train` measures components and buckets and keeps them in the workdir (unCLIP, section 2.2.1).
    """

    SECTION: ClassVar[str] = "codec"
    components: int = count(319, "principal components that are kept, the largest first")
    buckets: int = count(1024, "values of a component, which as many images have each", least=2)
    alignments: int = count(16, "buckets of the cosine between an image and its text, which the model is told", least=2)


CODECS: Mapping[str, type[Options]] = {
    "pixels": PixelRange,
    "numbers": NumberRange,
    "bits": BlackAndWhite,
    "latents": LatentOptions,
    "embeddings": EmbeddingOptions,
    "embedding_codes": EmbeddingCodeOptions,
}
