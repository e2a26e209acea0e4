import os
import stat

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from npstyle.engine.cpu.preprocessing import preprocess, preprocess_backward
from npstyle.errors import InputError, InputWarning
from npstyle.images.read import image_size, load_image, read_settings
from npstyle.images.resize import fit_size, resize
from npstyle.images.write import check_output, save_image
from tests.images.files import linear_profile
from tests.numeric import central_difference

COLORS = np.array(
    [[[250, 10, 20], [20, 240, 30], [10, 30, 230]], [[0, 0, 0], [255, 255, 255], [90, 120, 60]]],
    np.uint8,
)
"""Two rows and three columns without any symmetry."""


def write(path, image, **options):
    image.save(path, **options)
    return path


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


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.png", "RGB"), ("a.jpg", "RGB"), ("a.webp", "RGB"), ("a.tif", "RGB")]
    + [("a.png", mode) for mode in ("L", "LA", "P", "RGBA", "I;16")],
)
def test_an_embedded_profile_is_converted_to_srgb_in_every_mode(tmp_path, name, mode):
    grey = Image.new("RGB", (2, 2), (55, 55, 55))
    if mode == "I;16":
        grey = Image.fromarray(np.full((2, 2), 55 * 257, np.uint16))
    image = grey.quantize() if mode == "P" else grey.convert(mode)
    path = write(tmp_path / name, image, icc_profile=linear_profile())
    # Linear 55/255 is 1.055 (55/255)^(1/2.4) - 0.055 in sRGB.
    expected = 255 * (1.055 * (55 / 255) ** (1 / 2.4) - 0.055)
    assert np.allclose(load_image(path), expected, atol=1.5)
    deep = np.full((2, 2, 3), 55 * 257, np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb", iccprofile=linear_profile())
    assert np.allclose(load_image(tmp_path / "deep.tif"), expected, atol=1.5)


def test_the_embedded_profile_does_not_change_the_opacity(tmp_path):
    half = Image.new("RGBA", (1, 1), (255, 0, 0, 51))
    path = write(tmp_path / "a.png", half, icc_profile=linear_profile())
    assert np.allclose(load_image(path), [[[255, 204, 204]]], atol=1)


def test_a_profile_for_other_colours_is_ignored_with_a_warning(tmp_path):
    cmyk = Image.fromarray(COLORS).convert("CMYK")
    path = write(tmp_path / "a.tif", cmyk, icc_profile=linear_profile())
    with pytest.warns(InputWarning, match=r"a\.tif: its colour profile"):
        assert np.abs(load_image(path) - COLORS).max() <= 2


def test_an_invalid_profile_is_ignored_with_a_warning(tmp_path):
    path = write(tmp_path / "a.png", Image.fromarray(COLORS), icc_profile=b"not a profile")
    with pytest.warns(InputWarning, match=r"a\.png: its colour profile"):
        assert np.array_equal(load_image(path), COLORS)


def test_size_is_the_longest_side_and_the_aspect_ratio_is_kept(tmp_path):
    path = write(tmp_path / "a.png", Image.new("RGB", (300, 200)))
    assert load_image(path, 150).shape == (100, 150, 3)
    assert load_image(path, 600).shape == (400, 600, 3)
    assert fit_size(1, 1000, 10) == (1, 10)
    assert resize(np.zeros((30, 20, 3)), 15).shape == (15, 10, 3)
    assert np.array_equal(load_image(path, 150), resize(load_image(path), (100, 150)))


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_below_one_pixel_is_refused(tmp_path, size):
    path = write(tmp_path / "a.png", Image.fromarray(COLORS))
    with pytest.raises(InputError, match=f"size {size}"):
        load_image(path, size)


def test_resizing_is_not_rounded_to_8_bits():
    ramp = np.repeat(np.linspace(100, 101, 64)[None, :, None], 3, axis=2)
    small = resize(np.repeat(ramp, 8, axis=0), (4, 32))
    # The mean of each pair of neighbours, away from the borders.
    assert np.allclose(
        small[1, 4:-4, 0], ramp[0, :, 0].reshape(32, 2).mean(axis=1)[4:-4], atol=1e-4
    )


def test_shrinking_averages_over_the_whole_window():
    stripes = np.zeros((256, 256, 3))
    stripes[:, ::2] = 200
    assert np.allclose(resize(stripes, 8)[:, 1:-1], 100, atol=0.5)


def test_resizing_keeps_constants_and_the_mean_and_stays_in_range(rng):
    assert np.allclose(resize(np.full((20, 30, 3), 77.0), (13, 19)), 77)
    pixels = rng.uniform(0, 255, (64, 64, 3))
    small = resize(pixels, (16, 16))
    assert np.allclose(small.mean(), pixels.mean(), atol=1)
    steps = resize(np.kron(COLORS, np.ones((8, 8, 1))), (37, 41))
    assert steps.min() >= 0
    assert steps.max() <= 255


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"])
def test_every_format_keeps_the_settings_and_the_picture(rng, tmp_path, suffix):
    pixels = np.clip(resize(rng.uniform(0, 255, (6, 8, 3)), (48, 64)), 0, 255)
    settings = {"seed": 3, "photo": "Tübingen.jpg", "parts": {"tv": 0.5}}
    path = tmp_path / f"out{suffix}"
    save_image(path, pixels, settings)
    assert read_settings(path) == settings
    # JPEG and WebP are lossy.
    bound = {".png": 0.5, ".tif": 0.5 / 257, ".tiff": 0.5 / 257}.get(suffix, 25) + 1e-9
    assert np.abs(load_image(path) - pixels).max() <= bound


def test_tiff_has_16_bits_per_channel(rng, tmp_path):
    pixels = rng.uniform(0, 255, (5, 6, 3))
    save_image(tmp_path / "a.tif", pixels)
    deep = tifffile.imread(tmp_path / "a.tif")
    assert deep.dtype == np.uint16
    save_image(tmp_path / "bytes.tif", COLORS)
    assert np.array_equal(tifffile.imread(tmp_path / "bytes.tif"), COLORS * np.uint16(257))
    assert np.abs(deep / 257 - pixels).max() <= 0.5 / 257 + 1e-9


def test_jpeg_keeps_the_full_resolution_of_colours(tmp_path):
    save_image(tmp_path / "a.jpg", COLORS)
    with Image.open(tmp_path / "a.jpg") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3


def test_a_failed_write_leaves_the_old_picture_and_no_other_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    save_image(path, COLORS)
    before = path.read_bytes()

    def fail(error):
        def replace(source, target):
            raise error

        monkeypatch.setattr(os, "replace", replace)

    fail(OSError(28, "No space left on device"))
    with pytest.raises(InputError, match=r"a\.png: cannot be written \(No space"):
        save_image(path, 255 - COLORS)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (before, ["a.png"])
    fail(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        save_image(path, 255 - COLORS)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (before, ["a.png"])


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_written_picture_has_the_permissions_of_any_new_file(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        save_image(tmp_path / "a.png", COLORS)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == mode


@pytest.mark.parametrize("check", [check_output, lambda path: save_image(path, COLORS)])
def test_a_path_that_cannot_be_written_is_refused_by_the_check_and_by_saving(
    tmp_path, monkeypatch, check
):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "locked").mkdir()
    unlocked = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: "locked" not in str(path) and unlocked(path, mode)
    )
    for name, sentence in (
        ("out.gif", r"out\.gif: the suffix \.gif cannot be written; use \.png, \.jpg"),
        ("out", "out: a name without a suffix"),
        ("folder.png", r"folder\.png: is a folder"),
        ("no/out.png", r"out\.png: the folder .*no does not exist"),
        ("locked/out.png", r"out\.png: the folder .*locked cannot be written to"),
    ):
        with pytest.raises(InputError, match=sentence):
            check(tmp_path / name)
    check(tmp_path / "out.PNG")


def test_pictures_and_settings_too_large_for_a_format_are_refused(tmp_path):
    for name, side in (("wide.webp", 16384), ("wide.jpg", 65501)):
        with pytest.raises(InputError, match=rf"{name}: the picture has {side}x1 pixels"):
            check_output(tmp_path / name, (1, side))
        with pytest.raises(InputError, match=rf"{name}: the picture has {side}x1 pixels"):
            save_image(tmp_path / name, np.zeros((1, side, 3)))
        save_image(tmp_path / name, np.zeros((1, side - 1, 3)))
        (tmp_path / name).unlink()
    with pytest.raises(InputError, match=r"long\.jpg: cannot be written as \.jpg"):
        save_image(tmp_path / "long.jpg", COLORS, {"text": "x" * 70_000})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4)), np.zeros((4, 4, 4)), np.full((1, 1, 3), np.nan)]
)
def test_arrays_that_are_not_pictures_are_not_written(tmp_path, pixels):
    with pytest.raises(InputError, match=r"a\.png: pixels must be"):
        save_image(tmp_path / "a.png", pixels)
    assert os.listdir(tmp_path) == []


