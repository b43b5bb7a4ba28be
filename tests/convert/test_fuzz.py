"""Hundreds of mutations of every format, within archives too: each is read, or is one line."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from score_jax.convert.readers import read_checkpoint
from score_jax.convert.state_dicts import state_dict
from score_jax.data.array_images import array_rows
from score_jax.errors import InputError
from score_jax.evaluation import feature_set
from score_jax.runtime.array_files import read_arrays

FILES = Path(__file__).parent / "files"
MUTATIONS = 150

pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")


def written(save_to, **arrays) -> bytes:
    file = io.BytesIO()
    save_to(file, **arrays)
    return file.getvalue()


IMAGES = {"arr_0": np.zeros((3, 4, 4, 3), np.uint8), "arr_1": np.arange(3)}
STATISTICS = {"mu": np.ones(3), "sigma": np.eye(3), "facts": np.asarray('{"n": 5}'), "features": np.ones((4, 3))}
PLAIN = {"w": np.arange(6.0).reshape(2, 3), "names": ["a", "b"], "step": 3, "deep": {"x": (1, 2.5, None)}}
FORMATS = {
    "safetensors": save({"a": np.ones((2, 3)), "b": np.arange(3)}),
    "npy": written(np.save, arr=np.ones((3, 4, 4, 3), np.uint8)),
    "npz": written(np.savez, **IMAGES),
    "npz_compressed": written(np.savez_compressed, **STATISTICS),
    **{f"pickle_{protocol}": pickle.dumps(PLAIN, protocol) for protocol in (0, 2, 5)},
    **{path.name: path.read_bytes() for path in FILES.iterdir() if path.suffix != ".md"},
}


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut short, or with a few bytes or bits changed, added or removed."""
    changed, kind = bytearray(data), rng.integers(5)
    if kind == 0:
        return data[: rng.integers(1, len(data))]
    for _ in range(rng.integers(1, 6)):
        place, count = int(rng.integers(len(changed))), int(rng.integers(1, 9))
        if kind == 1:
            changed[place] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            changed[place] = int(rng.integers(256))
        elif kind == 3:
            changed[place:place] = rng.bytes(count)
        elif len(changed) > count:
            del changed[place : place + count]
    return bytes(changed)


def mutated_within(data: bytes, rng: np.random.Generator) -> bytes:
    """An archive with one of its members mutated, whose checksums are right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as new:
        names = archive.namelist()
        wanted = [name for name in names if name.endswith(("data.pkl", ".npy"))]
        chosen = wanted[rng.integers(len(wanted))]
        for name in names:
            member = archive.read(name)
            new.writestr(name, mutated(member, rng) if name == chosen else member)
    return out.getvalue()


def weights_of(path: Path) -> None:
    found = read_checkpoint(path)
    for release in ("score_sde_pytorch", "score_sde", "ddpm", "ncsnv2", "edm"):
        try:
            state_dict(release, found)
        except InputError as error:
            check_line(error)


def check_line(error: InputError) -> None:
    assert str(error).isprintable() and len(str(error)) < 1000


@pytest.mark.parametrize("name", FORMATS)
def test_a_mutated_file_is_read_or_is_one_line(tmp_path, name, capsys):
    data, rng, refused = FORMATS[name], np.random.default_rng(0), 0
    readers = [weights_of, *([read_arrays, feature_set.load, array_rows] if name.startswith("np") else [])]
    for i in range(MUTATIONS):
        inside = data.startswith(b"PK") and i % 2
        (tmp_path / "file").write_bytes(mutated_within(data, rng) if inside else mutated(data, rng))
        for read in readers:
            try:
                read(tmp_path / "file")
            except InputError as error:
                check_line(error)
                refused += 1
    assert refused > MUTATIONS / 3
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())
