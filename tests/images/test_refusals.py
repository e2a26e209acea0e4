"""Files that are no pictures, or hold no settings, are refused."""

import os

import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from npstyle.errors import InputError
from npstyle.images.read import image_size, load_image, read_settings
from npstyle.images.write import save_image
from tests.images.files import COLORS, write


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
