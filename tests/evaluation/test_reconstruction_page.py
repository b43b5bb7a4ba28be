"""The page of reconstructions: numbers, pairs and their differences, where errors are, and how codes are used."""

import io
import re
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax.evaluation.reconstruction_page import write_reconstruction_page

pytest.importorskip("matplotlib")
IMAGES = np.full((20, 8, 8, 1), 100, np.uint8)
MADE = IMAGES.copy()
MADE[np.arange(20), 0, 0, 0] += np.arange(20, dtype=np.uint8)  # errors of 0 to 19 levels in the corner
with np.errstate(divide="ignore"):
    PSNR = 10 * np.log10(255**2 / ((MADE - IMAGES.astype(float)) ** 2).mean((1, 2, 3)))
RESULT = {
    "count": 20,
    "psnr": 41.25,
    "psnr_standard_error": 0.5,
    "fid20": 12.5,
    "protocol": "<b>adm",
    "schema": "score_jax/result/1",
    "kind": "reconstruction",
    "measured": ["psnr", "fid20"],
}


def page_of(tmp_path, columns):
    write_reconstruction_page(tmp_path / "page.html", RESULT, columns)
    text = (tmp_path / "page.html").read_text()
    sources = re.findall(r"data:image/png;base64,([^\"]*)", text)
    return text, [np.asarray(PILImage.open(io.BytesIO(b64decode(source)))) for source in sources]


def test_pairs_stand_with_their_differences_and_the_errors_lie_where_they_are(tmp_path):
    text, (first, largest, smallest, where) = page_of(
        tmp_path, {"images": IMAGES, "reconstructions": MADE, "psnr": PSNR}
    )
    for part in ("41.2500 +- 0.5000", "fid20", "Frechet distance", "&lt;b&gt;adm", "20 held-out images", "PSNR, dB"):
        assert part in text
    assert "Use of the codebook" not in text
    corners = largest[4::66, 4::66, 0]
    assert corners.tolist() == [[100] * 8, list(range(119, 111, -1)), [round(e / 19 * 255) for e in range(19, 11, -1)]]
    assert smallest[4::66, 4::66, 0][1].tolist() == list(range(100, 108))
    assert first.shape[0] == 6 * 66 - 2
    assert (where[:8, :8] == 255).all() and (where[8:] == 0).all() and "white: 9.50 levels" in text


def test_exact_reconstructions_have_no_histogram(tmp_path):
    text, pictures = page_of(tmp_path, {"images": IMAGES, "reconstructions": IMAGES, "psnr": np.full(20, np.inf)})
    assert "<svg" not in text and len(pictures) == 4


def test_the_use_of_a_codebook_is_shown(tmp_path):
    codes = np.array([[[0, 0], [0, 3]]] * 20)
    text, _ = page_of(tmp_path, {"images": IMAGES, "reconstructions": MADE, "psnr": PSNR, "codes": codes})
    assert "Use of the codebook" in text and text.count("<svg") == 2
