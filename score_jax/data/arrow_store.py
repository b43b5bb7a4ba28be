"""Images in parquet files and in Hugging Face's data sets on disk (Arrow), by pyarrow (extra `parquet`).

Arrow files are mapped, so that any row is read where it lies. A parquet file packs many rows together: small ones are
unpacked into memory, large ones into an Arrow file in the cache, once.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from score_jax.data.stores import MOST_BYTES, Class, Contents, Member, stamps_of_archive
from score_jax.errors import InputError, named, quoted
from score_jax.runtime.array_files import check_unpacked
from score_jax.runtime.cache import cache_folder
from score_jax.runtime.files import written_whole
from score_jax.runtime.multihost import print_once

_IMAGES = ("image", "img", "images", "picture", "photo", "jpg", "png", "webp", "bytes")
_LABELS = ("label", "labels", "class", "cls", "category", "target", "fine_label")
_CAPTIONS = ("caption", "text", "prompt", "captions")
_IN_MEMORY, _ROWS, _MOST_ROWS = 2**28, 64, 10**9


@dataclasses.dataclass(frozen=True, eq=False)
class _Table:
    """The rows of one part: `images` are pyarrow's arrays of bytes, `ends` the numbers of rows up to each one's end."""

    part: str
    images: Sequence[Any]
    ends: np.ndarray

    def bytes_of(self, row: int) -> bytes | None:
        """None where the row has none."""
        chunk = int(np.searchsorted(self.ends, row, side="right"))
        return self.images[chunk][row - (int(self.ends[chunk - 1]) if chunk else 0)].as_py()


@dataclasses.dataclass(frozen=True, eq=False)
class ArrowStore:
    """Rows of tables as files `PART/000000012`, or without a part.

    Attributes:
      path: of the file, or of the folder.
      files: all that were read.
      tables: by the part.
    """

    path: Path
    files: Sequence[Path]
    tables: Mapping[str, _Table]

    def image(self, name: str) -> Member:
        """See `Store`."""
        return Member(self.path, name, self.read)

    def read(self, name: str) -> bytes:
        """Returns the bytes of an image.

        Raises:
          InputError: it is damaged, or larger than `MOST_BYTES`.
        """
        part, _, row = name.rpartition("/")
        found = self.tables[part].bytes_of(int(row))
        if found is None or len(found) > MOST_BYTES:
            what = "none" if found is None else f"of {len(found)} bytes, more than {MOST_BYTES}"
            raise InputError(
                f"The image of row {int(row)} of {self.path} is {what}: expected the bytes of an image file."
            )
        return found

    def text(self, name: str) -> None:
        """See `Store`."""

    def sizes(self, names: Sequence[str]) -> list[int]:
        """See `Store`."""
        import pyarrow.compute as pc

        lengths = {
            part: np.concatenate([pc.binary_length(chunk).fill_null(0).to_numpy(False) for chunk in table.images])
            for part, table in self.tables.items()
        }
        return [int(lengths[part][int(row)]) for part, _, row in (name.rpartition("/") for name in names)]

    def stamps(self, names: Sequence[str]) -> Iterator[bytes]:
        """See `Store`."""
        return stamps_of_archive(names, self.files)


def open_arrow_store(path: Path, files: Mapping[str, Sequence[Path]]) -> Contents:
    """Returns what lies in parquet or Arrow files, which hold encoded images, a row each.

    The column of the images is called image, img, ... or is the only one of its kind: bytes, or Hugging Face's pair of
    bytes and path, of which the path is never followed. A column label, class, ... has numbers or names.

    Args:
      path: what to call them all.
      files: of each part; "" where there is only one.

    Raises:
      InputError: pyarrow is missing, a file is damaged or would unpack to far more than its size, or there is no such
        column.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise InputError(f"{path} is read by pyarrow: pip install 'score_jax[parquet]'.") from None
    tables: dict[str, _Table] = {}
    labels: dict[str, Class] = {}
    captions: dict[str, str] = {}
    classes: tuple[str, ...] | None = None
    for part, shards in files.items():
        try:
            whole = [_rows(shard) for shard in shards]
            table = pa.concat_tables([each.select(_columns(each.schema, path).values()) for each in whole])
            table.validate(full=True)  # offsets beyond what is there would end the process
        except (pa.ArrowException, OSError, ValueError) as error:
            raise InputError(f"Cannot read {path}: {quoted(str(error))}. Download or save it again.") from None
        columns = _columns(table.schema, path)
        images = _binary(table.column(columns["image"])).chunks
        tables[part] = _Table(part, images, np.cumsum([len(chunk) for chunk in images]))
        names = [_name(part, row) for row in range(table.num_rows)]
        if "label" in columns:
            labels |= dict(zip(names, _labels(table.column(columns["label"]), path), strict=True))
            classes = _class_names(whole[0].schema, columns["label"]) or classes
        if "caption" in columns:
            texts = table.column(columns["caption"]).to_pylist()
            captions |= {name: text for name, text in zip(names, texts, strict=True) if isinstance(text, str)}
    store = ArrowStore(path, [file for shards in files.values() for file in shards], tables)
    every = [_name(part, row) for part, table in tables.items() for row in range(int(table.ends[-1:].sum()))]
    parts = tuple(part for part in files if part)
    return Contents(store, every, {}, parts, labels or None, classes, captions or None)


