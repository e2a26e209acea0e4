"""What is refused because of its size or its damage, and what a large picture costs."""

import sys

import numpy as np
import pytest
from PIL import Image

from npstyle.errors import InputError
from npstyle.images.header import least_reading_bytes, reading_bytes, shrink_while_decoding
from npstyle.images.read import image_size, load_image
from npstyle.run.pictures import check_readable
from tests.images.files import SIZE, WRITERS


@pytest.mark.parametrize("name", WRITERS)
def test_half_of_a_file_of_any_format_is_refused(tmp_path, name):
    if name == "heic":
        pytest.importorskip("pillow_heif")
    path = WRITERS[name](tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=rf"{path.name}: (cannot be read|is not a picture)"):
        load_image(path)


def test_a_damaged_png_is_refused(tmp_path):
    path = WRITERS["png"](tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 10] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png: cannot be read .*if it is damaged, get it ag"):
        load_image(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Pillow hides libtiff there")
def test_a_damaged_tiff_prints_nothing(tmp_path, rng, capfd):
    path = WRITERS["lzw tiff"](tmp_path)
    data = path.read_bytes()
    start = 8  # of the compressed pixels
    for _ in range(20):
        damaged = bytearray(data)
        damaged[start : start + 40] = rng.bytes(40)
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read"):
            load_image(path)
    assert capfd.readouterr() == ("", "")


def test_twice_the_pixels_that_pillow_considers_safe_are_the_most_that_is_read(
    tmp_path, monkeypatch
):
    path = WRITERS["png"](tmp_path)
    pixels = SIZE[0] * SIZE[1]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels // 2)
    assert load_image(path).shape == (*SIZE, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels // 2 - 1)
    for read in (load_image, image_size):
        with pytest.raises(InputError, match=r"a\.png: has too many pixels; scale it down first"):
            read(path)


def test_too_many_pixels_in_a_later_picture_of_a_tiff_are_refused(tmp_path, monkeypatch):
    path = WRITERS["two pages"](tmp_path)  # a small one comes first
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", SIZE[0] * SIZE[1] // 2 - 1)
    with pytest.raises(InputError, match=r"a\.tif: has too many pixels"):
        load_image(path)


def test_what_takes_too_much_memory_to_read_is_refused_before_it_is_decoded(tmp_path):
    path = WRITERS["png"](tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"IDAT") + 4])  # it cannot be decoded
    needed = least_reading_bytes(path)
    check_readable([path], needed)
    with pytest.raises(InputError, match=r"a\.png: reading it takes .* GB .* scale it down first"):
        check_readable([path], needed - 1)


def test_a_large_picture_is_not_refused_if_it_can_be_read_at_some_size(tmp_path):
    Image.new("RGB", (4000, 3000)).save(tmp_path / "a.png", compress_level=1)
    check_readable([tmp_path / "a.png"], reading_bytes(tmp_path / "a.png", 512))


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_the_decoder_of_a_jpeg_scales_it_down_by_a_power_of_2_and_leaves_enough(tmp_path, factor):
    path = tmp_path / "a.jpg"
    smooth = np.add.outer(np.arange(320) / 2, np.arange(640) / 8).astype(np.uint8)
    Image.fromarray(smooth).save(path)
    side = 160 // factor
    with Image.open(path) as image:
        shrink_while_decoding(image, (side // 2, side))
        assert image.size == (640 // factor, 320 // factor)
    expected = np.asarray(Image.fromarray(smooth).resize((side, side // 2), Image.Resampling.BOX))
    assert np.abs(load_image(path, side)[1:-1, 1:-1, 0] - expected[1:-1, 1:-1]).max() < 2
