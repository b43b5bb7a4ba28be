"""Captioned shapes, and the checker that reads them: what it says of real images must be exactly right."""

import dataclasses
import itertools

import numpy as np
import pytest

from score_jax.data import captioned_shapes as shapes
from score_jax.data.builders import captioned
from score_jax.data.captioned_checker import ONE, TWO, judged, read_images, share_right
from score_jax.data.sources import open_source
from score_jax.errors import InputError

EMPTY = np.zeros((0, 32, 32, 3), np.uint8)


def drawn(kind, labels, part=2, number=0):
    images, captions = zip(*(shapes.example(kind, label, part, number) for label in labels), strict=True)
    return np.stack(images), captions


def test_colours_are_far_from_each_other_and_from_the_backgrounds():
    colours, backgrounds = shapes.COLOURS.values(), shapes.BACKGROUNDS.values()
    assert min(sum(abs(np.subtract(a, b))) for a, b in itertools.combinations(colours, 2)) >= 0.55
    assert min(sum(abs(np.subtract(a, b))) for a in colours for b in backgrounds) >= 0.6


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_a_shape_stands_at_its_centroid_and_is_as_large_as_geometry_says(shape):
    cover = shapes.coverage(shape, 13.3, 17.9, 6.0)
    areas = {"circle": np.pi, "square": 1.78**2, "triangle": 1.65 * 3.3 / 3**0.5 / 2, "cross": 2 * 2.1 * 0.7 - 0.49}
    np.testing.assert_allclose(cover.sum(), 36 * areas[shape], rtol=0.03)
    at = np.arange(32) + 0.5
    np.testing.assert_allclose(
        [cover.sum(0) @ at, cover.sum(1) @ at], [13.3 * cover.sum(), 17.9 * cover.sum()], rtol=0.01
    )


@pytest.mark.parametrize(("kind", "count", "apart"), [("one", 576, 96), ("two", 984, 160)])
def test_combinations_and_captions(kind, count, apart):
    every = shapes.combinations(kind)
    captions = [caption for each in every for caption in each.captions]
    assert len(every) == count and len(captions) == len(set(captions)) and len(shapes.held_out(kind)) == apart
    for each in every:
        assert all(shapes.parse_caption(caption) == each for caption in each.captions)
    seen = [each for label, each in enumerate(every) if label not in shapes.held_out(kind)]
    assert {word for each in seen for word in " ".join(each.captions).split()} <= set(shapes.vocabulary())


def test_every_word_of_what_is_held_out_is_seen_in_training():
    for kind in ("one", "two"):
        words = [set(), set()]
        for label, each in enumerate(shapes.combinations(kind)):
            words[label in shapes.held_out(kind)].update(" ".join(each.captions).split())
        assert words[1] <= words[0]


def test_captions_that_are_none_are_refused():
    assert shapes.parse_caption(" An  Orange cross above a red circle").first == shapes.Thing("orange", "cross")
    with pytest.raises(InputError, match="'a pink circle' is no caption of captioned_shapes"):
        shapes.parse_caption("a pink circle")


@pytest.mark.parametrize("kind", ["one", "two"])
def test_the_checker_reads_every_real_held_out_image(kind):
    labels = sorted(shapes.held_out(kind))
    images, captions = drawn(kind, labels)
    assert set(share_right(images, captions).values()) == {1.0}
    assert read_images(images, kind) == [shapes.combinations(kind)[label] for label in labels]
    others = captions[1:] + captions[:1]
    assert share_right(images, others)["all"] < 0.05
    noisy = np.clip(images + np.random.default_rng(0).normal(0, 4, images.shape), 0, 255).astype(np.uint8)
    assert share_right(noisy, captions)["all"] > 0.98


@pytest.mark.parametrize("name", ONE)
def test_one_swapped_attribute_is_the_one_that_is_named(name):
    rng = np.random.default_rng(1)
    tables = dict(
        zip(ONE, (shapes.SIZES, shapes.COLOURS, shapes.SHAPES, shapes.POSITIONS, shapes.BACKGROUNDS), strict=True)
    )
    images, captions = [], []
    for label in rng.choice(576, 40, replace=False):
        each, jitter = shapes.combinations("one")[label], shapes.draw_jitter(rng)
        for other in set(tables[name]) - {getattr(each, name)}:
            images.append(shapes.draw(dataclasses.replace(each, **{name: other}), jitter))
            captions.append(each.captions[0])
    right = judged(np.stack(images), captions)
    assert {key for key, value in right.items() if not value.all()} == {name, "all"}
    assert not right[name].any() and not right["all"].any()


