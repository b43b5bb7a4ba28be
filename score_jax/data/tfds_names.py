"""Data sets of TFDS by name, and what to say where there is none of that name."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from score_jax.errors import InputError, entry_of

_NAMES_HERE = ("digits", "mnist_5k", "dead_leaves", "captioned_shapes", "emoji")


def open_tfds(name: str, split: str, data_dir: str | None) -> tuple[Sequence[dict], tuple[str, ...] | None]:
    """Opens a TFDS data set for random access; our own builders' are prepared on the way.

    Args:
      name: of the set, as TFDS takes it: "cifar10", "NAME/CONFIG", "NAME:1.0.0".
      split: as TFDS takes it.
      data_dir: where TFDS keeps its data sets; None: its own default.

    Returns:
      The rows, images still encoded, and the names of the classes in the order of their numbers: () where rows have no
      label, None where their label has no names.

    Raises:
      InputError: there is no such data set or split, or it is not prepared.
    """
    import tensorflow_datasets as tfds

    _prepare_ours(name, data_dir)
    try:
        builder = tfds.builder(name, data_dir=data_dir, **({} if data_dir else {"file_format": "array_record"}))
    except (ValueError, AssertionError, ImportError):
        raise no_such_set(name) from None
    try:
        rows = builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})
        empty = not len(rows)
    except (AssertionError, FileNotFoundError, KeyError, NotImplementedError) as error:
        if "split" in str(error) and "[" in split:
            raise InputError(
                f"Split {split!r} of {name}: TFDS cannot cut 'all'. Cut a part of the data set, as in "
                "'train[:50%]', or give 'all'."
            ) from None
        raise InputError(
            f"TFDS data set {name!r} is not prepared in {data_dir or '~/tensorflow_datasets'} as array_record: on a "
            f"machine with TensorFlow run `tfds build {name} --file_format=array_record`, then set data.data_dir"
            f"{_or_folder(name)}. ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from None
    except ValueError as error:
        raise InputError(f"Split {split!r} of {name}: {_reason(error)}") from None
    features = builder.info.features
    if empty or "image" not in features:
        raise InputError(f"{name} has the features {sorted(features)}: expected one called 'image'.")
    if "label" not in features:
        return rows, ()
    names = getattr(features["label"], "names", None)
    return rows, None if names is None else tuple(names)


def _prepare_ours(name: str, data_dir: str | None) -> None:
    """Writes a data set of our own builders where it is not written yet; "captioned_shapes/two" names a config of one.

    Raises:
      InputError: what it is made of is missing, or the builder has no such config.
    """
    import tensorflow_datasets as tfds

    from score_jax.data.builders import captioned, packaged

    builders = packaged.BUILDERS | captioned.BUILDERS
    base, _, config = name.partition("/")
    if base not in builders or (config and not builders[base].BUILDER_CONFIGS):
        return
    configs = [each.name for each in builders[base].BUILDER_CONFIGS]
    if config:
        entry_of(dict.fromkeys(configs), f"config of {base}", config)
    prepared = builders[base](data_dir=data_dir, file_format="array_record", **({"config": config} if config else {}))
    tfds.disable_progress_bar()
    prepared.download_and_prepare()


def _reason(error: ValueError) -> str:
    """The first line of TFDS, or what its reader of files means where a range is empty."""
    line = str(error).splitlines()[0]
    return "it is empty." if "__len__" in line or "0 length" in line else line


def _or_folder(name: str) -> str:
    return f"; if you mean the folder, name it as folder:{name}" if Path(name).expanduser().is_dir() else ""


def no_such_set(name: str) -> InputError:
    """Returns the error for a name that is no data set's: what it may have meant."""
    import tensorflow_datasets as tfds

    path = Path(name).expanduser()
    known = [one for one in tfds.list_builders(with_community_datasets=False) if not one.startswith("_")]
    near = difflib.get_close_matches(name, {*known, *_NAMES_HERE}, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    if name and path.is_dir():
        hint = f" It is a folder: name it as folder:{name}."
    elif path.is_file():
        hint = " It is a file of another kind."
    elif name.startswith(("/", "~", ".")) or name.endswith("/"):
        hint = " There is no such folder either."
    return InputError(
        f"No data set {name!r}: expected {', '.join(_NAMES_HERE)}, folder:PATH, a path to .npz or .npy, or a TFDS name."
        f"{hint}"
    )
