"""The sections without methods: data, optimizer, average, training, and how much the verbs draw and measure."""

import dataclasses
from typing import ClassVar

from score_jax.builder.options import Options, count, option, seed
from score_jax.data.images import FILTERS

ON_NONFINITE = {"stop": False, "skip": True}
"""Whether a step whose loss or gradient is not finite is skipped."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data(Options):
    """The images."""

    SECTION: ClassVar[str] = "data"
    name: str = option(
        "cifar10",
        "a TFDS name, digits, mnist_5k, dead_leaves, swiss_roll, heartbeat, folder:PATH, or a path to .npz or .npy",
    )
    train_split: str = option("train", "that `train` reads")
    eval_split: str = option("test", "that `likelihood` and `evaluate` read")
    data_dir: str | None = option(None, "where TFDS keeps its data sets; None: ~/tensorflow_datasets")
    image_size: int = count(32, "side of the images, pixels")
    channels: int = count(3, "of the images")
    crop: int = count(0, "side of the central square that is kept, pixels; 0: the largest", least=0)
    resize_filter: str = option("none", "from the file's size to image_size", one_of=("none", *FILTERS))
    flip: bool = option(False, "random horizontal flips in training")
    dequantize: bool = option(False, "uniform dequantisation in training")
    low_resolution: int = count(0, "side of the images that a super-resolution model enlarges; 0: none", least=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer(Options):
    """Adam and its learning rate."""

    SECTION: ClassVar[str] = "optimizer"
    name: str = option("adam", "adamw: weight decay beside the gradient", one_of=("adam", "adamw"))
    learning_rate: float = option(2e-4, "after the warmup", least=0.0)
    b1: float = option(0.9, "decay of the gradient's mean", least=0.0, below=1.0)
    b2: float = option(0.999, "decay of its square's mean", least=0.0, below=1.0)
    eps: float = option(1e-8, "added to the root of that", above=0.0)
    weight_decay: float = option(0.0, "per step, times the learning rate", least=0.0)
    warmup_steps: int = count(5000, "steps from a learning rate of 0, linear", least=0)
    decay: str = option("constant", "after the warmup, to 0 at training.steps", one_of=("constant", "cosine", "linear"))
    clip_norm: float = option(1.0, "largest norm of the gradient; 0: no bound", least=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EMA(Options):
    """The moving average of the parameters, which the verbs sample and measure."""

    SECTION: ClassVar[str] = "ema"
    decay: float = option(0.9999, "per step; 0: the parameters themselves", least=0.0, most=1.0)
    warmup: bool = option(False, "forget the first steps faster: min(decay, (1 + n) / (10 + n)) at step n")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training(Options):
    """The course of training."""

    SECTION: ClassVar[str] = "training"
    batch_size: int = count(128, "images of a step, over all devices")
    steps: int = count(1_300_001, "optimizer steps in all")
    log_every: int = count(100, "steps between log lines")
    checkpoint_every: int = count(10_000, "steps between checkpoints")
    keep: int = count(3, "newest checkpoints that are kept")
    keep_every: int = count(0, "beside those, each whose step is a multiple; 0: none", least=0)
    checkpoints: str = option("", "folder of the checkpoints, gs://BUCKET/FOLDER too; '': checkpoints/ in the workdir")
    accumulate: int = count(1, "parts of the batch that are computed one after another, to fit into memory")
    steps_per_dispatch: int = count(1, "steps that the devices are handed at a time, between logs and checkpoints")
    fsdp: int = count(1, "devices that share one copy of parameters and optimizer state; 0: all", least=0)
    on_nonfinite: str = option("stop", "where loss or gradient is not finite", one_of=ON_NONFINITE)
    sample_every: int = count(50_000, "steps between grids of samples; 0: none", least=0)
    start_from: str = option("", "workdir of a run from whose averaged parameters this one starts")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling(Options):
    """How many images `sample` and `edit` draw."""

    SECTION: ClassVar[str] = "sampling"
    num_samples: int = count(64, "images in all")
    batch_size: int = count(64, "images at a time, over all devices")
    seed: int = seed(0, "of the whole set")
    label: int = count(-1, "class of class-conditional samples; -1: each of a class drawn at random", least=-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Edit(Options):
    """Edits by text (Blended Diffusion), on images in [-1, 1]; defaults are those of the published code."""

    SECTION: ClassVar[str] = "edit"
    skip: int = count(25, "steps left out at the noisy end: the edit begins with the image at that noise", least=0)
    views: int = count(8, "copies of an image that CLIP looks at, all but one of them warped at random")
    text_scale: float = option(1000.0, "factor of the distance between image and text", least=0.0)
    range_scale: float = option(50.0, "factor of how far the predicted x0 leaves [-1, 1]", least=0.0)
    perceptual_scale: float = option(0.0, "factor of LPIPS outside the mask; 0: off, 1000 as published", least=0.0)
    square_scale: float = option(0.0, "factor of the mean square there; 0: off, 10000 as published", least=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation(Options):
    """How much `evaluate` draws."""

    SECTION: ClassVar[str] = "evaluation"
    num_samples: int = count(1000, "generated images")
    batch_size: int = count(
        64, "images at a time on each device, so that numbers are the same on any number of devices"
    )
    seed: int = seed(0, "of the whole set")


SECTIONS: dict[str, type[Options]] = {
    options.SECTION: options for options in (Data, Optimizer, EMA, Training, Sampling, Edit, Evaluation)
}
