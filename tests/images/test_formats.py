"""Rows of the table of pictures in tools/README.md: what is read, and what is refused."""

import builtins
import io
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from npstyle.errors import InputError, InputWarning
from npstyle.images.formats import SUFFIXES
from npstyle.images.header import reading_bytes
from npstyle.images.read import image_size, load_image
from npstyle.images.resize import resize
from npstyle.run.pictures import Pictures, load_scale
from npstyle.run.settings import Settings
from tests.images.files import SIZE, WRITERS, animation, drawn, linear_profile

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from fuzz_pictures import fuzz

LOSSY = ("jpeg", "progressive jpeg", "avif")


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "heic"])
def test_each_format_is_read_as_it_was_written(tmp_path, name):
    path = WRITERS[name](tmp_path)
    assert path.suffix in SUFFIXES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        found = load_image(path)
    expected = drawn().astype(float)
    if name in ("png", "webp", "avif", "jpeg 2000", "tga"):  # the opacity is 200 of 255
        expected = 200 / 255 * expected + 55
    if name in ("deep png", "pgm"):
        expected = np.repeat(expected[..., :1], 3, axis=2)
    if name == "pbm":
        expected = np.where(expected[..., :1] > 90, 255, 0).repeat(3, axis=2)
    assert found.shape == expected.shape
    bound = 12 if name in LOSSY else 8 if name == "gif" else 0.6
    assert np.abs(found - expected).mean() <= bound
    assert image_size(path) == SIZE


def test_a_heic_picture_is_read_or_the_missing_extra_is_named(tmp_path, monkeypatch):
    pytest.importorskip("pillow_heif")
    path = WRITERS["heic"](tmp_path)
    assert load_image(path).shape == (48, 64, 3)
    ordinary = builtins.__import__

    def without(name, *arguments):
        if name == "pillow_heif":
            raise ImportError(name)
        return ordinary(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"a\.heic: is a HEIC picture; .*npstyle\[heif\]"):
        load_image(path)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".avif"])
def test_of_an_animation_the_first_frame_is_read_and_one_line_says_so(tmp_path, suffix):
    path = animation(tmp_path, suffix)
    with pytest.warns(InputWarning) as noted:
        found = load_image(path)
    assert [str(w.message) for w in noted] == [f"{path}: is animated; its first frame is read"]
    assert np.abs(found - drawn()).mean() < 12


def test_an_empty_file_is_called_so(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(InputError, match=r"photo\.jpg: is empty; get it again"):
        image_size(tmp_path / "photo.jpg")


@pytest.mark.parametrize("name", ["a.exr", "a.hdr", "a.txt", "a.pfm"])
def test_float_formats_and_other_files_are_refused(tmp_path, name):
    start = {"a.exr": b"v/1\x01", "a.hdr": b"#?RADIANCE\n", "a.pfm": b"PF\n1 1\n-1\n"}
    (tmp_path / name).write_bytes(start.get(name, b"text") + bytes(40))
    with pytest.raises(InputError, match=r"is not a picture that npstyle reads \(JPEG, PNG"):
        load_image(tmp_path / name)


def test_bytes_that_are_no_picture_are_not_taken_for_a_tga(tmp_path):
    path = WRITERS["tga"](tmp_path)
    (tmp_path / "a.dat").write_bytes(path.read_bytes()[:-26])  # without the mark at its end
    with pytest.raises(InputError, match="is not a picture"):
        load_image(tmp_path / "a.dat")


@pytest.mark.parametrize("suffix", [".tga", ".icb", ".vda", ".vst"])
def test_a_tga_without_a_mark_is_read_by_its_name(tmp_path, suffix):
    data = WRITERS["tga"](tmp_path).read_bytes()
    assert data.endswith(b"TRUEVISION-XFILE.\0")
    path = tmp_path / f"b{suffix}"
    path.write_bytes(data[:-26])
    assert path.suffix in SUFFIXES
    assert np.array_equal(load_image(path), load_image(tmp_path / "a.tga"))


def test_a_grey_pfm_which_pillow_reads_is_refused(tmp_path):
    (tmp_path / "a.pfm").write_bytes(b"Pf\n2 1\n-1.0\n" + struct.pack("<2f", 0, 1))
    with pytest.raises(InputError, match=r"a\.pfm: has float, signed or 32-bit pixels"):
        load_image(tmp_path / "a.pfm")


@pytest.mark.parametrize("dtype", ["i1", "i2", "u4", "i4", "f2", "f8"])
def test_colours_whose_white_is_not_known_are_refused(tmp_path, dtype):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, drawn().astype(dtype), photometric="rgb")
    with pytest.raises(InputError, match=r"a\.tif: .* with 8 or 16 bits per channel\); convert"):
        load_image(path)


