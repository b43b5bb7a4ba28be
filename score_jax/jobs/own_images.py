"""A person's own images: what a folder or an archive holds, and which config is to be trained on it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from score_jax.data.array_images import array_rows
from score_jax.data.contents import ARCHIVES
from score_jax.data.folder import open_whole
from score_jax.data.folder_scan import LeftOut, describe_left_out
from score_jax.data.image_check import LEAVE_OUT
from score_jax.data.label_files import NO_CLASS
from score_jax.errors import InputError, counted, plural, quoted
from score_jax.training.data_facts import describe_classes

SIZES = (8, 16, 28, 32, 64, 128, 256)
"""Sides at which images are trained, pixels."""
_ON_CPU, _WITH_EDM = 32, 64
"""The largest of them on a CPU, and of the networks of EDM on an accelerator; larger images take those of ADM."""
_ARRAYS = (".npz", ".npy")
_DROPOUT = 0.1
"""Share of examples whose class is left out, so that classifier-free guidance has something to lead away from."""
_FEW, _MANY = 20, 200
"""Images of which none, and of which a tenth, are held out; in between a fifth."""


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What lies in a data set.

    Attributes:
      name: as `data.name` takes it.
      heights: of each image, upright, pixels.
      widths: likewise.
      grey: whether all images are grey.
      labels: of each image; None where there are no classes.
      classes: what the labels are called.
      parts: into which the data are divided.
      left_out: other files, by the reason.
      damaged: why an image cannot be read, by its name.
    """

    name: str
    heights: Int32[np.ndarray, "n"]
    widths: Int32[np.ndarray, "n"]
    grey: bool
    labels: Int32[np.ndarray, "n"] | None
    classes: tuple[str, ...]
    parts: tuple[str, ...]
    left_out: LeftOut
    damaged: Mapping[str, str]

    @property
    def num_classes(self) -> int:
        """Classes that a model can be told: none where there is only one."""
        return len(self.classes) if len(self.classes) > 1 else 0


def name_of(data: str) -> str:
    """Returns what `data.name` calls a folder or a file."""
    path = Path(data.removeprefix("folder:")).expanduser().absolute()
    return str(path) if path.name.lower().endswith((*ARCHIVES, *_ARRAYS)) and not path.is_dir() else f"folder:{path}"


def look_at(data: str, labels: str = "") -> Found:
    """Reads every image of a folder or an archive once, which the cache remembers, and finds its classes.

    Args:
      data: a folder, an archive, or an array file.
      labels: a file with the classes; "": none.

    Raises:
      InputError: there is nothing, no image can be read, or images are of no class where others are.
    """
    name = name_of(data)
    if name.lower().endswith(_ARRAYS):
        return _look_at_array(Path(name), labels)
    whole = open_whole(Path(name.removeprefix("folder:")), labels=labels, leave_damaged=True)
    files = whole.contents.names
    assert whole.facts is not None
    facts = whole.facts.of(files)
    if whole.labels is not None and (whole.labels == NO_CLASS).any():
        stray, strays = files[int(np.argmax(whole.labels == NO_CLASS))], int(np.sum(whole.labels == NO_CLASS))
        raise InputError(
            f"{strays} of {counted(len(files), 'image')} "
            f"{plural(strays, 'lies', 'lie')} beside the folders of the classes, "
            f"such as {quoted(stray)}: move them into a class or elsewhere, or give --labels=FILE.csv."
        )
    return Found(
        name,
        facts.heights,
        facts.widths,
        bool(facts.grey.all()),
        whole.labels,
        whole.classes,
        whole.parts,
        whole.contents.left_out,
        whole.facts.damaged,
    )


def _look_at_array(path: Path, labels: str) -> Found:
    if labels:
        raise InputError(f"--labels={labels} is for folders and archives: {path} has its labels in an array 'labels'.")
    rows = array_rows(path)
    count, height, width, channels = rows.images.shape
    numbers = rows.labels
    classes = () if numbers is None else tuple(map(str, range(int(numbers.max()) + 1)))
    heights, widths = np.full(count, height, np.int32), np.full(count, width, np.int32)
    return Found(str(path), heights, widths, channels == 1, numbers, classes, (), {}, {})


@dataclasses.dataclass(frozen=True, eq=False)
class Recipe:
    """Which config is trained, and what is said of it.

    Attributes:
      config: its name, below configs/.
      values: keys of the config that the images decide, with their values.
      lines: why, for people.
    """

    config: str
    values: Mapping[str, Any]
    lines: tuple[str, ...]


