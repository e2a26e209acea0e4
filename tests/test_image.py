import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from npstyle.errors import InputError
from npstyle.image import (
    fit_size,
    image_size,
    load_image,
    preprocess,
    preprocess_backward,
    read_settings,
    resize,
    save_image,
)
from tests.numeric import central_difference

COLORS = np.array(
    [[[250, 10, 20], [20, 240, 30], [10, 30, 230]], [[0, 0, 0], [255, 255, 255], [90, 120, 60]]],
    np.uint8,
)
"""Two rows, three columns, no symmetry."""


def write(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp"])
def test_lossless_formats_load_exactly(tmp_path, name):
    options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
    path = write(tmp_path / name, Image.fromarray(COLORS), **options)
    assert np.array_equal(load_image(path), COLORS)


def test_jpeg_loads_within_its_own_error(tmp_path):
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


def test_what_is_transparent_shows_white(tmp_path):
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


def test_16_bit_rgb_tiff_loads_to_8_bit_accuracy(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", COLORS.astype(np.uint16) * 257, photometric="rgb")
    assert np.abs(load_image(tmp_path / "a.tif") - COLORS).max() <= 0.5


def test_cmyk_becomes_rgb(tmp_path):
    path = write(tmp_path / "a.tif", Image.fromarray(COLORS).convert("CMYK"))
    assert np.abs(load_image(path) - COLORS).max() <= 2


def linear_profile():
    """sRGB's own profile with its three tone curves replaced by the identity."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    for entry in range(count):
        start = 132 + 12 * entry
        if data[start : start + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            at = int.from_bytes(data[start + 4 : start + 8], "big")
            data[at : at + 12] = b"curv" + bytes(4) + (0).to_bytes(4, "big")
            data[start + 8 : start + 12] = (12).to_bytes(4, "big")
    return bytes(data)


def test_an_embedded_profile_is_brought_to_srgb(tmp_path):
    grey = Image.new("RGB", (2, 2), (55, 55, 55))
    path = write(tmp_path / "a.png", grey, icc_profile=linear_profile())
    # Linear 55/255 is 1.055 (55/255)^(1/2.4) - 0.055 in sRGB.
    assert np.allclose(load_image(path), 255 * (1.055 * (55 / 255) ** (1 / 2.4) - 0.055), atol=1.5)


def test_a_broken_profile_is_taken_as_srgb_with_a_warning(tmp_path):
    path = write(tmp_path / "a.png", Image.fromarray(COLORS), icc_profile=b"not a profile")
    with pytest.warns(UserWarning, match=r"a\.png: its colour profile"):
        assert np.array_equal(load_image(path), COLORS)


def test_size_is_the_longest_side_and_the_aspect_is_kept(tmp_path):
    path = write(tmp_path / "a.png", Image.new("RGB", (300, 200)))
    assert load_image(path, 150).shape == (100, 150, 3)
    assert load_image(path, 600).shape == (400, 600, 3)
    assert fit_size(1, 1000, 10) == (1, 10)


def test_lanczos_keeps_a_flat_picture_and_the_mean_and_stays_in_range(rng):
    assert np.allclose(resize(np.full((20, 30, 3), 77.0), (13, 19)), 77)
    pixels = rng.uniform(0, 255, (64, 64, 3))
    small = resize(pixels, (16, 16))
    assert np.allclose(small.mean(), pixels.mean(), atol=1)
    steps = resize(np.kron(COLORS, np.ones((8, 8, 1))), (37, 41))
    assert steps.min() >= 0
    assert steps.max() <= 255


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"])
def test_settings_and_picture_come_back_from_every_format(rng, tmp_path, suffix):
    pixels = np.clip(resize(rng.uniform(0, 255, (6, 8, 3)), (48, 64)), 0, 255)
    settings = {"seed": 3, "photo": "Tübingen.jpg", "parts": {"tv": 0.5}}
    path = tmp_path / f"out{suffix}"
    save_image(path, pixels, settings)
    assert read_settings(path) == settings
    # Pillow reads the upper byte of 16 bits; JPEG and WebP are lossy.
    bound = {".png": 0.51, ".tif": 1.0, ".tiff": 1.0}.get(suffix, 25)
    assert np.abs(load_image(path) - pixels).max() <= bound


def test_tiff_has_16_bits_per_channel(rng, tmp_path):
    pixels = rng.uniform(0, 255, (5, 6, 3))
    save_image(tmp_path / "a.tif", pixels)
    deep = tifffile.imread(tmp_path / "a.tif")
    assert deep.dtype == np.uint16
    assert np.allclose(deep / 257, pixels, atol=0.002)


def test_values_out_of_range_are_clipped_and_rounded(tmp_path):
    save_image(tmp_path / "a.png", np.array([[[-3.0, 300.0, 99.6]]]))
    assert np.array_equal(load_image(tmp_path / "a.png"), [[[0, 255, 100]]])


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_a_file_that_is_no_picture_is_named(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    for read in (load_image, image_size, read_settings):
        with pytest.raises(InputError, match=r"broken\.png"):
            read(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp"])
def test_a_truncated_picture_is_named(rng, tmp_path, name):
    pixels = Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8))
    data = write(tmp_path / name, pixels).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        load_image(tmp_path / name)


def test_too_many_pixels_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "huge.png", Image.new("L", (200, 200)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(InputError, match=r"huge\.png"):
        load_image(path)


def test_a_float_picture_is_refused(tmp_path):
    path = write(tmp_path / "a.tif", Image.fromarray(np.ones((3, 3), np.float32)))
    with pytest.raises(InputError, match="8 or 16 bit"):
        load_image(path)


def test_missing_files_folders_and_pictures_without_settings_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.png: there is no such"):
        load_image(tmp_path / "no.png")
    with pytest.raises(InputError, match="is a folder"):
        load_image(tmp_path)
    plain = write(tmp_path / "plain.png", Image.fromarray(COLORS))
    with pytest.raises(InputError, match=r"plain\.png: carries no settings"):
        read_settings(plain)
    with pytest.raises(InputError, match=r"\.gif"):
        save_image(tmp_path / "out.gif", COLORS)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_preprocessing_is_pixels_minus_mean_times_scale_in_the_networks_order(rng, order):
    pixels = rng.uniform(0, 255, (4, 5, 3))
    mean, scale = (100.0, 110.0, 120.0), (1.0, 0.5, 2.0)
    fed = preprocess(pixels, order, mean, scale, np.float64)
    for c in range(3):
        source = pixels[..., 2 - c] if order == "BGR" else pixels[..., c]
        assert np.allclose(fed[..., c], (source - mean[c]) * scale[c])
    assert preprocess(pixels, order, mean, scale, np.float32).dtype == np.float32

    upstream = rng.standard_normal(fed.shape)
    numeric = central_difference(
        lambda x: np.sum(upstream * preprocess(x, order, mean, scale, np.float64)), pixels
    )
    assert np.allclose(preprocess_backward(upstream, order, scale), numeric, atol=1e-6)
