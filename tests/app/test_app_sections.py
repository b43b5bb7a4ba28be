"""What the page shows of results: large enough to read, and nothing of a stranger's text as HTML."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from score_jax.app import sections
from score_jax.jobs.sample import Drawn


def drawn(size, count=12, states=0, channels=1):
    rng = np.random.default_rng(0)

    def images(*shape):
        return rng.integers(0, 255, (*shape, size, size, channels), np.uint8)

    times = np.linspace(1, 0, states)
    return Drawn(images(count), np.zeros(count, int), np.full(count, 20), images(count, states), times)


def pictures(html):
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


@pytest.mark.parametrize("size", [8, 16, 28, 32, 64])
def test_small_images_are_at_least_64_pixels_wide_and_whole_multiples(size):
    (grid,) = pictures(sections.of_samples(drawn(size), "heun", ""))
    cell = (grid.shape[1] + 2) // 8 - 2
    assert cell >= 64 and cell % size == 0 and cell < 64 + size
    assert grid.shape[0] == 2 * cell + 2


@pytest.mark.parametrize(("size", "columns"), [(256, 3), (512, 2)])
def test_large_images_are_in_fewer_columns_and_not_enlarged(size, columns):
    (grid,) = pictures(sections.of_samples(drawn(size, count=4, channels=3), "heun", ""))
    assert grid.shape[1] == columns * (size + 2) - 2


def test_the_way_from_noise_has_a_row_for_each_of_the_first_images_and_its_times():
    html = sections.of_samples(drawn(8, states=5), "heun", "")
    grid, ways = pictures(html)
    assert ways.shape == (4 * 66 - 2, 5 * 66 - 2, 3)
    assert [float(time) for time in re.findall(r"<span>([\d.]+)</span>", html)] == [1.0, 0.75, 0.5, 0.25, 0.0]
    np.testing.assert_array_equal(pictures(sections.of_samples(drawn(8), "heun", ""))[0], grid)


def test_samplers_are_columns():
    one, other = drawn(8, count=3), drawn(8, count=3)
    one.images[:], other.images[:] = 0, 255
    (columns,) = pictures(sections.of_comparison([("heun", one), ("ddim", other)], ""))
    assert (columns[:, :128] == 0).all() or (columns[:128, :128] == 0).all()
    assert (columns[:, 130:] == 255).all()


def test_a_text_of_a_person_is_no_html():
    html = sections.of_samples(drawn(8), "heun", "Prompt: <script>alert(1)</script>")
    assert "<script>" not in html and "&lt;script&gt;" in html


def test_latents_of_other_channels_than_colours_lie_side_by_side():
    latent = np.stack([np.full((2, 2), value, np.float32) for value in (-3, 0, 3, 9)], axis=-1)
    columns = {
        "images": np.zeros((1, 8, 8, 1), np.uint8),
        "latents": latent[None] * latent.std(),  # shown in its standard deviations
        "reconstructions": np.zeros((1, 8, 8, 1), np.uint8),
        "rms_error": np.zeros(1),
        "nfe": np.full(1, 40),
    }
    shown = pictures(sections.of_encoding(columns))[1]
    assert shown.shape == (128, 512, 3)
    assert [shown[0, 128 * i, 0] for i in range(3)] == sorted({shown[0, 128 * i, 0] for i in range(3)})


def test_an_image_to_paint_on_is_whole_squares():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    large = sections.for_painting(image, 384)
    assert large.shape == (384, 384, 3)
    np.testing.assert_array_equal(large[::48, ::48, 0], image[..., 0])