RED, BLUE = shapes.Thing("red", "square"), shapes.Thing("blue", "circle")


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("count", shapes.Related(RED)),
        ("colours", shapes.Related(RED, shapes.Thing("green", "circle"), "above")),
        ("shapes", shapes.Related(RED, shapes.Thing("blue", "cross"), "above")),
        ("binding", shapes.Related(shapes.Thing("red", "circle"), shapes.Thing("blue", "square"), "above")),
        ("relation", shapes.Related(BLUE, RED, "above")),
        ("relation", shapes.Related(RED, BLUE, "beside")),
    ],
)
def test_of_two_objects_what_is_wrong_is_named(name, other):
    wanted = shapes.Related(RED, BLUE, "above")
    for caption in wanted.captions:
        right = judged(shapes.draw(other, shapes.draw_jitter(np.random.default_rng(0)), "grey")[None], [caption])
        assert [key for key in (*TWO, "all") if not right[key][0]] == [name, "all"]


def test_shares_of_two_objects_count_where_they_say_something():
    wanted = shapes.Related(RED, BLUE, "above")
    jitter = shapes.draw_jitter(np.random.default_rng(0))
    swapped = shapes.Related(shapes.Thing("red", "circle"), shapes.Thing("blue", "square"), "above")
    drawn_ones = [wanted, shapes.Related(BLUE, RED, "above"), swapped, shapes.Related(RED)]
    images = np.stack([shapes.draw(each, jitter) for each in drawn_ones])
    found = share_right(images, [wanted.captions[0]] * 4)
    assert found == {"count": 0.75, "colours": 1, "shapes": 1, "binding": 2 / 3, "relation": 0.5, "all": 0.25}
    assert share_right(images[3:], [wanted.captions[0]])["binding"] == 0


def test_a_shape_at_the_edge_is_cut():
    whole, cut = (shapes.coverage("circle", x, 16.0, 4.0) for x in (16.0, 0.0))
    np.testing.assert_allclose(cut.sum(), whole.sum() / 2)
    assert not cut[:, 4:].any()


def test_an_empty_image_is_no_object():
    assert read_images(np.full((1, 32, 32, 3), 255, np.uint8), "two") == [None]
    assert not any(share_right(np.zeros((2, 32, 32, 3), np.uint8), ["a red circle"] * 2).values())


def test_the_checker_refuses_what_it_cannot_judge():
    images = np.zeros((2, 32, 32, 3), np.uint8)
    with pytest.raises(InputError, match="2 images and 1 captions"):
        judged(images, ["a red circle"])
    with pytest.raises(InputError, match="of both kinds"):
        judged(images, ["a red circle", shapes.combinations("one")[0].captions[0]])
    with pytest.raises(InputError, match="no images"):
        share_right(EMPTY, [])
    assert judged(EMPTY, [])["all"].shape == (0,)


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def test_training_never_holds_a_held_out_combination(tfds_dir, monkeypatch):
    monkeypatch.setitem(captioned._COUNTS, "one", {"train": 2, "test": 1, "held_out": 1})
    apart, seen = shapes.held_out("one"), {}
    for split, count in (("train", 960), ("test", 480), ("held_out", 96)):
        source = open_source("captioned_shapes", split, image_size=32, channels=3, data_dir=tfds_dir)
        rows = [source.rows[i] for i in range(len(source))]
        assert len(rows) == count and len(source.classes) == 576
        for row in rows:
            assert source.classes[row["label"]] == row["caption"].decode()
        assert {row["label"] for row in rows} == (apart if split == "held_out" else set(range(576)) - apart)
        seen[split] = {row["image"] for row in rows}
    assert not seen["train"] & seen["test"]
    first = source.rows[0]
    image, _ = shapes.example("one", first["label"], 2, 0)
    assert any(np.array_equal(source[i]["image"], image) for i in range(len(source)))


def test_another_config_is_refused(tfds_dir):
    with pytest.raises(InputError, match="Unknown config of captioned_shapes 'tow'. Did you mean 'two'"):
        open_source("captioned_shapes/tow", "train", image_size=32, channels=3, data_dir=tfds_dir)
