"""Every image is looked at once, and remembered as long as it is the same."""

import os

import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax.data import image_check
from score_jax.data.image_check import check_images
from score_jax.data.sources import open_source
from score_jax.data.stores import FolderStore


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SCORE_JAX_CACHE", str(tmp_path / "cache"))
    images = tmp_path / "images"
    images.mkdir()
    PILImage.new("RGB", (12, 8), (9, 9, 9)).save(images / "grey.png")
    exif = PILImage.Exif()
    exif[0x0112] = 6  # turned by a quarter
    PILImage.new("RGB", (16, 8), (200, 0, 0)).save(images / "turned.jpg", exif=exif)
    PILImage.new("CMYK", (8, 8), (200, 0, 0, 0)).save(images / "cmyk.jpg")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    PILImage.fromarray(noise).save(images / "cut.png")
    (images / "cut.png").write_bytes((images / "cut.png").read_bytes()[:2000])
    return images


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_known_of_each(folder):
    facts = check_images(FolderStore(folder), names(folder))
    assert names(folder) == ["cmyk.jpg", "cut.png", "grey.png", "turned.jpg"]
    assert facts.heights.tolist() == [8, 0, 8, 16] and facts.widths.tolist() == [8, 0, 12, 8]
    assert facts.grey.tolist() == [False, False, True, False]
    assert list(facts.damaged) == ["cut.png"] and "truncated" in facts.damaged["cut.png"]
    some = facts.of(["grey.png", "cut.png"])
    assert some.heights.tolist() == [8, 0] and list(some.damaged) == ["cut.png"]


def test_only_what_has_changed_is_read_again(folder, monkeypatch):
    read = []
    of_one = image_check._look
    monkeypatch.setattr(image_check, "_look", lambda store, name: read.append(name) or of_one(store, name))
    first = check_images(FolderStore(folder), names(folder))
    assert sorted(read) == names(folder)
    read.clear()
    again = check_images(FolderStore(folder), names(folder))
    assert not read and again.damaged == first.damaged
    np.testing.assert_array_equal(again.heights, first.heights)
    PILImage.new("RGB", (8, 24)).save(folder / "cut.png")
    PILImage.new("RGB", (8, 8)).save(folder / "new.png")
    os.utime(folder / "grey.png", ns=(1, 1))
    after = check_images(FolderStore(folder), names(folder))
    assert sorted(read) == ["cut.png", "grey.png", "new.png"]
    assert not after.damaged and after.heights.tolist() == [8, 24, 8, 8, 16]


def test_a_cache_that_is_damaged_or_cannot_be_written_costs_only_time(folder, tmp_path):
    expected = check_images(FolderStore(folder), names(folder)).heights
    (kept,) = (tmp_path / "cache" / "checked").iterdir()
    kept.write_bytes(b"PK\x03\x04 no archive")
    np.testing.assert_array_equal(check_images(FolderStore(folder), names(folder)).heights, expected)
    kept.unlink()
    kept.parent.rmdir()
    kept.parent.write_text("a file where a folder should be")
    np.testing.assert_array_equal(check_images(FolderStore(folder), names(folder)).heights, expected)


def test_damaged_images_are_left_out_where_that_is_asked(folder, capsys):
    options = {"image_size": 8, "channels": 3, "resize_filter": "box"}
    assert len(open_source(f"folder:{folder}", "all", **options)) == 4
    assert len(open_source(f"folder:{folder}", "all", leave_damaged=True, **options)) == 3
    assert "left out: 1 damaged ('cut.png')" in capsys.readouterr().out