def splits_of(found: Found) -> tuple[str, str, str]:
    """Returns the split that is trained on, the one that is held out, and a line about them."""
    count = len(found.heights)
    if found.parts:
        lower = {part.lower(): part for part in found.parts}
        train = next((lower[part] for part in lower if part.startswith("train")), "")
        others = [part for part in found.parts if part != train]
        held_out = next((part for part in others if "test" in part.lower()), others[0] if others else "")
        if train and held_out:
            return train, held_out, f"Trained on the part {quoted(train)}; held out: the part {quoted(held_out)}."
    whole = found.parts[0] if len(found.parts) == 1 else "all"
    if count < _FEW:
        return (
            whole,
            whole,
            f"Only {counted(count, 'image')}: none are held out, so that distances to real images say little.",
        )
    percent = 90 if count >= _MANY else 80
    share, number = 100 - percent, count - round(percent / 100 * count)
    about = f"{counted(number, 'image')}, by a hash of their names"
    line = f"Held out: {share} % ({about}), on which the model is never trained."
    return f"{whole}[:{percent}%]", f"{whole}[{percent}%:]", line


def recipe_for(found: Found, *, on_cpu: bool, image_size: int = 0) -> Recipe:
    """Returns the config for images and where they are trained.

    Args:
      found: the images.
      on_cpu: there is no accelerator.
      image_size: as a person has chosen it; 0: by the images.
    """
    fitting = _fitting_size(found)
    size = image_size or (min(fitting, _ON_CPU) if on_cpu else fitting)
    config = "own/small" if on_cpu else "own/images64" if size <= _WITH_EDM else "own/images256"
    exact = bool((found.heights == size).all() and (found.widths == size).all())
    train, held_out, about_splits = splits_of(found)
    values: dict[str, Any] = {
        "data.name": found.name,
        "data.train_split": train,
        "data.eval_split": held_out,
        "data.image_size": size,
        "data.channels": 1 if found.grey else 3,
        "data.resize_filter": "none" if exact else "bicubic",
    }
    if found.damaged:
        values["data.damaged"] = LEAVE_OUT
    if config == "own/images64" and size % 8:
        values["network.channel_mult"] = (1, 2, 2)  # such as 28, which can be halved twice
    if found.num_classes:
        values |= {"network.num_classes": found.num_classes + 1, "loss.condition_dropout": _DROPOUT}
    lines = [f"Trained at {size} x {size} pixels by the config {config}."]
    if on_cpu and not image_size and fitting > size:
        lines = [f"Trained at {size} x {size} pixels by the config {config}: this is a CPU, an accelerator would take "
                 f"{fitting} x {fitting}."]  # fmt: skip
    if small := int(np.sum(np.minimum(found.heights, found.widths) < size)):
        lines.append(f"{counted(small, 'image is', 'images are')} smaller than that and enlarged.")
    return Recipe(config, values, (*lines, about_splits))


def _fitting_size(found: Found) -> int:
    """The largest side that nine of ten images have; that of all where they are squares of one size."""
    short = np.minimum(found.heights, found.widths)
    side = int(short[0])
    if (found.heights == side).all() and (found.widths == side).all() and side % 8 == 0 and side <= SIZES[-1]:
        return side
    usual = int(np.sort(short)[len(short) // 10])
    return max((size for size in SIZES if size <= usual), default=SIZES[0])


def describe(found: Found) -> list[str]:
    """Returns lines that say what was found: counts, classes, sizes, what is cut off, what was left out and why."""
    count, path = len(found.heights), found.name.removeprefix("folder:")
    lines = [f"{path}: {counted(count, 'image')}, {_classes(found)}."]
    areas = found.heights.astype(np.int64) * found.widths
    least, most, middle = (np.argsort(areas, kind="stable")[i] for i in (0, -1, count // 2))
    sides = [f"{found.widths[i]} x {found.heights[i]}" for i in (least, most, middle)]
    kind = "all grey" if found.grey else "in colour"
    alike = "all" if sides[0] == sides[1] == sides[2] else f"from {sides[0]} to {sides[1]}, the middle one"
    lines.append(f"Sizes: {alike} {sides[2]} pixels (width x height), {kind}.")
    short = np.minimum(found.heights, found.widths).astype(np.int64)
    oblong = found.heights != found.widths
    if oblong.any():
        lost = 1 - (short[oblong] ** 2 / areas[oblong]).mean()
        number = int(oblong.sum())
        whose = plural(number, "its", "their")
        lines.append(
            f"{counted(number, 'is', 'are')} not square: {whose} central square is taken, which leaves out {lost:.0%} "
            f"of {whose} area."
        )
    if found.left_out:
        lines.append(f"L{describe_left_out(found.left_out, '')[1:]}.")
    lines += [f"  damaged: {quoted(name)}: {reason}" for name, reason in sorted(found.damaged.items())[:5]]
    return lines


def _classes(found: Found) -> str:
    if found.labels is None:
        return "without classes"
    if not found.num_classes:
        return f"all of one class ({quoted(found.classes[0])}), so without classes"
    counts = np.bincount(found.labels, minlength=len(found.classes))
    each = f"{counts.min()} to {counts.max()} images each" if counts.min() < counts.max() else f"{counts[0]} each"
    return f"{len(found.classes)} classes ({each}): {describe_classes(found.classes)}"
