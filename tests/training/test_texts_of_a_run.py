"""config.json and loss.jsonl as editors and crashes leave them."""

import json

import pytest

from score_jax.configs import base
from score_jax.errors import InputError
from score_jax.training.log import TrainingLog, read_curve
from score_jax.training.run_config import save_config, stored_config
from score_jax.training.throughput import Meter


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_config_is_read_in_any_encoding_that_json_has(tmp_path, encoding):
    save_config(tmp_path, base.get_config())
    expected, path = stored_config(tmp_path), tmp_path / "config.json"
    path.write_bytes(path.read_text().encode(encoding))
    assert stored_config(tmp_path) == expected


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"\xe9{}", "is not JSON"),
        (b"[" * 10_000, "is not JSON"),
        (b"<html>\x1b[31m", "is not JSON"),
        (b"[]", "no config of ours, it has no section 'data'"),
        (b"3", "no config of ours"),
        (b"null", "no config of ours"),
        (b"{}", "no config of ours"),
        (b'{"data": 3}', "no config of ours"),
        (b'{"model_type": "unet"}', "no config of ours"),
    ],
)
def test_what_is_no_config_is_one_line(tmp_path, contents, message):
    (tmp_path / "config.json").write_bytes(contents)
    with pytest.raises(InputError, match=message) as caught:
        stored_config(tmp_path)
    assert str(caught.value).isprintable() and "config.json" in str(caught.value)


def test_a_key_that_no_config_can_have_is_one_line(tmp_path):
    config = base.get_config().to_dict()
    config["data"]["a.b"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="is no config"):
        stored_config(tmp_path)


WHOLE = b'{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25, "grad_norm": 3.0}\n'


@pytest.mark.parametrize(
    "end", [b"", b"\n", b"{", b'{"step": 3, "lo', b'{"step": 3', b"\x00" * 40, b'{"step": 3, "lo\n']
)
def test_a_last_line_that_was_cut_is_passed_over(tmp_path, end):
    (tmp_path / "loss.jsonl").write_bytes(WHOLE + end)
    assert read_curve(tmp_path) == {1: 0.5, 2: 0.25}


def test_a_last_line_without_its_end_counts_where_it_is_whole(tmp_path):
    (tmp_path / "loss.jsonl").write_bytes(WHOLE[:-1])
    assert read_curve(tmp_path) == {1: 0.5, 2: 0.25}


@pytest.mark.parametrize(
    "line",
    [
        b'{"step": 3, "lo',
        b"\xff\xfe",
        b"[]",
        b"3",
        b'{"loss": 1}',
        b'{"step": 3, "loss": "low"}',
        b'{"step": "a", "loss": 1}',
    ],
)
def test_a_damaged_line_is_named(tmp_path, line):
    (tmp_path / "loss.jsonl").write_bytes(WHOLE + line + b"\n" + WHOLE)
    with pytest.raises(InputError, match="Line 3 of .*loss.jsonl is damaged") as caught:
        read_curve(tmp_path)
    assert str(caught.value).isprintable()


def test_a_resumed_run_begins_a_line_of_its_own(tmp_path):
    (tmp_path / "loss.jsonl").write_bytes(WHOLE + b'{"step": 3, "lo')
    with TrainingLog(tmp_path, 4, 2, Meter(8)) as log:
        log.scalars(3, {"loss": 0.125})
    assert read_curve(tmp_path) == {1: 0.5, 2: 0.25, 3: 0.125}