def deep_png(deep):
    """The bytes of a PNG of 16 bits per channel, which Pillow does not write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    header = struct.pack(">IIBBBBB", deep.shape[1], deep.shape[0], 16, 2, 0, 0, 0)
    parts = {b"IHDR": header, b"IDAT": zlib.compress(rows), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts.items())


def chunk(kind, content):
    """A part of a PNG."""
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


@pytest.mark.parametrize("suffix", [".png", ".ppm"])
def test_16_bits_of_other_files_are_read_with_8(rng, tmp_path, suffix):
    deep = rng.integers(0, 65536, (5, 7, 3), np.uint16)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(
        deep_png(deep) if suffix == ".png" else b"P6 7 5 65535\n" + deep.astype(">u2").tobytes()
    )
    found = load_image(path)
    assert np.array_equal(found, np.round(found))
    assert np.abs(found - deep / 257).max() <= 1


def small_tiff(path, bits, pixels, mark=b""):
    """Write a grey TIFF of 4x1 pixels by hand; a mark may stand before its directory."""
    tags = {256: 4, 257: 1, 258: bits, 259: 1, 262: 1, 273: 200, 277: 1, 278: 1, 279: len(pixels)}
    data = b"II*\0" + struct.pack("<I", 8 + len(mark)) + mark + struct.pack("<H", len(tags))
    data += b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags.items())
    path.write_bytes((data + bytes(4)).ljust(200, b"\0") + pixels)
    return path


def test_12_bits_are_scaled_by_what_the_tiff_says(tmp_path):
    bits = "".join(f"{value:012b}" for value in (0, 1606, 2048, 4095))
    path = small_tiff(tmp_path / "a.tif", 12, int(bits, 2).to_bytes(6, "big"))
    found = load_image(path)[0, :, 0]
    assert np.allclose(found, [0, 1606 / 4095 * 255, 2048 / 4095 * 255, 255], atol=0.1)


def test_the_largest_picture_of_a_tiff_is_read(tmp_path):
    path = WRITERS["two pages"](tmp_path)  # a small one comes first
    with pytest.warns(InputWarning) as noted:
        assert np.array_equal(load_image(path), drawn())
    says = f"{path}: has several pictures; the largest is read"
    assert [str(w.message) for w in noted] == [says]
    assert image_size(path) == SIZE


@pytest.mark.parametrize("kind", ["dng", "directory below", "cr2"])
def test_the_preview_in_a_raw_file_is_not_taken_for_the_picture(tmp_path, kind):
    path = tmp_path / "a.tif"
    if kind == "cr2":
        small_tiff(path, 8, bytes(4), mark=b"CR\2\0\0\0\0\0")
    else:
        extra = [(50706, "B", 4, (1, 4, 0, 0), True)] if kind == "dng" else []
        below = int(kind == "directory below")
        with tifffile.TiffWriter(path) as file:
            file.write(drawn()[:4, :6], photometric="rgb", subifds=below, extratags=extra)
            if below:
                file.write(drawn()[..., 0], photometric="minisblack")
    with pytest.raises(InputError, match=r"has its picture behind a preview, .*; develop it"):
        load_image(path)


def bmp_with_opacity(path, pixels):
    """Write a BMP that declares an opacity, which Pillow does not write."""
    height, width = pixels.shape[:2]
    masks = 0xFF0000, 0xFF00, 0xFF, 0xFF000000
    header = struct.pack("<IiiHHIIiiII4I", 108, width, -height, 1, 32, 3, *[0] * 5, *masks)
    data = pixels[..., [2, 1, 0, 3]].tobytes()
    start = struct.pack("<2sIII", b"BM", 122 + len(data), 0, 122)
    path.write_bytes(start + header.ljust(108, b"\0") + data)


@pytest.mark.parametrize("name", ["a.bmp", "a.tga"])
def test_an_opacity_of_0_everywhere_is_ignored_in_a_bitmap(tmp_path, name):
    image = Image.fromarray(drawn())
    image.putalpha(0)
    if name == "a.bmp":
        bmp_with_opacity(tmp_path / name, np.asarray(image))
    else:
        image.save(tmp_path / name)
    with Image.open(tmp_path / name) as stored:
        assert stored.mode == "RGBA"
    assert np.array_equal(load_image(tmp_path / name), drawn())


def long_png(folder, kind, place):
    """Write a PNG with a text or profile of two megabytes."""
    path = folder / "a.png"
    buffer = io.BytesIO()
    Image.fromarray(drawn()).save(buffer, "PNG")
    data = buffer.getvalue()
    packed = zlib.compress(bytes(2 << 20))
    content = {
        b"tEXt": b"Comment\0" + b"x" * (2 << 20),
        b"zTXt": b"Comment\0\0" + packed,
        b"iTXt": b"Comment\0\1\0\0\0" + packed,
        b"iCCP": b"profile\0\0" + packed,
    }[kind]
    at = 33 if place == "before" else len(data) - 12
    path.write_bytes(data[:at] + chunk(kind, content) + data[at:])
    return path


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_a_long_text_in_a_png_does_not_cost_the_picture(tmp_path, kind, place):
    assert np.array_equal(load_image(long_png(tmp_path, kind, place)), drawn())


def test_a_profile_of_more_than_a_megabyte_in_a_png_is_used(tmp_path):
    image = Image.fromarray(drawn())
    image.save(tmp_path / "short.png", icc_profile=linear_profile())
    padded = linear_profile().ljust(2 << 20, b"\0")
    padded = struct.pack(">I", len(padded)) + padded[4:]  # a profile begins with its length
    image.save(tmp_path / "long.png", icc_profile=padded)
    expected = load_image(tmp_path / "short.png")
    assert np.abs(expected - drawn()).mean() > 20
    assert np.array_equal(load_image(tmp_path / "long.png"), expected)


def test_a_long_profile_that_is_not_valid_is_ignored(tmp_path):
    path = long_png(tmp_path, b"iCCP", "before")  # two megabytes of zeros, which is no profile
    with pytest.warns(InputWarning, match="its colour profile is ignored"):
        assert np.array_equal(load_image(path), drawn())


def test_the_header_alone_tells_the_size_of_a_png(tmp_path):
    path = WRITERS["png"](tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"IDAT") + 4])
    assert image_size(path) == SIZE
    with pytest.raises(InputError):
        load_image(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif"])
@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_the_size_is_that_of_the_pixels_in_every_format(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(drawn()).save(path, exif=exif)
    found = load_image(path)
    assert image_size(path) == found.shape[:2] == (SIZE if orientation == 3 else SIZE[::-1])
    turned = {3: np.rot90(drawn(), 2), 6: np.rot90(drawn(), -1)}
    turned[7] = np.rot90(drawn(), 2).transpose(1, 0, 2)
    assert np.abs(found - turned[orientation]).mean() < 12
    assert load_image(path, (5, 4)).shape == (5, 4, 3)
    assert np.abs(load_image(path, 7) - resize(found, 7)).max() < 0.01


ODD = {
    "a rational where text belongs": struct.pack("<HHII", 305, 5, 1, 60),
    "four numbers for one": struct.pack("<HHIHH", 274, 3, 2, 6, 6),
    "a directory that is a text": struct.pack("<HHII", 34665, 2, 4, 0x41414141),
    "a place outside the file": struct.pack("<HHII", 34853, 4, 1, 0xFFFFFF),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_an_odd_tag_does_not_cost_the_picture(tmp_path, suffix, odd):
    if (suffix, odd) == (".avif", "a rational where text belongs"):
        pytest.skip("Pillow does not write it")
    entries = [ODD[odd]]
    if odd != "four numbers for one":
        entries.insert(0, struct.pack("<HHII", 274, 3, 1, 6))
        entries.sort(key=lambda entry: int.from_bytes(entry[:2], "little"))
    data = b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries)
    data = (data + bytes(4)).ljust(66, b"\0") + struct.pack("<II", 1, 0)
    path = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        number = {"four numbers for one": 274, "a rational where text belongs": 305}.get(odd, 34665)
        value = (6, 6) if number == 274 else (7, 0)
        extra = [(number, "H" if number == 274 else "I", 2, value, True)]
        tifffile.imwrite(path, drawn(), photometric="rgb", extratags=extra, software=False)
    else:
        Image.fromarray(drawn()).save(path, exif=data)
    assert load_image(path).shape[:2] == image_size(path)


def test_outside_of_a_transparent_mask_is_0(tmp_path):
    mask = np.zeros((8, 8, 4), np.uint8)
    mask[:, :4] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    picture = np.full((8, 8, 3), 90.0)
    pictures = Pictures(picture, (picture,), (tmp_path / "mask.png",))
    _, _, (region,) = load_scale(pictures, Settings(size=8), 0)
    assert np.allclose(region.mask[:, :4], 1)
    assert np.allclose(region.mask[:, 4:], 0)


def test_strips_give_what_the_whole_picture_gives(tmp_path, monkeypatch, rng):
    pixels = rng.integers(0, 256, (301, 203, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for size in (40, 200, 500):
        whole = load_image(tmp_path / "a.png", size)
        with monkeypatch.context() as patch:
            patch.setattr("npstyle.images.resize.STRIP_PIXELS", 1000)
            strips = load_image(tmp_path / "a.png", size)
        assert np.abs(strips - whole).max() < 1e-3


def test_a_large_jpeg_is_scaled_down_while_it_is_decoded(tmp_path):
    smooth = np.add.outer(np.arange(803) / 4, np.arange(1205) / 30).astype(np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth).convert("RGB").save(path, quality=95)
    assert np.abs(load_image(path, 64) - resize(load_image(path), 64)).max() < 1
    assert reading_bytes(path, 64) < reading_bytes(path) / 8


@pytest.mark.parametrize(("mode", "size"), [("RGB", 512), ("RGB", 32), ("RGBA", 512)])
def test_reading_takes_no_more_memory_than_is_predicted(tmp_path, mode, size):
    picture = Image.effect_noise((4000, 3000), 60).convert(mode)
    if mode == "RGBA":
        picture.putalpha(picture.getchannel("R"))
    picture.save(tmp_path / "a.png", compress_level=1)
    code = (
        "import resource, sys; from npstyle.images.read import load_image\n"
        "from npstyle.images.header import reading_bytes\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "size = int(sys.argv[2]); before = peak(); load_image(sys.argv[1], size)\n"
        "print(peak() - before, reading_bytes(sys.argv[1], size))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.png"), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    taken, predicted = map(int, done.stdout.split())
    assert taken <= predicted < 44 * 12_000_000


@pytest.mark.parametrize("name", WRITERS)
def test_mutated_pictures_are_read_or_refused(name, tmp_path, monkeypatch):
    if name == "heic":
        pytest.importorskip("pillow_heif")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    with warnings.catch_warnings():
        found = fuzz(name, 20, seed=1)
    assert found["files"] == 20
    assert not list(Path().iterdir())
