"""What a folder is said to hold, and which config it is trained by."""

import numpy as np
import pytest
from mixed_pictures import make_mixed_pictures
from PIL import Image as PILImage

from score_jax import builder
from score_jax.cli.config_files import config_of_file
from score_jax.errors import InputError
from score_jax.jobs.own_images import Found, describe, look_at, name_of, recipe_for, splits_of


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCORE_JAX_CACHE", str(tmp_path / "cache"))


def found(sizes, *, classes=(), parts=(), grey=False):
    heights, widths = np.array(sizes, np.int32).T
    labels = np.arange(len(heights), dtype=np.int32) % len(classes) if classes else None
    return Found("folder:/x", heights, widths, grey, labels, classes, parts, {}, {})


def test_a_mixed_folder_is_described_in_full(tmp_path):
    folder = make_mixed_pictures(tmp_path / "pictures", 12)
    seen = look_at(str(folder))
    assert seen.name == f"folder:{folder}" and seen.classes == ("green", "red") and seen.num_classes == 2
    assert len(seen.heights) == 25 and not seen.grey and list(seen.damaged) == ["red/damaged.jpg"]
    lines = describe(seen)
    assert lines[0] == f"{folder}: 25 images, 2 classes (12 to 13 images each): 0 'green', 1 'red'."
    assert lines[2].startswith("24 are not square") or "are not square: their central square is taken" in lines[2]
    left_out = "Left out: 1 damaged ('red/damaged.jpg'), 1 hidden or of the system ('green/.DS_Store'), 1 no image"
    assert lines[3].startswith(left_out) and lines[4].startswith("  damaged: 'red/damaged.jpg': ")


def test_what_is_cut_off_is_the_share_of_the_area():
    (line,) = [line for line in describe(found([(10, 10), (10, 20), (30, 10)])) if "not square" in line]
    assert (
        line
        == f"2 are not square: their central square is taken, which leaves out {(1 / 2 + 2 / 3) / 2:.0%} of their area."
    )
    lines = describe(found([(10, 20)]))
    assert ": 1 image, without classes." in lines[0]
    assert "1 is not square: its central square is taken, which leaves out 50% of its area." in lines


def test_one_image_is_no_one_images():
    (about, held_out) = describe(found([(10, 10)]))[0], splits_of(found([(10, 10)]))[2]
    assert ": 1 image, " in about and held_out.startswith("Only 1 image: ")


@pytest.mark.parametrize(
    ("sizes", "on_cpu", "asked", "size", "config"),
    [
        ([(300, 200)] * 20, True, 0, 32, "own/small"),
        ([(300, 200)] * 20, False, 0, 128, "own/images256"),
        ([(300, 256)] * 20, False, 0, 256, "own/images256"),
        ([(100, 64)] * 20, False, 0, 64, "own/images64"),
        ([(28, 28)] * 20, True, 0, 28, "own/small"),
        ([(28, 28)] * 20, False, 0, 28, "own/images64"),
        ([(48, 48)] * 20, False, 0, 48, "own/images64"),
        ([(96, 96)] * 20, False, 0, 96, "own/images256"),
        ([(5, 7)] * 20, True, 0, 8, "own/small"),
        ([(20, 20)] * 2 + [(70, 70)] * 18, False, 0, 64, "own/images64"),  # one in ten may be smaller
        ([(300, 200)] * 20, True, 16, 16, "own/small"),
        ([(300, 200)] * 20, False, 32, 32, "own/images64"),
    ],
)
@pytest.mark.parametrize("classes", [(), ("a", "b", "c")])
def test_every_choice_is_a_config_that_builds(sizes, on_cpu, asked, size, config, classes):
    if classes and asked:
        pytest.skip("seen without")
    recipe = recipe_for(found(sizes, classes=classes, grey=not classes), on_cpu=on_cpu, image_size=asked)
    assert recipe.config == config and recipe.values["data.image_size"] == size
    chosen = config_of_file(recipe.config)
    for key, value in recipe.values.items():
        section, name = key.split(".")
        chosen[section][name] = value
    built = builder.experiment(chosen)
    assert built.image_shape == (size, size, 3 if classes else 1) and built.label_classes == len(classes)
    exact = {tuple(each) for each in sizes} == {(size, size)}
    assert recipe.values["data.resize_filter"] == ("none" if exact else "bicubic")
    if classes:
        chosen.guidance.scale = 2.0
        assert builder.experiment(chosen).is_guided and chosen.loss.condition_dropout == 0.1


@pytest.mark.parametrize(
    ("count", "parts", "splits"),
    [
        (1000, (), ("all[:90%]", "all[90%:]")),
        (50, (), ("all[:80%]", "all[80%:]")),
        (10, (), ("all", "all")),
        (50, ("train", "val"), ("train", "val")),
        (50, ("test", "train", "val"), ("train", "test")),
        (50, ("Train", "Testing"), ("Train", "Testing")),
        (500, ("train",), ("train[:90%]", "train[90%:]")),
    ],
)
def test_what_is_held_out(count, parts, splits):
    assert splits_of(found([(8, 8)] * count, parts=parts))[:2] == splits


def test_one_folder_of_images_is_no_class(tmp_path):
    for i in range(3):
        (tmp_path / "x" / "all").mkdir(parents=True, exist_ok=True)
        PILImage.new("L", (8, 8), i).save(tmp_path / "x" / "all" / f"{i}.png")
    seen = look_at(str(tmp_path / "x"))
    assert seen.num_classes == 0 and seen.grey and "all of one class ('all'), so without classes" in describe(seen)[0]
    assert "network.num_classes" not in recipe_for(seen, on_cpu=True).values


def test_images_beside_the_classes_are_asked_about(tmp_path):
    folder = make_mixed_pictures(tmp_path / "x", 3)
    PILImage.new("L", (8, 8)).save(folder / "stray.png")
    with pytest.raises(InputError, match="1 of 8 images lies beside the folders of the classes, such as 'stray.png'"):
        look_at(str(folder))


def test_an_array_file_is_looked_at_too(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((30, 28, 28), np.uint8), labels=np.arange(30) % 3)
    seen = look_at(str(tmp_path / "a.npz"))
    assert seen.name == name_of(str(tmp_path / "a.npz")) == str(tmp_path / "a.npz")
    assert (
        seen.grey and seen.classes == ("0", "1", "2") and recipe_for(seen, on_cpu=True).values["data.image_size"] == 28
    )
