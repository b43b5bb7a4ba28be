"""The FID Inception's weights: read, refused, converted, found."""

import dataclasses
import hashlib

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from score_jax.cli import main as cli
from score_jax.convert import inception
from score_jax.errors import InputError


@pytest.fixture(scope="module")
def state():
    """Small numbers under the ports' names, and the counters that some of them have."""
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda s: rng.normal(0, 0.1, s.shape).astype(np.float32), inception._shapes())
    state = inception.state_of(params)
    return state | {"Conv2d_1a_3x3.bn.num_batches_tracked": np.zeros((), np.int64)}


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(state, path)
    return path


def test_there_and_back_is_the_identity(state):
    back = inception.state_of(inception.params_of(state))
    assert set(back) == {name for name in state if "num_batches" not in name}
    assert len(back) == 94 * 5 + 2
    for name, tensor in back.items():
        np.testing.assert_array_equal(tensor, state[name])


def test_other_weights_are_refused_unless_asked_for(file):
    with pytest.raises(InputError, match="not the published FID Inception.*6726825d.*--allow_other_weights"):
        inception.load_inception(file)
    weights = inception.load_inception(file, allow_other=True)
    assert not weights.published and weights.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_published_file_is_known_by_its_hash(file, monkeypatch):
    start = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(inception, "PUBLISHED", dataclasses.replace(inception.PUBLISHED, start=start))
    assert inception.load_inception(file).published


def test_a_converted_file_knows_where_it_came_from(file, tmp_path, monkeypatch, capsys):
    out = tmp_path / "inception.safetensors"
    assert cli.main(["score_jax", "convert", "--from=fid_inception", str(file), str(out)]) == 2
    assert "not the published" in capsys.readouterr().err and not out.exists()
    arguments = ["--from=fid_inception", "--allow_other_weights", str(file), str(out)]
    assert cli.main(["score_jax", "convert", *arguments]) == 0
    converted, original = (inception.load_inception(path, allow_other=True) for path in (out, file))
    assert converted.sha256 == original.sha256
    jax.tree.map(np.testing.assert_array_equal, converted.params, original.params)
    assert set(load_file(out)) == set(inception.state_of(original.params))
    monkeypatch.setenv(inception.VARIABLE, str(out))
    assert inception.find_inception(None, allow_other=True).sha256 == original.sha256


def test_what_is_missing_is_said_with_where_to_get_it(tmp_path, state, monkeypatch):
    monkeypatch.delenv(inception.VARIABLE, raising=False)
    with pytest.raises(InputError, match=r"pt_inception-2015-12-05-6726825d.pth from https.*--inception_weights"):
        inception.find_inception(None)
    with pytest.raises(InputError, match="No file"):
        inception.find_inception(tmp_path / "nowhere.pth")
    damaged = {name: tensor for name, tensor in state.items() if name != "fc.bias"}
    save_file(damaged, tmp_path / "damaged.safetensors")
    with pytest.raises(InputError, match="1 missing: fc.bias"):
        inception.load_inception(tmp_path / "damaged.safetensors", allow_other=True)
    with pytest.raises(InputError, match="ending in .safetensors"):
        inception.convert_inception(tmp_path / "damaged.safetensors", tmp_path / "out.npz", allow_other=True)
