"""Pictures of every kind become arrays of sRGB pixels."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from npstyle.errors import InputError
from npstyle.images.read import image_size, load_image
from tests.images.files import COLORS, write


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp"])
def test_lossless_formats_load_exactly(tmp_path, name):
    options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
    path = write(tmp_path / name, Image.fromarray(COLORS), **options)
    assert np.array_equal(load_image(path), COLORS)


def test_jpeg_loads_up_to_its_compression_error(tmp_path):
    smooth = np.add.outer(np.arange(32) * 3, np.arange(48) * 2).astype(np.uint8)
    path = write(tmp_path / "a.jpg", Image.fromarray(smooth).convert("RGB"), quality=95)
    assert np.abs(load_image(path) - smooth[..., None]).max() <= 4


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, COLORS),
        (2, COLORS[:, ::-1]),
        (3, COLORS[::-1, ::-1]),
        (4, COLORS[::-1]),
        (5, COLORS.transpose(1, 0, 2)),
        (6, np.rot90(COLORS, -1)),
        (7, np.rot90(COLORS, 2).transpose(1, 0, 2)),
        (8, np.rot90(COLORS)),
    ],
)
def test_exif_orientation_is_applied(tmp_path, orientation, upright):
    exif = Image.Exif()
    exif[274] = orientation
    path = write(tmp_path / "a.png", Image.fromarray(COLORS), exif=exif)
    assert np.array_equal(load_image(path), upright)
    assert image_size(path) == upright.shape[:2]


def test_greyscale_bitmap_and_palette_become_rgb(tmp_path):
    grey = np.array([[0, 100, 255]], np.uint8)
    path = write(tmp_path / "grey.png", Image.fromarray(grey))
    assert np.array_equal(load_image(path), np.repeat(grey[..., None], 3, axis=2))
    path = write(tmp_path / "bit.png", Image.fromarray(grey > 50))
    assert np.array_equal(load_image(path)[0, :, 0], [0, 255, 255])
    palette = Image.fromarray(COLORS).quantize(8)
    path = write(tmp_path / "palette.png", palette)
    assert np.array_equal(load_image(path), np.asarray(palette.convert("RGB")))


def test_transparent_pixels_are_blended_with_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0] = 200
    rgba[0, :, 3] = [0, 51, 255]
    path = write(tmp_path / "rgba.png", Image.fromarray(rgba))
    expected = [[255, 255, 255], [244, 204, 204], [200, 0, 0]]
    assert np.allclose(load_image(path)[0], expected, atol=0.5)
    path = write(tmp_path / "la.png", Image.fromarray(rgba).convert("LA"))
    assert np.allclose(load_image(path)[0, 0], 255)
    indexed = Image.fromarray(COLORS).quantize(8)
    path = write(tmp_path / "p.png", indexed, transparency=indexed.getpixel((0, 0)))
    assert np.allclose(load_image(path)[0, 0], 255)
    assert np.array_equal(load_image(path)[0, 1], np.asarray(indexed.convert("RGB"))[0, 1])
    keyed = write(tmp_path / "key.png", Image.fromarray(COLORS), transparency=(250, 10, 20))
    assert np.allclose(load_image(keyed)[0, 0], 255)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_greyscale_keeps_its_brightness(tmp_path, name):
    deep = np.array([[0, 257 * 100, 65535]], np.uint16)
    path = write(tmp_path / name, Image.fromarray(deep))
    assert np.allclose(load_image(path)[0, :, 0], [0, 100, 255])


def test_16_bit_greyscale_in_which_0_is_white_is_inverted(tmp_path):
    deep = np.array([[0, 257 * 100, 65535]], np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="miniswhite")
    assert np.allclose(load_image(tmp_path / "a.tif")[0, :, 0], [255, 155, 0])


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint32, np.int32, np.float32, np.float64])
def test_greyscale_whose_white_is_not_known_is_refused(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 100, 120]], dtype))
    with pytest.raises(
        InputError, match=r"a\.tif: has (float, signed or 32-bit|signed pix)|a\.tif: is not a pi"
    ):
        load_image(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_16_bit_rgb_tiff_keeps_all_bits(rng, tmp_path, compression):
    deep = rng.integers(0, 65536, (5, 7, 3), np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, deep, photometric="rgb", compression=compression)
    assert np.array_equal(load_image(path), deep / 257)


def test_16_bit_rgb_tiff_that_only_pillow_reads_keeps_8_bits(rng, tmp_path):
    deep = rng.integers(0, 65536, (5, 7, 3), np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, deep, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    assert np.abs(load_image(path) - np.rot90(deep, -1) / 257).max() <= 1
    planes = {"data": deep.transpose(2, 0, 1), "photometric": "rgb", "planarconfig": "separate"}
    tifffile.imwrite(path, **planes, compression="zlib")
    assert np.abs(load_image(path) - deep / 257).max() <= 1
    # Pillow reads these wrongly without raising an exception.
    tifffile.imwrite(path, **planes)
    with pytest.raises(InputError, match=r"stores its 16-bit channels separately; save it interl"):
        load_image(path)


def test_the_first_of_several_pictures_is_read(tmp_path):
    first, second = Image.fromarray(COLORS), Image.fromarray(COLORS[::-1])
    for name, options in (("a.tif", {}), ("a.webp", {"lossless": True, "exact": True})):
        path = write(tmp_path / name, first, save_all=True, append_images=[second], **options)
        assert np.array_equal(load_image(path), COLORS)
    tifffile.imwrite(tmp_path / "deep.tif", np.stack([COLORS, 255 - COLORS]).astype(np.uint16))
    assert np.array_equal(load_image(tmp_path / "deep.tif"), COLORS / 257)


def test_cmyk_becomes_rgb(tmp_path):
    path = write(tmp_path / "a.tif", Image.fromarray(COLORS).convert("CMYK"))
    assert np.abs(load_image(path) - COLORS).max() <= 2
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    path = write(tmp_path / "a.jpg", flat, quality=95)
    assert np.abs(load_image(path) - [255, 0, 0]).max() <= 4
