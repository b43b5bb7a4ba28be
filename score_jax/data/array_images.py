"""Images and labels from array files."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from score_jax.errors import InputError, counted, named, quoted
from score_jax.runtime.array_files import Header, array_headers, read_arrays
from score_jax.runtime.file_rows import FileRows, open_rows
from score_jax.runtime.multihost import print_once

_IMAGES = ("images", "image", "arr_0", "x")
_LABELS = ("labels", "label", "arr_1", "y")
_CAPTIONS = "captions"
_EXPECTED = "expected uint8 images (n, h, w, c) with c of 1 or 3, or grey ones (n, h, w)"


_IN_MEMORY = 2**28
"""Bytes of images that are read at once: small ones from anywhere in a file take a file system of a cluster long."""


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayImages(Sequence[dict]):
    """Rows of {"image": uint8 (h, w, c), "label": int32, "caption": str}, the last two where there are any.

    Attributes:
      images: (n, h, w, c), in memory or in their file.
      labels: of each, or None.
      captions: of each, or None.
    """

    images: np.ndarray | FileRows
    labels: Int[np.ndarray, "n"] | None = None
    captions: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i):
        row = {"image": self.images[i]}
        row |= {} if self.labels is None else {"label": self.labels[i]}
        return row if self.captions is None else row | {"caption": self.captions[i]}


def array_rows(path: Path) -> ArrayImages:
    """Rows of an .npz or .npy file. Images of more than 256 MiB stay in it, but where they are packed.

    Says in a line what it takes the axes for, where that is a convention.

    Raises:
      InputError: the file cannot be read, its arrays are no images, labels or captions, or could be read in two ways.
    """
    headers = array_headers(path)
    image_name = _chosen(path, headers, _IMAGES, lambda header: not _image_problem(header))
    if image_name is None:
        found = ", ".join(map(named, sorted(headers)[:8]))
        raise InputError(f"{path} holds {found}: expected 'images' or 'arr_0'.")
    header = headers[image_name]
    if header.dtype.hasobject:
        read_arrays(path, [image_name])  # which says so
    if problem := _image_problem(header):
        what = f"{named(str(header.dtype))} {quoted(header.shape)}"
        raise InputError(f"The array {image_name} of {path} is {what}: {problem}.")
    count = header.shape[0]
    label_name = _chosen(path, headers, _LABELS, lambda other: other.shape == (count,) and other.dtype.kind in "iu")
    has_captions = _CAPTIONS in headers
    if has_captions and (headers[_CAPTIONS].dtype.kind != "U" or headers[_CAPTIONS].shape != (count,)):
        what = f"{named(str(headers[_CAPTIONS].dtype))} {quoted(headers[_CAPTIONS].shape)}"
        raise InputError(
            f"The array {_CAPTIONS} of {path} is {what}, for {counted(count, 'image')}: expected one text for each: "
            f"save np.array(a list of {count} texts)."
        )
    shape = (*header.shape, 1)[:4]
    in_file = open_rows(path, image_name, shape) if header.nbytes > _IN_MEMORY else None
    names = (image_name if in_file is None else None, label_name, _CAPTIONS if has_captions else None)
    arrays = read_arrays(path, [name for name in names if name is not None])
    images = arrays[image_name].reshape(shape) if in_file is None else in_file
    if len(header.shape) == 3 or shape[1] in (1, 3):  # which other programs would read otherwise
        _, height, width, channels = shape
        kind = "grey" if channels == 1 else "RGB"
        print_once(f"{path}: {counted(count, f'{kind} image')}, {height} pixels high and {width} wide.")
    labels = None if label_name is None else _labels(path, label_name, arrays[label_name], count)
    return ArrayImages(images, labels, arrays[_CAPTIONS].tolist() if has_captions else None)


def _chosen(
    path: Path, headers: Mapping[str, Header], names: Iterable[str], fits: Callable[[Header], bool]
) -> str | None:
    """The first of the names that the file has.

    Raises:
      InputError: it fits, and so does another of them.
    """
    there = [name for name in names if name in headers]
    fitting = [name for name in there if fits(headers[name])]
    if len(fitting) > 1:
        raise InputError(
            f"{path} holds both {fitting[0]} and {fitting[1]}, and it is not clear which to read: keep one of them."
        )
    return there[0] if there else None


def _image_problem(header: Header) -> str:
    """Why an array is no stack of images, and how to mend it; "" if it is one."""
    shape, dtype = header.shape, header.dtype
    if dtype.kind == "f":
        return f"{_EXPECTED}; bring floats to 0..255, round them, and save them as uint8"
    if dtype != np.uint8:
        return f"{_EXPECTED}; save pixels of 0..255 with .astype(np.uint8)"
    if 0 in shape:
        return "it holds nothing"
    if len(shape) == 2:
        return f"{_EXPECTED}; one grey image is array[None, :, :, None], and rows of pixels need .reshape(n, h, w, c)"
    if len(shape) == 3 and shape[-1] <= 4:
        return f"one image (h, w, {shape[-1]}) is array[None], grey ones {shape[-1]} pixels wide array[..., None]"
    if len(shape) == 3 and shape[0] == 3:
        return "three grey images are array[..., None], one with its channels first array.transpose(1, 2, 0)[None]"
    if len(shape) == 4 and shape[-1] not in (1, 3):
        first = shape[1] in (1, 3)
        if first:
            return f"{_EXPECTED}; its channels come first, so save array.transpose(0, 2, 3, 1)"
        alpha = "; an alpha channel goes with array[..., :3]" if shape[-1] == 4 else ""
        return f"{_EXPECTED}{alpha}"
    return "" if len(shape) in (3, 4) else _EXPECTED


def _labels(path: Path, name: str, labels: np.ndarray, count: int) -> Int[np.ndarray, "n"]:
    """Labels (n,) that are integers from 0 on.

    Raises:
      InputError: they are something else; names the first.
    """
    what = f"The labels {name} of {path} are {named(str(labels.dtype))} {quoted(labels.shape)}"
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise InputError(f"{what}: expected integers ({count},). If the rows are one-hot, save labels.argmax(axis=1).")
    if labels.ndim != 1:
        mend = "; save labels.reshape(-1)" if labels.size == count else ""
        raise InputError(f"{what}: expected integers ({count},){mend}.")
    if len(labels) != count:
        raise InputError(f"{what}, for {counted(count, 'image')}: expected one label for each image.")
    if labels.dtype.kind in "iu":
        wrong = (labels < 0) | (labels > np.iinfo(np.int32).max)
        if wrong.any():
            first = int(wrong.argmax())
            raise InputError(f"{what}, and the label of image {first} is {labels[first]}: expected 0, 1, 2, ...")
        return labels.astype(np.int32)
    wrong = labels != np.floor(labels) if labels.dtype.kind == "f" else np.ones(count, bool)
    first = int(wrong.argmax())
    raise InputError(
        f"{what}, and the label of image {first} is {quoted(labels[first].item())}: expected integers from 0 on."
    )
