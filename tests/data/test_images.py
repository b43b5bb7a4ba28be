"""Encoded images become the levels that they stand for, upright, or are refused in one line."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image as PILImage

from score_jax.data.images import decode, fit
from score_jax.errors import InputError

RAMP = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def encoded(image, kind, **options):
    if isinstance(image, np.ndarray):
        image = PILImage.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def deep_png(levels, colour_type):
    """A PNG of 16 bits, of the kinds that Pillow does not write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", levels.shape[1], levels.shape[0], 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in levels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def pgm(levels, largest):
    return b"P5\n16 16\n%d\n" % largest + levels.astype(">u2").tobytes()


@pytest.mark.parametrize(
    "file",
    [
        encoded(RAMP, "PNG"),
        encoded(RAMP, "TIFF"),
        encoded(RAMP.astype(">u2"), "TIFF"),
        encoded(65535 - RAMP, "TIFF", tiffinfo={262: 0}),
        deep_png(RAMP[..., None], 0),
        pgm(RAMP, 65535),
    ],
    ids=["png", "tiff", "big-endian tiff", "white-is-zero tiff", "png by hand", "pgm"],
)
def test_grey_of_16_bits_is_scaled_to_8(file):
    pixels = decode(file, "x")
    assert pixels.dtype == np.uint8 and pixels.shape == (16, 16, 1)
    np.testing.assert_array_equal(pixels[..., 0], RAMP >> 8)


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4)])
def test_grey_and_colours_of_16_bits_agree(colour_type, channels):
    pixels = decode(deep_png(np.repeat(RAMP[..., None], channels, -1), colour_type), "x")
    np.testing.assert_array_equal(pixels, np.repeat((RAMP >> 8)[..., None], 3, -1))


def test_grey_with_alpha_of_16_bits():
    pixels = decode(deep_png(np.stack([RAMP, RAMP[::-1]], -1), 4), "x")
    np.testing.assert_array_equal(pixels, np.repeat((RAMP >> 8)[..., None], 3, -1))


def test_deep_images_stand_upright():
    exif = PILImage.Exif()
    exif[0x0112] = 6
    for kind in ("PNG", "TIFF"):
        pixels = decode(encoded(RAMP[:8], kind, exif=exif), "x")
        np.testing.assert_array_equal(pixels[..., 0], np.rot90(RAMP[:8] >> 8, -1))


@pytest.mark.parametrize(
    ("file", "mode"),
    [
        (encoded(np.arange(16, dtype=np.int32).reshape(4, 4), "TIFF"), "I"),
        (encoded(np.eye(4, dtype=np.float32), "TIFF"), "F"),
    ],
)
def test_pixels_without_a_range_are_refused_by_the_name_of_their_mode(file, mode):
    with pytest.raises(InputError, match=rf"Cannot read the image deep.tif: .*\(mode '{mode}'\).*8 or 16 bits"):
        decode(file, "deep.tif")


COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)


@pytest.mark.parametrize(
    ("image", "kind", "options", "expected"),
    [
        (PILImage.fromarray(GREY > 127), "PNG", {}, np.where(GREY > 127, 255, 0)[..., None]),
        (PILImage.fromarray(GREY), "PNG", {}, GREY[..., None]),
        (PILImage.fromarray(GREY), "PNG", {"transparency": 3}, GREY[..., None]),
        (PILImage.fromarray(COLOURS).quantize(4), "PNG", {"transparency": 1}, COLOURS),
        (PILImage.fromarray(COLOURS).quantize(4), "GIF", {}, COLOURS),
        (PILImage.fromarray(np.dstack([COLOURS, [[0, 9], [99, 255]]]).astype(np.uint8)), "PNG", {}, COLOURS),
        (
            PILImage.merge("LA", [PILImage.fromarray(GREY), PILImage.fromarray(GREY.T.copy())]),
            "PNG",
            {},
            np.repeat(GREY[..., None], 3, -1),
        ),
        (PILImage.new("CMYK", (4, 4), (255, 0, 0, 0)), "TIFF", {}, np.full((4, 4, 3), [0, 255, 255])),
        (PILImage.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG", {}, np.zeros((8, 8, 3))),
    ],
    ids=["1", "L", "L with tRNS", "P with tRNS", "GIF", "RGBA", "LA", "CMYK", "CMYK JPEG"],
)
def test_other_modes_become_grey_or_rgb(image, kind, options, expected):
    np.testing.assert_array_equal(decode(encoded(image, kind, **options), "x"), expected)


# What the pixels of each orientation must become, by the EXIF standard: where row 0 and column 0 lie.
UPRIGHT = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_images_stand_upright(orientation, tmp_path):
    stored = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    exif = PILImage.Exif()
    exif[0x0112] = orientation
    for kind, options in (("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})):
        (tmp_path / "file").write_bytes(encoded(stored, kind, exif=exif, **options))
        for file in (tmp_path / "file", (tmp_path / "file").read_bytes()):
            np.testing.assert_array_equal(decode(file, kind), UPRIGHT[orientation](stored), err_msg=kind)
    coarse = np.kron(stored, np.ones((16, 16, 1), np.uint8))
    pixels = decode(encoded(coarse, "JPEG", exif=exif, quality=100, subsampling=0), "x")
    np.testing.assert_allclose(pixels.astype(int), UPRIGHT[orientation](coarse).astype(int), atol=3)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff"])
@pytest.mark.filterwarnings("ignore:.*EXIF.*")
def test_damaged_exif_is_let_be(exif):
    assert decode(encoded(GREY, "JPEG", exif=exif), "x").shape == (16, 16, 1)


@pytest.mark.filterwarnings("ignore:.*EXIF.*")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>", "none that Pillow reads, and begins with b'<!DOCTYPE html><html>'"),
        (b"version https://git-lfs.github.com/spec/v1", "begins with b'version https://git-lfs.'"),
        (b"\x1b[31m\n", r"begins with b'\\x1b\[31m\\n'"),
        (b"", "it is empty"),
        (encoded(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8), "PNG")[:200], "truncated"),
        (encoded(GREY, "TIFF")[:100], "truncated"),
    ],
    ids=["html", "lfs", "escapes", "empty", "cut", "cut tiff"],
)
def test_what_is_no_image_is_one_line(content, message, tmp_path):
    (tmp_path / "x.png").write_bytes(content)
    for file in (content, tmp_path / "x.png"):
        with pytest.raises(InputError, match=rf"Cannot read the image x.png: .*{message}") as found:
            decode(file, "x.png")
        assert "\n" not in str(found.value) and " at 0x" not in str(found.value)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("wanted", [1, 3])
def test_an_image_one_pixel_high_or_wide_is_its_middle(shape, channels, wanted):
    image = np.full((*shape, channels), 7, np.uint8)
    image[shape[0] // 2, shape[1] // 2] = 200
    np.testing.assert_array_equal(fit(image, 4, wanted, "bicubic", "x"), np.full((4, 4, wanted), 200))


@pytest.mark.parametrize("channels", [1, 3])
def test_one_pixel_may_be_wanted(channels):
    image = np.array([[0, 10], [20, 30]], np.uint8)[..., None].repeat(channels, -1)
    np.testing.assert_array_equal(fit(image, 1, channels, "box", "x"), np.full((1, 1, channels), 15))
