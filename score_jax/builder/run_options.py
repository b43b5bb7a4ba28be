"""The sections without methods: data, optimizer, average, training, and how much the verbs draw and measure."""

import dataclasses
from typing import ClassVar

from score_jax.builder.options import Options, count, option, seed
from score_jax.conditioning.conditioners import DEGRADATIONS
from score_jax.data.degradations import RANDOM_DEGRADATIONS
from score_jax.data.image_check import LEAVE_OUT, REFUSE
from score_jax.data.images import ADM, FILTERS
from score_jax.training.loggers import LOGGERS
from score_jax.training.optimizer import DECAYED

ON_NONFINITE = {"stop": False, "skip": True}
"""Whether a step whose loss or gradient is not finite is skipped."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data(Options):
    """The data set: images, or other arrays such as points."""

    SECTION: ClassVar[str] = "data"
    name: str = option(
        "cifar10",
        "a TFDS name, digits, mnist_5k, captioned_shapes, captioned_shapes/two, emoji, emoji/plain, dead_leaves, "
        "swiss_roll, heartbeat, folder:PATH, or a path to .npz, .npy, .zip, .tar, .parquet or .arrow",
    )
    train_split: str = option("train", "split that `train` reads")
    eval_split: str = option("test", "split that `likelihood` and `evaluate` read")
    data_dir: str | None = option(None, "where TFDS keeps its data sets; None: ~/tensorflow_datasets")
    image_size: int = count(32, "side of the images, pixels")
    channels: int = count(3, "channels of the images")
    crop: int = count(0, "side of the central square that is cut out, pixels; 0: the largest square", least=0)
    resize_filter: str = option(
        "none",
        "filter that resizes an image from its size in the file to image_size; adm: halved by boxes, then bicubic, "
        "then cut, as ADM's images are; none: do not resize",
        one_of=("none", ADM, *FILTERS),
    )
    random_crop: bool = option(
        False,
        "train on squares at random places and of random sizes (with resize_filter=adm), as ADM's classifiers are",
    )
    threads: int = count(
        0,
        "threads of each process that read and decode examples; 0: one for each core, 4 to 16. More of them help where "
        "files come slowly, as from a bucket",
        least=0,
    )
    flip: bool = option(False, "random horizontal flips in training")
    augment: float = option(
        0.0,
        "share of images to which each change of EDM's augmentation is made in training (network.augment_dim=9 "
        "tells the network of them); half of all images are then mirrored; 0: none",
        least=0.0,
        most=1.0,
    )
    tokenizer: str = option(
        "",
        "what turns captions into the condition tokens: clip, open_clip, words (those of captioned_shapes), "
        "bert:FILE with BERT's vocab.txt, or boxes:FILE with the classes of layouts; '': captions are not read",
    )
    max_tokens: int = count(77, "tokens of a caption, which is padded or cut to them", least=3)
    segmentations: str = option(
        "",
        "folder of segmentations of a folder of images: a .png of the same name for each, whose pixels are the numbers "
        "of their classes, 255 for none; '': none are read",
    )
    embeddings: str = option(
        "",
        "folder of embeddings of a folder of images, the condition context: a .npy of the same name for each, of shape "
        "(tokens, width); '': none are read",
    )
    labels: str = option(
        "",
        "file with the class of each image of a folder or an archive: a .csv, or a .json as of EDM's data sets; '': "
        "the data say it, or sub-folders are the classes",
    )
    damaged: str = option(
        REFUSE,
        "what to do where an image of a folder or an archive cannot be read: end, or look at all images first and "
        "leave such ones out",
        one_of=(REFUSE, LEAVE_OUT),
    )
    dequantize: bool = option(False, "add uniform noise of one grey level in training (dequantisation)")
    low_resolution: int = count(
        0, "side of the small images that a super-resolution model enlarges, pixels; 0: no such model", least=0
    )
    degradation: str = option(
        "area",
        "how images are made small for a model that enlarges them; bsrgan_light: at random, in training",
        one_of=(*DEGRADATIONS, *RANDOM_DEGRADATIONS),
    )
    holes: str = option(
        "",
        "how a model of latents that fills holes is given image and mask: latent_diffusion or stable_diffusion; '': no "
        "such model",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer(Options):
    """Adam and its learning rate."""

    SECTION: ClassVar[str] = "optimizer"
    name: str = option("adam", "adamw: weight decay that is not part of the gradient", one_of=("adam", "adamw"))
    learning_rate: float = option(2e-4, "learning rate after the warmup", least=0.0)
    b1: float = option(0.9, "decay of the running mean of the gradient", least=0.0, below=1.0)
    b2: float = option(0.999, "decay of the running mean of the squared gradient", least=0.0, below=1.0)
    eps: float = option(1e-8, "added to the square root of the second mean", above=0.0)
    weight_decay: float = option(0.0, "weight decay per step, multiplied by the learning rate", least=0.0)
    decayed: str = option(
        "all",
        "what weight decay acts on: all parameters, or matrices alone (arrays of two axes or more) and no biases, no "
        "gains of norms and no single numbers",
        one_of=DECAYED,
    )
    sam_rho: float = option(
        0.0,
        "sharpness-aware minimisation: the gradient is taken at the worst parameters at this distance, which takes "
        "twice the time; 0: off",
        least=0.0,
    )
    warmup_steps: int = count(5000, "steps in which the learning rate grows linearly from 0", least=0)
    decay: str = option(
        "constant",
        "course of the learning rate after the warmup; cosine and linear end at `last` at decay_steps",
        one_of=("constant", "cosine", "linear"),
    )
    decay_steps: int = count(0, "step at which the decay ends; 0: training.steps", least=0)
    first: float = option(0.0, "learning rate at step 0, as a share of learning_rate", least=0.0)
    last: float = option(0.0, "learning rate after the decay, as a share of learning_rate", least=0.0)
    clip_norm: float = option(1.0, "gradients of a larger norm are scaled down to this norm; 0: no clipping", least=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EMA(Options):
    """The moving average (EMA) of the parameters. The verbs sample and measure the averaged parameters."""

    SECTION: ClassVar[str] = "ema"
    decay: float = option(0.9999, "decay per step; 0: no average", least=0.0, most=1.0)
    warmup: bool = option(
        False, "use the decay min(decay, (1 + n) / (10 + n)) at step n, which forgets the first steps faster"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training(Options):
    """How long training runs, what it logs and saves, and how it uses the devices."""

    SECTION: ClassVar[str] = "training"
    batch_size: int = count(128, "images of one step, over all devices together")
    steps: int = count(1_300_001, "number of optimizer steps")
    log_every: int = count(100, "steps between log lines")
    loggers: tuple[str, ...] = option(
        ("tensorboard",),
        "where numbers and pictures go, beside loss.jsonl and samples/ which are always written; wandb and mlflow are "
        "extras, and stay on this machine unless $WANDB_MODE or $MLFLOW_TRACKING_URI says otherwise",
        one_of=LOGGERS,
    )
    checkpoint_every: int = count(10_000, "steps between checkpoints")
    keep: int = count(3, "number of newest checkpoints that are kept")
    keep_every: int = count(0, "also keep every checkpoint whose step is a multiple of this; 0: none", least=0)
    checkpoints: str = option("", "folder of the checkpoints, which may be gs://BUCKET/FOLDER; '': WORKDIR/checkpoints")
    accumulate: int = count(1, "split the batch into this many parts and accumulate their gradients, to save memory")
    steps_per_dispatch: int = count(
        1, "steps that the devices run in one call, without returning to Python; logs and checkpoints end a call"
    )
    fsdp: int = count(
        1, "devices over which one copy of the parameters and the optimizer state is split; 0: all devices", least=0
    )
    on_nonfinite: str = option(
        "stop",
        "what to do where the loss or the gradient is not finite: end the training, or skip the step",
        one_of=ON_NONFINITE,
    )
    step_timeout: float = option(
        600.0,
        "seconds without the end of a step after which training ends, with code 75 and the stacks of its threads, if "
        "that is also more than 20 times the median; 0: it waits for ever",
        least=0.0,
    )
    sample_every: int = count(50_000, "steps between pictures of samples; 0: none", least=0)
    first_stage: str = option(
        "", "workdir of the autoencoder whose latents are modelled (codec.name=latents); it is copied into the workdir"
    )
    latents: str = option(
        "",
        "folder of latents that `encode` wrote, which `train` reads in the place of the images, so that it need not "
        "encode them at every step",
    )
    condition_encoder: str = option(
        "", "workdir of the weights of a condition_encoder that is not trained; they are copied into the workdir"
    )
    clip: str = option("", "workdir of the CLIP of the section clip; it is copied into the workdir")
    start_from: str = option("", "workdir of another run, whose averaged parameters are the start; '': a random start")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingOptions(Options):
    """Which images `sample` and `edit` draw: their number, seed and class."""

    SECTION: ClassVar[str] = "sampling"
    num_samples: int = count(64, "number of images")
    batch_size: int = count(64, "images that are drawn at the same time, over all devices together")
    seed: int = seed(0, "random seed of all images")
    label: int = count(
        -1, "class of all images; -1: draw a class at random for each image; -2: give each class in turn", least=-2
    )
    tile: int = count(
        0,
        "height and width, in pixels or latents, of the parts in which the network sees images that are larger than "
        "those of its training; 0: as a whole",
        least=0,
    )
    overlap: int = count(8, "pixels or latents that neighbouring tiles share, over which they are blended", least=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EditOptions(Options):
    """Edits by text (Blended Diffusion) of images in [-1, 1]. The defaults are those of the published code."""

    SECTION: ClassVar[str] = "edit"
    skip: int = count(
        25, "number of steps of most noise that are left out: the edit starts from the noised image", least=0
    )
    views: int = count(8, "copies of an image that CLIP compares with the text; all but one are warped at random")
    text_scale: float = option(1000.0, "factor of the CLIP distance between image and text", least=0.0)
    range_scale: float = option(50.0, "factor of the penalty on predicted x0 outside of [-1, 1]", least=0.0)
    perceptual_scale: float = option(
        0.0, "factor of LPIPS outside of the mask; 0: off; 1000 in the published code", least=0.0
    )
    square_scale: float = option(
        0.0, "factor of the mean squared error outside of the mask; 0: off; 10000 in the published code", least=0.0
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation(Options):
    """Which images `evaluate` draws: their number and seed."""

    SECTION: ClassVar[str] = "evaluation"
    num_samples: int = count(1000, "number of generated images")
    batch_size: int = count(
        64, "images that each device draws at the same time; the results do not depend on the number of devices"
    )
    seed: int = seed(0, "random seed of all generated images")


SECTIONS: dict[str, type[Options]] = {
    options.SECTION: options for options in (Data, Optimizer, EMA, Training, SamplingOptions, EditOptions, Evaluation)
}
