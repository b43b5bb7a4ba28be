"""The page of an edit: image, mask and results, and how exactly the rest was kept."""

import dataclasses

import numpy as np
import pytest

from score_jax.evaluation.edit_page import EditPage, write_edit_page

IMAGE = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
MASK = np.zeros((8, 8, 1), np.float32)
MASK[2:4] = 1
RESULTS = np.stack([IMAGE, np.where(MASK > 0, 255 - IMAGE, IMAGE)])
PAGE = EditPage(
    task="inpaint",
    said="Said <so>.",
    image=IMAGE,
    known=np.where(MASK > 0, 128, IMAGE).astype(np.uint8),
    painted=MASK,
    results=RESULTS,
    changes={
        "painted_share": 0.25,
        "painted_mean_change": 63.5,
        "kept_largest_error": 0.0,
        "drawn_mean_error": 1.25,
        "drawn_largest_error": 7.0,
    },
    facts={"image": "<script>", "sampler": {"name": "ddim", "num_steps": 4}},
)


def page_of(data, folder):
    write_edit_page(folder / "edit.html", data)
    return (folder / "edit.html").read_text()


def test_the_page_has_image_mask_known_part_and_results(tmp_path):
    page = page_of(PAGE, tmp_path)
    for text in ("Said &lt;so&gt;", "mask: white is painted", "what the model was given", "25.0%", "63.5 grey levels"):
        assert text in page
    for text in ("0 grey levels of 255", "1.25 grey levels", "name ddim, num_steps 4", "&lt;script&gt;"):
        assert text in page
    assert page.count("data:image/png") == 4 + 1 + 2 and "<script>" not in page


def test_a_task_without_a_mask_shows_none_and_has_no_kept_part(tmp_path):
    nothing = dict.fromkeys(("kept_largest_error", "drawn_mean_error", "drawn_largest_error"))
    changes = {**PAGE.changes, **nothing}
    whole = dataclasses.replace(PAGE, task="sdedit", painted=None, known=IMAGE, changes=changes, results=RESULTS[:1])
    page = page_of(whole, tmp_path)
    assert "mask" not in page and "kept largest error" not in page
    assert page.count("data:image/png") == 2 + 1 + 1  # one result spreads over nothing


@pytest.mark.parametrize("count", [2, 20])
def test_examples_that_are_no_images_are_shown_as_numbers(count, tmp_path):
    example = np.linspace(-1, 1, count, dtype=np.float32).reshape(1, 1, count)
    mask = np.arange(count).reshape(1, 1, count) % 2
    data = dataclasses.replace(
        PAGE, image=example, known=example, painted=mask.astype(np.float32), results=np.stack([example, -example])
    )
    page = page_of(data, tmp_path)
    assert page.count("<td>drawn anew</td>") == page.count("<td>kept</td>") == count // 2
    assert page.count("data:image/png") == 1 and "grey levels" not in page
