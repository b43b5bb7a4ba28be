"""Latents on disk: what was written comes back, and what is damaged is said."""

import contextlib

import numpy as np
import pytest

from score_jax.data import latent_records
from score_jax.data.latent_records import LatentFacts, LatentWriter, open_latents
from score_jax.data.text_tokenizers import text_tokenizer
from score_jax.errors import InputError

SHAPE = (2, 3, 4)


def write(folder, count=7, captions=True):
    moments = np.random.default_rng(0).normal(size=(count, *SHAPE)).astype(np.float32)
    with LatentWriter(folder) as writer:
        for i in range(count):
            writer.add(moments[i], i % 3, f"a red circle {'é' * i}" if captions else "")
        writer.finish(LatentFacts(count, SHAPE, "data", "hash", "parameters", ("x", "y", "z"), captions))
    return moments


def test_they_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(latent_records, "_PER_FILE", 3)
    moments = write(tmp_path / "latents")
    assert len(list((tmp_path / "latents").glob("part_*"))) == 3
    source = open_latents(tmp_path / "latents")
    assert len(source) == 7 and source.classes == ("x", "y", "z")
    for i in (6, 0, 3):
        example = source[i]
        np.testing.assert_array_equal(example["image"], moments[i])
        assert example["label"] == i % 3 and source.caption(i) == f"a red circle {'é' * i}"
    assert source.content != open_latents_of_others(tmp_path).content


def open_latents_of_others(tmp_path):
    write(tmp_path / "others", count=6)
    return open_latents(tmp_path / "others")


def test_captions_become_tokens(tmp_path):
    write(tmp_path / "latents", count=1)
    assert open_latents(tmp_path / "latents", text_tokenizer("words", 5))[0]["tokens"].tolist()[3:] == [0, 0]
    write(tmp_path / "without", captions=False)
    with pytest.raises(InputError, match="has no captions"):
        open_latents(tmp_path / "without", text_tokenizer("words"))


def test_what_is_not_whole_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no latents.json: write latents there by `encode`, to the end"):
        open_latents(tmp_path)
    write(tmp_path / "latents")
    with pytest.raises(InputError, match="is not empty"):
        LatentWriter(tmp_path / "latents")
    facts = tmp_path / "latents" / "latents.json"
    whole = facts.read_text()
    facts.write_text(whole.replace('"count": 7', '"count": 8'))
    with pytest.raises(InputError, match="has 7 latents where latents.json says 8"):
        open_latents(tmp_path / "latents")
    facts.write_text(whole[:40])
    with pytest.raises(InputError, match="is damaged"):
        open_latents(tmp_path / "latents")


def test_a_writing_that_was_stopped_begins_again(tmp_path):
    with contextlib.suppress(ZeroDivisionError), LatentWriter(tmp_path / "latents") as writer:
        writer.add(np.zeros(SHAPE, np.float32), 0)
        raise ZeroDivisionError
    assert len(write(tmp_path / "latents")) == len(open_latents(tmp_path / "latents"))