def test_values_out_of_range_are_clipped_and_rounded(tmp_path):
    save_image(tmp_path / "a.png", np.array([[[-3.0, 300.0, 99.6]]]))
    assert np.array_equal(load_image(tmp_path / "a.png"), [[[0, 255, 100]]])


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_a_file_that_is_not_a_picture_is_refused(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    for read in (load_image, image_size, read_settings):
        with pytest.raises(InputError, match=r"broken\.png"):
            read(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp"])
def test_a_truncated_picture_is_refused(rng, tmp_path, name):
    pixels = Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8))
    data = write(tmp_path / name, pixels).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        load_image(tmp_path / name)


def test_too_many_pixels_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "huge.png", Image.new("L", (200, 200)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    with pytest.raises(InputError, match=r"huge\.png: has too many pixels"):
        load_image(path)


def test_a_float_picture_is_refused(tmp_path):
    path = write(tmp_path / "a.tif", Image.fromarray(np.ones((3, 3), np.float32)))
    with pytest.raises(InputError, match=r"a\.tif: has float, .* 8-bit or 16-bit"):
        load_image(path)
    tifffile.imwrite(path, np.ones((3, 3, 3), np.float32), photometric="rgb")
    with pytest.raises(InputError, match=r"a\.tif: .* 8 or 16 bits"):
        load_image(path)


def test_a_picture_without_pixels_is_refused(tmp_path):
    data = bytearray(write(tmp_path / "zero.bmp", Image.fromarray(COLORS)).read_bytes())
    data[18:26] = bytes(8)  # width and height
    (tmp_path / "zero.bmp").write_bytes(data)
    with pytest.raises(InputError, match=r"zero\.bmp"):
        load_image(tmp_path / "zero.bmp")


def test_a_pipe_and_a_name_that_is_too_long_are_refused(tmp_path):
    with pytest.raises(InputError, match="xxx"):
        load_image(tmp_path / ("x" * 300 + ".png"))
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png"):
        load_image(tmp_path / "pipe.png")


def test_missing_files_folders_and_pictures_without_settings_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no\.png: no such"):
        load_image(tmp_path / "no.png")
    with pytest.raises(InputError, match="is a folder"):
        load_image(tmp_path)
    plain = write(tmp_path / "plain.png", Image.fromarray(COLORS))
    with pytest.raises(InputError, match=r"plain\.png: has no settings"):
        read_settings(plain)
    save_image(tmp_path / "bare.jpg", COLORS)
    with pytest.raises(InputError, match=r"bare\.jpg: has no settings"):
        read_settings(tmp_path / "bare.jpg")


def test_descriptions_by_other_programs_are_not_settings(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", COLORS)  # describes itself as {"shape": [2, 3, 3]}
    exif = Image.Exif()
    exif[270] = '{"made": "elsewhere"}'
    write(tmp_path / "a.jpg", Image.fromarray(COLORS), exif=exif)
    for name in ("a.tif", "a.jpg"):
        with pytest.raises(InputError, match=name.replace(".", r"\.") + ": has no settings"):
            read_settings(tmp_path / name)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_damaged_settings_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text("npstyle", '{"seed": 3')
        write(path, Image.fromarray(COLORS), pnginfo=chunks)
    else:
        save_image(path, COLORS, {"seed": 3})
        data = path.read_bytes()
        assert data.count(b'{"seed": 3}') == 1
        path.write_bytes(data.replace(b'{"seed": 3}', b'{"seed": 3,'))
    with pytest.raises(InputError, match=f"a\\{suffix}: its settings are damaged"):
        read_settings(path)


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_preprocessing_is_pixels_minus_mean_times_scale_in_the_channel_order(rng, order):
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