def _name(part: str, row: int) -> str:
    return f"{part}/{row:09d}" if part else f"{row:09d}"


def _rows(file: Path) -> Any:
    """The table in a file, mapped, or in memory where it is small and packed."""
    import pyarrow as pa

    with file.open("rb") as opened:
        head = opened.read(6)
    if head[:4] == b"PAR1":
        return _unpacked(file)
    mapped = pa.memory_map(str(file))
    return (pa.ipc.open_file(mapped) if head == b"ARROW1" else pa.ipc.open_stream(mapped)).read_all()


def _unpacked(file: Path) -> Any:
    """The columns of a parquet file that matter here."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    packed, size = pq.ParquetFile(file), file.stat().st_size
    names = list(_columns(packed.schema_arrow, file).values())
    groups = [packed.metadata.row_group(i) for i in range(packed.num_row_groups)]
    check_unpacked(sum(group.total_byte_size for group in groups), size)
    if packed.metadata.num_rows > _MOST_ROWS:
        raise InputError(f"{file} claims {packed.metadata.num_rows} rows: download or save it again.")
    schema = pa.schema([packed.schema_arrow.field(name) for name in names], packed.schema_arrow.metadata)

    def batches() -> Iterator[Any]:
        unpacked = 0
        for batch in packed.iter_batches(_ROWS, columns=names):
            unpacked += batch.nbytes
            check_unpacked(unpacked, size)
            yield batch

    if sum(group.total_byte_size for group in groups) <= _IN_MEMORY:
        return pa.Table.from_batches(list(batches()), schema)
    status = file.stat()
    what = f"{file.absolute()}\0{status.st_size}\0{status.st_mtime_ns}\0{names}"
    kept = cache_folder("arrow") / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.arrow"
    if not kept.is_file():
        print_once(f"{file} is unpacked into {kept}, where any row of it can be read.")
        with written_whole(kept) as temporary, pa.ipc.new_stream(str(temporary), schema) as writer:
            for batch in batches():
                writer.write_batch(batch)
    return _rows(kept)


def _columns(schema: Any, path: Path) -> dict[str, str]:
    """Names of the columns of images, labels and captions, the last two where there are any.

    Raises:
      InputError: none, or two, could be the images.
    """
    import pyarrow as pa

    def holds_bytes(field: Any) -> bool:
        kind = field.type
        if pa.types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0 and holds_bytes(kind.field("bytes"))
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    fitting = [field.name for field in schema if holds_bytes(field)]
    chosen = [name for name in _IMAGES if name in fitting] or fitting
    if not chosen or (len(fitting) > 1 and chosen == fitting and fitting[0] not in _IMAGES):
        found = ", ".join(f"{named(field.name)} ({named(str(field.type)[:40])})" for field in list(schema)[:8])
        raise InputError(f"{path} has the columns {found}: expected one called image, with the bytes of image files.")
    columns = {"image": chosen[0]}
    types = {field.name: field.type for field in schema}
    for role, names, fits in (
        ("label", _LABELS, lambda kind: pa.types.is_integer(kind) or pa.types.is_string(kind)),
        ("caption", _CAPTIONS, lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind)),
    ):
        there = [name for name in names if name in types and fits(types[name])]
        columns |= {role: there[0]} if there else {}
    return columns


def _binary(column: Any) -> Any:
    """Of Hugging Face's pairs the bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column


def _labels(column: Any, path: Path) -> list[Class]:
    labels = column.to_pylist()
    lacking = [row for row, label in enumerate(labels) if label is None]
    if lacking:
        raise InputError(f"{path}: row {lacking[0]} has no label, and {len(lacking) - 1} more; give one to each row.")
    if labels and set(labels) == {-1}:  # of a part whose labels are kept secret
        return [0] * len(labels)
    return labels


def _class_names(schema: Any, column: str) -> tuple[str, ...] | None:
    """The names that Hugging Face's `datasets` keeps beside a schema."""
    try:
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = said["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def hugging_face_files(folder: Path) -> dict[str, list[Path]] | None:
    """Returns the Arrow files that `datasets` saved into a folder (`save_to_disk`), by part; None where it did not.

    Raises:
      InputError: a file that says what lies there is damaged, or names a file elsewhere.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits")
        if not isinstance(splits, list) or not splits:
            raise InputError(f"{folder / 'dataset_dict.json'} names no splits: save the data set again.")
        return {_plain(split, folder): _saved(folder / _plain(split, folder)) for split in splits}
    return {"": _saved(folder)} if (folder / "state.json").is_file() else None


def _saved(folder: Path) -> list[Path]:
    files = _json(folder / "state.json").get("_data_files")
    if not isinstance(files, list) or not all(isinstance(file, dict) for file in files) or not files:
        raise InputError(f"{folder / 'state.json'} names no files: save the data set again.")
    return [folder / _plain(file.get("filename"), folder) for file in files]


def _plain(name: Any, folder: Path) -> str:
    if not isinstance(name, str) or not name or name in (".", "..") or {"/", "\\", "\0"} & set(name):
        raise InputError(f"{folder} names {quoted(name)} as a part of it: expected a file or folder in it.")
    return name


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise InputError(f"Cannot read {file}: save the data set again.") from None
    return found if isinstance(found, dict) else {}
